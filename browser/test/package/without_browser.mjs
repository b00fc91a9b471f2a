// What the package does where a page is rendered by a server: it can be imported and made, and says what it cannot do.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const folder = process.cwd();
for (const name of ["Worker", "window", "document", "location"]) delete globalThis[name];
const load = (name) => import(pathToFileURL(createRequire(join(folder, "package.json")).resolve(name)).href);
const { Stamp, REST_Secure } = await load("@stamp/browser");

const s = new Stamp({ worker: "/auth/worker.js" });
assert.equal(s.state, "closed");
assert.equal(s.started, false);
s.addEventListener("state", () => {});
await assert.rejects(s.start(), { code: "no-worker", message: "start() needs a browser: there are no workers here" });
assert.equal((await s.fetch("/api/users/7")).error.code, "no-worker");
await assert.rejects(s.request("api.users.7"), { code: "no-worker" });
await assert.rejects(s.subscribe("news"), { code: "no-worker" });
await assert.rejects(s.when("connected"), { code: "no-worker" });
await assert.rejects(new Stamp().when("connected", { timeout: 1 }), { code: "not-started" });
assert.throws(() => s.login(), { code: "no-worker" });
await s.drain();
s.close();

const rs = new REST_Secure({ endpoint: "https://www.example.com/app" });
assert.match((await rs.start()).error, /needs a browser/);
assert.equal((await rs.fetch("/api/users/7")).status, 503);

// A page with React, as a server renders it.
const require = createRequire(join(folder, "package.json"));
const { createElement } = require("react"), { renderToString } = require("react-dom/server");
const { useRequest, useStamp, useSubscription } = await load("@stamp/browser/react");
const page = new Stamp();
function Page() {
  const { state, authenticated, error } = useStamp(page);
  const { body, loading } = useRequest(page, "/api/users/7");
  const { message } = useSubscription(page, "news");
  return createElement("p", null, JSON.stringify([state, String(authenticated), String(error), String(body), loading, String(message)]));
}
assert.equal(renderToString(createElement(Page)).replaceAll("&quot;", '"'), '<p>["closed","undefined","undefined","undefined",true,"undefined"]</p>');
assert.equal(page.started, false, "a server starts nothing");
console.log("as expected");
