// The vectors in a browser.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

const chromium = ["chromium", "chromium-browser", "google-chrome"].find((name) => spawnSync("which", [name]).status === 0);
const skip = !chromium && !process.env.STAMP_TEST_ALL && "Chromium is missing";

const page = `<!doctype html>
<script type="importmap">{ "imports": { "@stamp/receiver": "/js/dist/index.js", "@stamp/receiver/nats": "/js/dist/nats.js" } }</script>
<script type="module">
  const read = async (name) => (await fetch(name)).json();
  let body;
  try {
    await import("@stamp/receiver/nats");
    const { wrongOf } = await import("/js/test/judge.mjs");
    const all = [await read("/vectors.json"), await read("/mutations.json")];
    body = { judged: all.map(({ cases }) => cases.length), wrong: (await Promise.all(all.map(wrongOf))).flat() };
  } catch (err) {
    body = { judged: [], wrong: [String(err)] };
  }
  await fetch("/result", { method: "POST", body: JSON.stringify(body) });
</script>`;

test("the vectors, in Chromium", { skip, timeout: 110_000 }, async (t) => {
  assert.ok(chromium, "Chromium is missing");
  const ends = [];
  t.after(async () => {
    for (const end of ends.reverse()) await end();
  });
  let finish;
  const finished = new Promise((resolve, reject) => { finish = { resolve, reject }; });
  const types = { js: "text/javascript", mjs: "text/javascript", json: "application/json" };
  const server = createServer(async (request, response) => {
    if (request.method === "POST") {
      finish.resolve(JSON.parse(Buffer.concat(await request.toArray()).toString()));
      return response.end();
    }
    if (request.url === "/") return response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" }).end(page);
    const file = new URL(`../..${new URL(request.url, "http://page").pathname}`, import.meta.url), type = types[file.pathname.split(".").at(-1)];
    if (!type) return response.writeHead(404).end();
    response.writeHead(200, { "Content-Type": type }).end(readFileSync(file));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  ends.push(() => server.close());
  const profile = mkdtempSync(join(tmpdir(), "stamp-receiver-browser-"));
  ends.push(() => rmSync(profile, { recursive: true, force: true, maxRetries: 10 }));
  const browser = spawn(chromium, ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", `--user-data-dir=${profile}`, `http://127.0.0.1:${server.address().port}/`], { stdio: "ignore", detached: true });
  const exited = once(browser, "exit");
  ends.push(async () => {
    process.kill(-browser.pid); // with its children
    await exited;
  });
  exited.then(() => finish.reject(new Error("Chromium ended")), finish.reject);
  const { judged, wrong } = await finished;
  assert.deepEqual(wrong, []);
  assert.ok(judged[0] >= 300 && judged[1] >= 1_000, judged.join());
});
