import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { Asked } from "../src/messages.ts";
import type { Site, Visitor } from "../src/site.ts";

// A worker's scope, as far as it is used.
Object.assign(globalThis, { self: { addEventListener() {} } });
const { Server } = await import("../src/port.ts");

/** A server over a site that says what visitor is, and the page's end of the port. */
function serve(t: TestContext, visitor: { now: Visitor }) {
  const site = { tickets: false, key: "required", websocket: "ws://127.0.0.1:1", visitor: async () => visitor.now, logout: async () => ({}) };
  const { port1, port2 } = new MessageChannel();
  t.after(() => port1.close()); // an open one keeps the process
  let told = 0, id = 0;
  const events: { event: string; state?: string; reason?: string }[] = [];
  const waiting = new Map<number, (reply: any) => void>();
  port1.onmessage = ({ data }) => ("id" in data ? waiting.get(data.id)?.(data) : events.push(data));
  const server = new Server(port2, site as unknown as Site, { tell: () => { told++; } });
  return {
    server, events,
    told: () => told,
    ask: (call: object) => new Promise<any>((resolve) => {
      waiting.set(++id, resolve);
      port1.postMessage({ ...call, id } as Asked);
    }),
  };
}

const alice: Visitor = { authenticated: true, expires: 1, claims: { sub: "alice" }, inbox: "_INBOX.alice" };

test("what the page may know of a visitor, and no more", async (t) => {
  const s = serve(t, { now: { ...alice, pass: "secret" } as Visitor });
  const known = { authenticated: true, expires: 1, claims: { sub: "alice" } };
  assert.deepEqual((await s.ask({ op: "session" })).value, known);
  assert.deepEqual((await s.ask({ op: "start", limits: {} })).value, { ...known, login: undefined, key: false });
  await s.ask({ op: "logout" });
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
  for (const call of [{}, { op: 1 }, { op: "constructor" }, { op: "start" }, { op: "start", limits: { concurrency: -1 } }, { op: "subscribe" }, { op: "unsubscribe" }, { op: "abort" }, { op: "publish" }]) {
    const reply = await s.ask(call);
    assert.ok("value" in reply || typeof reply.error.message === "string", JSON.stringify(call));
  }
});
