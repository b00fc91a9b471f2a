// Checks messages with docs/examples/receiver/receiver.mjs: each line is JSON with the
// header block in base64, the subject, the account, the age in ms that is allowed, and the subjects that
// are expected. It writes for each one line: "ok", or why not.
import { createInterface } from "node:readline";
import { MsgHdrsImpl } from "@nats-io/nats-core/internal";
import { check, checkAny } from "../../docs/examples/receiver/receiver.mjs";

for await (const line of createInterface({ input: process.stdin })) {
  const { block, subject, account, max_age, subjects } = JSON.parse(line);
  const headers = block ? MsgHdrsImpl.decode(new Uint8Array(Buffer.from(block, "base64"))) : undefined;
  const said = (f) => {
    try {
      f();
      return "ok";
    } catch (err) {
      return err.message;
    }
  };
  const one = said(() => check({ headers, subject }, account, max_age, ...subjects));
  const any = said(() => checkAny({ headers, subject }, { [account]: subjects, NONE: [">"] }, max_age));
  const same = one.split(":")[0] === any.split(":")[0];
  console.log(same ? one : `check says ${one}, and checkAny ${any}`);
}
