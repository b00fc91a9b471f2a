// The pages of browser/examples/react and browser/test/kept.tsx.
import assert from "node:assert/strict";
import { alice, bob, until, Visitor } from "./visitor.mjs";

const text = (id) => document.getElementById(id)?.textContent;
const click = (id) => document.getElementById(id).click();

/** Waits until an element has a text. */
const shows = (page, id, wanted) => until(page, (id, wanted) => document.getElementById(id)?.textContent === wanted, id, wanted);

async function subscribers(v, wanted) {
  for (const end = Date.now() + 20_000; ;) {
    const count = Number(await v.told("news"));
    if (count === wanted) return;
    assert.ok(Date.now() < end, `${count} subscriptions, want ${wanted}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The page of a component that stays, and what waits until it shows what it knows. */
async function kept(env, strict = false) {
  const v = await Visitor.open(env, alice);
  await v.page.goto(`${env.origin}/react/kept.html${strict ? "#strict" : ""}`);
  const known = (...values) => shows(v.page, "known", JSON.stringify(values.map((value) => value ?? null)));
  await known("connected", true, "id2", "id2", null, false);
  return { v, known };
}

export const checks = {
  async "a visitor who is not signed in can sign in"(env) {
    const v = await Visitor.open(env);
    await v.page.goto(`${env.origin}/react/`);
    await shows(v.page, "login", "Sign in");
    await v.page.evaluate(() => { setTimeout(() => document.getElementById("login").click()); });
    await until(v.page, () => document.querySelector("input[name=username]") !== null);
  },

  async "a request, asked again, and messages"(env) {
    const v = await Visitor.open(env, alice);
    await v.page.goto(`${env.origin}/react/`);
    await shows(v.page, "state", "connected");
    await until(v.page, () => /^id2, \d+$/.test(document.getElementById("profile")?.textContent));
    const visits = async () => Number((await v.page.evaluate(text, "profile")).split(" ")[1]);
    const before = await visits();
    await v.page.evaluate(click, "again");
    await shows(v.page, "profile", `id2, ${before + 1}`);
    assert.equal(await v.page.evaluate(() => document.getElementById("again").disabled), false);

    await subscribers(v, 1); // and no more, although StrictMode runs effects twice
    const other = await v.tab();
    await v.start({}, other);
    await other.evaluate(async () => {
      for (const text of ["one", "two"]) await s.publish("shared.news", text);
    });
    await shows(v.page, "news", "onetwo");
    assert.equal(await visits(), before + 1, "a message made the component send its request again");

    await v.page.evaluate(click, "toggle"); // the component goes away
    await subscribers(v, 0);
    await v.page.evaluate(click, "toggle");
    await subscribers(v, 1);
  },

  async "a component that is shown sends one request, although StrictMode runs effects twice"(env) {
    const { v, known } = await kept(env, true);
    const visits = () => v.run(async () => (await s.fetch("/api/profile")).body.visits);
    const before = await visits();
    for (let shown = 0; shown < 5; shown++) {
      await v.run(() => hide());
      await until(v.page, () => document.getElementById("known") === null);
      await v.run(() => show());
      await known("connected", true, "id2", "id2", null, false);
    }
    assert.equal(await visits(), before + 5 + 1);
  },

  async "the page shows a lost connection and a logout"(env) {
    const v = await Visitor.open(env, alice);
    await v.page.goto(`${env.origin}/react/`);
    await shows(v.page, "state", "connected");
    await v.page.evaluate(() => {
      window.seen = [];
      new MutationObserver(() => seen.push(document.getElementById("state")?.textContent)).observe(document.getElementById("root"), { subtree: true, childList: true, characterData: true });
    });
    await v.drop();
    await until(v.page, () => seen.includes("lost"));
    await shows(v.page, "state", "connected");
    await subscribers(v, 1);
    await v.page.evaluate(click, "logout");
    await shows(v.page, "login", "Sign in");
  },

  async "the page forgets a visitor's data when the visitor signs out"(env) {
    const v = await Visitor.open(env, alice);
    await v.page.goto(`${env.origin}/react/kept.html`);
    const known = (...values) => shows(v.page, "known", JSON.stringify(values.map((value) => value ?? null)));
    await known("connected", true, "id2", "id2", null, false);
    await subscribers(v, 1);
    await v.run(() => s.publish("shared.news", "for alice"));
    await known("connected", true, "id2", "id2", "for alice", false);
    await v.run(() => s.logout());
    await known("signed-out", false, null, null, null, false);
    await v.signIn(bob, await v.tab());
    await v.run(() => {
      window.texts = [];
      new MutationObserver(() => texts.push(document.getElementById("known").textContent)).observe(document.getElementById("root"), { subtree: true, childList: true, characterData: true });
      return s.start();
    });
    await known("connected", true, "id1", "id1", null, false);
    assert.ok(!(await v.run(() => texts)).some((text) => /alice|id2/.test(text)), "the page shows the visitor's data for a moment after the sign-out");
  },

  async "where the visitor has signed out, nothing is sent, nor is it started again by being shown"(env) {
    const { v, known } = await kept(env);
    await v.run(() => {
      window.calls = [];
      for (const name of ["start", "fetch", "subscribe"]) s[name] = (...all) => (calls.push(name), Stamp.prototype[name].apply(s, all));
      return s.logout();
    });
    await known("signed-out", false, null, null, null, false);
    await v.run(() => { calls.length = 0; }); // before, the connection may have been lost for a moment
    await v.run(() => change({ resource: "/api/seen", subject: "shared.others" }));
    await v.run(() => again());
    await v.run(() => hide());
    await until(v.page, () => document.getElementById("known") === null);
    await v.run(() => show());
    await known("signed-out", false, null, null, null, false);
    await v.run(() => new Promise((resolve) => { setTimeout(resolve); })); // all effects have run
    assert.deepEqual(await v.run(() => calls), []);
  },

  async "data of one run of a Stamp is not shown in the next one"(env) {
    const hooks = {
      async "close() and start()"(v) {
        await v.run(() => { renders.length = 0; s.close(); return s.start(); });
      },
      async "a listener that starts again"(v) {
        await v.run(() => {
          renders.length = 0;
          let once = false;
          s.addEventListener("state", ({ detail }) => { if (detail.state === "signed-out" && !once) once = void s.start() ?? true; });
          void s.logout();
        });
      },
      async "another Stamp"(v) {
        await v.run(() => { renders.length = 0; change({ stamp: new Stamp() }); });
      },
    };
    for (const [name, change] of Object.entries(hooks)) {
      const v = await Visitor.open(env, alice);
      await v.page.goto(`${env.origin}/react/kept.html`);
      const known = (...values) => shows(v.page, "known", JSON.stringify(values.map((value) => value ?? null)));
      await known("connected", true, "id2", "id2", null, false);
      if (name !== "a listener that starts again") await v.signIn(bob, await v.tab());
      await change(v);
      if (name === "a listener that starts again") await until(v.page, () => /false,null,null/.test(document.getElementById("known").textContent));
      else await known("connected", true, "id1", "id1", null, false);
      const wrong = await v.run(() => renders.filter((text) => /id2/.test(text) && !/^\["(connected|lost)",true,"id2","id2"/.test(text)));
      assert.deepEqual(wrong, [], name);
    }
  },

  async "after close() no data of the visitor is shown"(env) {
    const v = await Visitor.open(env, alice);
    await v.page.goto(`${env.origin}/react/kept.html`);
    await shows(v.page, "known", JSON.stringify(["connected", true, "id2", "id2", null, false]));
    await v.run(() => s.close());
    await shows(v.page, "known", JSON.stringify(["closed", null, null, null, null, false]));
    assert.deepEqual(await v.run(() => errors.slice(1)), ["closed", "closed"]);
  },

  async "if there will be no connection, nothing is loading, and the error says why"(env) {
    const { v, known } = await kept(env);
    await v.run(() => change({ stamp: window.s = new Stamp({ worker: "/none.js" }) }));
    await known("closed", null, null, null, null, false);
    assert.deepEqual(await v.run(() => errors), ["no-worker", "no-worker", "no-worker"]);
    await v.run(() => change({ resource: null, subject: null }));
    await until(v.page, () => JSON.stringify(errors) === '["no-worker",null,null]');

    await v.run(() => change({ stamp: window.s = new Stamp(), resource: "/api/profile", subject: "shared.news" }));
    await known("connected", true, "id2", "id2", null, false);
    await v.run(() => s.close());
    await known("closed", null, null, null, null, false);
    await v.run(() => { renders.length = 0; return s.start(); });
    await known("connected", true, "id2", "id2", null, false);
    const [before] = await v.run(() => renders);
    assert.equal(before, JSON.stringify(["closed", null, null, null, null, true]), "expected the first rendering to be loading");
    await v.run(() => s.logout());
    await known("signed-out", false, null, null, null, false);
    assert.deepEqual(await v.run(() => errors), [null, "signed-out", "signed-out"]);
  },

  async "other arguments are another request and another subscription"(env) {
    for (const strict of [false, true]) {
      const { v, known } = await kept(env, strict);
      const echo = (name) => ({ resource: "/api/echo", options: { method: "POST", body: { name } } });
      const listens = (name) => known("connected", true, "id2", name, null, false);
      await v.run((asked) => { renders.length = 0; change(asked); }, echo("one"));
      await listens("one");
      await v.run((asked) => change(asked), echo("two"));
      await listens("two");
      const names = (await v.run(() => renders)).map((text) => JSON.parse(text)).filter(([, , , name, , loading]) => name !== null && loading).map(([, , , name]) => name);
      assert.deepEqual(names, [], "the answer to another request is shown meanwhile");
      await v.run(() => { renders.length = 0; again(); });
      await until(v.page, () => renders.length > 1);
      await listens("two");
      assert.equal((await v.run(() => renders))[0], JSON.stringify(["connected", true, "id2", "two", null, true]), "expected the known answer to be shown while the request is sent again");
      await v.run(() => change({ resource: "/api/profile", options: undefined }));
      await listens("id2");
      await v.run(async () => { // a Stamp that is connected already
        const other = new Stamp();
        await other.start();
        await other.when("connected");
        renders.length = 0;
        change({ stamp: window.s = other });
      });
      await listens("id2");
      assert.ok((await v.run(() => renders)).includes(JSON.stringify(["connected", null, null, null, null, true])), "expected a rendering without the data of the other Stamp");
      await v.run(() => change({ resource: null }));
      await listens(null);

      await subscribers(v, 1);
      await v.run(() => s.publish("shared.news", "news"));
      await known("connected", true, "id2", null, "news", false);
      await v.run(() => change({ subject: "shared.others" }));
      await known("connected", true, "id2", null, null, false);
      await subscribers(v, 0);
      await v.run(() => change({ subject: null }));
      await v.run(() => change({ subject: "shared.news", queue: "q", reader: "first" }));
      await subscribers(v, 1);
      await v.run(() => s.publish("shared.news", "a"));
      await until(v.page, () => delivered.length === 1);
      await v.run(() => change({ reader: "second" }));
      await until(v.page, async () => { // another function needs no other subscription
        await s.publish("shared.news", "b");
        return delivered.includes("second: b");
      });
      assert.equal(await v.run(() => delivered[0]), "first: a");
      await v.run(() => change({ queue: "other" }));
      await until(v.page, async () => (await (await fetch("/control/queues")).text()) === "other");
      await v.context.close();
    }
  },

  async "a subscription that had no connection in time is made when there is one"(env) {
    for (const strict of [false, true]) {
      const { v, known } = await kept(env, strict);
      await v.run(() => change({ subject: null }));
      try {
        await v.control("websocket/down");
        await v.control("sockets/cut");
        await v.run(() => change({ stamp: window.s = new Stamp({ timeout: 500, timeoutAfter: 500 }), resource: null, subject: "shared.news" }));
        await until(v.page, () => errors[2] === "no-connection");
      } finally {
        await v.control("websocket/up");
      }
      await until(v.page, () => s.state === "connected" && errors[2] === null);
      await subscribers(v, 1);
      await v.run(() => s.publish("shared.news", "after it"));
      await known("connected", true, "id2", null, "after it", false);
      await v.context.close();
      await subscribers(v, 0);
    }
  },

  async "an error goes with the queue that it was of, and what a subject or a resource showed before is not shown again"(env) {
    const { v, known } = await kept(env);
    await v.run(() => change({ resource: null, queue: "a b" }));
    await until(v.page, () => errors[2] === "invalid");
    await v.run(() => change({ queue: "q" }));
    await until(v.page, () => errors[2] === null);
    await subscribers(v, 1);
    await v.run(() => s.publish("shared.news", "of news"));
    await known("connected", true, "id2", null, "of news", false);
    await v.run(() => change({ subject: "shared.others" }));
    await known("connected", true, "id2", null, null, false);
    await v.run(() => { renders.length = 0; change({ subject: "shared.news" }); });
    await subscribers(v, 1);
    assert.ok(!(await v.run(() => renders)).some((text) => text.includes("of news")), "a message of another subject is shown");

    const failing = { headers: { "Status": ["500"], "Content-Type": ["application/json"] }, body: '{"name":"of an error"}' };
    await v.run((body) => change({ resource: "/api/say", options: { body } }), failing);
    await until(v.page, () => errors[1] === "service");
    await known("connected", true, "id2", null, null, false);
    await v.run(() => change({ resource: "/api/profile", options: undefined }));
    await known("connected", true, "id2", "id2", null, false);
    await v.run(() => change({ resource: "/api/silent" }));
    await known("connected", true, "id2", null, null, true);
    await v.run(() => { renders.length = 0; change({ resource: "/api/profile" }); });
    await known("connected", true, "id2", "id2", null, false);
    assert.equal((await v.run(() => renders))[0], JSON.stringify(["connected", true, "id2", null, null, true]), "expected the request to be sent again, without the old answer");
  },

  async "a component that is removed aborts its request, and one that is shown again sends a new one"(env) {
    for (const strict of [false, true]) {
      const { v, known } = await kept(env, strict);
      // Only one request at a time is sent, so a request that has not ended delays all others.
      await v.run(() => change({ stamp: window.s = new Stamp({ concurrency: 1 }), resource: "/api/silent", options: { timeout: 600_000 } }));
      await known("connected", true, "id2", null, null, true);
      await v.run(() => hide());
      await until(v.page, () => document.getElementById("known") === null);
      const status = () => v.run(() => s.fetch("/api/seen", { signal: AbortSignal.timeout(20_000) }).then(({ status }) => status, (err) => err.name));
      assert.equal(await status(), 200, "the request of the removed component was not aborted");
      await subscribers(v, 0);
      await v.run(() => show());
      await known("connected", true, "id2", "id2", null, false);
      await subscribers(v, 1);
      await v.run(() => change({ stamp: s, resource: "/api/silent", options: { timeout: 600_000 } }));
      await known("connected", true, "id2", null, null, true);
      await v.run(() => change({ resource: null }));
      await known("connected", true, "id2", null, null, false);
      assert.equal(await status(), 200, "the request with the former arguments was not aborted");
      await v.context.close();
      await subscribers(v, 0);
    }
  },
};
