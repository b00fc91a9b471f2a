// Subscriptions, as the page has them.
import { asyncDispose } from "./dispose.ts";
import { StampError } from "./errors.ts";
import { callPage } from "./guard.ts";
import type { Message } from "./message.ts";
import { Stream } from "./stream.ts";
import { afterWaking } from "./waking.ts";

export interface SubscribeOptions {
  /** Of the subscribers with the same queue, one gets each message. */
  queue?: string | null | undefined;
  /** Ends the subscription after so many messages. */
  max?: number | undefined;
  /** Milliseconds: ends the subscription when no message has come by then. */
  timeout?: number | undefined;
  /** Ends the subscription. */
  signal?: AbortSignal | null | undefined;
  /** Is told why the subscription has ended, unless the page itself ended it, or max. */
  failed?: ((err: Error) => void) | null | undefined;
}

/** What a subscription needs of its connection. */
export interface Host {
  /** Tells the worker. With drain, it waits for the messages that are on their way. */
  unsubscribe(drain: boolean): Promise<void>;
}

/**
 * A subscription. It lives on when the connection is lost and made again. `for await` reads its messages, unless a function
 * gets them; to leave the loop ends the subscription.
 */
export class Subscription implements AsyncIterable<Message> {
  readonly subject: string;
  /** Resolves when the subscription has ended, with the reason where the page did not end it itself. */
  readonly closed: Promise<Error | undefined>;
  readonly #host: Host;
  readonly #deliver: ((msg: Message) => void) | undefined;
  readonly #stream: Stream<Message>;
  readonly #options: SubscribeOptions;
  #received = 0;
  #missed = 0;
  #ended = false;
  #settle!: (err: Error | undefined) => void;
  #cancel = (): void => {}; // of its time
  #drained: Promise<void> | undefined;

  /** Not for pages: subscribe() makes it. */
  constructor(host: Host, subject: string, deliver: ((msg: Message) => void) | undefined, options: SubscribeOptions) {
    this.#host = host;
    this.subject = subject;
    this.#deliver = deliver;
    this.#options = options;
    this.#stream = new Stream(() => void this.unsubscribe().catch(() => {}));
    this.closed = new Promise((resolve) => { this.#settle = resolve; });
  }

  /** How many messages have come. */
  get received(): number {
    return this.#received;
  }

  /** The subscription is made now: its time begins, and its signal is heard. Not for pages. */
  begin(): void {
    const { timeout, signal } = this.#options;
    if (this.#ended) return;
    signal?.addEventListener("abort", this.#abort);
    if (signal?.aborted) return this.#abort();
    if (timeout === undefined || this.#received > 0) return;
    this.#cancel = afterWaking(timeout, () => {
      void this.#host.unsubscribe(false).catch(() => {});
      this.fail(new StampError("timeout", `no message of ${this.subject} came in ${timeout} ms`));
    });
  }

  /** A message has come. Not for pages. */
  receive(msg: Message): void {
    if (this.#ended) return;
    this.#cancel();
    this.#received++;
    const last = this.#complete;
    if (this.#deliver) callPage(this.#deliver, msg);
    else this.#stream.push(msg);
    if (last) this.#end();
  }

  /** A message has come that cannot be read. The server counts it too. Not for pages. */
  missed(): void {
    if (this.#ended) return;
    this.#cancel();
    this.#missed++;
    if (this.#complete) this.#end();
  }

  get #complete(): boolean {
    return this.#received + this.#missed === this.#options.max;
  }

  /** The server, or the session, has ended it. Not for pages. */
  fail(err: Error): void {
    if (this.#end(err, { err })) callPage(this.#options.failed, err);
  }

  /** Ends it at once. A loop still reads the messages that have come before. */
  async unsubscribe(): Promise<void> {
    if (this.#end()) await this.#host.unsubscribe(false);
  }

  /** Ends it when the messages that the server has sent already are there. */
  drain(): Promise<void> {
    return this.#drained ??= this.#drain();
  }

  async #drain(): Promise<void> {
    if (this.#ended) return;
    try {
      await this.#host.unsubscribe(true);
    } finally {
      this.#end();
    }
  }

  readonly #abort = (): void => {
    void this.#host.unsubscribe(false).catch(() => {});
    const { reason } = this.#options.signal!;
    this.#end(undefined, { err: reason });
  };

  /** Whether it had not ended before. told is what closed resolves with, thrown what the loop rejects with. */
  #end(told?: Error, thrown?: { err: unknown }): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    this.#cancel();
    this.#options.signal?.removeEventListener("abort", this.#abort);
    this.#stream.end(thrown);
    this.#settle(told);
    return true;
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Message> {
    if (this.#deliver) throw new TypeError("the messages of this subscription go to the function that subscribe() was given");
    return this.#stream;
  }

  /** For `await using`. */
  [asyncDispose](): Promise<void> {
    return this.unsubscribe();
  }
}
