import { Abort } from "./abort.ts";
import { answerOf, failure, type Answer } from "./answer.ts";
import { encode, payloadBytes, type Body, type Payload } from "./body.ts";
import { Calls } from "./calls.ts";
import { bare, checked, checkHidden, found, foundName, isA, isPage } from "./checks.ts";
import { asyncDispose } from "./dispose.ts";
import { StampError } from "./errors.ts";
import type { Listener, Refusal, StampEventMap, StateChange } from "./events.ts";
import { checkHeaders, headerMap, methodOf, take } from "./headers.ts";
import { onFree } from "./life.ts";
import { Message, type MessageHeaders } from "./message.ts";
import type { Call, Event as WorkerEvent, HeaderMap, Limits, Reply, Session, Started, State, Wire } from "./messages.ts";
import { baseOfPage, originOfPage, subjectOfPath, urlOf, urlOfPage, type Path } from "./resource.ts";
import { Stream } from "./stream.ts";
import { Subscription, type SubscribeOptions } from "./subscription.ts";
import { afterWaking, within } from "./waking.ts";

export interface Options extends Limits {
  /** URL of the worker's script, of the page's origin; a TrustedScriptURL too. Default: "/auth/worker.js". */
  worker?: string | URL | { toString(): string } | null | undefined;
  /** The page where visitors sign in. Default: what start() tells, and until it has told, "login" beside the worker's script. */
  login?: string | URL | null | undefined;
  /** How resources become subjects. Default: subjectOf, so that "/api/users/7" is "api.users.7". */
  subject?: ((resource: string | URL, method: string) => string) | null | undefined;
  /** Type of bodies that have none. Default: "application/json". */
  contentType?: string | null | undefined;
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
  throws?: boolean | undefined;
}

/** Headers of a message: of the page's own, or those of a message that has come. */
export type MessageHeadersInit = HeaderMap | MessageHeaders;

export interface RequestOptions {
  headers?: MessageHeadersInit | undefined;
  signal?: AbortSignal | null | undefined;
  /** Milliseconds, for this request alone. */
  timeout?: number | undefined;
}

export interface PublishOptions {
  headers?: MessageHeadersInit | undefined;
  reply?: string | null | undefined;
}

/** When requestMany() ends: at whatever comes first. */
export interface RequestManyOptions {
  headers?: MessageHeadersInit | undefined;
  signal?: AbortSignal | null | undefined;
  /** Milliseconds in which answers are awaited. Default: 1000. */
  timeout?: number | undefined;
  /** So many answers are enough. */
  max?: number | undefined;
  /** Milliseconds after an answer in which no other one came. */
  stall?: number | undefined;
  /** An answer without a body is the end, and is no answer. Default: false. */
  sentinel?: boolean | undefined;
}

export interface WhenOptions {
  signal?: AbortSignal | null | undefined;
  /** Milliseconds. Default: the timeout of the Stamp. */
  timeout?: number | undefined;
}

/** What messages of a number in the worker go to. */
interface Receiver {
  receive(msg: Message): void;
  fail(err: Error): void;
  /** A message has come that cannot be read. */
  missed?(): void;
  drain?(): Promise<void>;
}

/** The requests of a run, where order matters. */
interface Order {
  /** Resolves when all of them have been sent, or will not be. */
  sent: Promise<void>;
  /** How many have not. */
  waiting: number;
}

const newOrder = (): Order => ({ sent: Promise.resolve(), waiting: 0 });

/** What ends a request. */
type Bounds = Pick<RequestOptions, "signal" | "timeout">;

const defaultScript = "/auth/worker.js";
const states: readonly State[] = ["connecting", "connected", "lost", "refused", "signed-out", "closed"];

/**
 * A connection to NATS that a worker owns. The page has neither the websocket nor anything to open
 * one with.
 *
 * Events: "state" ({detail: {state, reason}}) and "error" ({detail: {message, code, operation, subject}}), for what
 * the server refuses of what nobody waits for, and for messages that cannot be read.
 */
export class Stamp extends EventTarget {
  readonly #options: Options;
  readonly #receivers = new Map<number, Receiver>();
  readonly #underWay = new Set<Promise<unknown>>(); // calls that drain() waits for
  readonly #watchers = new Set<() => void>(); // of the state
  #worker: Worker | undefined;
  #port: MessagePort | undefined;
  #state: State = "closed";
  #starting: Promise<Started> | undefined;
  #told: Started | undefined; // by start(), the last time that it succeeded
  #ended: StampError | undefined; // why there will be no connection before the next start()
  #draining: Promise<void> | undefined;
  #again: Promise<Started> | undefined; // start() that waits for drain()
  #run = 0;
  #life = new AbortController(); // of this run; its reason is why it is over
  #calls: Calls;
  #unwatch: (() => void) | undefined; // ends the wait for the worker's lock
  #number = 0; // of the newest receiver
  #order = newOrder();
  #most = 64 * 1024 * 1024; // bytes of a message; until the server tells, what it takes if its max_pending was not changed

  constructor(options?: Options | null) {
    super();
    this.#options = checked(options);
    checkHidden("hidden", this.#options.hidden ?? []);
    this.#calls = new Calls(this.#options);
  }

  /** State of the connection. */
  get state(): State {
    return this.#state;
  }

  /**
   * Whether start() was called, and what it began is not over, about to be over by drain(), or without an answer: else it
   * begins anew. It is true too when start() waits for drain().
   */
  get started(): boolean {
    if (this.#again) return true;
    return this.#starting !== undefined && !this.#ended && !this.#draining && !this.#calls.silent;
  }

  /** What start() of this run resolves with; undefined where it was not called. For the class of rest-secure. */
  get starting(): Promise<Started> | undefined {
    return this.#starting;
  }

  /**
   * Another number after each start(), close() and drain(), of which the event "run" tells. For the hooks: what was told in
   * another run may have been for another visitor.
   */
  get run(): number {
    return this.#run;
  }

  /** Why there is no connection, and will be none before the next start(); undefined before the first one. */
  get ended(): StampError | undefined {
    return this.#ended;
  }

  /**
   * Starts the worker, which connects where the visitor is signed in, and tells whether that is so.
   * After a sign-in without a new page it is called again: the worker's credentials come with it.
   */
  start(): Promise<Started> {
    if (this.#draining) return this.#again ??= this.#startAfter(this.#draining);
    if (this.#starting && this.started) return this.#starting;
    if (this.#run === 0) this.#run++; // what was asked before the very first start() waits for that
    else this.#stop(new StampError("closed", "closed"));
    if (this.#starting) return this.#starting; // a listener that was told of the end has started it
    this.#ended = undefined;
    const starting = this.#starting = this.#start();
    starting.catch((err: StampError) => { // it may be tried again
      if (this.#starting === starting) this.#end(err);
    });
    this.dispatchEvent(new Event("run"));
    return starting;
  }

  /** Starts when drain() is over, unless close() was called meanwhile. */
  #startAfter(draining: Promise<void>): Promise<Started> {
    const again: Promise<Started> = draining.catch(() => {}).then(() => {
      if (this.#again !== again) throw new StampError("closed", "closed");
      this.#again = undefined;
      return this.start();
    });
    return again;
  }

  async #start(): Promise<Started> {
    try {
      if (typeof Worker === "undefined" || typeof location === "undefined") throw new StampError("no-worker", "start() needs a browser: there are no workers here");
      this.#spawn();
    } catch (err) {
      this.#ended = err as StampError; // for calls that are made before start() has rejected
      throw err;
    }
    const { timeout, timeoutAfter, recovery, ordered, concurrency, hidden } = this.#options;
    const started = await this.#ask<Started>({ op: "start", limits: { timeout, timeoutAfter, recovery, ordered, concurrency, hidden } });
    this.#told = started;
    return started;
  }

  /**
   * Waits until the connection has a state. Rejects when it cannot have it any more (StampError, with the code signed-out,
   * closed or that of start()), and when the time is over (no-connection, refused or not-started).
   */
  async when(state: State, options?: WhenOptions | null): Promise<void> {
    const { signal, timeout = this.#options.timeout ?? 20_000 } = checked(options);
    if (!states.includes(state)) throw new TypeError(`state: expected one of ${states.join(", ")}; found ${foundName(state)}`);
    signal?.throwIfAborted();
    if (this.#state === state) return;
    if (this.#ended) throw this.#ended;
    await new Promise<void>((resolve, reject) => {
      const done = (settle: () => void) => {
        this.#watchers.delete(watch);
        signal?.removeEventListener("abort", abort);
        cancel();
        settle();
      };
      const watch = () => {
        if (this.#state === state) done(resolve);
        else if (this.#ended) done(() => reject(this.#ended));
      };
      const abort = () => done(() => reject(signal!.reason));
      const cancel = afterWaking(timeout, () => done(() => reject(this.#late(state, timeout))));
      this.#watchers.add(watch);
      signal?.addEventListener("abort", abort);
    });
  }

  #late(wanted: State, timeout: number): StampError {
    if (!this.#starting) return new StampError("not-started", "not started: call start() first");
    return new StampError(this.#state === "refused" ? "refused" : "no-connection", `not ${wanted} in ${timeout} ms, but ${this.#state}`);
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

  /**
   * Sends the visitor to the site's login page, and back to a path of this origin: the page's own where none is given.
   * It works before start(), and after one that failed.
   */
  login(to?: string): void {
    if (typeof location === "undefined") throw new StampError("no-worker", "login() needs a browser");
    const url = this.#loginPage();
    if (!url || !isPage(url.href)) throw new StampError("invalid", "the site has no login page");
    const { pathname, search } = new URL(urlOfPage());
    url.searchParams.set("to", to ?? pathname + search);
    location.assign(url);
  }

  /** URL of the worker's script. The default is of this origin, whatever <base href> says. */
  #script(): URL {
    const { worker } = this.#options;
    return worker === undefined || worker === null ? new URL(defaultScript, originOfPage()) : new URL(String(worker), baseOfPage());
  }

  #loginPage(): URL | undefined {
    if (this.#options.login) return new URL(this.#options.login, baseOfPage());
    if (!this.#told) return new URL("login", this.#script());
    return this.#told.login === undefined ? undefined : new URL(this.#told.login);
  }

  /**
   * Sends a request to the service of a resource, as fetch() does. It resolves with errors too, in
   * body.error, unless throws is set, and rejects with the signal's reason, or TypeError for what cannot be sent.
   */
  async fetch<T = any>(resource: string | URL | Request, options?: FetchOptions | null): Promise<Answer<T>> {
    const given = checked(options), request = isRequest(resource);
    const whole = request ? bare({ ...optionsOf(resource), ...withoutNull(given) }) : given;
    const answer = await this.#track(this.#fetch(request ? resource.url : resource, whole));
    if (given.throws && answer.error) throw answer.error;
    return answer;
  }

  async #fetch(resource: string | URL, options: FetchOptions): Promise<Answer> {
    const method = methodOf(options.method), url = urlOf(resource, originOfPage()), query = url.search.slice(1);
    const subject = this.#subject(resource, url, method);
    const headers = headerMap(options.headers), given = take(headers, "content-type");
    take(headers, "method");
    take(headers, "query");
    checkHeaders(given === undefined ? headers : { ...headers, "Content-Type": given });
    headers["Method"] = method;
    if (query !== "") headers["Query"] = query;
    const reading = new Abort();
    try {
      this.#checkOpen();
      return answerOf(await this.#inOrder(encode(options.body, given, this.#options.contentType ?? "application/json", { gone: reading, most: () => this.#most }), ({ data, type }) => {
        if (type !== undefined) headers["Content-Type"] = type;
        return this.#request(subject, headers, data, options);
      }, options));
    } catch (err) {
      if (err instanceof StampError) return failure(err);
      throw err;
    } finally {
      reading.abort();
    }
  }

  #subject(resource: string | URL, url: Path, method: string): string {
    if (!this.#options.subject) return subjectOfPath(url);
    const subject: unknown = this.#options.subject(resource, method);
    if (typeof subject === "string") return subject;
    throw new TypeError(`subject: expected a function that returns a string; it returned ${isA("Promise", subject) ? "a promise" : found(subject)}`);
  }

  /**
   * Sends a request. Rejects with StampError, or the signal's reason. The error of a service is a StampError too, the one that
   * fetch() has, with the service's answer. Strings are sent as UTF-8, bytes as they are; anything else is a TypeError.
   */
  request(subject: string, payload?: Payload, options?: RequestOptions | null): Promise<Message> {
    return this.#track(this.#requestOne(subject, payload, options));
  }

  async #requestOne(subject: string, payload: Payload, given: RequestOptions | null | undefined): Promise<Message> {
    this.#checkOpen();
    const options = checked(given), headers = headerMap(options.headers), data = payloadBytes(payload);
    const message = new Message(await this.#inOrder({}, () => this.#request(subject, headers, data, options), options));
    const { error } = message;
    if (error) throw error;
    return message;
  }

  /**
   * Sends a request that several may answer. `for await` reads the answers; what nobody answers is a StampError of it. It is
   * sent at once, whatever ordered and concurrency say. The error of a service is an answer here: message.error has it.
   */
  requestMany(subject: string, payload?: Payload, options?: RequestManyOptions | null): AsyncIterableIterator<Message> {
    const { timeout = 1000, max, stall, sentinel, signal, headers: given } = checked(options);
    const headers = headerMap(given), data = payloadBytes(payload);
    this.#checkOpen();
    signal?.throwIfAborted();
    const receiver = ++this.#number;
    let cancel = () => {};
    const stream = new Stream<Message>(() => cancel());
    const end = (error?: { err: unknown }) => {
      this.#receivers.delete(receiver);
      signal?.removeEventListener("abort", abort);
      stream.end(error);
    };
    const abort = () => {
      cancel();
      end({ err: signal!.reason });
    };
    this.#receivers.set(receiver, { receive: (msg) => stream.push(msg), fail: (err) => end({ err }) });
    signal?.addEventListener("abort", abort);
    const called = this.#called<void>(
      { op: "requestMany", subject, headers, data, receiver, enough: { timeout, max, stall, sentinel } },
      timeout + (this.#options.timeout ?? 20_000), // the connection may have to come first
    );
    cancel = () => {
      if (this.#receivers.delete(receiver)) called.abort();
    };
    this.#track(called.reply).then(() => end(), (err: unknown) => end({ err }));
    return stream;
  }

  /** Publishes a message. What the server refuses of it comes as an "error" event, with its subject. */
  async publish(subject: string, payload?: Payload, options?: PublishOptions | null): Promise<void> {
    this.#checkOpen();
    const { headers, reply } = checked(options);
    await this.#track(this.#ask({ op: "publish", subject, headers: headerMap(headers), data: payloadBytes(payload), reply }));
  }

  /** Resolves when the server has read all that was sent before. */
  async flush(): Promise<void> {
    await this.#ask({ op: "flush" });
  }

  /**
   * Subscribes, and resolves when the server has agreed; rejects with StampError when it has not. The messages go to the
   * function, or to `for await` where there is none. failed is told when the server no longer agrees: after a new
   * connection, or when the session has ended.
   */
  subscribe(subject: string, deliver: ((msg: Message) => void) | null | undefined, options?: SubscribeOptions | null): Promise<Subscription>;
  subscribe(subject: string, options?: SubscribeOptions | null): Promise<Subscription>;
  async subscribe(subject: string, second?: ((msg: Message) => void) | SubscribeOptions | null, third?: SubscribeOptions | null): Promise<Subscription> {
    const deliver = typeof second === "function" ? second : undefined;
    const options = checked(deliver ? third : second as SubscribeOptions | null | undefined ?? third);
    this.#checkOpen();
    options.signal?.throwIfAborted();
    const receiver = ++this.#number;
    const unsubscribe = async (drain: boolean) => {
      if (!drain) this.#receivers.delete(receiver);
      if (this.#port) await this.#ask({ op: "unsubscribe", subscription: receiver, drain });
    };
    const subscription = new Subscription({ unsubscribe }, subject, deliver, options);
    void subscription.closed.then(() => this.#receivers.delete(receiver));
    this.#receivers.set(receiver, subscription);
    const { reply, abort } = this.#called({ op: "subscribe", subject, subscription: receiver, queue: options.queue, max: options.max });
    try {
      await unlessAborted(reply, options.signal, abort);
    } catch (err) { // a worker that hangs may make it yet
      void unsubscribe(false).catch(() => {});
      throw err;
    }
    subscription.begin();
    return subscription;
  }

  /**
   * Ends the worker when what was begun is over: subscriptions have the messages that were on their way, requests
   * their answers, and the server has what was published. Nothing new is sent meanwhile; start() waits, and begins anew.
   */
  drain(): Promise<void> {
    if (!this.#worker) return Promise.resolve();
    return this.#draining ??= this.#drain(this.#worker);
  }

  async #drain(worker: Worker): Promise<void> {
    const { signal } = this.#life;
    try {
      await Promise.allSettled([...this.#receivers.values()].map((receiver) => receiver.drain?.()));
      while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
      if (this.#worker === worker && this.#state === "connected") await this.flush();
    } finally {
      if (this.#worker === worker) this.#end(new StampError("closed", "closed"));
    }
    const { reason } = signal as { reason?: unknown };
    if (reason instanceof StampError && reason.code === "no-worker") throw reason; // nobody knows what the server has
  }

  /** For `await using`: drain(). */
  [asyncDispose](): Promise<void> {
    return this.drain();
  }

  /** Ends the worker and its connection. start() begins anew. */
  close(): void {
    this.#again = undefined;
    this.#end(new StampError("closed", "closed"));
  }

  /** Ends all of it, for a reason that calls and when() are told. */
  #end(why: StampError): void {
    this.#stop(why);
    for (const watch of [...this.#watchers]) watch();
    this.dispatchEvent(new Event("run"));
  }

  #stop(why: StampError): void {
    this.#run++;
    this.#life.abort(why);
    this.#life = new AbortController();
    this.#order = newOrder();
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#worker?.terminate();
    if (this.#port) {
      this.#port.onmessage = null;
      this.#port.close();
    }
    this.#worker = this.#port = this.#starting = undefined;
    this.#calls.fail(why);
    this.#calls = new Calls(this.#options);
    this.#draining = undefined;
    this.#ended = why; // before listeners hear of it, who may start anew
    this.#change("closed", why.code === "closed" ? "" : why.message);
  }

  #checkOpen(): void {
    if (this.#draining) throw new StampError("closed", "drain() was called: nothing new is taken");
  }

  /** Has drain() wait for a call. */
  #track<T>(call: Promise<T>): Promise<T> {
    this.#underWay.add(call);
    const over = () => this.#underWay.delete(call);
    call.then(over, over);
    return call;
  }

  #spawn(): void {
    const script = this.#options.worker ?? defaultScript;
    let worker: Worker;
    try {
      const url = this.#script();
      if (url.origin !== originOfPage() || !isPage(url.href)) throw new TypeError("expected a URL of the page's origin"); // data: and blob: are not the site's
      worker = new Worker(typeof script === "string" ? url : script as URL, bare({ name: "stamp" })); // a TrustedScriptURL has to stay one
    } catch (err) {
      throw noWorker(script, err instanceof Error ? err.message : String(err));
    }
    const { port1, port2 } = new MessageChannel();
    let began = false;
    worker.onerror = (event) => {
      if (began || this.#worker !== worker) return;
      event.preventDefault(); // the site does not give the script, or the browser no worker
      this.#end(noWorker(script, event.message));
    };
    port1.onmessage = ({ data: said }: MessageEvent<Reply | WorkerEvent>) => {
      if (this.#port !== port1) return; // Firefox delivers what was said before its port was closed, into the next run
      began = true;
      this.#calls.heard();
      this.#receive(said);
    };
    worker.postMessage(null, [port2]);
    this.#worker = worker;
    this.#port = port1;
  }

  /** Fields that may be missing are never those that a script has put into Object.prototype. */
  #receive(data: Reply | WorkerEvent): void {
    if (isReply(data)) {
      this.#calls.receive(data);
      return;
    }
    switch (data.event) {
      case "lock":
        this.#unwatch?.();
        this.#unwatch = onFree(data.name, () => this.#end(new StampError("no-worker", "the worker is gone: the browser has ended it")));
        if (this.#ended) this.#giveUpLock(); // it has signed out meanwhile
        break;
      case "state": {
        const { state, reason, most } = bare(data);
        this.#most = most ?? this.#most;
        this.#change(state, reason);
        break;
      }
      case "message":
        this.#receivers.get(data.subscription)?.receive(new Message(data.message));
        break;
      case "error": {
        const { subscription, code, message, operation, subject } = bare(data);
        if (subscription !== undefined && code !== "unreadable") {
          this.#receivers.get(subscription)?.fail(new StampError(code, message));
          this.#receivers.delete(subscription);
          break;
        }
        if (subscription !== undefined) this.#receivers.get(subscription)?.missed?.();
        this.dispatchEvent(new CustomEvent<Refusal>("error", { detail: { code, message, operation, subject } }));
      }
    }
  }

  #change(state: State, reason: string): void {
    if (state === this.#state) return;
    this.#state = state;
    if (state === "closed" || state === "signed-out") { // a worker after this one knows nothing of them
      this.#giveUpLock();
      const ended = [...this.#receivers.values()], why = this.#ended ??= new StampError(state, reason || state);
      this.#receivers.clear();
      for (const receiver of ended) receiver.fail(why);
    }
    for (const watch of [...this.#watchers]) watch();
    this.dispatchEvent(new CustomEvent<StateChange>("state", { detail: { state, reason } }));
  }

  /** Firefox keeps no page for the button "back" while a lock is held or waited for. The worker gives its own up when nobody waits. */
  #giveUpLock(): void {
    if (!this.#unwatch) return;
    this.#unwatch();
    this.#unwatch = undefined;
    this.#ask({ op: "unlock" }).catch(() => {});
  }

  #ask<T>(call: Call): Promise<T> {
    return this.#called<T>(call).reply;
  }

  /** Asks the worker; abort says that the reply is not wanted. A worker after this one has not heard of the call, and is not told. */
  #called<T>(call: Call, timeout?: number): { reply: Promise<T>; abort: () => void } {
    const port = this.#port;
    if (port) {
      const { id, reply } = this.#calls.ask<T>(port, call, timeout);
      return { reply, abort: () => { if (this.#port === port) this.#ask({ op: "abort", call: id }).catch(() => {}); } };
    }
    return { reply: Promise.reject(this.#notStarted()), abort() {} };
  }

  /** The error of a call for which there is no worker. */
  #notStarted(): StampError {
    const why = this.#ended;
    return !why || why.code === "closed" ? new StampError("not-started", "not started: call start() first") : new StampError(why.code, `start() has failed: ${why.message}`);
  }

  /** Sends what is ready; where order matters, not before the calls before it have. */
  async #inOrder<T extends object>(ready: T | Promise<T>, send: (made: T) => Promise<Wire>, limits: Bounds): Promise<Wire> {
    if (!this.#port && this.#run > 0) { // the next run is not the one in which this was asked
      if ("then" in ready) ready.catch(() => {});
      throw this.#notStarted();
    }
    const life = this.#life;
    const sendNow = (made: T) => { // what was awaited may be there before the end of this run, and who waits for it go on after that
      if (life !== this.#life) throw life.signal.reason;
      limits.signal?.throwIfAborted();
      return send(made);
    };
    if (!this.#options.ordered) return sendNow("then" in ready ? await this.#inTime(ready, limits) : ready);
    const order = this.#order, before = order.sent;
    if (order.waiting === 0 && !("then" in ready)) return sendNow(ready); // without a timer and what else waiting takes
    order.waiting++;
    let sent = () => {};
    order.sent = new Promise((resolve) => { sent = resolve; });
    try {
      const [made] = await this.#inTime(Promise.all([ready, before]), limits);
      return sendNow(made); // not awaited: the next one may be sent, and waits in the worker
    } finally {
      void before.then(() => { // ready may have failed before that
        order.waiting--;
        sent();
      });
    }
  }

  /** What a request needs before it is sent: its body, which may not end, and its turn. close() is the end of both. */
  #inTime<T>(ready: Promise<T>, { signal, timeout = this.#options.timeout ?? 20_000 }: Bounds): Promise<T> {
    const late = () => new StampError("timeout", `timed out after ${timeout} ms: the body of this request, or of one before it, does not end`);
    return within(timeout, unlessAborted(unlessAborted(ready, this.#life.signal), signal), late);
  }

  #request(subject: string, headers: HeaderMap, data: Uint8Array, { signal, timeout }: Bounds): Promise<Wire> {
    const { reply, abort } = this.#called<Wire>({ op: "request", subject, headers, data, timeout }, timeout);
    return unlessAborted(reply, signal, abort);
  }
}

const isReply = (said: Reply | WorkerEvent): said is Reply => Object.hasOwn(said, "id");

const isRequest = (resource: unknown): resource is Request => typeof resource !== "string" && isA("Request", resource);

/** What a Request of fetch() says, as options of ours. */
function optionsOf(request: Request): FetchOptions {
  const { method, headers, signal } = request;
  return { method, headers, signal, body: method === "GET" || method === "HEAD" ? undefined : request };
}

/** Options without those that say nothing. A signal of null says, as with fetch(), that the signal of the Request does not count. */
function withoutNull(options: FetchOptions): FetchOptions {
  return Object.fromEntries(Object.entries(options).filter(([name, value]) => value !== null || name === "signal"));
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

/** What is awaited, or the signal's reason; aborted is called with that. */
function unlessAborted<T>(reply: Promise<T>, signal: AbortSignal | null | undefined, aborted = () => {}): Promise<T> {
  return signal ? raced(reply, signal, aborted) : reply;
}

async function raced<T>(reply: Promise<T>, signal: AbortSignal, aborted: () => void): Promise<T> {
  reply.catch(() => {}); // it may come when nobody waits any more
  if (signal.aborted) {
    aborted();
    throw signal.reason;
  }
  let abort = () => {};
  const gone = new Promise<never>((_, reject) => {
    abort = () => {
      reject(signal.reason);
      aborted();
    };
    signal.addEventListener("abort", abort);
  });
  try {
    return await Promise.race([reply, gone]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** The types of events. */
export interface Stamp {
  addEventListener<K extends keyof StampEventMap>(type: K, listener: Listener<Stamp, StampEventMap[K]>, options?: boolean | AddEventListenerOptions): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<K extends keyof StampEventMap>(type: K, listener: Listener<Stamp, StampEventMap[K]>, options?: boolean | EventListenerOptions): void;
  removeEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions): void;
}
