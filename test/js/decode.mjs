// Reads header blocks, one a line in base64, and writes for each one line of
// JSON: what the parser of @nats-io/nats-core, the one that a subscription
// uses, makes of it. It is the oracle of internal/stamp's tests.
import { createInterface } from "node:readline";
import { MsgHdrsImpl } from "@nats-io/nats-core/internal";

for await (const line of createInterface({ input: process.stdin })) {
  let result;
  try {
    const block = new Uint8Array(Buffer.from(line, "base64"));
    result = { headers: [...MsgHdrsImpl.decode(block)] };
  } catch (err) {
    result = { error: err.message };
  }
  console.log(JSON.stringify(result));
}
