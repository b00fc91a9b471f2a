// Messages of nats.js: those of @nats-io/nats-core, of @nats-io/jetstream, and requests to services of @nats-io/services.
import { Anonymous } from "./errors.js";
import { forward as forwardOf, forwarded as forwardedOf, identify as identifyOf, type Identity, type Message } from "./identify.js";
import { fold } from "./names.js";
import { forwardedName } from "./proof.js";
import { type Trust } from "./trust.js";

/** What is read of a message: Msg, JsMsg and ServiceMsg have it. */
export interface NatsMessage {
  readonly subject: string;
  readonly reply?: string | undefined;
  readonly headers?: Iterable<readonly [string, readonly string[]]> | undefined;
  readonly data: Uint8Array;
}

/** What is written of headers: MsgHdrs has it. */
export interface NatsHeaders {
  keys(): string[];
  delete(name: string): void;
  set(name: string, value: string): void;
}

/** A request to a service: ServiceMsg has it. */
export interface NatsRequest extends NatsMessage {
  respondError(code: number, description: string): boolean;
}

/**
 * The message as identify of "@stamp/receiver" takes it. Throws Anonymous where the client cannot read the headers: nats.js
 * throws at a name with white space or with characters beyond ASCII, for example, which any client can send.
 */
export function message(msg: NatsMessage): Message {
  return { headers: linesOf(msg), payload: msg.data, subject: arrivedOn(msg) };
}

/**
 * The subject on which a message arrived. A message that JetStream delivers has the subject on which it was stored, and not that of the
 * subscription: whoever may ask for messages of a stream can have one delivered to any handler. So unless it is of a consumer (JsMsg), it arrived on
 * no subject, and only a handler with a trust of forSubjects takes it.
 */
function arrivedOn(msg: NatsMessage): string {
  const delivered = msg.reply?.startsWith("$JS.ACK.") && !("ack" in msg);
  return delivered ? "" : msg.subject ?? ""; // without types, a message could have none
}

/** The lines of a message. nats.js keeps the spelling of names, and has the values of each spelling in their order. */
function linesOf(msg: NatsMessage): [string, string][] {
  const lines: [string, string][] = [];
  try {
    for (const [name, values] of msg.headers ?? []) for (const value of values) lines.push([name, value]);
  } catch {
    throw new Anonymous("anonymous");
  }
  return lines;
}

/**
 * Who has sent the message. Rejects with Anonymous where that is nobody whom the trust knows, and where it was published on another subject than
 * that on which it arrived, or with a trust of forSubjects on none of these.
 */
export async function identify(msg: NatsMessage, trust: Trust): Promise<Identity> {
  return identifyOf(message(msg), trust);
}

/** For whom the sender of the message works: who has sent the message of which it passes on the proof. Rejects with Anonymous. */
export async function forwarded(msg: NatsMessage, trust: Trust): Promise<Identity> {
  return forwardedOf(message(msg), trust);
}

/**
 * Puts the proof of a message that was received into the headers of a request that is made on behalf of its sender. If that
 * message is from nobody, it rejects with Anonymous, and the headers stay without.
 */
export async function forward(headers: NatsHeaders, received: NatsMessage, trust: Trust): Promise<void> {
  for (const name of headers.keys()) if (fold(name) === fold(forwardedName)) headers.delete(name);
  headers.set(forwardedName, await forwardOf(message(received), trust));
}

/**
 * The handler of an endpoint of @nats-io/services. It calls handle for requests that somebody sent, in the order in which they
 * came, and answers all others with the error 401, whose text is the verdict. Where handle throws or rejects, the answer is 500
 * without a reason, and failed gets the reason; it also gets errors of the subscription.
 */
export function handler<Request extends NatsRequest>(
  trust: Trust,
  handle: (identity: Identity, request: Request) => unknown,
  failed: (reason: unknown) => void = (reason) => console.error(reason),
): (err: Error | null, request: Request) => void {
  let earlier: Promise<unknown> = Promise.resolve(); // the requests before have been given to handle, or answered
  // A service does not wait for what its handler returns: a rejection that nobody takes would end the process.
  return (err, request) => {
    if (err) return failed(err);
    const judged = Promise.allSettled([identify(request, trust)]);
    earlier = earlier.then(() => judged).then(([result]) => {
      answerOnce(result, request).catch(failed);
    });
  };

  async function answerOnce(result: PromiseSettledResult<Identity>, request: Request): Promise<void> {
    if (result.status === "rejected" && result.reason instanceof Anonymous) {
      // An answer without a payload would acknowledge what JetStream delivers.
      if (!request.reply?.startsWith("$JS.ACK.")) request.respondError(401, result.reason.verdict);
      return;
    }
    try {
      if (result.status === "rejected") throw result.reason;
      await handle(result.value, request);
    } catch (reason) {
      failed(reason);
      request.respondError(500, "internal error");
    }
  }
}
