// What docs/proofs.md says, by the vectors that all languages have.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { forward, identify, Trust } from "@stamp/receiver";
import { make, Server } from "@stamp/receiver/testing";
import { bytesOf, nanoseconds, wrongOf } from "./judge.mjs";

const read = (name) => JSON.parse(readFileSync(new URL(`../../${name}`, import.meta.url), "utf8"));
const vectors = read("vectors.json");

test("the vectors", async () => {
  assert.ok(vectors.cases.length >= 300);
  assert.deepEqual(await wrongOf(vectors), []);
});

test("mutations of valid messages", async () => {
  const mutations = read("mutations.json");
  assert.ok(mutations.cases.length >= 1_000);
  assert.deepEqual(await wrongOf(mutations), []);
});

test("wrong verdicts are found", async () => {
  const [first] = vectors.cases;
  assert.equal((await wrongOf({ cases: [{ ...first, want: { verdict: "other" } }] })).length, 1);
});

test("proofs that are made, and forwarded", async () => {
  for (const { name, curve_seed, sign_seed, salt, headers = [], payload, lines, trust, forward: wanted, ...same } of read("make.json").cases) {
    const bytes = bytesOf(payload);
    const made = await make({ ...same, curveSeed: curve_seed, signSeed: sign_seed, salt: bytesOf(salt), headers, payload: bytes });
    assert.deepEqual(made, lines, name);
    assert.equal(await forward({ headers: made, payload: bytes }, new Trust(trust), nanoseconds(same.time)), wanted, name);
  }
});

test("a server for tests", async () => {
  for (const options of [{}, { encrypt: ["Session"] }, { sign: true }, { encrypt: ["Session"], sign: true }]) {
    const server = new Server(options), payload = Buffer.from("{}");
    const trust = new Trust({ user: "X-User", one: ["Session"], accounts: { APP: ["orders.>"] }, max_age: 60, ...await server.trusted() });
    const headers = await server.stamp({ "X-User": ["alice"], Session: ["0af3"] }, "orders.new", payload);
    const { user, values, proven } = await identify({ headers, payload }, trust);
    assert.deepEqual([user, values.Session, proven], ["alice", ["0af3"], true]);
    await assert.rejects(identify({ headers, payload: Buffer.from("[]") }, trust), { verdict: "proof-wrong" });
  }
});

test("what cannot be forwarded is nobody's for who asks", async () => {
  const server = new Server({ encrypt: ["Session"], sign: true }), payload = Buffer.from("{}"), { servers } = await server.trusted();
  const headers = await server.stamp({ "X-User": ["alice"], Session: ["0af3"] }, "orders.new", payload);
  for (const options of [{ accounts: { APP: [">"] }, servers }, {}]) {
    const trust = new Trust({ user: "X-User", ...options });
    assert.equal((await identify({ headers, payload }, trust)).user, "alice");
    await assert.rejects(forward({ headers, payload }, trust), { verdict: "proof-key" });
  }
});

for (const { name, trust, field = "" } of vectors.bad_trusts) {
  test(`a trust that does not hold: ${name}`, () => assert.rejects(async () => new Trust(trust).ready(), (err) => {
    assert.ok(err instanceof TypeError && err.message.includes(field), `${err}`);
    return true;
  }));
}

for (const { name, trust } of vectors.good_trusts) test(`a trust: ${name}`, async () => assert.ok(await new Trust(trust).ready()));

test("what an encoder writes for a lone surrogate is not taken for it", async () => {
  const server = new Server(), payload = Buffer.from("{}"), trust = new Trust({ user: "X-User", accounts: { APP: [">"] }, ...await server.trusted() });
  const headers = await server.stamp({ "X-User": ["al\ufffd"] }, "orders.new", payload);
  assert.equal((await identify({ headers, payload }, trust)).user, "al\ufffd");
  const forged = headers.map(([name, value]) => [name, value.replace("\ufffd", "\ud800")]);
  await assert.rejects(identify({ headers: forged, payload }, trust), { verdict: "proof-wrong" });
});
