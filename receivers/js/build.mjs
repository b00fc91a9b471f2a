// Builds dist/.
import { spawnSync } from "node:child_process";
import { copyFileSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

rmSync("dist", { recursive: true, force: true });
const compiler = fileURLToPath(new URL("./bin/tsc", import.meta.resolve("typescript/package.json")));
const { status } = spawnSync(process.execPath, [compiler], { stdio: "inherit" });
if (status !== 0) process.exit(1);
// npm takes the licence from the package's root.
copyFileSync("../../LICENSE", "LICENSE");
