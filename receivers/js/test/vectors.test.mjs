// What docs/proofs.md says, by the vectors that all languages have.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Anonymous, forward, forwarded, identify, Trust } from "@stamp/receiver";
import { make, Server } from "@stamp/receiver/testing";

const read = (name) => JSON.parse(readFileSync(new URL(`../../${name}`, import.meta.url), "utf8"));
const vectors = read("vectors.json");

/** A time in RFC 3339 in nanoseconds, with or without a fraction. */
function nanoseconds(text) {
  const [, second, fraction = ""] = /^(.{19})(?:\.(\d+))?Z$/.exec(text);
  return BigInt(Date.parse(`${second}Z`)) * 1_000_000n + BigInt(fraction.padEnd(9, "0"));
}

async function judge(message, trust, now) {
  const headers = message.headers ?? [], payload = Buffer.from(message.payload ?? "", "base64");
  try {
    const { user, values, account, subject, timestamp, proven } = await (message.forwarded ? forwarded({ headers, payload }, trust, now) : identify({ headers, payload }, trust, now));
    return { verdict: "ok", user, values: { ...values }, account, subject, time: timestamp, proven };
  } catch (err) {
    if (!(err instanceof Anonymous)) throw err;
    return { verdict: err.verdict };
  }
}

/** Without what is empty. */
const told = (verdict) => Object.fromEntries(Object.entries(verdict).filter(([, value]) => value && (typeof value !== "object" || Object.keys(value).length > 0)));

/** Checks all cases, and shows those that are wrong. */
async function every(cases, check) {
  const wrong = [];
  for (const each of cases) await check(each).catch((err) => wrong.push(`${each.name}: ${err.message}`));
  assert.deepEqual(wrong, []);
}

test("the vectors", () => every(vectors.cases, async ({ before = [], want, trust: options, now, ...message }) => {
  const trust = new Trust(options);
  for (const earlier of before) await judge(earlier, trust, nanoseconds(earlier.now ?? now));
  assert.deepEqual(told(await judge(message, trust, nanoseconds(now))), told(want));
}));

test("mutations of valid messages", async () => {
  const { cases, trust: [options], now: [now] } = read("mutations.json");
  const trust = new Trust(options);
  await every(cases, async ({ want, ...message }) => assert.deepEqual(told(await judge(message, trust, nanoseconds(now))), told(want)));
});

test("proofs that are made, and forwarded", () => every(read("make.json").cases, async ({ curve_seed, sign_seed, salt, headers, payload, lines, trust, forward: wanted, ...same }) => {
  const bytes = Buffer.from(payload ?? "", "base64");
  const made = await make({ ...same, curveSeed: curve_seed, signSeed: sign_seed, salt: Buffer.from(salt, "base64"), headers: headers ?? [], payload: bytes });
  assert.deepEqual(made, lines);
  assert.equal(await forward({ headers: made, payload: bytes }, new Trust(trust), nanoseconds(same.time)), wanted);
}));

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

for (const { name, trust } of vectors.bad_trusts) test(`a trust that does not hold: ${name}`, () => assert.rejects(async () => new Trust(trust).ready(), TypeError));

test("what an encoder writes for a lone surrogate is not taken for it", async () => {
  const server = new Server(), payload = Buffer.from("{}"), trust = new Trust({ user: "X-User", accounts: { APP: [">"] }, ...await server.trusted() });
  const headers = await server.stamp({ "X-User": ["al\ufffd"] }, "orders.new", payload);
  assert.equal((await identify({ headers, payload }, trust)).user, "al\ufffd");
  const forged = headers.map(([name, value]) => [name, value.replace("\ufffd", "\ud800")]);
  await assert.rejects(identify({ headers: forged, payload }, trust), { verdict: "proof-wrong" });
});
