// The site as in production, with TLS, a __Host- cookie and a wss URL.
import assert from "node:assert/strict";
import { alice, until, Visitor } from "./visitor.mjs";

export const checks = {
  async "sign in, ask, be lost, sign out"(env) {
    const v = await Visitor.open(env, alice);
    assert.equal((await v.start()).authenticated, true);
    const { body } = await v.run(() => s.fetch("/api/seen"));
    assert.deepEqual([body.headers["X-User"], body.headers.Authorization], [["id2"], ["Bearer token"]]);
    const [cookie, ...others] = (await v.context.cookies()).filter(({ domain }) => domain === "localhost");
    assert.deepEqual(others, []);
    assert.deepEqual([cookie.name, cookie.httpOnly, cookie.secure, cookie.sameSite, cookie.path], ["__Host-session", true, true, "Lax", "/"]);
    await v.drop();
    await until(v.page, () => states.some(({ state }) => state === "lost") && s.state === "connected");
    assert.equal((await v.run(() => s.fetch("/api/seen"))).status, 200);
    await v.run(() => s.logout());
    assert.equal((await v.run(() => s.fetch("/api/seen"))).status, 401);
  },
};
