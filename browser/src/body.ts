// Bodies of requests and answers: JSON, unless a content type says otherwise.
import { Abort, type Signal } from "./abort.ts";
import { found, isA } from "./checks.ts";
import { StampError } from "./errors.ts";

/** What fetch() takes for a body. */
export type Body = unknown;

/** What a message can hold: text, which is sent as UTF-8, or bytes. */
export type Payload = string | ArrayBuffer | ArrayBufferView | null | undefined;

const noBytes = new Uint8Array(0);

/** Made once: they keep nothing of what they have read. */
const utf8 = new TextEncoder(), lenient = new TextDecoder(), strict = new TextDecoder("utf-8", { fatal: true });

/** The bytes of a message. Of a part of a buffer it is that part: the whole would cross the port. */
export function payloadBytes(payload: Payload): Uint8Array {
  if (payload === undefined || payload === null) return noBytes;
  const bytes = typeof payload === "string" ? utf8.encode(payload) : bytesOf(payload);
  if (bytes) return bytes;
  throw new TypeError(`payload: expected a string, an ArrayBuffer or a view of one; found ${looksLikeBytes(payload) ? "one whose bytes cannot be read, as after a transfer" : unsuited(payload)}`);
}

/** What a payload is that is none, and what to do where there is something to do. */
const unsuited = (value: unknown) => found(value) + (["number", "boolean"].includes(typeof value) || Array.isArray(value) || Object(value) === value && isPlain(value as object) ? ", which JSON.stringify() can make a string of" : "");

const looksLikeBytes = (value: unknown): value is ArrayBuffer | ArrayBufferView => ArrayBuffer.isView(value) || isA("ArrayBuffer", value);

/** A copy of the bytes of a buffer or of a view of one; undefined for anything else, and where they cannot be read. */
function bytesOf(value: unknown): Uint8Array | undefined {
  if (!looksLikeBytes(value)) return undefined;
  try {
    if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength).slice();
    return new Uint8Array(ArrayBuffer.prototype.slice.call(value, 0));
  } catch { // its buffer was transferred to somebody else, or it has nothing but the name of one
    return undefined;
  }
}

const isJSON = (type: string) => /^application\/(?:[^;]*\+)?json\s*(?:;|$)/i.test(type);
const isText = (type: string) => /^(?:text\/|application\/(?:[^;]*\+)?xml\s*(?:;|$)|image\/svg\+xml)/i.test(type);

/** A body as it is sent. */
export interface Encoded {
  data: Uint8Array;
  type?: string | undefined;
}

/** How far a body is read: until nobody waits for it any more, and for so many bytes. */
export interface Until {
  gone: Signal;
  most(): number;
}

const always: Until = { gone: new Abort(), most: () => Infinity };

/** The bytes of a body, and their type, at once where nothing has to be read. The type that is given wins over that of a Blob or form. */
export function encode(body: Body, given: string | undefined, otherwise: string, until = always): Encoded | Promise<Encoded> {
  if (body === undefined || body === null) return { data: noBytes, type: given };
  if (typeof body === "string") return { data: utf8.encode(body), type: given ?? otherwise };
  const data = bytesOf(body);
  if (data) return { data, type: given ?? (isJSON(otherwise) ? "application/octet-stream" : otherwise) };
  if (isA("Request", body)) return read(body as Request, given, until);
  const isForm = isA("FormData", body);
  if (isForm || isA("Blob", body) || isA("File", body) || isA("URLSearchParams", body)) {
    const response = new Response(body as BodyInit);
    const own = response.headers.get("Content-Type");
    // A form's type holds the boundary that is in its bytes.
    const type = isForm ? own : given ?? own;
    return read(response, type ?? otherwise, until);
  }
  const type = given ?? otherwise;
  const text = isJSON(type) ? JSON.stringify(body) as string | undefined : undefined;
  // Streams, maps and the like have nothing that JSON shows.
  if (text === undefined || text === "{}" && !isPlain(body)) throw new TypeError(`a body of type ${type} cannot be made of this value`);
  return { data: utf8.encode(text), type };
}

/** Firefox has no stream of a Request, and so none that does not end. */
async function read(whole: Request | Response, type: string | undefined, { gone, most }: Until): Promise<Encoded> {
  if (whole.bodyUsed) throw new TypeError("the body of this Request has been read before");
  const stream = whole.body ?? new Response(await whole.blob()).body;
  const data = stream ? await bytesOfStream(stream, { gone, most }) : noBytes;
  return { data, type };
}

async function bytesOfStream(stream: ReadableStream<unknown>, { gone, most }: Until): Promise<Uint8Array> {
  const reader = stream.getReader(), parts: Uint8Array[] = [];
  const cancel = () => void reader.cancel().catch(() => {});
  gone.addEventListener("abort", cancel);
  try {
    let length = 0;
    while (!gone.aborted) {
      const { done, value } = await reader.read();
      if (done) break;
      if (!isA("Uint8Array", value)) throw new TypeError("a body that is a stream of something else than bytes");
      const part = value as Uint8Array;
      if ((length += part.length) > most()) throw new StampError("too-large", "the message is larger than the server takes");
      parts.push(part);
    }
    const all = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  } finally {
    gone.removeEventListener("abort", cancel);
    cancel();
  }
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null || "toJSON" in value;
}

/**
 * The value of an answer's body: JSON or text where its type says so, else bytes. Without a type, objects and arrays of
 * JSON are read, and anything else is text, if it is UTF-8: what looks like a number need not be one.
 */
export function decode(data: Uint8Array, type: string | undefined): unknown {
  if (type === undefined || type.trim() === "") return data.length === 0 ? null : guessed(data);
  if (isJSON(type)) return data.length === 0 ? null : JSON.parse(lenient.decode(data));
  return isText(type) ? text(data, type) : data;
}

/** Text in the charset of its type. As with fetch(), what cannot be read is replaced by U+FFFD. */
function text(data: Uint8Array, type: string): string {
  const charset = /;\s*charset\s*=\s*"?([^\s";]+)/i.exec(type)?.[1];
  let decoder: TextDecoder;
  try {
    decoder = new TextDecoder(charset);
  } catch { // a charset that nobody knows
    decoder = lenient;
  }
  return decoder.decode(data);
}

function guessed(data: Uint8Array): unknown {
  let t: string;
  try {
    t = strict.decode(data);
  } catch {
    return data;
  }
  if (!/^\s*[{[]/.test(t)) return t;
  try {
    return JSON.parse(t);
  } catch {
    return t;
  }
}
