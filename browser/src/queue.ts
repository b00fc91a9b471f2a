// Order, back-pressure and time-outs of requests.
import { StampError } from "./errors.ts";
import type { Limits } from "./messages.ts";
import { duration } from "./waking.ts";

/** How many requests are under way at once. */
export const concurrencyOf = ({ ordered, concurrency = 16 }: Limits) => (ordered ? 1 : Math.max(1, concurrency));

/** Lets a number of tasks run at once; the others wait in their order. */
export class Queue {
  readonly #limit: number;
  readonly #waiting = new Set<() => void>(); // in their order
  #running = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Runs a task when its turn comes. A signal that is aborted ends the wait, and the turn. */
  async run<T>(task: () => Promise<T>, signal: AbortSignal): Promise<T> {
    await this.#turn(signal);
    try {
      return await Promise.race([task(), aborted(signal)]);
    } finally {
      this.#running--;
      this.#next();
    }
  }

  async #turn(signal: AbortSignal): Promise<void> {
    if (this.#running < this.#limit && !signal.aborted) {
      this.#running++;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const begin = () => {
        this.#running++;
        resolve();
      };
      this.#waiting.add(begin);
      aborted(signal).catch((err) => {
        this.#waiting.delete(begin);
        reject(err);
      });
    });
  }

  #next(): void {
    for (const begin of this.#waiting) {
      if (this.#running >= this.#limit) return;
      this.#waiting.delete(begin);
      begin();
    }
  }
}

/** Rejects when a signal is aborted; never resolves. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const abort = () => reject(new StampError("closed", "aborted"));
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  });
}

/** How long to wait for an answer: shorter for a while after one did not come. */
export class Patience {
  readonly #timeout: number;
  readonly #after: number;
  readonly #recovery: number;
  readonly #now: () => number;
  #until = -Infinity;

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
    return this.#now() < this.#until ? this.#after : this.#timeout;
  }

  /**
   * Says that an answer did not come in that time. One that was given less time proves nothing:
   * else a backlog that goes on would never end the shorter ones.
   */
  lost(milliseconds: number): void {
    if (milliseconds >= this.#timeout) this.#until = this.#now() + this.#recovery;
  }
}
