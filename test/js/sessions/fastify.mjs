// The same as express.mjs, with Fastify.
import Fastify from "fastify";
import cookie from "@fastify/cookie";
import session from "@fastify/session";
import { RedisStore } from "connect-redis";
import { createClient } from "redis";

const [socket, maxAge] = process.argv.slice(2);
const client = createClient({ socket: { path: socket } });
await client.connect();

const app = Fastify();
await app.register(cookie);
await app.register(session, {
  store: new RedisStore({ client }),
  secret: "a secret of at least 32 characters: 0123456789",
  saveUninitialized: false,
  cookie: { secure: false, ...(maxAge === "none" ? {} : { maxAge: Number(maxAge) }) },
});
app.post("/login", async (req) => {
  req.session.set("user", { id: "alice" });
  return { id: req.session.sessionId };
});
app.get("/page", async (req) => ({ user: req.session.get("user") ?? null }));
app.post("/logout", async (req) => {
  await req.session.destroy();
  return {};
});
await app.listen({ port: 0, host: "127.0.0.1" });
console.log(app.server.address().port);
