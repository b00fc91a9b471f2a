// The table in docs/browser.md of differences to fetch(), row by row.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { alice, Visitor } from "./visitor.mjs";

const text = readFileSync(new URL("../../../docs/browser.md", import.meta.url), "utf8");
const rows = [...text.matchAll(/^\|[^|\n]*\|[^|\n]*\| `([^`\n]+)` \| `([^`\n]+)` \|$/gm)].map(([, code, result]) => ({ code, result }));

export const checks = {
  async "each line of the table of differences gives what it says"(env) {
    assert.ok(rows.length >= 15, `the table has ${rows.length} rows, want 15 or more`);
    const v = await Visitor.open(env, alice);
    await v.start();
    for (const { code, result } of rows) assert.deepEqual(await v.run(`(async () => (${code}))()`), JSON.parse(result), code);
  },
};
