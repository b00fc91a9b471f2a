import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { afterWaking, duration, within } from "../src/waking.ts";
import { freeze } from "./scripted.ts";

test("a time-out comes in time, or not at all", async () => {
  const late = () => new Error("late");
  assert.equal(await within(20_000, Promise.resolve(1), late), 1);
  await assert.rejects(within(20_000, Promise.reject(new Error("own")), late), /own/);
  await assert.rejects(within(5, new Promise(() => {}), late), /late/);
  let called = 0;
  afterWaking(1, () => called++)();
  await within(50, new Promise(() => {}), late).catch(() => {});
  assert.equal(called, 0, "it was cancelled");
  assert.equal(duration(Infinity), 2 ** 31 - 1);
  afterWaking(Infinity, () => called++)();
});

test("what comes while the process is frozen is not late", async () => {
  const came = new Promise((resolve) => setTimeout(() => setTimeout(resolve, 10, "here"), 100));
  const got = within(400, came, () => new Error("late"));
  await new Promise((resolve) => setTimeout(resolve, 20));
  freeze(3_000);
  assert.equal(await got, "here");
});

/** A clock that goes on as the test says, and the timers that were set by it. It is so slow that no timer of before is used. */
function clock(t: TestContext) {
  const { setTimeout, clearTimeout } = globalThis, set = new Map<number, { at: number; call: () => void }>();
  let now = -1_000_000_000, newest = 0, sets = 0;
  t.mock.method(performance, "now", () => now);
  t.after(() => Object.assign(globalThis, { setTimeout, clearTimeout }));
  Object.assign(globalThis, {
    setTimeout: (call: () => void, ms: number) => (sets++, set.set(++newest, { at: now + ms, call }), newest),
    clearTimeout: (id: number) => set.delete(id),
  });
  return {
    set, sets: () => sets, now: () => now,
    /** Lets time pass. late: no timer fires before the end of it. */
    pass(ms: number, late = false) {
      const end = now + ms;
      if (late) now = end;
      for (;;) {
        const [next] = [...set].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at);
        if (!next) break;
        set.delete(next[0]);
        now = Math.max(now, next[1].at);
        next[1].call();
      }
      now = end;
    },
  };
}

test("time-outs that are cancelled leave their timers to those after them, which come in their own time", (t) => {
  const time = clock(t), called: [string, number][] = [], began = time.now();
  const begin = (name: string, ms: number) => afterWaking(ms, () => called.push([name, time.now() - began]));
  const timers = () => [time.sets(), time.set.size];
  for (let i = 0; i < 1_000; i++) {
    begin("cancelled", 20_000)();
    time.pass(1); // so that the timers of some of them fire
  }
  assert.deepEqual(timers(), [1, 1], "one timer, of 2 s");
  const first = begin("first", 1_000); // in steps of 250 ms: the timer that is left would fire too late
  assert.deepEqual(timers(), [2, 2]);
  begin("second", 20_000);
  assert.deepEqual(timers(), [2, 2], "with the timer of before, which fires sooner");
  time.pass(500);
  first();
  first(); // does nothing
  begin("third", 30_000);
  first(); // nor does it to whom its timer went
  time.pass(60_000);
  assert.deepEqual(called, [["second", 21_000], ["third", 31_500]]);
  assert.equal(time.set.size, 0, "nothing is left");
  const many = Array.from({ length: 100 }, () => begin("cancelled", 20_000));
  for (const cancel of many) cancel();
  assert.ok(time.set.size <= 16, `${time.set.size} are kept`);
  begin("long", Infinity)();
  assert.ok(time.set.size <= 16, "but none for days");
  time.pass(60_000);
  assert.equal(time.set.size, 0);
  assert.equal(called.length, 2);
});

test("a time-out with the timer of another tells too that the process was frozen", (t) => {
  const time = clock(t);
  let called = 0;
  afterWaking(20_000, () => called++)();
  time.pass(1_500);
  afterWaking(20_000, () => called++);
  time.pass(3_600_000, true);
  time.pass(19_000);
  assert.equal(called, 0);
  time.pass(2_000);
  assert.equal(called, 1);
});
