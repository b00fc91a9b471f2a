// In the worker's script, what the client has of @nats-io/nkeys. Its own authenticators need it, which the worker does not
// use: WebCrypto signs (key.ts). Without it the script is a quarter shorter, and has no other implementation of Ed25519.

export const fromSeed = (): never => {
  throw new Error("the worker has no seeds");
};

export const encode = fromSeed;
