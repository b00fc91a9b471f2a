import assert from "node:assert/strict";
import { test } from "node:test";
import { answerOf, failure } from "../src/answer.ts";
import { decode, encode } from "../src/body.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

test("encode", async () => {
  const json = "application/json";
  for (const [body, given, otherwise, data, type] of [
    [{ a: 1 }, undefined, json, '{"a":1}', json],
    [[1, "x"], undefined, json, '[1,"x"]', json],
    [0, undefined, json, "0", json],
    [false, undefined, json, "false", json],
    ["text", undefined, json, "text", json],
    ["text", "text/plain", json, "text", "text/plain"],
    [{ a: 1 }, "application/ld+json; charset=utf-8", json, '{"a":1}', "application/ld+json; charset=utf-8"],
    [undefined, undefined, json, "", undefined],
    [null, "text/x", json, "", "text/x"],
    [bytes("b"), undefined, json, "b", "application/octet-stream"],
    [bytes("b").buffer, "image/png", json, "b", "image/png"],
    [new DataView(bytes("abc").buffer, 1, 1), undefined, "text/plain", "b", "text/plain"],
    [new Blob(["x"]), undefined, json, "x", json],
    [new Blob(["x"], { type: "text/html" }), "text/plain", json, "x", "text/plain"],
  ] as const) {
    const out = await encode(body, given, otherwise);
    assert.deepEqual([new TextDecoder().decode(out.data), out.type], [data, type]);
  }
  await assert.rejects(encode({ a: 1 }, "text/csv", json), TypeError);
  await assert.rejects(encode({ a: 1 }, undefined, "text/plain"), TypeError);
  const circle: { circle?: unknown } = {};
  circle.circle = circle;
  await assert.rejects(encode(circle, undefined, json), TypeError);
  for (const nothing of [new Map([["a", 1]]), new Set([1]), new ReadableStream(), Promise.resolve(1), () => 1, Symbol("a")]) {
    await assert.rejects(encode(nothing, undefined, json), TypeError);
  }
  for (const something of [{}, Object.create(null), new Date(0), new (class { a = 1; })(), new (class { toJSON() { return {}; } })()]) {
    assert.equal(new TextDecoder().decode((await encode(something, undefined, json)).data), JSON.stringify(something));
  }
  const mine = bytes("kept");
  (await encode(mine, undefined, json)).data[0] = 0;
  assert.equal(mine[0], "k".charCodeAt(0), "the caller's bytes are not ours");
});

test("decode", () => {
  assert.deepEqual(decode(bytes('{"a":1}'), "application/json"), { a: 1 });
  assert.deepEqual(decode(bytes('{"a":1}'), "application/problem+JSON;x=y"), { a: 1 });
  assert.deepEqual(decode(bytes('{"a":1}'), "text/plain"), '{"a":1}');
  assert.deepEqual(decode(bytes('{"a":1}'), "application/jsonp"), bytes('{"a":1}'));
  assert.deepEqual(decode(bytes('{"a":1}'), undefined), { a: 1 });
  assert.equal(decode(bytes("{"), undefined), "{");
  assert.deepEqual(decode(new Uint8Array([0xff]), undefined), new Uint8Array([0xff]));
  assert.equal(decode(new Uint8Array(0), undefined), null);
  assert.throws(() => decode(bytes("{"), "application/json"));
  assert.throws(() => decode(new Uint8Array([0xff]), "text/plain"));
  assert.equal(decode(new Uint8Array(0), "application/json"), null);
});

test("whatever bytes and types come, there is an answer", () => {
  let seed = 3;
  const random = (n: number) => (seed = (seed * 48271) % 0x7fffffff) % n;
  const types = [undefined, "application/json", "text/plain", "text/html; charset=x", "a/b", "", "application/json;", "\u0000", "application/+json"];
  for (let n = 0; n < 20_000; n++) {
    const data = Uint8Array.from({ length: random(12) }, () => (random(3) ? random(256) : '{}[]"1,:n'.charCodeAt(random(9))));
    const headers: [string, string[]][] = [["Nats-Service-Error-Code", ["409"]], ["Status", [String(random(700))]], ["__proto__", ["x"]], ["constructor", ["x", "y"]]].slice(random(4)) as [string, string[]][];
    const type = types[random(types.length)];
    if (type !== undefined) headers.push(["Content-Type", [type]]);
    const answer = answerOf({ subject: "s", headers, data, ...(random(4) ? {} : { status: random(1000), description: "d" }) });
    assert.ok(answer.status >= 100 && answer.status <= 999 && typeof answer.headers === "object");
    assert.equal(Object.getPrototypeOf(answer.headers), Object.prototype);
  }
});

test("answers and errors", () => {
  const answer = (headers: Record<string, string>, text = "", status?: number, description = "") =>
    answerOf({ subject: "s", headers: Object.entries(headers).map(([name, value]) => [name, [value]]), data: bytes(text), ...(status === undefined ? {} : { status, description }) });
  assert.deepEqual(answer({}, "1"), { status: 200, headers: {}, body: 1 });
  assert.deepEqual(answer({ STATUS: "204", "X-a": "b" }), { status: 204, headers: { status: "204", "x-a": "b" }, body: null });
  assert.equal(answer({ Status: "ok" }).status, 200);
  const { status, body } = answer({ "Nats-Service-Error": "no", "Nats-Service-Error-Code": "404" });
  assert.deepEqual([status, body], [404, { error: "no" }]);
  assert.equal(answer({ "Nats-Service-Error": "no", "Nats-Service-Error-Code": "x" }).status, 500);
  assert.deepEqual(answer({ "Nats-Service-Error-Code": "400" }, "why").body, { error: "the service failed", details: "why" });
  assert.deepEqual(answer({}, "", 404, "No Messages"), { status: 404, headers: {}, body: { error: "No Messages" } });
  // What a service says with a Status is in body.error too, where it has not put it there.
  assert.deepEqual(answer({ Status: "404" }).body, { error: "status 404" });
  assert.deepEqual(answer({ Status: "404" }, '{"error":"gone","id":7}').body, { error: "gone", id: 7 });
  assert.deepEqual(answer({ Status: "422" }, '{"title":"no"}').body, { error: "status 422", details: { title: "no" } });
  assert.deepEqual(answer({ Status: "204", "Content-Type": "application/json" }).body, null);
  assert.deepEqual(answer({ "Nats-Service-Error": "there", "Nats-Service-Error-Code": "409", "Content-Type": "application/json" }).body, { error: "there" });
  const broken = answer({ "Nats-Service-Error": "there", "Nats-Service-Error-Code": "409", "Content-Type": "application/json" }, "{");
  assert.deepEqual([broken.status, broken.body], [409, { error: "there", details: bytes("{") }]);
  assert.deepEqual(answer({ Constructor: "a" }).headers, { constructor: "a" });
  assert.deepEqual(failure("timeout", "late"), { status: 504, headers: {}, body: { error: "late" } });
});
