// What the page has asked the worker. Each call ends in its time, whatever becomes of the worker.
import { StampError } from "./errors.ts";
import type { Call, Limits, Reply } from "./messages.ts";
import { concurrencyOf, Line, Patience } from "./queue.ts";
import { afterWaking, duration } from "./waking.ts";

/** How much longer than the worker the page waits, in milliseconds: the worker knows better what went wrong. */
const margin = 1_000;

/** Calls that the worker passes on to the site, over HTTP. */
const ofSite = new Set<Call["op"]>(["start", "session", "logout"]);

/** The id of the newest call, of whichever run: what a worker of a run before answers is then nobody's. */
let newest = 0;

interface Waiting {
  resolve: (value: any) => void;
  reject: (err: Error) => void;
  cancel: () => void;
}

export class Calls {
  readonly #waiting = new Map<number, Waiting>();
  readonly #patience: Patience;
  readonly #turns: Turns;
  #silent = false;

  constructor(limits: Limits) {
    this.#patience = new Patience(limits);
    this.#turns = new Turns(concurrencyOf(limits));
  }

  /** Whether the worker has let the time of a call pass, and was not heard since. */
  get silent(): boolean {
    return this.#silent;
  }

  /** Asks the worker. Its reply is awaited for as long as the worker needs at most, and the margin. */
  ask<T>(port: MessagePort, call: Call, timeout?: number): { id: number; reply: Promise<T> } {
    const id = ++newest;
    const reply = new Promise<T>((resolve, reject) => {
      try {
        port.postMessage({ ...call, id });
      } catch (err) { // DataCloneError
        throw new TypeError(err instanceof Error ? err.message : String(err));
      }
      const waiting: Waiting = { resolve, reject, cancel() {} };
      this.#waiting.set(id, waiting);
      const begin = () => {
        const patience = duration(timeout ?? (ofSite.has(call.op) ? this.#patience.usual : this.#patience.current));
        waiting.cancel = afterWaking(patience + margin, () => {
          this.#silent = true;
          this.#patience.lost(patience);
          port.postMessage({ op: "abort", call: id, id: 0 });
          this.#take(id)?.reject(new StampError("timeout", `timed out after ${patience} ms: the worker does not answer`));
        });
      };
      if (call.op === "request") this.#turns.add(id, begin);
      else begin();
    });
    return { id, reply };
  }

  /** Takes a reply. What a script has put into Object.prototype is no error. */
  receive(reply: Reply): void {
    const waiting = this.#take(reply.id);
    if (isError(reply)) waiting?.reject(new StampError(reply.error.code, reply.error.message));
    else waiting?.resolve(reply.value);
  }

  /** Says that the worker lives. */
  heard(): void {
    this.#silent = false;
  }

  /** Ends all that wait. */
  fail(err: Error): void {
    for (const id of [...this.#waiting.keys()].reverse()) this.#take(id)?.reject(err); // none gets its turn by that
  }

  #take(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    waiting?.cancel();
    this.#turns.done(id);
    return waiting;
  }
}

const isError = (reply: Reply): reply is Extract<Reply, { error: unknown }> => Object.hasOwn(reply, "error");

/** When the turn of each request comes in the worker, which has so many under way at once. */
class Turns {
  readonly #limit: number;
  readonly #running = new Set<number>();
  readonly #waiting = new Line<number, [id: number, begin: () => void]>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(id: number, begin: () => void): void {
    if (this.#running.size < this.#limit) { // then nobody waits
      this.#running.add(id);
      begin();
    } else this.#waiting.add(id, [id, begin]);
  }

  done(id: number): void {
    if (this.#running.delete(id)) this.#advance();
    else this.#waiting.leave(id);
  }

  #advance(): void {
    while (this.#running.size < this.#limit) {
      const next = this.#waiting.shift();
      if (!next) return;
      this.#running.add(next[0]);
      next[1]();
    }
  }
}
