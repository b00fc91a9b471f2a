// What docs/proofs.md says, by the vectors that all languages have.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Anonymous, forwarded, identify, Trust } from "@stamp/receiver";

const vectors = JSON.parse(readFileSync(new URL("../../vectors.json", import.meta.url), "utf8"));

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

test("the vectors", async () => {
  const wrong = [];
  for (const { before = [], want, trust: options, now, ...message } of vectors.cases) {
    const trust = new Trust(options);
    for (const earlier of before) await judge(earlier, trust, nanoseconds(earlier.now ?? now));
    const got = told(await judge(message, trust, nanoseconds(now)));
    try {
      assert.deepEqual(got, told(want));
    } catch {
      wrong.push([message.name, got, want]);
    }
  }
  assert.deepEqual(wrong, []);
});

for (const { name, trust } of vectors.bad_trusts) test(`a trust that does not hold: ${name}`, () => assert.rejects(async () => new Trust(trust).ready(), TypeError));
