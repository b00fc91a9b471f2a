// Messages, subscriptions and the state of the connection in a page.
import assert from "node:assert/strict";
import { alice, bob, until, Visitor } from "./visitor.mjs";

export const checks = {
  async "when() waits for a state, and ends when it cannot come"(env) {
    const v = await Visitor.open(env, alice);
    const got = await v.run(async () => {
      window.lib = await import("/dist/stamp.js");
      window.s = new lib.Stamp({ timeout: 20_000 });
      const told = (promise) => promise.then(() => s.state, (err) => err.name === "StampError" ? err.code : err.name);
      const out = { early: await told(s.when("connected", { timeout: 20 })) };
      const before = s.when("connected"); // start() is called meanwhile
      await s.start();
      out.before = await told(before);
      out.again = await told(s.when("connected"));
      out.late = await told(s.when("refused", { timeout: 20 }));
      out.aborted = await told(s.when("refused", { signal: AbortSignal.timeout(20) }));
      const waiting = told(s.when("lost"));
      s.close();
      out.closed = [await waiting, await told(s.when("connected"))];
      const starting = s.start();
      const failed = told(s.when("connected"));
      s.close();
      out.while = [await failed, await starting.then(() => "started", (err) => err.code)];
      const none = new lib.Stamp({ worker: "/auth/nothing.js" });
      const never = told(none.when("connected"));
      out.start = [await none.start().catch((err) => err.code), await never, await told(none.when("connected"))];
      return out;
    });
    assert.deepEqual(got, {
      early: "not-started", before: "connected", again: "connected", late: "no-connection", aborted: "TimeoutError",
      closed: ["closed", "closed"], while: ["closed", "closed"], start: ["no-worker", "no-worker", "no-worker"],
    });
    const stranger = await Visitor.open(env);
    assert.equal((await stranger.start()).authenticated, false);
    assert.equal(await stranger.run(() => s.when("connected").catch((err) => err.code)), "signed-out");
  },

  async "login() works after a start that failed, and before one"(env) {
    for (const fail of [true, false]) {
      const v = await Visitor.open(env);
      await v.run(async (fail) => {
        const { Stamp } = await import("/dist/stamp.js");
        window.s = new Stamp({ worker: "/auth/nothing.js" });
        if (fail) await s.start().catch(() => {});
        setTimeout(() => s.login("/?back"));
      }, fail);
      await until(v.page, () => document.querySelector("input[name=username]") !== null);
    }
    const v = await Visitor.open(env);
    await v.run(async () => {
      const { Stamp } = await import("/dist/stamp.js");
      window.s = new Stamp({ login: "/sign-in?from=page" });
      setTimeout(() => s.login());
    });
    await until(v.page, () => location.pathname === "/sign-in" && location.search === "?from=page&to=%2F");
  },

  async "a subscription that the server refuses is never one that has been made"(env) {
    const v = await Visitor.open(env, alice);
    await v.start();
    const got = await v.run(async () => {
      const told = [], code = (promise) => promise.then(() => "made", (err) => err.code);
      s.addEventListener("error", ({ detail }) => told.push(detail.message));
      const subjects = ["shared.>.x", "shared..x", "shared.", 'other."x', "other.\\x", "other.\u00ad", "other.x", "shared.*", "shared.>", 'shared."x'];
      const out = [await Promise.all(subjects.map((subject) => code(s.subscribe(subject, () => {}))))];
      out.push(await Promise.all(["api.*", "api.>", "api..x"].flatMap((subject) => [code(s.request(subject)), code(s.publish(subject)), code(s.publish("shared.x", "", { reply: subject }))])));
      await s.flush();
      return [...out, told];
    });
    const refused = ["invalid", "invalid", "invalid", "denied", "denied", "denied", "denied"];
    assert.deepEqual(got[0], [...refused, "made", "made", "made"]);
    assert.deepEqual([...new Set(got[1])], ["invalid"]);
    assert.deepEqual(got[2], []);
  },

  async "a subscription is read by for await, and ends with its loop"(env) {
    const v = await Visitor.open(env, alice);
    await v.start();
    const got = await v.run(async () => {
      const out = {};
      const publish = async (subject, ...texts) => {
        for (const text of texts) await s.publish(subject, text);
        await s.flush();
      };
      const sub = await s.subscribe("shared.loop.*");
      await publish("shared.loop.a", "1", "2", "3");
      const texts = [];
      for await (const msg of sub) {
        texts.push(msg.text());
        if (texts.length === 2) break;
      }
      await publish("shared.loop.a", "4");
      out.loop = [texts, sub.received, sub.subject, await sub.closed ?? null];

      const three = await s.subscribe("shared.max", { max: 3 });
      await publish("shared.max", "1", "2", "3", "4");
      out.max = [];
      for await (const msg of three) out.max.push(msg.text());
      out.max.push(three.received, await three.closed ?? null);

      const called = [];
      const two = await s.subscribe("shared.max", (msg) => called.push(msg.text()), { max: 2 });
      await publish("shared.max", "1", "2", "3");
      out.called = [called, await two.closed ?? null];
      try {
        for await (const _ of two);
      } catch (err) {
        out.both = err.name;
      }
      for (const max of [0, -1, 1.5, "2"]) (out.invalid ??= []).push(await s.subscribe("shared.x", { max }).catch((err) => err.name));
      return out;
    });
    assert.deepEqual(got, {
      loop: [["1", "2"], 3, "shared.loop.*", null], max: ["1", "2", "3", 3, null], called: [["1", "2"], null],
      both: "TypeError", invalid: ["TypeError", "TypeError", "TypeError", "TypeError"],
    });
  },

  async "a subscription's max holds on the server, and over a new connection"(env) {
    const v = await Visitor.open(env, alice);
    await v.start();
    await v.run(async () => {
      window.texts = [];
      window.sub = await s.subscribe("shared.kept", (msg) => texts.push(msg.text()), { max: 3 });
      await s.publish("shared.kept", "1");
      await s.flush();
    });
    await v.drop();
    await until(v.page, () => states.some(({ state }) => state === "lost") && s.state === "connected");
    assert.deepEqual(await v.run(async () => {
      for (const text of ["2", "3", "4", "5"]) await s.publish("shared.kept", text);
      await s.flush();
      await sub.closed;
      return texts;
    }), ["1", "2", "3"]);
  },

  async "a subscription ends by its timeout and its signal"(env) {
    const v = await Visitor.open(env, alice);
    await v.start();
    const got = await v.run(async () => {
      const out = {};
      const read = async (sub) => {
        const texts = [];
        try {
          for await (const msg of sub) texts.push(msg.text());
        } catch (err) {
          texts.push(err.name === "StampError" ? err.code : err.name);
        }
        return texts;
      };
      out.timeout = await read(await s.subscribe("shared.none", { timeout: 30 }));
      const failed = [];
      const told = await s.subscribe("shared.none", () => {}, { timeout: 30, failed: (err) => failed.push(err.code) });
      out.failed = [(await told.closed).message, failed];
      const one = await s.subscribe("shared.one", { timeout: 3000, max: 1 });
      await s.publish("shared.one", "1");
      out.one = await read(one);

      const controller = new AbortController();
      const sub = await s.subscribe("shared.signal", { signal: controller.signal });
      await s.publish("shared.signal", "1");
      await s.flush();
      controller.abort();
      await s.publish("shared.signal", "2");
      out.signal = await read(sub);
      out.before = await s.subscribe("shared.signal", { signal: AbortSignal.abort() }).catch((err) => err.name);
      const at = new AbortController();
      const pending = s.subscribe("shared.signal", { signal: at.signal }).catch((err) => err.name);
      at.abort();
      out.pending = await pending;
      return out;
    });
    assert.deepEqual(got, {
      timeout: ["timeout"], failed: ["no message of shared.none came in 30 ms", ["timeout"]], one: ["1"],
      signal: ["1", "AbortError"], before: "AbortError", pending: "AbortError",
    });
  },

  async "what ends a subscription ends its loop too"(env) {
    const v = await Visitor.open(env, alice);
    await v.start();
    await v.run(async () => {
      const sub = await s.subscribe("shared.x");
      window.read = (async () => { for await (const _ of sub); })().catch((err) => err.code);
    });
    await v.run(() => s.logout());
    assert.equal(await v.run(() => read), "signed-out");
  },

  async "requestMany() gives the answers of all services"(env) {
    const v = await Visitor.open(env, alice);
    await v.start();
    const got = await v.run(async () => {
      const read = async (options, subject = "shared.many") => {
        const texts = [];
        try {
          for await (const msg of s.requestMany(subject, "5", options)) texts.push(msg.text());
        } catch (err) {
          texts.push(err.name === "StampError" ? err.code : err.name);
        }
        return texts;
      };
      const out = { refusals: 0 };
      s.addEventListener("error", () => out.refusals++);
      out.max = await read({ max: 3, timeout: 20_000 });
      out.sentinel = await read({ sentinel: true, timeout: 20_000 });
      out.stall = await read({ stall: 100, timeout: 20_000 });
      out.timeout = await read({ timeout: 300 });
      out.nobody = await read({}, "api.nobody");
      out.denied = await read({}, "other.x");
      out.aborted = await read({ signal: AbortSignal.timeout(100), timeout: 20_000 }, "api.silent");
      out.service = [];
      for await (const msg of s.requestMany("api.fail", "", { max: 1 })) out.service.push(msg.error.code, msg.error.status);
      const left = s.requestMany("shared.many", "5", { timeout: 600_000 });
      for await (const msg of left) {
        out.left = msg.text();
        break;
      }
      out.invalid = [];
      for (const options of [{ timeout: 0 }, { max: 0 }, { stall: "1" }]) {
        try {
          s.requestMany("shared.many", "", options);
        } catch (err) {
          out.invalid.push(err.name);
        }
      }
      out.drained = await s.drain().then(() => s.state); // the request that was left is no longer under way
      return out;
    });
    const all = ["1", "2", "3", "4", "5"];
    assert.deepEqual(got, {
      refusals: 0, // they are told to the reader alone
      max: ["1", "2", "3"], sentinel: all, stall: [...all, ""], timeout: [...all, ""], nobody: ["unanswered"], denied: ["denied"],
      aborted: ["TimeoutError"], service: ["service", 409], left: "1", invalid: ["TypeError", "TypeError", "TypeError"], drained: "closed",
    });
  },

  async "drain() ends the connection when what was begun is over"(env) {
    const v = await Visitor.open(env, alice);
    await v.start();
    const got = await v.run(async () => {
      const out = { texts: [] };
      await s.when("connected");
      const sub = await s.subscribe("shared.drain");
      const read = (async () => { for await (const msg of sub) out.texts.push(msg.text()); })();
      for (const text of ["1", "2", "3"]) void s.publish("shared.drain", text);
      const answer = s.fetch("/api/slow", { body: 300 });
      const drained = s.drain();
      out.same = s.drain() === drained;
      out.refused = [await s.request("api.seen").catch((err) => err.code), (await s.fetch("/api/seen")).error.code, await s.subscribe("shared.x").catch((err) => err.code)];
      await drained;
      await read;
      out.answer = (await answer).status;
      out.state = s.state;
      await s.drain();
      await s.start();
      out.again = (await s.fetch("/api/seen")).status;
      await s[Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose")]();
      out.disposed = s.state;
      return out;
    });
    assert.deepEqual(got, { same: true, texts: ["1", "2", "3"], refused: ["closed", "closed", "closed"], answer: 200, state: "closed", again: 200, disposed: "closed" });
  },

  async "sub.drain() and disposal"(env) {
    const v = await Visitor.open(env, alice);
    await v.start();
    const got = await v.run(async () => {
      const texts = [];
      const sub = await s.subscribe("shared.drain", (msg) => texts.push(msg.text()));
      await s.publish("shared.drain", "1");
      await Promise.all([sub.drain(), sub.drain()]);
      await s.publish("shared.drain", "2");
      const other = await s.subscribe("shared.drain", (msg) => texts.push(msg.text()));
      await other[Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose")]();
      await s.publish("shared.drain", "3");
      await s.flush();
      return [texts, await sub.closed ?? null, await other.closed ?? null];
    });
    assert.deepEqual(got, [["1"], null, null]);
  },

  async "headers of a message are read as those of nats.js"(env) {
    const v = await Visitor.open(env, alice);
    await v.start();
    const got = await v.run(async () => {
      const { headers } = await s.request("api.echo", "x", { headers: { "Content-Type": "text/plain" } });
      const sub = await s.subscribe("shared.on", { max: 1 });
      await s.publish("shared.on", "", { headers }); // passed on as they are
      let passed;
      for await (const msg of sub) passed = [...msg.headers].map(([name, values]) => `${name}: ${values}`).sort();
      return {
        get: [headers.get("X-Several"), headers.get("x-several"), headers.get("x-several", "insensitive"), headers.get("x-several", "canonical"), headers.get("X-None")],
        values: [headers.values("X-Several"), headers.values("x-none")], last: headers.last("X-Several"),
        has: [headers.has("Status"), headers.has("status"), headers.has("STATUS", "insensitive")],
        keys: headers.keys().sort(), size: headers.size(), line: [headers.code, headers.description, headers.hasError, headers.status],
        record: headers.toRecord()["X-Several"], passed,
      };
    });
    assert.deepEqual(got, {
      get: ["a", "", "a", "a", ""], values: [["a", "b"], []], last: "b", has: [true, false, true],
      keys: ["Content-Type", "Status", "X-Custom-Authorization", "X-Several"], size: 4, line: [0, "", false, "0"], record: ["a", "b"],
      passed: ["Content-Type: text/plain", "Status: 201", "X-Custom-Authorization: x", "X-Several: a,b", "X-User: id2"],
    });
  },

  async "the error of a refused publish names its subject"(env) {
    const v = await Visitor.open(env, alice);
    await v.start();
    const got = await v.run(async () => {
      const refused = new Promise((resolve) => s.addEventListener("error", ({ detail }) => resolve(detail), { once: true }));
      await s.publish("secret.x", "");
      const { message, ...detail } = await refused;
      const large = await s.publish("shared.large", new Uint8Array(2 << 20)).catch((err) => [err.code, err.message]);
      return [detail, message, large];
    });
    assert.deepEqual(got[0], { code: "denied", operation: "publish", subject: "secret.x" });
    assert.match(got[1], /Publish to "secret.x"/i);
    assert.deepEqual(got[2], ["too-large", "a message to shared.large cannot be published: the message is larger than the server takes"]);
  },

  async "a message whose headers cannot be read spoils no other one"(env) {
    const v = await Visitor.open(env, alice);
    await v.start({ timeout: 5_000 });
    const got = await v.run(async () => {
      const out = [], heard = [], codes = [];
      s.addEventListener("error", ({ detail }) => codes.push(`${detail.code} ${detail.subject}`));
      const sub = await s.subscribe("shared.raw", (msg) => heard.push(msg.text()));
      for (const block of ["NATS/1.0\r\nX Y: 1\r\n\r\n", "NATS/1.0\r\nX: a\nb\r\n\r\n", "NATS/1.0 -404 Not Found\r\n\r\n"]) {
        for (const body of ["", "body"]) {
          const res = await s.fetch("/api/raw", { body: { block, body } });
          out.push(res.status, res.error?.code, await s.request("api.raw", JSON.stringify({ block, body })).catch((err) => err.code));
          await s.request("api.raw", JSON.stringify({ block, body, to: "shared.raw" }));
        }
      }
      await s.publish("shared.raw", "after");
      await s.flush();
      await sub.drain();
      return [out, heard, codes, s.state];
    });
    assert.deepEqual(got, [Array.from({ length: 6 }, () => [502, "unreadable", "unreadable"]).flat(), ["after"], Array.from({ length: 6 }, () => "unreadable shared.raw"), "connected"]);
  },

  async "request() rejects with the error that fetch() has"(env) {
    const v = await Visitor.open(env, alice);
    await v.start({ timeout: 5_000 });
    const got = await v.run(async () => {
      const out = [];
      for (const block of ["NATS/1.0\r\nStatus: 404 Gone\r\n\r\n", "NATS/1.0\r\nStatus: 600\r\n\r\n", "NATS/1.0 408 Request Timeout\r\n\r\n", "NATS/1.0\r\nStatus: 200 404\r\n\r\n"]) {
        const { error } = await s.fetch("/api/raw", { body: { block, body: "b" } });
        out.push([error?.code, error?.status, error?.message], await s.request("api.raw", JSON.stringify({ block, body: "b" })).then(() => "resolves", (err) => [err.code, err.status, err.message]));
      }
      return out;
    });
    for (let i = 0; i < got.length; i += 2) assert.deepEqual(got[i + 1], got[i]);
    assert.deepEqual(got.map(([code]) => code), ["service", "service", "unreadable", "unreadable", "service", "service", "unreadable", "unreadable"]);
  },

  async "a message with many headers blocks nothing, nor does one of another visitor"(env) {
    const v = await Visitor.open(env, alice), w = await Visitor.open(env, bob);
    await v.start({ timeout: 20_000 });
    await w.start({ timeout: 20_000 });
    await v.run(async () => {
      window.names = [];
      await s.subscribe("shared.headers", (msg) => names.push(msg.headers.size()));
    });
    assert.equal(await w.run(async () => {
      await s.publish("shared.headers", "", { headers: Object.fromEntries(Array.from({ length: 40_000 }, (_, i) => [`X${i}`, "v"])) });
      await s.flush();
      return s.state;
    }), "connected");
    await until(v.page, () => names.length > 0);
    const [count, status, state] = await v.run(async () => [names[0], (await s.fetch("/api/seen")).status, s.state]);
    assert.ok(count >= 40_000, `the message has ${count} headers, so that this check shows nothing`);
    assert.deepEqual([status, state], [200, "connected"]);
  },

  async "the error of a service rejects request(), with the service's answer"(env) {
    const v = await Visitor.open(env, alice);
    await v.start();
    const [request, fetch] = await v.run(async () => {
      const told = ({ name, code, status, message, answer }) => ({ name, code, status, message, details: answer.body.details });
      return [await s.request("api.fail").catch(told), told((await s.fetch("/api/fail")).error)];
    });
    assert.deepEqual(request, { name: "StampError", code: "service", status: 409, message: "already there", details: { field: "name" } });
    assert.deepEqual(fetch, request);
  },
};
