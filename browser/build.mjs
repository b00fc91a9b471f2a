// Builds dist/: the page's library as a module and as a plain script, and the worker.
import { copyFileSync, rmSync } from "node:fs";
import { build } from "esbuild";

rmSync("dist", { recursive: true, force: true });
const ours = "/*! @stamp/browser, Apache-2.0 */";
// What is bundled wants to be named.
const theirs = "/*! @stamp/browser; with @nats-io/nats-core, @nats-io/nkeys and @nats-io/nuid, Copyright The NATS Authors: Apache-2.0; with tweetnacl, Unlicense */";
const common = { bundle: true, minify: true, target: "es2022", charset: "utf8", legalComments: "none", logLevel: "warning" };
await Promise.all([
  build({ ...common, entryPoints: ["src/index.ts"], format: "esm", banner: { js: ours }, outfile: "dist/stamp.js" }),
  build({ ...common, entryPoints: ["src/index.ts"], format: "iife", globalName: "stamp", banner: { js: ours }, outfile: "dist/stamp.script.js" }),
  build({ ...common, entryPoints: ["src/worker.ts"], format: "iife", banner: { js: theirs }, outfile: "dist/stamp.worker.js" }),
]);
copyFileSync("../LICENSE", "dist/LICENSE");
