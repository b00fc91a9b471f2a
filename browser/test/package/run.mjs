// Tests the package as npm would publish it, in a project of its own: its files and links, its types with all versions of
// TypeScript that they are for, the code in the documentation, and that it can be imported where there is no browser.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { snippets } from "./snippets.mjs";

const here = dirname(fileURLToPath(import.meta.url)), browser = join(here, "..", ".."), root = join(browser, "..");
const folder = join(root, ".cache", "browser-package"); // of the project
const installed = join(folder, "node_modules", "@stamp", "browser");

function run(cwd, command, ...args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: "utf8", timeout: 110_000 });
  assert.equal(status, 0, `${command} ${args.join(" ")}: ${error ?? ""}\n${stdout}${stderr}`);
  return stdout;
}

const read = (...path) => readFileSync(join(...path), "utf8");

/** Gets what the project depends on, unless it is there. */
function install() {
  mkdirSync(folder, { recursive: true });
  const same = existsSync(join(folder, "node_modules", ".package-lock.json")) && existsSync(join(folder, "package-lock.json")) &&
    read(here, "package-lock.json") === read(folder, "package-lock.json");
  for (const name of ["package.json", "package-lock.json", ".npmrc"]) copyFileSync(join(here, name), join(folder, name));
  if (!same) run(folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error");
}

/** Puts the package where npm would. The scripts of npm pack would build it again. */
function pack() {
  const [{ filename }] = JSON.parse(run(browser, "npm", "pack", "--ignore-scripts", "--json", "--pack-destination", folder));
  rmSync(installed, { recursive: true, force: true });
  mkdirSync(installed, { recursive: true });
  run(folder, "tar", "-xzf", filename, "-C", installed, "--strip-components=1");
  rmSync(join(folder, filename));
}

install();
pack();
const described = JSON.parse(read(installed, "package.json"));

test("each file that package.json names is there, and package.json can be imported", () => {
  const files = (entry) => (typeof entry === "string" ? [entry] : Object.values(entry).flatMap(files));
  const named = [...files(described.exports), described.main, described.types, ...Object.values(described.typesVersions?.["*"] ?? {}).flat()];
  for (const file of named) if (!file.includes("*")) assert.ok(existsSync(join(installed, file)), file);
  const found = run(folder, process.execPath, "--input-type=module", "-e", `
    import { createRequire } from "node:module";
    console.log(createRequire(import.meta.url)("@stamp/browser/package.json").version);`);
  assert.equal(found.trim(), described.version);
});

test("the licence and what README links to are in the package", () => {
  assert.equal(read(installed, "LICENSE"), read(root, "LICENSE"));
  for (const [, target] of read(installed, "README.md").matchAll(/\]\(([^)]*)\)/g)) {
    if (/^https?:|^#/.test(target)) continue;
    const file = normalize(join(installed, target.replace(/#.*/, "")));
    assert.ok(file.startsWith(installed) && existsSync(file), target);
  }
});

test("a bundler keeps the plain script, whose global is all that it is for", () => {
  writeFileSync(join(folder, "bundled.mjs"), `import "@stamp/browser/script";\nimport "@stamp/browser";\n`);
  const out = run(folder, join(browser, "node_modules", ".bin", "esbuild"), "bundled.mjs", "--bundle", "--log-level=error");
  assert.match(out, /stamp\.script\.js/);
  assert.doesNotMatch(out, /dist\/stamp\.js/);
});

test("no declaration needs a package or a file that is not there", () => {
  const types = join(installed, "dist", "types");
  for (const name of readdirSync(types)) {
    for (const [, target] of read(types, name).matchAll(/(?:from|import)\s*\(?"([^"]*)"/g)) {
      assert.match(target, /^\.\/.*\.js$/, `${name}: ${target}`);
      assert.ok(existsSync(join(types, target.replace(/\.js$/, ".d.ts"))), `${name}: ${target}`);
    }
  }
});

test("the package is imported and used where there is no browser", () => {
  const out = run(folder, process.execPath, join(here, "without_browser.mjs"));
  assert.equal(out, "as expected\n");
});

/** The project's own files, the example, and the code of the documentation. */
function write() {
  for (const name of readdirSync(folder)) if (/\.tsx?$/.test(name)) rmSync(join(folder, name));
  for (const name of readdirSync(here)) if (/\.tsx?$/.test(name)) copyFileSync(join(here, name), join(folder, name));
  copyFileSync(join(browser, "examples", "react", "app.tsx"), join(folder, "app.tsx"));
  for (const file of ["browser/README.md", "docs/browser.md"]) {
    const found = snippets(join(root, file));
    assert.ok(found.length > 0, file);
    for (const { line, extension, text } of found) writeFileSync(join(folder, `${file.replace(/\W/g, "_")}_${line}.${extension}`), text);
  }
}

test("types and the code of the documentation, with each version of TypeScript", async (t) => {
  write();
  const compilers = Object.keys(JSON.parse(read(here, "package.json")).dependencies).filter((name) => name.startsWith("typescript-"));
  for (const compiler of compilers) await t.test(compiler, () => run(folder, process.execPath, join(here, "compile.mjs"), compiler, folder));
});
