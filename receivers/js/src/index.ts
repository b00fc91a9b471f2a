// Who sent a NATS message, by the stamp of the server and its proof. docs/proofs.md has the rules.
export { Anonymous, type Verdict } from "./errors.js";
export { forward, forwarded, identify, type Identity, type Message } from "./identify.js";
export { Trust, type TrustOptions } from "./trust.js";
