// In the worker's script, what the client has of @nats-io/nkeys and of its file ipparser. Its own authenticators need the first,
// which the worker does not use: WebCrypto signs (key.ts). The second is for the names of servers with TLS, which a browser checks
// itself. Without them the script is a quarter shorter, and has no other implementation of Ed25519.

const noSeeds = (): never => {
  throw new Error("the worker has no seeds");
};

export const nkeys = { fromSeed: noSeeds, encode: noSeeds };

/** With an address the client has nothing to look up, and no name to keep. */
export const isIP = (): boolean => true;
