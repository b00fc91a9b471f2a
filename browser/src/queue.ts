// Order, back-pressure and time-outs of requests.
import type { Signal } from "./abort.ts";
import { StampError } from "./errors.ts";
import type { Limits } from "./messages.ts";
import { duration } from "./waking.ts";

/** How many requests are under way at once. */
export const concurrencyOf = ({ ordered, concurrency = 16 }: Limits) => (ordered ? 1 : Math.max(1, concurrency));

/** First in, first out, where any may leave meanwhile: a map is slow to find its first entry after many were deleted. */
export class Line<K, V> {
  readonly #waiting = new Map<K, V>();
  #order: (K | undefined)[] = []; // of those that wait; some have left meanwhile
  #next = 0; // in the order

  add(key: K, value: V): void {
    this.#waiting.set(key, value);
    this.#order.push(key);
  }

  leave(key: K): void {
    this.#waiting.delete(key);
    this.#shorten();
  }

  /** Takes out the first one; undefined where nobody waits. */
  shift(): V | undefined {
    while (this.#next < this.#order.length) {
      const key = this.#order[this.#next]!, value = this.#waiting.get(key), waits = this.#waiting.delete(key);
      this.#order[this.#next++] = undefined; // a key may hold what was answered
      this.#shorten();
      if (waits) return value;
    }
    return undefined;
  }

  /** Makes the order anew when more than half of it have left, so that it does not grow in a line that is never empty. */
  #shorten(): void {
    if (this.#order.length <= 2 * this.#waiting.size + 32) return;
    this.#order = [...this.#waiting.keys()];
    this.#next = 0;
  }
}

/** Lets a number of tasks run at once; the others wait in their order. */
export class Queue {
  readonly #limit: number;
  readonly #waiting = new Line<object, () => void>();
  #running = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Runs a task when its turn comes. A signal that is aborted ends the wait, and the turn. */
  run<T>(task: () => Promise<T>, signal: Signal): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let state: "waiting" | "running" | "over" = "waiting";
      const over = () => {
        if (state === "running") this.#running--;
        else this.#waiting.leave(begin);
        state = "over";
        signal.removeEventListener("abort", abort);
        this.#next();
      };
      const abort = () => {
        over();
        reject(new StampError("closed", "aborted"));
      };
      const begin = () => {
        state = "running";
        this.#running++;
        void task().then(resolve, reject).then(() => {
          if (state === "running") over();
        });
      };
      if (signal.aborted) return abort();
      signal.addEventListener("abort", abort);
      if (this.#running < this.#limit) begin();
      else this.#waiting.add(begin, begin);
    });
  }

  #next(): void {
    while (this.#running < this.#limit) {
      const begin = this.#waiting.shift();
      if (!begin) return;
      begin();
    }
  }
}

/** How long to wait for an answer: shorter for a while after one did not come. */
export class Patience {
  readonly #timeout: number;
  readonly #after: number;
  readonly #recovery: number;
  readonly #now: () => number;
  #until = 0; // a time of performance.now()

  constructor({ timeout = 20_000, timeoutAfter = 1_000, recovery = 300_000 }: Limits, now = () => performance.now()) {
    this.#timeout = duration(timeout);
    this.#after = Math.min(timeoutAfter, this.#timeout);
    this.#recovery = recovery;
    this.#now = now;
  }

  /** What is waited for other answers than those of services: those of the site. Milliseconds. */
  get usual(): number {
    return this.#timeout;
  }

  /** Milliseconds. */
  get current(): number {
    return this.#until > 0 && this.#now() < this.#until ? this.#after : this.#timeout;
  }

  /**
   * Says that an answer did not come in that time. One that was given less time proves nothing:
   * else a backlog that goes on would never end the shorter ones.
   */
  lost(milliseconds: number): void {
    if (milliseconds >= this.#timeout) this.#until = this.#now() + this.#recovery;
  }
}
