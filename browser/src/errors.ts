// Errors, in the page and in the worker.
import type { Answer } from "./answer.ts";

/**
 * What went wrong, for programs. The same failure has the same code in the answer of fetch(), as answer.error,
 * and as the error that request() and the others reject with.
 *
 * - timeout: the answer did not come in time
 * - unanswered: nobody subscribes to the subject
 * - no-connection: there was no connection in time, and the request was not sent
 * - refused: the same, and the server refuses the connection although there is a session
 * - lost: the connection was lost while the answer was awaited; the request may have been carried out
 * - signed-out: there is no session, or the page has signed out while the answer was awaited; the request may have been carried out
 * - denied: the server does not permit the subject
 * - too-large: the message is larger than the server takes
 * - invalid: the request cannot be sent as it is
 * - service: the service answered with an error; status, and answer, are what it said
 * - unreadable: the answer's status or body could not be read
 * - not-started: start() was not called, or not since close() or drain(). Where it has failed, the code is that of start()
 * - no-worker: the worker could not be started, or has died
 * - closed: close() was called, or the browser cannot do what the site requires
 * - failed: anything else
 */
export type Code =
  | "timeout" | "unanswered" | "no-connection" | "refused" | "lost" | "signed-out" | "denied" | "too-large" | "invalid"
  | "service" | "unreadable" | "not-started" | "no-worker" | "closed" | "failed";

/** The status of HTTP that fits each code. */
const statuses: Record<Code, number> = {
  timeout: 504, unanswered: 503, "no-connection": 503, refused: 503, lost: 503, "signed-out": 401, denied: 403, "too-large": 413, invalid: 400,
  service: 500, unreadable: 502, "not-started": 503, "no-worker": 503, closed: 503, failed: 503,
};

/** An error with a code that programs can tell apart. */
export class StampError extends Error {
  readonly code: Code;
  /** The status of HTTP: the service's, or the one that fits the code. */
  readonly status: number;
  /** The answer that says so, where one came. */
  declare readonly answer?: Answer;

  constructor(code: Code, message: string, answer?: Answer) {
    super(message);
    this.name = "StampError";
    this.code = code;
    this.status = answer?.status ?? statuses[code];
    if (answer) this.answer = answer;
  }
}
