import assert from "node:assert/strict";
import { test } from "node:test";
import { Patience, Queue } from "../src/queue.ts";

/** A promise and what ends it. */
function held<T = void>() {
  let resolve!: (value: T) => void, reject!: (err: Error) => void;
  const promise = new Promise<T>((a, b) => { resolve = a; reject = b; });
  return { promise, resolve, reject };
}

const never = new AbortController().signal;
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("so many at once, the others in their order", async () => {
  const queue = new Queue(2), begun: number[] = [], tasks = [held(), held(), held(), held()];
  const all = tasks.map((task, n) => queue.run(() => (begun.push(n), task.promise), never));
  await settled();
  assert.deepEqual(begun, [0, 1]);
  tasks[1]!.resolve();
  await settled();
  assert.deepEqual(begun, [0, 1, 2]);
  tasks[0]!.reject(new Error("failed"));
  await assert.rejects(all[0]!, /failed/);
  await settled();
  assert.deepEqual(begun, [0, 1, 2, 3], "a failure gives its turn back");
  tasks[2]!.resolve();
  tasks[3]!.resolve();
  await Promise.all(all.slice(1));
});

test("who is aborted gives up the place in the queue, or the turn", async () => {
  const queue = new Queue(1), begun: string[] = [];
  const running = new AbortController(), waiting = new AbortController();
  const a = queue.run(() => (begun.push("a"), held().promise), running.signal);
  const b = queue.run(() => (begun.push("b"), held().promise), waiting.signal);
  const c = queue.run(async () => void begun.push("c"), never);
  waiting.abort();
  await assert.rejects(b);
  running.abort();
  await assert.rejects(a);
  await c;
  assert.deepEqual(begun, ["a", "c"]);
  await assert.rejects(queue.run(async () => void begun.push("d"), AbortSignal.abort()));
  await queue.run(async () => void begun.push("e"), never);
  assert.deepEqual(begun, ["a", "c", "e"]);
});

test("patience is short for a while after a time-out, and not for ever", () => {
  let now = 0;
  const patience = new Patience({}, () => now);
  assert.equal(patience.current, 20_000);
  patience.lost(20_000);
  assert.equal(patience.current, 1_000);
  now = 299_999;
  patience.lost(1_000); // a backlog that goes on
  assert.equal(patience.current, 1_000);
  now = 300_000;
  assert.equal(patience.current, 20_000);
  patience.lost(50); // a time of the caller's own
  assert.equal(patience.current, 20_000);
  const quick = new Patience({ timeout: 500 }, () => now);
  quick.lost(500);
  assert.equal(quick.current, 500, "never longer than before");
});

// Counted: each abort takes its own place out, and looks at no other.
test("many that wait and are aborted cost a look each", async () => {
  const queue = new Queue(1), first = held();
  const running = queue.run(() => first.promise, never);
  const looks = { n: 0 };
  const all = new AbortController();
  const { indexOf } = Array.prototype;
  Array.prototype.indexOf = function (...args: [unknown, number?]) { looks.n += this.length; return indexOf.apply(this, args); };
  try {
    const waiting = Array.from({ length: 500 }, () => queue.run(async () => {}, all.signal));
    all.abort();
    await Promise.allSettled(waiting);
  } finally {
    Array.prototype.indexOf = indexOf;
  }
  assert.ok(looks.n < 5_000, `${looks.n} looks`);
  first.resolve();
  await running;
});

// Counted: a Set or Map looks at each entry that was deleted from its beginning to find the first one that is left.
test("many that wait cost a look each when their turns come", async () => {
  const queue = new Queue(1), first = held();
  const all = [queue.run(() => first.promise, never)];
  let iterators = 0;
  const { values } = Set.prototype;
  const counted = function (this: Set<unknown>) { iterators++; return values.call(this); };
  Object.assign(Set.prototype, { values: counted, [Symbol.iterator]: counted });
  try {
    for (let n = 0; n < 1_000; n++) all.push(queue.run(async () => {}, never));
    first.resolve();
    await Promise.all(all);
  } finally {
    Object.assign(Set.prototype, { values, [Symbol.iterator]: values });
  }
  assert.equal(iterators, 0);
});
