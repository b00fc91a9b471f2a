import assert from "node:assert/strict";
import { test } from "node:test";
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
