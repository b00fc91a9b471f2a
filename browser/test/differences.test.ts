import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

test("the code in docs/browser.md's table of differences compiles", () => {
  const text = readFileSync("../docs/browser.md", "utf8");
  const codes = [...text.matchAll(/^\|[^|\n]*\|[^|\n]*\| `([^`\n]+)` \| `[^`\n]+` \|$/gm)].map(([, code]) => code);
  assert.ok(codes.length >= 15);
  const folder = mkdtempSync("test/.differences-");
  try {
    writeFileSync(join(folder, "code.ts"), `import { Stamp } from "../../src/index.ts";\nconst s = new Stamp();\n${codes.map((code) => `console.log(${code});\n`).join("")}`);
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({
      extends: "../../tsconfig.json", include: ["code.ts"], compilerOptions: { noEmit: true, emitDeclarationOnly: false, declaration: false, rootDir: "../.." },
    }));
    const { stdout, status } = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", folder], { encoding: "utf8" });
    assert.equal(status, 0, stdout);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
