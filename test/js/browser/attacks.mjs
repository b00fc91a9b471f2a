// What a script that was injected into the page can do, and what it cannot.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createUser } from "@nats-io/nkeys";
import { alice, bob, Visitor } from "./visitor.mjs";

/** Helpers of the attacker, as text for the page. */
const attacker = () => {
  /** Opens a websocket to NATS, says CONNECT, and tells what comes of it. */
  window.openNATS = (connect) => new Promise((resolve) => {
    const ws = new WebSocket(`ws://${location.host}/nats`);
    ws.binaryType = "arraybuffer";
    let text = "", said = false;
    ws.onmessage = async ({ data }) => {
      text += new TextDecoder().decode(data);
      const info = /INFO (\{.*\})/.exec(text);
      if (info && !said) {
        said = true;
        const options = await connect(JSON.parse(info[1]).nonce);
        ws.send(`CONNECT ${JSON.stringify({ verbose: false, headers: true, protocol: 1, ...options })}\r\nPING\r\n`);
      }
      if (text.includes("PONG\r\n")) resolve("let in");
    };
    ws.onclose = () => resolve(text.includes("Authorization Violation") ? "refused" : "closed");
  });
  /** Has a service worker control the page, and returns a promise of what it sees. */
  window.spy = async (script) => {
    const changed = () => new Promise((resolve) => navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true }));
    const controls = () => navigator.serviceWorker.controller?.scriptURL.endsWith(script);
    const seen = new Promise((resolve) => navigator.serviceWorker.addEventListener("message", ({ data }) => resolve(data), { once: true }));
    await navigator.serviceWorker.register(script, { scope: "/" });
    while (!controls()) await changed();
    return { seen }; // in an object, else it would be awaited too
  };
};

async function victim(env) {
  const v = await Visitor.open(env, alice);
  await v.run(attacker);
  await v.start();
  assert.equal((await v.run(() => s.fetch("/api/seen"))).status, 200);
  return v;
}

/** The public key of the attacker, with whose private one the page signs by window.signAs. */
async function thiefOf(v) {
  const key = createUser();
  await v.page.exposeFunction("signAs", (nonce) => Buffer.from(key.sign(Buffer.from(nonce))).toString("base64url"));
  return key.getPublicKey();
}

export const checks = {
  async "nothing is found in any place of the page"(env) {
    const v = await Visitor.open(env, alice);
    await v.run(attacker);
    // The script listens to everything that leaves the page, from before the library is loaded.
    await v.run(() => {
      window.overheard = [];
      const note = (what) => { try { overheard.push(JSON.stringify(what)); } catch { overheard.push(String(what)); } };
      for (const owner of [MessagePort, Worker, BroadcastChannel]) {
        const post = owner.prototype.postMessage;
        owner.prototype.postMessage = function (...args) { note(args[0]); return post.apply(this, args); };
      }
      const { fetch: fetched, WebSocket: Socket } = window;
      window.fetch = function (...args) { note(args); return fetched.apply(this, args); };
      window.WebSocket = function (...args) { note(args); return new Socket(...args); };
      const port = Object.getOwnPropertyDescriptor(MessagePort.prototype, "onmessage");
      Object.defineProperty(MessagePort.prototype, "onmessage", {
        set(f) { port.set.call(this, (event) => { note(event.data); f(event); }); },
      });
    });
    await v.start();
    await v.run(async () => {
      await s.fetch("/api/seen");
      await s.session();
      (window.errors ??= []).push(await s.fetch("/api/fail"), await s.fetch("/other/x"));
    });
    const secrets = [await v.cookie(), JSON.parse(await v.told("ticket")).ticket, "ticket_"];
    const loot = await v.run(async () => {
      const seen = new Set();
      const deep = (value, depth = 0) => { // whatever can be reached of an object
        if (depth > 6 || value === null || typeof value !== "object" && typeof value !== "function" || seen.has(value)) {
          return typeof value === "string" ? value : "";
        }
        seen.add(value);
        let text = "";
        for (const name of Reflect.ownKeys(value)) {
          try { text += String(name) + deep(value[name], depth + 1) + " "; } catch { /* it does not let itself be read */ }
        }
        return text;
      };
      const databases = [];
      for (const { name } of await indexedDB.databases?.() ?? []) databases.push(name);
      return {
        cookies: document.cookie,
        cookieStore: window.cookieStore ? JSON.stringify(await cookieStore.getAll()) : "",
        localStorage: JSON.stringify({ ...localStorage }),
        sessionStorage: JSON.stringify({ ...sessionStorage }),
        indexedDB: JSON.stringify(databases),
        caches: JSON.stringify(await caches.keys()),
        performance: JSON.stringify(performance.getEntries()),
        serviceWorkers: JSON.stringify((await navigator.serviceWorker.getRegistrations()).map((r) => r.scope)),
        document: document.documentElement.outerHTML,
        exports: deep(lib) + deep(lib.Stamp.prototype) + String(lib.Stamp),
        instance: deep(s) + JSON.stringify(s),
        window: deep(window),
        overheard: overheard.join("\n"),
        session: await fetch("/auth/session").then((answer) => answer.text()),
        sessionHeaders: await fetch("/auth/session").then((answer) => JSON.stringify([...answer.headers])),
        page: await fetch("/").then((answer) => answer.text()),
      };
    });
    assert.equal(loot.indexedDB, "[]", "a key is stored where the page could use it");
    assert.equal(loot.serviceWorkers, "[]");
    for (const [place, text] of Object.entries(loot)) {
      for (const secret of secrets) assert.ok(!text.includes(secret), `${place} holds a secret`);
      assert.ok(!/pass["':]+\s*["'][\w-]{40}/.test(text), `${place} holds a pass`);
    }
    assert.ok(loot.overheard.includes("api.seen"), "the script does not listen to the worker, so that this check shows nothing");
  },

  async "a websocket of its own, with the cookie, is refused"(env) {
    const v = await victim(env);
    assert.equal(await v.run(() => openNATS(() => ({}))), "refused");
    assert.equal(await v.run(() => openNATS(() => ({ auth_token: "" }))), "refused");
    // Not even with the cookie itself, which the script could not know.
    assert.equal(await v.run((cookie) => openNATS(() => ({ auth_token: cookie })), await v.cookie()), "refused");
  },

  async "it gets no ticket"(env) {
    const v = await victim(env);
    const statuses = await v.run(async (nkey) => {
      const out = [];
      for (const body of [undefined, "{}", JSON.stringify({ pass: "", nkey }), JSON.stringify({ pass: "AQ".repeat(60), nkey })]) {
        out.push((await fetch("/auth/ticket", { method: "POST", body })).status);
      }
      return out;
    }, createUser().getPublicKey());
    assert.deepEqual(statuses, [403, 403, 403, 403]);
  },

  async "it does not get the worker's script, in which the pass is"(env) {
    const v = await victim(env);
    const got = await v.run(async () => {
      const url = `${location.origin}/auth/worker.js`;
      const holds = (text) => text.includes("stampSite") ? "THE PASS" : "nothing";
      // If the worker's script runs in the page, the page can see its first line, which the script removes later.
      let run = false;
      Object.defineProperty(window, "stampSite", { set() { run = true; } });
      const ran = () => run ? "THE PASS" : "nothing";
      const fetched = async (options) => holds(await fetch(url, options).then((answer) => answer.text(), () => ""));
      // The injected script starts a worker that has hooks everywhere before it loads our script.
      const hooks = `Object.defineProperty(self, "stampSite", { set(v) { postMessage("stampSite" + JSON.stringify(v)); }, configurable: true });`;
      const hooked = (text, type) => new Promise((resolve) => {
        const w = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })), { type });
        w.onmessage = ({ data }) => resolve(holds(data));
        w.onerror = () => resolve("nothing");
        setTimeout(() => resolve("nothing"), 3000);
      });
      const element = (make) => new Promise((resolve) => {
        const e = make();
        e.onload = () => {
          let text = "";
          try { text = e.contentDocument?.documentElement.outerHTML ?? ""; } catch { /* another origin's */ }
          resolve(run ? "THE PASS" : holds(text));
        };
        e.onerror = () => resolve("nothing");
        document.head.append(e);
        setTimeout(() => resolve("nothing"), 3000);
      });
      const out = {};
      for (const mode of ["cors", "same-origin", "no-cors"]) out[`fetch, ${mode}`] = await fetched({ mode });
      out["fetch, cached"] = await fetched({ mode: "same-origin", cache: "only-if-cached" });
      out["fetch, pretending"] = await fetched({ headers: { "Sec-Fetch-Dest": "worker", "Sec-Fetch-Mode": "same-origin" } });
      out.XMLHttpRequest = await new Promise((resolve) => {
        const x = new XMLHttpRequest();
        x.onloadend = () => resolve(holds(x.responseText));
        x.open("GET", url);
        try { x.setRequestHeader("Sec-Fetch-Dest", "worker"); } catch { /* not allowed */ }
        x.send();
      });
      out.import = await import(url).then(ran, ran);
      out.importScripts = await hooked(`${hooks} importScripts("${url}"); postMessage("");`, "classic");
      out["imported by a worker"] = await hooked(`${hooks} await import("${url}"); postMessage("");`, "module");
      out["imported by a worker, statically"] = await hooked(`import "data:text/javascript,${encodeURIComponent(hooks)}"; import "${url}"; postMessage("");`, "module");
      out["fetched by a worker"] = await hooked(`fetch("${url}", { mode: "same-origin" }).then((answer) => answer.text()).then(postMessage)`, "classic");
      out.script = await element(() => Object.assign(document.createElement("script"), { src: url }));
      out.module = await element(() => Object.assign(document.createElement("script"), { src: url, type: "module" }));
      out.iframe = await element(() => Object.assign(document.createElement("iframe"), { src: url }));
      out.object = await element(() => Object.assign(document.createElement("object"), { data: url }));
      out.preload = await element(() => Object.assign(document.createElement("link"), { rel: "preload", as: "worker", href: url }));
      // A module is fetched for a worker, and imported by the page.
      for (const as of ["worker", "sharedworker", "serviceworker", "script"]) {
        const rushed = `${url}?as=${as}`;
        await element(() => Object.assign(document.createElement("link"), { rel: "modulepreload", as, href: rushed }));
        out[`modulepreload, ${as}`] = await import(rushed).then(ran, ran);
      }
      out["modulepreload, as HTML has it"] = await import(`${url}?preloaded`).then(ran, ran);
      out.shared = await new Promise((resolve) => {
        const w = new SharedWorker(url);
        w.onerror = () => resolve("nothing");
        w.port.onmessage = () => resolve("THE PASS");
        setTimeout(() => resolve("nothing"), 1000);
      });
      out["as a service worker"] = await navigator.serviceWorker.register(url).then(() => "THE PASS", () => "nothing");
      return out;
    });
    for (const [way, what] of Object.entries(got)) assert.equal(what, "nothing", way);
  },

  async "a service worker of its own does not see the pass either"(env) {
    const v = await victim(env);
    for (const query of ["", "?race"]) { // Chromium can have the network race the service worker
      const got = await v.run(async (query) => {
        const { seen } = await spy(`/evil/passes.js${query}`);
        const other = new lib.Stamp();
        const error = await other.start().then(() => "started", (err) => err.message);
        const { status, text } = await seen;
        return { error, status, pass: text.includes("stampSite") };
      }, query);
      assert.deepEqual([got.status, got.pass], [403, false], query);
      assert.match(got.error, /could not be started/, "expected the page to fail visibly, since the worker's script is refused");
    }
  },

  async "nor can one that lets the script pass open a connection with what the worker asks for"(env) {
    const v = await victim(env);
    const thief = await thiefOf(v);
    const got = await v.run(async (own) => {
      const { seen } = await spy(`/evil/listens.js?key=${own}`);
      const other = new lib.Stamp();
      await other.start();
      const user = (await other.fetch("/api/seen")).body.headers["X-User"][0];
      const { asked: { pass, nkey }, enrolled, ticket } = await seen;
      return {
        user, enrolled, whole: [pass, nkey, ticket].every((text) => typeof text === "string"),
        used: await openNATS(async (nonce) => ({ auth_token: ticket, nkey, sig: await signAs(nonce) })),
      };
    }, thief);
    assert.deepEqual(got, { user: "id2", enrolled: [403, 403, 403], whole: true, used: "refused" });
  },

  async "a ticket that leaked is worth nothing without the worker's key"(env) {
    const v = await victim(env);
    const thief = await thiefOf(v);
    const used = JSON.parse(await v.told("ticket"));
    // A ticket that was not used, because it was changed on its way to the worker.
    await v.control("spoil/on");
    let fresh;
    try {
      fresh = await v.run(async () => {
        const other = new lib.Stamp();
        const refused = new Promise((resolve) => other.addEventListener("state", ({ detail }) => detail.state === "refused" && resolve()));
        await other.start();
        await refused;
        other.close();
      }).then(() => v.told("ticket")).then(JSON.parse);
    } finally {
      await v.control("spoil/off");
    }
    assert.notEqual(fresh.ticket, used.ticket);
    for (const { ticket, nkey } of [used, fresh]) {
      assert.match(nkey, /^U[A-Z2-7]{55}$/);
      const tries = await v.run(async (ticket, nkey, own) => [
        await openNATS(() => ({ auth_token: ticket })),
        await openNATS(() => ({ auth_token: ticket, nkey })),
        await openNATS(async (nonce) => ({ auth_token: ticket, nkey, sig: await signAs(nonce) })),
        await openNATS(async (nonce) => ({ auth_token: ticket, nkey: own, sig: await signAs(nonce) })),
      ], ticket, nkey, thief);
      assert.deepEqual(tries, ["refused", "refused", "refused", "refused"]);
    }
  },

  async "it cannot have the worker connect elsewhere, or do more than the API"(env) {
    const v = await victim(env);
    let reached = 0;
    const elsewhere = createServer((_, answer) => { reached++; answer.end(); });
    elsewhere.on("upgrade", (_, socket) => { reached++; socket.destroy(); });
    await new Promise((resolve) => elsewhere.listen(0, "127.0.0.1", resolve));
    const evil = `127.0.0.1:${elsewhere.address().port}`;
    const answers = await v.run(async (evil) => {
      const config = { websocket: `ws://${evil}`, ticket: `http://${evil}/ticket`, session: `http://${evil}/session`, logout: `http://${evil}/` };
      const w = new Worker(`/auth/worker.js?websocket=ws://${evil}#ws://${evil}`), { port1, port2 } = new MessageChannel();
      w.postMessage({ stampSite: config, ...config }, [port2]);
      w.postMessage(config);
      const answers = {};
      const ask = (message) => new Promise((resolve) => {
        const id = message.id;
        port1.addEventListener("message", ({ data }) => { if (data.id === id) resolve(answers[id] = data); });
        port1.start();
        port1.postMessage(message);
      });
      await ask({ op: "start", limits: config, ...config, id: 1 });
      await ask({ op: "eval", code: `fetch("http://${evil}")`, id: 2 });
      await ask({ op: "__proto__", id: 3 });
      await ask({ op: "request", subject: "api.seen", headers: {}, data: new Uint8Array(0), servers: [`ws://${evil}`], id: 4 });
      await ask({ op: "ticket", id: 5 });
      await ask({ op: "request", subject: "api.seen\r\nPUB other.x 0", headers: { "a": "b\r\nX-User: admin" }, data: new Uint8Array(0), id: 6 });
      await ask({ op: "request", subject: "api.seen 5", headers: {}, data: new Uint8Array(0), id: 7 });
      await ask({ op: "request", subject: "api.seen 0\r\n\r\nCONNECT {}\r\nPUB api.seen", headers: {}, data: new Uint8Array(0), id: 8 });
      await ask({ op: "publish", subject: "api.seen", reply: "x 0\r\n\r\nCONNECT {}\r\nPUB api.seen", headers: {}, data: new Uint8Array(0), id: 9 });
      await ask({ op: "subscribe", subject: "shared.x 7\r\nCONNECT {}\r\nSUB shared.y", subscription: 1, id: 10 });
      await ask({ op: "subscribe", subject: "shared.x", queue: "q 7\r\nCONNECT {}\r\nSUB shared.y", subscription: 2, id: 11 });
      await ask({ op: "request", subject: "api.seen", headers: {}, data: new Uint8Array(0), id: 12 });
      return Object.fromEntries(Object.entries(answers).map(([id, { error, value }]) => [id, error?.message ?? typeof value]));
    }, evil);
    elsewhere.close();
    elsewhere.closeAllConnections();
    assert.equal(reached, 0, "the worker connected to another server");
    assert.deepEqual([answers[1], answers[2], answers[3], answers[4], answers[5]], ["object", "unknown operation", "unknown operation", "object", "unknown operation"]);
    for (const id of [6, 7, 8, 9, 10, 11]) assert.notEqual(answers[id], "object", String(id));
    assert.equal(answers[12], "object", "the request after those with line breaks was not answered");
  },

  async "the token that is stamped comes back to nobody"(env) {
    const v = await victim(env);
    const got = await v.run(async () => {
      const seen = [];
      let both;
      const enough = new Promise((resolve) => { both = resolve; });
      await s.subscribe("shared.mine", (msg) => { seen.push([...msg.headers]); if (seen.length === 2) both(); });
      await s.publish("shared.mine", "", { headers: { "X-Own": "a" } });
      // The same for a script that sends messages to the worker itself.
      const w = new Worker("/auth/worker.js"), { port1, port2 } = new MessageChannel();
      w.postMessage(null, [port2]);
      const raw = new Promise((resolve) => { port1.onmessage = ({ data }) => { if (data.event === "message") resolve(new TextDecoder().decode(data.message.data.buffer) + JSON.stringify(data.message.headers)); }; });
      port1.postMessage({ op: "start", limits: {}, id: 1 });
      port1.postMessage({ op: "subscribe", subject: "shared.mine", subscription: 1, id: 2 });
      port1.postMessage({ op: "publish", subject: "shared.mine", headers: {}, data: new TextEncoder().encode("raw"), id: 3 });
      const heard = await raw;
      await enough;
      return { seen, heard };
    });
    assert.deepEqual(got.seen, [[["X-Own", ["a"]], ["X-User", ["id2"]]], [["X-User", ["id2"]]]]);
    assert.equal(got.heard, `raw[["X-User",["id2"]]]`);
  },

  async "forged headers are replaced"(env) {
    const v = await victim(env);
    const { body } = await v.run(() => s.request("api.seen", "", { headers: { "X-User": ["admin", "root"], "x_user": "admin", "x-USER": "admin", authorization: "Bearer mine" } }).then((msg) => ({ body: msg.json() })));
    assert.deepEqual(body.headers, { "X-User": ["id2"], Authorization: ["Bearer token"] });
  },

  async "the answers that others get do not pass here"(env) {
    const v = await victim(env);
    const other = await Visitor.open(env, bob);
    await other.start();
    const tried = await v.run(async () => {
      const out = [];
      for (const subject of ["_INBOX.id1.>", "_INBOX.>", "_INBOX.*.*", ">", "api.>", "$SYS.>"]) {
        out.push(await s.subscribe(subject, () => {}).then(() => `${subject} is let through`, (err) => err.code));
      }
      return out;
    });
    assert.deepEqual(tried, tried.map(() => "denied"));
    assert.equal((await other.run(() => s.fetch("/api/seen"))).body.headers["X-User"][0], "id1");
  },

  async "a foreign origin can neither frame nor connect"(env) {
    const v = await victim(env);
    const elsewhere = createServer((_, answer) => answer.setHeader("Content-Type", "text/html").end("<!doctype html><title>elsewhere</title>"));
    await new Promise((resolve) => elsewhere.listen(0, "127.0.0.1", resolve));
    // For a browser, origins that differ only in their ports are the same site, so SameSite does not help.
    for (const host of ["127.0.0.1", "localhost"]) {
      const page = await v.context.newPage();
      await page.goto(`http://${host}:${elsewhere.address().port}/`);
      const got = await page.evaluate(async (origin) => {
        const framed = (path) => new Promise((resolve) => {
          const frame = document.createElement("iframe");
          addEventListener("message", () => resolve("framed"));
          frame.onload = () => setTimeout(() => resolve("not framed"), 300);
          frame.src = origin + path;
          document.body.append(frame);
        });
        const read = (path, options) => fetch(origin + path, { credentials: "include", ...options }).then(() => "read", () => "not read");
        const started = (make) => new Promise((resolve) => {
          try {
            const w = make();
            w.onerror = () => resolve("no worker");
            w.onmessage = () => resolve("worker");
            setTimeout(() => resolve("no worker"), 1000);
          } catch { resolve("no worker"); }
        });
        return {
          page: await framed("/"),
          session: await read("/auth/session"),
          ticket: await read("/auth/ticket", { method: "POST", body: "{}" }),
          logout: await read("/auth/logout", { method: "POST" }),
          script: await read("/auth/worker.js"),
          worker: await started(() => new Worker(`${origin}/auth/worker.js`)),
          websocket: await new Promise((resolve) => {
            const ws = new WebSocket(`${origin.replace("http", "ws")}/nats`);
            ws.onopen = () => resolve("open");
            ws.onerror = () => resolve("not open");
          }),
        };
      }, env.origin);
      assert.deepEqual(got, {
        page: "not framed", session: "not read", ticket: "not read", logout: "not read", script: "not read", worker: "no worker", websocket: "not open",
      }, host);
      await page.close();
    }
    elsewhere.close();
    elsewhere.closeAllConnections();
    assert.equal((await v.run(() => s.fetch("/api/seen"))).status, 200, "the foreign origin has signed the visitor out");
  },

  async "noise on the channel between tabs changes nothing"(env) {
    const v = await victim(env);
    await v.run(async () => {
      const channel = new BroadcastChannel("stamp");
      for (let n = 0; n < 500; n++) channel.postMessage(n % 2 ? "ended" : { state: "signed-out" });
      await s.fetch("/api/seen");
    });
    assert.equal((await v.run(() => s.fetch("/api/seen"))).status, 200);
    assert.equal(await v.run(() => s.state), "connected");
  },

  // The attack that works, as docs/browser.md says.
  async "it can use the session while the page is open, and no longer"(env) {
    const v = await victim(env);
    const stolen = await v.run(async () => {
      const mine = new lib.Stamp(); // the page's own, or one of its own: all the same
      await mine.start();
      return (await mine.fetch("/api/seen")).body.headers["X-User"][0];
    });
    assert.equal(stolen, "id2");
    const before = Number(await v.told("connections"));
    await v.page.close(); // to leave it is less: browsers keep it, frozen, for who comes back
    for (const end = Date.now() + 60_000; Number(await v.told("connections")) > before - 2;) assert.ok(Date.now() < end, "the connections of the page are open still, a minute after the page was closed");
  },
};
