// The table of docs/browser.md, row by row: what a page that was written for rest-secure can use here.
import assert from "node:assert/strict";
import { alice, until, Visitor } from "./visitor.mjs";

/** A visitor with the class of rest-secure as window.rs. */
async function open(env, user, options = {}) {
  const v = await Visitor.open(env, user);
  await v.run(async (options) => {
    window.lib = await import("/dist/stamp.js");
    window.rs = new lib.REST_Secure({ QOper8: class {}, endpoint: location.origin, ...options });
  }, options);
  return v;
}

export const checks = {
  // As it is printed there, except for QOper8, which must be a real one.
  async "the code of its README, from top to bottom"(env) {
    const v = await Visitor.open(env, alice);
    const got = await v.run(async () => {
      class QOper8 {}
      const { Rest_Secure, REST_Secure } = await import("/dist/stamp.js");
      const out = [typeof Rest_Secure];
      let rest_secure = new REST_Secure({ QOper8: QOper8, endpoint: "https://www.example.com/app", refresh_token_uri: "/api/refresh_token", timeout: 5000, "content-type": "application/json", authHeader: { request: "X-Custom-Authorization", response: "x-custom-authorization" } });
      let status = await rest_secure.start();
      if (status.error) return status.error;
      out.push(status.already_authenticated);
      let res = await rest_secure.fetch("/api/seen", { method: "GET" });
      const printed = JSON.parse(JSON.stringify(res, null, 2)); // as its example prints it
      out.push(Object.keys(printed).sort().join(), printed.body.user);
      res = await rest_secure.fetch("/api/seen", { method: "POST", body: { username: "xxxxxxx", password: "yyyyyyyy" }, jwt_claims: ["sub", "Sub"] });
      out.push(res.body.sub, "Sub" in res.body);
      res = await rest_secure.fetch("/api/nothing");
      out.push(typeof res.body.error);
      for (const timeout of [0, null]) out.push(new REST_Secure({ QOper8, endpoint: "/app", timeout }).name); // where it takes its own
      return out;
    });
    assert.deepEqual(got, ["function", true, "body,headers,status", "id2", "id2", false, "string", "REST-Secure", "REST-Secure"]);
  },

  async "constructor: endpoint"(env) {
    const v = await open(env, alice, { endpoint: "https://www.example.com/app/" });
    await v.run(() => rs.start());
    const { body } = await v.run(() => rs.fetch("/api/seen"));
    assert.deepEqual([body.subject, body.user], ["app.api.seen", "id2"]);
    await v.run(() => { window.none = new lib.REST_Secure({}); });
    assert.deepEqual(await v.run(() => none.start()), { error: "No endpoint provided" });
  },

  async "constructor: QOper8, qOptions, authTokenType mean nothing"(env) {
    const v = await open(env, alice, { qOptions: { logging: true, workerInactivityLimit: 1 }, authTokenType: "Token" });
    await v.run(() => rs.start());
    assert.equal((await v.run(() => rs.fetch("/api/seen"))).body.headers.Authorization[0], "Bearer token");
  },

  async "start(): already_authenticated, claims; refresh_token_uri or not"(env) {
    for (const options of [{}, { refresh_token_uri: "/api/refresh_token" }]) {
      const v = await open(env, undefined, options);
      assert.deepEqual(await v.run(() => rs.start()), { already_authenticated: false });
      const in_ = await open(env, alice, options);
      const status = await in_.run(() => rs.start());
      assert.deepEqual([status.already_authenticated, status.claims.sub], [true, "id2"]);
      assert.deepEqual(await in_.run(() => rs.start()), { error: "the worker has been started already" });
    }
  },

  async "fetch(): the options and the answer of fetch"(env) {
    const v = await open(env, alice);
    await v.run(() => rs.start());
    const { body, headers } = await v.run(() => rs.fetch("/api/seen/7", { method: "POST", body: { a: 1 }, headers: { "X-Own": "x" } }));
    assert.deepEqual(headers, {});
    assert.equal(body.subject, "api.seen.7");
    assert.deepEqual([body.headers.Method, body.headers["X-Own"], body.headers["Content-Type"]], [["POST"], ["x"], ["application/json"]]);
    assert.equal(Buffer.from(body.body, "base64").toString(), '{"a":1}');
  },

  async "errors are in body.error"(env) {
    const v = await open(env, alice);
    assert.equal((await v.run(() => rs.fetch("/api/seen"))).body.error, "not started: call start() first");
    await v.run(() => rs.start());
    assert.equal((await v.run(() => rs.fetch("/api/fail"))).body.error, "already there");
    assert.equal((await v.run(() => rs.fetch("/api/nobody"))).body.error, "nobody answers there");
  },

  async "the authorization header of answers stays away from the page"(env) {
    const v = await open(env, alice, { authHeader: { request: "X-Custom-Authorization", response: "x-custom-authorization" } });
    await v.run(() => rs.start());
    const { headers } = await v.run(() => rs.fetch("/api/echo", { body: 1 }));
    assert.deepEqual(Object.keys(headers).sort(), ["content-type", "status", "x-several"]);
    const sent = await v.run(() => rs.fetch("/api/seen", { headers: { Authorization: "x", "X-Custom-Authorization": "y", "X-Authorization": "z" } }));
    assert.deepEqual([sent.body.headers.Authorization, sent.body.headers["X-Custom-Authorization"], sent.body.headers["X-Authorization"]], [["Bearer token"], undefined, undefined]);
  },

  async "a header that is hidden stays in the worker, whatever the page asks it"(env) {
    const v = await open(env, alice, { authHeader: { request: "X-Custom-Authorization", response: "X-Custom-Authorization" } });
    await v.run(() => rs.start());
    const got = await v.run(async () => {
      const answer = await rs.fetch("/api/echo", { body: 1 }), message = await rs.stamp.request("api.echo", "1");
      const by = [...answer.headers].map(([name]) => name), own = [...message.headers].map(([name]) => name.toLowerCase());
      return [...by, ...own, String(answer.headers.get("x-custom-authorization"))];
    });
    assert.deepEqual(got.filter((name) => name === "x-custom-authorization"), []);
    assert.ok(got.includes("x-several"), `the other headers are missing: ${got}`);
  },

  async "fetch and start can be called alone, and the class has both names"(env) {
    const v = await open(env, alice);
    const got = await v.run(async () => {
      const { start, fetch } = new lib.Rest_Secure({ endpoint: location.origin });
      await start();
      return [(await fetch("/api/seen")).status, lib.Rest_Secure === lib.REST_Secure];
    });
    assert.deepEqual(got, [200, true]);
  },

  async "an error's body is where the application put it"(env) {
    const v = await open(env, alice);
    await v.run(() => rs.start());
    const body = { Headers: { Status: ["422"], "Content-Type": ["application/json"] }, Body: '{"message":"no such user","field":"name"}' };
    const got = await v.run((body) => rs.fetch("/api/say", { method: "POST", body }).then(({ body }) => body), body);
    assert.deepEqual([got.message, got.field, got.error], ["no such user", "name", "no such user"]);
  },

  async "what is parsed of an answer"(env) {
    const v = await open(env, alice);
    await v.run(() => rs.start());
    const got = await v.run(async () => {
      const bodies = [];
      for (const [type, Body] of [["application/json", "7"], ["text/plain", "7"], [undefined, '{"a":7}'], [undefined, "007"]]) {
        bodies.push((await rs.fetch("/api/say", { method: "POST", body: { Headers: type ? { "Content-Type": [type] } : {}, Body } })).body);
      }
      return bodies;
    });
    assert.deepEqual(got, [7, "7", { a: 7 }, "007"]);
  },

  async "contentType among the headers is the type of the body"(env) {
    const v = await open(env, alice);
    await v.run(() => rs.start());
    for (const [headers, body] of [[{ contentType: "text/plain" }, "words"], [{ contentType: "text/plain", "Content-Type": "application/json" }, "words"], [{ "Content-Type": "application/json" }, { a: 1 }]]) {
      const got = await v.run((headers, body) => rs.fetch("/api/echo", { method: "POST", headers, body }).then(({ body }) => body), headers, body);
      assert.deepEqual(got, body);
    }
    const sent = await v.run(() => rs.fetch("/api/seen", { headers: { contentType: "text/plain" } }).then(({ body }) => body.headers));
    assert.deepEqual([sent["Content-Type"], sent.contentType, sent.contenttype], [["text/plain"], undefined, undefined]);
  },

  async "resources of the endpoint, whole URLs, and Requests"(env) {
    const v = await open(env, alice, { endpoint: "https://www.example.com/app" });
    await v.run(() => rs.start());
    const got = await v.run(async () => {
      const subjects = [];
      for (const resource of ["/api/seen", "api/seen", location.origin + "/app/api/seen", new URL("/api/seen", location.href), new Request("/api/seen")]) subjects.push((await rs.fetch(resource, null)).body.subject);
      const errors = [];
      for (const resource of [undefined, null, 7, "https://elsewhere.example/x"]) errors.push(await rs.fetch(resource).then(() => "sent", (err) => err.name));
      return [...subjects, ...errors, (await rs.fetch("/")).body.error.replace(/.* to /, "")];
    });
    assert.deepEqual(got, ["app.api.seen", "app.api.seen", "app.api.seen", "api.seen", "api.seen", "TypeError", "TypeError", "TypeError", "TypeError", '"app"']);
  },

  async "the token is refreshed without the page"(env) {
    const v = await open(env, alice);
    await v.run(() => rs.start());
    await v.run(() => rs.fetch("/api/seen"));
    const before = Number(await v.told("renewals"));
    for (const end = Date.now() + 60_000; Number(await v.told("renewals")) === before;) {
      assert.ok(Date.now() < end, "no renewal in a minute");
      assert.equal((await v.run(() => rs.fetch("/api/seen"))).body.headers.Authorization[0], "Bearer token");
    }
  },

  async "jwt_claims puts claims into the body"(env) {
    const v = await open(env, alice);
    await v.run(() => rs.start());
    const [body, names] = await v.run(async () => {
      const { body } = await rs.fetch("/api/login", { method: "POST", body: {}, jwt_claims: ["sub", "email", "aud"] });
      return [body, Object.keys(body)];
    });
    assert.deepEqual(names, ["welcome", "sub"]);
    assert.deepEqual(body, { welcome: true, sub: "id2" }, "expected only the claims of the configuration");
    assert.deepEqual((await v.run(() => rs.fetch("/api/fail", { jwt_claims: ["sub"] }))).body, { field: "name", error: "already there", details: { field: "name" } });
    // The claims are those of start(): no further request is sent to the site.
    assert.deepEqual(await v.run(async () => {
      let asked = 0;
      const { session } = rs.stamp;
      rs.stamp.session = (...all) => (asked++, session.apply(rs.stamp, all));
      const { body } = await rs.fetch("/api/login", { method: "POST", body: {}, jwt_claims: ["sub"] });
      return [body, asked];
    }), [{ welcome: true, sub: "id2" }, 0]);
    await v.run(() => rs.stamp.logout());
    assert.equal((await v.run(() => rs.fetch("/api/login", { jwt_claims: ["sub"] }))).status, 401);
  },

  async "requests are sent one at a time, in order"(env) {
    const v = await open(env, alice);
    await v.run(() => rs.start());
    const result = await v.run(async () => {
      await Promise.all(Array.from({ length: 20 }, (_, n) => rs.fetch("/api/order", { body: n })));
      return (await rs.fetch("/api/order/result")).body;
    });
    assert.deepEqual(result, { numbers: Array.from({ length: 20 }, (_, n) => n), most: 1 });
  },

  async "timeout, and one second after it"(env) {
    const v = await open(env, alice, { timeout: 1200 });
    await v.run(() => rs.start());
    const texts = await v.run(async () => [await rs.fetch("/api/silent"), await rs.fetch("/api/silent"), await rs.fetch("/api/seen")].map(({ status, body }) => body.error ?? status));
    assert.deepEqual(texts, ["timed out after 1200 ms", "timed out after 1000 ms", 200]);
  },

  async "content-type, in both spellings"(env) {
    for (const options of [{ contentType: "text/plain" }, { "content-type": "text/plain" }]) {
      const v = await open(env, alice, options);
      await v.run(() => rs.start());
      const { body, headers } = await v.run(() => rs.fetch("/api/echo", { method: "POST", body: "words" }));
      assert.deepEqual([body, headers["content-type"]], ["words", "text/plain"]);
      const own = await v.run(() => rs.fetch("/api/echo", { method: "POST", body: { a: 1 }, headers: { "Content-Type": "application/json" } }));
      assert.deepEqual(own.body, { a: 1 });
    }
  },

  async "signing out, which rest-secure leaves to the application"(env) {
    const v = await open(env, alice);
    await v.run(() => rs.start());
    assert.equal((await v.run(() => rs.fetch("/api/seen"))).status, 200);
    await v.run(() => rs.stamp.logout());
    await until(v.page, () => rs.stamp.state === "signed-out");
    assert.deepEqual((await v.run(() => rs.fetch("/api/seen"))).body, { error: "not signed in: signed out" });
  },

  async "drain() and close() end it, and start() begins anew after them"(env) {
    const v = await open(env, alice);
    assert.equal((await v.run(() => rs.start())).already_authenticated, true);
    const got = await v.run(async () => {
      const out = {}, login = () => rs.fetch("/api/login", { method: "POST", body: {}, jwt_claims: ["sub"] });
      const calls = [rs.fetch("/api/slow", { method: "POST", body: 300 }), login()], drained = rs.stamp.drain();
      out.refused = [(await rs.fetch("/api/seen")).body.error, await rs.stamp.subscribe("shared.x").catch((err) => err.code)];
      const again = rs.start();
      out.second = await rs.start();
      await drained;
      out.answers = [(await calls[0]).status, (await calls[1]).body.sub];
      out.again = [(await again).already_authenticated, (await login()).body.sub];
      await rs.stamp.drain();
      out.after = (await rs.fetch("/api/seen")).body.error;
      await rs.start();
      const held = rs.fetch("/api/silent"), draining = rs.stamp.drain(), waiting = rs.start();
      rs.stamp.close();
      out.closed = [(await held).error.code, await draining.then(() => "over"), await waiting, rs.stamp.state];
      out.last = [(await rs.start()).already_authenticated, (await rs.fetch("/api/seen")).status];
      return out;
    });
    assert.deepEqual(got, {
      refused: ["drain() was called: nothing new is taken", "closed"], second: { error: "the worker has been started already" },
      answers: [200, "id2"], again: [true, "id2"], after: "not started: call start() first",
      closed: ["closed", "over", { error: "closed" }, "closed"], last: [true, 200],
    });
  },

  async "signing in is the provider's, and start() begins anew after it"(env) {
    const v = await open(env, alice);
    await v.run(() => rs.start());
    await v.run(() => rs.stamp.logout());
    const { status } = await v.run(() => rs.fetch("/api/login", { method: "POST", body: { name: "alice" } }));
    assert.equal(status, 401, "a visitor who is not signed in has a connection");
    await v.signIn(alice, await v.tab());
    assert.equal((await v.run(() => rs.start())).already_authenticated, true);
    assert.equal((await v.run(() => rs.fetch("/api/login", { method: "POST", body: {} }))).body.welcome, true);
    await v.run(() => { setTimeout(() => rs.stamp.login("/?back")); });
    await until(v.page, () => location.search === "?back" || document.querySelector("input[name=username]") !== null);
  },

  async "what the worker is given to run is not run"(env) {
    const v = await open(env, alice);
    await v.run(() => rs.start());
    const { body } = await v.run(() => rs.fetch("/api/seen", {
      responseHandlerCode: "self.responseHandler = () => ({response: {hacked: true}, headers: {}})",
      responseHandlerUrl: "data:text/javascript,self.responseHandler=()=>({response:{hacked:true}})",
    }));
    assert.equal(body.subject, "api.seen");
  },
};
