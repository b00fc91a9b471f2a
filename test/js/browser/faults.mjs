// Faults around the page, and what the page learns of them.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { alice, launch, until, Visitor } from "./visitor.mjs";

/** What becomes of a call: the code of its error, or how long it is. */
const outcomes = () => {
  window.outcome = (promise) => promise.then((value) => value?.error?.code ?? value?.status ?? "done", (err) => err.code ?? err.name);
};

/** A visitor whose worker ends when it is told so, and who waits for half a second. before runs in the page before that. */
async function dying(env, before = () => {}) {
  const v = await Visitor.open(env, alice);
  await v.run(before);
  try {
    await v.control("worker/dies");
    await v.start({ timeout: 500, timeoutAfter: 200 });
  } finally {
    await v.control("worker/well");
  }
  await v.run(outcomes);
  await v.run(() => s.when("connected", { timeout: 20_000 }));
  return v;
}

export const checks = {
  async "every call ends in its time if the worker's script never comes, or does nothing"(env) {
    const v = await Visitor.open(env, alice);
    await v.run(outcomes);
    for (const worker of ["/silent.js", "/mute.js"]) {
      const got = await v.run(async (worker) => {
        const lib = await import("/dist/stamp.js"), s = new lib.Stamp({ worker, timeout: 300 });
        const out = await Promise.all([outcome(s.start()), outcome(s.fetch("/api/seen")), outcome(s.request("api.seen")), outcome(s.session()), outcome(s.publish("api.x")), outcome(s.subscribe("shared.x", () => {}))]);
        out.push(s.started, s.state, (await s.fetch("/api/seen")).error.code);
        const rs = new lib.REST_Secure({ endpoint: location.origin, worker, timeout: 300 });
        out.push(await rs.start());
        return out;
      }, worker);
      assert.deepEqual(got.slice(0, 6).filter((code) => code !== "timeout" && code !== "closed"), [], worker);
      assert.equal(got[0], "timeout");
      assert.deepEqual(got.slice(6), [false, "closed", "timeout", { error: "timed out after 300 ms: the worker does not answer" }], worker);
    }
  },

  async "a worker that dies ends all that is open, and start() makes another one"(env) {
    const v = await dying(env);
    await v.run(async () => {
      const a = await s.subscribe("shared.a", () => {}, { failed: (err) => { window.failed = err.code; } }), b = await s.subscribe("shared.b");
      const loop = (async () => { for await (const _ of b); })().catch((err) => err.code);
      const many = (async () => { for await (const _ of s.requestMany("api.silent", "", { timeout: 100_000 })); })().catch((err) => err.code);
      const asked = [outcome(s.fetch("/api/silent", { timeout: 100_000 })), loop, many, a.closed.then((err) => err.code), outcome(s.when("refused", { timeout: 100_000 }))];
      window.ends = Promise.all(asked);
      await s.flush();
    });
    const ended = v.run(() => ends);
    await v.run(() => new BroadcastChannel("fault").postMessage(""));
    assert.deepEqual(await ended, Array(5).fill("no-worker"), "none of them is awaited until its time is over");
    const got = await v.run(async () => {
      const out = [failed, s.state, s.started, s.ended.message, await outcome(s.fetch("/api/seen")), states.at(-1)];
      await s.start();
      out.push((await s.fetch("/api/seen", { timeout: 20_000 })).status);
      return out;
    });
    const why = "the worker is gone: the browser has ended it";
    assert.deepEqual(got, ["no-worker", "closed", false, why, "no-worker", { state: "closed", reason: why }, 200]);
  },

  async "without web locks, a worker that dies is a time-out, and start() makes another one"(env) {
    const v = await dying(env, () => Object.defineProperty(navigator, "locks", { value: undefined }));
    const got = await v.run(async () => {
      const out = [(await s.fetch("/api/seen", { timeout: 20_000 })).status];
      new BroadcastChannel("fault").postMessage("");
      await new Promise((resolve) => setTimeout(resolve, 50)); // it is gone
      const { status, body } = await s.fetch("/api/seen");
      out.push(status, body.error, await outcome(s.request("api.seen")), await outcome(s.publish("api.x")), await outcome(s.subscribe("shared.x", () => {})), s.started);
      await s.start();
      out.push((await s.fetch("/api/seen", { timeout: 20_000 })).status);
      return out;
    });
    assert.deepEqual(got, [200, 504, "timed out after 500 ms: the worker does not answer", "timeout", "timeout", "timeout", false, 200]);
  },

  async "a worker that was ended on purpose, or whose visitor has signed out, is no worker that has died, and leaves no lock"(env) {
    const v = await Visitor.open(env, alice);
    const got = await v.run(async () => {
      const lib = await import("/dist/stamp.js"), s = new lib.Stamp(), out = [];
      const locks = async (settled) => {
        for (let tries = 0; ; tries++) {
          const { held, pending } = await navigator.locks.query(), names = [held, pending].map((list) => list.filter(({ name }) => name.startsWith("stamp-")).length);
          if (settled(names) || tries === 500) return names;
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
      };
      for (const end of [() => s.close(), () => s.drain(), () => s.logout()]) {
        await s.start();
        await s.when("connected");
        out.push(await locks(([held, pending]) => held === 1 && pending === 1));
        await end();
        out.push(await locks(([held, pending]) => held === 0 && pending === 0), s.state, s.ended.code);
      }
      return out;
    });
    const none = [0, 0], one = [1, 1];
    assert.deepEqual(got, [one, none, "closed", "closed", one, none, "closed", "closed", one, none, "signed-out", "signed-out"]);
  },

  // Firefox keeps no page with a websocket, nor one whose worker holds a lock.
  async "the button back brings a page back as it was, its worker too"(env) {
    const browser = await launch(env.kind, env.browser.process().spawnfile, { ignoreDefaultArgs: ["--disable-back-forward-cache"] });
    try {
      const v = await Visitor.open({ ...env, browser }, alice);
      await v.start({ timeout: 10_000 });
      for (const left of env.kind === "chrome" ? [false, true] : [true]) {
        await v.run(async (left) => {
          await s.when("connected");
          if (left) await s.logout();
          while (left && (await navigator.locks.query()).held.length > 0) await new Promise((resolve) => setTimeout(resolve, 10));
          addEventListener("pageshow", ({ persisted }) => { window.kept = persisted; });
        }, left);
        await v.page.goto(`${env.origin}/dist/LICENSE`);
        await v.run(() => { setTimeout(() => history.back()); });
        await until(v.page, () => location.pathname === "/");
        await until(v.page, () => document.readyState === "complete");
        assert.equal(await v.run(() => window.kept), true, `signed out: ${left}`);
        assert.equal(await v.run(() => s.fetch("/api/seen").then(({ error }) => error?.code ?? "answered")), left ? "signed-out" : "answered");
      }
    } finally {
      await browser.close();
    }
  },

  async "a worker that hangs for a while is a time-out, and goes on"(env) {
    const v = await Visitor.open(env, alice);
    try {
      await v.control("worker/hangs");
      await v.start({ timeout: 500, timeoutAfter: 500 });
    } finally {
      await v.control("worker/well");
    }
    const got = await v.run(async () => {
      const out = [(await s.fetch("/api/seen", { timeout: 20_000 })).status];
      new BroadcastChannel("fault").postMessage("");
      await new Promise((resolve) => setTimeout(resolve, 50));
      out.push((await s.fetch("/api/seen")).status);
      while (!s.started) await new Promise((resolve) => setTimeout(resolve, 20));
      out.push((await s.fetch("/api/seen", { timeout: 20_000 })).status, s.state);
      return out;
    });
    assert.deepEqual(got, [200, 504, 200, "connected"]);
  },

  // Firefox delivers what a worker has said also after its port was closed.
  async "no call of a run gets the answer of the run before"(env) {
    const v = await Visitor.open(env, alice);
    const got = await v.run(async () => {
      const lib = await import("/dist/stamp.js"), s = new lib.Stamp({ timeout: 20_000 }), wrong = [];
      let right = 0;
      const ask = () => Array.from({ length: 12 }, async () => {
        const run = String(s.run), { status, body } = await s.fetch("/api/seen", { method: "POST", body: { a: 1 }, headers: { "X-Run": run } });
        if (status !== 200) return;
        if (body.headers["X-Run"][0] === run) right++;
        else wrong.push([run, body.headers["X-Run"][0]]);
      });
      for (let round = 0; round < 20; round++) {
        const starts = [s.start()], calls = ask();
        await s.when("connected");
        await Promise.race(calls);
        s.close();
        starts.push(s.start());
        calls.push(...ask());
        await Promise.allSettled(starts);
        await Promise.all(calls);
        s.close();
      }
      return { right: right >= 20 * 12, wrong };
    });
    assert.deepEqual(got, { right: true, wrong: [] });
  },

  async "a call that is made after close() is not sent in the next run, which may be another visitor's"(env) {
    const v = await Visitor.open(env, alice);
    await v.start();
    await v.run(() => {
      s.close();
      const form = new FormData();
      form.set("of", "alice");
      const bodies = [form, new Blob(["alice's"]), new URLSearchParams("of=alice"), "alice's"];
      window.calls = bodies.map((body) => s.fetch("/api/seen", { method: "POST", body }));
      calls.push(s.fetch(new Request("/api/seen", { method: "POST", body: "alice's" })));
      return s.start();
    });
    assert.deepEqual(await v.run(async () => (await Promise.all(calls)).map(({ error }) => error?.code ?? "sent")), Array(5).fill("not-started"));
  },

  async "the time in which the browser was stopped does not count towards a time-out"(env) {
    if (process.platform !== "linux") return; // /proc tells which processes are the browser's
    const v = await Visitor.open(env, alice);
    await v.start({ timeout: 2_000, timeoutAfter: 100 });
    assert.equal((await v.run(() => s.fetch("/api/seen", { timeout: 20_000 }))).status, 200);
    const slow = v.run(async () => {
      const answers = [await s.fetch("/api/slow", { body: 4_500 }), await s.fetch("/api/slow", { body: 300 })];
      return answers.map(({ status, body }) => body.error ?? status);
    });
    await new Promise((resolve) => setTimeout(resolve, 150)); // it is sent
    const processes = family(env.browser.process().pid).filter(isPage);
    assert.ok(processes.length > 0, "the browser's processes were not found");
    for (const pid of processes) process.kill(pid, "SIGSTOP");
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    for (const pid of processes) process.kill(pid, "SIGCONT");
    assert.deepEqual(await slow, [200, 200], "the time in which the browser was stopped shortens later time-outs");
  },

  async "a message cannot hang the worker, and nothing of a block that cannot be read reaches the page"(env) {
    const v = await Visitor.open(env, alice);
    await v.start({ timeout: 10_000, hidden: ["X-Secret"] });
    const got = await v.run(async () => {
      const answers = [], told = [], many = [];
      s.addEventListener("error", ({ detail }) => told.push(detail.message));
      await s.subscribe("shared.raw", () => told.push("a message"));
      const blocks = [
        "NATS/1.0 200" + " ".repeat(200_000) + "\rx\r\n\r\n", "NATS/1.0\nSet-Cookie: SECRET=1\n\n", "NATS/1.0\nX-Secret: SECRET\r\n\r\n", "NATS/1.0\rX-Secret: SECRET\r\n\r\n",
        "NATS/1.0 200 X\nX-Secret: SECRET\r\n\r\n", "X-Secret: SECRET\r\n\r\n", "NATS/1.0 X-Secret: SECRET",
      ];
      for (const Block of blocks) {
        answers.push((await s.fetch("/api/raw", { body: { Block } })).error);
        await s.fetch("/api/raw", { body: { Block, To: "shared.raw" } });
        for await (const msg of s.requestMany("api.raw", JSON.stringify({ Block }), { timeout: 50 })) many.push(msg);
      }
      await s.flush();
      return { codes: answers.map((error) => error?.code), text: JSON.stringify([answers.map((error) => error?.message), told]), told: told.length, many: many.length, after: (await s.fetch("/api/seen")).status };
    });
    assert.deepEqual(got.codes, Array(7).fill("unreadable"), got.text);
    assert.ok(!got.text.includes("SECRET"), got.text);
    assert.deepEqual([got.told, got.many, got.after], [14, 0, 200]);
  },

  async "a function that throws when it is told of the end stops nothing else"(env) {
    const v = await Visitor.open(env, alice);
    await v.start();
    const got = await v.run(async () => {
      const states = [], reported = [];
      addEventListener("error", (event) => {
        reported.push(event.type); // of scripts of the test's a browser does not tell more
        event.preventDefault();
      });
      for (const end of [() => s.close(), () => s.logout()]) {
        if (!s.started) await s.start();
        await s.when("connected");
        const over = ({ detail: { state } }) => { if (state !== "lost") states.push(state); };
        s.addEventListener("state", over);
        await s.subscribe("shared.a", () => {}, { failed() { throw new Error("page's"); } });
        const b = await s.subscribe("shared.b"), refused = s.when("refused").catch((err) => err.code);
        const loop = (async () => { for await (const _ of b); })().catch((err) => err.code);
        await end();
        states.push((await b.closed).code, await loop, await refused, s.ended.code);
        s.removeEventListener("state", over);
        await new Promise((resolve) => setTimeout(resolve)); // the error is reported by then
      }
      return [states, reported];
    });
    assert.deepEqual(got, [["closed", "closed", "closed", "closed", "closed", "signed-out", "signed-out", "signed-out", "signed-out", "signed-out"], ["error", "error"]]);
  },

  async "a site that is silent, or does not end its answer, is a time-out"(env) {
    const v = await Visitor.open(env, alice);
    await v.run(outcomes);
    for (const how of ["silent", "begins"]) {
      const got = await v.run(async (how) => {
        const lib = await import("/dist/stamp.js"), s = new lib.Stamp({ worker: `/own/${how}/well/worker.js`, timeout: 1_200 });
        const [start, beside, session] = await Promise.all([outcome(s.start()), outcome(s.fetch("/api/seen")), outcome(s.session())]);
        const leaving = new lib.Stamp({ worker: `/own/well/${how}/worker.js`, timeout: 1_200 });
        await leaving.start();
        const logout = await outcome(leaving.logout());
        leaving.close();
        return [start, session, logout, beside];
      }, how);
      assert.deepEqual(got.slice(0, 3), ["timeout", "timeout", "timeout"], how);
      assert.ok(["timeout", "no-connection"].includes(got[3]), got[3]);
    }
  },

  async "while a logout hangs, a request whose connection is lost is lost in its time"(env) {
    const v = await Visitor.open(env, alice);
    await v.start({ timeout: 6_000 });
    await v.run(() => s.when("connected"));
    try {
      await v.control("logout/silent");
      const asked = v.run(async () => {
        const out = s.logout().then(() => "left", (err) => err.code);
        const { status, error } = await s.fetch("/api/silent", { timeout: 2_000 });
        return [status, error.code, s.started, await out];
      });
      await new Promise((resolve) => setTimeout(resolve, 300)); // it is under way
      await v.control("sockets/cut");
      assert.deepEqual(await asked, [503, "lost", true, "timeout"]);
    } finally {
      await v.control("logout/answered");
    }
  },

  async "a service worker that answers everything is named, and one that leaves /auth/ alone does no harm"(env) {
    const v = await Visitor.open(env, alice);
    const error = await v.run(async () => {
      window.lib = await import("/dist/stamp.js");
      await navigator.serviceWorker.register("/evil/everything.js", { scope: "/" });
      await new Promise((resolve) => (navigator.serviceWorker.controller ? resolve() : navigator.serviceWorker.addEventListener("controllerchange", resolve)));
      return new lib.Stamp().start().catch((err) => [err.code, err.message]);
    });
    assert.equal(error[0], "no-worker");
    assert.match(error[1], /could not be started.*; the service worker http:\/\/localhost:\d+\/evil\/everything.js answers the requests of this page/);
    await v.run(async () => {
      const registration = await navigator.serviceWorker.register("/evil/everything.js?exempt", { scope: "/" });
      await new Promise((resolve) => {
        const look = () => (registration.active?.scriptURL.endsWith("?exempt") ? resolve() : setTimeout(look, 10));
        look();
      });
    });
    await v.page.reload();
    assert.equal((await v.start()).authenticated, true);
    assert.equal((await v.run(() => s.fetch("/api/seen"))).status, 200);
  },

  async "a page in a sandbox, which may have no worker, is told so"(env) {
    const v = await Visitor.open(env, alice);
    const got = await v.run(async () => {
      const frame = document.createElement("iframe");
      frame.sandbox = "allow-scripts";
      frame.srcdoc = `<script>
        const said = (what) => parent.postMessage(what, "*");
        addEventListener("message", async ({ data }) => {
          const library = document.createElement("script");
          library.textContent = data;
          document.head.append(library);
          const s = new stamp.Stamp({ worker: "${location.origin}/auth/worker.js", timeout: 5000 });
          said(await s.start().then(() => "started", (err) => [err.name, err.code]));
        });
        said("ready");
      </script>`;
      const code = await (await fetch("/dist/stamp.script.js")).text();
      return new Promise((resolve) => {
        addEventListener("message", ({ data }) => (data === "ready" ? frame.contentWindow.postMessage(code, "*") : resolve(data)));
        document.body.append(frame);
      });
    });
    assert.deepEqual(got, ["StampError", "no-worker"]);
  },

  async "a page that requires trusted types gives its worker's URL as one"(env) {
    const v = await Visitor.open(env, alice);
    await v.page.goto(`${env.origin}/trusted`);
    const got = await v.run(async () => {
      const lib = await import("/dist/stamp.js");
      if (!window.trustedTypes) return undefined;
      const out = [await new lib.Stamp().start().catch((err) => [err.name, err.code])];
      const policy = trustedTypes.createPolicy("site", { createScriptURL: (url) => url });
      const s = new lib.Stamp({ worker: policy.createScriptURL("/auth/worker.js") });
      out.push((await s.start()).authenticated, (await s.fetch("/api/seen")).status);
      const rs = new lib.REST_Secure({ endpoint: location.origin, worker: policy.createScriptURL("/auth/worker.js") });
      out.push((await rs.start()).already_authenticated);
      return out;
    });
    if (got) assert.deepEqual(got, [["StampError", "no-worker"], true, 200, true]);
    else assert.notEqual(env.kind, "chrome", "Chromium has trusted types");
  },
};

/** A process, and those that it started. */
function family(pid) {
  const parents = new Map();
  for (const name of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const [, parent] = /\) \S (\d+) /.exec(readFileSync(`/proc/${name}/stat`, "utf8"));
      parents.set(Number(name), Number(parent));
    } catch {
      // the process has ended meanwhile
    }
  }
  const all = [pid];
  for (const one of all) for (const [child, parent] of parents) if (parent === one) all.push(child);
  return all;
}

/** Whether a process is one in which pages and their workers run. Browsers end others of theirs that do not answer. */
function isPage(pid) {
  const words = readFileSync(`/proc/${pid}/cmdline`, "utf8");
  return words.includes("--type=renderer") || /-contentproc.*[ \0]tab\0*$/s.test(words);
}
