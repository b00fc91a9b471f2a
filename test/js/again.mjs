// A client with the library's defaults, except for a short time-out and short pauses. It prints what happens to its connection.
// usage: node again.mjs PORT TOKEN
import { connect } from "@nats-io/transport-node";

const [port, token] = process.argv.slice(2);
const nc = await connect({ port: Number(port), token, maxReconnectAttempts: -1, reconnectTimeWait: 20, reconnectJitter: 0, timeout: 200 });
console.log("client", nc.info.client_id, nc.info.server_id);
void (async () => {
  for await (const status of nc.status()) if (status.type === "reconnect") console.log("back");
})();
const err = await nc.closed();
console.log("closed", err?.message);
