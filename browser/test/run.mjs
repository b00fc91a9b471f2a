// Runs test/*.test.ts, or those whose name has the argument in it, with Node's test runner. They are bundled first: older Nodes do not read TypeScript.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = mkdtempSync(join(here, "..", "node_modules", ".tests-"));
try {
  const tests = readdirSync(here).filter((name) => name.endsWith(".test.ts") && name.includes(process.argv[2] ?? ""));
  await build({ entryPoints: tests.map((name) => join(here, name)), bundle: true, platform: "node", format: "esm", packages: "external", outdir: out, outExtension: { ".js": ".mjs" }, logLevel: "warning" });
  const { status } = spawnSync(process.execPath, ["--test", "--test-reporter=spec", ...tests.map((name) => join(out, name.replace(/ts$/, "mjs")))], { stdio: "inherit", cwd: join(here, ".."), timeout: 300_000 });
  process.exitCode = status ?? 1;
} finally {
  rmSync(out, { recursive: true, force: true });
}
