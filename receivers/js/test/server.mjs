// Starts the built nats-server with proofs, for tests.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { nkeys } from "@nats-io/transport-node";

const binary = fileURLToPath(new URL("../../../bin/nats-server", import.meta.url));

const missing = "bin/nats-server is missing: run scripts/build";

/** Why tests with a server are skipped, or false. With STAMP_TEST_ALL none is. */
export const skip = !existsSync(binary) && !process.env.STAMP_TEST_ALL && missing;

const textOf = (bytes) => new TextDecoder().decode(bytes);

/** Starts a server that ends with the test. */
export async function start(t) {
  if (!existsSync(binary)) throw new Error(missing);
  const folder = mkdtempSync(join(tmpdir(), "stamp-receiver-"));
  const ends = [() => rmSync(folder, { recursive: true, force: true })];
  t.after(async () => {
    for (const end of ends.reverse()) await end();
  });
  const [curve, signing, receiver] = [nkeys.createCurve(), nkeys.createServer(), nkeys.createCurve()];
  const keys = join(folder, "proof.nk"), config = join(folder, "nats.conf");
  writeFileSync(keys, `${textOf(curve.getSeed())}\n${textOf(signing.getSeed())}\n`, { mode: 0o600 });
  writeFileSync(config, `
    listen: "127.0.0.1:-1", ports_file_dir: ${JSON.stringify(folder)}
    jetstream { store_dir: ${JSON.stringify(folder)} }
    headers { proof { key_file: ${JSON.stringify(keys)}, receivers: { APP: ${receiver.getPublicKey()} }, encrypt: [Session], sign: ["audit.>"] } }
    accounts { APP { jetstream: enabled, users: [
      { user: alice, password: alice, headers: { X-User: alice, Session: "0af3 Grüße", Roles: [admin, ops] } }
      { user: orders, password: orders, headers: { X-User: orders } }
      { user: plain, password: plain }
    ] } }`);
  const server = spawn(binary, ["-c", config], { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  server.stderr.on("data", (text) => { log += text; });
  const exited = new Promise((resolve) => server.once("exit", resolve));
  ends.push(async () => {
    server.kill();
    await exited;
  });
  const ports = join(folder, `nats-server_${server.pid}.ports`);
  while (!existsSync(ports)) {
    if (server.exitCode !== null) throw new Error(`nats-server ended: ${log}`);
    await setTimeout(20);
  }
  const { host } = new URL(JSON.parse(readFileSync(ports, "utf8")).nats[0]);
  return {
    folder,
    /** What is done before the server ends. */
    before: (end) => ends.push(end),
    url: (user) => `nats://${user}:${user}@${host}`,
    options: (user) => ({ servers: host, user, pass: user }),
    trust: {
      user: "X-User", one: ["Session"], many: ["Roles"], accounts: { APP: ["orders.>", "stock.>", "audit.>"] }, max_age: 60,
      servers: [curve.getPublicKey(), signing.getPublicKey()], keys: [textOf(receiver.getSeed())],
    },
  };
}
