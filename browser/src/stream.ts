// Values that come one after the other, for `for await`.

type Waiting<T> = { resolve: (result: IteratorResult<T, undefined>) => void; reject: (err: unknown) => void };

/** Keeps what was pushed until it is asked for. An error comes behind what was pushed before it, once. */
export class Stream<T> implements AsyncIterableIterator<T> {
  readonly #returned: () => void;
  #kept: T[] = [];
  #first = 0; // of those kept: to take the first one out of a long list copies the others
  #waiting: Waiting<T>[] = [];
  #ended = false;
  #error: { err: unknown } | undefined;

  /** Calls returned when the reader has left its loop. */
  constructor(returned: () => void) {
    this.#returned = returned;
  }

  push(value: T): void {
    if (this.#ended) return;
    const waiting = this.#waiting.shift();
    if (waiting) waiting.resolve({ value, done: false });
    else this.#kept.push(value);
  }

  end(error?: { err: unknown }): void {
    if (this.#ended) return;
    this.#ended = true;
    const [first, ...others] = this.#waiting.splice(0);
    if (error && first) first.reject(error.err);
    else {
      this.#error = error;
      first?.resolve({ value: undefined, done: true });
    }
    for (const { resolve } of others) resolve({ value: undefined, done: true });
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    if (this.#first < this.#kept.length) {
      const value = this.#kept[this.#first]!;
      this.#kept[this.#first++] = undefined!; // nobody needs it here any more
      if (this.#first * 2 > this.#kept.length) this.#shorten();
      return { value, done: false };
    }
    const error = this.#error;
    this.#error = undefined;
    if (error) throw error.err;
    if (this.#ended) return { value: undefined, done: true };
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** As often as it doubles in length: so each value is moved once, on average. */
  #shorten(): void {
    this.#kept = this.#kept.slice(this.#first);
    this.#first = 0;
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    this.#kept = [];
    this.#first = 0;
    this.end();
    this.#error = undefined;
    this.#returned();
    return { value: undefined, done: true };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
