// A site that lets browsers without Ed25519 in.
import assert from "node:assert/strict";
import { alice, Visitor } from "./visitor.mjs";

export const checks = {
  async "a browser without Ed25519 has tickets alone"(env) {
    const v = await Visitor.open(env, alice);
    try {
      await v.control("ed25519/off");
      assert.equal((await v.start()).key, false);
      assert.equal((await v.run(() => s.fetch("/api/seen"))).body.headers["X-User"][0], "id2");
    } finally {
      await v.control("ed25519/on");
    }
  },

  async "a browser with Ed25519 uses a key"(env) {
    const v = await Visitor.open(env, alice);
    assert.equal((await v.start()).key, true);
    assert.equal((await v.run(() => s.fetch("/api/seen"))).status, 200);
  },
};
