// Keys in the text form of nkeys: base32 of a prefix, 32 bytes, and a checksum.
import { type Bytes, concat, number, numberAt } from "./bytes.js";

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const digits = new Map([...alphabet].map((char, value) => [char, value]));
const prefixes = { N: 13 << 3, X: 23 << 3 } as const;
const seedPrefix = 18 << 3;

/** The kind of a key: N, a server's Ed25519 key, or X, an X25519 key. */
export type KeyKind = keyof typeof prefixes;

/** The 32 bytes of a public key. Throws where the text is none of that kind. */
export function publicKey(kind: KeyKind, text: string): Bytes {
  const bytes = decode(text);
  if (!bytes || bytes.length !== 33 || bytes[0] !== prefixes[kind]) throw new TypeError(`expected a public key that begins with ${kind}`);
  const key = bytes.slice(1);
  if (kind === "N" && isWeak(key)) throw new TypeError("expected a public key that is canonically encoded and not of small order: anybody could sign for it");
  return key;
}

const fieldPrime = 2n ** 255n - 19n;
/** y of the points of Ed25519 of small order: order 4, 1, 2, and twice 8. */
const smallOrders = new Set([
  0n, 1n, fieldPrime - 1n,
  0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n,
  0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n,
]);

/** Whether a key for Ed25519 is of small order, or not the canonical encoding of a point: libraries do not agree on these, and no server has one. */
function isWeak(key: Bytes): boolean {
  const y = key.reduceRight((value, byte) => value << 8n | BigInt(byte), 0n) & 2n ** 255n - 1n; // without the sign of x
  return y >= fieldPrime || smallOrders.has(y);
}

/** The 32 bytes of a seed. Throws where the text is none of that kind; the error does not hold the text, which may be secret. */
export function seed(kind: KeyKind, text: string): Bytes {
  const bytes = decode(text);
  const prefix = seedPrefix << 8 | prefixes[kind] << 3; // five bits for S, eight for the kind, three that are zero
  if (!bytes || bytes.length !== 34 || numberAt(bytes, 0, 2) !== prefix) throw new TypeError(`expected a seed that begins with S${kind}`);
  return bytes.slice(2);
}

/** The text of a public key, N or X, or of a seed, SN or SX. */
export function encode(kind: KeyKind | `S${KeyKind}`, bytes: Uint8Array): string {
  const prefix = prefixes[kind.slice(-1) as KeyKind];
  const body = concat(kind.length === 1 ? number(prefix, 1) : number(seedPrefix << 8 | prefix << 3, 2), bytes);
  const sum = checksum(body);
  let text = "", value = 0, bits = 0;
  for (const byte of concat(body, new Uint8Array([sum & 255, sum >> 8]))) {
    value = (value << 8 | byte) & 0xffff;
    bits += 8;
    for (; bits >= 5; bits -= 5) text += alphabet[value >> (bits - 5) & 31];
  }
  return bits > 0 ? text + alphabet[value << (5 - bits) & 31] : text;
}

/** The bytes without the checksum, or undefined where the text is none. */
function decode(text: string): Bytes | undefined {
  const bytes = new Uint8Array(Math.floor(text.length * 5 / 8));
  let value = 0, bits = 0, at = 0;
  for (const char of text) {
    const digit = digits.get(char);
    if (digit === undefined) return undefined;
    value = (value << 5 | digit) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = value >> bits & 255;
    }
  }
  if (bytes.length < 3 || bits >= 5 || value & ((1 << bits) - 1)) return undefined;
  const body = bytes.slice(0, -2);
  return checksum(body) === (bytes.at(-2)! | bytes.at(-1)! << 8) ? body : undefined;
}

/** CRC-16 with the polynomial 0x1021 (XMODEM). */
function checksum(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc << 1 ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff;
  }
  return crc;
}
