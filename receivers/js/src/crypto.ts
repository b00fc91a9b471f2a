// The cryptography of a proof, by WebCrypto. docs/proofs.md has the format.
import { type Bytes, concat, fromBase64, utf8 } from "./bytes.js";

const { subtle } = globalThis.crypto;
export const label = utf8("stamp proof v1");

export async function sha256(bytes: Bytes): Promise<Bytes> {
  return new Uint8Array(await subtle.digest("SHA-256", bytes));
}

/** The id of a key: the first two bytes of the SHA-256 of its public part. */
export async function keyId(publicKey: Bytes): Promise<number> {
  const [a, b] = await sha256(publicKey);
  return a! << 8 | b!;
}

/** What stands before the bytes of a seed in PKCS #8 (RFC 8410): the object identifier's last byte tells X25519 from Ed25519. */
const pkcs8 = (oid: number, seed: Bytes): Bytes =>
  concat(new Uint8Array([0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, oid, 4, 0x22, 4, 0x20]), seed);

/** A key pair of which the seed is at hand. */
export interface KeyPair {
  privateKey: CryptoKey;
  publicKey: Bytes;
}

export async function exchangeKey(seed: Bytes): Promise<KeyPair> {
  const privateKey = await subtle.importKey("pkcs8", pkcs8(0x6e, seed), "X25519", true, ["deriveBits"]);
  return { privateKey, publicKey: await publicOf(privateKey) };
}

async function publicOf(privateKey: CryptoKey): Promise<Bytes> {
  const { x } = await subtle.exportKey("jwk", privateKey);
  return fromBase64(x!)!;
}

/** What both ends of a pair know. Throws where it is all zeros. */
export async function sharedSecret(own: KeyPair, other: Bytes): Promise<CryptoKey> {
  const publicKey = await subtle.importKey("raw", other, "X25519", false, []);
  // WebCrypto refuses zeros, which the key of a small order gives.
  const bits = await subtle.deriveBits({ name: "X25519", public: publicKey }, own.privateKey, 256).catch(() => new ArrayBuffer(32));
  if (new Uint8Array(bits).every((byte) => byte === 0)) throw new TypeError("servers: a key cannot be used: the secret is all zeros");
  return subtle.importKey("raw", bits, "HKDF", false, ["deriveKey"]);
}

/** The key of the messages with one salt. */
export function messageKey(secret: CryptoKey, salt: Bytes, server: Bytes, receiver: Bytes): Promise<CryptoKey> {
  const derived = { name: "HKDF", hash: "SHA-256", salt, info: concat(label, server, receiver) };
  return subtle.deriveKey(derived, secret, { name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
}

/** The nonces of a message: 1 for its payload, 0 for the rest. */
const nonce = (first: 0 | 1, counter: Uint8Array): Bytes => concat(new Uint8Array([first, 0, 0, 0, 0, 0, 0, 0]), counter);

export async function seal(key: CryptoKey, first: 0 | 1, counter: Uint8Array, plaintext: Bytes, additionalData: Bytes): Promise<Bytes> {
  return new Uint8Array(await subtle.encrypt({ name: "AES-GCM", iv: nonce(first, counter), additionalData }, key, plaintext));
}

/** The plaintext, or undefined where the tag is another. */
export async function open(key: CryptoKey, counter: Uint8Array, sealed: Bytes, additionalData: Bytes): Promise<Bytes | undefined> {
  try {
    return new Uint8Array(await subtle.decrypt({ name: "AES-GCM", iv: nonce(0, counter), additionalData }, key, sealed));
  } catch {
    return undefined;
  }
}

export async function verifies(publicKey: Bytes, signature: Bytes, bytes: Bytes): Promise<boolean> {
  const key = await subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"]);
  return subtle.verify("Ed25519", key, signature, bytes);
}

/** An Ed25519 key pair, for tests of services. */
export async function signingKey(seed: Bytes): Promise<KeyPair> {
  const privateKey = await subtle.importKey("pkcs8", pkcs8(0x70, seed), "Ed25519", true, ["sign"]);
  return { privateKey, publicKey: await publicOf(privateKey) };
}

export async function sign(privateKey: CryptoKey, bytes: Bytes): Promise<Bytes> {
  return new Uint8Array(await subtle.sign("Ed25519", privateKey, bytes));
}
