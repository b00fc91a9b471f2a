import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { Asked } from "../src/messages.ts";
import { until } from "./scripted.ts";

// As much of a document as React needs for components that show nothing.
const listens = { addEventListener() {}, removeEventListener() {} };
const element = { ...listens, nodeType: 1, nodeName: "DIV", tagName: "DIV", namespaceURI: "http://www.w3.org/1999/xhtml", textContent: "", ownerDocument: { ...listens, nodeType: 9, nodeName: "#document" } };
Object.assign(globalThis, { window: globalThis, HTMLIFrameElement: class {}, document: element.ownerDocument, location: new URL("http://localhost/") });

/** A worker that answers all it is asked, unless its script is said not to come. */
class FakeWorker {
  static missing = false;
  static readonly made: FakeWorker[] = [];
  onerror = (_: object) => {};
  held: number[] | undefined; // numbers of requests that are not answered, once it is a list
  #port!: MessagePort;

  constructor() {
    FakeWorker.made.push(this);
    if (FakeWorker.missing) setTimeout(() => this.onerror({ message: "no script", preventDefault() {} }));
  }

  postMessage(_: null, [port]: MessagePort[]): void {
    this.#port = port!;
    if (FakeWorker.missing) return;
    port!.onmessage = ({ data }: { data: Asked }) => {
      if (data.op === "start") this.tell({ event: "state", state: "connected", reason: "" });
      if (data.op === "request" && this.held) return void this.held.push(data.id);
      const value = data.op === "request" ? { subject: "a", headers: [], data: new Uint8Array(0) } : { authenticated: true, key: true };
      this.tell({ id: data.id, value });
    };
  }

  tell(what: object): void {
    this.#port.postMessage(what);
  }

  terminate(): void {
    this.#port.close();
  }
}

Object.assign(globalThis, { Worker: FakeWorker });
const { createElement, useEffect } = await import("react");
const { createRoot } = await import("react-dom/client");
const { Stamp } = await import("../src/stamp.ts");
const { useRequest, useStamp, useSubscription } = await import("../src/react.ts");

/** What a component knows, each time that it is rendered. */
function shown<P extends object, T>(t: TestContext, use: (props: P) => T) {
  const root = createRoot(element as unknown as Element), renders: T[] = [];
  const Page = (props: P) => {
    renders.push(use(props));
    return null;
  };
  t.after(() => root.unmount());
  return { renders, last: () => renders.at(-1)!, show: (props: P) => root.render(createElement(Page, props)) };
}

test("useStamp tells why each start has failed, and no run the error of another one", { timeout: 20_000 }, async (t) => {
  const stamp = new Stamp({ timeout: 1_000 });
  t.after(() => stamp.close());
  const { renders, last, show } = shown(t, () => ({ ...useStamp(stamp), run: stamp.run }));
  FakeWorker.missing = true;
  t.after(() => { FakeWorker.missing = false; });
  show({});
  await until(() => last()?.error?.code === "no-worker");
  const first = last().error;
  await assert.rejects(stamp.start(), { code: "no-worker" });
  await until(() => last().error?.code === "no-worker" && last().error !== first);
  FakeWorker.missing = false;
  await stamp.start();
  await until(() => last().authenticated === true);
  assert.equal(last().error, undefined);
  stamp.close();
  const before = renders.length;
  void stamp.start().catch(() => {});
  stamp.close();
  await stamp.start();
  await until(() => last().authenticated === true && last().run === stamp.run);
  assert.deepEqual(renders.slice(before).filter(({ error, run }) => error && run === stamp.run), []);
});

test("useStamp starts nothing again when the state changes while drain() goes on", { timeout: 20_000 }, async (t) => {
  const stamp = new Stamp({ timeout: 10_000 });
  t.after(() => stamp.close());
  const { last, show } = shown(t, () => useStamp(stamp));
  show({});
  await until(() => last()?.authenticated === true);
  const worker = FakeWorker.made.at(-1)!, held: number[] = worker.held = [];
  const asked = stamp.fetch("/a");
  await until(() => held.length === 1);
  const drained = stamp.drain();
  for (const state of ["lost", "connected"]) {
    worker.tell({ event: "state", state, reason: "" });
    await until(() => last().state === state);
  }
  await new Promise((resolve) => setTimeout(resolve)); // all effects have run
  worker.tell({ id: held[0], value: { subject: "a", headers: [], data: new Uint8Array(0) } });
  assert.equal((await asked).status, 200);
  await drained;
  await until(() => last().state === "closed");
  assert.deepEqual([stamp.started, FakeWorker.made.at(-1) === worker], [false, true]);
});

test("useRequest and useSubscription take undefined as null", { timeout: 20_000 }, async (t) => {
  const stamp = new Stamp({ timeout: 1_000 });
  t.after(() => stamp.close());
  const { renders, last, show } = shown(t, ({ resource, subject }: { resource?: string | null; subject?: string | null }) => ({ ...useRequest(stamp, resource), subscription: useSubscription(stamp, subject) }));
  await stamp.start();
  for (const none of [null, undefined, null]) {
    const before = renders.length;
    show({ resource: none, subject: none });
    await until(() => renders.length > before && !last().loading);
    assert.deepEqual([last().error, last().subscription.error], [undefined, undefined]);
  }
  show({ resource: "/a" });
  await until(() => last().answer?.status === 200);
});

test("options of hooks are read as those of the Stamp, also those of a class and those that are inherited", { timeout: 20_000 }, async (t) => {
  const stamp = new Stamp({ timeout: 1_000 }), given: unknown[] = [], { fetch, subscribe } = stamp;
  t.after(() => stamp.close());
  stamp.fetch = (...args: Parameters<typeof fetch>) => (given.push(args[1]!.method), fetch.apply(stamp, args) as any);
  stamp.subscribe = (...args: any[]) => (given.push(args[2].queue), (subscribe as Function).apply(stamp, args));
  class Options { get queue() { return "workers"; } get method() { return "PUT"; } }
  await stamp.start();
  const all = [new Options(), Object.create(Object.assign(Object.create(null), { queue: "workers", method: "PUT" }))];
  const { last, show } = shown(t, ({ of }: { of: number }) => ({ ...useRequest(stamp, `/a/${of}`, all[of]), subscription: useSubscription(stamp, `a.${of}`, undefined, all[of]) }));
  for (const of of all.keys()) {
    given.length = 0;
    show({ of });
    await until(() => given.length === 2 && last().answer?.status === 200 && !last().loading);
    assert.deepEqual(given, ["PUT", "workers"]);
  }
});

test("what a component asks in one run is not sent in the next", { timeout: 20_000 }, async (t) => {
  const stamp = new Stamp({ timeout: 1_000 }), sent: [asked: unknown, run: number][] = [];
  t.after(() => stamp.close());
  const { fetch } = stamp;
  stamp.fetch = (...args: Parameters<typeof fetch>) => {
    sent.push([args[0], stamp.run]);
    return fetch.apply(stamp, args) as any;
  };
  await stamp.start();
  const { last, show } = shown(t, () => {
    useEffect(() => queueMicrotask(() => { // between the effect of the hook and what it sends
      stamp.close();
      void stamp.start();
    }), []);
    return useRequest(stamp, "/a");
  });
  show({});
  await until(() => last()?.answer !== undefined);
  assert.deepEqual(sent, [["/a", stamp.run]], "once, in the run that is shown");
});

test("useStamp has the error of a later start whose worker cannot be made at once", { timeout: 20_000 }, async (t) => {
  const stamp = new Stamp({ timeout: 1_000 }), made = globalThis.Worker;
  t.after(() => {
    Object.assign(globalThis, { Worker: made });
    stamp.close();
  });
  const { renders, last, show } = shown(t, () => ({ ...useStamp(stamp), run: stamp.run }));
  const fails = async () => {
    await until(() => last()?.error?.code === "no-worker" && last().run === stamp.run);
    assert.equal(last().error, stamp.ended);
  };
  Object.assign(globalThis, { Worker: class { constructor() { throw new Error("blocked"); } } });
  show({});
  await fails();
  for (let again = 0; again < 2; again++) {
    await assert.rejects(stamp.start(), { code: "no-worker" });
    await fails();
  }
  Object.assign(globalThis, { Worker: made });
  await stamp.start();
  await until(() => last().authenticated === true);
  assert.equal(last().error, undefined);
  const before = renders.length;
  stamp.close();
  await until(() => renders.length > before && last().state === "closed");
  assert.equal(last().error, undefined, "close() is no start that failed");
});

test("useRequest has an error, and sends nothing, where JSON cannot hold the options", { timeout: 20_000 }, async (t) => {
  const stamp = new Stamp({ timeout: 1_000 });
  t.after(() => stamp.close());
  await stamp.start();
  const circle: { circle?: object } = {};
  circle.circle = circle;
  let sent = 0;
  const { fetch } = stamp;
  stamp.fetch = (...args: Parameters<typeof fetch>) => (sent++, fetch.apply(stamp, args) as any);
  const { last, show } = shown(t, ({ body }: { body?: unknown }) => useRequest(stamp, "/a", { method: "POST", body }));
  for (const body of [{ n: 2n }, circle]) {
    show({ body });
    await until(() => last()?.error !== undefined);
    assert.deepEqual([last().error!.name, last().loading, sent], ["TypeError", false, 0]);
    assert.match(last().error!.message, /^options: expected what JSON can hold: /);
    show({ body: 1 });
    await until(() => last().answer?.status === 200 && last().error === undefined);
    sent = 0;
  }
});

test("useRequest reads the getters of a class as fetch() does", { timeout: 20_000 }, async (t) => {
  class Options {
    #timeout = 5_000;
    get timeout() { return this.#timeout; }
  }
  const stamp = new Stamp({ timeout: 1_000 });
  t.after(() => stamp.close());
  await stamp.start();
  const { last, show } = shown(t, () => useRequest(stamp, "/a", new Options()));
  show({});
  await until(() => last()?.loading === false);
  assert.deepEqual([last().error, last().answer?.status], [undefined, 200]);
});
