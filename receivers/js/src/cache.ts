/**
 * Holds so many entries at most: the one that was put in first is forgotten. A ring has the keys in their order, since the first key of a Map
 * that entries were deleted from is found only after a walk over the places of all of these.
 */
export class Cache<T> {
  readonly #limit: number;
  readonly #entries = new Map<string, T>();
  readonly #ring: string[] = []; // from #next on
  #next = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): T | undefined {
    return this.#entries.get(key);
  }

  set(key: string, value: T): void {
    if (!this.#entries.has(key)) this.#place(key);
    this.#entries.set(key, value);
  }

  /** Puts a new key into the ring, and forgets the one that was there. */
  #place(key: string): void {
    if (this.#ring.length < this.#limit) {
      this.#ring.push(key);
      return;
    }
    this.#entries.delete(this.#ring[this.#next]!);
    this.#ring[this.#next] = key;
    this.#next = (this.#next + 1) % this.#limit;
  }
}
