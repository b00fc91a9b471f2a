// Issues a user JWT with a headers claim.
//   ACCOUNT_SEED=SA... node issue.mjs [--by-hand] USER_PUBLIC_KEY
// With the seed of a signing key, ISSUER_ACCOUNT=A... is the account's public key.
import { randomUUID } from "node:crypto";
import { encodeUser } from "@nats-io/jwt";
import { fromSeed } from "@nats-io/nkeys";

const claim = {
  headers: {
    "Session": "0af3c1",
    "Roles": ["admin", "ops"],
    "X-Tenant": { value: "acme", subjects: ["api.>"] },
  },
  header_permissions: { subscribe: { allow: ["Session"] } },
};

// With @nats-io/jwt: the claim is two more fields of the user. Version 0.0.11
// writes Latin-1 where JSON is UTF-8: the server refuses such values, so keep
// them ASCII or sign by hand.
async function issue(key, account, user) {
  const signer = account ? { signer: key } : {};
  return await encodeUser("alice", user, account || key, { ...claim }, signer);
}

// By hand, with @nats-io/nkeys alone. -1 is "no limit": 0 would mean none.
function issueByHand(key, account, user) {
  const part = (o) => Buffer.from(JSON.stringify(o)).toString("base64url");
  const signed = part({ typ: "JWT", alg: "ed25519-nkey" }) + "." + part({
    jti: randomUUID(),
    iat: Math.floor(Date.now() / 1000),
    iss: key.getPublicKey(),
    sub: user,
    name: "alice",
    nats: {
      type: "user", version: 2, subs: -1, data: -1, payload: -1,
      ...(account ? { issuer_account: account } : {}), ...claim,
    },
  });
  return signed + "." + Buffer.from(key.sign(Buffer.from(signed))).toString("base64url");
}

const key = fromSeed(new TextEncoder().encode(process.env.ACCOUNT_SEED));
const make = process.argv[2] === "--by-hand" ? issueByHand : issue;
console.log(await make(key, process.env.ISSUER_ACCOUNT, process.argv.at(-1)));
