// The answer of fetch() is used like one of the browser's fetch(). Its errors.
import assert from "node:assert/strict";
import { alice, Visitor } from "./visitor.mjs";

async function open(env, options) {
  const v = await Visitor.open(env, alice);
  await v.start(options);
  await v.run(() => {
    window.say = (headers, body, options) => s.fetch("/api/say", { method: "POST", body: { Headers: headers, Body: body }, ...options });
    window.sayBytes = (headers, bytes) => s.fetch("/api/say", { method: "POST", body: { Headers: headers, Base64: btoa(String.fromCharCode(...bytes)) } });
  });
  return v;
}

export const checks = {
  async "an answer is used like one of fetch()"(env) {
    const v = await open(env);
    const got = await v.run(async () => {
      const res = await say({ Status: ["201 Created"], "Content-Type": ["text/plain"], "X-Greek": ["α"] }, '{"a":1}');
      return [
        res instanceof lib.Answer, res.ok, res.status, res.statusText, res.headers.get("CONTENT-type"), res.headers["content-type"], res.headers.get("X-Greek"), res.headers.get("none"),
        [...res.headers].length, res.body, await res.text(), await res.json(), (await res.bytes()).length, (await res.arrayBuffer()).byteLength, (await res.blob()).type,
        Object.keys(new Headers([...res.headers].filter(([name]) => name !== "x-greek"))).length, res.error ?? null,
      ];
    });
    assert.deepEqual(got, [true, true, 201, "Created", "text/plain", "text/plain", "α", null, 3, '{"a":1}', '{"a":1}', { a: 1 }, 7, 7, "text/plain", 0, null]);
  },

  async "a failure has the same code in the answer, by request(), and where throws is set"(env) {
    const v = await open(env, { timeout: 5_000 });
    const got = await v.run(async () => {
      const out = {};
      for (const [what, path, subject, options] of [
        ["unanswered", "/api/nobody", "api.nobody"], ["denied", "/other/thing", "other.thing"], ["timeout", "/api/silent", "api.silent", { timeout: 30 }],
        ["too-large", "/api/seen", "api.seen", { body: "x".repeat(2 << 20) }],
      ]) {
        const answer = await s.fetch(path, options);
        const requested = await s.request(subject, options?.body, options).catch((err) => err);
        const thrown = await s.fetch(path, { ...options, throws: true }).catch((err) => err);
        out[what] = [answer, requested, thrown].map((got) => got.error ?? got).map(({ name, code, status, message }) => [name, code, status, message.replace(/\d+$/, "")]);
        out[what].push(answer.body.error.replace(/\d+$/, ""), answer.ok, thrown instanceof lib.StampError, thrown.answer.status);
      }
      const service = await s.fetch("/api/fail", { throws: true }).catch((err) => err);
      out.service = [service.name, service.code, service.status, service.message, service.answer.body.field];
      out.fine = (await s.fetch("/api/seen", { throws: true })).status;
      s.close();
      const closed = await s.fetch("/api/seen");
      out.closed = [closed.error.code, closed.status, await s.request("api.seen").catch((err) => err.code)];
      return out;
    });
    for (const [code, status] of [["unanswered", 503], ["denied", 403], ["timeout", 504], ["too-large", 413]]) {
      const [answer, requested, thrown, ...others] = got[code];
      assert.deepEqual(answer.slice(0, 3), ["StampError", code, status]);
      assert.deepEqual([requested, thrown], [answer, answer], code);
      assert.deepEqual(others, [answer[3], false, true, status], code);
    }
    assert.deepEqual([got.service, got.fine, got.closed], [["StampError", "service", 409, "already there", "name"], 200, ["not-started", 503, "not-started"]]);
  },

  async "a connection that is lost, or is not there, has its code"(env) {
    const v = await open(env);
    await v.run(async () => {
      await s.fetch("/api/seen"); // it is connected
      window.silent = s.fetch("/api/silent");
      await s.fetch("/api/seen"); // and that is sent
    });
    await v.drop();
    assert.deepEqual(await v.run(async () => { const { status, error } = await silent; return [status, error.code]; }), [503, "lost"]);
    try {
      await v.control("spoil/on");
      const other = await v.tab();
      await v.start({}, other);
      const got = await other.evaluate(async () => {
        for (;;) { // the first ones have no connection yet
          const { status, error } = await s.fetch("/api/seen", { timeout: 20 });
          if (error.code !== "no-connection") return [status, error.code];
        }
      });
      assert.deepEqual(got, [503, "refused"]);
    } finally {
      await v.control("spoil/off");
    }
  },

  async "requests that a sign-out ends have one code, however they were sent"(env) {
    const v = await open(env);
    const got = await v.run(async () => {
      const read = async () => { for await (const _ of s.requestMany("api.silent", "", { timeout: 20_000 })); };
      const calls = [s.fetch("/api/silent").then(({ error, status }) => [error.code, status]), ...[s.request("api.silent"), read()].map((call) => call.catch(({ code, status }) => [code, status]))];
      await s.flush();
      await s.logout();
      return Promise.all(calls);
    });
    assert.deepEqual(got, Array(3).fill(["signed-out", 401]));
  },

  async "a Status that cannot be read is never success"(env) {
    const v = await open(env);
    const got = await v.run(async () => {
      const out = [];
      for (const status of [["404 Not Found"], ["404", "404"], ["200", "404"], ["0404"], ["600"], ["-1"], ["ok"]]) {
        const res = await say({ Status: status, "Content-Type": ["application/json"] }, '{"error":null}');
        out.push([res.status, res.ok, typeof res.body.error]);
      }
      return out;
    });
    assert.deepEqual(got.map(([status]) => status), [404, 404, 502, 502, 502, 502, 502]);
    assert.ok(got.every(([, ok, error]) => !ok && error === "string"), `expected failures with an error text; found ${JSON.stringify(got)}`);
  },

  async "what an error says stays where it was, and is its text"(env) {
    const v = await open(env);
    const json = ["application/json"];
    const got = await v.run(async (json) => {
      const bodies = [];
      for (const body of ['{"message":"no such user","id":7}', '{"title":"Gone","detail":"long ago"}', "null"]) bodies.push((await say({ Status: ["404"], "Content-Type": json }, body)).body);
      return bodies;
    }, json);
    assert.deepEqual(got, [
      { message: "no such user", id: 7, error: "no such user", details: { message: "no such user", id: 7 } },
      { title: "Gone", detail: "long ago", error: "long ago", details: { title: "Gone", detail: "long ago" } },
      { error: "status 404" },
    ]);
  },

  async "text in another charset is read, XML is text, and what has no type is not guessed into a number"(env) {
    const v = await open(env);
    const got = await v.run(async () => {
      const out = [];
      for (const [type, bytes] of [["text/plain; charset=iso-8859-1", [0xfc]], ["text/plain", [0xff, 0x61]], ["application/xml", [0x3c]], ["image/svg+xml", [0x3c]]]) {
        const { status, body } = await sayBytes({ "Content-Type": [type] }, bytes);
        out.push([status, body]);
      }
      for (const body of ["007", "1e3", "true", "null", "[7]"]) out.push((await say({}, body)).body);
      return out;
    });
    assert.deepEqual(got, [[200, "ü"], [200, "\ufffda"], [200, "<"], [200, "<"], "007", "1e3", "true", "null", [7]]);
  },

  async "an invalid request is a TypeError before anything is sent"(env) {
    const v = await open(env);
    const got = await v.run(async () => {
      const calls = [
        [undefined], [null], [7], [{}], [["/api/seen"]], ["/"], ["/api/seen", { method: "GE T" }], ["/api/seen", { method: "" }], ["/api/seen", { method: "ü" }],
        ["/api/seen", { headers: { "a:b": "x" } }], ["/api/seen", { headers: { "a b": "x" } }], ["/api/seen", { headers: { a: "x\r\nb: c" } }], ["/api/seen", { headers: "x" }],
        [location.origin.replace("//", "//user:pass@") + "/api/seen"], ["/api/seen", 5], ["/api/seen", "x"], ["/api/seen", { signal: {} }],
      ];
      s.close(); // what was sent would be an answer with an error
      return Promise.all(calls.map((call) => s.fetch(...call).then(() => `sent: ${call}`, (err) => err.name)));
    });
    assert.deepEqual([...new Set(got)], ["TypeError"], JSON.stringify(got));
  },

  async "a resource is a path, a URL or a Request of the own origin"(env) {
    const v = await open(env);
    const got = await v.run(async () => {
      const out = [];
      const request = new Request("/api/seen/7?deep=1", { method: "PUT", headers: { "X-Own": "x", "Content-Type": "text/plain" }, body: "text" });
      for (const call of [[location.origin + "/api/seen"], [new URL("/api/seen", location.href)], ["/api/seen", null], ["/api/seen", { headers: null, signal: null, method: undefined }], [request], [new Request("/api/seen"), { method: "POST" }], ["/api/seen", { headers: new Map([["X-Own", "m"]]) }]]) {
        const { status, body } = await s.fetch(...call);
        out.push([status, body.subject, body.headers.Method[0], body.headers["X-Own"]?.[0] ?? body.headers["x-own"]?.[0] ?? "", body.headers["Content-Type"]?.[0] ?? "", atob(body.body), body.headers.Query?.[0] ?? ""].join(" "));
      }
      const aborted = new Request("/api/seen", { signal: AbortSignal.abort() });
      out.push(await s.fetch(aborted).then(() => "sent", (err) => err.name));
      // An iframe has classes of its own.
      const frame = document.createElement("iframe");
      document.body.append(frame);
      const { Request: Foreign, URL: ForeignURL, Blob: ForeignBlob, AbortController: ForeignController, ArrayBuffer: ForeignBuffer, FormData: ForeignForm } = frame.contentWindow;
      for (const call of [
        [new Foreign(location.origin + "/api/seen/7", { method: "PUT", body: "text" })], [new ForeignURL("/api/seen", location.href)],
        ["/api/seen", { method: "POST", body: new ForeignBlob(["blob"], { type: "text/x" }), signal: new ForeignController().signal }], ["/api/seen", { method: "POST", body: new ForeignBuffer(2) }],
      ]) {
        const { status, body } = await s.fetch(...call);
        out.push([status, body.subject, body.headers.Method[0], body.headers["Content-Type"]?.[0] ?? "", escape(atob(body.body))].join(" "));
      }
      out.push((await s.fetch("/api/seen", { method: "POST", body: new ForeignForm() })).body.headers["Content-Type"][0].split(";")[0]);
      return out;
    });
    assert.deepEqual(got.map((line) => line.trim()), [
      "200 api.seen GET", "200 api.seen GET", "200 api.seen GET", "200 api.seen GET", "200 api.seen.7 PUT x text/plain text deep=1", "200 api.seen POST", "200 api.seen GET m", "AbortError",
      "200 api.seen.7 PUT text/plain;charset=UTF-8 text", "200 api.seen GET", "200 api.seen POST text/x blob", "200 api.seen POST application/octet-stream %00%00", "multipart/form-data",
    ]);
  },
};
