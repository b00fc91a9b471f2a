// What a receiver trusts.
import { type ExchangeKey, exchangeKey, keyId, messageKey, sharedSecret } from "./crypto.js";
import { type Bytes, toBase64 } from "./bytes.js";
import { Cache } from "./cache.js";
import { publicKey, seed } from "./keys.js";
import { fold } from "./names.js";

/** The table "What a receiver trusts" of docs/proofs.md. */
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
  /** How many proofs are remembered, to refuse a second message with the same; 0, the default: none. */
  replays?: number;
}

/** A server's Ed25519 key. */
export interface Signer {
  id: number;
  text: string;
  key: Bytes;
}

/** A server's X25519 key and one of the receiver's. */
export interface Pair {
  server: { id: number; text: string; key: Bytes };
  receiver: { id: number; key: ExchangeKey };
  secret: CryptoKey;
}

interface Keys {
  signers: Signer[];
  pairs: Pair[];
}

const known = new Set(["user", "one", "many", "accounts", "max_age", "max_skew", "servers", "keys", "replays"]);
/** How many keys of salts are kept: one for each connection that publishes. */
const maxMessageKeys = 10_000;

export class Trust {
  readonly user: string;
  readonly one: readonly string[];
  readonly many: readonly string[];
  readonly accounts: ReadonlyMap<string, readonly string[][]>;
  readonly maxAge: number;
  readonly maxSkew: number;
  readonly wantsProof: boolean;
  readonly hasKeys: boolean;
  /** Proofs that were taken, or undefined where none are remembered. */
  readonly taken: Cache<true> | undefined;
  readonly #options: TrustOptions;
  readonly #messageKeys = new Cache<Promise<CryptoKey>>(maxMessageKeys);
  #keys: Promise<Keys> | undefined;

  /** Throws a TypeError that names the field that cannot be. */
  constructor(options: TrustOptions) {
    for (const field of Object.keys(options)) if (!known.has(field)) throw new TypeError(`unknown field ${JSON.stringify(field)}`);
    const { user, one = [], many = [], accounts = {}, max_age = 0, max_skew = 0, servers = [], keys = [], replays = 0 } = options;
    const names = [user, ...one, ...many];
    if (names.some((name) => typeof name !== "string" || name === "" || /[^!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(name))) throw new TypeError("user, one, many: expected names of headers");
    if (new Set(names.map(fold)).size !== names.length) throw new TypeError("user, one, many: one name is there twice");
    for (const [field, value] of Object.entries({ max_age, max_skew, replays })) if (!Number.isFinite(value) || value < 0) throw new TypeError(`${field}: expected a number that is not negative`);
    if (!Number.isInteger(replays)) throw new TypeError("replays: expected a whole number");
    for (const key of servers) if (!/^[XN]/.test(key)) throw new TypeError("servers: expected public keys that begin with X or N");
    for (const key of servers) publicKey(key[0] as "X" | "N", key);
    for (const key of keys) seed("X", key);
    if (servers.length > 0 && Object.keys(accounts).length === 0) throw new TypeError("accounts: expected the accounts and subjects that are trusted, since servers is set");
    if (keys.length > 0 && servers.length === 0) throw new TypeError("servers: expected public keys of servers, since keys is set");
    if (replays > 0 && servers.length === 0) throw new TypeError("replays: only with servers");
    this.user = user;
    this.one = [...one];
    this.many = [...many];
    this.accounts = new Map(Object.entries(accounts).map(([account, subjects]) => [account, subjects.map((subject) => patternOf(account, subject))]));
    this.maxAge = max_age;
    this.maxSkew = max_skew || 5;
    this.wantsProof = servers.length > 0;
    this.hasKeys = keys.length > 0;
    this.taken = replays > 0 ? new Cache(replays) : undefined;
    this.#options = { user, servers: [...servers], keys: [...keys] };
  }

  /** The names that the service reads, in their order. */
  get names(): string[] {
    return [this.user, ...this.one, ...this.many];
  }

  /** The keys, imported at the first use: WebCrypto gives them later alone. */
  keys(): Promise<Keys> {
    return this.#keys ??= importKeys(this.#options);
  }

  /** The key of the messages with one salt. */
  messageKey(pair: Pair, salt: Bytes): Promise<CryptoKey> {
    const id = `${pair.server.text} ${toBase64(pair.receiver.key.publicKey)} ${toBase64(salt)}`;
    let key = this.#messageKeys.get(id);
    if (!key) this.#messageKeys.set(id, key = messageKey(pair.secret, salt, pair.server.key, pair.receiver.key.publicKey));
    return key;
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

function patternOf(account: string, subject: string): string[] {
  const tokens = subject.split(".");
  if (tokens.some((token) => token === "") || tokens.indexOf(">") !== -1 && tokens.indexOf(">") !== tokens.length - 1) {
    throw new TypeError(`accounts: ${JSON.stringify(account)}: expected subjects, with wildcards or without`);
  }
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
