// What a service sends is read in a time that grows as it does. The inputs are as large as a message may be: what grows faster
// does not end, so the test waits for the end and measures nothing.
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { answerOf } from "../src/answer.ts";
import { readBlock } from "../src/blocks.ts";
import { Message } from "../src/message.ts";

const size = 1_000_000, spaces = " ".repeat(size), bytes = (text: string) => new TextEncoder().encode(text);
const answer = (header: string, value: string, body = "") => answerOf({ subject: "a", headers: [[header, [value]]], data: bytes(body) });

/** By name, what a service may send, and what reads it. */
const cases: Record<string, () => unknown> = {
  ...Object.fromEntries(["", "200", "200 X", "x"].flatMap((words) => ["\rx", "\nx", "x", "\t", ""].flatMap((end) => ["\r\n\r\n", ""].map((rest) => {
    const block = `NATS/1.0 ${words}${spaces}${end}${rest}`;
    return [`a first line with ${JSON.stringify(words)}, spaces, ${JSON.stringify(end + rest)}`, () => readBlock(bytes(block))];
  })))),
  "line breaks in a first line": () => readBlock(bytes(`NATS/1.0${" \r".repeat(size / 2)}`)),
  "digits in a first line": () => readBlock(bytes(`NATS/1.0 ${"1".repeat(size)}`)),
  "a value of spaces": () => readBlock(bytes(`NATS/1.0\r\nA: ${spaces}\rx\r\n\r\n`)),
  "colons": () => readBlock(bytes(`NATS/1.0\r\n${"A: :".repeat(size / 4)}\r\n\r\n`)),
  "names": () => readBlock(bytes(`NATS/1.0\r\n${"A".repeat(size)}`)),
  "a Status of spaces": () => answer("Status", `${spaces}x`),
  "a Status of spaces and words": () => answer("Status", `200${spaces}x`),
  "a Status of numbers": () => answer("Status", `200 ${"x100".repeat(size / 4)}`),
  "a Status of digits": () => answer("Status", "2".repeat(size)),
  "a type of spaces": () => answer("Content-Type", `application/json${spaces}x`),
  "a type of plus signs": () => answer("Content-Type", `application/${"+json ".repeat(size / 6)}`),
  "a type of semicolons": () => answer("Content-Type", `text/plain${"; charset ".repeat(size / 10)}`),
  "a charset of spaces": () => answer("Content-Type", `text/plain; charset${spaces}=${spaces}`),
  "a charset of quotes": () => answer("Content-Type", `text/plain; charset=${'"'.repeat(size)}`),
  "a body of spaces": () => answer("A", "b", `${spaces}x`),
  "many values": () => new Message({ subject: "a", headers: [["Status", Array.from({ length: size / 10 }, () => "200 OK")]], data: bytes("") }).error,
};

if (isMainThread) {
  test("whatever a service sends is read in linear time", async () => {
    const reader = new Worker(new URL(import.meta.url));
    try {
      for (const name of Object.keys(cases)) {
        reader.postMessage(name);
        const late = new AbortController(), timer = setTimeout(() => late.abort(), 20_000);
        const read = await once(reader, "message", { signal: late.signal }).then(([what]) => what, (err) => err);
        clearTimeout(timer);
        assert.equal(read, "read", name);
      }
    } finally {
      await reader.terminate();
    }
  });
} else {
  parentPort!.on("message", (name: string) => {
    cases[name]!();
    parentPort!.postMessage("read");
  });
}
