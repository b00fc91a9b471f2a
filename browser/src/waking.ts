// Time-outs that count the time in which the process ran, and no other.

/** Milliseconds as timers take them: more is none to them. */
export const duration = (milliseconds: number) => Math.min(milliseconds, 2 ** 31 - 1);

/**
 * Calls back when so many milliseconds have passed, and returns what cancels that. A timer that fires far too late
 * tells that the process was frozen, as when a laptop sleeps: what was awaited may have come meanwhile, and waits behind
 * the timer. So the time is taken in steps, and a step that took far too long is taken again. That happens ten times at
 * most: browsers let the timers of hidden pages fire once a minute.
 */
export function afterWaking(milliseconds: number, call: () => void): () => void {
  let left = duration(milliseconds), repeated = 0, timer: ReturnType<typeof setTimeout>;
  const usual = Math.max(250, left / 10);
  const next = () => {
    const step = Math.min(left, usual), began = performance.now();
    timer = setTimeout(() => {
      const took = performance.now() - began;
      if (took > 2 * step + 1000 && repeated < 10) repeated++;
      else left -= Math.max(took, step);
      if (left > 0) next();
      else call();
    }, step);
  };
  next();
  return () => clearTimeout(timer);
}

/** What is awaited, or an error when it does not come in time. */
export async function within<T>(milliseconds: number, what: Promise<T>, late: () => Error): Promise<T> {
  let cancel = () => {};
  const expired = new Promise<never>((_, reject) => {
    cancel = afterWaking(milliseconds, () => reject(late()));
  });
  try {
    return await Promise.race([what, expired]);
  } finally {
    cancel();
  }
}

/** The same for what keeps something while it waits: gone is aborted when nobody waits for it any more. */
export async function untilGone<T>(milliseconds: number, begin: (gone: AbortSignal) => Promise<T>, late: () => Error): Promise<T> {
  const gone = new AbortController();
  try {
    return await within(milliseconds, begin(gone.signal), late);
  } finally {
    gone.abort();
  }
}
