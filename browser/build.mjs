// Builds dist/: the page's library as a module and as a plain script, the hooks for React, the worker, and the types.
import { spawnSync } from "node:child_process";
import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

rmSync("dist", { recursive: true, force: true });
const ours = "/*! @stamp/browser, Apache-2.0 */";
// What is bundled wants to be named.
const theirs = "/*! @stamp/browser; with @nats-io/nats-core and @nats-io/nuid, Copyright The NATS Authors: Apache-2.0 */";
// The client's entry points are CommonJS, of which a bundler leaves nothing out, and name each of its exports, also benchmarks.
// Here they are those of its files that export what the worker imports: a fifth less for a browser to read before it connects.
const client = {
  name: "client",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^\.\/(ipparser|nkeys)$/ }, () => ({ path: fileURLToPath(new URL("src/unused.ts", import.meta.url)) }));
    onResolve({ filter: /^@nats-io\/nats-core(\/internal)?$/ }, () => ({ path: "client", namespace: "client" }));
    onLoad({ filter: /.*/, namespace: "client" }, () => ({
      resolveDir: fileURLToPath(new URL("node_modules/@nats-io/nats-core/lib", import.meta.url)),
      contents: `
        export { errors } from "./errors.js";
        export { MsgHdrsImpl } from "./headers.js";
        export { deferred } from "./util.js";
        export { wsconnect } from "./ws_transport.js";`,
    }));
  },
};
const common = { bundle: true, minify: true, target: "es2022", charset: "utf8", legalComments: "none", logLevel: "warning" };
await Promise.all([
  build({ ...common, entryPoints: ["src/index.ts"], format: "esm", banner: { js: ours }, outfile: "dist/stamp.js" }),
  build({ ...common, entryPoints: ["src/index.ts"], format: "iife", globalName: "stamp", banner: { js: ours }, outfile: "dist/stamp.script.js" }),
  build({ ...common, entryPoints: ["src/react.ts"], format: "esm", packages: "external", banner: { js: `"use client";\n${ours}` }, outfile: "dist/react.js" }),
  build({ ...common, entryPoints: ["src/worker.ts"], format: "iife", banner: { js: theirs }, plugins: [client], outfile: "dist/stamp.worker.js" }),
]);
buildTypes();
// npm takes the licence from the package's root; dist/ is also served, and copied, by itself.
for (const folder of [".", "dist"]) copyFileSync("../LICENSE", `${folder}/LICENSE`);

function buildTypes() {
  const { status } = spawnSync("npx", ["tsc", "-p", "tsconfig.types.json"], { stdio: "inherit" });
  if (status !== 0) process.exit(1);
  // Compilers before TypeScript 5 refuse imports that end with .ts.
  for (const name of readdirSync("dist/types")) {
    const file = `dist/types/${name}`;
    writeFileSync(file, readFileSync(file, "utf8").replace(/(from "\.\/[^"]*|import\("\.\/[^"]*)\.ts"/g, '$1.js"'));
  }
  copyFileSync("src/script.d.ts", "dist/types/script.d.ts");
}
