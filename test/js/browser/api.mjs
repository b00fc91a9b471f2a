// What the package promises to pages.
import assert from "node:assert/strict";
import { alice, bob, fillIn, until, Visitor } from "./visitor.mjs";

export const checks = {
  async "start() says that a visitor is not signed in"(env) {
    const v = await Visitor.open(env);
    const started = await v.start();
    assert.deepEqual(started, { authenticated: false, key: true, login: `${env.origin}/auth/login` });
    const answer = await v.run(() => s.fetch("/api/seen"));
    assert.deepEqual(answer, { status: 401, headers: {}, body: { error: "not signed in" } });
    assert.equal(await v.run(() => s.state), "signed-out");
  },

  async "start() and session() give the listed claims of a visitor who is signed in"(env) {
    const v = await Visitor.open(env, alice);
    const { expires, ...started } = await v.start();
    assert.deepEqual(started, { authenticated: true, key: true, login: `${env.origin}/auth/login`, claims: started.claims });
    assert.ok(expires > Date.now() / 1000, `the session ended at ${expires}`);
    assert.deepEqual(Object.keys(started.claims).filter((name) => name !== "name"), ["sub"]); // the provider has an e-mail address too
    const again = await v.run(() => s.session());
    assert.deepEqual(again, { authenticated: true, expires, claims: started.claims });
    assert.deepEqual(await v.run(() => s.start()), { ...started, expires }, "a second start() gives the answer of the first one");
    const twice = await v.run(() => {
      const other = new lib.Stamp();
      return Promise.all([other.start(), other.start()]).then((told) => told.map(({ authenticated }) => authenticated));
    });
    assert.deepEqual(twice, [true, true]);
  },

  async "URLs of options are relative to what <base href> says, also in a frame of srcdoc, and the way back is that to the page"(env) {
    const v = await Visitor.open(env, alice);
    const started = async (page, worker) => {
      const s = new page.Stamp({ worker, timeout: 10_000 });
      return s.start().then(({ authenticated }) => (s.close(), authenticated), (err) => err.message);
    };
    await v.run((started) => { window.started = (0, eval)(`(${started})`); }, started.toString());
    const got = await v.run(async () => {
      const lib = await import("/dist/stamp.js"), base = document.createElement("base");
      document.head.append(base);
      base.href = "/auth/";
      const out = [await started(lib, "worker.js"), await started(lib)];
      base.href = "https://other.example/";
      out.push(await started(lib), await started(lib, new URL("/auth/worker.js", location)));
      base.remove();
      const frame = document.createElement("iframe");
      frame.srcdoc = `<base href="/auth/"><script src="/dist/stamp.script.js"></script>`;
      document.body.append(frame);
      await new Promise((resolve) => { frame.onload = resolve; });
      out.push(await started(frame.contentWindow.stamp, "worker.js"), await started(frame.contentWindow.stamp));
      const s = new frame.contentWindow.stamp.Stamp({ login: "../dist/LICENSE" });
      const left = new Promise((resolve) => { frame.onload = resolve; });
      s.login();
      await left;
      out.push(frame.contentWindow.location.href.slice(location.origin.length));
      return out;
    });
    assert.deepEqual(got, [true, true, true, true, true, true, "/dist/LICENSE?to=%2F"]);
    await v.page.goto(`${env.origin}/?of=page`);
    await v.run(async () => {
      const lib = await import("/dist/stamp.js"), base = document.createElement("base");
      base.href = "/below/";
      document.head.append(base);
      new lib.Stamp({ login: "sign-in" }).login();
    });
    await until(v.page, () => location.pathname === "/below/sign-in");
    assert.equal(await v.run(() => location.search), "?to=%2F%3Fof%3Dpage");
  },

  async "login() goes to the provider and comes back signed in"(env) {
    const v = await Visitor.open(env);
    await v.start();
    await v.run(() => { setTimeout(() => s.login("/?from=login")); });
    await fillIn(alice, v.page);
    await until(v.page, () => location.search === "?from=login");
    assert.equal((await v.start()).authenticated, true);
  },

  async "fetch() sends resource, method and query, and the server adds the user"(env) {
    const v = await Visitor.open(env, alice);
    await v.start();
    const { status, headers, body } = await v.run(() => s.fetch("/api/seen/users/7?deep=1&x=%20", {
      headers: { "X-Own": "mine", "x-user": "admin", Authorization: "Bearer forged", "X_User": "admin" },
    }));
    assert.equal(status, 200);
    assert.deepEqual(headers, {});
    assert.equal(body.subject, "api.seen.users.7");
    assert.deepEqual(body.headers, {
      Authorization: ["Bearer token"], "X-User": ["id2"], "X-Own": ["mine"], Method: ["GET"], Query: ["deep=1&x=%20"],
    });
  },

  async "bodies are JSON, or what their type says"(env) {
    const v = await Visitor.open(env, alice);
    await v.start();
    const put = await v.run(() => s.fetch("/api/seen", { method: "put", body: { a: [1, "ü"] } }));
    assert.equal(Buffer.from(put.body.body, "base64").toString(), '{"a":[1,"ü"]}');
    assert.deepEqual([put.body.headers["Content-Type"], put.body.headers.Method], [["application/json"], ["PUT"]]);
    const got = await v.run(async () => {
      const out = {};
      const echo = async (body, headers) => {
        const answer = await s.fetch("/api/echo", { method: "POST", body, headers });
        return { status: answer.status, type: answer.headers["content-type"], body: answer.body instanceof Uint8Array ? [...answer.body] : answer.body };
      };
      out.json = await echo({ a: 1 });
      out.problem = await echo({ a: 1 }, { "content-type": "application/problem+json; charset=utf-8" });
      out.text = await echo("plain", { "Content-Type": "text/plain" });
      out.bytes = await echo(new Uint8Array([0, 255, 13, 10]));
      out.blob = await echo(new Blob(["<b>"], { type: "text/html" }));
      out.params = await echo(new URLSearchParams({ a: "1", b: "ü" }), { "Content-Type": "text/plain" });
      const form = new FormData();
      form.set("file", new Blob(["content"]), "name.txt");
      out.form = await echo(form);
      out.nothing = await s.fetch("/api/untyped", { method: "POST" }).then((answer) => answer.body);
      out.guessed = await s.fetch("/api/untyped", { body: '{"a":1}' }).then((answer) => answer.body);
      out.guessedText = await s.fetch("/api/untyped", { body: "{a" }).then((answer) => answer.body);
      out.object = await s.fetch("/api/echo", { body: { a: 1 }, headers: { "Content-Type": "text/csv" } }).catch((err) => err.name);
      return out;
    });
    assert.deepEqual(got.json, { status: 201, type: "application/json", body: { a: 1 } });
    assert.deepEqual(got.problem.body, { a: 1 });
    assert.deepEqual(got.text, { status: 201, type: "text/plain", body: "plain" });
    assert.deepEqual(got.bytes, { status: 201, type: "application/octet-stream", body: [0, 255, 13, 10] });
    assert.deepEqual(got.blob, { status: 201, type: "text/html", body: "<b>" });
    assert.deepEqual(got.params.body, "a=1&b=%C3%BC");
    assert.match(got.form.type, /^multipart\/form-data; ?boundary=/);
    assert.match(Buffer.from(got.form.body).toString(), /name="file"; filename="name.txt"[\s\S]*content/);
    assert.deepEqual([got.nothing, got.guessed, got.guessedText, got.object], [null, { a: 1 }, "{a", "TypeError"]);
  },

  async "headers of answers are an object, without credentials"(env) {
    const v = await Visitor.open(env, alice);
    await v.start();
    const { headers } = await v.run(() => s.fetch("/api/echo", { body: 1 }));
    assert.deepEqual(headers, { status: "201", "x-several": "a, b", "x-custom-authorization": "x", "content-type": "application/json" });
  },

  async "errors are answers"(env) {
    const v = await Visitor.open(env, alice);
    await v.start();
    const fetched = (path, options) => v.run((path, options) => s.fetch(path, options), path, options);
    assert.deepEqual(await fetched("/api/fail").then(({ status, body }) => ({ status, body })), { status: 409, body: { field: "name", error: "already there", details: { field: "name" } } });
    assert.deepEqual(await fetched("/api/nobody"), { status: 503, headers: {}, body: { error: "nobody answers there" } });
    const denied = await fetched("/other/thing");
    assert.deepEqual([denied.status, denied.headers], [403, {}]);
    assert.match(denied.body.error, /Permissions Violation for Publish to "other.thing"/i);
    const broken = await v.run(() => s.fetch("/api/broken").then(({ status, body }) => [status, body.error, body.details instanceof Uint8Array, body.details.length]));
    assert.deepEqual(broken, [502, "the answer's body is not JSON, which its Content-Type says it is", true, 1]);
    const large = await v.run(async () => s.fetch("/api/seen", { body: "x".repeat(2 << 20) }));
    assert.equal(large.status, 413, JSON.stringify(large));
    const odd = await v.run(async () => {
      const out = [(await s.fetch("/api/seen", { headers: { "X-Page": 2, "X-Pages": [1, 2] } })).body.headers];
      for (const options of [{ timeout: 0 }, { timeout: NaN }, { timeout: "1" }, { body: new ReadableStream() }]) out.push(await s.fetch("/api/seen", options).then(() => "sent", (err) => err.name));
      for (const options of [{ timeout: -1 }, { concurrency: 0 }]) {
        try { new lib.Stamp(options); } catch (err) { out.push(err.message); }
      }
      const payload = new TextEncoder().encode("first");
      const asked = s.request("api.seen", payload);
      payload.fill(0x78);
      out.push(atob((await asked).json().body));
      out.push(await s.subscribe("shared.x", () => {}, { queue: () => {} }).then(() => "sent", (err) => err.name));
      return out;
    });
    assert.deepEqual([odd[0]["X-Page"], odd[0]["X-Pages"]], [["2"], ["1", "2"]]);
    assert.deepEqual(odd.slice(1), [
      "TypeError", "TypeError", "TypeError", "TypeError", "timeout: expected a positive number; found -1", "concurrency: expected a positive whole number; found 0", "first", "TypeError",
    ]);
    const wrong = await v.run(async () => {
      const out = [];
      for (const path of ["https://elsewhere.example/api", "/api//x", "/api/%zz", "http://["]) out.push(await s.fetch(path).then(() => "sent", (err) => err.name));
      return out;
    });
    assert.deepEqual(wrong, ["TypeError", "TypeError", "TypeError", "TypeError"]);
  },

  async "an AbortSignal ends a request, and gives its turn back"(env) {
    const v = await Visitor.open(env, alice);
    await v.start({ ordered: true, timeout: 600_000 }); // so that only the signal can end one
    const got = await v.run(async () => {
      const name = (promise) => promise.then(() => "answered", (err) => err.name ?? String(err));
      const out = [await name(s.fetch("/api/seen", { signal: AbortSignal.abort() }))];
      const controller = new AbortController();
      const first = name(s.fetch("/api/silent", { signal: controller.signal }));
      const queued = new AbortController();
      const second = name(s.fetch("/api/silent", { signal: queued.signal }));
      const third = s.fetch("/api/seen");
      queued.abort("no more");
      out.push(await second);
      controller.abort();
      out.push(await first, (await third).status);
      out.push(await name(s.fetch("/api/silent", { signal: AbortSignal.timeout(50) })));
      out.push((await s.fetch("/api/seen")).status);
      return out;
    });
    assert.deepEqual(got, ["AbortError", "no more", "AbortError", 200, "TimeoutError", 200]);
  },

  async "ordered requests go one at a time, in the order of the calls; others up to a bound"(env) {
    const v = await Visitor.open(env, alice);
    const send = () => v.run(async () => {
      await Promise.all(Array.from({ length: 30 }, (_, n) => s.fetch("/api/order", {
        body: n % 3 === 1 ? new Blob([String(n)]) : n, // which is read before it can be sent
      })));
      return (await s.fetch("/api/order/result")).body;
    });
    await v.start({ ordered: true });
    assert.deepEqual(await send(), { numbers: Array.from({ length: 30 }, (_, n) => n), most: 1 });
    // If a request cannot be sent, the next one does not overtake those before it.
    assert.deepEqual(await v.run(async () => {
      const calls = [new Blob(["1"]), { n: 2n }, 3].map((body) => s.fetch("/api/order", { body }).then(({ status }) => status, (err) => err.name));
      return [await Promise.all(calls), (await s.fetch("/api/order/result")).body.numbers];
    }), [[200, "TypeError", 200], [1, 3]]);
    await v.start({ concurrency: 4 });
    const bound = await send();
    assert.ok(bound.most > 1 && bound.most <= 4, `${bound.most} requests at once, want 2 to 4`);
    await v.start();
    const usual = await send();
    assert.ok(usual.most > 1 && usual.most <= 16, `${usual.most} requests at once, want 2 to 16`);
  },

  async "a time-out shortens those after it, for a while"(env) {
    const v = await Visitor.open(env, alice);
    await v.start({ timeout: 2500, timeoutAfter: 800, recovery: 4000 });
    const texts = await v.run(async () => {
      const silent = async () => {
        const { status, body } = await s.fetch("/api/silent");
        return `${status} ${body.error}`;
      };
      const out = [await silent(), await silent(), (await s.fetch("/api/seen")).status];
      for (let text = ""; !text.includes("2500"); ) out.push(text = await silent()); // it is the usual time again
      out.push(await s.fetch("/api/silent", { timeout: 33 }).then(({ body }) => body.error));
      return out;
    });
    assert.deepEqual(texts.slice(0, 3), ["504 timed out after 2500 ms", "504 timed out after 800 ms", 200]);
    assert.deepEqual(texts.slice(-2), ["504 timed out after 2500 ms", "timed out after 33 ms"]);
  },

  async "request, publish, subscribe"(env) {
    const v = await Visitor.open(env, alice);
    await v.start();
    const got = await v.run(async () => {
      const out = { errors: [] };
      s.addEventListener("error", ({ detail }) => out.errors.push(detail.message));
      const answer = await s.request("shared.ask", "question");
      out.answer = [answer.text(), answer.subject.startsWith("_INBOX.id2."), answer.data instanceof Uint8Array];
      out.unanswered = await s.request("api.nobody").catch((err) => [err.name, err.code]);
      out.denied = await s.request("other.x").catch((err) => err.code);
      const seen = [];
      let arrived;
      const enough = new Promise((resolve) => { arrived = resolve; });
      const sub = await s.subscribe("shared.news.*", (msg) => {
        seen.push([msg.subject, msg.json(), [...msg.headers].find(([name]) => name === "X-Own")?.[1] ?? null, msg.reply ?? null]);
        if (seen.length === 2) arrived();
      });
      await s.publish("shared.news.one", '{"n":1}', { headers: { "X-Own": ["a", "b"] }, reply: "shared.back" });
      await s.publish("shared.news.two", new TextEncoder().encode("2"));
      await enough;
      await sub.unsubscribe();
      await s.publish("shared.news.three", "3");
      out.refused = await s.subscribe("secret.>", () => {}).catch((err) => [err.code, err.message]);
      const refused = new Promise((resolve) => s.addEventListener("error", resolve, { once: true }));
      await s.publish("secret.x", "");
      await refused; // those of before would have come before it
      out.seen = seen;
      return out;
    });
    assert.deepEqual(got.answer, ["answer", true, true]);
    assert.deepEqual(got.unanswered, ["StampError", "unanswered"]);
    assert.equal(got.denied, "denied");
    assert.deepEqual(got.seen, [["shared.news.one", { n: 1 }, ["a", "b"], "shared.back"], ["shared.news.two", 2, null, null]]);
    assert.equal(got.refused[0], "denied");
    assert.match(got.refused[1], /Permissions Violation for Subscription to "secret.>"/i);
    assert.equal(got.errors.length, 1, "only errors that no caller waits for are events");
    assert.match(got.errors[0], /Publish to "secret.x"/i);
  },

  async "a lost connection comes back, with its subscriptions"(env) {
    const v = await Visitor.open(env, alice);
    await v.start();
    await v.run(async () => {
      window.news = [];
      await s.subscribe("shared.lost", (msg) => news.push(msg.text()));
      window.silent = s.fetch("/api/silent");
    });
    await v.drop();
    const { status, body } = await v.run(() => silent);
    assert.deepEqual([status, body.error], [503, "the connection was lost before the answer came"]);
    await until(v.page, () => s.state === "connected");
    await v.run(() => s.publish("shared.lost", "back"));
    await until(v.page, () => news.includes("back"));
    assert.deepEqual(await v.run(() => states.map(({ state }) => state)), ["connecting", "connected", "lost", "connected"]);
  },

  async "a connection that carries nothing any more is given up"(env) {
    const v = await Visitor.open(env, alice);
    await v.start({ timeout: 300, timeoutAfter: 300, recovery: 0 });
    assert.equal((await v.run(() => s.fetch("/api/seen"))).status, 200);
    await v.control("silence");
    assert.equal((await v.run(() => s.fetch("/api/seen"))).status, 504); // this makes the worker check the connection
    await until(v.page, () => states.some(({ state, reason }) => state === "lost" && reason === "the server does not answer"));
    await until(v.page, () => s.state === "connected");
    assert.equal((await v.run(() => s.fetch("/api/seen", { timeout: 20_000 }))).status, 200);
  },

  async "expiry and renewal are invisible"(env) {
    const v = await Visitor.open(env, alice);
    await v.start();
    await v.run(() => s.fetch("/api/seen"));
    const before = Number(await v.told("renewals")); // a user JWT lives for 10 s here
    for (const end = Date.now() + 60_000; Number(await v.told("renewals")) === before;) {
      assert.ok(Date.now() < end, "no renewal in a minute");
      assert.equal((await v.run(() => s.fetch("/api/seen"))).status, 200);
    }
    assert.equal((await v.run(() => s.fetch("/api/seen"))).body.headers["X-User"][0], "id2");
    assert.deepEqual(await v.run(() => states.map(({ state }) => state)), ["connecting", "connected"]);
  },

  async "a refused connection tells the page, and is tried again"(env) {
    const v = await Visitor.open(env, alice);
    try {
      await v.control("spoil/on");
      await v.start();
      await until(v.page, () => states.some(({ state, reason }) => state === "refused" && /authorization violation/i.test(reason)));
      const { status, body } = await v.run(() => s.fetch("/api/seen", { timeout: 50 }));
      assert.equal(status, 503);
      assert.match(body.error, /timed out after 50 ms: the connection is refused/);
    } finally {
      await v.control("spoil/off");
    }
    await until(v.page, () => s.state === "connected");
    assert.equal((await v.run(() => s.fetch("/api/seen"))).status, 200);
  },

  async "logout in one tab ends them all, and a new sign-in begins anew"(env) {
    const v = await Visitor.open(env, alice);
    const other = await v.tab();
    await v.start();
    await v.start({}, other);
    for (const page of [v.page, other]) assert.equal((await page.evaluate(() => s.fetch("/api/seen"))).status, 200);
    const stranger = await Visitor.open(env, bob);
    await stranger.start();
    assert.equal((await stranger.run(() => s.fetch("/api/seen"))).body.headers["X-User"][0], "id1");
    await other.evaluate(() => s.subscribe("shared.x", () => {}, { failed: (err) => { window.ended = err.code; } }));
    const told = await v.run(() => s.logout());
    assert.match(told.end_session_url, /^http:\/\/localhost:\d+\/end_session\?client_id=web&/);
    await until(other, () => s.state === "signed-out");
    assert.equal(await v.run(() => s.state), "signed-out");
    assert.equal(await other.evaluate(() => ended), "signed-out");
    assert.deepEqual(await other.evaluate(() => s.fetch("/api/seen").then(({ status }) => status)), 401);
    assert.deepEqual(await other.evaluate(() => s.session()), { authenticated: false });
    assert.equal(await v.cookie(), undefined);
    assert.equal((await stranger.run(() => s.fetch("/api/seen"))).status, 200, "the logout of one visitor signs out another one");
    const back = await v.tab();
    await v.signIn(alice, back);
    assert.equal(await other.evaluate(async () => (await s.start()).authenticated), true);
    assert.equal((await other.evaluate(() => s.fetch("/api/seen"))).status, 200);
  },

  async "a reload and a second tab have workers and keys of their own"(env) {
    const v = await Visitor.open(env, alice);
    for (let round = 0; round < 3; round++) {
      await v.start();
      assert.equal((await v.run(() => s.fetch("/api/seen"))).body.headers["X-User"][0], "id2");
      await v.page.reload();
    }
  },

  async "a visitor who signs in as another user is not taken for the first one"(env) {
    const v = await Visitor.open(env, alice);
    await v.start();
    assert.equal((await v.run(() => s.fetch("/api/seen"))).body.headers["X-User"][0], "id2");
    const other = await v.tab();
    await v.signIn(bob, other); // the session of before ends
    await until(v.page, () => s.state === "signed-out");
    await v.start({}, other);
    assert.equal((await other.evaluate(() => s.fetch("/api/seen"))).body.headers["X-User"][0], "id1");
    assert.equal((await v.run(() => s.fetch("/api/seen"))).status, 401);
    await v.run(() => s.start());
    assert.equal((await v.run(() => s.fetch("/api/seen"))).body.headers["X-User"][0], "id1");
  },

  async "close() ends the worker"(env) {
    const v = await Visitor.open(env, alice);
    await v.start();
    const got = await v.run(async () => {
      await s.fetch("/api/seen");
      const waiting = s.request("api.silent").catch((err) => [err.code, err.message]);
      await new Promise((resolve) => setTimeout(resolve)); // it is sent
      s.close();
      return [await waiting, (await s.fetch("/api/seen")).body.error, s.state];
    });
    assert.deepEqual(got, [["closed", "closed"], "not started: call start() first", "closed"]);
    await v.run(() => s.start());
    assert.equal((await v.run(() => s.fetch("/api/seen"))).status, 200);
  },

  async "a plain script tag will do"(env) {
    const v = await Visitor.open(env, alice);
    const page = await v.tab("/script");
    assert.equal(await page.evaluate(async () => {
      const s = new stamp.Stamp();
      await s.start();
      return (await s.fetch("/api/seen")).body.headers["X-User"][0];
    }), "id2");
  },

  async "a page that is isolated from other origins can start a worker too"(env) {
    const v = await Visitor.open(env, alice);
    await v.page.goto(`${env.origin}/isolated`);
    assert.equal(await v.run(() => crossOriginIsolated), true);
    await v.start();
    assert.equal((await v.run(() => s.fetch("/api/seen"))).status, 200);
  },

  async "start() fails if there is no worker's script"(env) {
    const v = await Visitor.open(env, alice);
    await assert.rejects(v.start({ worker: "/auth/nothing.js" }), /the worker \/auth\/nothing.js could not be started/);
    const text = await v.run(() => `start() has failed: ${s.ended.message}`);
    assert.deepEqual(await v.run(async () => [await s.fetch("/api/seen"), s.state, await s.session().catch((err) => [err.code, err.message])]), [
      { status: 503, headers: {}, body: { error: text } }, "closed", ["no-worker", text],
    ]);
  },

  async "a browser without Ed25519 is told so, where a key is required"(env) {
    const v = await Visitor.open(env, alice);
    try {
      await v.control("ed25519/off");
      assert.equal((await v.start()).key, false);
      await until(v.page, () => s.state === "closed");
      const { status, body } = await v.run(() => s.fetch("/api/seen"));
      assert.deepEqual([status, body.error], [503, "closed: this browser lacks Ed25519, which the site requires"]);
    } finally {
      await v.control("ed25519/on");
    }
  },
};
