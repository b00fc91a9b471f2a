// Two services of @nats-io/services. `orders` takes orders of users. For each it asks `stock` on behalf of the user, and passes
// on the proof of the user's request. So stock knows which service asks now, and for which user.
//
//	node services.mjs URL TRUST.json
//
// URL has the user and password of the services; TRUST.json is what they trust: see docs/proofs.md.
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { Svcm } from "@nats-io/services";
import { connect, headers } from "@nats-io/transport-node";
import { Anonymous, Trust } from "@stamp/receiver";
import { forward, forwarded, handler } from "@stamp/receiver/nats";

/** Starts both services. */
export async function serve(nc, trust) {
  const add = async (name, subject, handle) => {
    const service = await new Svcm(nc).add({ name, version: "1.0.0" });
    service.addEndpoint("new", { subject, handler: handler(trust, handle) });
  };
  await add("orders", "orders.new", (identity, request) => order(nc, trust, identity, request));
  await add("stock", "stock.take", (identity, request) => take(trust, identity, request));
  await nc.flush();
}

/** Takes an order of a user, and asks stock on the user's behalf. */
async function order(nc, trust, { user }, request) {
  const onBehalf = headers();
  await forward(onBehalf, request, trust);
  const reply = await nc.request("stock.take", request.data, { headers: onBehalf, timeout: 5_000 });
  if (reply.headers?.has("Nats-Service-Error-Code")) request.respondError(503, "stock refuses");
  else request.respond(`thank you, ${user}: ${reply.string()}`);
}

/** Is asked by a service, on behalf of a user. */
async function take(trust, service, request) {
  try {
    const { user, subject } = await forwarded(request, trust);
    request.respond(`${service.user} takes ${request.string()} for ${user}, who asked on ${subject}`);
  } catch (err) {
    if (!(err instanceof Anonymous)) throw err;
    request.respondError(403, `on behalf of nobody: ${err.verdict}`);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [, , url, file] = process.argv;
  const { host, username, password } = new URL(url);
  const trust = await Trust.fromJSON(await readFile(file, "utf8")).ready();
  const nc = await connect({ servers: host, user: decodeURIComponent(username), pass: decodeURIComponent(password) });
  await serve(nc, trust);
  console.log("ready");
  process.once("SIGINT", () => nc.drain());
}
