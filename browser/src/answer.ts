// What fetch() resolves with.
import { answerHeaders, type AnswerHeaders } from "./answer_headers.ts";
import { decode } from "./body.ts";
import { bare } from "./checks.ts";
import { StampError, type Code } from "./errors.ts";
import type { Bytes, Wire } from "./messages.ts";

/** What an answer is made of. Each field is given: a missing one would be what a script has put into Object.prototype. */
interface Parts {
  status: number;
  statusText: string | undefined;
  headers: AnswerHeaders;
  body: unknown;
  data: Bytes;
  error: { code: Code; message: string } | undefined;
}

/**
 * An answer. It is used like a Response of fetch(), and has the parsed body beside. Unlike there, bytes are all there, and
 * can be read as often as wanted.
 */
export class Answer<T = any> {
  readonly status: number;
  /** Names are in lower case; headers.get() takes them in any case. */
  readonly headers: AnswerHeaders;
  /** The body, parsed by its Content-Type. What went wrong is in body.error. */
  readonly body: T;
  readonly #parts: Parts;
  #error: StampError | undefined;

  constructor(parts: Parts) {
    this.status = parts.status;
    this.headers = parts.headers;
    this.body = parts.body as T;
    this.#parts = parts;
  }

  /** Whether the status is one of success, 200 to 299. */
  get ok(): boolean {
    return this.status >= 200 && this.status < 300;
  }

  /** What stands behind the number in Status, as in "404 Not Found". */
  get statusText(): string {
    return this.#parts.statusText ?? "";
  }

  /** What request() would have rejected with. */
  get error(): StampError | undefined {
    const { error } = this.#parts;
    return this.#error ??= error && new StampError(error.code, error.message, this);
  }

  /** The body as text. Unlike body it is what was sent, with errors too. */
  async text(): Promise<string> {
    return new TextDecoder().decode(this.#parts.data);
  }

  /** The body as JSON, whatever its Content-Type. */
  async json<U = T>(): Promise<U> {
    return JSON.parse(await this.text());
  }

  async bytes(): Promise<Bytes> {
    return this.#parts.data.slice();
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    return (await this.bytes()).buffer as ArrayBuffer;
  }

  async blob(): Promise<Blob> {
    return this.#response().blob();
  }

  async formData(): Promise<FormData> {
    return this.#response().formData();
  }

  /** Headers of HTTP are Latin-1 without control characters, where those of NATS are any text. */
  #response(): Response {
    const type = (this.headers.get("content-type") ?? "").replace(/[^\t -~\xa0-\xff]/g, "?");
    return new Response(this.#parts.data as BodyInit, { headers: { "Content-Type": type } });
  }
}

/** The answer that stands for what went wrong before a service answered. */
export function failure({ code, message, status }: StampError): Answer {
  const body = { error: message };
  return new Answer({ status, statusText: undefined, headers: answerHeaders([]), body, data: new TextEncoder().encode(JSON.stringify(body)), error: { code, message } });
}

/**
 * The answer of a service. Errors are those of NATS' micro services (ADR-32), the status line's, or of a
 * Status of 400 and more; body.error is there with all of them.
 */
export function answerOf(wire: Wire): Answer {
  const headers = answerHeaders(wire.headers), { data } = wire;
  let told = outcomeOf(wire, headers), body: unknown = data;
  try {
    body = decode(data, headers.get("content-type") ?? undefined);
  } catch { // the body of an error stays bytes
    if (told.status < 400) told = unreadable("the answer's body is not JSON, which its Content-Type says it is");
  }
  const { status, statusText, code, said } = told;
  if (status < 400) return new Answer({ status, statusText, headers, body, data, error: undefined });
  const otherwise = said || statusText || `status ${status}`;
  const failed = errorBody(data.length === 0 ? null : body, said, otherwise);
  return new Answer({ status, statusText, headers, body: failed, data, error: { code, message: textOf(failed["error"]) ?? otherwise } });
}

/** What an answer says of itself, beside its body. */
interface Outcome {
  status: number;
  statusText: string | undefined;
  code: Code;
  /** What went wrong, in words that count more than those of the body. */
  said: string | undefined;
}

const outcome = (status: number, statusText?: string, said?: string): Outcome => ({ status, statusText, code: "service", said });

/** The words quote nothing of a header: what a service sends has no bound. */
const unreadable = (said: string): Outcome => ({ ...outcome(502, undefined, said), code: "unreadable" });

function outcomeOf({ status: line = 0, description: statusText, headers: lines }: Wire, headers: AnswerHeaders): Outcome {
  const said = headers.get("nats-service-error"), code = headers.get("nats-service-error-code");
  if (said !== null || code !== null) {
    const status = [code, String(line)].map((text) => statusOf(text ?? "")?.status ?? 0).find((status) => status >= 400);
    return outcome(status ?? 500, undefined, said || "the service failed");
  }
  if (line === 0 && !headers.has("status")) return outcome(200);
  const given = lines.filter(([name]) => name.toLowerCase() === "status").flatMap(([, values]) => values);
  if (line >= 400 || line > 0 && given.length === 0) {
    const read = statusOf(String(line));
    return read ? outcome(read.status, statusText) : unreadable(`the answer has the status ${line}, which is none`);
  }
  const [first, ...others] = given.map(statusOf);
  if (first && others.every((other) => other?.status === first.status)) return outcome(first.status, first.statusText);
  return unreadable(given.length > 1 ? "the answer has several headers Status, and not one status in all" : "the answer's header Status does not begin with a status of three digits, or holds a second one");
}

/** The status in a text like "404" or "404 Not Found"; behind one of success there are words, and no other status. */
function statusOf(text: string): { status: number; statusText: string } | undefined {
  const found = /^\s*([2-5]\d\d)(?!\d)(.*)$/s.exec(text);
  if (!found) return undefined;
  const status = Number(found[1]), rest = found[2]!;
  return status >= 400 || /^(?:\s|$)/.test(rest) && !/\b[1-5]\d\d\b/.test(rest) ? { status, statusText: rest.trim() } : undefined;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);

/** The body of an error: what was sent, where it was sent, with what went wrong in error, and with the whole in details. */
function errorBody(body: unknown, said: string | undefined, otherwise: string): Record<string, unknown> {
  if (body === null) return { error: otherwise };
  if (!isObject(body)) return { error: otherwise, details: body };
  if (said === undefined && bare(body)["error"]) return body; // it says so itself
  return { details: body, ...body, error: said ?? textOf(body) ?? otherwise };
}

/** What went wrong, in the words of an error's body; title and detail are those of RFC 9457. */
function textOf(told: unknown): string | undefined {
  if (typeof told === "string") return told;
  if (!isObject(told)) return undefined;
  const { message, detail, title } = bare(told);
  return [message, detail, title].find((text): text is string => typeof text === "string" && text !== "");
}
