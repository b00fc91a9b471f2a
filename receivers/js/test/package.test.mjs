// The package as npm would publish it, in a project of its own: its files, its types, and the code of README.md.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { connect } from "@nats-io/transport-node";
import { Server } from "@stamp/receiver/testing";
import { skip, start } from "./server.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "stamp-receiver-package-")); // of the project
const installed = join(folder, "node_modules", "@stamp", "receiver");
after(() => rmSync(folder, { recursive: true, force: true }));

function run(cwd, command, ...args) {
  // The variable tells Node.js that it is run by a test runner, which prints for it.
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: "utf8", timeout: 110_000, env: { ...process.env, NODE_TEST_CONTEXT: undefined } });
  assert.equal(status, 0, `${command} ${args.join(" ")}: ${error ?? ""}\n${stdout}${stderr}`);
  return stdout;
}

// npm pack --ignore-scripts, because its scripts would build the package again.
const [{ filename, files }] = JSON.parse(run(root, "npm", "pack", "--ignore-scripts", "--json", "--pack-destination", folder));
mkdirSync(installed, { recursive: true });
run(folder, "tar", "-xzf", filename, "-C", installed, "--strip-components=1");
for (const name of ["@nats-io", "typescript", "typescript-5.0", "@typescript"]) {
  const from = join(root, "node_modules", name);
  if (existsSync(from)) symlinkSync(from, join(folder, "node_modules", name));
}
writeFileSync(join(folder, "package.json"), `{ "type": "module" }`);

const read = (...path) => readFileSync(join(...path), "utf8");
const described = JSON.parse(read(installed, "package.json"));

test("what npm publishes", () => {
  const sources = readdirSync(join(root, "src")).map((name) => name.replace(/\.ts$/, ""));
  const want = ["LICENSE", "README.md", "package.json", ...sources.flatMap((name) => [`dist/${name}.d.ts`, `dist/${name}.js`])];
  assert.deepEqual(files.map(({ path }) => path).sort(), want.sort());
  assert.equal(read(installed, "LICENSE"), read(root, "..", "..", "LICENSE"));
  for (const entry of Object.values(described.exports).flatMap((entry) => Object.values(typeof entry === "string" ? [entry] : entry))) assert.ok(existsSync(join(installed, entry)), entry);
  for (const [, target] of read(installed, "README.md").matchAll(/\]\(([^)]*)\)/g)) assert.ok(existsSync(join(installed, target)), target);
  assert.equal(described.dependencies, undefined);
});

test("the code needs nothing that only Node.js has", () => {
  for (const name of readdirSync(join(installed, "dist"))) {
    const text = read(installed, "dist", name);
    for (const [, from] of text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*"([^"]*)"/g)) assert.match(from, /^\.\/\w+\.js$/, `${name} imports ${from}`);
    assert.doesNotMatch(text, /\b(?:Buffer|process|require|__dirname|setImmediate)\b(?:\.\w|\()/, name);
  }
});

for (const compiler of ["typescript-5.0", "typescript"]) {
  for (const [resolution, module] of [["nodenext", "nodenext"], ["bundler", "esnext"]]) {
    test(`types with ${compiler}, ${resolution}`, () => {
      const options = { target: "es2022", module, moduleResolution: resolution, types: [], strict: true, noEmit: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true };
      // The declarations of nats.js, which are others', are not checked.
      for (const [file, more] of [["core.ts", { lib: ["es2022"] }], ["client.ts", { lib: ["es2022", "dom", "dom.iterable"], skipLibCheck: true }]]) {
        copyFileSync(join(root, "test", "package", file), join(folder, file));
        writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: { ...options, ...more }, files: [file] }));
        run(folder, process.execPath, join(folder, "node_modules", compiler, "bin", "tsc"), "-p", "tsconfig.json");
      }
    });
  }
}

const snippets = [...read(root, "README.md").matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language, text], i) => ({ language, text, file: join(folder, `snippet${i}.mjs`) }));
const [trusted, first, message, lines, behalf, tested, ...others] = snippets;
for (const { file, text } of snippets) writeFileSync(file, text);

/** A trust as README.md shows it, with keys. */
const trustWith = (keys) => ({ ...JSON.parse(trusted.text), ...keys });

test("README.md has the snippets that are run here", () => {
  assert.deepEqual(others, []);
  assert.deepEqual(snippets.map(({ language }) => language), ["json", "js", "js", "js", "js", "js"]);
});

test("README.md: the first trusted request", { skip, timeout: 60_000 }, async (t) => {
  const server = await start(t), { servers, keys } = server.trust, { servers: url, pass } = server.options("orders");
  writeFileSync(join(folder, "trust.json"), JSON.stringify(trustWith({ servers, keys })));
  const service = spawn(process.execPath, [first.file], { cwd: folder, stdio: "inherit", env: { ...process.env, NATS_URL: url, NATS_PASSWORD: pass } });
  const exited = once(service, "exit");
  server.before(async () => {
    service.kill();
    await exited;
  });
  const [alice, plain] = [await connect(server.options("alice")), await connect(server.options("plain"))];
  server.before(() => Promise.all([alice.close(), plain.close()]));
  let reply;
  while (!reply && service.exitCode === null) reply = await alice.request("orders.new", "", { timeout: 20_000 }).catch(() => setTimeout(50)); // it starts
  assert.equal(reply?.string(), "thank you, alice, admin,ops");
  assert.equal((await plain.request("orders.new", "", { timeout: 20_000 })).headers.get("Nats-Service-Error-Code"), "401");
});

test("README.md: other messages, and on behalf of the user", async () => {
  const load = ({ file }) => import(pathToFileURL(file).href);
  const { Trust } = await import(pathToFileURL(join(installed, "dist", "index.js")).href);
  const server = new Server(), trust = new Trust(trustWith(await server.trusted())), payload = Buffer.from("7 apples");
  const stampedFor = (user, subject) => server.stamp({ "X-User": [user] }, subject, payload);
  const messageOf = (list, subject = "orders.new") => ({ subject, headers: list.map(([name, value]) => [name, [value]]), data: payload });
  const alice = await stampedFor("alice", "orders.new");
  const { userOf } = await load(message), { identityOf } = await load(lines), { ask, asked } = await load(behalf);
  assert.equal(await userOf(messageOf(alice), trust), "alice");
  assert.equal(await userOf(messageOf(alice.slice(1)), trust), undefined);
  assert.equal(await userOf(messageOf(alice, "orders.old"), trust), undefined);
  assert.equal((await identityOf("orders.new", alice, payload, trust)).user, "alice");
  // What stands between the services adds the stamp of the one that asks.
  const stamped = await stampedFor("orders", "stock.take");
  const nc = { request: (subject, data, { headers }) => asked({ subject, headers: [...messageOf(stamped).headers, ...headers], data }, trust) };
  assert.equal(await ask(nc, messageOf(alice), trust), "orders asks for alice, who asked on orders.new");
});

test("README.md: tests of your service", () => {
  assert.match(run(folder, process.execPath, "--test", "--test-reporter=tap", tested.file), /^# pass 1$/m);
});
