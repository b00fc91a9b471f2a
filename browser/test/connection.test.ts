import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { StampError } from "../src/messages.ts";
import type { Site, Visitor } from "../src/site.ts";
import { Scripted, until, willing, type Server } from "./scripted.ts";

Object.assign(globalThis, { self: { addEventListener() {} }, WebSocket: Scripted });
const { Connection } = await import("../src/connection.ts");

const alice: Visitor = { authenticated: true, inbox: "_INBOX.alice" };

/** A connection over a site where someone is signed in; states and refusals are what it tells. */
function connected(t: TestContext, servers: Server[], { checks, now = () => alice }: { checks?: { every: number; within: number }; now?: () => Visitor } = {}) {
  Scripted.servers = servers;
  const site = { tickets: false, key: "required", websocket: "ws://127.0.0.1:1", visitor: async () => now() };
  const states: string[] = [], denied: string[] = [];
  const connection = new Connection(site as unknown as Site, (state, reason) => states.push(`${state}: ${reason}`), (err) => denied.push(err.message), checks);
  t.after(() => connection.stop("closed", ""));
  connection.start(alice);
  return { connection, states, denied };
}

const connect = (t: TestContext, ...servers: Server[]) => connected(t, servers).connection;

const subscribed = { subject: "a", deliver() {} };

test("a connection that is lost while it subscribes leaves that to the next one", async (t) => {
  const lines: string[] = [];
  let connected = false;
  const lost: Server = (line) => {
    if (line !== "PING") return line.startsWith("SUB") ? undefined : "";
    if (connected) return "";
    connected = true;
    return "PONG\r\n";
  };
  const connection = connect(t, lost, (line) => (lines.push(line), willing(line)));
  await connection.subscribe(1, subscribed, 20_000);
  assert.deepEqual(lines.filter((line) => line.startsWith("SUB")), ["SUB a 1"]);
});

test("a server that does not agree in time is an error, and the subscription is gone", async (t) => {
  const lines: string[] = [];
  let pings = 0;
  const connection = connect(t, (line) => (lines.push(line), line === "PING" && pings++ === 0 ? "PONG\r\n" : ""));
  await connection.ready(20_000);
  await assert.rejects(connection.subscribe(1, subscribed, 50), (err: StampError) => err.code === "timeout");
  assert.equal(lines.at(-1), "UNSUB 1");
});

test("a server that does not answer any more is given up, and another connection made", async (t) => {
  let pings = 0;
  const gone: Server = (line) => (line === "PING" && pings++ === 0 ? "PONG\r\n" : "");
  const { states } = connected(t, [gone, willing], { checks: { every: 20, within: 20 } });
  await until(() => states.filter((state) => state === "connected: ").length >= 2);
  assert.ok(states.includes("lost: the server does not answer"), states.join());
});

test("who has signed in meanwhile, where the cookie alone opens connections, is not the visitor of before", async (t) => {
  let now = alice, said = 0;
  const lost: Server = (line) => (said++, line.startsWith("PUB") ? undefined : willing(line));
  const { connection, states } = connected(t, [lost], { now: () => now });
  const nc = await connection.ready(20_000);
  now = { authenticated: true, inbox: "_INBOX.bob" };
  const before = said;
  nc.publish("cut");
  await until(() => states.some((state) => state.startsWith("signed-out")));
  assert.equal(states.at(-1), "signed-out: the session is another one than before");
  assert.ok(said - before <= 2, "nothing was said to the server as somebody else");
});

test("what is refused of a subscription is told once", async (t) => {
  const heard: unknown[] = [];
  const { connection, denied } = connected(t, [(line) => (line.startsWith("SUB") ? `-ERR 'Permissions Violation for Subscription to "a"'\r\n` : willing(line))]);
  await assert.rejects(connection.subscribe(1, { subject: "a", deliver: (err) => heard.push(err) }, 20_000), /Permissions Violation/);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual([heard, denied], [[], []]);
});

test("a connection that is closed while it is made, without a word, is tried again soon", async (t) => {
  const away: Server = (line) => (line.startsWith("CONNECT") ? undefined : willing(line));
  const { states } = connected(t, [away, away, away, willing]);
  await until(() => states.includes("connected: "));
  assert.ok(states.some((state) => state.startsWith("lost")), states.join());
  assert.ok(!states.some((state) => state.startsWith("signed-out")), states.join());
});

test("calls leave nothing with the connection", async (t) => {
  const connection = connect(t, willing);
  const nc = await connection.ready(20_000), lost = nc.closed(), { then } = lost;
  let waiting = 0;
  Object.assign(lost, { then(...args: Parameters<typeof then>) { waiting++; return then.apply(lost, args); } });
  Object.assign(nc, { closed: () => lost });
  for (let id = 1; id <= 20; id++) {
    await connection.flush(20_000);
    await connection.subscribe(id, subscribed, 20_000);
    await connection.drain(id, 20_000);
  }
  assert.equal(waiting, 0);
});
