// Functions that a page gives. Some of them are called while other calls are being ended, so none may throw into that.

/**
 * Calls a function of the page's, if there is one. What it throws is reported as an error that nobody caught, as
 * dispatchEvent() does it with listeners.
 */
export function callPage<A extends unknown[]>(given: ((...args: A) => unknown) | null | undefined, ...args: A): void {
  try {
    given?.(...args);
  } catch (err) {
    report(err);
  }
}

/** Browsers have reportError(); elsewhere a timer has nobody who would catch what it throws. */
const report = (err: unknown): void => {
  if (typeof reportError === "function") reportError(err);
  else setTimeout(() => { throw err; });
};
