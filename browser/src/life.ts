// Whether the worker lives. A worker that a browser has ended, as for want of memory, tells nobody, and looks to the page like one
// that hangs. But a Web Lock that it held is free then.

const locks = () => globalThis.navigator?.locks as LockManager | undefined; // not in insecure contexts, and not in old browsers

/** In the worker: takes a lock, tells its name when it is held, and returns what gives it up. */
export function holdLock(tell: (name: string) => void): () => void {
  let release = () => {};
  const released = new Promise<void>((resolve) => { release = resolve; });
  const hold = () => {
    const name = `stamp-${crypto.randomUUID()}`;
    return locks()?.request(name, () => (tell(name), released));
  };
  void (async () => hold())().catch(() => {}); // there is none in a sandbox, and any script of the origin can take it away
  return release;
}

/** In the page: calls back when a lock of the worker is free, and returns what ends that. */
export function onFree(name: string, call: () => void): () => void {
  const asked = new AbortController(), { signal } = asked;
  const options = { __proto__: null, signal }; // what a script has put into Object.prototype, such as steal, is no option
  const ask = async () => locks()?.request(name, options, () => { if (!signal.aborted) call(); });
  void ask().catch(() => {});
  return () => asked.abort();
}
