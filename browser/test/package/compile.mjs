// Type-checks the files of a folder with one version of TypeScript, in each way of resolving modules that the version has.
// Arguments: the package that has the version, and the folder. Prints what is wrong.
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [, , compiler, folder] = process.argv;
const require = createRequire(join(folder, "package.json"));
const { version } = require(`${compiler}/package.json`);
const [major, minor] = version.split(".").map(Number);
const since = (a, b = 0) => major > a || major === a && minor >= b;

const ways = [
  { moduleResolution: since(5) ? "node10" : "node", module: "es2022", there: !since(7), ignored: since(6) },
  { moduleResolution: "nodenext", module: "nodenext", there: true },
  { moduleResolution: "bundler", module: "esnext", there: since(5) },
];

/** What a file's first line says it needs: `// TypeScript 5.2`. */
const needs = /^\/\/ TypeScript (\d+)\.(\d+)/;

/** The options of one way. Without imports a file is a script. */
function options({ moduleResolution, module, ignored }) {
  return {
    target: "es2022", module, moduleResolution, lib: ["es2022", "dom", "dom.iterable", ...since(5, 2) ? ["esnext.disposable"] : []], types: [], strict: true, noEmit: true,
    exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, jsx: "react-jsx", moduleDetection: "legacy", ...ignored ? { ignoreDeprecations: "6.0" } : {},
  };
}

/** Checks with the compiler as a library. The declarations of the language and of React, which are others', are only read, and once. */
function checkInProcess(files, settings, cache) {
  const ts = require(compiler);
  const { options, errors } = ts.parseJsonConfigFileContent({ compilerOptions: settings, files }, ts.sys, folder);
  const host = ts.createCompilerHost(options);
  const { getSourceFile } = host;
  const others = (name) => /\/lib\.[^/]*\.d\.ts$/.test(name);
  host.getSourceFile = (name, ...more) => {
    if (!others(name)) return getSourceFile(name, ...more);
    if (!cache.has(name)) cache.set(name, getSourceFile(name, ...more));
    return cache.get(name);
  };
  const program = ts.createProgram(files.map((file) => join(folder, file)), options, host);
  const ours = program.getSourceFiles().filter(({ fileName }) => !others(fileName) && (!fileName.includes("/node_modules/") || fileName.includes("/@stamp/browser/")));
  if (!ours.some(({ fileName }) => fileName.endsWith("/types/index.d.ts"))) throw new Error("the package's types were not found");
  const found = [
    ...errors, ...program.getOptionsDiagnostics(), ...program.getGlobalDiagnostics(),
    ...ours.flatMap((file) => [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]),
  ];
  return ts.formatDiagnostics(found, { getCanonicalFileName: (name) => name, getCurrentDirectory: () => folder, getNewLine: () => "\n" });
}

/** From version 7 on, the compiler is a program. */
function checkByProgram(files, settings) {
  const project = join(folder, "tsconfig.check.json");
  writeFileSync(project, JSON.stringify({ compilerOptions: settings, files }));
  const { stdout, stderr, status } = spawnSync(process.execPath, [join(folder, "node_modules", compiler, "bin/tsc"), "-p", project], { cwd: folder, encoding: "utf8" });
  return status === 0 ? "" : stdout + stderr || `status ${status}`;
}

const check = since(7) ? checkByProgram : checkInProcess;
const files = readdirSync(folder).filter((name) => /\.tsx?$/.test(name)).filter((name) => {
  const [, a, b] = needs.exec(readFileSync(join(folder, name), "utf8")) ?? [];
  return a === undefined || since(Number(a), Number(b));
});
const cache = new Map();
for (const way of ways.filter(({ there }) => there)) {
  const wrong = check(files, options(way), cache);
  if (wrong !== "") {
    console.log(`TypeScript ${version}, ${way.moduleResolution}:\n${wrong}`);
    process.exitCode = 1;
  }
}
