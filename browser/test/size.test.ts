import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

test("page and worker are under 60 kB, compressed", () => {
  const sizes = ["stamp.js", "stamp.worker.js"].map((name) => gzipSync(readFileSync(`dist/${name}`), { level: 6 }).length);
  const total = sizes.reduce((a, b) => a + b);
  console.log(`stamp.js ${sizes[0]}, stamp.worker.js ${sizes[1]}, together ${total} bytes`);
  assert.ok(total < 60_000);
});
