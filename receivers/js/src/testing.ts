// Stamps messages as a server with proofs does, for tests of services that receive them.
import { type Bytes, concat, join, number, toBase64, utf8 } from "./bytes.js";
import { exchangeKey, keyId, label, messageKey, seal, sha256, sharedSecret, sign, signingKey } from "./crypto.js";
import { encode, publicKey, seed } from "./keys.js";
import { entryOf, fold } from "./names.js";
import { type Field, macTextOf, proofName, provenance, textOf } from "./proof.js";

/** All that a proof is made of. The same input gives the same proof. */
export interface Stamped {
  /** Seeds of the server, SX... and SN..., and the public key of the receiver, X...; what is not needed may be empty. */
  curveSeed?: string | undefined;
  signSeed?: string | undefined;
  receiver?: string | undefined;
  salt: Uint8Array; // 16 bytes
  counter: number; // of 32 bits
  account: string;
  subject: string;
  time: string; // 2026-03-01T12:00:00.123456789Z
  headers: readonly (readonly [string, string])[];
  /** Names whose values only the receiver can read. */
  encrypt?: readonly string[] | undefined;
  /** Whether anybody can check the proof. */
  sign?: boolean | undefined;
  payload?: Uint8Array | undefined;
}

/** The lines of a stamped message: provenance, the headers, and the proof. */
export async function make({ curveSeed = "", signSeed = "", receiver = "", salt, counter, account, subject, time, headers, encrypt = [], sign: signs = false, payload = new Uint8Array() }: Stamped): Promise<[string, string][]> {
  const origin = provenance.map((name, i) => [name, [account, subject, time][i]!] as [string, string]);
  const fields = fieldsOf(headers, new Set(encrypt.map(fold)));
  const conceals = fields.some(({ encrypted }) => encrypted);
  if (receiver === "" && (!signs || conceals)) throw new TypeError("the proof is neither for a receiver nor signed, or has values to encrypt and no receiver");
  const all = [...origin.map(([name, value]): Field => ({ name, values: [value], encrypted: false, ciphertexts: [] })), ...fields];
  const forReceiver = receiver !== "" && (conceals || !signs);
  const ids: Bytes[] = [];
  let key: CryptoKey | undefined;
  if (forReceiver) {
    const own = await exchangeKey(seed("X", curveSeed)), other = publicKey("X", receiver);
    key = await messageKey(await sharedSecret(own, other), concat(salt), own.publicKey, other);
    ids.push(number(await keyId(own.publicKey), 2), number(await keyId(other), 2), concat(salt), number(counter, 4));
  }
  const signer = signs ? await signingKey(seed("N", signSeed)) : undefined;
  if (signer) ids.push(number(await keyId(signer.publicKey), 2));
  for (const { name, encrypted } of fields) ids.push(number(entryOf(fold(name)) + (encrypted ? 0x800000 : 0), 3));
  let proof = concat(number(signs ? (forReceiver ? 3 : 2) : 1, 1), ...ids);
  if (key) proof = concat(proof, await conceal(key, number(counter, 4), proof, all, concat(payload)));
  if (signer) proof = concat(proof, await sign(signer.privateKey, concat(label, proof, textOf(all), await sha256(concat(payload)))));
  const values = new Map(fields.map(({ name, values }) => [name, [...values]]));
  return [...origin, ...headers.map(([name]): [string, string] => [name, values.get(name)!.shift()!]), [proofName, toBase64(proof)]];
}

/** A server with keys of its own, and of one receiver. */
export class Server {
  readonly account: string;
  readonly #curveSeed = randomBytes(32);
  readonly #signSeed = randomBytes(32);
  readonly #receiverSeed = randomBytes(32);
  readonly #salt = randomBytes(16);
  readonly #options: { encrypt?: readonly string[]; sign?: boolean };
  #counter = 0;

  constructor({ account = "APP", ...options }: { account?: string; encrypt?: readonly string[]; sign?: boolean } = {}) {
    this.account = account;
    this.#options = options;
  }

  /** What a trust has in servers and in keys. */
  async trusted(): Promise<{ servers: string[]; keys: string[] }> {
    const [curve, signing] = [await exchangeKey(this.#curveSeed), await signingKey(this.#signSeed)];
    return { servers: [encode("X", curve.publicKey), encode("N", signing.publicKey)], keys: [encode("SX", this.#receiverSeed)] };
  }

  /** The headers of a message that is published now, or at a time. */
  async stamp(headers: Record<string, readonly string[]>, subject: string, payload: Uint8Array = new Uint8Array(), time: Date = new Date()): Promise<[string, string][]> {
    return make({
      curveSeed: encode("SX", this.#curveSeed), signSeed: encode("SN", this.#signSeed), salt: this.#salt, counter: ++this.#counter,
      receiver: encode("X", (await exchangeKey(this.#receiverSeed)).publicKey), account: this.account, subject, payload, ...this.#options,
      time: time.toISOString().replace("Z", "000000Z"),
      headers: Object.entries(headers).flatMap(([name, values]) => values.map((value) => [name, value] as const)),
    });
  }
}

const randomBytes = (size: number): Bytes => globalThis.crypto.getRandomValues(new Uint8Array(size));

function fieldsOf(headers: Stamped["headers"], concealed: Set<string>): Field[] {
  const fields = new Map<string, Field>();
  for (const [name, value] of headers) {
    const folded = fold(name), encrypted = concealed.has(folded);
    const field = fields.get(folded) ?? { name, values: [], encrypted, ciphertexts: [] };
    if (field.name !== name) throw new TypeError("a header in two spellings");
    fields.set(folded, field);
    field.values.push(value);
    if (encrypted) field.ciphertexts.push(utf8(value));
  }
  return [...fields].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, field]) => field);
}

/** Encrypts the values, and returns the tag. Until then, what is to be encrypted stands where its ciphertext will. */
async function conceal(key: CryptoKey, counter: Bytes, head: Bytes, fields: Field[], payload: Bytes): Promise<Bytes> {
  const plaintext = join(fields.flatMap(({ ciphertexts }) => ciphertexts));
  const tag = await seal(key, 1, counter, new Uint8Array(), payload);
  const sealed = await seal(key, 0, counter, plaintext, concat(label, head, macTextOf(fields), tag));
  let at = 0;
  for (const field of fields) {
    field.ciphertexts = field.ciphertexts.map(({ length }) => sealed.slice(at, at += length));
    if (field.encrypted) field.values = field.ciphertexts.map(toBase64);
  }
  return sealed.slice(at);
}
