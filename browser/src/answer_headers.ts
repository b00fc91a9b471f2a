// Headers of an answer, as those of fetch() and as a simple object.

/**
 * Headers of an answer: get() and the like take names in any case; in the object itself names are in lower case, as
 * in headers["content-type"]. Several values of one name are joined by ", ". They cannot be changed.
 */
export type AnswerHeaders = Headers & Readonly<Record<string, string>>;

/**
 * The class of Headers is not used itself: its values are Latin-1 alone, where those of NATS are UTF-8. A header whose
 * name is one of a method, like "get", is found by get() alone.
 */
class ReadHeaders {
  readonly #values = new Map<string, string>();

  constructor(lines: Iterable<readonly [string, readonly string[]]>) {
    for (const [name, values] of lines) {
      const key = name.toLowerCase(), before = this.#values.get(key), value = values.join(", ");
      this.#values.set(key, before === undefined ? value : `${before}, ${value}`);
    }
    for (const [name, value] of this.#values) {
      if (!(name in this)) Object.defineProperty(this, name, { value, enumerable: true });
    }
  }

  get(name: string): string | null {
    return this.#values.get(String(name).toLowerCase()) ?? null;
  }

  has(name: string): boolean {
    return this.get(name) !== null;
  }

  /** The worker keeps cookies to itself. */
  getSetCookie(): string[] {
    return [];
  }

  forEach(call: (value: string, name: string, headers: Headers) => void, self?: unknown): void {
    for (const [name, value] of this.entries()) call.call(self, value, name, this as unknown as Headers);
  }

  entries(): IterableIterator<[string, string]> {
    return [...this.#values].sort(([a], [b]) => (a < b ? -1 : 1)).values();
  }

  *keys(): IterableIterator<string> {
    for (const [name] of this.entries()) yield name;
  }

  *values(): IterableIterator<string> {
    for (const [, value] of this.entries()) yield value;
  }

  [Symbol.iterator](): IterableIterator<[string, string]> {
    return this.entries();
  }

  append(): never {
    throw new TypeError("headers of an answer cannot be changed");
  }

  set(): never {
    return this.append();
  }

  delete(): never {
    return this.append();
  }
}

export function answerHeaders(lines: Iterable<readonly [string, readonly string[]]>): AnswerHeaders {
  return new ReadHeaders(lines) as unknown as AnswerHeaders;
}
