// Bodies of requests and answers: JSON, unless a content type says otherwise.

/** What fetch() takes for a body. */
export type Body = unknown;

const isJSON = (type: string) => /^application\/(?:[^;]*\+)?json\s*(?:;|$)/i.test(type);

/** The bytes of a body, and their type. The type that is given wins over that of a Blob or form. */
export async function encode(body: Body, given: string | undefined, otherwise: string): Promise<{ data: Uint8Array; type?: string }> {
  if (body === undefined || body === null) return { data: new Uint8Array(0), type: given };
  if (typeof body === "string") return { data: new TextEncoder().encode(body), type: given ?? otherwise };
  if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) {
    const view = body instanceof ArrayBuffer ? new Uint8Array(body) : new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
    return { data: view.slice(), type: given ?? (isJSON(otherwise) ? "application/octet-stream" : otherwise) };
  }
  if (body instanceof Blob || body instanceof FormData || body instanceof URLSearchParams) {
    const response = new Response(body);
    const own = response.headers.get("Content-Type");
    // A form's type holds the boundary that is in its bytes.
    const type = body instanceof FormData ? own : given ?? own;
    return { data: new Uint8Array(await response.arrayBuffer()), type: type ?? otherwise };
  }
  const type = given ?? otherwise;
  const text = isJSON(type) ? JSON.stringify(body) as string | undefined : undefined;
  // Streams, maps and the like have nothing that JSON shows.
  if (text === undefined || text === "{}" && !isPlain(body)) throw new TypeError(`a body of type ${type} cannot be made of this value`);
  return { data: new TextEncoder().encode(text), type };
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null || "toJSON" in value;
}

/** The value of an answer's body. Without a type it is JSON if it can be read so, else text, else bytes. */
export function decode(data: Uint8Array, type: string | undefined): unknown {
  if (type === undefined) return data.length === 0 ? null : guessed(data);
  if (isJSON(type)) return data.length === 0 ? null : JSON.parse(text(data));
  return /^text\//i.test(type) ? text(data) : data;
}

const text = (data: Uint8Array) => new TextDecoder("utf-8", { fatal: true }).decode(data);

function guessed(data: Uint8Array): unknown {
  let t: string;
  try {
    t = text(data);
  } catch {
    return data;
  }
  try {
    return JSON.parse(t);
  } catch {
    return t;
  }
}
