import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { Asked } from "../src/messages.ts";
import type { Site, Visitor } from "../src/site.ts";
import { counted, freeze, Scripted, until, willing, type Server as NatsServer } from "./scripted.ts";

// A worker's scope, as far as it is used.
Object.assign(globalThis, { self: { addEventListener() {} }, WebSocket: Scripted });
const { Server } = await import("../src/port.ts");

/** A server over a site that says what visitor is, and the page's end of the port. */
function serve(t: TestContext, visitor: { now: Visitor | Promise<Visitor>; logout?: () => Promise<void> }) {
  const site = { tickets: false, key: "required", websocket: "ws://127.0.0.1:1", visitor: async () => visitor.now, logout: async () => (await visitor.logout?.(), {}) };
  const { port1, port2 } = new MessageChannel();
  let told = 0, id = 0;
  const events: { event: string; state?: string; reason?: string }[] = [];
  const waiting = new Map<number, (reply: any) => void>();
  port1.onmessage = ({ data }) => ("id" in data ? waiting.get(data.id)?.(data) : events.push(data));
  const server = new Server(port2, site as unknown as Site, { tell: () => { told++; } });
  const ask = (call: object) => new Promise<any>((resolve) => {
    waiting.set(++id, resolve);
    port1.postMessage({ ...call, id } as Asked);
  });
  t.after(async () => { // an open port, or connection, keeps the process
    await ask({ op: "logout" });
    port1.close();
  });
  return { server, events, told: () => told, ask };
}

const alice: Visitor = { authenticated: true, expires: 1, claims: { sub: "alice" }, inbox: "_INBOX.alice" };

test("what the page may know of a visitor, and no more", async (t) => {
  const s = serve(t, { now: { ...alice, pass: "secret" } as Visitor });
  const known = { authenticated: true, expires: 1, claims: { sub: "alice" } };
  assert.deepEqual((await s.ask({ op: "session" })).value, known);
  assert.deepEqual((await s.ask({ op: "start", limits: {} })).value, { ...known, login: undefined, key: false });
});

test("a logout tells the other tabs, which look for themselves", async (t) => {
  const visitor = { now: alice };
  const s = serve(t, visitor), other = serve(t, visitor);
  await s.ask({ op: "start", limits: {} });
  await other.ask({ op: "start", limits: {} });
  await other.server.recheck();
  await other.ask({ op: "session" }); // what came before has arrived then
  assert.ok(!other.events.some(({ state }) => state === "signed-out"), "they believe nobody");
  visitor.now = { authenticated: false };
  await s.ask({ op: "logout" });
  assert.equal(s.told(), 1);
  await other.server.recheck();
  await other.ask({ op: "session" });
  assert.ok(other.events.some(({ state, reason }) => state === "signed-out" && reason === "signed out in another tab"));
  for (const tab of [s, other]) {
    const { error } = await tab.ask({ op: "request", subject: "a", headers: {}, data: new Uint8Array(0) });
    assert.equal(error.code, "signed-out");
  }
});

test("a visitor who is another one by then is not taken for the first", async (t) => {
  const visitor = { now: alice };
  const s = serve(t, visitor);
  await s.ask({ op: "start", limits: {} });
  visitor.now = { ...alice, claims: { sub: "bob" }, inbox: "_INBOX.bob" };
  await s.server.recheck();
  const { error } = await s.ask({ op: "request", subject: "a", headers: {}, data: new Uint8Array(0) });
  assert.equal(error.code, "signed-out");
});

test("whatever the page sends, there is an answer", async (t) => {
  const s = serve(t, { now: { authenticated: false } });
  await s.ask({ op: "start", limits: {} });
  for (const call of [{}, { op: 1 }, { op: "constructor" }, { op: "start" }, { op: "start", limits: { concurrency: -1 } }, { op: "subscribe" }, { op: "unsubscribe" }, { op: "abort" }, { op: "publish" }, { op: "flush" }, { op: "unsubscribe", drain: true }, { op: "requestMany" }, { op: "requestMany", subject: "a", headers: {}, data: new Uint8Array(0), receiver: {} }]) {
    const reply = await s.ask(call);
    assert.ok("value" in reply || typeof reply.error.message === "string", JSON.stringify(call));
  }
});

/** Answers each request with these lines of a block, in one frame with what another one gets. */
function answering(block: string, sent: string[] = []): NatsServer {
  return (line) => {
    const [verb, subject, reply] = line.split(" ");
    if (verb !== "HPUB") return willing(line);
    sent.push(subject!);
    const text = `NATS/1.0\r\n${block}\r\n`;
    return `HMSG ${reply} 1 ${text.length} ${text.length + 5}\r\n${text}hello\r\n`;
  };
}

const request = (subject: string, timeout?: number) => ({ op: "request", subject, headers: { A: "b" }, data: new Uint8Array(0), timeout });

test("neither hidden headers nor what came beside a message reaches the page", async (t) => {
  Scripted.servers = [answering("authorization: Bearer T\r\nSet-Cookie: T\r\nX: y\r\n")];
  const s = serve(t, { now: alice });
  await s.ask({ op: "start", limits: {} });
  const { value } = await s.ask(request("a"));
  assert.deepEqual(value.headers, [["X", ["y"]]]);
  await s.ask({ op: "start", limits: { hidden: ["X-Custom", "x"] } });
  assert.deepEqual((await s.ask(request("a"))).value.headers, [], "more of them can be named");
  assert.deepEqual([value.data.byteOffset, value.data.buffer.byteLength], [0, 5]);
});

test("a request that is aborted is not sent later, and its time is nobody's", async (t) => {
  const sent: string[] = [];
  Scripted.servers = [() => undefined, answering("", sent)]; // the first connection fails
  const s = serve(t, { now: alice });
  await s.ask({ op: "start", limits: { ordered: true, timeout: 20_000 } });
  const aborted = s.ask(request("pay"));
  await s.ask({ op: "abort", call: 2 });
  assert.equal((await aborted).error.message, "aborted");
  const { value } = await s.ask(request("after"));
  assert.equal(new TextDecoder().decode(value.data), "hello");
  assert.deepEqual(sent, ["after"]);

  // One that is under way when it is aborted, and gets no answer.
  Scripted.servers = [(line) => (line.startsWith("HPUB silent") ? "" : answering("", sent)(line))];
  const other = serve(t, { now: alice });
  await other.ask({ op: "start", limits: { timeout: 60, timeoutAfter: 5 } });
  await other.ask(request("a", 20_000));
  const silent = other.ask(request("silent"));
  await other.ask({ op: "abort", call: 3 });
  assert.equal((await silent).error.message, "aborted");
  await new Promise((resolve) => setTimeout(resolve, 100));
  const late = await other.ask(request("silent"));
  assert.equal(late.error.message, "timed out after 60 ms");
});

test("requests that wait for their turn when the connection is lost are sent on the next one", async (t) => {
  for (const concurrency of [1, 2]) {
    const sent: string[] = [];
    Scripted.servers = [(line) => (line.startsWith("HPUB cut") ? undefined : willing(line)), answering("", sent)];
    const s = serve(t, { now: alice });
    await s.ask({ op: "start", limits: { concurrency } });
    const asked = ["cut", "cut", "a", "b", "c"].slice(2 - concurrency).map((subject) => s.ask(request(subject)));
    const codes = (await Promise.all(asked)).map(({ error }) => error?.code);
    assert.deepEqual([codes.slice(concurrency), sent], [[undefined, undefined, undefined], ["a", "b", "c"]]);
    assert.ok(codes.slice(0, concurrency).every((code) => code === "lost"), `what was under way is lost: ${codes.join(", ")}`);
  }
});

test("what is under way at a sign-out ends with its code, also where the server cuts the connection first", async (t) => {
  for (const cut of [false, true]) {
    const asked: string[] = [];
    Scripted.servers = [(line) => {
      if (line.startsWith("HPUB")) asked.push(line);
      return line.startsWith("HPUB cut") ? undefined : willing(line);
    }];
    const s = serve(t, { now: alice, logout: cut ? async () => {
      await until(() => s.events.some(({ state }) => state === "lost"));
    } : undefined });
    await s.ask({ op: "start", limits: { concurrency: 2 } });
    const calls = [s.ask(request("silent")), s.ask(request("silent")), s.ask(request("queued")), s.ask({ ...request("many"), op: "requestMany", receiver: 1, enough: { timeout: 20_000 } })];
    await until(() => asked.length === 3);
    const out = s.ask({ op: "logout" });
    if (cut) calls.push(s.ask({ ...request("cut"), op: "requestMany", receiver: 2, enough: { timeout: 20_000 } }));
    assert.deepEqual((await Promise.all(calls)).map(({ error, value }) => error?.code ?? value), calls.map(() => "signed-out"), `cut: ${cut}`);
    assert.ok("value" in await out);
  }
});

test("a sign-out that fails leaves the code of a lost connection", async (t) => {
  Scripted.servers = [(line) => (line.startsWith("HPUB cut") ? undefined : willing(line))];
  let once = true;
  const s = serve(t, { now: alice, logout: async () => {
    if (!once) return;
    once = false;
    await until(() => s.events.some(({ state }) => state === "lost"));
    throw new Error("no");
  } });
  await s.ask({ op: "start", limits: {} });
  const [out, lost] = await Promise.all([s.ask({ op: "logout" }), s.ask(request("cut"))]);
  assert.deepEqual([out.error.message, lost.error.code], ["no", "lost"]);
});

test("requests that are answered share a timer, and make no error and nothing else that costs a browser much", async (t) => {
  Scripted.servers = [answering("")];
  const s = serve(t, { now: alice });
  await s.ask({ op: "start", limits: { timeout: 20_000 } });
  const { stackTraceLimit } = Error;
  t.after(() => Object.assign(Error, { stackTraceLimit }));
  let stacks = 0; // V8 reads the limit for each error
  Object.defineProperty(Error, "stackTraceLimit", { configurable: true, get: () => (stacks++, stackTraceLimit) });
  const made = await counted(t, async () => {
    for (let i = 0; i < 10; i++) assert.ok((await s.ask(request("a"))).value);
  });
  Object.defineProperty(Error, "stackTraceLimit", { configurable: true, writable: true, value: stackTraceLimit });
  assert.deepEqual([stacks, made.timers <= 1, made.AbortController], [0, true, 0]);
});

test("times that timers do not take are the longest", async (t) => {
  Scripted.servers = [answering("")];
  const s = serve(t, { now: alice });
  await s.ask({ op: "start", limits: { timeout: Infinity } });
  for (const timeout of [undefined, Infinity, 2 ** 31]) {
    assert.ok((await s.ask(request("a", timeout))).value);
  }
});

test("an answer that waits behind a frozen process is no time-out", async (t) => {
  let asked = 0;
  const slow: NatsServer = (line) => (line.startsWith("HPUB slow") ? (asked++, "") : answering("")(line));
  Scripted.servers = [slow];
  const s = serve(t, { now: alice });
  await s.ask({ op: "start", limits: { timeout: 400, timeoutAfter: 5 } });
  await s.ask(request("a", 20_000));
  const held = s.ask(request("slow"));
  await until(() => asked === 1);
  setTimeout(() => setTimeout(() => Scripted.say("slow"), 10), 10); // behind the timers that are due
  freeze(3_000);
  const { value, error } = await held;
  assert.equal(error, undefined);
  assert.equal(new TextDecoder().decode(value.data), "slow");
  const after = await s.ask(request("slow"));
  assert.equal(after.error.message, "timed out after 400 ms", "nor are the times shorter after it");
});

test("the time in which the process was frozen while a call waited for the connection is not missing when it waits for the answer", { timeout: 60_000 }, async (t) => {
  t.after(() => { Scripted.delay = 0; });
  Scripted.delay = 20;
  for (const call of [request("a"), { op: "flush" }, { op: "subscribe", subject: "a", subscription: 1 }]) {
    Scripted.servers = [() => undefined, answering("")]; // the first connection fails
    const s = serve(t, { now: alice });
    await s.ask({ op: "start", limits: { timeout: 2_500 } });
    await until(() => s.events.some(({ state }) => state === "lost"));
    const asked = s.ask(call);
    await s.ask({ op: "abort", call: 99 }); // it waits
    freeze(4_000);
    assert.equal((await asked).error?.message, undefined, call.op);
  }
});

test("the client forgets what timed out or was aborted", async (t) => {
  Scripted.servers = [(line) => (line.startsWith("HPUB") ? "" : willing(line))];
  const s = serve(t, { now: alice });
  await s.ask({ op: "start", limits: { timeout: 30, timeoutAfter: 5 } });
  const timers = () => process.getActiveResourcesInfo().filter((what) => what === "Timeout").length;
  await until(() => s.events.some(({ state }) => state === "connected"));
  await s.ask({ op: "session" });
  const before = timers();
  const late = await s.ask(request("a", 30));
  assert.deepEqual([late.error.code, late.error.message], ["timeout", "timed out after 30 ms"]);
  const asked = s.ask(request("a", 20_000));
  await s.ask({ op: "abort", call: 4 });
  assert.equal((await asked).error.message, "aborted");
  await until(() => timers() <= before + 1); // until() has one itself
});

test("codes tell why there is no answer", async (t) => {
  // Nobody answers; the connection is lost; there is none.
  Scripted.servers = [(line) => {
    const [verb, subject, reply] = line.split(" ");
    if (verb !== "HPUB") return willing(line);
    return subject === "nobody" ? `HMSG ${reply} 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n` : undefined;
  }, () => undefined];
  const s = serve(t, { now: alice });
  await s.ask({ op: "start", limits: { timeout: 1_000 } });
  assert.equal((await s.ask(request("nobody"))).error.code, "unanswered");
  assert.equal((await s.ask(request("cut"))).error.code, "lost");
  const { error } = await s.ask(request("a", 20));
  assert.equal(error.code, "no-connection");
  assert.match(error.message, /^timed out after 20 ms: the connection is lost/);
  const sub = await s.ask({ op: "subscribe", subject: "a", subscription: 1 });
  assert.equal(sub.error.code, "no-connection");

  Scripted.servers = [(line) => (line.startsWith("CONNECT") ? "-ERR 'Authorization Violation'\r\n" : "")];
  const refused = serve(t, { now: alice });
  await refused.ask({ op: "start", limits: {} });
  await until(() => refused.events.some(({ state }) => state === "refused"));
  assert.equal((await refused.ask(request("a", 20))).error.code, "refused");
});

test("a request that comes before it is known who is signed in waits for that", async (t) => {
  Scripted.servers = [answering("")];
  for (const [visitor, code] of [[alice, undefined], [{ authenticated: false }, "signed-out"], [new Error("the site is away"), "failed"]] as const) {
    let tell = (_: Visitor) => {}, fail = (_: Error) => {};
    const now = new Promise<Visitor>((resolve, reject) => { tell = resolve; fail = reject; });
    now.catch(() => {});
    const s = serve(t, { now });
    const all = [s.ask({ op: "start", limits: {} }), s.ask(request("a")), s.ask({ op: "subscribe", subject: "a", subscription: 1 }), s.ask({ op: "publish", subject: "a", headers: {}, data: new Uint8Array(0) })];
    await s.ask({ op: "abort", call: 99 }); // those before it have arrived
    visitor instanceof Error ? fail(visitor) : tell(visitor);
    const [started, ...others] = await Promise.all(all);
    assert.deepEqual(others.map(({ error }) => error?.code), [code, code, code], String(code));
    assert.equal(started.error?.message, visitor instanceof Error ? visitor.message : undefined);
  }
});

test("numbers that a page makes up write no lines of their own to the server", async (t) => {
  const lines: string[] = [];
  Scripted.servers = [(line) => (lines.push(line), willing(line))];
  const s = serve(t, { now: alice });
  await s.ask({ op: "start", limits: {} });
  const forged = "1\r\nPUB forged 0\r\n";
  await s.ask({ op: "subscribe", subject: "a", subscription: 7, max: forged });
  await s.ask({ op: "requestMany", subject: "a", headers: {}, data: new Uint8Array(0), receiver: 8, enough: { timeout: 5, max: forged, stall: forged } });
  await s.ask({ op: "unsubscribe", subscription: 7, drain: forged });
  assert.ok(lines.some((line) => line.startsWith("SUB a")), lines.join());
  assert.ok(!lines.some((line) => line.includes("forged")), lines.join());
});

test("answers of several come until there are enough", async (t) => {
  const lines: string[] = [];
  Scripted.servers = [(line) => {
    lines.push(line);
    const [verb, , reply] = line.split(" ");
    if (verb !== "HPUB" && verb !== "PUB") return willing(line);
    return ["a", "bc", ""].map((text) => `MSG ${reply} 1 ${text.length}\r\n${text}\r\n`).join("");
  }];
  const s = serve(t, { now: alice });
  await s.ask({ op: "start", limits: {} });
  const texts = (number: number) => s.events.filter((event) => (event as { subscription?: number }).subscription === number)
    .map((event) => new TextDecoder().decode((event as unknown as { message: { data: Uint8Array } }).message.data));
  const many = (receiver: number, enough: object) => s.ask({ op: "requestMany", subject: "a", headers: {}, data: new Uint8Array(0), receiver, enough });
  assert.ok("value" in await many(1, { timeout: 20_000, max: 2 }));
  assert.deepEqual(texts(1), ["a", "bc"]);
  await many(2, { timeout: 20_000, sentinel: true });
  assert.deepEqual(texts(2), ["a", "bc"]);
  await many(3, { timeout: 20_000, stall: 5 });
  assert.deepEqual(texts(3), ["a", "bc", ""]);
  await many(4, { timeout: 5 });
  assert.deepEqual(texts(4), ["a", "bc", ""]);
});

test("a block that cannot be read spoils its own message alone", async (t) => {
  const bad = ["NATS/1.0\r\nX Y: 1\r\n\r\n", "NATS/1.0\r\nX: a\nb\r\n\r\n", "NATS/1.0 -404 Not Found\r\n\r\n"];
  const frame = (to: string, sid: string, block: string, body: string) => `HMSG ${to} ${sid} ${block.length} ${block.length + body.length}\r\n${block}${body}\r\n`;
  const sids = new Map<string, string>();
  Scripted.servers = [(line) => {
    const [verb, subject, reply, last] = line.split(" ");
    if (verb === "SUB") sids.set(subject!, reply!);
    if (verb !== "HPUB") return willing(line);
    const mux = [...sids].find(([subject]) => subject.endsWith("*"))![1];
    const [kind, which, body = ""] = subject!.split(".");
    const block = which === "good" ? "NATS/1.0\r\n\r\n" : bad[Number(which)]!;
    if (kind === "ask") return frame(reply!, mux, block, body);
    if (kind === "many") return frame(reply!, mux, block, body) + frame(reply!, mux, "NATS/1.0\r\n\r\n", "after");
    return frame("news", sids.get("news")!, block, body) + frame("news", sids.get("news")!, "NATS/1.0\r\n\r\n", "after") + frame(last === undefined ? "none" : reply!, mux, "NATS/1.0\r\n\r\n", "");
  }];
  const s = serve(t, { now: alice });
  await s.ask({ op: "start", limits: { timeout: 1_000 } });
  await s.ask({ op: "subscribe", subject: "news", subscription: 7 });
  for (const which of bad.keys()) {
    for (const body of ["", ".body"]) {
      const { error } = await s.ask(request(`ask.${which}${body}`));
      assert.equal(error?.code, "unreadable", bad[which]! + body);
      assert.ok((await s.ask(request("ask.good.a"))).value, "the next one is read");
      for (const op of ["many", "news"]) {
        s.events.length = 0;
        if (op === "many") await s.ask({ op: "requestMany", subject: `many.${which}${body}`, headers: { A: "b" }, data: new Uint8Array(0), receiver: 8, enough: { timeout: 20_000, max: 1 } });
        else await s.ask(request(`news.${which}${body}`));
        await s.ask({ op: "session" });
        const told = s.events as { event: string; code?: string; subscription?: number; message: unknown }[];
        assert.deepEqual(told.map(({ event, code, subscription }) => [event, code, subscription]), [["error", "unreadable", op === "many" ? 8 : 7], ["message", undefined, op === "many" ? 8 : 7]], `${op} ${bad[which]!}${body}`);
      }
    }
  }
});

test("a line of the protocol that is too long is not sent, and does not end the connection", async (t) => {
  const lines: string[] = [];
  Scripted.servers = [(line) => {
    lines.push(line);
    if (line.slice(line.indexOf(" ") + 1).length > 4096) return undefined; // as the server does
    return answering("")(line);
  }];
  const s = serve(t, { now: alice });
  await s.ask({ op: "start", limits: { timeout: 1_000 } });
  const data = new Uint8Array(0), headers = { A: "b" };
  for (const name of ["a".repeat(5_000), "a".repeat(4_090), "ä".repeat(2_100)]) {
    for (const call of [
      request(name), { op: "publish", subject: name, headers, data }, { op: "publish", subject: "a", reply: name, headers, data },
      { op: "requestMany", subject: name, headers, data, receiver: 5, enough: { timeout: 1_000 } },
      { op: "subscribe", subject: name, subscription: 6 }, { op: "subscribe", subject: "a", queue: name, subscription: 7 },
      { op: "publish", subject: name.slice(0, name.length / 2), reply: name.slice(name.length / 2), headers, data },
    ]) assert.equal((await s.ask(call)).error?.code, "too-large", call.op);
  }
  for (const call of [request("a"), { op: "requestMany", subject: "a", headers, receiver: 5, enough: { timeout: 1_000 } }]) { // the server takes 1000 bytes
    assert.deepEqual((await s.ask({ ...call, data: new Uint8Array(1_001) })).error, { code: "too-large", message: "the message is larger than the server takes" });
  }
  assert.ok((await s.ask(request("a".repeat(4_000)))).value, "what fits is sent");
  assert.ok("value" in await s.ask({ op: "subscribe", subject: "a".repeat(4_060), subscription: 8 }));
  assert.ok(lines.every((line) => line.length < 4_150));
  assert.deepEqual(s.events.map(({ state }) => state), ["connecting", "connected"]);
});

test("a subscription that the page does not want any more when it is made is not kept", async (t) => {
  const lines: string[] = [];
  Scripted.servers = [(line) => (lines.push(line), willing(line))];
  const s = serve(t, { now: alice });
  const made = s.ask({ op: "start", limits: {} }).then(() => {}), sub = s.ask({ op: "subscribe", subject: "a", subscription: 7 }); // its call is the second
  await s.ask({ op: "abort", call: 2 });
  await made;
  assert.equal((await sub).error?.code, "closed");
  await s.ask({ op: "flush" });
  const at = lines.findIndex((line) => line.startsWith("SUB a"));
  assert.ok(at < 0 || lines.includes(`UNSUB ${lines[at]!.split(" ")[2]}`), lines.join());
});

test("a sign-out that hangs takes no more time from a lost request than it has", async (t) => {
  Scripted.servers = [(line) => (line.startsWith("HPUB cut") ? undefined : willing(line))];
  let leave = () => {};
  const held = new Promise<void>((resolve) => { leave = resolve; });
  const s = serve(t, { now: alice, logout: () => held });
  await s.ask({ op: "start", limits: {} });
  const out = s.ask({ op: "logout" });
  for (const call of [request("cut", 100), { ...request("cut"), op: "requestMany", receiver: 1, enough: { timeout: 100 } }]) {
    assert.equal((await s.ask(call)).error?.code, "lost");
    await until(() => s.events.at(-1)?.state === "connected");
  }
  leave();
  await out;
});

test("the end of a session that is told of while the page starts is looked at after that", async (t) => {
  let tell = (_: Visitor) => {};
  const visitor: { now: Visitor | Promise<Visitor> } = { now: new Promise<Visitor>((resolve) => { tell = resolve; }) };
  Scripted.servers = [willing];
  const s = serve(t, visitor), started = s.ask({ op: "start", limits: {} });
  await s.ask({ op: "abort", call: 99 }); // it has arrived
  visitor.now = alice;
  const checked = s.server.recheck();
  setTimeout(() => tell(alice), 20);
  await Promise.all([started, checked]);
  await until(() => s.events.some(({ state }) => state === "connected"));
  assert.deepEqual(s.events.map(({ state }) => state), ["connecting", "connected"]);
});

test("subjects that messages cannot be sent to, and those that the server does not subscribe to, are invalid", async (t) => {
  const lines: string[] = [];
  Scripted.servers = [(line) => (lines.push(line), willing(line))];
  const s = serve(t, { now: alice });
  await s.ask({ op: "start", limits: { timeout: 1_000 } });
  const data = new Uint8Array(0), headers = { A: "b" };
  for (const subject of ["bad.*", "bad.>", "*", ">", "bad.*.x", "bad..x", ".bad", "bad.", ""]) {
    for (const call of [request(subject), { op: "publish", subject, headers, data }, { op: "publish", subject: "a", reply: subject, headers, data }, { ...request(subject), op: "requestMany", receiver: 5, enough: { timeout: 1_000 } }]) {
      assert.equal((await s.ask(call)).error?.code, "invalid", `${call.op} ${subject}`);
    }
  }
  for (const subject of ["bad.>.x", ">.bad", "bad..x", ".bad", "bad.", ""]) assert.equal((await s.ask({ op: "subscribe", subject, subscription: 6 })).error?.code, "invalid", subject);
  for (const subject of ["a.*", "a.>", ">", "*", "a*.>b.c"]) assert.ok("value" in await s.ask({ op: "subscribe", subject, queue: null, subscription: 7 }), subject);
  assert.ok("value" in await s.ask({ op: "publish", subject: "a*.b>", reply: null, headers, data }));
  assert.ok(!lines.some((line) => line.includes("bad")), lines.join());
});

test("calls that waited for the connection go to the server in their order", async (t) => {
  const lines: string[] = [];
  Scripted.servers = [(line) => (lines.push(line), answering("")(line))];
  const s = serve(t, { now: alice });
  const starting = s.ask({ op: "start", limits: {} });
  const publish = (subject: string) => ({ op: "publish", subject, headers: {}, data: new Uint8Array(0) });
  const calls = [publish("p1"), { op: "subscribe", subject: "s2", subscription: 1 }, publish("p3"), request("r4"), publish("p5"), { op: "subscribe", subject: "s6", subscription: 2 }, request("r7"), publish("p8")];
  await Promise.all([starting, ...calls.map((call) => s.ask(call))]);
  assert.deepEqual(lines.join(" ").match(/\b[psr]\d\b/g)?.join(" "), "p1 s2 p3 r4 p5 s6 r7 p8");
});

test("flush() says PING behind a message that was published before, also where both waited for the connection", async (t) => {
  const lines: string[] = [];
  Scripted.servers = [(line) => {
    if (/^(H?PUB|PING)/.test(line)) lines.push(line.split(" ")[0]!);
    return willing(line);
  }];
  const s = serve(t, { now: alice });
  const starting = s.ask({ op: "start", limits: {} });
  const all = [s.ask({ op: "publish", subject: "a", headers: {}, data: new Uint8Array(0) }), s.ask({ op: "flush" })];
  await Promise.all([starting, ...all]);
  assert.deepEqual(lines.slice(-2).map((verb) => verb.replace("HPUB", "PUB")), ["PUB", "PING"], "the first PING is that of CONNECT");
});
