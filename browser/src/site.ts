// The site, as the worker knows it. It comes with the worker's own script, from the site, and never
// from the page: who could tell the worker where to connect could have its tickets.
import { found } from "./checks.ts";
import { StampError } from "./errors.ts";
import { prover } from "./key.ts";
import type { Session } from "./messages.ts";
import { afterWaking, within } from "./waking.ts";

/** URLs are relative to the worker's script. */
export interface SiteConfig {
  /** ws or wss URL of the server. */
  websocket: string;
  /** GET: JSON of a Session, with the prefix of inboxes in "inbox". */
  session: string;
  /** POST: ends the session. */
  logout?: string;
  /** POST: JSON with a ticket. Without it the cookie alone opens connections. */
  ticket?: string;
  /** A page. */
  login?: string;
  /** Whether tickets are for a key alone. */
  key?: "required" | "optional";
  /** What tickets are given for, to who proves to know its secret. */
  pass?: string;
  secret?: string;
  /** What GET session would have said when the script was delivered. */
  visitor?: Visitor;
}

export interface Visitor extends Session {
  inbox?: string;
}

/** Whether it is the same one, and not somebody who has signed in since. */
export function sameVisitor(a: Visitor, b: Visitor): boolean {
  const who = ({ authenticated, inbox, claims }: Visitor) => JSON.stringify([authenticated, inbox, claims?.["sub"] ?? claims]);
  return who(a) === who(b);
}

const usualPatience = 20_000; // milliseconds

export class Site {
  readonly websocket: string;
  readonly login: string | undefined;
  readonly tickets: boolean;
  readonly key: "required" | "optional";
  readonly #config: SiteConfig;
  readonly #base: string;
  readonly #prove: ((nkey: string) => Promise<string>) | undefined;
  #delivered: Visitor | undefined;

  constructor(config: SiteConfig, base: string) {
    this.#config = config;
    this.#base = base;
    this.#delivered = config.visitor;
    this.#prove = config.secret === undefined ? undefined : prover(config.secret);
    this.websocket = config.websocket;
    this.login = config.login === undefined ? undefined : this.#url(config.login);
    this.tickets = config.ticket !== undefined;
    this.key = config.key ?? "required";
  }

  #url(path: string): string {
    return new URL(path, this.#base).href;
  }

  /** Asks the site, and reads the answer, both in one time. Firefox does not tell a worker the reason of a signal, so it is told here. */
  async #ask<T>(method: string, path: string, read: (answer: Response) => T | Promise<T>, { body, patience = usualPatience }: { body?: unknown; patience?: number | undefined } = {}): Promise<T> {
    const over = new AbortController();
    const init: RequestInit = {
      method, credentials: "include", cache: "no-store", redirect: "error", referrerPolicy: "no-referrer", signal: over.signal,
    };
    if (body !== undefined) {
      init.body = JSON.stringify(body);
      init.headers = { "Content-Type": "application/json" };
    }
    const answered = fetch(this.#url(path), init).then(read);
    try {
      return await within(patience, answered, () => new StampError("timeout", `the site does not answer in ${patience} ms`));
    } finally {
      over.abort(); // what was not read of the answer is not wanted
    }
  }

  /** Who is signed in. The answer that came with the script is used once. */
  async visitor(patience?: number): Promise<Visitor> {
    const delivered = this.#delivered;
    this.#delivered = undefined;
    if (delivered) return delivered;
    return this.#ask("GET", this.#config.session, async (answer) => {
      if (answer.status === 401 && !this.tickets) return { authenticated: false }; // the handler says so with 200; a 401 is a proxy's
      if (!answer.ok) throw new StampError("failed", `the site cannot tell who is signed in: status ${answer.status}`);
      const told = await objectOf(answer, "who is signed in");
      return { ...told, authenticated: told["authenticated"] === true };
    }, { patience });
  }

  /** A ticket for one connection, for the holder of a key. A service worker can see what is asked. */
  async ticket(nkey: string): Promise<string> {
    const { pass } = this.#config, proof = await this.#prove?.(nkey);
    return this.#ask("POST", this.#config.ticket!, ticketOf, { body: { pass, nkey, proof } });
  }

  /** Ends the session. */
  async logout(patience = usualPatience): Promise<{ end_session_url?: string }> {
    if (this.#config.logout === undefined) throw new StampError("invalid", "the site has no page to sign out");
    const left = afterWaking(patience, () => {});
    return this.#ask("POST", this.#config.logout, async (answer) => {
      if (!answer.ok) throw new StampError("failed", `the session could not be ended: status ${answer.status}`);
      try {
        const { end_session_url } = await objectOf(answer, "whether the session has ended") as { end_session_url?: string };
        return { end_session_url };
      } catch (err) { // a captive portal's, or that of a site's own, which may say nothing
        if (!await this.#nobody(left())) throw err;
        return { end_session_url: undefined };
      }
    }, { patience }).finally(left);
  }

  /** Whether the site says that nobody is signed in. */
  #nobody(patience: number): Promise<boolean> {
    this.#delivered = undefined; // it is from before the logout
    return this.visitor(patience).then(({ authenticated }) => !authenticated, () => false);
  }
}

/** What the handler says, with 403, where the pass was for a session before, or the worker is one that it has forgotten. */
const notEnrolled = "tickets are for the worker of this page";

/** The ticket in an answer of the site. A refusal may be a proxy's: refused means that the site is to be asked who is signed in. */
async function ticketOf(answer: Response): Promise<string> {
  const { status } = answer;
  if (status === 403 && (await answer.text()).trim() === notEnrolled) throw new StampError("signed-out", "the session is another one than when the page was loaded");
  if (status === 401 || status === 403) throw new StampError("refused", `the site gives no ticket: status ${status}`);
  if (!answer.ok) throw new StampError("failed", `the site gives no ticket: status ${answer.status}`);
  const { ticket } = await objectOf(answer, "the ticket");
  if (typeof ticket !== "string") throw new StampError("failed", "the site's answer has no ticket");
  return ticket;
}

/** The JSON of an answer; undefined where it is none. The browser's error would quote it, and it may hold a ticket. */
async function jsonOf(answer: Response): Promise<unknown> {
  const text = await answer.text();
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function objectOf(answer: Response, what: string): Promise<Record<string, unknown>> {
  const told = await jsonOf(answer);
  if (typeof told === "object" && told !== null && !Array.isArray(told)) return told as Record<string, unknown>;
  throw new StampError("failed", `the site does not tell ${what}: expected an object of JSON; found ${told === undefined ? "no JSON" : found(told)}`);
}
