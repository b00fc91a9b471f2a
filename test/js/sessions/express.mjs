// A site as the guide of express-session describes it, with its sessions in Redis. Arguments: the path of
// Redis' socket, and how long a session lasts without a request, in milliseconds. It prints its port.
import express from "express";
import session from "express-session";
import { RedisStore } from "connect-redis";
import { createClient } from "redis";

const [socket, maxAge] = process.argv.slice(2);
const client = createClient({ socket: { path: socket } });
await client.connect();

const app = express();
app.use(session({
  store: new RedisStore({ client }),
  secret: ["newest & secret", "older"],
  resave: false,
  saveUninitialized: false,
  cookie: maxAge === "none" ? {} : { maxAge: Number(maxAge) },
}));
app.post("/login", (req, res) => {
  req.session.user = { id: "alice" };
  res.json({ id: req.sessionID });
});
app.get("/page", (req, res) => res.json({ user: req.session.user ?? null }));
app.post("/logout", (req, res) => req.session.destroy(() => res.json({})));
const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
