// What a trust is made of: values that only JavaScript has, and texts of JSON.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Trust } from "@stamp/receiver";
import { Server } from "@stamp/receiver/testing";

const vectors = JSON.parse(readFileSync(new URL("../../vectors.json", import.meta.url), "utf8"));
const server = new Server(), keys = await server.trusted();
const whole = { user: "X-User", one: ["Session"], many: ["Roles"], accounts: { APP: [">"] }, max_age: 60, max_skew: 5, signed: ["orders.*"], replays: 5, ...keys };

test("a field that is undefined is refused", () => {
  assert.ok(new Trust(whole));
  // servers that come from a variable which is not set would be a trust that wants no proof.
  for (const field of Object.keys(whole)) assert.throws(() => new Trust({ ...whole, [field]: undefined }), { name: "TypeError", message: new RegExp(`^${field}`) });
});

test("a field that is inherited is refused", () => {
  class Config { user = "X-User"; accounts = { APP: [">"] }; get servers() { return undefined; } }
  for (const options of [new Config(), Object.assign(Object.create({ servers: [] }), { user: "X-User" }), Object.assign(Object.create({ zzz: 1 }), { user: "X-User" })]) {
    assert.throws(() => new Trust(options), { name: "TypeError", message: /^(servers|zzz): .* inherited/ });
  }
  class Accounts { get APP() { return ["orders.>"]; } }
  for (const accounts of [new Accounts(), Object.create({ APP: [">"] })]) assert.throws(() => new Trust({ user: "X-User", accounts }), { name: "TypeError", message: /accounts/ });
  let reads = 0;
  const changes = { ...whole, get servers() { reads++; return reads > 1 ? [] : whole.servers; } };
  assert.ok(new Trust(changes).wantsProof && reads === 1, "a field is read once");
  assert.throws(() => new Trust(Object.defineProperty({ ...whole }, "zzz", { value: 1 })), { name: "TypeError", message: /unknown field "zzz"/ });
});

test("a very long text is refused as others are", () => {
  const long = `{"user": "X-User", "one": ["${"\\n".repeat(2_400_000)}"]}`;
  assert.throws(() => Trust.fromJSON(long), { name: "TypeError", message: /at most/ });
});

test("a list with a hole is refused", () => {
  for (const field of ["one", "many", "servers", "keys", "signed"]) {
    const holes = [...whole[field]];
    holes.length += 1;
    assert.throws(() => new Trust({ ...whole, [field]: holes }), { name: "TypeError", message: new RegExp(field) });
  }
  assert.throws(() => new Trust({ ...whole, accounts: { APP: new Array(1) } }), { name: "TypeError", message: /accounts/ });
});

for (const { name, text, field } of vectors.bad_texts) {
  test(`a text that is no trust: ${name}`, () => assert.throws(() => Trust.fromJSON(text), (err) => {
    assert.ok(err instanceof TypeError && err.message.includes(field), `${err}`);
    return true;
  }));
}

test("texts of trusts", async () => {
  for (const { trust } of vectors.good_trusts) assert.ok(Trust.fromJSON(JSON.stringify(trust, null, 2)));
  for (const { name, trust, field = "" } of vectors.bad_trusts) {
    await assert.rejects(async () => Trust.fromJSON(JSON.stringify(trust)).ready(), { name: "TypeError", message: new RegExp(field) }, name);
  }
  for (const text of [undefined, null, Buffer.from('{"user": "X-User"}'), { user: "X-User" }]) assert.throws(() => Trust.fromJSON(text), { name: "TypeError", message: /expected a text/ });
  // These are no names, or are those of different objects.
  const trust = Trust.fromJSON('{"user": "X-User", "accounts": {"user": ["a"], "\\"user\\":": ["user", "{"], "[{": [ "user" ]}}\n');
  assert.deepEqual([...trust.accounts.keys()], ["user", '"user":', "[{"]);
});

test("no error has a seed of the text", () => {
  const [seed] = keys.keys;
  const text = JSON.stringify(whole);
  for (let at = 0; at < text.length; at++) {
    for (const broken of [text.slice(0, at), `${text.slice(0, at)}\n${text.slice(at)}`, `${text.slice(0, at)}"${text.slice(at)}`, `${text.slice(0, at)}${text.slice(at + 1)}`]) {
      try {
        Trust.fromJSON(broken);
      } catch (err) {
        const shown = `${err.stack} ${err.cause ?? ""}`;
        for (let i = 0; i + 12 <= seed.length; i++) assert.ok(!shown.includes(seed.slice(i, i + 12)), `with a fault at ${at}, the error is ${shown}`);
        assert.ok(err instanceof TypeError, `${err}`);
      }
    }
  }
});
