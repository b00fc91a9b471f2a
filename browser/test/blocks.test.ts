import assert from "node:assert/strict";
import { test } from "node:test";
import { readBlock, writtenHeaders } from "../src/blocks.ts";

const read = (text: string) => readBlock(new TextEncoder().encode(text));
const parts = (text: string) => {
  const { code, description, unreadable, headers } = read(text);
  return { code, description, unreadable, headers: [...headers] };
};

test("a block is read as the client reads it", () => {
  assert.deepEqual(parts("NATS/1.0\r\nA: 1\r\nb:2 \r\nA: 3\r\na: α:β\r\n\r\n"), { code: 0, description: "", unreadable: "", headers: [["A", ["1", "3"]], ["b", ["2"]], ["a", ["α:β"]]] });
  assert.deepEqual(parts("NATS/1.0 404 No Messages\r\n\r\n"), { code: 404, description: "No Messages", unreadable: "", headers: [] });
  assert.deepEqual(parts("NATS/1.0 503\r\n\r\n"), { code: 503, description: "", unreadable: "", headers: [] });
  assert.deepEqual(parts("NATS/1.0\r\n__proto__: x\r\n\r\n").headers, [["__proto__", ["x"]]]);
});

test("what cannot be read is said, and never thrown", () => {
  for (const block of [
    "NATS/1.0\r\nX Y: 1\r\n\r\n", "NATS/1.0\r\nX: a\nY: b\r\n\r\n", "NATS/1.0\r\nX: a\rb\r\n\r\n", "NATS/1.0\r\nÄ: 1\r\n\r\n", "NATS/1.0\r\n: 1\r\n\r\n",
    "NATS/1.0\r\nno colon\r\n\r\n", "NATS/1.0\nA: 1\r\n\r\n", "NATS/2.0\r\n\r\n", "", "\r\n", "NATS/1.0 -1\r\n\r\n", "NATS/1.0 -404 Not Found\r\n\r\n",
    "NATS/1.0 abc\r\n\r\n", "NATS/1.0 4e2\r\n\r\n", "NATS/1.0 A: b\r\n\r\n", "NATS/1.0200\r\n\r\n", "NATS/1.0 99999999999999999999\r\n\r\n",
    "NATS/1.0 0200\r\n\r\n", "NATS/1.0 000\r\n\r\n", "NATS/1.0 20\r\n\r\n", "NATS/1.0 200X\r\n\r\n", "NATS/1.0 200 X\rY\r\n\r\n", "NATS/1.0X\r\n\r\n",
  ]) {
    const { unreadable, headers } = read(block);
    assert.notEqual(unreadable, "", JSON.stringify(block));
    assert.deepEqual([...headers], [], "nothing of it is passed on");
  }
});

test("nothing of a block is in what is said of it", () => {
  for (const block of [
    "NATS/1.0\nSet-Cookie: SECRET=1\n\n", "NATS/1.0\nX-SECRET: s\r\n\r\n", "NATS/1.0\rX-SECRET: s\r\n\r\n", "NATS/1.0 200 X\nX-SECRET: s\r\n\r\n", "X-SECRET: s\r\n\r\n",
    "NATS/1.0 Authorization: Bearer SECRET", "NATS/1.0\r\nX-SECRET: a\rb\r\n\r\n", "NATS/1.0\r\nA SECRET: b\r\n\r\n", "NATS/1.0\r\nSECRET\r\n\r\n", "SECRET", "NATS/1.0 SECRET 200\r\n\r\n",
  ]) {
    const { unreadable, code, description } = read(block);
    assert.notEqual(unreadable, "", JSON.stringify(block));
    assert.deepEqual([unreadable.includes("SECRET"), code, description], [false, 0, ""], unreadable);
  }
});

/** How often a map is asked, which is what is done for each line. */
function asked(run: () => void): number {
  let count = 0;
  const { keys, get } = Map.prototype;
  Map.prototype.keys = function (this: Map<unknown, unknown>) {
    count += this.size; // each of them is looked at
    return keys.call(this);
  };
  Map.prototype.get = function (this: Map<unknown, unknown>, key: unknown) {
    count++;
    return get.call(this, key);
  };
  try {
    run();
  } finally {
    Object.assign(Map.prototype, { keys, get });
  }
  return count;
}

test("twice as many headers are twice the work, read or written", () => {
  const names = (n: number) => Array.from({ length: n }, (_, i) => `X-${i}`);
  for (const work of [
    (n: number) => void read(`NATS/1.0\r\n${names(n).map((name) => `${name}: v\r\n`).join("")}\r\n`),
    (n: number) => void writtenHeaders(Object.fromEntries(names(n).map((name) => [name, "v"]))),
  ]) {
    const once = asked(() => work(1000)), twice = asked(() => work(2000));
    assert.ok(once > 0 && twice <= 2.1 * once, `${once}, ${twice}`);
  }
});

test("what a header cannot hold is an error that names it", () => {
  assert.equal(writtenHeaders({ A: ["1", " 2 "], b: "α" }).toString(), "NATS/1.0\r\nA: 1\r\nA: 2\r\nb: α\r\n\r\n");
  for (const [name, value] of [["a b", ""], ["", ""], ["a:", ""], ["ä", ""], ["a", "x\ny"], ["a", "x\ry"]] as const) {
    assert.throws(() => writtenHeaders({ [name]: value }), { code: "invalid" });
  }
});
