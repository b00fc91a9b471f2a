// The worker's side of the port: all that a page can ask for.
import { errors, type Msg, type NatsConnection } from "@nats-io/nats-core";
import type { NatsConnectionImpl } from "@nats-io/nats-core/internal";
import { Abort, type Signal } from "./abort.ts";
import { Block, readBlocksHere, writtenHeaders } from "./blocks.ts";
import { Connection, operationOf, type Refused } from "./connection.ts";
import { StampError, type Code } from "./errors.ts";
import { holdLock } from "./life.ts";
import { requestMany } from "./many.ts";
import type { Asked, Event, Reply, Session, Started, State, Wire } from "./messages.ts";
import { concurrencyOf, Patience, Queue } from "./queue.ts";
import { sameVisitor, type Site, type Visitor } from "./site.ts";
import { afterWaking, duration, within } from "./waking.ts";

/** How the workers of other tabs are told that a session has ended. */
export interface Neighbours {
  tell(): void;
}

type Request = Asked & { op: "request" };

readBlocksHere();

export class Server {
  readonly #port: MessagePort;
  readonly #site: Site;
  readonly #neighbours: Neighbours;
  readonly #connection: Connection;
  readonly #aborts = new Map<number, Abort>();
  #queue = new Queue(concurrencyOf({}));
  #patience = new Patience({});
  #visitor: Visitor = { authenticated: false };
  #inbox = longestInbox(); // of that visitor
  #leaving: Promise<unknown> | undefined; // the newest logout
  #starting: Promise<unknown> | undefined; // the newest start
  #hidden = hiddenNames(); // headers that are not for the page
  #unlock = () => {};

  constructor(port: MessagePort, site: Site, neighbours: Neighbours) {
    this.#port = port;
    this.#site = site;
    this.#neighbours = neighbours;
    this.#connection = new Connection(
      site,
      (state: State, reason: string) => this.#tell({ event: "state", state, reason, most: this.#connection.most }),
      (err: Refused) => this.#tell({ event: "error", ...told(err), operation: operationOf(err), subject: err instanceof errors.PermissionViolationError ? err.subject : "" }),
    );
    port.onmessage = ({ data }) => void this.#answer(data);
  }

  /** Looks again whether there is a session, and the same visitor's: somebody else may have signed in since. */
  async recheck(): Promise<void> {
    await this.#starting; // until then nobody knows whose session it is
    const visitor = await this.#site.visitor().catch(() => undefined);
    if (visitor && (!visitor.authenticated || !sameVisitor(visitor, this.#visitor))) this.#connection.stop("signed-out", "signed out in another tab");
  }

  #tell(event: Event): void {
    this.#port.postMessage(event);
  }

  /** Gives a message to the page, and whether it can be read: one that cannot is told of, and is nobody else's fault. */
  #deliver(subscription: number, msg: Msg): boolean {
    let message: Wire;
    try {
      message = wire(msg, this.#hidden);
    } catch (err) {
      this.#tell({ event: "error", ...told(err), operation: "subscription", subject: msg.subject, subscription });
      return false;
    }
    this.#tell({ event: "message", subscription, message });
    return true;
  }

  async #answer(asked: Asked): Promise<void> {
    let reply: Reply;
    try {
      reply = { id: asked.id, value: await this.#do(asked) };
    } catch (err) {
      reply = { id: asked.id, error: told(err) };
    }
    this.#port.postMessage(reply);
  }

  /**
   * What a call is told that has failed: of one that the end of the session has cut off, that it has ended. The server may cut the
   * connection before the site has said that the session is over. That is awaited no longer than the call itself has time.
   */
  async #reasonOf(err: unknown, milliseconds: number): Promise<unknown> {
    if (told(err).code !== "lost") return err;
    if (this.#leaving) await within(milliseconds, this.#leaving, () => err as Error).catch(() => {});
    return this.#connection.ended ?? err;
  }

  async #do(asked: Asked): Promise<unknown> {
    switch (asked.op) {
      case "start":
        this.#queue = new Queue(concurrencyOf(asked.limits));
        this.#patience = new Patience(asked.limits);
        this.#hidden = hiddenNames(asked.limits.hidden ?? []);
        return this.#begin();
      case "session":
        return known(await this.#site.visitor(this.#patience.usual));
      case "logout": {
        const leaving = this.#logout();
        this.#leaving = leaving.catch(() => {});
        return leaving;
      }
      case "request":
        return this.#request(asked);
      case "requestMany":
        return this.#requestMany(asked);
      case "publish":
        return this.#publish(asked);
      case "flush":
        return this.#connection.flush(this.#patience.current);
      case "subscribe": {
        const { subject, queue, max, subscription } = asked;
        checkSubject("subject", subject, true);
        checkNames({ subject, queue });
        const deliver = (err: Error | null, msg: Msg) => (err ? this.#tell({ event: "error", ...told(err), operation: "subscription", subject, subscription }) : this.#deliver(subscription, msg));
        return this.#abortable(asked, (signal) => this.#connection.subscribe(subscription, { subject, queue: queue ?? undefined, max, deliver }, this.#patience.current, signal));
      }
      case "unsubscribe":
        if (asked.drain) return this.#connection.drain(asked.subscription, this.#patience.current);
        return this.#connection.unsubscribe(asked.subscription);
      case "abort":
        this.#aborts.get(asked.call)?.abort();
        return undefined;
      case "unlock":
        return this.#unlock();
      default: // a page is not to be trusted with the types
        throw new StampError("invalid", "unknown operation");
    }
  }

  #begin(): Promise<Started> {
    const starting = this.#start();
    this.#starting = starting.catch(() => {});
    return starting;
  }

  async #start(): Promise<Started> {
    this.#connection.prepare();
    let visitor: Visitor;
    try {
      visitor = await this.#site.visitor(this.#patience.usual);
    } catch (err) {
      const { code, message } = told(err), failure = new StampError(code, message);
      this.#connection.stop("closed", message, failure);
      throw failure;
    }
    this.#visitor = visitor;
    this.#inbox = longestInbox(visitor.inbox);
    if (visitor.authenticated) {
      this.#connection.start(visitor);
      this.#unlock();
      this.#unlock = holdLock((name) => this.#tell({ event: "lock", name }));
    } else this.#connection.stop("signed-out", "");
    return { ...known(visitor), login: this.#site.login, key: await this.#connection.keyed() };
  }

  async #logout(): Promise<unknown> {
    const told = await this.#site.logout(this.#patience.usual);
    this.#connection.stop("signed-out", "signed out");
    this.#neighbours.tell();
    return told;
  }

  #request(asked: Request): Promise<Wire> {
    checkSubject("subject", asked.subject);
    checkNames({ subject: asked.subject, inbox: this.#inbox });
    return this.#abortable(asked, (signal) => this.#queue.run(() => this.#send(asked, signal), signal));
  }

  async #abortable<T>({ id }: { id: number }, run: (signal: Signal) => Promise<T>): Promise<T> {
    const abort = new Abort();
    this.#aborts.set(id, abort);
    try {
      return await run(abort);
    } finally {
      this.#aborts.delete(id);
    }
  }

  async #publish({ subject, reply, data, headers }: Asked & { op: "publish" }): Promise<void> {
    checkSubject("subject", subject);
    checkSubject("reply", reply);
    checkNames({ subject, reply });
    const { nc } = await this.#connection.ready(this.#patience.current);
    try {
      nc.publish(subject, data, { headers: writtenHeaders(headers), reply: reply ?? undefined });
    } catch (err) {
      const { code, message } = told(err);
      throw new StampError(code, `a message to ${subject} cannot be published: ${message}`);
    }
  }

  async #requestMany(asked: Asked & { op: "requestMany" }): Promise<void> {
    checkSubject("subject", asked.subject);
    checkNames({ subject: asked.subject, inbox: this.#inbox });
    return this.#abortable(asked, async (signal) => {
      const { nc } = await this.#connection.ready(this.#patience.current);
      if (signal.aborted) return;
      const { subject, data, receiver, enough } = asked, began = performance.now();
      try {
        await requestMany(nc, { subject, data, headers: writtenHeaders(asked.headers) }, enough, signal, (msg) => this.#deliver(receiver, msg));
      } catch (err) {
        const reason = await this.#reasonOf(err, leftOf(enough.timeout, began));
        if (told(reason).code === "denied") this.#connection.claim(causeOf(reason));
        throw reason;
      }
    });
  }

  async #send(asked: Request, signal: Signal): Promise<Wire> {
    const patience = asked.timeout === undefined ? this.#patience.current : duration(asked.timeout);
    const began = performance.now();
    try {
      const { open } = this.#connection, { nc, left } = open ? { nc: open, left: patience } : await this.#connection.ready(patience);
      if (signal.aborted) throw new StampError("closed", "aborted");
      const late = () => new StampError("timeout", `timed out after ${patience} ms`);
      return wire(await answerTo(nc, asked, left, signal, late), this.#hidden);
    } catch (err) {
      const reason = await this.#reasonOf(err, leftOf(patience, began)), { code } = told(reason);
      if (code === "denied") this.#connection.claim(causeOf(reason));
      if (!signal.aborted && (code === "timeout" || code === "no-connection" || code === "refused")) {
        this.#patience.lost(patience);
        void this.#connection.check();
      }
      throw reason;
    }
  }
}

/** Random numbers, made many at a time. */
const randoms = new Uint32Array(256);
let unused = 0;

function random(): number {
  if (unused === 0) unused = crypto.getRandomValues(randoms).length;
  return randoms[--unused]!;
}

/** The last token of the subject to which an answer goes. Whoever answers one request cannot tell those of others from it. */
const newToken = () => random().toString(36) + random().toString(36);

/** How much is left of a time that began then; milliseconds. */
const leftOf = (milliseconds: number, began: number) => Math.max(1, milliseconds - (performance.now() - began));

/**
 * Sends a request, and returns its answer. The client's request() would count the time in which the process was frozen, drop an
 * answer that waits behind its timer, and keep a request that nobody waits for any more. It also makes an error, with a stack, for
 * each request that is answered. So only its own list of those that wait is used.
 */
function answerTo(nc: NatsConnection, { subject, data, headers }: Request, milliseconds: number, signal: Signal, late: () => Error): Promise<Msg> {
  const { protocol } = nc as NatsConnectionImpl, mux = protocol.muxSubscriptions;
  return new Promise<Msg>((resolve, reject) => {
    const asked = {
      token: newToken(), requestSubject: subject, received: 0,
      resolver(err: Error | null, msg?: Msg) {
        cancel();
        signal.removeEventListener("abort", abort);
        mux.cancel(asked); // the client forgets it
        if (err) reject(err);
        else resolve(msg!);
      },
      cancel(err: Error = new StampError("closed", "cancelled")) {
        asked.resolver(err);
      },
    };
    const abort = () => asked.resolver(new StampError("closed", "aborted"));
    const cancel = afterWaking(milliseconds, () => asked.resolver(late()));
    signal.addEventListener("abort", abort);
    try {
      protocol.request(asked);
      nc.publish(subject, data, { headers: writtenHeaders(headers), reply: mux.baseInbox + asked.token });
    } catch (err) {
      asked.resolver(err as Error);
    }
  });
}

/** A name that need not be given. */
type Name = string | null | undefined;

/** What most subjects do not have: a token that is empty or a wildcard. */
const emptyOrWildcard = /(?:^|\.)[*>]?(?:\.|$)/;

/** Refuses what is no subject: the server would take a wildcard of a message for a literal token, to which nobody subscribes. */
function checkSubject(what: string, subject: Name, wildcards = false): void {
  if (typeof subject !== "string") return; // checkNames() tells whether there has to be one
  if (!emptyOrWildcard.test(subject)) return;
  const tokens = subject.split(".");
  if (tokens.includes("")) throw new StampError("invalid", `the ${what} has an empty token: expected names with single dots between them`);
  if (!wildcards && tokens.some((token) => token === "*" || token === ">")) throw new StampError("invalid", `the ${what} of a message cannot have the wildcards * and >, which are for subscriptions`);
  if (tokens.slice(0, -1).includes(">")) throw new StampError("invalid", `the ${what} has the wildcard > before its last token`);
}

/** What the server takes of a line, in bytes, and what numbers and spaces beside the names need of it at most. */
const longestLine = 4096, besideNames = 26;

const utf8 = new TextEncoder();

/**
 * Refuses what would be more than a word in a line of the protocol, and names that make it longer than the server takes: it would
 * end the connection. The client checks subjects of messages alone, and a page could write lines of its own with the others.
 */
function checkNames(names: { subject: string; reply?: Name; queue?: Name; inbox?: string }): void {
  let all = "";
  for (const [what, name] of Object.entries(names)) {
    if ((name === undefined || name === null) && (what === "reply" || what === "queue")) continue;
    if (typeof name !== "string" || !/^[^\s\u0000-\u001f\u007f]+$/.test(name)) {
      throw new StampError("invalid", `the ${what} is empty, or holds a space or a control character`);
    }
    all += name;
  }
  const most = longestLine - besideNames;
  if (3 * all.length > most && utf8.encode(all).length > most) throw new StampError("too-large", `the ${Object.keys(names).join(" and ")} are longer than the ${longestLine} bytes of a line that the server takes`);
}

/** The part of a visitor that the page may have. */
function known({ authenticated, expires, claims }: Visitor): Session {
  return authenticated ? { authenticated, expires, claims } : { authenticated };
}

/** A subject as long as any that the client makes for answers. */
const longestInbox = (prefix = "_INBOX") => prefix + "x".repeat(2 * 23);

const hiddenNames = (more: string[] = []) => new Set(["authorization", "set-cookie", ...more.map((name) => String(name).toLowerCase())]);

/** A message for the page: of what came in one frame with it, and of hidden headers, there is nothing in it. Throws where it cannot be read. */
function wire(msg: Msg, hidden: Set<string>): Wire {
  const { subject, reply, data, headers } = msg;
  if (headers instanceof Block && headers.unreadable !== "") throw new StampError("unreadable", headers.unreadable);
  return {
    subject, reply: reply || undefined, status: headers?.code || undefined, description: headers?.description,
    headers: [...headers ?? []].filter(([name]) => !hidden.has(name.toLowerCase())), data: data.slice(),
  };
}

function causeOf(err: unknown): unknown {
  return err instanceof errors.RequestError && err.cause instanceof Error ? err.cause : err;
}

/** An error as the page gets it. */
function told(err: unknown): { code: Code; message: string } {
  if (err instanceof StampError) return { code: err.code, message: err.message };
  const cause = causeOf(err);
  const message = cause instanceof Error ? cause.message : "failed";
  if (cause instanceof errors.NoRespondersError || err instanceof errors.RequestError && err.isNoResponders()) {
    return { code: "unanswered", message: "nobody answers there" };
  }
  // The client says so without a cause to those who wait when it closes (muxsubscription.ts).
  if (cause instanceof errors.RequestError || cause instanceof errors.ClosedConnectionError) return { code: "lost", message: "the connection was lost before the answer came" };
  if (cause instanceof errors.TimeoutError || cause instanceof DOMException && cause.name === "TimeoutError") return { code: "timeout", message };
  if (cause instanceof errors.PermissionViolationError) return { code: "denied", message };
  if (cause instanceof errors.ProtocolError) return { code: /^invalid/i.test(message) ? "invalid" : "failed", message: `the server refuses it: ${message}` };
  if (cause instanceof errors.InvalidSubjectError) return { code: "invalid", message };
  if (cause instanceof errors.InvalidArgumentError && /payload/i.test(message)) return { code: "too-large", message: "the message is larger than the server takes" };
  if (cause instanceof errors.InvalidArgumentError) return { code: "invalid", message };
  return { code: "failed", message };
}
