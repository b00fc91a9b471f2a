// What the page gets of messages, and fetch() of answers.
import { decode } from "./body.ts";
import type { Code, Wire } from "./messages.ts";

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

/** What fetch() resolves with. */
export interface Answer<T = any> {
  status: number;
  /** Names are in lower case; several values of one are joined by ", ". */
  headers: Record<string, string>;
  /** What went wrong is in body.error. */
  body: T;
}

/** Statuses of HTTP for what can go wrong before a service answers. */
const statuses: Record<Code, number> = {
  timeout: 504, unanswered: 503, denied: 403, "signed-out": 401, refused: 503, closed: 503, "too-large": 413, invalid: 400, failed: 503,
};

export function failure(code: Code, error: string): Answer {
  return { status: statuses[code], headers: {}, body: { error } };
}

/**
 * The answer of a service. Errors are those of NATS' micro services (ADR-32), the status line's, or of a
 * Status of 400 and more; body.error is there with all of them.
 */
export function answerOf(wire: Wire): Answer {
  const headers: Record<string, string> = {};
  for (const [name, values] of wire.headers) {
    const key = name.toLowerCase();
    headers[key] = Object.hasOwn(headers, key) ? `${headers[key]}, ${values.join(", ")}` : values.join(", ");
  }
  const line = statusOf(String(wire.status), 0); // of the status line; 0: none
  const code = headers["nats-service-error-code"], message = headers["nats-service-error"];
  const failed = code !== undefined || message !== undefined;
  const status = failed ? statusOf(code, line || 500) : line >= 400 ? line : statusOf(headers["status"], line || 200);
  const bad = failed || status >= 400;
  let body: unknown;
  try {
    body = decode(wire.data, headers["content-type"]);
  } catch {
    if (!bad) return { status: 502, headers, body: { error: `the answer is not ${headers["content-type"]}` } };
    body = wire.data;
  }
  if (!bad || !failed && told(body)) return { status, headers, body };
  const error = message ?? (failed ? "the service failed" : wire.description || `status ${status}`);
  return { status, headers, body: { error, ...(wire.data.length === 0 ? {} : { details: body }) } };
}

/** Whether a body says by itself what went wrong. */
function told(body: unknown): boolean {
  return typeof body === "object" && body !== null && Object.hasOwn(body, "error");
}

/** A status of HTTP in a header. */
function statusOf(text: string | undefined, otherwise: number): number {
  return text !== undefined && /^[1-5]\d\d$/.test(text) ? Number(text) : otherwise;
}
