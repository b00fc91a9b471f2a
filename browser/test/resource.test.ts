import assert from "node:assert/strict";
import { test } from "node:test";
import { checkHeaders, headerMap, methodOf } from "../src/headers.ts";
import { subjectOf } from "../src/resource.ts";

const origin = "https://app.example";

test("a path becomes a subject", () => {
  for (const [resource, subject] of [
    ["/api/users/7", "api.users.7"],
    ["api/users/7", "api.users.7"],
    ["/api/users/7/", "api.users.7"],
    ["/api/users/7?deep=1#top", "api.users.7"],
    ["https://app.example/api", "api"],
    ["/api/../other/./x", "other.x"],
    ["/api/%2e%2e/other", "other"], // a URL's dots are dots, however they are written
    ["/api/a.b", "api.a%2Eb"],
    ["/api/*", "api.%2A"],
    ["/api/>", "api.%3E"],
    ["/api/a b", "api.a%20b"],
    ["/api/a%0d%0aPUB x 0", "api.a%0D%0APUB%20x%200"],
    ["/$SYS/REQ", "%24SYS.REQ"],
    ["/api/%41", "api.A"],
    ["/api/ü", "api.%C3%BC"],
    ["/api/a%2Fb", "api.a%2Fb"],
    ["/api/%25", "api.%25"],
  ] as const) assert.equal(subjectOf(resource, origin), subject, resource);
});

test("what is no path of this origin is refused", () => {
  for (const resource of ["/", "", "//elsewhere.example/x", "https://elsewhere.example/x", "http://app.example/api", "/a//b", "/api/%zz", "/api/%ff", "http://[", "javascript:alert(1)", "data:,x", "blob:https://elsewhere.example/x"]) {
    assert.throws(() => subjectOf(resource, origin), TypeError, resource);
  }
  for (const resource of [undefined, null, 7, {}, ["/api"], Symbol("a"), () => "/api", { href: "https://app.example/api" }]) {
    assert.throws(() => subjectOf(resource as string, origin), /not a resource: expected a string, a URL or a Request/);
  }
  for (const resource of ["https://user@app.example/api", "https://user:pass@app.example/api", new URL("https://:pass@app.example/api"), "//user:pass@app.example/api"]) {
    assert.throws(() => subjectOf(resource, origin), { name: "TypeError", message: "not a resource: a URL with a user name or a password in it" });
  }
  assert.equal(subjectOf(new URL("https://app.example/api/a?b"), origin), "api.a");
});

test("different paths are different subjects, and each is a valid one", () => {
  const letters = ["a", "B", "7", ".", "..", "*", ">", " ", "%", "%2E", "%2f", "%00", "\t", "\r\n", "$", "_", "~", "ü", "\u{1f600}", "\ud800", "/", "?", "#", "\\", ":", "@", "!", "'", "("];
  let seed = 7;
  const random = (n: number) => (seed = (seed * 48271) % 0x7fffffff) % n;
  const seen = new Map<string, string>();
  for (let n = 0; n < 50_000; n++) {
    const path = "/" + Array.from({ length: 1 + random(6) }, () => letters[random(letters.length)]).join("");
    let subject: string;
    try {
      subject = subjectOf(path, origin);
    } catch (err) {
      assert.ok(err instanceof TypeError);
      continue;
    }
    assert.match(subject, /^[A-Za-z0-9_~!'()%-]+(\.[A-Za-z0-9_~!'()%-]+)*$/, path);
    // What the token stands for is what the URL's segment stands for.
    const meant = new URL(path, origin).pathname.replace(/^\/|\/$/g, "").split("/").map(decodeURIComponent);
    assert.deepEqual(subject.split(".").map(decodeURIComponent), meant, path);
    const same = JSON.stringify(meant);
    assert.equal(seen.get(subject) ?? same, same);
    seen.set(subject, same);
  }
  assert.ok(seen.size > 1000);
});

test("methods and headers are those that HTTP has", () => {
  assert.deepEqual([undefined, null, "get", "PATCH", "m-search"].map((method) => methodOf(method)), ["GET", "GET", "GET", "PATCH", "M-SEARCH"]);
  for (const method of ["", "GET ", "GE T", "GET\r\nX: y", "ü", "a/b", {}, []]) assert.throws(() => methodOf(method as string), /not a method/, String(method));
  for (const [headers, map] of [
    [undefined, {}], [null, {}], [{ A: 1, B: ["x", 2] }, { A: "1", B: ["x", "2"] }], [{ U: "α" }, { U: "α" }],
    [[["A", "1"], ["A", "2"], ["B", "α"]], { A: "1, 2", B: "α" }], [new Map([["A", "1"]]), { A: "1" }], [new Headers({ A: "1" }), { a: "1" }], [[["__proto__", "x"]], { ["__proto__"]: "x" }],
  ] as const) assert.deepEqual(headerMap(headers as HeadersInit), map);
  for (const headers of ["abc", [["A"]], [["A", "b", "c"]], [1]]) assert.throws(() => headerMap(headers as unknown as HeadersInit), TypeError);
  checkHeaders({ "X-Own": "a", "x_own~": ["b", "α"] });
  for (const name of ["", "a b", "a:b", "a\r\nb", "ü", "a\0"]) assert.throws(() => checkHeaders({ [name]: "x" }), /not the name of a header/, name);
  for (const value of ["a\r\nB: c", "a\0", ["a", "b\n"]]) assert.throws(() => checkHeaders({ A: value }), /header A/);
});

test("many pairs of one name are joined in linear time", (t) => {
  let joined = 0;
  const { join } = Array.prototype;
  Array.prototype.join = function (this: unknown[], separator?: string) {
    const text = join.call(this, separator);
    joined += text.length;
    return text;
  };
  t.after(() => { Array.prototype.join = join; });
  const cost = (pairs: number) => {
    joined = 0;
    const { A } = headerMap(Array.from({ length: pairs }, () => ["A", "b"]));
    assert.equal(A!.length, 3 * pairs - 2);
    return joined;
  };
  assert.ok(cost(2000) <= 2.1 * cost(1000));
});
