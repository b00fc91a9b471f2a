import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test, type TestContext } from "node:test";
import { runInNewContext } from "node:vm";
import type { Asked } from "../src/messages.ts";
import { counted, until } from "./scripted.ts";

/** The workers that were made; each does what its page asks, but for what is held back. */
const workers: FakeWorker[] = [];

/** A worker whose service sends each request back. */
class FakeWorker {
  onerror = () => {};
  readonly asked: Asked[] = [];
  readonly silent = new Set<string>(); // operations that get no reply
  port!: MessagePort;

  constructor() {
    workers.push(this);
  }

  postMessage(_: null, [port]: MessagePort[]): void {
    this.port = port!;
    this.port.onmessage = ({ data }) => this.#answer(data);
  }

  #answer(asked: Asked): void {
    this.asked.push(asked);
    if (asked.op === "start") this.port.postMessage({ event: "state", state: "connected", reason: "" });
    if (this.silent.has(asked.op)) return;
    const value = asked.op === "request" ? { subject: "a", headers: Object.entries(asked.headers).map(([name, value]) => [name, [value].flat()]), data: asked.data } : { authenticated: true, key: true };
    this.port.postMessage({ id: asked.id, value });
  }

  terminate(): void {
    this.port.close();
  }
}

Object.assign(globalThis, { Worker: FakeWorker, location: new URL("http://localhost/") });
const { Stamp } = await import("../src/stamp.ts");

async function started(t: TestContext, options = {}) {
  const s = new Stamp({ timeout: 1_000, ...options });
  t.after(() => s.close());
  await s.start();
  return { s, worker: workers.at(-1)! };
}

/** A request whose body does not end. */
const endless = () => new Request("http://localhost/a", { method: "POST", body: new ReadableStream({}), duplex: "half" } as RequestInit);

test("a body that does not end is a time-out, is aborted, and is over with close()", { timeout: 20_000 }, async (t) => {
  for (const ordered of [false, true]) {
    const { s, worker } = await started(t, { ordered });
    const late = await s.fetch(endless(), { timeout: 30 });
    assert.deepEqual([late.status, late.error?.code], [504, "timeout"]);
    const reason = new Error("gone");
    await assert.rejects(s.fetch(endless(), { signal: AbortSignal.abort(reason) }), reason);
    const controller = new AbortController(), aborted = s.fetch(endless(), { signal: controller.signal });
    controller.abort(reason);
    await assert.rejects(aborted, reason);
    const closed = s.fetch(endless(), { timeout: Infinity });
    s.close();
    assert.equal((await closed).error?.code, "closed");
    await s.start();
    assert.equal((await s.fetch("/b")).status, 200, "nothing is left in the way");
    assert.ok(!worker.asked.some(({ op }) => op === "request"), "nothing of them was sent");
  }
});

test("who waits for a body of before is in time too", { timeout: 20_000 }, async (t) => {
  const { s, worker } = await started(t, { ordered: true });
  const held = new AbortController(), first = s.fetch(endless(), { timeout: Infinity, signal: held.signal });
  first.catch(() => {});
  assert.equal((await s.fetch("/b", { timeout: 30 })).error?.code, "timeout");
  await assert.rejects(s.request("b", "", { timeout: 30 }), { code: "timeout" });
  const reason = new Error("gone"), signal = AbortSignal.timeout(20);
  await assert.rejects(s.fetch("/b", { signal }), { name: "TimeoutError" });
  await assert.rejects(s.request("b", "", { signal: AbortSignal.abort(reason) }), reason);
  held.abort(reason);
  await assert.rejects(first, reason);
  assert.equal((await s.fetch("/c")).status, 200);
  assert.deepEqual(worker.asked.filter(({ op }) => op === "request").map((asked) => (asked as { subject: string }).subject), ["c"]);
});

test("requests that wait for nothing share a timer and make nothing that costs a browser much, whether order matters or not", async (t) => {
  for (const ordered of [false, true]) {
    const { s, worker } = await started(t, { ordered });
    const made = await counted(t, async () => {
      for (let i = 0; i < 10; i++) assert.equal((await s.fetch("/a", { method: "POST", body: { i } })).status, 200);
      for (let i = 0; i < 10; i++) assert.equal((await s.fetch("/a/b-c/")).status, 200);
    });
    assert.deepEqual([made.timers <= 1, made.AbortController, made.TextDecoder, made.URL], [true, 0, 0, 10], `ordered: ${ordered}`);
    // Behind one that has to be read first, the others wait.
    worker.asked.length = 0;
    const all = [new Blob(["0"]), 1, 2].map((body) => s.fetch("/a", { method: "POST", body }));
    await Promise.all([...all, all[0]!.then(() => s.fetch("/a", { method: "POST", body: 3 }))]);
    const order = worker.asked.map((asked) => new TextDecoder().decode((asked as { data: Uint8Array }).data)).join("");
    if (ordered) assert.equal(order, "0123");
  }
});

test("a lock of the worker that is told after the visitor has signed out is given up, and its end is no worker that has died", async (t) => {
  const { s, worker } = await started(t), granted: (() => void)[] = [];
  Object.defineProperty(globalThis, "navigator", { configurable: true, value: { locks: { request: async (_: string, { signal }: { signal: AbortSignal }, free: () => void) => granted.push(() => signal.aborted || free()) } } });
  for (const told of [{ event: "lock", name: "stamp-1" }, { event: "state", state: "signed-out", reason: "" }, { event: "lock", name: "stamp-2" }]) worker.port.postMessage(told);
  await until(() => worker.asked.filter(({ op }) => op === "unlock").length === 2);
  for (const free of granted) free();
  assert.deepEqual([granted.length, s.state, s.ended?.code], [2, "signed-out", "signed-out"]);
});

test("start() while drain() goes on waits for it, and begins anew", { timeout: 20_000 }, async (t) => {
  const { s, worker } = await started(t);
  const slow = new Promise<void>((resolve) => {
    const { port } = worker, usual = port.onmessage!;
    port.onmessage = (event) => (event.data.op === "request" ? setTimeout(() => (usual.call(port, event), resolve()), 50) : usual.call(port, event));
  });
  const asked = s.fetch("/a"), drained = s.drain(), again = [s.start(), s.start()];
  assert.equal(again[0], again[1]);
  await Promise.all([slow, drained]);
  assert.equal((await asked).status, 200);
  await again[0];
  assert.notEqual(workers.at(-1), worker);
  assert.deepEqual([s.started, s.state, (await s.fetch("/b")).status], [true, "connected", 200]);

  const over = s.drain(), never = s.start();
  s.close();
  await assert.rejects(never, { code: "closed" });
  await over;
  assert.deepEqual([s.started, s.state], [false, "closed"], "close() has the last word");
});

test("start() of REST_Secure waits for drain() too, and its answers have their claims", { timeout: 20_000 }, async (t) => {
  const { REST_Secure } = await import("../src/rest_secure.ts");
  const rs = new REST_Secure({ endpoint: "http://localhost/" });
  t.after(() => rs.stamp.close());
  const start = async () => {
    const told = rs.start(), { port } = workers.at(-1)!, usual = port.onmessage!;
    port.onmessage = (event) => (event.data.op === "start" ? port.postMessage({ id: event.data.id, value: { authenticated: true, key: true, claims: { sub: workers.length } } }) : usual.call(port, event));
    return told;
  };
  const claims = async () => (await rs.fetch("/a", { method: "POST", body: { b: 1 }, jwt_claims: ["sub"] })).body.sub;
  await start();
  const first = workers.length, worker = workers.at(-1)!;
  worker.silent.add("request");
  const asked = claims(), drained = rs.stamp.drain();
  assert.equal(rs.stamp.started, false, "start() would begin anew");
  const again = rs.start();
  assert.deepEqual(await rs.start(), { error: "the worker has been started already" });
  assert.equal((await rs.fetch("/a")).error?.code, "closed");
  await assert.rejects(rs.stamp.subscribe("a"), { code: "closed" });
  await until(() => worker.asked.some(({ op }) => op === "request"));
  const { id } = worker.asked.find(({ op }) => op === "request")!;
  worker.port.postMessage({ id, value: { subject: "a", headers: [["Content-Type", ["application/json"]]], data: new TextEncoder().encode("{}") } });
  assert.equal(await asked, first, "what was under way is as it would have been");
  await drained;
  assert.deepEqual([(await again).already_authenticated, workers.length], [true, first + 1]);

  await rs.stamp.drain();
  assert.deepEqual([(await rs.fetch("/a")).error?.code, rs.stamp.started], ["not-started", false]);
  await start();
  assert.equal(await claims(), first + 2);
  const over = rs.stamp.drain(), never = rs.start();
  rs.stamp.close();
  await over;
  assert.deepEqual([await never, (await rs.fetch("/a")).error?.code], [{ error: "closed" }, "not-started"]);
});

test("options that are undefined take nothing from a Request", async (t) => {
  const { s } = await started(t);
  const whole = () => new Request("http://localhost/a", { method: "PUT", headers: { "X-A": "1" }, body: "b" });
  const { headers, text } = await s.fetch(whole(), { method: undefined, headers: undefined, body: undefined, signal: undefined, timeout: undefined }).then(async (answer) => ({ headers: answer.headers, text: await answer.text() }));
  assert.deepEqual([headers.get("Method"), headers.get("X-A"), text], ["PUT", "1", "b"]);
  const reason = new Error("gone");
  await assert.rejects(s.fetch(new Request("http://localhost/a", { signal: AbortSignal.abort(reason) }), { signal: undefined }), reason);
});

test("a payload is text or bytes, of whatever realm; anything else is a TypeError before anything is sent", async (t) => {
  const { s, worker } = await started(t);
  const part = new Uint16Array([1, 2, 3]).subarray(1);
  for (const [payload, sent] of [
    ["ü", [0xc3, 0xbc]], [new Uint8Array([1, 2]), [1, 2]], [new Uint8Array([1, 2]).buffer, [1, 2]], [part, [2, 0, 3, 0]], [new DataView(part.buffer, 4), [3, 0]],
    [runInNewContext("new ArrayBuffer(2)"), [0, 0]], [runInNewContext("new Uint8Array([7])"), [7]], [undefined, []], [null, []], [new Uint8Array(new SharedArrayBuffer(2)), [0, 0]], ["\ud800", [0xef, 0xbf, 0xbd]],
  ] as const) {
    assert.deepEqual([...(await s.request("a", payload)).data], sent);
    await s.publish("a", payload);
    assert.deepEqual([...(worker.asked.at(-1) as { data: Uint8Array }).data], sent);
  }
  const before = worker.asked.length;
  const json = ", which JSON.stringify() can make a string of", gone = "one whose bytes cannot be read, as after a transfer";
  const transferred = (make: (buffer: ArrayBuffer) => unknown) => {
    const buffer = new ArrayBuffer(4), value = make(buffer);
    structuredClone(buffer, { transfer: [buffer] });
    return value;
  };
  for (const [payload, what] of [
    [[1, 2], `an array${json}`], [{ a: 1 }, `a value of the type object${json}`], [runInNewContext("({ a: 1 })"), `a value of the type object${json}`], [5, `a value of the type number${json}`], [true, `a value of the type boolean${json}`],
    [new Map(), "a value of the type object"], [new Blob(["a"]), "a value of the type object"], [new SharedArrayBuffer(2), "a value of the type object"], [() => "", "a value of the type function"], [Symbol("a"), "a value of the type symbol"], [7n, "a value of the type bigint"],
    [transferred((buffer) => buffer), gone], [transferred((buffer) => new Uint8Array(buffer)), gone], [transferred((buffer) => new DataView(buffer)), gone], [{ [Symbol.toStringTag]: "ArrayBuffer", byteLength: 2 }, gone], [new Proxy(new ArrayBuffer(2), {}), gone],
  ] as const) {
    const refused = { name: "TypeError", message: `payload: expected a string, an ArrayBuffer or a view of one; found ${what}` };
    await assert.rejects(s.request("a", payload as unknown as string), refused);
    await assert.rejects(s.publish("a", payload as unknown as string), refused);
    assert.throws(() => s.requestMany("a", payload as unknown as string), refused);
    if (ArrayBuffer.isView(payload) || payload instanceof ArrayBuffer) await assert.rejects(s.fetch("/a", { method: "POST", body: payload }), { name: "TypeError", message: "a body of type application/json cannot be made of this value" });
  }
  assert.equal(worker.asked.length, before);
});

test("options that cannot be are a TypeError that names them, before anything is sent", async (t) => {
  const { s, worker } = await started(t);
  const before = worker.asked.length;
  const calls: ((options: any) => unknown)[] = [
    (options) => s.fetch("/a", options), (options) => s.request("a", "", options), (options) => s.requestMany("a", "", options), (options) => s.publish("a", "", options),
    (options) => s.subscribe("a", () => {}, options), (options) => s.when("lost", options), (options) => new Stamp(options),
  ];
  for (const call of calls) {
    for (const [options, message] of [
      [5, /^options: expected an object; found a value of the type number$/], ["x", /^options: expected an object; found a value of the type string$/], [true, /^options: expected an object/],
      [{ signal: {} }, /^signal: expected an AbortSignal; found a value of the type object$/], [{ signal: 5 }, /^signal: expected an AbortSignal; found a value of the type number$/],
      [{ signal: () => {} }, /^signal: /], [{ timeout: "5" }, /^timeout: expected a positive number; found a value of the type string$/], [{ timeout: null }, /^timeout: expected a positive number; found null$/],
    ] as const) await assert.rejects(async () => call(options), { name: "TypeError", message }, `${call}: ${JSON.stringify(options)}`);
  }
  for (const headers of [5, "x", [["a"]]] as any[]) {
    for (const call of calls.slice(0, 4)) await assert.rejects(async () => call({ headers }), /^TypeError: headers: expected an object, Headers, or pairs of a name and a value; found /);
  }
  assert.equal(worker.asked.length, before);
  for (const call of calls.slice(0, 2).concat(calls[3]!)) await call(null);
});

test("a requestMany() that cannot be sent leaves nothing behind", async (t) => {
  const { s } = await started(t);
  const { signal } = new AbortController();
  assert.throws(() => s.requestMany("a", "", { signal, headers: [["a"]] as any }), TypeError);
  assert.throws(() => s.requestMany("a", {} as string, { signal }), TypeError);
  assert.equal(getEventListeners(signal, "abort").length, 0);
});

test("a run tells when it begins and why it has ended", async (t) => {
  const s = new Stamp(), runs: unknown[] = [];
  t.after(() => s.close());
  s.addEventListener("run", () => runs.push(s.ended instanceof Error ? (s.ended as { code?: string }).code : s.ended));
  assert.equal(s.ended, undefined);
  await s.start();
  s.close();
  await s.start();
  await s.drain();
  assert.deepEqual(runs, [undefined, "closed", undefined, "closed"]);
});

test("a function of the page's that throws stops nothing else", { timeout: 20_000 }, async (t) => {
  const reported: unknown[] = [];
  Object.assign(globalThis, { reportError: (err: unknown) => reported.push(err) });
  t.after(() => Object.assign(globalThis, { reportError: undefined }));
  for (const [end, code] of [["close", "closed"], ["drain", "closed"], ["signed-out", "signed-out"], ["start", "signed-out"]] as const) {
    const { s, worker } = await started(t), thrown = new Error("the page's"), states: string[] = [], runs: number[] = [];
    const failed = () => { throw thrown; };
    await s.subscribe("a", () => {}, { failed });
    const b = await s.subscribe("b"), c = await s.subscribe("c", () => {}, { failed }), lost = s.when("lost");
    lost.catch(() => {});
    s.addEventListener("state", ({ detail }) => states.push(detail.state));
    s.addEventListener("run", () => runs.push(s.run));
    reported.length = 0;
    const loop = (async () => { for await (const _ of b); })();
    loop.catch(() => {});
    if (end === "close") s.close();
    else if (end !== "drain") worker.port.postMessage({ event: "state", state: "signed-out", reason: "" });
    else {
      worker.silent.add("unsubscribe");
      void s.drain().catch(() => {});
      s.close();
    }
    assert.equal(((await b.closed) as { code?: string } | undefined)?.code, code, end);
    await c.closed;
    await assert.rejects(loop, { code });
    await assert.rejects(lost, { code });
    assert.equal((s.ended as { code?: string } | undefined)?.code, code);
    assert.deepEqual(reported, [thrown, thrown]);
    assert.deepEqual([states.length, runs.length], code === "closed" ? [1, 1] : [1, 0]);
    if (end === "start") {
      await s.subscribe("d", () => {}, { failed });
      await s.start();
      assert.equal(s.ended, undefined);
    }
  }
  // A message that its function does not take is one of those that have come.
  const { s, worker } = await started(t), sub = await s.subscribe("a", () => { throw new Error("the page's"); }, { max: 1 });
  reported.length = 0;
  worker.port.postMessage({ event: "message", subscription: 1, message: { subject: "a", headers: [], data: new Uint8Array(0) } });
  assert.equal(await sub.closed, undefined);
  assert.equal(reported.length, 1);
});

test("a listener that starts anew when it is told of the end is the one that starts", async (t) => {
  for (const end of ["start", "close"] as const) {
    const { s, worker } = await started(t);
    worker.port.postMessage({ event: "state", state: "signed-out", reason: "" });
    await new Promise((resolve) => s.addEventListener("state", resolve, { once: true }));
    s.addEventListener("state", () => void s.start(), { once: true });
    const before = workers.length;
    if (end === "start") await s.start();
    else s.close();
    await s.start();
    assert.equal(workers.length, before + 1, "one worker");
    assert.deepEqual([s.started, s.ended, (await s.fetch("/a")).status], [true, undefined, 200], end);
  }
});

test("each option that cannot be is named, and null is none where there may be none", async (t) => {
  const { s, worker } = await started(t), before = worker.asked.length;
  const calls: Record<string, (options: any) => unknown> = {
    new: (options) => new Stamp(options), fetch: (options) => s.fetch("/a", options), requestMany: (options) => s.requestMany("a", "", options),
    publish: (options) => s.publish("a", "", options), subscribe: (options) => s.subscribe("a", () => {}, options),
  };
  for (const [call, name, values, expected] of [
    ["new", "hidden", ["X", [5], {}, [" x "], ["X-A", ""], [, "X-A"]], "a list of names of headers"], ["new", "subject", ["x", 5], "a function"], ["new", "ordered", [1, "no"], "true or false"],
    ["new", "contentType", [5, {}, "a\r\nX-User: admin", "\0"], "a string without line breaks and NUL"], ["new", "concurrency", [0, 0.5, 1.5, -1, Infinity, "1", null], "a positive whole number"],
    ["new", "login", [5, {}], "a string or a URL of http or https"], ["new", "recovery", [-1, "1"], "a number that is not negative"], ["new", "timeout", [0, NaN, null], "a positive number"],
    ["new", "worker", [5, true, () => {}], "a string, a URL or a TrustedScriptURL"],
    ["fetch", "throws", ["no"], "true or false"], ["publish", "reply", [5], "a string"], ["subscribe", "queue", [5, () => {}], "a string"],
    ["subscribe", "failed", ["x", {}], "a function"], ["subscribe", "max", [0, 1.5, null], "a positive whole number"], ["requestMany", "sentinel", [1], "true or false"],
  ] as const) {
    for (const value of values) {
      await assert.rejects(async () => calls[call]!({ [name]: value }), (err: Error) => err.name === "TypeError" && err.message.startsWith(`${name}: expected ${expected}; found `), `${name}: ${String(value)}`);
    }
  }
  assert.equal(worker.asked.length, before);
  await calls["publish"]!({ reply: null });
  await calls["subscribe"]!({ queue: null, failed: null });
  const other = new Stamp({ hidden: null, subject: null, contentType: null, login: null, worker: null });
  t.after(() => other.close());
  await other.start();
  assert.equal((await other.fetch("/a")).headers.get("Method"), "GET");
  const late = new Stamp({ subject: (async () => "a") as unknown as () => string });
  t.after(() => late.close());
  await late.start();
  await assert.rejects(late.fetch("/a"), { name: "TypeError", message: "subject: expected a function that returns a string; it returned a promise" });
});

test("each option of REST_Secure that cannot be is named, and so is what is in authHeader", async () => {
  const { REST_Secure } = await import("../src/rest_secure.ts");
  const texts: Record<string, [options: any, text: string]> = {
    options: ["x", "options: expected an object; found a value of the type string"],
    endpoint: [{ endpoint: 7 }, "endpoint: expected a string or a URL; found a value of the type number"],
    "no URL": [{ endpoint: "http://[" }, "endpoint: expected a URL; found a string that is none"],
    authHeader: [{ authHeader: "x" }, "authHeader: expected an object; found a value of the type string"],
    response: [{ authHeader: { response: "X A" } }, 'authHeader.response: expected the name of a header; found "X A"'],
    request: [{ authHeader: { request: 7 } }, "authHeader.request: expected the name of a header; found a value of the type number"],
    contentType: [{ contentType: 7 }, "contentType: expected a string without line breaks and NUL; found a value of the type number"],
    "content-type": [{ "content-type": "a\nb" }, "content-type: expected a string without line breaks and NUL; found a value of the type string"],
  };
  for (const [options, message] of Object.values(texts)) {
    assert.throws(() => new REST_Secure(typeof options === "string" ? options as any : { endpoint: "/", ...options }), { name: "TypeError", message });
  }
  new REST_Secure({ endpoint: "/", authHeader: { request: null, response: undefined }, contentType: "", timeout: 0 } as any);
});

test("a contentType among the headers of REST_Secure that says nothing is the default", async (t) => {
  const { REST_Secure } = await import("../src/rest_secure.ts");
  const rs = new REST_Secure({ endpoint: "/", contentType: "text/csv", authHeader: { request: null } } as any);
  t.after(() => rs.stamp.close());
  await rs.start();
  const typeOf = async (headers: any) => (await rs.fetch("/a", { method: "POST", body: "w", headers })).headers.get("Content-Type");
  for (const contentType of [undefined, null, ""]) {
    assert.equal(await typeOf({ contentType, "X-A": "1" }), "text/csv");
    assert.equal(await typeOf({ contentType, "Content-Type": "text/html" }), "text/html");
  }
  assert.equal(await typeOf({ contentType: "text/plain" }), "text/plain");
  assert.equal(await typeOf(new Headers({ contentType: "text/plain" })), "text/plain");
});

test("a Content-Type that HTTP does not have is a TypeError before anything is sent, as any other header is", async (t) => {
  const { REST_Secure } = await import("../src/rest_secure.ts");
  const { s, worker } = await started(t);
  const rs = new REST_Secure({ endpoint: "/" });
  t.after(() => rs.stamp.close());
  await rs.start();
  const own = workers.at(-1)!, before = [worker.asked.length, own.asked.length];
  for (const type of ["a\r\nX-User: admin", "a\n", "\0"]) {
    const refused = { name: "TypeError", message: "header Content-Type: its value holds a line break or NUL" }, options = { method: "POST", body: "w" };
    await assert.rejects(s.fetch("/a", { ...options, headers: { "content-type": type } }), refused);
    await assert.rejects(rs.fetch("/a", { ...options, headers: { "content-type": type } }), refused);
    await assert.rejects(rs.fetch("/a", { ...options, headers: { contentType: type } }), refused);
  }
  assert.deepEqual([worker.asked.length, own.asked.length], before);
});

test("after a start that failed, each call says why, with the code of start()", async (t) => {
  const s = new Stamp({ timeout: 1_000 });
  t.after(() => s.close());
  assert.equal((await s.fetch("/a")).error?.message, "not started: call start() first");
  const starting = s.start(), worker = workers.at(-1)! as { onerror: (event: object) => void };
  worker.onerror({ message: "", preventDefault() {} });
  const failed = await starting.catch((err) => err);
  assert.deepEqual([failed.name, failed.code, s.ended], ["StampError", "no-worker", failed]);
  const same = { name: "StampError", code: "no-worker", message: `start() has failed: ${failed.message}` };
  const answer = await s.fetch("/a");
  assert.deepEqual([answer.status, answer.error?.code, answer.body.error], [503, "no-worker", same.message]);
  for (const call of [() => s.request("a"), () => s.publish("a"), () => s.subscribe("a"), () => s.flush(), () => s.session(), () => s.logout(), () => s.requestMany("a").next()]) await assert.rejects(call, same);
  s.close();
  for (const call of [() => s.request("a"), () => s.session()]) await assert.rejects(call, { code: "not-started" });
});

test("when() takes the states that there are", async (t) => {
  const { s } = await started(t);
  for (const state of ["nonsense", undefined, "toString"] as any[]) await assert.rejects(s.when(state), { name: "TypeError", message: /^state: expected one of connecting, connected, lost, refused, signed-out, closed; found / });
});

test("jwt_claims starts nothing anew, and must be a list", { timeout: 20_000 }, async (t) => {
  const { REST_Secure } = await import("../src/rest_secure.ts");
  const rs = new REST_Secure({ endpoint: "http://localhost/" });
  t.after(() => rs.stamp.close());
  await rs.start();
  const before = workers.length, asked = rs.fetch("/a", { method: "POST", body: { b: 1 }, jwt_claims: ["sub"] });
  const drained = rs.stamp.drain();
  await asked;
  await drained;
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual([workers.length, rs.stamp.started], [before, false]);
  for (const jwt_claims of ["sub", 7, {}, true] as any[]) await assert.rejects(rs.fetch("/a", { jwt_claims }), /^TypeError: jwt_claims: expected a list of strings; found /);
});

test("a request of one run is not sent in the next one, where its visitor may be another", async (t) => {
  const bodies: (() => any)[] = [() => undefined, () => ({ a: 1 }), () => new Blob(["a"]), () => new URLSearchParams("a=1"), () => new Request("http://localhost/a", { method: "POST", body: "a" })];
  for (const ordered of [false, true]) {
    for (const body of bodies) {
      for (const call of ["fetch", "request"] as const) {
        for (let ticks = 0; ticks < 25; ticks++) { // of which there are some between what is awaited and who waits for it
          const { s, worker } = await started(t, { ordered });
          const asked = call === "fetch" ? s.fetch("/a", { method: "POST", body: body() }) : s.request("a");
          const outcome = asked.then((answer) => ("error" in answer ? answer.error?.code : undefined) ?? "sent", (err) => err.code);
          for (let i = 0; i < ticks; i++) await null;
          s.close();
          await s.start();
          const code = await outcome, other = workers.at(-1)!;
          assert.notEqual(other, worker);
          assert.ok(!other.asked.some(({ op }) => op === "request"), `${call}, ordered ${ordered}, after ${ticks} ticks`);
          assert.equal(code, "closed");
          s.close();
        }
      }
    }
  }
});

test("what is aborted of one run aborts nothing of the next one", async (t) => {
  const { s, worker } = await started(t), controller = new AbortController(), { signal } = controller;
  for (const op of ["request", "subscribe"]) worker.silent.add(op);
  const calls = [s.request("a", "", { signal }), s.subscribe("a", { signal })].map((call) => assert.rejects(call));
  s.close();
  const starting = s.start(), answers = [s.request("b"), s.request("c")];
  controller.abort();
  await Promise.all([starting, ...answers, ...calls]);
  assert.deepEqual(workers.at(-1)!.asked.filter(({ op }) => op === "abort"), []);
});

test("options are read once, and are what they were then", async (t) => {
  const { REST_Secure } = await import("../src/rest_secure.ts");
  const given = { timeout: 300, concurrency: 2, hidden: ["X-A"] }, { s, worker } = await started(t, given), own = new Stamp(given);
  t.after(() => own.close());
  Object.assign(given, { timeout: "x", concurrency: NaN });
  given.hidden.push("no name");
  await own.start();
  const told = workers.at(-1)!.asked[0] as { limits: object };
  assert.deepEqual([told.limits, (await own.fetch("/a")).status], [{ timeout: 300, timeoutAfter: undefined, recovery: undefined, ordered: undefined, concurrency: 2, hidden: ["X-A"] }, 200]);
  let reads = 0;
  const changing = (name: string, first: unknown, later: unknown) => ({ get [name]() { return reads++ === 0 ? first : later; } });
  for (const [name, first, later, call] of [
    ["timeout", 300, NaN, (options: any) => new Stamp(options)], ["timeout", 300, "x", (options: any) => s.fetch("/a", options)], ["timeout", 300, NaN, (options: any) => s.request("a", "", options)],
    ["max", 1, NaN, (options: any) => s.subscribe("a", () => {}, options)], ["headers", { a: "1" }, 5, (options: any) => s.request("a", "", options)],
    ["jwt_claims", ["a"], 5, (options: any) => new REST_Secure({ endpoint: "/" }).fetch("/a", options)],
  ] as const) {
    reads = 0;
    await call(changing(name, first, later));
    assert.equal(reads, 1, name);
  }
  await s.subscribe("a", () => {}, Object.create({ max: 7 }));
  assert.equal((worker.asked.at(-1) as { max?: number }).max, 7, "of what the options inherit too");
});

test("null beside a Request is nothing given, but for its signal", async (t) => {
  const { s, worker } = await started(t);
  const whole = (signal?: AbortSignal) => new Request("http://localhost/a", { method: "PUT", headers: { "X-A": "1" }, body: "b", ...signal && { signal } });
  const { headers, text } = await s.fetch(whole(), { method: null, headers: null, body: null }).then(async (answer) => ({ headers: answer.headers, text: await answer.text() }));
  assert.deepEqual([headers.get("Method"), headers.get("X-A"), text], ["PUT", "1", "b"]);
  assert.equal((await s.fetch(whole(AbortSignal.abort()), { signal: null, body: "c" })).status, 200);
  assert.equal(worker.asked.filter(({ op }) => op === "request").length, 2);
});

test("calls right after a start whose worker cannot be made have its code", async (t) => {
  const s = new Stamp();
  t.after(() => s.close());
  const made = globalThis.Worker;
  t.after(() => Object.assign(globalThis, { Worker: made }));
  for (const Worker of [class { constructor() { throw new Error("blocked"); } }, undefined]) {
    Object.assign(globalThis, { Worker });
    const starting = assert.rejects(s.start(), { code: "no-worker" });
    assert.equal(s.started, false);
    assert.equal((await s.fetch("/a", { method: "POST", body: new Blob(["a"]) })).error?.code, "no-worker");
    await starting;
    const again = assert.rejects(s.start(), { code: "no-worker" });
    for (const call of [() => s.request("a"), () => s.publish("a"), () => s.subscribe("a"), () => s.session(), () => s.when("connected")]) await assert.rejects(call, { code: "no-worker" });
    await again;
  }
});

test("headers that tell an error cannot be hidden", async () => {
  const { REST_Secure } = await import("../src/rest_secure.ts");
  for (const name of ["Status", "description", "Nats-Service-Error", "NATS-SERVICE-ERROR-CODE"]) {
    const message = (option: string) => `${option}: ${name} cannot be hidden: it tells whether a service has failed, and its errors would be taken for success`;
    assert.throws(() => new Stamp({ hidden: ["X-A", name] }), { name: "TypeError", message: message("hidden") });
    assert.throws(() => new REST_Secure({ endpoint: "/", authHeader: { response: name } }), { name: "TypeError", message: message("authHeader.response") });
  }
});

test("subscribe() takes its options behind a function that is undefined or null", async (t) => {
  const { s, worker } = await started(t);
  for (const none of [undefined, null]) {
    await s.subscribe("a", none, { queue: "q", max: 3 });
    const { queue, max } = worker.asked.at(-1) as { queue?: string; max?: number };
    assert.deepEqual([queue, max], ["q", 3]);
    await assert.rejects(s.subscribe("a", none, { max: 0 }), { name: "TypeError" });
  }
});

test("nothing is started any more when the worker says that it has closed", async (t) => {
  const { s, worker } = await started(t);
  worker.port.postMessage({ event: "state", state: "closed", reason: "no key" });
  await s.when("closed", { timeout: 1_000 });
  assert.deepEqual([s.started, s.ended?.code], [false, "closed"]);
  await s.start();
  assert.deepEqual([s.started, s.state, workers.at(-1) === worker], [true, "connected", false]);
});

test("what only looks like an AbortSignal is refused before anything is kept or sent", async (t) => {
  const { s, worker } = await started(t), before = worker.asked.length;
  const signal = { [Symbol.toStringTag]: "AbortSignal", aborted: false, throwIfAborted() {} } as unknown as AbortSignal;
  assert.throws(() => s.requestMany("a", "", { signal }), /^TypeError: signal: expected an AbortSignal/);
  await assert.rejects(s.subscribe("a", () => {}, { signal }), /^TypeError: signal: expected an AbortSignal/);
  assert.equal(worker.asked.length, before);
});

test("what a worker of a run before says is nobody's, also where a closed port goes on delivering, as in Firefox", async (t) => {
  const { close } = MessagePort.prototype, open = new Set<MessagePort>();
  MessagePort.prototype.close = function () { open.add(this); };
  t.after(() => {
    MessagePort.prototype.close = close;
    for (const port of open) port.close();
  });
  const { s, worker } = await started(t), seen: unknown[] = [];
  worker.silent.add("request");
  const before = s.request("a").catch((err) => err.code);
  await until(() => worker.asked.some(({ op }) => op === "request"));
  const { id } = worker.asked.at(-1)!;
  s.close();
  assert.equal(await before, "closed");
  await s.start();
  const other = workers.at(-1)!;
  other.silent.add("request");
  let heard = false;
  await s.subscribe("a", () => { heard = true; });
  for (const event of ["state", "error"] as const) s.addEventListener(event, ({ detail }: CustomEvent) => seen.push(detail));
  const asked = s.request("b");
  await until(() => other.asked.some(({ op }) => op === "request"));
  const message = { subject: "a", headers: [], data: new TextEncoder().encode("of before") };
  for (let stale = id - 3; stale < id + 8; stale++) worker.port.postMessage({ id: stale, value: message });
  worker.port.postMessage({ event: "state", state: "lost", reason: "of before" });
  worker.port.postMessage({ event: "error", code: "denied", message: "of before", operation: "publish", subject: "a" });
  for (let subscription = 1; subscription < 9; subscription++) worker.port.postMessage({ event: "message", subscription, message });
  await new Promise((resolve) => setTimeout(resolve)); // all of it would have come
  const now = other.asked.find(({ op }) => op === "request")!;
  assert.ok(now.id > id, "an id is of one call, in whichever run");
  other.port.postMessage({ id: now.id, value: { ...message, data: new TextEncoder().encode("of now") } });
  assert.equal((await asked).text(), "of now");
  assert.deepEqual([seen, heard, s.state], [[], false, "connected"]);
});

test("a call that was made between two runs is sent in neither", { timeout: 20_000 }, async (t) => {
  const bodies: (() => any)[] = [() => "a", () => new Blob(["a"]), () => new URLSearchParams("a=1"), () => { const form = new FormData(); form.set("a", "b"); return form; }];
  const ends: Record<string, (s: InstanceType<typeof Stamp>) => Promise<unknown> | void> = {
    close: (s) => s.close(), drain: (s) => s.drain(),
    "a start() that failed": async (s) => {
      s.close();
      const failed = s.start().catch(() => {});
      (workers.at(-1) as unknown as { onerror: (event: object) => void }).onerror({ message: "", preventDefault() {} });
      await failed;
    },
  };
  for (const ordered of [false, true]) {
    for (const [name, end] of Object.entries(ends)) {
      for (const body of bodies) {
        const { s } = await started(t, { ordered });
        await end(s);
        const calls = [s.fetch("/a", { method: "POST", body: body() }), s.fetch(new Request("http://localhost/a", { method: "POST", body: body() })), s.request("a")];
        const codes = Promise.all(calls.map((call) => call.then((answer) => (answer as { error?: { code: string } }).error?.code ?? "sent", (err) => err.code)));
        await s.start();
        assert.deepEqual(await codes, Array(3).fill(name.startsWith("a start") ? "no-worker" : "not-started"), `${name}, ordered ${ordered}`);
        assert.ok(!workers.at(-1)!.asked.some(({ op }) => op === "request"), `${name}, ordered ${ordered}`);
        s.close();
      }
    }
  }
});

test("a call whose body has to be read waits for the very first start(), and for no other", { timeout: 20_000 }, async (t) => {
  for (const first of [true, false]) {
    const s = new Stamp({ timeout: 1_000 });
    t.after(() => s.close());
    if (!first) s.close();
    const asked = s.fetch("/a", { method: "POST", body: new Blob(["1"]) });
    await s.start();
    assert.equal((await asked).error?.code, first ? undefined : "not-started");
  }
  const s = new Stamp({ timeout: 1_000 }); // the body is not there before the first run is over
  t.after(() => s.close());
  const asked = s.fetch(endless());
  await s.start();
  s.close();
  await s.start();
  assert.equal((await asked).error?.code, "closed");
  assert.ok(!workers.at(-1)!.asked.some(({ op }) => op === "request"));
});

test("what a script has put into Object.prototype is no option, no reply and no error", { timeout: 20_000 }, async (t) => {
  const { REST_Secure } = await import("../src/rest_secure.ts");
  const scripts: string[] = [], usual = globalThis.Worker;
  Object.assign(globalThis, { Worker: class extends FakeWorker { constructor(script: URL | string) { super(); scripts.push(String(script)); } } });
  t.after(() => Object.assign(globalThis, { Worker: usual }));
  const polluted: Record<string, unknown> = {
    worker: "data:text/javascript,", login: "javascript:alert(1)", error: { code: "denied", message: "polluted" }, id: 7, event: "state", value: 1, reply: "polluted", throws: true, max: 1, queue: "polluted", timeout: 1,
    stall: 1, headers: { "X-P": "polluted" }, body: "polluted", method: "DELETE", subject: () => "polluted", contentType: "polluted", ordered: true, concurrency: 1, hidden: ["polluted"], signal: AbortSignal.abort(),
    statusText: "polluted", code: "polluted", message: "polluted", said: "polluted", detail: "polluted", title: "polluted", answer: "polluted", request: "polluted", response: "polluted", type: "module", subscription: 1,
    authHeader: { request: "X-A" }, endpoint: "/polluted", jwt_claims: ["polluted"], sentinel: true, failed: () => {}, recovery: 1, timeoutAfter: 1, state: "lost",
  };
  for (const [name, value] of Object.entries(polluted)) {
    const wholes = Array.from({ length: 3 }, () => new Request("http://localhost/a", { headers: { "X-A": "1" } }));
    Object.defineProperty(Object.prototype, name, { value, writable: true, configurable: true, enumerable: false });
    try {
      for (const options of [undefined, {}, { concurrency: 3 }]) {
        const s = new Stamp(options), own = workers.length;
        await s.start();
        assert.equal(scripts.at(-1), "http://localhost/auth/worker.js", name);
        const worker = workers[own]!;
        const answers = [await s.fetch("/a", { headers: { "X-A": "1" } }), await s.fetch(wholes.pop()!)];
        for (const answer of answers) assert.deepEqual([answer.status, answer.statusText, answer.error, [...answer.headers].flat().join(), answer.body], [200, "", undefined, "method,GET,x-a,1", null], name);
        await s.request("b");
        await s.publish("b", "", {});
        await s.subscribe("b", () => {}, {});
        for await (const _ of s.requestMany("b", "", {})) assert.fail(name);
        const asked = worker.asked.map(({ op, ...rest }) => [op, JSON.stringify(rest)].join());
        assert.ok(!asked.some((text) => text.includes("polluted")), `${name}: ${asked}`);
        for (const { op, ...call } of worker.asked as any[]) for (const field of ["max", "queue", "reply", "timeout"]) if (Object.hasOwn(call, field)) assert.equal(call[field], undefined, `${name}: ${op}`);
        s.close();
        const rs = new REST_Secure({ endpoint: "/b" });
        await rs.start();
        assert.deepEqual([(await rs.fetch("/a")).headers.get("method"), workers.at(-1)!.asked.map((asked) => (asked as { subject?: string }).subject).at(-1)], ["GET", "b.a"], name);
        rs.stamp.close();
      }
    } finally {
      delete (Object.prototype as any)[name];
    }
  }
});

test("options are those of an object and of its classes, in whatever realm it was made", async (t) => {
  const { s, worker } = await started(t);
  class Options { get max() { return 7; } }
  class More extends Options {}
  const alone = Object.assign(Object.create(null), { max: 7 });
  class Own { get max() { return 7; } }
  Object.setPrototypeOf(Own.prototype, null);
  const all = [new More(), alone, Object.create(alone), Object.create(Object.create(alone)), new Own(), new Proxy({}, { get: (_, name) => (name === "max" ? 7 : undefined) }), runInNewContext("new (class { get max() { return 7; } })()")];
  for (const [i, options] of all.entries()) {
    await s.subscribe("a", () => {}, options);
    assert.equal((worker.asked.at(-1) as { max?: number }).max, 7, `${i}`);
  }
  const { REST_Secure } = await import("../src/rest_secure.ts");
  class Endpoint { get endpoint() { return "http://localhost/below"; } get timeout() { return 0; } get authHeader() { return Object.create({ response: "X-Token" }) as object; } }
  for (const options of [new Endpoint(), Object.create(Object.assign(Object.create(null), { endpoint: "/below", authHeader: Object.create(Object.assign(Object.create(null), { response: "X-Token" })) }))]) {
    const rs = new REST_Secure(options);
    t.after(() => rs.stamp.close());
    assert.equal((await rs.start()).already_authenticated, true);
    const [{ limits }] = workers.at(-1)!.asked as any;
    assert.deepEqual([limits.hidden, (await rs.fetch("/a")).status, (workers.at(-1)!.asked.at(-1) as any).subject], [["X-Token"], 200, "below.a"]);
  }
  const realm = runInNewContext("Object.prototype.max = 7; ({})");
  await s.subscribe("a", () => {}, realm);
  assert.equal((worker.asked.at(-1) as { max?: number }).max, undefined);
});

test("the worker is of the page's origin, and the login page is one", async (t) => {
  const made: string[] = [], usual = globalThis.Worker;
  Object.assign(globalThis, { Worker: class extends FakeWorker { constructor(script: URL | string) { super(); made.push(String(script)); } } });
  t.after(() => Object.assign(globalThis, { Worker: usual }));
  for (const worker of ["data:text/javascript,", "blob:http://localhost/1", "https://other.example/worker.js", new URL("blob:http://localhost/1"), { toString: () => "data:text/javascript," }, { [Symbol.toStringTag]: "TrustedScriptURL", toString: () => "data:text/javascript," }]) {
    await assert.rejects(new Stamp({ worker }).start(), { code: "no-worker", message: /could not be started: expected a URL of the page's origin/ });
  }
  assert.deepEqual(made, []);
  for (const login of ["javascript:alert(1)", " JAVA\nSCRIPT:alert(1)", "data:text/html,", "blob:http://localhost/1", new URL("javascript:alert(1)"), "http://["]) {
    assert.throws(() => new Stamp({ login }), { name: "TypeError", message: /^login: expected a string or a URL of http or https; found / });
  }
  for (const login of ["login", "/login", "https://other.example/login", new URL("http://localhost/login")]) new Stamp({ login });
  const worker = new URL("http://localhost/one.js"), given = { worker, toString: () => "/two.js" };
  const s = new Stamp({ worker }), other = new Stamp({ worker: given });
  worker.pathname = "/changed.js";
  given.toString = () => "/changed.js";
  for (const stamp of [s, other]) {
    t.after(() => stamp.close());
    await stamp.start();
  }
  assert.deepEqual(made, ["http://localhost/one.js", "http://localhost/two.js"]);
});

test("a body that nobody waits for any more is read no further, and one that is too large no further than that", { timeout: 20_000 }, async (t) => {
  for (const ordered of [false, true]) {
    for (const how of ["time-out", "abort", "close", "too large", "not started"]) {
      const { s, worker } = await started(t, { ordered });
      worker.port.postMessage({ event: "state", state: "lost", reason: "", most: 1_000_000 });
      await s.when("lost");
      let pulls = 0, cancelled = false;
      const body = new ReadableStream({
        async pull(controller) {
          pulls++;
          await new Promise((resolve) => setTimeout(resolve, how === "too large" ? 0 : 5));
          controller.enqueue(new Uint8Array(how === "too large" ? 100_000 : 10));
        },
        cancel() { cancelled = true; },
      });
      const request = new Request("http://localhost/a", { method: "POST", body, duplex: "half" } as RequestInit), controller = new AbortController();
      if (how === "not started") s.close();
      const asked = s.fetch(request, { signal: controller.signal, timeout: how === "time-out" ? 40 : 10_000 }).then(({ error }) => error?.code, (err) => err.name);
      if (how === "abort" || how === "close") await until(() => pulls > 2);
      if (how === "abort") controller.abort();
      if (how === "close") s.close();
      assert.equal(await asked, { "time-out": "timeout", abort: "AbortError", close: "closed", "too large": "too-large", "not started": "not-started" }[how]);
      await until(() => cancelled);
      const before = pulls;
      await new Promise((resolve) => setTimeout(resolve, 30));
      assert.ok(pulls <= before + 1 && pulls < 20, `${how}: ${before}, ${pulls}`);
      s.close();
    }
  }
});

test("the body of a Request that was read before, or that is no bytes, is a TypeError", async (t) => {
  const { s } = await started(t);
  const used = new Request("http://localhost/a", { method: "POST", body: "a" });
  await used.text();
  await assert.rejects(s.fetch(used), { name: "TypeError" });
  const text = new ReadableStream({ start(controller) { controller.enqueue("text"); controller.close(); } });
  await assert.rejects(s.fetch(new Request("http://localhost/a", { method: "POST", body: text, duplex: "half" } as RequestInit)), { name: "TypeError" });
});

test("methods that fetch() refuses are refused", async (t) => {
  const { s } = await started(t);
  for (const method of ["CONNECT", "trace", "Track", "a b"]) await assert.rejects(s.fetch("/a", { method }), { name: "TypeError", message: `not a method: ${JSON.stringify(method)}` });
});
