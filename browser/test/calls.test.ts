import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { Calls } from "../src/calls.ts";
import type { StampError } from "../src/errors.ts";
import type { Call, Limits } from "../src/messages.ts";
import { freeze } from "./scripted.ts";

/** Calls to a worker that never answers, or to which it is told what to answer. */
function silent(t: TestContext, limits: Limits) {
  const calls = new Calls(limits), posted: any[] = [];
  const { port1, port2 } = new MessageChannel();
  port2.on("message", (data) => posted.push(data));
  t.after(() => port1.close());
  const ask = (call: object, timeout?: number) => calls.ask<unknown>(port1 as unknown as MessagePort, call as Call, timeout);
  return { calls, posted, ask };
}

const failed = (reply: Promise<unknown>) => reply.then(() => "answered", (err: StampError) => `${err.code}: ${err.message}`);
const request = { op: "request", subject: "a", headers: {}, data: new Uint8Array(0) };

test("whatever is asked ends in its time, when the worker never answers", async (t) => {
  const { calls, ask, posted } = silent(t, { timeout: 40, timeoutAfter: 10 });
  const all = await Promise.all([{ op: "start" }, { op: "session" }, { op: "logout" }, { op: "publish" }, { op: "subscribe" }, { op: "unsubscribe" }, { op: "abort" }, request].map((call) => failed(ask(call).reply)));
  assert.deepEqual([...new Set(all)], ["timeout: timed out after 40 ms: the worker does not answer"]);
  assert.equal(calls.silent, true);
  assert.equal(await failed(ask(request).reply), "timeout: timed out after 10 ms: the worker does not answer", "as after other time-outs");
  assert.equal(await failed(ask({ op: "session" }).reply), "timeout: timed out after 40 ms: the worker does not answer", "the site is not what was slow");
  assert.ok(posted.some(({ op, call }) => op === "abort" && call === 8), "the worker is told, where it lives");
  calls.heard();
  assert.equal(calls.silent, false);
});

test("the time of a request begins with its turn in the worker", async (t) => {
  const { calls, ask } = silent(t, { timeout: 300, timeoutAfter: 300, ordered: true });
  const first = ask(request), ended: string[] = [];
  const second = failed(ask(request, 20).reply).then((how) => ended.push(how));
  await new Promise((resolve) => setTimeout(resolve, 1_150)); // longer than the second's time and margin
  assert.deepEqual(ended, [], "it waits behind the first in the worker");
  calls.receive({ id: first.id, value: 1 });
  assert.equal(await first.reply, 1);
  await second;
  assert.deepEqual(ended, ["timeout: timed out after 20 ms: the worker does not answer"]);
});

test("a reply that waits behind a frozen process is not lost", async (t) => {
  const { calls, ask } = silent(t, { timeout: 300 });
  const { id, reply } = ask(request);
  setTimeout(() => setTimeout(() => calls.receive({ id, value: "here" }), 10), 100);
  await new Promise((resolve) => setTimeout(resolve, 20));
  freeze(4_000);
  assert.equal(await reply, "here");
});

test("turns come in the order of the calls, and those that have ended give theirs up", async (t) => {
  const { calls, ask } = silent(t, { timeout: 200, timeoutAfter: 200, concurrency: 2 });
  const all = Array.from({ length: 6 }, () => ask(request)), ended: number[] = [];
  for (const { id, reply } of all) void reply.catch(() => ended.push(id));
  const [a, b, c, d, e, f] = all.map(({ id }) => id);
  calls.receive({ id: c!, value: 0 }); // aborted while it waits
  calls.receive({ id: b!, value: 0 }); // d has its turn
  await new Promise((resolve) => setTimeout(resolve, 1_350));
  const sorted = () => ended.sort((a, b) => a - b); // times that began together may end in any order
  assert.deepEqual(sorted(), [a, d], "e and f began when these ended");
  await Promise.allSettled(all.map(({ reply }) => reply));
  assert.deepEqual(sorted(), [a, d, e, f]);
});

test("what ends all gives no turn to those that wait", async (t) => {
  const { calls, ask } = silent(t, { concurrency: 2 });
  const all = Array.from({ length: 10_000 }, () => failed(ask(request).reply));
  calls.fail(new Error("closed"));
  assert.deepEqual([...new Set(await Promise.all(all))], ["undefined: closed"]);
});
