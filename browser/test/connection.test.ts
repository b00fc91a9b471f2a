import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import * as v8 from "node:v8";
import { StampError } from "../src/errors.ts";
import type { Site, Visitor } from "../src/site.ts";
import { Scripted, until, willing, type Server } from "./scripted.ts";

Object.assign(globalThis, { self: { addEventListener() {} }, WebSocket: Scripted });
const { Connection } = await import("../src/connection.ts");

const alice: Visitor = { authenticated: true, inbox: "_INBOX.alice" };

/** A connection over a site where someone is signed in; states and refusals are what it tells. */
function connected(t: TestContext, servers: Server[], { checks, now = () => alice, more = {} }: { checks?: { every: number; within: number }; now?: () => Visitor; more?: object } = {}) {
  Scripted.servers = servers;
  const site = { tickets: false, key: "required", websocket: "ws://127.0.0.1:1", visitor: async () => now(), ...more };
  const states: string[] = [], refused: string[] = [];
  const connection = new Connection(site as unknown as Site, (state, reason) => states.push(`${state}: ${reason}`), (err) => refused.push(err.message), checks);
  t.after(() => connection.stop("closed", ""));
  connection.start(alice);
  return { connection, states, refused };
}

const connect = (t: TestContext, ...servers: Server[]) => connected(t, servers).connection;

/** How many objects of a class there are, after a collection. */
const { queryObjects } = v8 as unknown as { queryObjects(of: Function, options: { format: "count" }): number };

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
  const { nc } = await connection.ready(20_000);
  now = { authenticated: true, inbox: "_INBOX.bob" };
  const before = said;
  nc.publish("cut");
  await until(() => states.some((state) => state.startsWith("signed-out")));
  assert.equal(states.at(-1), "signed-out: the session is another one than before");
  assert.ok(said - before <= 2, "nothing was said to the server as somebody else");
});

test("what is refused of a subscription is told once", async (t) => {
  const heard: unknown[] = [];
  const { connection, refused } = connected(t, [(line) => (line.startsWith("SUB") ? `-ERR 'Permissions Violation for Subscription to "a"'\r\n` : willing(line))]);
  await assert.rejects(connection.subscribe(1, { subject: "a", deliver: (err) => heard.push(err) }, 20_000), /Permissions Violation/);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual([heard, refused], [[], []]);
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
  const { nc } = await connection.ready(20_000), lost = nc.closed(), { then } = lost;
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

test("nothing is kept of calls that had no connection in time", async (t) => {
  const { connection } = connected(t, [() => undefined]);
  const late = async (count: number) => {
    const all = Array.from({ length: count }, (_, id) => [connection.ready(1), connection.flush(1), connection.subscribe(id, subscribed, 1)]).flat();
    for (const { status } of await Promise.allSettled(all)) assert.equal(status, "rejected");
  };
  await late(10);
  const before = queryObjects(Promise, { format: "count" });
  await late(1_000);
  const more = queryObjects(Promise, { format: "count" }) - before;
  assert.ok(more < 500, `${more} promises more`);
});

test("a flush, a subscription and a request tell alike why there is no connection", async (t) => {
  const { connection, states } = connected(t, [(line) => (line.startsWith("CONNECT") ? "-ERR 'Authorization Violation'\r\n" : "")]);
  await until(() => states.some((state) => state.startsWith("refused")));
  await Promise.all([connection.flush(20), connection.ready(20), connection.subscribe(1, subscribed, 20)].map((call) => assert.rejects(call, { code: "refused" })));
});

/** Refuses the subscriptions to some subjects with these words. */
const refusing = (refusals: Record<string, string>): Server => (line) => {
  const [verb, subject] = line.split(" ");
  const words = verb === "SUB" ? refusals[subject!] : undefined;
  return words === undefined ? willing(line) : `-ERR '${words}'\r\n`;
};

test("whatever the server refuses a subscription with, it is that subscription's error", async (t) => {
  const words = { full: "maximum subscriptions exceeded", bad: "Invalid Subject", 'a"b': 'Permissions Violation for Subscription to "a\\"b"', "a\x7fb": 'Permissions Violation for Subscription to "a\\x7fb"' };
  const { connection, refused } = connected(t, [refusing(words)]);
  await connection.ready(20_000);
  const subjects = ["good", ...Object.keys(words), "better"], heard: unknown[] = [];
  const outcomes = await Promise.all(subjects.map((subject, id) => connection.subscribe(id, { subject, deliver: (err) => heard.push(err) }, 20_000).then(() => "agreed", (err) => err.message)));
  assert.deepEqual(outcomes, ["agreed", ...Object.values(words), "agreed"]);
  await connection.flush(20_000);
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual([heard, refused], [[], []]);
});

test("a subscription that is refused on a connection that is then lost is refused at once", async (t) => {
  let greeted = false;
  const first: Server = (line) => {
    if (line.startsWith("SUB")) return `-ERR 'Permissions Violation for Subscription to "a"'\r\n`;
    if (line !== "PING") return "";
    if (greeted) return undefined; // the connection is lost, and the PONG has not come
    greeted = true;
    return "PONG\r\n";
  };
  const { connection, states } = connected(t, [first, willing]);
  await assert.rejects(connection.subscribe(1, subscribed, 5_000), /Permissions Violation/i);
  assert.ok(states.some((state) => state.startsWith("lost")), `the connection was lost: ${states.join(", ")}`);
});

test("what the next server refuses of a subscription ends it", async (t) => {
  const lost: Server = (line) => (line.startsWith("PUB") ? undefined : willing(line));
  const { connection, refused } = connected(t, [lost, refusing({ second: "maximum subscriptions exceeded" })]);
  const heard: Record<string, string[]> = {};
  for (const [id, subject] of ["first", "second", "third"].entries()) {
    await connection.subscribe(id, { subject, deliver: (err) => (heard[subject] ??= []).push(err!.message) }, 20_000);
  }
  (await connection.ready(20_000)).nc.publish("cut");
  await until(() => Object.keys(heard).length > 0);
  await connection.flush(20_000);
  assert.deepEqual([heard, refused], [{ second: ["maximum subscriptions exceeded"] }, []]);
});

test("whatever else the server refuses is told", async (t) => {
  const { connection, refused } = connected(t, [(line) => (line.startsWith("PUB") ? "-ERR 'Invalid Publish Subject'\r\n-ERR 'Something New'\r\n" : willing(line))]);
  const { nc } = await connection.ready(20_000);
  nc.publish("a");
  await connection.flush(20_000);
  await until(() => refused.length === 2);
  assert.deepEqual(refused, ["Invalid Publish Subject", "Something New"]);
});

test("where the site refuses a ticket, it is asked whether the session lives before the page is told that it is over", async (t) => {
  let visitor: Visitor = alice;
  const more = { tickets: true, key: "optional", ticket: async () => { throw new StampError("refused", "the site gives no ticket: status 403"); } };
  const { connection, states } = connected(t, [willing], { now: () => visitor, more });
  await until(() => states.includes("refused: the site gives no ticket: status 403"));
  assert.equal(connection.ended, undefined);
  visitor = { authenticated: false };
  await until(() => states.at(-1) === "signed-out: there is no session");
});
