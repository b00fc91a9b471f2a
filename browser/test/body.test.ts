import assert from "node:assert/strict";
import { test } from "node:test";
import { answerOf, failure, type Answer } from "../src/answer.ts";
import { decode, encode } from "../src/body.ts";
import { StampError } from "../src/errors.ts";
import { Message } from "../src/message.ts";
import type { Wire } from "../src/messages.ts";

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
  await assert.rejects(async () => encode({ a: 1 }, "text/csv", json), TypeError);
  await assert.rejects(async () => encode({ a: 1 }, undefined, "text/plain"), TypeError);
  const circle: { circle?: unknown } = {};
  circle.circle = circle;
  await assert.rejects(async () => encode(circle, undefined, json), TypeError);
  for (const nothing of [new Map([["a", 1]]), new Set([1]), new ReadableStream(), Promise.resolve(1), () => 1, Symbol("a")]) {
    await assert.rejects(async () => encode(nothing, undefined, json), TypeError);
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
  assert.deepEqual(decode(bytes(" [1]"), undefined), [1]);
  for (const said of ["1", "007", "1e3", "true", "null", '"a"']) assert.equal(decode(bytes(said), undefined), said, "it is not guessed into another value");
  assert.deepEqual(decode(new Uint8Array([0xff]), undefined), new Uint8Array([0xff]));
  assert.equal(decode(new Uint8Array(0), undefined), null);
  assert.throws(() => decode(bytes("{"), "application/json"));
  for (const [data, type, text] of [
    [[0xfc], "text/plain; charset=ISO-8859-1", "ü"],
    [[0xb1], 'text/plain;charset="ISO-8859-2"', "ą"],
    [[0xfc, 0], "text/plain; charset=utf-16le", "ü"],
    [[0xff, 0x61], "text/plain", "\ufffda"],
    [[0xff], "text/html; charset=nobody-knows", "\ufffd"],
    [[0x3c], "application/xml", "<"],
    [[0x3c], "application/atom+xml; charset=utf-8", "<"],
    [[0x3c], "image/svg+xml", "<"],
  ] as const) assert.equal(decode(new Uint8Array(data), type), text, type);
  assert.deepEqual(decode(new Uint8Array([0x3c]), "application/xmlish"), new Uint8Array([0x3c]));
  assert.deepEqual(decode(new Uint8Array([0x22, 0xff, 0x22]), "application/json"), "\ufffd", "as json() of fetch() has it");
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
    assert.equal(answer.headers.get("Status"), headers.find(([name]) => name === "Status")?.[1][0] ?? null);
    assert.ok(answer.status < 400 ? answer.error === undefined : answer.body.error && answer.error instanceof StampError);
  }
});

const answer = (headers: Record<string, string | string[]>, text = "", status?: number, description = "") =>
  answerOf({ subject: "s", headers: Object.entries(headers).map(([name, value]) => [name, [value].flat()]), data: bytes(text), ...(status === undefined ? {} : { status, description }) });

/** What an answer shows. */
const shown = ({ status, headers, body }: Answer) => ({ status, headers: { ...headers }, body });

test("answers and errors", () => {
  assert.deepEqual(shown(answer({}, "[1]")), { status: 200, headers: {}, body: [1] });
  assert.deepEqual(shown(answer({ STATUS: "204", "X-a": "b" })), { status: 204, headers: { status: "204", "x-a": "b" }, body: null });
  const { status, body } = answer({ "Nats-Service-Error": "no", "Nats-Service-Error-Code": "404" });
  assert.deepEqual([status, body], [404, { error: "no" }]);
  for (const code of ["x", "200", "", "-404"]) assert.equal(answer({ "Nats-Service-Error": "no", "Nats-Service-Error-Code": code }).status, 500, code);
  assert.equal(answer({ "Nats-Service-Error": "no", "Nats-Service-Error-Code": "404 Not Found" }).status, 404);
  assert.deepEqual(answer({ "Nats-Service-Error-Code": "400" }, "why").body, { error: "the service failed", details: "why" });
  assert.deepEqual(shown(answer({}, "", 404, "No Messages")), { status: 404, headers: {}, body: { error: "No Messages" } });
  // What a service says with a Status is in body.error too, where it has not put it there.
  assert.deepEqual(answer({ Status: "404" }).body, { error: "status 404" });
  assert.deepEqual(answer({ Status: "404" }, '{"error":"gone","id":7}').body, { error: "gone", id: 7 });
  assert.deepEqual(answer({ Status: "204", "Content-Type": "application/json" }).body, null);
  assert.deepEqual(answer({ "Nats-Service-Error": "there", "Nats-Service-Error-Code": "409", "Content-Type": "application/json" }).body, { error: "there" });
  const broken = answer({ "Nats-Service-Error": "there", "Nats-Service-Error-Code": "409", "Content-Type": "application/json" }, "{");
  assert.deepEqual([broken.status, broken.body], [409, { error: "there", details: bytes("{") }]);
  assert.deepEqual(shown(failure(new StampError("timeout", "late"))), { status: 504, headers: {}, body: { error: "late" } });
});

test("a status that cannot be read is never success", () => {
  for (const [given, status, statusText] of [
    ["404 Not Found", 404, "Not Found"], [" 404", 404, ""], ["500: broken", 500, ": broken"], ["201 Created", 201, "Created"], [["404", "404"], 404, ""],
    ["0404", 502], ["600", 502], ["-1", 502], ["ok", 502], ["", 502], ["2000", 502], ["200, 500", 502], ["200.5", 502], [["200", "404"], 502], [["404", "200"], 502], ["100", 502], ["４０４", 502],
  ] as const) {
    const got = answer({ Status: given as string }, '{"a":1}');
    assert.deepEqual([got.status, got.statusText], [status, statusText ?? ""], String(given));
    assert.equal(got.ok, status === 201);
    if (status === 502) assert.deepEqual([got.error!.code, got.body.details], ["unreadable", { a: 1 }], String(given));
  }
  assert.equal(answer({ Status: "200" }, "", 600, "").status, 502, "of the status line");
  assert.equal(answer({}, "", 100, "Idle Heartbeat").status, 502);
  assert.equal(answer({ Status: "200" }, "", 404, "No Messages").status, 404);
});

test("what went wrong is in body.error, and what was sent where it was sent", () => {
  for (const [sent, body] of [
    ['{"message":"no such user"}', { message: "no such user", error: "no such user", details: { message: "no such user" } }],
    ['{"title":"no","detail":"why"}', { title: "no", detail: "why", error: "why", details: { title: "no", detail: "why" } }],
    ['{"title":"no"}', { title: "no", error: "no", details: { title: "no" } }],
    ['{"message":7,"details":[1]}', { message: 7, error: "status 422", details: [1] }],
    ['{"error":null}', { error: "status 422", details: { error: null } }],
    ['{"error":"","message":"m"}', { error: "m", message: "m", details: { error: "", message: "m" } }],
    ['{"error":{"code":7,"message":"deep"}}', { error: { code: 7, message: "deep" } }],
    ["null", { error: "status 422" }],
    ["[1]", { error: "status 422", details: [1] }],
    ["1", { error: "status 422", details: 1 }],
  ] as const) {
    const got = answer({ Status: "422", "Content-Type": "application/json" }, sent);
    assert.deepEqual([got.status, got.body], [422, body], sent);
    assert.equal(got.error!.code, "service");
    assert.equal(got.error!.message, typeof got.body.error === "string" ? got.body.error : "deep");
  }
  const micro = answer({ "Nats-Service-Error": "there", "Nats-Service-Error-Code": "409" }, '{"field":"name","error":"x"}');
  assert.deepEqual(micro.body, { field: "name", error: "there", details: { field: "name", error: "x" } });
});

test("an answer is read as one of fetch() is", async () => {
  const got = answer({ Status: "201 Created", "Content-Type": "text/plain", "X-Several": ["a", "b"], "x-several": "c", "X-Greek": "\u03b1" }, "[1]");
  assert.deepEqual([got.ok, got.status, got.statusText, got.error], [true, 201, "Created", undefined]);
  assert.equal(got.body, "[1]");
  assert.equal(await got.text(), "[1]");
  assert.deepEqual(await got.json(), [1]);
  const own = await got.bytes();
  own[0] = 0;
  assert.deepEqual(await got.bytes(), bytes("[1]"), "as often as wanted, and nobody's changes are in it");
  assert.deepEqual(new Uint8Array(await got.arrayBuffer()), bytes("[1]"));
  const blob = await got.blob();
  assert.deepEqual([blob.type, await blob.text()], ["text/plain", "[1]"]);
  const form = answer({ "Content-Type": "application/x-www-form-urlencoded" }, "a=1");
  assert.equal((await form.formData()).get("a"), "1");
  await assert.rejects(answer({}, "{").json(), SyntaxError);
  const late = failure(new StampError("timeout", "late"));
  assert.deepEqual([late.ok, await late.json(), late.error!.code, late.error!.status, late.error!.answer === late], [false, { error: "late" }, "timeout", 504, true]);

  const { headers } = got;
  for (const name of ["Content-Type", "content-type", "CONTENT-TYPE"]) assert.equal(headers.get(name), "text/plain");
  assert.deepEqual([headers["content-type"], headers["x-several"], headers.get("X-SEVERAL"), headers.get("nothing"), headers.has("X-Greek"), headers["x-greek"]], ["text/plain", "a, b, c", "a, b, c", null, true, "\u03b1"]);
  const all = [["content-type", "text/plain"], ["status", "201 Created"], ["x-greek", "\u03b1"], ["x-several", "a, b, c"]];
  assert.deepEqual([...headers], all);
  assert.deepEqual([[...headers.keys()], [...headers.values()]], [all.map(([name]) => name), all.map(([, value]) => value)]);
  const seen: string[][] = [];
  headers.forEach((value, name) => seen.push([name, value]));
  assert.deepEqual(seen, all);
  assert.deepEqual(Object.keys(headers).sort(), all.map(([name]) => name), "they are a simple object too");
  for (const change of ["append", "set"] as const) assert.throws(() => headers[change]("a", "b"), TypeError);
  assert.throws(() => headers.delete("status"), TypeError);
  const odd = answer({ Get: "a", __proto__x: "b", Constructor: "c", ["__proto__"]: "d" }).headers;
  assert.deepEqual([odd.get("get"), odd.get("constructor"), odd.get("__proto__"), { ...odd }], ["a", "c", "d", { __proto__x: "b" }]);
});

test("an error of an answer can be shown, logged and sent on", () => {
  const got = answer({ Status: "404" }, '{"message":"gone"}');
  assert.equal(got.error, got.error, "it is one error");
  assert.doesNotThrow(() => JSON.stringify(got), "it does not hold itself");
  assert.deepEqual([got.error!.name, got.error!.answer], ["StampError", got]);
});

test("a status behind one of success is none", () => {
  for (const status of ["200 404", "200  404 Not Found", "204 500", "200 OK, 404 Not Found", "200 OK 404", "200 OK,404", "200, 200"]) {
    const { status: read, ok, error } = answerOf({ subject: "a", headers: [["Status", [status]]], data: bytes("") });
    assert.deepEqual([read, ok, error?.code], [502, false, "unreadable"], status);
  }
  assert.equal(answerOf({ subject: "a", headers: [["Status", ["200 2 of 3 are done"]]], data: bytes("") }).statusText, "2 of 3 are done");
});

test("a message has the error that fetch() has of it", () => {
  const cases: [number | undefined, [string, string[]][]][] = [
    [undefined, [["Status", ["404 Not Found"]]]], [undefined, [["status", ["500 Oops"]]]], [undefined, [["Status", ["600"]]]], [408, []], [404, []],
    [undefined, [["Nats-Service-Error-Code", ["409"]]]], [undefined, []], [200, []], [undefined, [["Status", ["201"]]]],
  ];
  for (const [status, headers] of cases) {
    const wire = { subject: "a", status, headers, data: bytes("") } as Wire;
    const { error } = new Message(wire), of = answerOf(wire).error;
    assert.deepEqual([error?.code, error?.status, error?.message], [of?.code, of?.status, of?.message], JSON.stringify(wire));
  }
});

test("an error of a Status quotes nothing of the headers", () => {
  for (const headers of [[["Status", ["SECRET".repeat(10_000)]]], [["Status", ["200", "SECRET"]]], [["Content-Type", ["application/json; a=SECRET"]]]] as [string, string[]][][]) {
    const { error } = answerOf({ subject: "a", headers, data: bytes("{") });
    assert.equal(error?.code, "unreadable");
    assert.ok(!error.message.includes("SECRET") && error.message.length < 200, error.message.slice(0, 300));
  }
});

test("a Content-Type that is empty is none", () => {
  for (const type of ["", " ", "\t"]) {
    assert.deepEqual([answer({ "Content-Type": type }, "text").body, answer({ "Content-Type": type }, "[1]").body, answer({ "Content-Type": type }, "").body], ["text", [1], null]);
  }
});

test("a Content-Type that HTTP does not have takes nothing from an answer", async () => {
  for (const odd of ["\u03b1", "\0", "\u20ac\u{1f600}", "\x7f"]) {
    const got = answer({ "Content-Type": `text/plain; name=${odd}` }, "text");
    const blob = await got.blob();
    assert.deepEqual([got.body, await blob.text(), blob.type.startsWith("text/plain")], ["text", "text", true]);
    const form = answer({ "Content-Type": `multipart/form-data; boundary=x; name=${odd}` }, '--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n');
    assert.equal((await form.formData()).get("a"), "1");
  }
});
