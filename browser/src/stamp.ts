import { answerOf, failure, type Answer } from "./answer.ts";
import { encode, type Body } from "./body.ts";
import { Calls } from "./calls.ts";
import { StampError } from "./errors.ts";
import { checkHeaders, headerMap, methodOf, take } from "./headers.ts";
import { Message } from "./message.ts";
import type { Call, Event as WorkerEvent, HeaderMap, Limits, Reply, Session, Started, State, Wire } from "./messages.ts";
import { subjectOf, urlOf } from "./resource.ts";

export interface Options extends Limits {
  /** URL of the worker's script, of the page's origin; a TrustedScriptURL too. Default: "/auth/worker.js". */
  worker?: string | URL | { toString(): string };
  /** How resources become subjects. Default: subjectOf, so that "/api/users/7" is "api.users.7". */
  subject?: (resource: string | URL, method: string) => string;
  /** Type of bodies that have none. Default: "application/json". */
  contentType?: string;
}

/** Those of fetch() may be given too; what is not listed here means nothing where there is no HTTP. */
export interface FetchOptions extends Omit<RequestInit, "method" | "headers" | "body" | "signal"> {
  /** It is sent as the header Method. Default: GET. */
  method?: string | null | undefined;
  headers?: HeadersInit | HeaderMap | null | undefined;
  /** Objects become JSON; strings, bytes, Blobs and forms are sent as they are. */
  body?: Body;
  signal?: AbortSignal | null | undefined;
  /** Milliseconds, for this request alone. */
  timeout?: number | undefined;
  /** Rejects with a StampError where the answer would have one; its answer is in it. Default: false. */
  throws?: boolean;
}

export interface RequestOptions {
  headers?: HeaderMap;
  signal?: AbortSignal;
  /** Milliseconds, for this request alone. */
  timeout?: number;
}

/** A subscription. It lives on when the connection is lost and made again. */
export interface Subscription {
  unsubscribe(): Promise<void>;
}

const noBody = new Uint8Array(0);

/**
 * A connection to NATS that a worker owns. The page has neither the websocket nor anything to open
 * one with.
 *
 * Events: "state" ({detail: {state, reason}}) and "error" ({detail: {message}}), for what the server
 * refuses of what nobody waits for.
 */
export class Stamp extends EventTarget {
  readonly #options: Options;
  readonly #subscriptions = new Map<number, { deliver: (msg: Message) => void; failed: (err: Error) => void }>();
  #worker: Worker | undefined;
  #port: MessagePort | undefined;
  #state: State = "closed";
  #starting: Promise<Started> | undefined;
  #login: string | undefined;
  #calls: Calls;
  #number = 0; // of the newest subscription
  #sent: Promise<void> = Promise.resolve(); // all requests of before

  constructor(options: Options = {}) {
    super();
    checkNumbers(options);
    this.#options = options;
    this.#calls = new Calls(options);
  }

  /** State of the connection. */
  get state(): State {
    return this.#state;
  }

  /** Whether start() was called, and what it began is not over, nor without an answer: else it begins anew. */
  get started(): boolean {
    return this.#starting !== undefined && this.#state !== "signed-out" && !this.#calls.silent;
  }

  /**
   * Starts the worker, which connects where the visitor is signed in, and tells whether that is so.
   * After a sign-in without a new page it is called again: the worker's credentials come with it.
   */
  start(): Promise<Started> {
    if (this.#starting && this.started) return this.#starting;
    this.close();
    const starting = this.#starting = this.#start();
    starting.catch(() => { // it may be tried again
      if (this.#starting === starting) this.close();
    });
    return starting;
  }

  async #start(): Promise<Started> {
    this.#spawn();
    const { timeout, timeoutAfter, recovery, ordered, concurrency, hidden } = this.#options;
    const started = await this.#ask<Started>({ op: "start", limits: { timeout, timeoutAfter, recovery, ordered, concurrency, hidden } });
    this.#login = started.login;
    return started;
  }

  /** Who is signed in now, as far as the page may know. */
  session(): Promise<Session> {
    return this.#ask<Session>({ op: "session" });
  }

  /**
   * Ends the session, in all tabs. The answer may have the URL where the session of the OpenID
   * provider can be ended too.
   */
  logout(): Promise<{ end_session_url?: string }> {
    return this.#ask({ op: "logout" });
  }

  /** Sends the visitor to the site's login page, and back to a path of this origin. */
  login(to = location.pathname + location.search): void {
    if (this.#login === undefined) throw new StampError("invalid", "the site has no login page, or start() has not ended");
    const url = new URL(this.#login);
    url.searchParams.set("to", to);
    location.assign(url);
  }

  /**
   * Sends a request to the service of a resource, as fetch() does. It resolves with errors too, in
   * body.error, unless throws is set, and rejects with the signal's reason, or TypeError for what cannot be sent.
   */
  async fetch<T = any>(resource: string | URL | Request, options?: FetchOptions | null): Promise<Answer<T>> {
    const answer = resource instanceof Request ? await this.#fetch(resource.url, { ...optionsOf(resource), ...options }) : await this.#fetch(resource, options ?? {});
    if (options?.throws && answer.error) throw answer.error;
    return answer;
  }

  async #fetch(resource: string | URL, options: FetchOptions): Promise<Answer> {
    const method = methodOf(options.method), query = urlOf(resource, location.origin).search.slice(1);
    const subject = this.#options.subject ? this.#options.subject(resource, method) : subjectOf(resource, location.origin);
    const headers = headerMap(options.headers), given = take(headers, "content-type");
    take(headers, "method");
    take(headers, "query");
    checkHeaders(headers);
    headers["Method"] = method;
    if (query !== "") headers["Query"] = query;
    try {
      return answerOf(await this.#inOrder(encode(options.body, given, this.#options.contentType ?? "application/json"), ({ data, type }) => {
        if (type !== undefined) headers["Content-Type"] = type;
        return this.#request(subject, headers, data, options);
      }));
    } catch (err) {
      if (err instanceof StampError) return failure(err);
      throw err;
    }
  }

  /** Sends a request. Rejects with StampError, or the signal's reason. */
  async request(subject: string, payload?: Uint8Array | string, options: RequestOptions = {}): Promise<Message> {
    const headers = headerMap(options.headers), data = bytes(payload);
    return new Message(await this.#inOrder(Promise.resolve(), () => this.#request(subject, headers, data, options)));
  }

  /** Publishes a message. What the server refuses of it comes as an "error" event. */
  publish(subject: string, payload?: Uint8Array | string, options: { headers?: HeaderMap; reply?: string } = {}): Promise<void> {
    return this.#ask({ op: "publish", subject, headers: headerMap(options.headers), data: bytes(payload), reply: options.reply });
  }

  /**
   * Subscribes, and resolves when the server has agreed; rejects with StampError when it has not.
   * failed is told when it no longer does: after a new connection, or when the session has ended.
   */
  async subscribe(
    subject: string, deliver: (msg: Message) => void,
    options: { queue?: string; failed?: (err: Error) => void } = {},
  ): Promise<Subscription> {
    const subscription = ++this.#number;
    this.#subscriptions.set(subscription, { deliver, failed: options.failed ?? (() => {}) });
    try {
      await this.#ask({ op: "subscribe", subject, subscription, queue: options.queue });
    } catch (err) {
      this.#subscriptions.delete(subscription);
      throw err;
    }
    return {
      unsubscribe: async () => {
        this.#subscriptions.delete(subscription);
        if (this.#port) await this.#ask({ op: "unsubscribe", subscription });
      },
    };
  }

  /** Ends the worker and its connection. start() begins anew. */
  close(): void {
    this.#worker?.terminate();
    this.#port?.close();
    this.#worker = this.#port = this.#starting = undefined;
    this.#calls.fail(new StampError("closed", "closed"));
    this.#calls = new Calls(this.#options);
    this.#change("closed", "");
  }

  #spawn(): void {
    const script = this.#options.worker ?? "/auth/worker.js";
    let worker: Worker;
    try {
      const known = typeof script === "string" || script instanceof URL; // a TrustedScriptURL has to stay one
      worker = new Worker(known ? new URL(script, location.href) : script as URL, { name: "stamp" });
    } catch (err) {
      throw noWorker(script, err instanceof Error ? err.message : String(err));
    }
    const { port1, port2 } = new MessageChannel();
    let began = false;
    worker.onerror = (event) => {
      if (began || this.#worker !== worker) return;
      event.preventDefault(); // the site does not give the script, or the browser no worker
      this.#calls.fail(noWorker(script, event.message));
      this.close();
    };
    port1.onmessage = ({ data }: MessageEvent<Reply | WorkerEvent>) => {
      began = true;
      this.#calls.heard();
      this.#receive(data);
    };
    worker.postMessage(null, [port2]);
    this.#worker = worker;
    this.#port = port1;
  }

  #receive(data: Reply | WorkerEvent): void {
    if ("id" in data) {
      this.#calls.receive(data);
      return;
    }
    switch (data.event) {
      case "state":
        this.#change(data.state, data.reason);
        break;
      case "message":
        this.#subscriptions.get(data.subscription)?.deliver(new Message(data.message));
        break;
      case "error":
        if (data.subscription === undefined) {
          this.dispatchEvent(new CustomEvent("error", { detail: { message: data.message } }));
        } else {
          this.#subscriptions.get(data.subscription)?.failed(new StampError("denied", data.message));
          this.#subscriptions.delete(data.subscription);
        }
    }
  }

  #change(state: State, reason: string): void {
    if (state === this.#state) return;
    this.#state = state;
    if (state === "closed" || state === "signed-out") { // a worker after this one knows nothing of them
      const ended = [...this.#subscriptions.values()];
      this.#subscriptions.clear();
      for (const { failed } of ended) failed(new StampError(state, reason || state));
    }
    this.dispatchEvent(new CustomEvent("state", { detail: { state, reason } }));
  }

  #ask<T>(call: Call): Promise<T> {
    return this.#called<T>(call).reply;
  }

  #called<T>(call: Call, timeout?: number): { id: number; reply: Promise<T> } {
    if (this.#port) return this.#calls.ask<T>(this.#port, call, timeout);
    return { id: 0, reply: Promise.reject(new StampError("not-started", "not started: call start() first")) };
  }

  /** Sends what is ready; where order matters, not before the calls before it have. */
  async #inOrder<T>(ready: Promise<T>, send: (made: T) => Promise<Wire>): Promise<Wire> {
    if (!this.#options.ordered) return send(await ready);
    const before = this.#sent;
    let sent = () => {};
    this.#sent = new Promise((resolve) => { sent = resolve; });
    try {
      const [made] = await Promise.all([ready, before]);
      return send(made); // not awaited: the next one may be sent, and waits in the worker
    } finally {
      void before.then(sent); // ready may have failed before that
    }
  }

  async #request(subject: string, headers: HeaderMap, data: Uint8Array, { signal, timeout }: { signal?: AbortSignal | null; timeout?: number }): Promise<Wire> {
    checkNumbers({ timeout });
    signal?.throwIfAborted();
    const { id, reply } = this.#called<Wire>({ op: "request", subject, headers, data, timeout }, timeout);
    if (!signal) return reply;
    reply.catch(() => {}); // it may come when nobody waits any more
    let abort = () => {};
    const aborted = new Promise<never>((_, reject) => {
      abort = () => {
        reject(signal.reason);
        void this.#ask({ op: "abort", call: id }).catch(() => {});
      };
      signal.addEventListener("abort", abort);
    });
    try {
      return await Promise.race([reply, aborted]);
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }
}

/** What a Request of fetch() says, as options of ours. */
function optionsOf(request: Request): FetchOptions {
  const { method, headers, signal } = request;
  return { method, headers, signal, body: method === "GET" || method === "HEAD" ? undefined : request };
}

/** The error of a worker whose script does not come or cannot be run. The browser does not say why. */
function noWorker(script: { toString(): string }, reason: string | undefined): StampError {
  const between = serviceWorker();
  const hint = between ? `; the service worker ${between} answers the requests of this page: it has to leave those of the worker to the browser` : "";
  return new StampError("no-worker", `the worker ${script} could not be started${reason ? `: ${reason}` : ""}${hint}`);
}

/** The URL of the page's service worker. A page in a sandbox may not even ask. */
function serviceWorker(): string | undefined {
  try {
    return navigator.serviceWorker?.controller?.scriptURL;
  } catch {
    return undefined;
  }
}

/** Throws for what would be no time, or let no request through. */
function checkNumbers({ timeout = 1, timeoutAfter = 1, recovery = 1, concurrency = 1 }: Limits): void {
  for (const [name, value] of Object.entries({ timeout, timeoutAfter, recovery, concurrency })) {
    if (typeof value !== "number" || !(value > 0 || value === 0 && name === "recovery")) throw new TypeError(`${name}: must be a positive number`);
  }
}

/** Bytes alone: of a part of a buffer, the whole would cross the port. */
const bytes = (payload: Uint8Array | string | undefined) => (typeof payload === "string" ? new TextEncoder().encode(payload) : payload?.slice() ?? noBody);
