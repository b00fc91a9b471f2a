import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { Site } from "../src/site.ts";

/** A site that begins its answers, and never ends them, or says nothing at all. */
async function silent(t: TestContext, begins: boolean): Promise<Site> {
  const server = createServer((_, answer) => {
    if (begins) answer.writeHead(200, { "Content-Type": "application/json" }).write('{"authenticated":');
  });
  await new Promise<void>((resolve) => { server.listen(0, "127.0.0.1", resolve); });
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return new Site({ websocket: "wss://x", session: "/session", logout: "/logout" }, `http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
}

/** Both calls are awaited from their beginning: a rejection that nobody awaits yet fails the test. */
async function bothTimeOut(site: Site): Promise<void> {
  const late = { code: "timeout", message: "the site does not answer in 300 ms" };
  await Promise.all([site.visitor(300), site.logout(300)].map((asked) => assert.rejects(asked, late)));
}

test("a site that does not answer, or not to the end, is a time-out", async (t) => {
  for (const begins of [false, true]) {
    const site = await silent(t, begins);
    await bothTimeOut(site);
  }
});

/** A site that answers everything with one text, or each path with its own and its status. */
async function saying(t: TestContext, text: string | Record<string, [status: number, text: string]>, tickets = true): Promise<Site> {
  const server = createServer(({ url }, answer) => {
    const [status, said] = typeof text === "string" ? [200, text] : text[url!]!;
    answer.writeHead(status).end(said);
  });
  await new Promise<void>((resolve) => { server.listen(0, "127.0.0.1", resolve); });
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return new Site({ websocket: "wss://x", session: "/session", logout: "/logout", ...tickets && { ticket: "/ticket" } }, `http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
}

test("an answer of the site that is no object says so, and what it holds is not quoted", async (t) => {
  for (const [text, found] of [["null", "null"], ["[]", "an array"], ["7", "a value of the type number"], ['"secret"', "a value of the type string"], ["<secret>", "no JSON"], ["", "no JSON"]]) {
    const site = await saying(t, text!);
    await assert.rejects(site.visitor(), { code: "failed", message: `the site does not tell who is signed in: expected an object of JSON; found ${found}` });
    await assert.rejects(site.ticket(""), { code: "failed", message: `the site does not tell the ticket: expected an object of JSON; found ${found}` });
    await assert.rejects(site.logout(), { code: "failed", message: `the site does not tell whether the session has ended: expected an object of JSON; found ${found}` });
  }
  const site = await saying(t, "{}");
  assert.deepEqual(await site.visitor(), { authenticated: false });
  assert.deepEqual(await site.logout(), { end_session_url: undefined });
  await assert.rejects(site.ticket(""), { code: "failed", message: "the site's answer has no ticket" });
});

test("a browser that does not tell the reason of a signal changes no code", async (t) => {
  const { fetch } = globalThis;
  t.after(() => Object.assign(globalThis, { fetch }));
  const bare = (err: unknown) => { throw err instanceof Error && err.name !== "TypeError" ? new DOMException("The operation was aborted.", "AbortError") : err; };
  Object.assign(globalThis, { fetch: (...args: Parameters<typeof fetch>) => fetch(...args).then((answer) => Object.assign(answer, { text: () => Response.prototype.text.call(answer).catch(bare) }), bare) });
  for (const begins of [false, true]) {
    const site = await silent(t, begins);
    await bothTimeOut(site);
  }
});

test("a site that has answered keeps no time running", async (t) => {
  const site = await saying(t, "{}");
  const timers = () => process.getActiveResourcesInfo().filter((what) => what === "Timeout").length, before = timers();
  for (let i = 0; i < 20; i++) await site.visitor(20_000);
  assert.ok(timers() < before + 10, `${before}, ${timers()}`);
});

test("only true is signed in", async (t) => {
  for (const said of ['"false"', '"true"', "1", "{}", "null", "false"]) {
    assert.equal((await (await saying(t, `{"authenticated":${said}}`)).visitor()).authenticated, false, said);
  }
  assert.equal((await (await saying(t, '{"authenticated":true}')).visitor()).authenticated, true);
});

test("a 401 or 403 that is not the handler's does not say that the session is over", async (t) => {
  for (const status of [401, 403]) {
    const site = await saying(t, { "/ticket": [status, "<html>Blocked</html>"], "/session": [401, "<html>"] });
    await assert.rejects(site.ticket(""), { code: "refused", message: `the site gives no ticket: status ${status}` });
    await assert.rejects(site.visitor(), { code: "failed", message: "the site cannot tell who is signed in: status 401" }, "the handler answers with 200");
  }
  const site = await saying(t, { "/ticket": [403, "tickets are for the worker of this page\n"], "/session": [200, "{}"] });
  await assert.rejects(site.ticket(""), { code: "signed-out", message: "the session is another one than when the page was loaded" });
  const own = await saying(t, { "/session": [401, "<html>"] }, false);
  assert.deepEqual(await own.visitor(), { authenticated: false });
});

test("a logout with an answer that says nothing is believed where nobody is signed in any more", async (t) => {
  for (const [status, said] of [[204, ""], [200, ""], [200, "[]"], [200, "1"], [200, "<html>Log in to the hotel</html>"]] as const) {
    const over = await saying(t, { "/logout": [status, said], "/session": [200, '{"authenticated":false}'] });
    assert.deepEqual(await over.logout(), { end_session_url: undefined });
    for (const session of [[200, '{"authenticated":true}'], [200, "<html>Log in to the hotel</html>"], [500, ""]] as const) {
      const site = await saying(t, { "/logout": [status, said], "/session": [...session] });
      await assert.rejects(site.logout(), { code: "failed", message: /^the site does not tell whether the session has ended: expected an object of JSON; found / }, `${said}, ${session}`);
    }
  }
});
