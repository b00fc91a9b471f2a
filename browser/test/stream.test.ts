import assert from "node:assert/strict";
import { test } from "node:test";
import { Stream } from "../src/stream.ts";

test("what was pushed is read in its order, before and after it was asked for, and an error comes last and once", async () => {
  const stream = new Stream<number>(() => assert.fail("nobody left"));
  stream.push(1);
  stream.push(2);
  const read: unknown[] = [];
  const reading = (async () => {
    for (;;) {
      const { value, done } = await stream.next();
      if (done) return;
      read.push(value);
    }
  })();
  await new Promise((resolve) => setImmediate(resolve));
  stream.push(3);
  stream.end({ err: new Error("over") });
  stream.push(4);
  stream.end();
  await assert.rejects(reading, /over/);
  assert.deepEqual(read, [1, 2, 3]);
  assert.deepEqual(await stream.next(), { value: undefined, done: true });

  const later = new Stream<number>(() => {});
  const waiting = [later.next(), later.next(), later.next()];
  later.push(1);
  later.end({ err: new Error("over") });
  assert.deepEqual((await Promise.allSettled(waiting)).map((end) => (end.status === "fulfilled" ? end.value.value : end.reason.message)), [1, "over", undefined]);
});

test("who leaves the loop is told of, and what is kept is gone", async () => {
  let left = 0;
  const stream = new Stream<number>(() => left++);
  for (const n of [1, 2, 3]) stream.push(n);
  for await (const n of stream) if (n === 2) break;
  assert.equal(left, 1);
  assert.equal((await stream.next()).done, true);
  stream.push(4);
  assert.equal((await stream.next()).done, true);
});

test("what is read is moved once on average, however much is kept", async (t) => {
  for (const length of [1000, 2000, 4000, 8000]) {
    const stream = new Stream<number>(() => {});
    for (let n = 0; n < length; n++) stream.push(n);
    let moved = 0;
    const slice = Array.prototype.slice;
    t.after(() => { Array.prototype.slice = slice; });
    Array.prototype.slice = function (this: unknown[], from = 0) {
      moved += this.length - from;
      return slice.call(this, from);
    };
    for (let n = 0; n < length; n++) await stream.next();
    Array.prototype.slice = slice;
    assert.ok(moved > 0, "nothing was counted");
    assert.ok(moved <= length, `${moved} moved of ${length}`);
  }
});
