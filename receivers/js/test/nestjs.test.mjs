// The example of NestJS, with a real server.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { connect, headers } from "@nats-io/transport-node";
import { skip, start } from "./server.mjs";

const folder = fileURLToPath(new URL("../example/nestjs/", import.meta.url));
const missing = !existsSync(join(folder, "node_modules")) && !process.env.STAMP_TEST_ALL && "run npm ci in example/nestjs first";

test("the example of NestJS", { skip: skip || missing, timeout: 120_000 }, async (t) => {
  const { status, stdout } = spawnSync("npm", ["run", "--silent", "build"], { cwd: folder, encoding: "utf8" });
  assert.equal(status, 0, stdout);
  const server = await start(t), file = join(server.folder, "trust.json");
  writeFileSync(file, JSON.stringify(server.trust));
  const example = spawn(process.execPath, ["dist/main.js", server.url("orders"), file], { cwd: folder, stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(example, "exit");
  server.before(async () => {
    example.kill("SIGINT");
    await exited;
  });
  const [line] = await Promise.race([once(example.stdout, "data"), exited]);
  assert.equal(String(line), "ready\n");
  const [alice, plain] = [await connect(server.options("alice")), await connect(server.options("plain"))];
  server.before(() => Promise.all([alice.close(), plain.close()]));
  /** Asks as a client of NestJS does. */
  const ask = async (nc, lines = {}) => {
    const sent = headers();
    for (const [name, value] of Object.entries(lines)) sent.append(name, value);
    const packet = JSON.stringify({ pattern: "orders.new", data: { apples: 7 }, id: "1" });
    const { response, err } = (await nc.request("orders.new", packet, { headers: sent, timeout: 20_000 })).json();
    return response ?? err;
  };
  assert.equal(await ask(alice), "thank you, alice (admin,ops), for 7 apples");
  assert.equal(await ask(alice, { x_user: "mallory", Own: "1" }), "thank you, alice (admin,ops), for 7 apples");
  assert.deepEqual(await ask(plain), { code: 401, message: "anonymous" });
  assert.deepEqual(await ask(plain, { "X-User": "alice" }), { code: 401, message: "anonymous" });
});

test("its README has the lines of the example", () => {
  const read = (name) => readFileSync(join(folder, name), "utf8"), code = read("src/main.ts");
  const blocks = [...read("README.md").matchAll(/^```ts\n([^]*?)^```$/gm)].map(([, text]) => text);
  assert.ok(blocks.length > 0);
  for (const text of blocks) assert.ok(code.includes(text), text);
});
