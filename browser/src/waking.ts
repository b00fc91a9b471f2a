// Time-outs that count the time in which the process ran, and no other.
import { Abort, type Signal } from "./abort.ts";

/** Milliseconds as timers take them: more is none to them. */
export const duration = (milliseconds: number) => Math.min(milliseconds, 2 ** 31 - 1);

/** A timer of the browser. When it fires before the call is due, it is set anew. */
interface Timer {
  id: ReturnType<typeof setTimeout> | undefined;
  /** When it fires; times are those of performance.now(). */
  fires: number;
  due: number;
  /** Undefined: nobody waits for it. */
  call: (() => void) | undefined;
}

/**
 * Timers that nobody waits for any more, and that have not fired yet. Each request has a time-out in the page and one in the
 * worker: to set and to clear a timer for each would be a good part of what a request costs a browser.
 */
const spare: Timer[] = [];

/** As many are kept as there are usually requests at once, and none that would fire much later than others are due. */
const mostSpare = 16, longestSpare = 5_000;

/** Calls back so many milliseconds after a time, and returns what cancels that. */
function callAfter(began: number, milliseconds: number, call: () => void): () => void {
  const due = began + milliseconds, kept = spare.at(-1);
  const timer: Timer = kept && kept.fires <= due ? spare.pop()! : { id: undefined, fires: due, due, call };
  timer.due = due;
  timer.call = call;
  if (timer.id === undefined) set(timer, milliseconds);
  return () => {
    if (timer.call !== call) return; // it was called, and the timer may be somebody else's
    timer.call = undefined;
    if (spare.length < mostSpare && milliseconds <= longestSpare) spare.push(timer);
    else clearTimeout(timer.id);
  };
}

function set(timer: Timer, milliseconds: number): void {
  timer.fires = timer.due;
  timer.id = setTimeout(() => {
    const { call } = timer, left = timer.due - performance.now();
    if (!call) spare.splice(spare.indexOf(timer), 1);
    else if (left >= 1) set(timer, left); // a millisecond is what clocks differ by
    else {
      timer.call = undefined;
      call();
    }
  }, milliseconds);
}

/**
 * Calls back when so many milliseconds have passed, and returns what cancels that and tells how many are left, at least one. A timer that fires far too late
 * tells that the process was frozen, as when a laptop sleeps: what was awaited may have come meanwhile, and waits behind
 * the timer. So the time is taken in steps, and a step that took far too long is taken again. That happens ten times at
 * most: browsers let the timers of hidden pages fire once a minute.
 */
export function afterWaking(milliseconds: number, call: () => void): () => number {
  let left = duration(milliseconds), repeated = 0, step: number, began: number, cancel: () => void;
  const usual = Math.max(250, left / 10);
  const isFrozen = (took: number) => took > 2 * step + 1000 && repeated < 10;
  const next = () => {
    step = Math.min(left, usual);
    began = performance.now();
    cancel = callAfter(began, step, () => {
      const took = performance.now() - began;
      if (isFrozen(took)) repeated++;
      else left -= Math.max(took, step);
      if (left > 0) next();
      else call();
    });
  };
  next();
  return () => {
    cancel();
    const took = performance.now() - began;
    return Math.max(1, isFrozen(took) ? left : left - took);
  };
}

/** What is awaited, or an error when it does not come in time. */
export function within<T>(milliseconds: number, what: Promise<T>, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = afterWaking(milliseconds, () => reject(late()));
    void what.then(resolve, reject).then(cancel);
  });
}

/** The same for what keeps something while it waits: gone is aborted when nobody waits for it any more. */
export async function untilGone<T>(milliseconds: number, begin: (gone: Signal) => Promise<T>, late: () => Error): Promise<T> {
  const gone = new Abort();
  try {
    return await within(milliseconds, begin(gone), late);
  } finally {
    gone.abort();
  }
}
