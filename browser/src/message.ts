// A message, as the page gets it.
import { answerOf } from "./answer.ts";
import type { StampError } from "./errors.ts";
import type { Bytes, Wire } from "./messages.ts";

/** How names of headers are compared: as they are, as Go writes them ("X-User-Id"), or in any case. */
export type Match = "exact" | "canonical" | "insensitive";

/** Headers of a message, read as those of nats.js. Names are as they were sent. */
export class MessageHeaders implements Iterable<[string, string[]]> {
  /** Of the block's first line, as in "NATS/1.0 404 No Messages"; 0: none. */
  readonly code: number;
  readonly description: string;
  readonly #lines: Map<string, string[]>;

  constructor(lines: Iterable<[string, string[]]>, code = 0, description = "") {
    this.#lines = new Map(lines);
    this.code = code;
    this.description = description;
  }

  /** The first value of a header; "" where there is none. */
  get(name: string, match: Match = "exact"): string {
    return this.values(name, match)[0] ?? "";
  }

  /** The last value of a header; "" where there is none. */
  last(name: string, match: Match = "exact"): string {
    return this.values(name, match).at(-1) ?? "";
  }

  values(name: string, match: Match = "exact"): string[] {
    return this.#names(name, match).flatMap((found) => this.#lines.get(found)!);
  }

  has(name: string, match: Match = "exact"): boolean {
    return this.#names(name, match).length > 0;
  }

  keys(): string[] {
    return [...this.#lines.keys()];
  }

  size(): number {
    return this.#lines.size;
  }

  /** Whether the first line tells an error. */
  get hasError(): boolean {
    return this.code >= 300;
  }

  /** What the first line tells, as in "404 No Messages". */
  get status(): string {
    return `${this.code} ${this.description}`.trim();
  }

  toRecord(): Record<string, string[]> {
    return Object.fromEntries(this.#lines);
  }

  [Symbol.iterator](): IterableIterator<[string, string[]]> {
    return this.#lines[Symbol.iterator]();
  }

  #names(name: string, match: Match): string[] {
    if (match === "insensitive") return this.keys().filter((key) => key.toLowerCase() === name.toLowerCase());
    const wanted = match === "canonical" ? name.toLowerCase().replace(/(^|-)./g, (letter) => letter.toUpperCase()) : name;
    return this.#lines.has(wanted) ? [wanted] : [];
  }
}

export class Message {
  readonly subject: string;
  readonly reply: string | undefined;
  readonly headers: MessageHeaders;
  readonly data: Bytes;
  readonly #wire: Wire;

  constructor(wire: Wire) {
    this.subject = wire.subject;
    this.reply = wire.reply;
    this.headers = new MessageHeaders(wire.headers, wire.status, wire.description);
    this.data = wire.data;
    this.#wire = wire;
  }

  /** Of the block's first line, as in "NATS/1.0 404 No Messages"; 0: none. */
  get status(): number {
    return this.headers.code;
  }

  get description(): string {
    return this.headers.description;
  }

  /** What request() rejects with where this is its answer, and what fetch() has in error: what a service says went wrong. */
  get error(): StampError | undefined {
    return answerOf(this.#wire).error;
  }

  text(): string {
    return new TextDecoder().decode(this.data);
  }

  json<T = unknown>(): T {
    return JSON.parse(this.text()) as T;
  }
}
