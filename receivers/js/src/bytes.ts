// Bytes, and the texts that stand for them.

export type Bytes = Uint8Array<ArrayBuffer>;

const encoder = new TextEncoder();

/** The text in UTF-8. Of a text that has none, because of a lone surrogate, bytes that are in no UTF-8: what is proven is another. */
export function utf8(text: string): Bytes {
  const bytes = encoder.encode(text);
  return /\p{Surrogate}/u.test(text) ? concat(bytes, Uint8Array.of(0xff)) : bytes;
}

export const concat = (...parts: Uint8Array[]): Bytes => join(parts);

/** For lists whose length a message says: a call has room for about a hundred thousand arguments. */
export function join(parts: readonly Uint8Array[]): Bytes {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** A big-endian number of so many bytes. */
export function number(value: number, size: number): Bytes {
  const bytes = new Uint8Array(size);
  for (let i = size - 1; i >= 0; i--, value = Math.floor(value / 256)) bytes[i] = value % 256;
  return bytes;
}

export function numberAt(bytes: Uint8Array, at: number, size: number): number {
  let value = 0;
  for (let i = at; i < at + size; i++) value = value * 256 + bytes[i]!;
  return value;
}

/** Compares in a time that depends on the lengths alone. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let differs = 0;
  for (let i = 0; i < a.length; i++) differs |= a[i]! ^ b[i]!;
  return differs === 0;
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const sextets = new Map([...alphabet].map((char, value) => [char, value]));

/** base64url without padding (RFC 4648, section 5). */
export function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 3) {
    const rest = Math.min(bytes.length - at, 3);
    const value = bytes[at]! << 16 | (bytes[at + 1] ?? 0) << 8 | (bytes[at + 2] ?? 0);
    for (let i = 0; i <= rest; i++) text += alphabet[value >> (18 - 6 * i) & 63];
  }
  return text;
}

/** The bytes of which text is exactly the base64url, or undefined. */
export function fromBase64(text: string): Bytes | undefined {
  if (text.length % 4 === 1) return undefined;
  const bytes = new Uint8Array(Math.floor(text.length * 3 / 4));
  let value = 0, bits = 0, at = 0;
  for (const char of text) {
    const sextet = sextets.get(char);
    if (sextet === undefined) return undefined;
    value = (value << 6 | sextet) & 0xfff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = value >> bits & 255;
    }
  }
  return value & ((1 << bits) - 1) ? undefined : bytes; // bits that stand for nothing are zero
}
