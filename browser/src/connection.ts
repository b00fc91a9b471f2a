// The connection of a worker: made with a ticket and a key, or with the cookie, and made again
// when it is lost, until there is no session any more.
import { deferred, errors, wsconnect, type Auth, type Deferred, type Msg, type NatsConnection, type Status, type Subscription } from "@nats-io/nats-core";
import type { Signal } from "./abort.ts";
import { newKey, type Key } from "./key.ts";
import { StampError, type Code } from "./errors.ts";
import type { State } from "./messages.ts";
import { sameVisitor, type Site, type Visitor } from "./site.ts";
import { WaitingSocket } from "./socket.ts";
import { afterWaking, untilGone, within } from "./waking.ts";

/** What is kept of a subscription, so that it can be made again. */
export interface Subscribed {
  subject: string;
  queue?: string | undefined;
  /** Messages after which it ends, on all connections together. */
  max?: number | undefined;
  deliver: (err: Error | null, msg: Msg) => void;
}

/** agreed resolves when the newest connection's server has read the subscription, and what it refuses of it has come. */
type Kept = Subscribed & { made?: Subscription; agreed?: Promise<void>; received: number };

/** What of the client is not in its types: a PING, whose promise the parser resolves at the PONG, before it reads on. */
type Inner = NatsConnection & { protocol: { flush(pong: Deferred<void>): Promise<void> } };

/** What the server refuses: all that it answers with -ERR. */
export type Refused = InstanceType<typeof errors.PermissionViolationError> | InstanceType<typeof errors.ProtocolError>;

/** Times in milliseconds. */
const connectTimeout = 20_000, firstPause = 1_000, longestPause = 15_000;

/** How often it is looked whether the server is there, and how long that may take; milliseconds. */
const usualChecks = { every: 20_000, within: 10_000 };

export class Connection {
  readonly #site: Site;
  readonly #tell: (state: State, reason: string) => void;
  readonly #refused: (err: Refused) => void;
  readonly #subscriptions = new Map<number, Kept>();
  readonly #claimed = new WeakSet<Error>(); // errors that somebody waits for
  readonly #checks: typeof usualChecks;
  readonly #key: Promise<Key | undefined>;
  #state: State = "closed";
  #reason = "";
  #begun = true; // false: it is not known yet whether there will be a connection
  #nc: NatsConnection | undefined;
  #socket: WaitingSocket | undefined; // of the newest connection
  #checking = false;
  #run = 0; // number of the loop that may act; another one has been stopped
  #waiting = new Set<() => void>(); // for another state
  #hurry = () => {};
  #losses = new Set<() => void>(); // what is to be told when the newest connection is lost
  #unread = new Set<Kept>(); // what the newest connection's server may not have read yet, in the order of the lines
  #failure: StampError | undefined; // why the newest start failed

  constructor(site: Site, tell: (state: State, reason: string) => void, refused: (err: Refused) => void, checks = usualChecks) {
    this.#site = site;
    this.#tell = tell;
    this.#refused = refused;
    this.#key = site.tickets ? newKey() : Promise.resolve(undefined);
    this.#checks = checks;
    self.addEventListener("online", () => {
      this.#hurry();
      void this.check();
    });
  }

  /** Whether tickets are bound to a key. */
  async keyed(): Promise<boolean> {
    return await this.#key !== undefined;
  }

  /** Says that start() or stop() will follow: until then requests wait. */
  prepare(): void {
    this.#begun = false;
  }

  /** Connects, and goes on until there is no session. */
  start(visitor: Visitor): void {
    this.#begun = true;
    if (this.#state === "closed" || this.#state === "signed-out") void this.#loop(++this.#run, visitor);
  }

  /**
   * Ends it. failure is what calls are told, where it is more than the state. Nobody waits for the websocket's end: with a
   * server that is silent it takes a browser long.
   */
  stop(state: "closed" | "signed-out", reason: string, failure?: StampError): void {
    this.#run++;
    this.#begun = true;
    const nc = this.#nc;
    this.#nc = undefined;
    this.#failure = failure;
    this.#set(state, reason);
    this.#hurry();
    void nc?.close().catch(() => {});
  }

  /** The connection; undefined where there is none now. */
  get open(): NatsConnection | undefined {
    return this.#nc;
  }

  /**
   * The connection, once it is there, and how much is left then of that time. It fails when there will be none, or is none in time.
   * Whatever waits for it goes on in the order in which it was called, if it awaits nothing else meanwhile.
   */
  async ready(milliseconds: number): Promise<{ nc: NatsConnection; left: number }> {
    if (this.#nc) return { nc: this.#nc, left: milliseconds };
    const stop = afterWaking(milliseconds, () => {});
    try {
      return { nc: await untilGone(milliseconds, (gone) => this.#open(gone), () => this.#late(milliseconds)), left: stop() };
    } finally {
      stop();
    }
  }

  /** How many bytes of a message the server takes; undefined where there is no connection. */
  get most(): number | undefined {
    return this.#nc?.info?.max_payload;
  }

  /** Why there is no connection and will be none; undefined where there may be one. */
  get ended(): StampError | undefined {
    if (!this.#begun || this.#state !== "closed" && this.#state !== "signed-out") return undefined;
    return this.#failure ?? new StampError(this.#state, this.#why());
  }

  /** The error of whatever waited for the server, or for a connection to it, too long. */
  #late(milliseconds: number): StampError {
    const code: Code = this.#nc ? "timeout" : this.#state === "refused" ? "refused" : "no-connection";
    return new StampError(code, `timed out after ${milliseconds} ms: ${this.#why()}`);
  }

  /** The connection, once it is there. Nothing is kept of a caller that has gone. */
  #open(gone: Signal): Promise<NatsConnection> {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (!this.#nc && !this.ended) {
          this.#waiting.add(look);
          return;
        }
        gone.removeEventListener("abort", forget);
        if (this.#nc) resolve(this.#nc);
        else reject(this.ended!);
      };
      const forget = () => {
        this.#waiting.delete(look);
        reject(new Error("nobody waits for it"));
      };
      gone.addEventListener("abort", forget);
      look();
    });
  }

  #why(): string {
    const what = { connecting: "not connected yet", connected: "connected", lost: "the connection is lost", refused: "the connection is refused", "signed-out": "not signed in", closed: "closed" }[this.#state];
    return this.#reason === "" ? what : `${what}: ${this.#reason}`;
  }

  #set(state: State, reason = ""): void {
    if (this.#state !== state || this.#reason !== reason) {
      this.#state = state;
      this.#reason = reason;
      this.#tell(state, reason);
    }
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const go of waiting) go();
  }

  async #loop(run: number, visitor: Visitor): Promise<void> {
    this.#set("connecting");
    for (let failures = 0, first = true; run === this.#run; failures++, first = false) {
      try {
        if (!first) await this.#sameAs(visitor);
        const nc = await this.#connect(visitor.inbox);
        if (run !== this.#run) {
          await nc.close();
          return;
        }
        failures = 0;
        this.#use(nc);
        const err = await nc.closed();
        if (run !== this.#run) return;
        this.#nc = undefined;
        this.#set("lost", err ? err.message : "");
      } catch (err) {
        if (run === this.#run) await this.#failed(run, err, visitor);
      }
      if (run === this.#run) await this.#pause(failures);
    }
  }

  /** A pass is for one session, but the cookie may be somebody else's by now. */
  async #sameAs(visitor: Visitor): Promise<void> {
    if (this.#site.tickets) return;
    const now = await this.#site.visitor();
    if (!now.authenticated) throw new StampError("signed-out", "there is no session");
    if (!sameVisitor(visitor, now)) throw new StampError("signed-out", "the session is another one than before");
  }

  async #failed(run: number, err: unknown, before: Visitor): Promise<void> {
    const reason = err instanceof Error ? err.message : String(err);
    if (err instanceof StampError && (err.code === "signed-out" || err.code === "closed")) {
      this.stop(err.code, reason);
      return;
    }
    const refused = err instanceof StampError && err.code === "refused"; // a ticket
    if (!(refused || err instanceof errors.AuthorizationError || err instanceof errors.UserAuthenticationExpiredError)) {
      this.#set("lost", reason);
      return;
    }
    // The server says as much when the session has ended as when it cannot tell, and a proxy that gives no ticket knows of no session.
    const visitor = await this.#site.visitor().catch(() => undefined);
    if (run !== this.#run) return;
    if (visitor && !visitor.authenticated) this.stop("signed-out", "there is no session");
    else if (visitor && !sameVisitor(before, visitor)) this.stop("signed-out", "the session is another one than before");
    else this.#set("refused", reason);
  }

  /**
   * Waits a random time, or until the browser is online again. After each failure it may be longer: all
   * browsers lose their connections at once when a server goes.
   */
  #pause(failures: number): Promise<void> {
    return new Promise((resolve) => {
      const most = Math.min(firstPause * 2 ** failures, longestPause);
      const timer = setTimeout(resolve, most * Math.random());
      this.#hurry = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #connect(inboxPrefix: string | undefined): Promise<NatsConnection> {
    let auth: Auth | undefined, failure: unknown;
    const credential = this.#credential();
    credential.catch(() => {}); // it is awaited below
    const prepare = async (nonce: string | undefined) => {
      try {
        auth = await (await credential)(nonce);
      } catch (err) {
        failure = err;
        throw err;
      }
    };
    try {
      return await wsconnect({
        // The address is the factory's; the client wants one too.
        servers: this.#site.websocket, ignoreClusterUpdates: true, reconnect: false, timeout: connectTimeout,
        authenticator: () => auth, name: "stamp", inboxPrefix,
        // @ts-ignore: an option of the websocket transport that its types leave out
        wsFactory: async () => {
          this.#socket = new WaitingSocket(this.#site.websocket, prepare);
          return { socket: this.#socket, encrypted: this.#site.websocket.startsWith("wss:") };
        },
      });
    } catch (err) {
      throw failure ?? err;
    }
  }

  /** What CONNECT says, as a function of the nonce. The ticket is fetched while the websocket opens. */
  async #credential(): Promise<(nonce: string | undefined) => Promise<Auth | undefined>> {
    if (!this.#site.tickets) return async () => undefined;
    const key = await this.#key;
    if (!key) {
      if (this.#site.key === "required") throw new StampError("closed", "this browser lacks Ed25519, which the site requires");
      const ticket = await this.#site.ticket("");
      return async () => ({ auth_token: ticket });
    }
    const ticket = await this.#site.ticket(key.nkey);
    return async (nonce) => {
      if (nonce === undefined) throw new StampError("failed", "the server sends no nonce to sign; its configuration needs a user with an nkey");
      return { auth_token: ticket, nkey: key.nkey, sig: await key.sign(nonce) } as Auth;
    };
  }

  #use(nc: NatsConnection): void {
    this.#nc = nc;
    this.#unread = new Set();
    this.#watch(nc);
    for (const s of this.#subscriptions.values()) this.#make(nc, s);
    const timer = setInterval(() => void this.check(), this.#checks.every);
    const losses = this.#losses = new Set();
    void nc.closed().then(() => {
      clearInterval(timer);
      for (const lost of losses) lost();
    });
    this.#set("connected");
  }

  /**
   * Hears each -ERR while the client's parser reads it, before it reads on: a loop over the statuses would be later than the
   * PONG that comes behind.
   */
  #watch(nc: NatsConnection): void {
    Object.assign(nc.status(), { push: (status: Status) => {
      if (status.type === "error") this.#hear(status.error);
      // The client says so before a request that was cut off passes its turn on: the next one is for the next connection.
      if (status.type === "close" && this.#nc === nc) this.#nc = undefined;
    } });
  }

  /** Tells what the server refuses: the subscription that it is about, or else the page. The client itself ends what ends with the session. */
  #hear(error: Error): void {
    if (!(error instanceof errors.PermissionViolationError || error instanceof errors.ProtocolError)) return;
    const [oldest] = this.#unread; // the server answers in the order of the lines, and with a PONG behind each subscription
    if (oldest && !this.#claimed.has(error) && isAbout(oldest, error)) {
      oldest.deliver(error, {} as Msg);
      oldest.made?.unsubscribe();
    }
    setTimeout(() => { // who waits has heard of it by then
      if (!this.#claimed.has(error)) this.#refused(error);
    });
  }

  /** Says that an error has reached who waits for it. */
  claim(err: unknown): void {
    if (err instanceof Error) this.#claimed.add(err);
  }

  /** Gives the connection up where the server does not answer: a browser may learn late that a network is gone. */
  async check(): Promise<void> {
    const nc = this.#nc, socket = this.#socket;
    if (!nc || this.#checking) return;
    this.#checking = true;
    try {
      await within(this.#checks.within, nc.flush(), () => this.#late(this.#checks.within));
    } catch {
      if (this.#nc === nc) socket?.abandon("the server does not answer");
    } finally {
      this.#checking = false;
    }
  }

  #make(nc: NatsConnection, s: Kept): void {
    s.made = nc.subscribe(s.subject, { callback: s.deliver, queue: s.queue, max: s.max === undefined ? undefined : s.max - s.received });
    const pong = deferred<void>(), unread = this.#unread, { resolve } = pong;
    unread.add(s);
    pong.resolve = () => {
      unread.delete(s);
      resolve();
    };
    pong.catch(() => {}); // the connection is lost
    s.agreed = (nc as Inner).protocol.flush(pong);
  }

  /**
   * Subscribes, on this connection and those after it, and returns when the server knows: that of the next
   * connection, when this one is lost meanwhile.
   */
  async subscribe(id: number, s: Subscribed, milliseconds: number, signal?: Signal): Promise<void> {
    let refused: Error | null = null, agreed = false;
    const { deliver } = s;
    const kept: Kept = {
      ...s,
      received: 0,
      deliver: (err, msg) => {
        if (err) {
          refused = err;
          this.claim(err);
          this.#subscriptions.delete(id);
          if (!agreed) return; // it is told below
        } else if (++kept.received === s.max) this.#subscriptions.delete(id);
        deliver(err, msg);
      },
    };
    const { nc, left } = await this.ready(milliseconds);
    checkWanted(signal);
    this.#subscriptions.set(id, kept);
    try {
      this.#make(nc, kept);
      const over = () => refused !== null || signal?.aborted === true || !this.#subscriptions.has(id); // then no other connection has it
      await untilGone(left, (gone) => this.#answered(() => kept.agreed!, gone, over), () => this.#late(milliseconds));
      checkWanted(signal);
    } catch (err) {
      this.unsubscribe(id);
      throw err;
    }
    if (refused) throw refused;
    agreed = true;
  }

  /** Waits for an answer of the server's, from the next connection when this one is lost: the client's promise may never settle then. */
  async #answered(answer: (nc: NatsConnection) => Promise<void>, gone: Signal, over = () => false): Promise<void> {
    for (let known = false; !known && !over();) known = await this.#unlessLost(answer(this.#nc ?? await this.#open(gone)), gone);
  }

  /** Whether it comes before the connection is lost. The promise of the connection's end would keep all that ever waited for it. */
  #unlessLost(what: Promise<unknown>, gone: Signal): Promise<boolean> {
    const losses = this.#losses;
    return new Promise<boolean>((resolve) => {
      const lost = () => resolve(false);
      const forget = () => {
        losses.delete(lost);
        gone.removeEventListener("abort", forget);
      };
      losses.add(lost);
      gone.addEventListener("abort", forget);
      void what.then(() => resolve(true), lost).finally(forget);
    });
  }

  /** Waits until the server has read all that was sent before. */
  async flush(milliseconds: number): Promise<void> {
    const { left } = await this.ready(milliseconds); // as a publish() before it does, which may wait: so it goes on first
    await untilGone(left, (gone) => this.#answered((nc) => nc.flush(), gone), () => this.#late(milliseconds));
  }

  /** Unsubscribes, and returns when what the server has sent before is there. */
  async drain(id: number, milliseconds: number): Promise<void> {
    const made = this.#subscriptions.get(id)?.made, nc = this.#nc;
    this.#subscriptions.delete(id);
    if (!made || !nc || made.isClosed()) return;
    await untilGone(milliseconds, (gone) => this.#unlessLost(made.drain(), gone), () => this.#late(milliseconds));
  }

  unsubscribe(id: number): void {
    this.#subscriptions.get(id)?.made?.unsubscribe();
    this.#subscriptions.delete(id);
  }
}

/** What a -ERR is about. What ends the connection is about that. */
export function operationOf(error: Refused): "publish" | "subscription" | "connection" {
  if (error instanceof errors.PermissionViolationError) return error.operation;
  return /subscription|^invalid subject/i.test(error.message) ? "subscription" : /publish|payload/i.test(error.message) ? "publish" : "connection";
}

/**
 * Whether a -ERR is about the subscription that the server reads. The client's own inbox may be refused too, before it. The
 * server quotes a subject as Go does, so that the client itself does not find each of them.
 */
function isAbout({ subject }: Kept, error: Refused): boolean {
  if (operationOf(error) !== "subscription") return false;
  if (!(error instanceof errors.PermissionViolationError)) return true;
  try {
    return JSON.parse(`"${error.subject}"`) === subject;
  } catch { // an escape that JSON does not have
    return true;
  }
}

/** Throws where the page does not wait for a subscription any more. */
function checkWanted(signal: Signal | undefined): void {
  if (signal?.aborted) throw new StampError("closed", "aborted");
}
