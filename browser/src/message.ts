// A message, as the page gets it.
import type { Wire } from "./messages.ts";

/** A message. Names of headers are as they were sent. */
export class Message {
  readonly subject: string;
  readonly reply: string | undefined;
  readonly headers: Map<string, string[]>;
  readonly data: Uint8Array;
  /** Of the block's first line, as in "NATS/1.0 404 No Messages"; 0: none. */
  readonly status: number;
  readonly description: string;

  constructor(wire: Wire) {
    this.subject = wire.subject;
    this.reply = wire.reply;
    this.headers = new Map(wire.headers);
    this.data = wire.data;
    this.status = wire.status ?? 0;
    this.description = wire.description ?? "";
  }

  text(): string {
    return new TextDecoder().decode(this.data);
  }

  json<T = unknown>(): T {
    return JSON.parse(this.text()) as T;
  }
}
