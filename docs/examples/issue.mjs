// Issues a user JWT with a headers claim.
//   ACCOUNT_SEED=SA... node issue.mjs [--by-hand] USER_PUBLIC_KEY
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
async function issue(account, user) {
  return await encodeUser("alice", user, account, { ...claim });
}

// By hand, with @nats-io/nkeys alone. -1 is "no limit": 0 would mean none.
function issueByHand(account, user) {
  const part = (o) => Buffer.from(JSON.stringify(o)).toString("base64url");
  const signed = part({ typ: "JWT", alg: "ed25519-nkey" }) + "." + part({
    jti: randomUUID(),
    iat: Math.floor(Date.now() / 1000),
    iss: account.getPublicKey(),
    sub: user,
    name: "alice",
    nats: { type: "user", version: 2, subs: -1, data: -1, payload: -1, ...claim },
  });
  return signed + "." + Buffer.from(account.sign(Buffer.from(signed))).toString("base64url");
}

const account = fromSeed(new TextEncoder().encode(process.env.ACCOUNT_SEED));
const make = process.argv[2] === "--by-hand" ? issueByHand : issue;
console.log(await make(account, process.argv.at(-1)));
