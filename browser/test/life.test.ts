import assert from "node:assert/strict";
import { test } from "node:test";
import { baseOfPage } from "../src/resource.ts";
import { onFree } from "../src/life.ts";

test("what a script has put into Object.prototype is no option of a lock", (t) => {
  const options: object[] = [];
  Object.defineProperty(globalThis, "navigator", { configurable: true, value: { locks: { request: async (_: string, given: object) => options.push(given) } } });
  Object.assign(Object.prototype, { steal: true });
  t.after(() => delete (Object.prototype as { steal?: boolean }).steal);
  onFree("stamp", () => {});
  assert.equal("steal" in options[0]!, false);
});

test("an element with the name baseURI is not the base of a page", (t) => {
  class Node {
    get baseURI() { return "https://app.example/base/"; }
  }
  const document = Object.defineProperty(new Node(), "baseURI", { value: { element: "img" } });
  Object.assign(globalThis, { Node, document });
  t.after(() => Object.assign(globalThis, { Node: undefined, document: undefined }));
  assert.equal(baseOfPage(), "https://app.example/base/");
});
