// Messages as nats.js gives them: parsed from bytes, and from a server.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { MsgImpl } from "@nats-io/nats-core/internal";
import { connect, headers } from "@nats-io/transport-node";
import { Anonymous, Trust } from "@stamp/receiver";
import { forward, forwarded, handler, identify } from "@stamp/receiver/nats";
import { Server } from "@stamp/receiver/testing";
import { skip, start } from "./server.mjs";

/** A message as the client reads it from a server's bytes, with a block of headers or without. */
function parsed(block, payload = "{}", arrived = "orders.new") {
  const head = Buffer.from(block ?? "", "latin1"), subject = Buffer.from(arrived);
  return new MsgImpl({ subject, sid: 1, hdr: block === undefined ? -1 : head.length, size: head.length + payload.length }, Buffer.concat([head, Buffer.from(payload)]));
}

const blockOf = (lines) => `NATS/1.0\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;

async function stamped(payload = "{}") {
  const server = new Server();
  const trust = new Trust({ user: "X-User", many: ["Roles"], accounts: { APP: ["orders.>"] }, ...await server.trusted() });
  return { trust, lines: await server.stamp({ "X-User": ["alice"], Roles: ["a", "b"] }, "orders.new", Buffer.from(payload)) };
}

const verdictOf = (judged) => judged.then(() => "ok", (err) => (err instanceof Anonymous ? err.verdict : err));

test("messages that the client has parsed", async () => {
  const { trust, lines } = await stamped(), { user, values } = await identify(parsed(blockOf(lines)), trust);
  assert.deepEqual([user, { ...values }], ["alice", { Roles: ["a", "b"] }]);
  const [account, subject, ...others] = lines;
  const cases = {
    "no headers": [undefined, "anonymous"],
    "no lines": ["NATS/1.0\r\n\r\n", "anonymous"],
    "a status": ["NATS/1.0 503\r\n\r\n", "anonymous"],
    "a further line": [blockOf([["Own", "1"], ...lines]), "ok"],
    "another order of names": [blockOf([...others, subject, account]), "ok"],
    "values between lines of other names": [blockOf([...lines.filter(([name]) => name !== "Roles"), ["Roles", "a"], ["Own", "1"], ["Roles", "b"]]), "ok"],
    "another order of values": [blockOf([...lines.filter(([name]) => name !== "Roles"), ["Roles", "b"], ["Roles", "a"]]), "proof-wrong"],
    "a copy": [blockOf([...lines, ["X-User", "mallory"]]), "proof-wrong"],
    "a copy before": [blockOf([["X-User", "mallory"], ...lines]), "proof-wrong"],
    "a copy in small letters": [blockOf([["x-user", "mallory"], ...lines]), "field-twice"],
    "a copy with an underscore": [blockOf([...lines, ["X_User", "mallory"]]), "field-twice"],
    "small letters alone": [blockOf(lines).replace("X-User", "x-user"), "proof-wrong"],
    "two proofs": [blockOf([...lines, lines.at(-1)]), "proof-malformed"],
    "a name with a space": [blockOf([["X-User ", "mallory"], ...lines]), "anonymous"],
    "a name with a tab": [blockOf([...lines, ["\tX-User", "mallory"]]), "anonymous"],
    "a name beyond ASCII": [blockOf([...lines, ["Ñ", "1"]]), "anonymous"],
    "a value with a line feed": [blockOf([...lines, ["Own", "1\nX-User: mallory"]]), "anonymous"],
    "a very long name": [blockOf([...lines, ["x".repeat(500_000), ""]]), "anonymous"],
    "a name that is empty": [blockOf([["", "mallory"], ...lines]), "ok"],
    "the name of an object's prototype": [blockOf([["__proto__", "mallory"], ...lines]), "ok"],
    "a line without a colon": [blockOf(lines).replace("\r\n", "\r\nX-User\r\n"), "ok"],
  };
  for (const [name, [block, want]] of Object.entries(cases)) assert.equal(await verdictOf(identify(parsed(block), trust)), want, name);
  assert.equal(await verdictOf(identify(parsed(blockOf(lines), "[]"), trust)), "proof-wrong");
});

test("a message that was published on another subject is not for the handler", async () => {
  const { trust, lines } = await stamped(), block = blockOf(lines), seen = [];
  const handle = handler(trust, ({ subject }, msg) => seen.push(`${msg.arrived}: ${subject}`));
  const subjects = ["orders.delete", "orders.*", ">", "orders.New", "orders.new"];
  for (const arrived of subjects) {
    const msg = parsed(block, "{}", arrived);
    handle(null, { arrived, subject: msg.subject, headers: msg.headers, data: msg.data, respondError: (code, text) => seen.push(`${arrived}: ${code} ${text}`) });
  }
  while (seen.length < subjects.length) await new Promise(setImmediate);
  assert.deepEqual(seen, [...subjects.slice(0, -1).map((arrived) => `${arrived}: 401 misdirected`), "orders.new: orders.new"]);
  assert.equal(await verdictOf(identify({ headers: parsed(block).headers, data: Buffer.from("{}") }, trust)), "misdirected", "a message without a subject");
  assert.equal(await verdictOf(forward(headers(), parsed(block, "{}", "orders.delete"), trust)), "misdirected");
  const { headers: read, data } = parsed(block), delivered = { subject: "orders.new", reply: "$JS.ACK.ALL.C.1.1.1.1.0", headers: read, data };
  assert.equal(await verdictOf(identify(delivered, trust)), "misdirected", "what JetStream delivers to a subscription");
  assert.equal((await identify({ ...delivered, ack: () => {} }, trust)).user, "alice", "a message of a consumer");
  assert.equal((await identify(delivered, trust.forSubjects("orders.new"))).user, "alice");
});

test("a handler that says its subjects takes what arrives on another one", async () => {
  const { trust, lines } = await stamped(), msg = parsed(blockOf(lines), "{}", "svc.new");
  assert.equal((await identify(msg, trust.forSubjects("a", "orders.*"))).user, "alice");
  assert.equal(await verdictOf(identify(msg, trust.forSubjects("orders.delete"))), "misdirected");
  assert.equal(await verdictOf(identify(msg, trust.forSubjects("orders.*").forSubjects("orders.delete"))), "misdirected", "the later list");
  assert.equal((await identify(msg, trust.forSubjects("orders.delete").forSubjects("orders.*"))).user, "alice", "the later list");
  for (const bad of [[], [""], ["a..b"], ["a b"], [">.a"], ["a\ud800"], [undefined], [5]]) assert.throws(() => trust.forSubjects(...bad), TypeError, `${bad}`);
  assert.throws(() => new Trust({ user: "X-User" }).forSubjects("a"), /accounts/);
});

test("a proof is passed on in headers of the client", async () => {
  const { trust, lines } = await stamped(), onBehalf = headers();
  for (const name of ["Stamp-Forwarded-Proof", "stamp_forwarded_proof"]) onBehalf.append(name, "forged");
  await assert.rejects(forward(onBehalf, parsed(blockOf(lines), "[]"), trust), { verdict: "proof-wrong" });
  assert.deepEqual(onBehalf.keys(), []);
  await forward(onBehalf, parsed(blockOf(lines)), trust);
  const { user, subject } = await forwarded({ headers: onBehalf, data: Buffer.from("anything") }, trust);
  assert.deepEqual([user, subject], ["alice", "orders.new"]);
  assert.equal(await verdictOf(identify({ headers: onBehalf, data: Buffer.alloc(0) }, trust)), "anonymous");
});

test("a handler is called for identified requests in their order, and anonymous ones get a refusal", async () => {
  const { trust, lines } = await stamped(), seen = [];
  const request = (id, msg) => ({ id, subject: msg.subject, headers: msg.headers, data: msg.data, respondError: (code, text) => seen.push(`${id} ${code} ${text}`) });
  const failures = [];
  const handle = handler(trust, ({ user }, { id }) => {
    seen.push(`${id} ${user}`);
    if (id === 3) throw new Error("secret");
    return id === 4 ? Promise.reject(new Error("secret")) : undefined;
  }, (reason) => failures.push(reason.message));
  const good = blockOf(lines);
  for (const [i, block] of [good, undefined, blockOf([...lines, ["X-User", "mallory"]]), good, good, good].entries()) handle(null, request(i, parsed(block)));
  handle(new Error("of the subscription"), undefined);
  while (!seen.some((text) => text.startsWith("5")) || seen.length < 8) await new Promise(setImmediate);
  assert.deepEqual(seen.filter((text) => !text.endsWith("error")), ["0 alice", "1 401 anonymous", "2 401 proof-wrong", "3 alice", "4 alice", "5 alice"]);
  assert.deepEqual(seen.filter((text) => text.endsWith("error")), ["3 500 internal error", "4 500 internal error"]);
  assert.deepEqual(failures, ["of the subscription", "secret", "secret"]);
});

test("a server's messages, from a subscription and a stream", { skip, timeout: 60_000 }, async (t) => {
  const server = await start(t), trust = new Trust(server.trust);
  const [alice, plain] = [await connect(server.options("alice")), await connect(server.options("plain"))];
  server.before(() => Promise.all([alice.close(), plain.close()]));
  await (await jetstreamManager(plain)).streams.add({ name: "ALL", subjects: ["orders.new", "audit.new"] });
  const heard = plain.subscribe("*.new", { max: 3 });
  await plain.flush();
  for (const subject of ["orders.new", "audit.new"]) {
    const forged = headers();
    for (const name of ["X-User", "x_user", "Stamp-Proof", "Stamp-Account"]) forged.append(name, "mallory");
    alice.publish(subject, "{}", { headers: forged });
  }
  await alice.flush();
  plain.publish("orders.new", "{}");
  const check = async (msg) => {
    const { user, values, subject, account, proven, time } = await identify(msg, trust);
    assert.deepEqual([user, { ...values }, subject, account, proven], ["alice", { Session: ["0af3 Grüße"], Roles: ["admin", "ops"] }, msg.subject, "APP", true]);
    assert.ok(Math.abs(Date.now() - time.getTime()) < 60_000);
  };
  const verdicts = [];
  for await (const msg of heard) verdicts.push(await verdictOf(check(msg)));
  assert.deepEqual(verdicts, ["ok", "ok", "anonymous"]);
  const consumer = await jetstream(plain).consumers.get("ALL");
  for (let i = 0; i < 2; i++) await check(await consumer.next());
  assert.equal(await verdictOf(identify(await consumer.next(), trust)), "anonymous");
});

test("the example", { skip, timeout: 60_000 }, async (t) => {
  const server = await start(t), file = join(server.folder, "trust.json");
  writeFileSync(file, JSON.stringify(server.trust));
  const example = spawn(process.execPath, [fileURLToPath(new URL("../example/services.mjs", import.meta.url)), server.url("orders"), file], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(example, "exit");
  server.before(async () => {
    example.kill("SIGINT");
    await exited;
  });
  const [line] = await once(example.stdout, "data");
  assert.equal(String(line), "ready\n");
  const [alice, plain] = [await connect(server.options("alice")), await connect(server.options("plain"))];
  server.before(() => Promise.all([alice.close(), plain.close()]));
  const answer = await alice.request("orders.new", "7 apples", { timeout: 20_000 });
  assert.equal(answer.string(), "thank you, alice: orders takes 7 apples for alice, who asked on orders.new");
  const refused = async (nc, subject) => (await nc.request(subject, "7 apples", { timeout: 20_000 })).headers;
  const nobody = await refused(plain, "orders.new");
  assert.deepEqual([nobody.get("Nats-Service-Error-Code"), nobody.get("Nats-Service-Error")], ["401", "anonymous"]);
  const alone = await refused(alice, "stock.take");
  assert.deepEqual([alone.get("Nats-Service-Error-Code"), alone.get("Nats-Service-Error")], ["403", "on behalf of nobody: anonymous"]);
});
