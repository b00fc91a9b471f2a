// What goes wrong around the page, and what the page is told of it.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { alice, until, Visitor } from "./visitor.mjs";

/** What becomes of a call: the code of its error, or how long it is. */
const outcomes = () => {
  window.outcome = (promise) => promise.then((value) => value?.error?.code ?? value?.status ?? "done", (err) => err.code ?? err.name);
};

export const checks = {
  async "start() and all else ends in its time, when the worker's script never comes, or does nothing"(env) {
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
      assert.deepEqual(got.slice(6), [false, "closed", "not-started", { error: "timed out after 300 ms: the worker does not answer" }], worker);
    }
  },

  async "a worker that dies is a time-out, and start() makes another one"(env) {
    const v = await Visitor.open(env, alice);
    try {
      await v.control("worker/dies");
      await v.start({ timeout: 500, timeoutAfter: 200 });
    } finally {
      await v.control("worker/well");
    }
    await v.run(outcomes);
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

  async "time in which the browser was stopped is no time-out"(env) {
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
    assert.ok(processes.length > 0);
    for (const pid of processes) process.kill(pid, "SIGSTOP");
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    for (const pid of processes) process.kill(pid, "SIGCONT");
    assert.deepEqual(await slow, [200, 200], "nor are the times shorter after it");
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
      // it has ended meanwhile
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
