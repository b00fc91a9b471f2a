// A suite over the packages of nats.js, whose own tests are not published: what their
// documentation promises, over TCP and over a websocket, against a server on its usual ports.
// node suite.mjs [PATTERN] runs the tests whose names fit the pattern, and writes what
// `go test -v=test2json` does.
import assert from "node:assert/strict";
import { createInbox, Empty, headers, millis, nanos, nuid, wsconnect } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager, RetentionPolicy } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { Objm } from "@nats-io/obj";
import { Svcm } from "@nats-io/services";

const transports = {
  TCP: (options) => connect({ servers: "127.0.0.1:4222", ...options }),
  Websocket: (options) => wsconnect({ servers: "ws://127.0.0.1:8080", ...options }),
};
const text = (m) => m.string();
const collect = async (iterable, n) => {
  const got = [];
  for await (const m of iterable) {
    got.push(m);
    if (got.length === n) break;
  }
  return got;
};

const tests = {
  async publishAndSubscribe({ nc, name }) {
    const sub = nc.subscribe(`${name}.*`, { max: 3 });
    for (const size of [0, 1, 100_000]) nc.publish(`${name}.x`, "p".repeat(size));
    assert.deepEqual((await collect(sub, 3)).map((m) => m.data.length), [0, 1, 100_000]);
  },
  async callbacks({ nc, name }) {
    const got = await new Promise((resolve, reject) => {
      nc.subscribe(name, { max: 1, callback: (err, m) => (err ? reject(err) : resolve(text(m))) });
      nc.publish(name, "called");
    });
    assert.equal(got, "called");
  },
  async headersArrive({ nc, name }) {
    const sub = nc.subscribe(name, { max: 2 });
    const h = headers();
    h.append("Own", "1");
    h.append("Own", "2");
    h.set("empty", "");
    nc.publish(name, "with", { headers: h });
    nc.publish(name, "without");
    const [a] = await collect(sub, 2);
    assert.deepEqual(a.headers.values("Own"), ["1", "2"]);
    assert.equal(a.headers.get("empty"), "");
  },
  async noHeadersWhereNoneWereSent({ nc, name }) {
    const sub = nc.subscribe(name, { max: 1 });
    nc.publish(name, "without");
    const [m] = await collect(sub, 1);
    assert.equal(m.headers, undefined);
  },
  async queueGroup({ nc, name }) {
    let seen = 0;
    const done = new Promise((resolve) => {
      for (let i = 0; i < 3; i++) nc.subscribe(name, { queue: "q", callback: () => ++seen === 100 && resolve() });
    });
    for (let i = 0; i < 100; i++) nc.publish(name);
    await done;
    await nc.flush();
    assert.equal(seen, 100);
  },
  async unsubscribeAfter({ nc, name }) {
    const sub = nc.subscribe(name);
    sub.unsubscribe(2);
    for (let i = 0; i < 5; i++) nc.publish(name, String(i));
    assert.deepEqual((await collect(sub)).map(text), ["0", "1"]);
  },
  async request({ nc, name }) {
    nc.subscribe(name, { callback: (_, m) => m.respond(text(m).toUpperCase()) });
    assert.equal(text(await nc.request(name, "abc", { timeout: 5000 })), "ABC");
    assert.equal(text(await nc.request(name, "abc", { timeout: 5000, noMux: true })), "ABC");
  },
  async requestMany({ nc, name }) {
    for (let i = 0; i < 3; i++) nc.subscribe(name, { callback: (_, m) => m.respond(String(i)) });
    const got = await collect(await nc.requestMany(name, Empty, { strategy: "count", maxMessages: 3, maxWait: 5000 }));
    assert.deepEqual(got.map(text).sort(), ["0", "1", "2"]);
  },
  async requestManyUntilTheEmptyOne({ nc, name }) {
    nc.subscribe(name, { callback: (_, m) => ["1", "2", ""].forEach((s) => m.respond(s)) });
    const got = await collect(await nc.requestMany(name, Empty, { strategy: "sentinel", maxWait: 5000 }));
    assert.deepEqual(got.map(text).filter(Boolean), ["1", "2"]);
  },
  async noResponders({ nc, name }) {
    await assert.rejects(nc.request(name, Empty, { timeout: 5000 }), (err) => err.isNoResponders());
  },
  async requestTimesOut({ nc, name }) {
    nc.subscribe(name, { callback: () => {} });
    await assert.rejects(nc.request(name, Empty, { timeout: 50 }), { name: "TimeoutError" });
  },
  async replySubject({ nc, name }) {
    const inbox = createInbox();
    const sub = nc.subscribe(inbox, { max: 1 });
    nc.subscribe(name, { callback: (_, m) => nc.publish(m.reply, "there") });
    nc.publish(name, Empty, { reply: inbox });
    assert.equal(text((await collect(sub, 1))[0]), "there");
  },
  async drain({ nc, name }) {
    const other = await transports.TCP();
    const sub = other.subscribe(name);
    await other.flush();
    for (let i = 0; i < 50; i++) nc.publish(name, String(i));
    await nc.flush();
    await other.flush();
    const got = collect(sub);
    await other.drain();
    assert.equal((await got).length, 50);
  },
  async maxPayload({ nc, name }) {
    assert.throws(() => nc.publish(name, new Uint8Array(nc.info.max_payload + 1)), { name: "InvalidArgumentError" });
    const sub = nc.subscribe(name, { max: 1 });
    nc.publish(name, new Uint8Array(nc.info.max_payload));
    assert.equal((await collect(sub, 1))[0].data.length, nc.info.max_payload);
  },
  async rtt({ nc }) {
    assert.ok((await nc.rtt()) >= 0, "the round trip time is negative");
  },
  async reconnects({ open, name }) {
    const nc = await open({ reconnectTimeWait: 10 });
    const sub = nc.subscribe(name);
    const again = (async () => {
      for await (const s of nc.status()) if (s.type === "reconnect") return;
    })();
    await nc.reconnect();
    await again;
    nc.publish(name, "after");
    assert.equal(text((await collect(sub, 1))[0]), "after");
    await nc.close();
  },
  async services({ nc, name }) {
    const service = await new Svcm(nc).add({ name, version: "1.0.0" });
    service.addGroup(name).addEndpoint("double", (err, m) => {
      if (err) return;
      const n = Number(text(m));
      if (Number.isNaN(n)) m.respondError(400, "not a number");
      else m.respond(String(2 * n));
    });
    assert.equal(text(await nc.request(`${name}.double`, "21")), "42");
    const bad = await nc.request(`${name}.double`, "x");
    assert.equal(bad.headers.get("Nats-Service-Error-Code"), "400");
    const [stats] = await collect(await new Svcm(nc).client().stats(name));
    assert.equal(stats.endpoints[0].num_requests, 2);
    await service.stop();
  },
  async streamAndConsumers({ nc, name }) {
    const jsm = await jetstreamManager(nc);
    await jsm.streams.add({ name, subjects: [`${name}.>`], allow_direct: true });
    const js = jetstream(nc);
    for (let i = 1; i <= 20; i++) assert.equal((await js.publish(`${name}.${i % 2}`, String(i))).seq, i);
    await jsm.consumers.add(name, { durable_name: "all", ack_policy: AckPolicy.Explicit });
    await jsm.consumers.add(name, { durable_name: "odd", ack_policy: AckPolicy.Explicit, filter_subject: `${name}.1` });
    const all = await js.consumers.get(name, "all");
    const fetched = [];
    for await (const m of await all.fetch({ max_messages: 20, expires: 5000 })) {
      fetched.push(m.string());
      await m.ackAck();
    }
    assert.deepEqual(fetched, Array.from({ length: 20 }, (_, i) => String(i + 1)));
    assert.equal((await all.info(true)).num_ack_pending, 0);
    const odd = await js.consumers.get(name, "odd");
    assert.equal((await odd.next({ expires: 5000 })).string(), "1");
    assert.equal((await jsm.direct.getMessage(name, { seq: 3 })).string(), "3");
    assert.equal((await jsm.streams.getMessage(name, { last_by_subj: `${name}.0` })).string(), "20");
    assert.equal((await jsm.streams.info(name)).state.messages, 20);
  },
  async orderedConsumer({ nc, name }) {
    const jsm = await jetstreamManager(nc);
    await jsm.streams.add({ name, subjects: [name] });
    const js = jetstream(nc);
    for (let i = 1; i <= 50; i++) await js.publish(name, String(i));
    const c = await js.consumers.get(name, { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: 11 });
    const got = await collect(await c.consume({ max_messages: 10 }), 40);
    assert.deepEqual(got.map((m) => m.seq), Array.from({ length: 40 }, (_, i) => i + 11));
  },
  async headersOfJetStreamAct({ nc, name }) {
    const jsm = await jetstreamManager(nc);
    await jsm.streams.add({ name, subjects: [`${name}.>`], duplicate_window: nanos(60_000), allow_rollup_hdrs: true, allow_msg_ttl: true });
    const js = jetstream(nc);
    await js.publish(`${name}.a`, "1", { msgID: "same" });
    assert.equal((await js.publish(`${name}.a`, "1", { msgID: "same" })).duplicate, true);
    await assert.rejects(js.publish(`${name}.a`, "2", { expect: { lastSequence: 7 } }));
    await js.publish(`${name}.a`, "2", { expect: { lastSequence: 1, streamName: name } });
    const h = headers();
    h.set("Nats-Rollup", "sub");
    await js.publish(`${name}.a`, "3", { headers: h });
    assert.equal((await jsm.streams.info(name)).state.messages, 1);
  },
  async redelivery({ nc, name }) {
    const jsm = await jetstreamManager(nc);
    await jsm.streams.add({ name, subjects: [name], retention: RetentionPolicy.Workqueue });
    const js = jetstream(nc);
    await js.publish(name, "again");
    await jsm.consumers.add(name, { durable_name: "c", ack_policy: AckPolicy.Explicit, ack_wait: nanos(10_000) });
    const c = await js.consumers.get(name, "c");
    (await c.next({ expires: 5000 })).nak();
    const m = await c.next({ expires: 5000 });
    assert.equal(m.info.deliveryCount, 2);
    assert.equal(await m.ackAck(), true);
    assert.equal((await jsm.streams.info(name)).state.messages, 0);
  },
  async keyValue({ nc, name }) {
    const kv = await new Kvm(nc).create(name, { history: 5 });
    const watched = await kv.watch({ key: "a.>" }); // else it may come after the first changes
    assert.equal(await kv.create("a.b", "1"), 1);
    await assert.rejects(kv.create("a.b", "x"));
    assert.equal(await kv.update("a.b", "2", 1), 2);
    await assert.rejects(kv.update("a.b", "x", 1));
    assert.equal((await kv.get("a.b")).string(), "2");
    await kv.delete("a.b");
    assert.equal((await kv.get("a.b")).operation, "DEL");
    await kv.put("a.c", "3");
    await kv.purge("a.c");
    assert.deepEqual(await collect(await kv.keys()), []);
    assert.deepEqual((await collect(await kv.history({ key: "a.b" }))).map((e) => e.operation), ["PUT", "PUT", "DEL"]);
    const seen = await collect(watched, 5);
    assert.deepEqual(seen.map((e) => `${e.key} ${e.operation}`), ["a.b PUT", "a.b PUT", "a.b DEL", "a.c PUT", "a.c PURGE"]);
    assert.equal((await kv.status()).values, 4);
    assert.equal(await kv.destroy(), true);
  },
  async objectStore({ nc, name }) {
    const store = await new Objm(nc).create(name, { description: "d" });
    const data = new Uint8Array(700_000).map((_, i) => i % 251);
    const info = await store.putBlob({ name: "big", description: "bytes", headers: headers() }, data);
    assert.equal(info.size, data.length);
    assert.equal(info.chunks, 6);
    assert.deepEqual(await store.getBlob("big"), data);
    await store.putBlob({ name: "small" }, new TextEncoder().encode("s"));
    assert.deepEqual((await store.list()).map((i) => i.name).sort(), ["big", "small"]);
    await store.link("alias", await store.info("big"));
    assert.deepEqual(await store.getBlob("alias"), data);
    await store.update("small", { name: "tiny" });
    assert.equal((await store.delete("big")).success, true);
    assert.equal(await store.getBlob("big"), null);
    assert.equal(await store.destroy(), true);
  },
  async mirrorAndSource({ nc, name }) {
    const jsm = await jetstreamManager(nc);
    await jsm.streams.add({ name, subjects: [`${name}.>`] });
    await jsm.streams.add({ name: `${name}_m`, mirror: { name } });
    await jsm.streams.add({ name: `${name}_s`, sources: [{ name }] });
    for (let i = 0; i < 10; i++) await jetstream(nc).publish(`${name}.x`, String(i));
    for (const copy of [`${name}_m`, `${name}_s`]) {
      const c = await jetstream(nc).consumers.get(copy);
      assert.deepEqual((await collect(await c.consume(), 10)).map((m) => m.string()), Array.from({ length: 10 }, (_, i) => String(i)));
    }
  },
};

// As Go's -test.run has it: an expression for each part of a name.
const patterns = (process.argv[2] ?? ".").split("/").map((part) => new RegExp(part));
const fits = (title) => title.split("/").every((part, n) => patterns[n]?.test(part) ?? true);
const say = (line) => console.log(`\x16${line}`);
let failed = 0;
for (const [transport, open] of Object.entries(transports)) {
  for (const [test, run] of Object.entries(tests)) {
    const title = `Test${transport}/${test}`;
    if (!fits(title)) continue;
    say(`=== RUN   ${title}`);
    const start = Date.now();
    const nc = await open();
    let limit;
    try {
      const late = new Promise((_, reject) => (limit = setTimeout(() => reject(new Error("20 s are over")), 20_000)));
      await Promise.race([run({ nc, open, name: nuid.next() }), late]);
      say(`--- PASS: ${title} (${millis(nanos(Date.now() - start)) / 1000}s)`);
    } catch (err) {
      failed++;
      console.log(err);
      say(`--- FAIL: ${title} (${(Date.now() - start) / 1000}s)`);
    } finally {
      clearTimeout(limit);
      await nc.close();
    }
  }
}
process.exit(failed ? 1 : 0);
