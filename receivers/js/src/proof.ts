// The bytes of a proof, and of the fields that it proves.
import { type Bytes, concat, fromBase64, join, number, numberAt, utf8 } from "./bytes.js";
import { Anonymous } from "./errors.js";

export const provenance = ["Stamp-Account", "Stamp-Subject", "Stamp-Time"] as const;
export const proofName = "Stamp-Proof", forwardedName = "Stamp-Forwarded-Proof";
const maxText = 4096, maxLength = 3072; // characters, and the bytes that they stand for

/** A name that is proven. */
export interface Entry {
  id: number;
  encrypted: boolean;
}

/** What the bytes of a proof say. */
export interface Proof {
  bytes: Bytes;
  /** Of kinds 1 and 3, which are for a receiver. */
  exchange?: { server: number; receiver: number; salt: Bytes; counter: Bytes };
  /** Of kinds 2 and 3, which are signed: the id of the server's key. */
  signer?: number;
  entries: Entry[];
  tag: Bytes; // empty in kind 2
  signature: Bytes; // empty in kind 1
}

/** Reads the value of Stamp-Proof. */
export function parseText(text: string): Proof {
  // The kind and the length are looked at before all of a text is decoded, which may be long.
  const kind = fromBase64(text.slice(0, 4))?.[0];
  if (kind === undefined) throw new Anonymous("proof-malformed");
  if (kind < 1 || kind > 3) throw new Anonymous("proof-version");
  const bytes = text.length > maxText ? undefined : fromBase64(text);
  if (!bytes) throw new Anonymous("proof-malformed");
  return parse(bytes);
}

export function parse(bytes: Bytes): Proof {
  const kind = bytes[0];
  if (kind === undefined) throw new Anonymous("proof-malformed");
  if (kind < 1 || kind > 3) throw new Anonymous("proof-version");
  if (bytes.length > maxLength) throw new Anonymous("proof-malformed");
  const exchanges = kind !== 2, signs = kind !== 1;
  const head = 1 + (exchanges ? 24 : 0) + (signs ? 2 : 0);
  const room = bytes.length - head - (exchanges ? 16 : 0) - (signs ? 64 : 0);
  if (room < 0 || room % 3 !== 0) throw new Anonymous("proof-malformed");
  const proof: Proof = { bytes, entries: [], tag: bytes.slice(head + room, head + room + (exchanges ? 16 : 0)), signature: signs ? bytes.slice(-64) : bytes.slice(0, 0) };
  if (exchanges) {
    proof.exchange = { server: numberAt(bytes, 1, 2), receiver: numberAt(bytes, 3, 2), salt: bytes.slice(5, 21), counter: bytes.slice(21, 25) };
  }
  if (signs) proof.signer = numberAt(bytes, head - 2, 2);
  for (let at = head; at < head + room; at += 3) {
    const value = numberAt(bytes, at, 3);
    const encrypted = value >= 0x800000;
    if (encrypted && !exchanges) throw new Anonymous("proof-malformed");
    proof.entries.push({ id: value & 0x7fffff, encrypted });
  }
  return proof;
}

/** What is proven of one header. */
export interface Field {
  name: string;
  values: string[]; // as in the message
  encrypted: boolean;
  ciphertexts: Bytes[]; // of encrypted values
}

/** F_text of docs/proofs.md. */
export function textOf(fields: Field[]): Bytes {
  return join(fields.flatMap(({ name, values }) => [head(name, values.length), ...values.flatMap((value) => lengthAnd(utf8(value)))]));
}

/** F_mac of docs/proofs.md. */
export function macTextOf(fields: Field[]): Bytes {
  return join(fields.flatMap(({ name, values, encrypted, ciphertexts }) => [
    head(name, values.length),
    ...encrypted ? ciphertexts.map(({ length }) => number(2 ** 31 + length, 4)) : values.flatMap((value) => lengthAnd(utf8(value))),
  ]));
}

function head(name: string, values: number): Bytes {
  const bytes = utf8(name);
  return concat(number(bytes.length, 2), bytes, number(values, 2));
}

const lengthAnd = (bytes: Bytes): Bytes[] => [number(bytes.length, 4), bytes];

/** A forwarded proof without its proof: what stands for the payload, and the headers that are proven. */
export interface Forwarded {
  payloadTag: Bytes; // empty in kind 2
  payloadHash: Bytes; // empty in kind 1
  headers: [string, string][];
  fields: Bytes; // F_text, of which they are
}

/** Reads a forwarded proof up to its proof. rest reads the others, of which there can be many. */
export function parseForwarded(text: string): { proof: Proof; rest(): Forwarded } {
  const bytes = fromBase64(text);
  if (!bytes?.length) throw new Anonymous("proof-malformed");
  if (bytes[0] !== 1) throw new Anonymous("proof-version");
  const reader = new Reader(bytes, 1);
  const proof = parse(reader.take(reader.number(2)));
  return { proof, rest: () => restOf(proof, reader) };
}

function restOf(proof: Proof, reader: Reader): Forwarded {
  const payloadTag = reader.take(proof.exchange ? 16 : 0), payloadHash = reader.take(proof.signer === undefined ? 0 : 32);
  const headers: [string, string][] = [], fields = reader.rest;
  while (!reader.ended) {
    const name = reader.text(reader.number(2)), values = reader.number(2);
    if (values === 0) throw new Anonymous("proof-malformed");
    for (let i = 0; i < values; i++) headers.push([name, reader.text(reader.number(4))]);
  }
  return { payloadTag, payloadHash, headers, fields };
}

export function forwardedBytes(proof: Proof, payloadTag: Bytes, payloadHash: Bytes, fields: Field[]): Bytes {
  return concat(number(1, 1), number(proof.bytes.length, 2), proof.bytes, payloadTag, payloadHash, textOf(fields));
}

/** One for all texts: to make one costs more than to decode with it. */
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

class Reader {
  readonly #bytes: Bytes;
  #at: number;

  constructor(bytes: Bytes, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get ended(): boolean {
    return this.#at === this.#bytes.length;
  }

  get rest(): Bytes {
    return this.#bytes.slice(this.#at);
  }

  take(size: number): Bytes {
    if (size > this.#bytes.length - this.#at) throw new Anonymous("proof-malformed");
    return this.#bytes.slice(this.#at, this.#at += size);
  }

  number(size: number): number {
    return numberAt(this.take(size), 0, size);
  }

  text(size: number): string {
    if (size === 0) return "";
    try {
      return decoder.decode(this.take(size));
    } catch (err) {
      throw err instanceof Anonymous ? err : new Anonymous("proof-malformed");
    }
  }
}
