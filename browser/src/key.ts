// The worker's key: Ed25519 of WebCrypto, which gives nobody the private part, not even the worker.

/** An nkey of a user. */
export interface Key {
  readonly nkey: string;
  /** The signature of a nonce as CONNECT has it, in base64url. */
  sign(nonce: string): Promise<string>;
}

/** Makes a key; undefined where the browser lacks Ed25519. */
export async function newKey(): Promise<Key | undefined> {
  let pair: CryptoKeyPair;
  try {
    pair = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]) as CryptoKeyPair;
  } catch {
    return undefined; // NotSupportedError; or no crypto.subtle, outside of secure contexts
  }
  const raw = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  return {
    nkey: publicUser(raw),
    async sign(nonce) {
      return base64url(new Uint8Array(await crypto.subtle.sign("Ed25519", pair.privateKey, new TextEncoder().encode(nonce))));
    },
  };
}

/**
 * What proves to those who know a secret that a key is of somebody who knows it too: HMAC-SHA-256 of its text. The secret is
 * imported at once, while the key is made.
 */
export function prover(secret: string): (nkey: string) => Promise<string> {
  const bytes = new TextEncoder();
  const importing = (async () => crypto.subtle.importKey("raw", bytes.encode(secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]))();
  importing.catch(() => {}); // who asks for a proof is told
  return async (nkey) => base64url(new Uint8Array(await crypto.subtle.sign("HMAC", await importing, bytes.encode(nkey))));
}

const userPrefix = 20 << 3; // 'U', nkeys/strkey.go

/** The text form of a user's public key: base32 of prefix, 32 bytes, and CRC-16/XMODEM (nkeys/strkey.go). */
export function publicUser(raw: Uint8Array): string {
  const bytes = new Uint8Array(raw.length + 3);
  bytes[0] = userPrefix;
  bytes.set(raw, 1);
  new DataView(bytes.buffer).setUint16(raw.length + 1, crc16(bytes.subarray(0, raw.length + 1)), true);
  return base32(bytes);
}

function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  }
  return crc & 0xffff;
}

function base32(bytes: Uint8Array): string {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"; // RFC 4648, section 6, without padding
  let text = "", value = 0, bits = 0;
  for (const byte of bytes) {
    value = (value << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += alphabet[(value >>> (bits - 5)) & 31];
    value &= (1 << bits) - 1;
  }
  return bits > 0 ? text + alphabet[(value << (5 - bits)) & 31] : text;
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
