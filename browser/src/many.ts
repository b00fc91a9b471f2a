// Requests with several answers, in the worker.
import type { Msg, MsgHdrs, NatsConnection, QueuedIterator } from "@nats-io/nats-core";
import type { Signal } from "./abort.ts";
import type { Enough } from "./messages.ts";
import { afterWaking, duration } from "./waking.ts";

/** Sends a request, and gives each answer away until there are enough of those that can be read. */
export async function requestMany(
  nc: NatsConnection, request: { subject: string; data: Uint8Array; headers: MsgHdrs }, { timeout, max, stall, sentinel }: Enough,
  signal: Signal, deliver: (msg: Msg) => boolean,
): Promise<void> {
  // The client's own time would pass while the process is frozen, when answers may wait behind its timer.
  const answers = await nc.requestMany(request.subject, request.data, { strategy: "timer", maxWait: duration(Infinity), headers: request.headers }) as QueuedIterator<Msg>;
  const stop = () => answers.stop();
  signal.addEventListener("abort", stop);
  const cancel = afterWaking(timeout, stop);
  let stalled = () => {}, count = 0;
  try {
    for await (const msg of answers) {
      stalled();
      if (sentinel && msg.data.length === 0) break;
      if (deliver(msg) && ++count === max) break;
      if (stall !== undefined) stalled = afterWaking(stall, stop);
    }
  } finally {
    stalled();
    cancel();
    signal.removeEventListener("abort", stop);
    stop();
  }
}
