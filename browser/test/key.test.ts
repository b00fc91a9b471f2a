import assert from "node:assert/strict";
import { createHmac, webcrypto } from "node:crypto";
import { test } from "node:test";
import { createUser, fromPublic } from "@nats-io/nkeys";
import { newKey, prover, publicUser } from "../src/key.ts";

if (!globalThis.crypto) Object.assign(globalThis, { crypto: webcrypto }); // Node 18

test("the text of a public key is that of nkeys", () => {
  for (let n = 0; n < 200; n++) {
    const text = createUser().getPublicKey();
    const raw = base32(text).subarray(1, 33);
    assert.equal(publicUser(raw), text);
  }
});

test("a signature is one that nkeys verifies, and the private part is nobody's", async () => {
  const key = await newKey();
  assert.ok(key);
  const nonce = "PwIzCJUVtdMuhfk";
  const signature = new Uint8Array(Buffer.from(await key.sign(nonce), "base64url"));
  assert.ok(fromPublic(key.nkey).verify(new TextEncoder().encode(nonce), signature));
  assert.ok(!fromPublic(key.nkey).verify(new TextEncoder().encode("another"), signature));
  assert.deepEqual(Object.keys(key), ["nkey", "sign"]);
});

test("WebCrypto keeps the private part to itself", async () => {
  const { subtle } = crypto;
  const { generateKey } = subtle;
  const extractable: unknown[] = [];
  subtle.generateKey = ((...args: Parameters<typeof generateKey>) => {
    extractable.push(args[1]);
    return generateKey.apply(subtle, args);
  }) as typeof generateKey;
  try {
    await newKey();
  } finally {
    subtle.generateKey = generateKey;
  }
  assert.deepEqual(extractable, [false]);
});

test("without Ed25519 there is no key", async () => {
  const { subtle } = crypto;
  const { generateKey } = subtle;
  subtle.generateKey = (() => Promise.reject(new DOMException("", "NotSupportedError"))) as typeof generateKey;
  try {
    assert.equal(await newKey(), undefined);
  } finally {
    subtle.generateKey = generateKey;
  }
});

test("a proof is for one key, by one secret", async () => {
  const secret = "s3cr3t-of_43-characters", nkey = createUser().getPublicKey();
  const prove = prover(secret);
  for (const of of [nkey, "", nkey]) assert.equal(await prove(of), createHmac("sha256", secret).update(of).digest("base64url"));
});

function base32(text: string): Uint8Array {
  const bits = [...text].map((c) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(c).toString(2).padStart(5, "0")).join("");
  return Uint8Array.from(bits.match(/.{8}/g)!, (byte) => parseInt(byte, 2));
}
