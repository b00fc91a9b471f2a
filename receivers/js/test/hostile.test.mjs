// Every message gives an identity or the error Anonymous, and no other error. The work is linear in the size of the message.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { Anonymous, forwarded, identify, Trust } from "@stamp/receiver";
import { Server } from "@stamp/receiver/testing";

/** Numbers below a limit, always the same ones (xorshift32). */
function random(seed) {
  let state = seed;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

const payload = Buffer.from("{}");
const from = async (server) => new Trust({
  user: "X-User", one: ["Session"], many: ["Roles"], accounts: { APP: ["orders.>"] }, max_age: 60, ...await server.trusted(),
});

/** The error that the call throws, or undefined. */
const thrown = (judge, headers, trust) => judge({ headers, payload }, trust).then(() => undefined, (err) => err);

test("random changes of valid messages give their user or Anonymous, and never another user", async () => {
  const server = new Server({ encrypt: ["Session"] }), signing = new Server({ encrypt: ["Session"], sign: true });
  const sources = [];
  for (const each of [server, signing]) {
    sources.push({ trust: await from(each), headers: await each.stamp({ "X-User": ["alice"], Session: ["0af3"], Roles: ["a", "b"] }, "orders.new", payload) });
  }
  const below = random(24), one = (list) => list[below(list.length)];
  const texts = ["", "x", "__proto__", "constructor", "\u0000", "\ufeff", "\ud800", "é", "=", "A".repeat(4097), "AQ", "Ag", "Aw", "BA", "mallory"];
  const names = ["x_user", "X.User", "X-User", "stamp_proof", "Stamp-Proof", "Stamp-Forwarded-Proof", "Stamp-Time", "Roles", ...texts];
  const changes = [
    (headers) => headers.splice(below(headers.length), 1),
    (headers) => headers.splice(below(headers.length), 0, [one(names), one(texts)]),
    (headers) => headers.push([...one(headers)]),
    (headers) => { one(headers)[0] = one(names); },
    (headers) => { one(headers)[1] = one(texts); },
    (headers) => { one(headers)[1] = one(headers)[1]; },
    (headers) => { const line = one(headers); line[1] = line[1].slice(0, below(line[1].length + 1)); },
    (headers) => { const line = one(headers), at = below(line[1].length + 1); line[1] = line[1].slice(0, at) + String.fromCharCode(below(256)) + line[1].slice(at + 1); },
  ];
  const verdicts = new Map();
  for (let i = 0; i < 10_000; i++) {
    const source = one(sources), headers = source.headers.map((line) => [...line]);
    for (let n = 1 + below(3); n > 0 && headers.length > 0; n--) one(changes)(headers);
    try {
      const { user } = await one([identify, forwarded])({ headers, payload }, source.trust);
      assert.equal(user, "alice", `case ${i}`);
    } catch (err) {
      if (!(err instanceof Anonymous)) throw new Error(`case ${i}`, { cause: err });
      verdicts.set(err.verdict, (verdicts.get(err.verdict) ?? 0) + 1);
    }
  }
  assert.ok(verdicts.size >= 8, [...verdicts.keys()].join());
});

test("a message of very many values is judged", async () => {
  const many = (name) => Array.from({ length: 65_000 }, () => [name, "AA"]);
  for (const [name, options] of [["Roles", {}], ["Groups", { sign: true }], ["Session", { encrypt: ["Session"] }]]) {
    const server = new Server(options), trust = await from(server);
    const headers = await server.stamp({ "X-User": ["alice"], [name]: ["a"] }, "orders.new", payload);
    assert.equal((await thrown(identify, [...headers, ...many(name), ...many("X-User")], trust))?.verdict, "proof-wrong");
  }
});

test("a message of very many names is judged, and none is hashed by WebCrypto", async (t) => {
  // A hash by WebCrypto takes as long for one name as for a whole message: 100,000 would take seconds.
  const server = new Server(), trust = await from(server);
  const headers = await server.stamp({ "X-User": ["alice"] }, "orders.new", payload);
  const { user } = await identify({ headers, payload }, trust);
  const digest = t.mock.method(crypto.subtle, "digest");
  const names = Array.from({ length: 100_000 }, (_, i) => [`n${i}`, ""]);
  assert.equal((await identify({ headers: [...headers, ...names], payload }, trust)).user, user);
  assert.equal(digest.mock.callCount(), 0);
});

test("forged messages with other salts do not push out the keys of those that the server made", async (t) => {
  const server = new Server(), trust = await from(server);
  const stamped = () => server.stamp({ "X-User": ["alice"] }, "orders.new", payload);
  await identify({ headers: await stamped(), payload }, trust);
  const lines = await stamped(), [name, proof] = lines.pop();
  for (let other = 1; other <= 100; other++) {
    const bytes = Buffer.from(proof, "base64url");
    bytes[5] ^= other;
    assert.equal((await thrown(identify, [...lines, [name, bytes.toString("base64url")]], trust))?.verdict, "proof-wrong");
  }
  assert.equal(trust.keptKeys, 1);
  const derive = t.mock.method(crypto.subtle, "deriveKey");
  await identify({ headers: [...lines, [name, proof]], payload }, trust);
  assert.equal(derive.mock.callCount(), 0);
});

test("a full cache forgets the first entry, and never walks over its entries", async (t) => {
  const { Cache } = await import("../dist/cache.js");
  // In V8, the first key of a Map is found after a walk over the places of all that were deleted before it.
  const walks = ["keys", "values", "entries", "forEach", Symbol.iterator].map((name) => t.mock.method(Map.prototype, name));
  const limit = 1_000, cache = new Cache(limit);
  for (let i = 0; i < 5 * limit; i++) {
    cache.set(`${i}`, i);
    cache.set(`${Math.max(0, i - limit + 1)}`, "again"); // which does not make it newer
    assert.equal(cache.size, Math.min(i + 1, limit));
    assert.equal(cache.get(`${i - limit}`), undefined);
    assert.equal(cache.get(`${Math.max(0, i - limit + 1)}`), "again");
  }
  assert.deepEqual(walks.map(({ mock }) => mock.callCount()), [0, 0, 0, 0, 0]);
});

/** A forwarded proof of kind 2 by the server of an id, with so many empty values. */
function forwardedOf(id, values) {
  const proof = Buffer.concat([Buffer.of(2), id, Buffer.alloc(64)]), parts = [Buffer.of(1, 0, proof.length), proof, Buffer.alloc(32)];
  for (let left = values, i = 0; left > 0; left -= 60_000, i++) {
    const count = Math.min(left, 60_000);
    parts.push(Buffer.of(0, 1, 0x61 + i, count >> 8, count & 255), Buffer.alloc(4 * count));
  }
  return Buffer.concat(parts).toString("base64url");
}

test("the keys of a forwarded proof are judged before its values, of which each costs little", async (t) => {
  const { servers } = await new Server().trusted(), trust = new Trust({ user: "X-User", accounts: { "*": [">"] }, servers });
  const { publicKey } = await import("../dist/keys.js");
  const id = createHash("sha256").update(publicKey("N", servers.find((key) => key.startsWith("N")))).digest().subarray(0, 2);
  const { prototype } = TextDecoder, { decode } = prototype;
  let decoded = 0;
  prototype.decode = function (...options) {
    decoded++;
    return decode.apply(this, options);
  };
  t.after(() => { prototype.decode = decode; });
  const made = t.mock.method(globalThis, "TextDecoder");
  for (const values of [1_000, 180_000]) {
    decoded = 0;
    assert.equal((await thrown(forwarded, [["Stamp-Forwarded-Proof", forwardedOf(Buffer.of(id[0] ^ 1, id[1]), values)]], trust))?.verdict, "proof-key");
    assert.equal(decoded, 0);
    assert.equal((await thrown(forwarded, [["Stamp-Forwarded-Proof", forwardedOf(id, values)]], trust))?.verdict, "field-missing");
    assert.ok(decoded <= 10, `${decoded} texts of ${values} empty ones are decoded`);
  }
  assert.equal(made.mock.callCount(), 0);
});

test("names have the entries that SHA-256 gives", async () => {
  const { entryOf } = await import("../dist/names.js");
  for (let length = 0; length < 300; length++) {
    const name = "x-é".repeat(length).slice(0, length);
    assert.equal(entryOf(name), createHash("sha256").update(name).digest().readUIntBE(0, 3) & 0x7fffff, `length ${length}`);
  }
});

test("a forwarded name is looked at once, however many values it has", async (t) => {
  // The bytes have the name once. If it was read for each value, 330 kB would cost 4 GB of work.
  const name = "x".repeat(60_000), values = 60_000;
  const proof = Buffer.concat([Buffer.of(2, 0, 0), Buffer.alloc(64)]);
  const head = Buffer.alloc(4);
  head.writeUInt16BE(name.length);
  head.writeUInt16BE(values, 2);
  const bytes = Buffer.concat([Buffer.of(1, 0, proof.length), proof, Buffer.alloc(32), head.subarray(0, 2), Buffer.from(name), head.subarray(2), Buffer.alloc(4 * values)]);
  let characters = 0;
  const replace = String.prototype.replace;
  t.mock.method(String.prototype, "replace", function (...args) {
    characters += this.length;
    if (characters > 10_000_000) throw new Error("too much work");
    return replace.apply(this, args);
  });
  const trust = new Trust({ user: "X-User", accounts: { "*": [">"] }, servers: (await new Server().trusted()).servers });
  assert.equal((await thrown(forwarded, [["Stamp-Forwarded-Proof", bytes.toString("base64url")]], trust))?.verdict, "proof-key");
});
