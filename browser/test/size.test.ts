import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

const compressed = (name: string) => gzipSync(readFileSync(`dist/${name}`), { level: 6 }).length;

test("page and worker are under 42 kB, compressed", () => {
  const sizes = ["stamp.js", "stamp.worker.js"].map(compressed);
  const total = sizes.reduce((a, b) => a + b);
  console.log(`stamp.js ${sizes[0]}, stamp.worker.js ${sizes[1]}, together ${total} bytes`);
  assert.ok(total < 42_000);
});

test("the hooks for React are under 2 kB, compressed, and bring neither React nor the rest of the package", () => {
  const size = compressed("react.js");
  assert.ok(size < 2_000, `${size} bytes`);
  assert.deepEqual([...readFileSync("dist/react.js", "utf8").matchAll(/from"([^"]*)"/g)].map(([, from]) => from), ["react"]);
});
