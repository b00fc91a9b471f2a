// What a receiver trusts.
import { type KeyPair, exchangeKey, keyId, messageKey, sharedSecret } from "./crypto.js";
import { type Bytes, toBase64 } from "./bytes.js";
import { Cache } from "./cache.js";
import { objectOf } from "./json.js";
import { publicKey, seed } from "./keys.js";
import { fold, isToken } from "./names.js";
import { forwardedName, proofName, provenance } from "./proof.js";

/**
 * No subject on which a header is stamped has these. White space beyond ASCII is most likely an error; /\s/ has U+FEFF too, which the receivers in
 * other languages take, and not U+0085. A lone surrogate is in no UTF-8.
 */
const NONE_OF_SUBJECTS = /[\0-\x20\x7f\ufffd]|\p{White_Space}|\p{Surrogate}/u;
/** The server has no such name in Stamp-Account, so the trust would be for nobody. */
const NO_ACCOUNT = /^$|(?!\t)\p{Control}|[\u2028\u2029\ufffd]|\p{Surrogate}|^[\p{White_Space}\ufeff]|[\p{White_Space}\ufeff]$/u;

/** The table "What a receiver trusts" of docs/proofs.md. A field that is undefined is refused: leave it out. */
export interface TrustOptions {
  /** The header that names the user. */
  user: string;
  /** Further headers that the service reads, each with one value at most. */
  one?: readonly string[];
  /** Further headers that the service reads, with any number of values. */
  many?: readonly string[];
  /** Accounts of publishers, and for each the subjects, with wildcards; the account "*" is any other. Required with servers. */
  accounts?: Readonly<Record<string, readonly string[]>>;
  /** How old a message may be, in seconds; 0, the default: any age. */
  max_age?: number;
  /** How far in the future its time may be, in seconds; 0, the default: 5. Only with max_age. */
  max_skew?: number;
  /** Public keys of servers, "X..." and "N...". Without any, no proof is wanted. */
  servers?: readonly string[];
  /** The receiver's own seeds, "SX...", newest first. */
  keys?: readonly string[];
  /** Subjects on which a proof must be signed, with wildcards; needs a server "N...". Without them, whoever holds one of the keys can make a proof. */
  signed?: readonly string[];
  /** How many proofs are remembered, to refuse a second message with the same; 0, the default: none. */
  replays?: number;
}

/** A server's Ed25519 key.
 * @internal */
export interface Signer {
  id: number;
  text: string;
  key: Bytes;
}

/** A server's X25519 key and one of the receiver's.
 * @internal */
export interface Pair {
  server: { id: number; text: string; key: Bytes };
  receiver: { id: number; key: KeyPair };
  secret: CryptoKey;
}

interface Keys {
  signers: Signer[];
  pairs: Pair[];
}

/** What a trust has in common with those that forSubjects made of it. */
interface Shared {
  messageKeys: Cache<CryptoKey>;
  taken: Cache<true> | undefined;
  keys: Promise<Keys> | undefined;
}

const ACCOUNTS = "accounts: expected names of accounts, and for each a list of subjects";
const hundredYears = 100 * 366 * 24 * 60 * 60;
/** A Map has room for 2^24 entries, of which half may be deleted ones. */
const maxReplays = 8_000_000;

const known = new Set(["user", "one", "many", "accounts", "max_age", "max_skew", "servers", "keys", "signed", "replays"]);
/** How many keys of salts are kept: one for each connection that publishes. */
const maxMessageKeys = 10_000;

export class Trust {
  readonly user: string;
  readonly one: readonly string[];
  readonly many: readonly string[];
  readonly accounts: ReadonlyMap<string, readonly string[][]>;
  /** @internal */
  readonly signed: readonly string[][];
  readonly maxAge: number;
  readonly maxSkew: number;
  /** @internal */
  readonly wantsProof: boolean;
  /** @internal */
  readonly hasKeys: boolean;
  readonly #options: TrustOptions;
  #shared: Shared;
  #handled: readonly string[][] | undefined; // undefined: a handler is for messages that were published where they arrived

  /** Throws a TypeError that names the field that cannot be. */
  constructor(options: TrustOptions) {
    const own = ownFields(options);
    const { user, one = [], many = [], accounts = {}, max_age = 0, max_skew = 0, servers = [], keys = [], signed = [], replays = 0 } = own;
    check(own, { accounts, servers, keys, signed });
    this.user = user;
    this.one = [...one];
    this.many = [...many];
    this.accounts = new Map(Object.entries(accounts).map(([account, subjects]) => [account, patternsOf(account, subjects)]));
    this.signed = signed.map((subject) => patternOf("signed", subject));
    this.maxAge = max_age;
    this.maxSkew = max_skew || 5;
    this.wantsProof = servers.length > 0;
    this.hasKeys = keys.length > 0;
    this.#options = { // a copy of what was checked: forSubjects makes a trust of it
      user, one: [...one], many: [...many], max_age, max_skew, replays, signed: [...signed],
      accounts: Object.fromEntries(Object.entries(accounts).map(([account, subjects]) => [account, [...subjects]])),
      servers: [...servers], keys: [...keys],
    };
    this.#shared = { messageKeys: new Cache(maxMessageKeys), taken: replays > 0 ? new Cache(replays) : undefined, keys: undefined };
  }

  /**
   * Reads a trust from the text of a file, in JSON. Unlike JSON.parse it takes no text that has a name twice, of which the last would count
   * without a word, and its errors do not show the text, which has seeds. Throws a TypeError that says what cannot be.
   */
  static fromJSON(text: string): Trust {
    return new Trust(objectOf(text) as unknown as TrustOptions);
  }

  /**
   * A trust for a handler whose messages are published on these subjects, with wildcards. It is for messages that arrive on another
   * subject than that on which they are published, because a mapping, an import or a stream changes it. It remembers proofs together with this
   * one. Subjects of an earlier forSubjects no longer count. forwarded wants the trust from before. Throws a TypeError where a subject cannot be.
   */
  forSubjects(...subjects: string[]): Trust {
    if (this.accounts.size === 0) throw new TypeError("forSubjects without accounts: no subject would be looked at");
    if (subjects.length === 0) throw new TypeError("forSubjects: expected at least one subject, found none");
    const trust = new Trust(this.#options);
    trust.#shared = this.#shared;
    trust.#handled = subjects.map((subject) => patternOf("forSubjects", subject));
    return trust;
  }

  /**
   * Whether a message that was published on a subject is for the handler. The subject on which it arrived is compared as it is: whoever
   * publishes to orders.* does not choose a pattern.
   * @internal */
  isFor(subject: string, arrived: string | undefined): boolean {
    return this.#handled ? this.#handled.some((pattern) => fits(pattern, subject)) : arrived === undefined || arrived === subject;
  }

  /** Proofs that were taken, or undefined where none are remembered.
   * @internal */
  get taken(): Cache<true> | undefined {
    return this.#shared.taken;
  }

  /** The names that the service reads, in their order. */
  get names(): string[] {
    return [this.user, ...this.one, ...this.many];
  }

  /** Imports the keys, which the first message does otherwise. Rejects with a TypeError where one cannot be used. */
  async ready(): Promise<this> {
    await this.keys();
    return this;
  }

  /** The keys, imported at the first use: WebCrypto gives them later alone.
   * @internal */
  keys(): Promise<Keys> {
    return this.#shared.keys ??= importKeys(this.#options);
  }

  /** The key of the messages with one salt.
   * @internal */
  async messageKey(pair: Pair, salt: Bytes): Promise<CryptoKey> {
    return this.#shared.messageKeys.get(idOf(pair, salt)) ?? messageKey(pair.secret, salt, pair.server.key, pair.receiver.key.publicKey);
  }

  /** Of how many salts the keys are kept.
   * @internal */
  get keptKeys(): number {
    return this.#shared.messageKeys.size;
  }

  /** Keeps a key for the next messages with its salt. Only for a message whose tag fits: a stranger can choose salts, and would
   * push out the keys of others.
   * @internal */
  keepMessageKey(pair: Pair, salt: Bytes, key: CryptoKey): void {
    this.#shared.messageKeys.set(idOf(pair, salt), key);
  }
}

const idOf = (pair: Pair, salt: Bytes): string => `${pair.server.text} ${toBase64(pair.receiver.key.publicKey)} ${toBase64(salt)}`;

/**
 * A copy of the fields, each of which is read once. One that is inherited is refused, as the getter of a class is: it would count here, and
 * nobody would have seen what it says.
 */
function ownFields(options: TrustOptions): TrustOptions {
  const own: Record<string, unknown> = Object.create(null);
  for (const field of Reflect.ownKeys(options)) {
    if (typeof field === "symbol" || !known.has(field)) throw new TypeError(`unknown field ${JSON.stringify(String(field))}`);
    const value: unknown = options[field as keyof TrustOptions];
    // undefined is what a setting has that is missing: without servers, for example, no proof would be wanted.
    if (value === null || value === undefined) throw new TypeError(`${field}: expected a value, found ${value}`);
    own[field] = value;
  }
  const fields = [...known]; // by their names, since the getters of a class are not enumerated
  for (const field in options) fields.push(field);
  const inherited = fields.find((field) => field in options && !(field in own));
  if (inherited !== undefined) throw new TypeError(`${inherited}: expected a field of the options themselves, found an inherited one`);
  return own as unknown as TrustOptions;
}

/** Refuses what is at odds, or cannot be: each of these would trust more than it seems to. */
function check({ user, one = [], many = [], max_age = 0, max_skew = 0, replays = 0 }: TrustOptions, { accounts, servers, keys, signed }: Required<Pick<TrustOptions, "accounts" | "servers" | "keys" | "signed">>): void {
  const fault = (text: string): never => { throw new TypeError(text); };
  for (const [field, texts] of Object.entries({ one, many, servers, keys, signed })) {
    if (!Array.isArray(texts) || Array.from(texts).some((text) => typeof text !== "string")) fault(`${field}: expected a list of texts`);
  }
  // Of a list or a Map, Object.entries would find other accounts than are meant, or none.
  if (typeof accounts !== "object" || Symbol.iterator in accounts) fault(ACCOUNTS);
  // Inherited names would not count, nor those of a class that has getters: and a trust without accounts looks at none.
  const prototype: unknown = Object.getPrototypeOf(accounts);
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) fault(ACCOUNTS);
  for (const name in accounts) if (!Object.hasOwn(accounts, name)) fault(ACCOUNTS);
  const seen = new Set([...provenance, proofName, forwardedName].map(fold));
  for (const name of [user, ...one, ...many]) {
    if (typeof name !== "string" || !isToken(name)) fault("user, one, many: expected names of headers");
    if (seen.has(fold(name))) fault(`user, one, many: the name ${name} is of provenance or of proofs, or is there twice`);
    seen.add(fold(name));
  }
  for (const [field, value] of Object.entries({ max_age, max_skew, replays })) {
    if (!Number.isSafeInteger(value) || value < 0) fault(`${field}: expected a whole number that is not negative`);
  }
  if (Math.max(max_age, max_skew) > hundredYears) fault("max_age, max_skew: expected at most 100 years in seconds");
  if (replays > maxReplays) fault(`replays: expected at most ${maxReplays}, found ${replays}`);
  for (const [field, texts] of Object.entries({ servers, keys })) if (new Set(texts).size !== texts.length) fault(`${field}: one is there twice`);
  for (const key of servers) {
    if (!/^[XN]/.test(key)) fault("servers: expected public keys that begin with X or N");
    inField("servers", () => publicKey(key[0] as "X" | "N", key));
  }
  for (const key of keys) inField("keys", () => seed("X", key));
  const trusted = Object.keys(accounts).length > 0;
  if (servers.length > 0 && !trusted) fault("servers without accounts: say in which accounts, and on which subjects, a message must have been published");
  if (servers.length === 0 && (keys.length > 0 || replays > 0)) fault("keys or replays without servers: no proof would be looked at");
  if (signed.length > 0 && !servers.some((key) => key.startsWith("N"))) fault("signed without a server that signs: servers has no public key N...");
  if (max_age > 0 && !trusted) fault("max_age without accounts: no time would be looked at");
  if (max_skew > 0 && max_age === 0) fault("max_skew without max_age: no time would be looked at");
}

/** Calls read, and names the field in what it throws. */
function inField(field: string, read: () => unknown): void {
  try {
    read();
  } catch (err) {
    throw new TypeError(`${field}: ${(err as Error).message}`);
  }
}

async function importKeys({ servers = [], keys = [] }: TrustOptions): Promise<Keys> {
  const read = async (kind: "X" | "N") => Promise.all(servers.filter((text) => text.startsWith(kind)).map(async (text) => {
    const key = publicKey(kind, text);
    return { id: await keyId(key), text, key };
  }));
  const own = await Promise.all(keys.map(async (text) => {
    const key = await exchangeKey(seed("X", text));
    return { id: await keyId(key.publicKey), key };
  }));
  const pairs = (await read("X")).flatMap((server) => own.map(async (receiver) => ({ server, receiver, secret: await sharedSecret(receiver.key, server.key) })));
  return { signers: await read("N"), pairs: await Promise.all(pairs) };
}

function patternsOf(account: string, subjects: readonly string[]): string[][] {
  if (NO_ACCOUNT.test(account)) throw new TypeError(`accounts: expected names without control characters, lone surrogates and white space around them; found ${JSON.stringify(account)}`);
  if (!Array.isArray(subjects) || subjects.length === 0) throw new TypeError(ACCOUNTS);
  return Array.from(subjects, (subject) => patternOf(`accounts: ${JSON.stringify(account)}`, subject));
}

/** Refuses what only looks like a wildcard, as pay* does: to NATS that is a plain text, so the rule would protect nothing. */
function patternOf(field: string, subject: string): string[] {
  const tokens = typeof subject === "string" ? subject.split(".") : [""];
  const isWrong = (token: string, i: number): boolean => token === "" || NONE_OF_SUBJECTS.test(token) || token === ">" && i < tokens.length - 1 || token.length > 1 && /[*>]/.test(token);
  if (tokens.some(isWrong)) throw new TypeError(`${field}: expected subjects, with * and > as whole tokens and > as the last one; found ${JSON.stringify(subject)}`);
  return tokens;
}

/** Whether a pattern, in tokens, fits a subject. */
export function fits(pattern: readonly string[], subject: string): boolean {
  const tokens = subject.split(".");
  if (tokens.some((token) => token === "")) return false;
  for (const [i, token] of pattern.entries()) {
    if (token === ">") return tokens.length > i;
    if (i >= tokens.length || token !== "*" && token !== tokens[i]) return false;
  }
  return tokens.length === pattern.length;
}
