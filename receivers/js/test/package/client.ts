// A project with nats.js.
import { type JsMsg } from "@nats-io/jetstream";
import { Svcm, type ServiceMsg } from "@nats-io/services";
import { headers, type Msg } from "@nats-io/nats-core";
import { type Identity, type Trust } from "@stamp/receiver";
import { forward, forwarded, handler, identify } from "@stamp/receiver/nats";
import { make, Server } from "@stamp/receiver/testing";

// A service has a version of nats-core of its own.
type NatsConnection = ConstructorParameters<typeof Svcm>[0];

export async function serve(nc: NatsConnection, trust: Trust): Promise<void> {
  const service = await new Svcm(nc).add({ name: "orders", version: "1.0.0" });
  service.addEndpoint("new", handler(trust, ({ user }, request) => request.respond(`thank you, ${user}`)));
  service.addEndpoint("old", { subject: "orders.old", handler: handler(trust, async (id: Identity, request: ServiceMsg) => { request.respond(id.user); }, () => {}) });
}

export const users = (msg: Msg, jsMsg: JsMsg, trust: Trust): Promise<Identity>[] => [identify(msg, trust), identify(jsMsg, trust), forwarded(msg, trust)];
export const passed = (msg: Msg, trust: Trust): Promise<void> => forward(headers(), msg, trust);
export const stamped: Promise<[string, string][]> = new Server({ encrypt: ["Session"] }).stamp({ "X-User": ["alice"] }, "orders.new");
void make;
