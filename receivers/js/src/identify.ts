// How a message is judged, step by step as in docs/proofs.md.
import { type Bytes, concat, equal, fromBase64, join, toBase64, utf8 } from "./bytes.js";
import { label, open, seal, sha256, verifies } from "./crypto.js";
import { Anonymous } from "./errors.js";
import { entryOf, fold, type Group, groupsOf, isAfter } from "./names.js";
import { type Field, forwardedBytes, forwardedName, macTextOf, parseForwarded, parseText, type Proof, proofName, provenance, textOf } from "./proof.js";
import { fits, type Pair, type Signer, type Trust } from "./trust.js";

/** A message, as every client can give it. */
export interface Message {
  /** Names and values, in the order of the message. */
  headers: Iterable<readonly [string, string]>;
  payload: Uint8Array;
  /**
   * The subject on which the message arrived. With it, a message that was published on another subject is refused, unless the trust is one of
   * forSubjects. A trust without accounts looks at no subject.
   */
  subject?: string | undefined;
}

/** Who sent a message. */
export interface Identity {
  user: string;
  /** All values of the headers that the trust names in `one` and `many`, by the name as the trust spells it. */
  values: Record<string, string[]>;
  /** The account of the publisher; undefined where the trust has no accounts. */
  account: string | undefined;
  /** The subject as it was published. */
  subject: string | undefined;
  time: Date | undefined;
  /** The time as in the message, to the nanosecond: 2026-03-01T12:00:00.123456789Z. */
  timestamp: string | undefined;
  /** Whether a proof was checked. If not, all that is known is what the last server wrote. */
  proven: boolean;
  /** The public key of the server that has proven it, as the trust has it: N... of a signature, or else X.... undefined without a proof. */
  server: string | undefined;
}

/** What stands for a payload in a proof. */
interface Payload {
  tag(key: CryptoKey, counter: Bytes): Promise<Bytes>;
  hash(): Promise<Bytes>;
}

/** A header that is believed. */
interface Believed {
  group: Group;
  values: string[] | undefined; // undefined: they are encrypted, for somebody else
}

/** The headers that are believed, by the folded name. */
type BelievedHeaders = Map<string, Believed>;

/** What a proof has proven, and whose key did. */
interface Proven {
  proof: Proof;
  believed: BelievedHeaders;
  fields: Field[];
  key: CryptoKey | undefined;
  server: string;
}

/** Who has sent the message. Rejects with Anonymous where that is nobody whom the trust knows. now is in nanoseconds since 1970. */
export async function identify(message: Message, trust: Trust, now: bigint = clock()): Promise<Identity> {
  const groups = groupsOf(message.headers);
  if (!trust.wantsProof) return judge(groups, believedAsWritten(groups, trust), trust, now, message.subject);
  const proof = proofIn(groups);
  const proven = await prove(groups, trust, proof, await keysOf(trust, proof), payloadOf(message.payload));
  const identity = judge(groups, proven.believed, trust, now, message.subject, proven);
  if (trust.taken) {
    const id = toBase64(proof.bytes);
    if (trust.taken.get(id)) throw new Anonymous("replayed");
    trust.taken.set(id, true);
  }
  return identity;
}

/** Who has sent the message of which somebody passes on the proof: that was asked by this user, on this subject, at this time. */
export async function forwarded(message: Message, trust: Trust, now: bigint = clock()): Promise<Identity> {
  const text = forwardedIn(groupsOf(message.headers));
  const { proof, rest } = parseForwarded(text);
  // The keys are looked at before the fields, which anybody can make many of. Without servers there is none.
  const keys = await keysOf(trust, proof);
  const { payloadTag, payloadHash, headers, fields } = rest();
  const groups = groupsOf(headers);
  const payload: Payload = { tag: async () => payloadTag, hash: async () => payloadHash };
  const proven = await prove(groups, trust, proof, keys, payload, fields);
  return judge(groups, proven.believed, trust, now, undefined, proven);
}

/**
 * The value of Stamp-Forwarded-Proof with which a service passes on the proof of a message that it got. Rejects with Anonymous
 * where the message is from nobody, and where the trust has no servers, or no keys for a proof of kind 3. What is remembered against replays is not looked at.
 */
export async function forward(message: Message, trust: Trust, now: bigint = clock()): Promise<string> {
  const groups = groupsOf(message.headers);
  if (!trust.wantsProof) {
    judge(groups, believedAsWritten(groups, trust), trust, now, message.subject);
    throw new Anonymous("proof-key");
  }
  const proof = proofIn(groups), payload = payloadOf(message.payload);
  const proven = await prove(groups, trust, proof, await keysOf(trust, proof), payload), { fields, key } = proven;
  judge(groups, proven.believed, trust, now, message.subject, proven);
  if (proof.exchange && !key) throw new Anonymous("proof-key");
  const payloadTag = proof.exchange ? await payload.tag(key!, proof.exchange.counter) : new Uint8Array();
  const payloadHash = proof.signer === undefined ? new Uint8Array() : await payload.hash();
  return toBase64(forwardedBytes(proof, payloadTag, payloadHash, fields));
}

const clock = (): bigint => BigInt(Date.now()) * 1_000_000n;

function payloadOf(payload: Uint8Array): Payload {
  const bytes = concat(payload); // a copy that is not shared
  return {
    tag: (key, counter) => seal(key, 1, counter, new Uint8Array(), bytes),
    hash: () => sha256(bytes),
  };
}

/** Step 3. */
function proofIn(groups: Map<string, Group>): Proof {
  return parseText(onlyLine(groups, proofName));
}

const forwardedIn = (groups: Map<string, Group>): string => onlyLine(groups, forwardedName);

function onlyLine(groups: Map<string, Group>, name: string): string {
  const group = groups.get(fold(name));
  if (!group) throw new Anonymous("anonymous");
  if (group.crowded || group.spelling !== name || group.values.length !== 1) throw new Anonymous("proof-malformed");
  return group.values[0]!;
}

/** Step 2: without a proof, what is there is believed. */
function believedAsWritten(groups: Map<string, Group>, trust: Trust): BelievedHeaders {
  const believed: BelievedHeaders = new Map();
  for (const name of [...trust.names, ...trust.accounts.size > 0 ? provenance : []]) {
    const group = groups.get(fold(name));
    if (group) believed.set(group.folded, { group, values: group.values });
  }
  return believed;
}

/** The keys that can have made a proof. opens says whether its tag is checked. */
interface ProofKeys {
  pairs: Pair[];
  signers: Signer[];
  opens: boolean;
}

/** Step 4. */
async function keysOf(trust: Trust, proof: Proof): Promise<ProofKeys> {
  const keys = await trust.keys(), { exchange } = proof;
  const pairs = exchange ? keys.pairs.filter(({ server, receiver }) => server.id === exchange.server && receiver.id === exchange.receiver) : [];
  const signers = keys.signers.filter(({ id }) => id === proof.signer);
  const opens = exchange !== undefined && (proof.signer === undefined || trust.hasKeys);
  if (opens && pairs.length === 0 || proof.signer !== undefined && signers.length === 0) throw new Anonymous("proof-key");
  return { pairs, signers, opens };
}

/** Steps 5 and 6. wanted is F_text, where it is given. */
async function prove(groups: Map<string, Group>, trust: Trust, proof: Proof, { pairs, signers, opens }: ProofKeys, payload: Payload, wanted?: Bytes): Promise<Proven> {
  const proven = fieldsOf(groups, proof, opens);
  const fields = proven.map(({ field }) => field);
  if (wanted && !equal(textOf(fields), wanted)) throw new Anonymous("proof-malformed");
  const opened = opens ? await openWith(pairs, trust, proof, payload, fields) : undefined;
  let server = opened?.server;
  if (proof.signer !== undefined) {
    const signed = concat(label, proof.bytes.slice(0, -64), textOf(fields), await payload.hash());
    // Of a proof with both, the signature says which server it was: whoever holds the receiver's seed can make a tag.
    server = (await firstOf(signers, ({ key }) => verifies(key, proof.signature, signed)))?.text;
  }
  if (server === undefined) throw new Anonymous("proof-wrong");
  const believed: BelievedHeaders = new Map();
  let at = 0;
  for (const { group, field } of proven) {
    const part = (size: number): Bytes => opened!.plaintext.slice(at, at += size);
    const read = (): string[] | undefined => (opened ? textsOf(field.ciphertexts.map(({ length }) => part(length))) : undefined);
    believed.set(group.folded, { group, values: field.encrypted ? read() : group.values });
  }
  return { proof, believed, fields, key: opened?.key, server };
}

async function firstOf<T>(list: T[], holds: (one: T) => Promise<boolean>): Promise<T | undefined> {
  for (const one of list) if (await holds(one)) return one;
  return undefined;
}

function textsOf(parts: Bytes[]): string[] {
  try {
    return parts.map((part) => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(part));
  } catch {
    throw new Anonymous("field-malformed");
  }
}

/** Step 5. */
function fieldsOf(groups: Map<string, Group>, proof: Proof, opens: boolean): { group: Group; field: Field }[] {
  const proven: { group: Group; field: Field }[] = [];
  for (const name of provenance) {
    const group = provenanceIn(groups, name);
    proven.push({ group, field: fieldOf(group, false, false) });
  }
  const byEntry = new Map<number, Group[]>();
  for (const group of groups.values()) {
    const id = entryOf(group.folded);
    const same = byEntry.get(id);
    if (same) same.push(group);
    else byEntry.set(id, [group]);
  }
  let before = "";
  for (const { id, encrypted } of proof.entries) {
    const [group, other] = byEntry.get(id) ?? [];
    if (!group) throw new Anonymous("field-missing");
    if (other || group.crowded) throw new Anonymous("field-twice");
    if (!isAfter(group.folded, before) || [...provenance, proofName].some((name) => fold(name) === group.folded)) throw new Anonymous("proof-malformed");
    proven.push({ group, field: fieldOf(group, encrypted, opens) });
    before = group.folded;
  }
  return proven;
}

function provenanceIn(groups: Map<string, Group>, name: string): Group {
  const group = groups.get(fold(name));
  if (!group) throw new Anonymous("field-missing");
  if (group.crowded || group.values.length !== 1 || group.spelling !== name) throw new Anonymous("field-twice");
  return group;
}

function fieldOf({ spelling, values }: Group, encrypted: boolean, opens: boolean): Field {
  // The encoding has no room for more.
  if (utf8(spelling).length > 0xffff || values.length > 0xffff || values.some((value) => value.length > 0x7fffffff)) throw new Anonymous("field-malformed");
  const field: Field = { name: spelling, values, encrypted, ciphertexts: [] };
  if (!encrypted || !opens) return field;
  for (const value of values) {
    const ciphertext = fromBase64(value);
    if (!ciphertext) throw new Anonymous("field-malformed");
    field.ciphertexts.push(ciphertext);
  }
  return field;
}

/** Step 6, the tag. Returns what was encrypted, the key that fits, and the server whose key it is. */
async function openWith(pairs: Pair[], trust: Trust, proof: Proof, payload: Payload, fields: Field[]): Promise<{ plaintext: Bytes; key: CryptoKey; server: string }> {
  const { salt, counter } = proof.exchange!;
  const head = proof.bytes.slice(0, proof.bytes.length - proof.signature.length - proof.tag.length);
  const ciphertext = join(fields.flatMap(({ ciphertexts }) => ciphertexts));
  for (const pair of pairs) {
    const key = await trust.messageKey(pair, salt);
    const additional = concat(label, head, macTextOf(fields), await payload.tag(key, counter));
    const plaintext = await open(key, counter, concat(ciphertext, proof.tag), additional);
    if (!plaintext) continue;
    trust.keepMessageKey(pair, salt, key);
    return { plaintext, key, server: pair.server.text };
  }
  throw new Anonymous("proof-wrong");
}

/** Steps 7, 8 and 10. arrived is the subject on which the message arrived, where that counts; proven is undefined without a proof. */
function judge(groups: Map<string, Group>, believed: BelievedHeaders, trust: Trust, now: bigint, arrived: string | undefined, proven?: Proven): Identity {
  const [user, ...others] = trust.names.map((name) => valuesOf(groups, believed, trust, name));
  if (!user?.[0]) throw new Anonymous("anonymous");
  const values: Record<string, string[]> = Object.create(null);
  for (const [i, name] of trust.names.slice(1).entries()) {
    const found = others[i];
    if (found) values[name] = found;
  }
  const identity: Identity = { user: user[0], values, account: undefined, subject: undefined, time: undefined, timestamp: undefined, proven: trust.wantsProof, server: proven?.server };
  if (trust.accounts.size === 0) return identity;
  const [account, subject, time] = provenance.map((name) => provenanceIn(groups, name).values[0]!);
  const patterns = trust.accounts.get(account!) ?? trust.accounts.get("*");
  if (!patterns) throw new Anonymous("account");
  if (!patterns.some((pattern) => fits(pattern, subject!))) throw new Anonymous("subject");
  if (!trust.isFor(subject!, arrived)) throw new Anonymous("misdirected");
  if (proven && proven.proof.signer === undefined && trust.signed.some((pattern) => fits(pattern, subject!))) throw new Anonymous("unsigned");
  return { ...identity, account, subject, time: checkTime(time!, trust, now), timestamp: time };
}

/** The values of a name that the service reads, or undefined where it has none that can be read. */
function valuesOf(groups: Map<string, Group>, believed: BelievedHeaders, trust: Trust, name: string): string[] | undefined {
  const folded = fold(name), group = groups.get(folded), isUser = name === trust.user;
  if (!group) {
    if (isUser) throw new Anonymous("anonymous");
    return undefined;
  }
  const found = believed.get(folded);
  if (!found) throw new Anonymous("field-uncovered");
  if (group.crowded || !trust.wantsProof && group.spelling !== name) throw new Anonymous("field-twice");
  if (group.values.length > 1 && !trust.many.includes(name)) throw new Anonymous("field-twice");
  if (isUser && !found.values?.[0]) throw new Anonymous("anonymous");
  return found.values;
}

const timeForm = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})\.(\d{9})Z$/;

/** The time, to the millisecond. */
function checkTime(text: string, trust: Trust, now: bigint): Date {
  const parts = timeForm.exec(text);
  const time = new Date(`${text.slice(0, 23)}Z`), ms = time.getTime();
  // A date that does not exist, as the 30th of February, becomes another one.
  if (!parts || parts[0] !== text || Number.isNaN(ms) || time.toISOString().slice(0, 23) !== text.slice(0, 23) || parts[1] === "0000") throw new Anonymous("time-malformed");
  if (trust.maxAge === 0) return time;
  // ms has the first three of nine digits.
  const age = now - BigInt(ms) * 1_000_000n - BigInt(parts[7]!) % 1_000_000n, second = 1_000_000_000n;
  if (age > BigInt(trust.maxAge) * second) throw new Anonymous("old");
  if (-age > BigInt(trust.maxSkew) * second) throw new Anonymous("future");
  return time;
}
