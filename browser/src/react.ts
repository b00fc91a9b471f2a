// Hooks for React. They keep no connection of their own: each takes a Stamp, which the page makes once, outside of its
// components.
import { useCallback, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { fieldOf } from "./field.ts";
import type { Answer, FetchOptions, Message, Stamp, StampError, Started, State } from "./index.ts";

/** What went wrong: a StampError if it has a code, else the TypeError of a resource or an option that cannot be. */
export type HookError = StampError | (Error & { code?: undefined; status?: undefined });

/** What useStamp() knows of the connection and the visitor. */
export interface StampStatus {
  state: State;
  /** Whether the visitor is signed in; undefined until start() has told. */
  authenticated: boolean | undefined;
  /** Those that the site's configuration lists. */
  claims: Record<string, unknown> | undefined;
  /** Why start() failed, where it did. */
  error: StampError | undefined;
}

/** Starts the connection, and renders again when its state changes. */
export function useStamp(stamp: Stamp): StampStatus {
  const { state, run, ended } = useConnection(stamp);
  const [{ started }, setKnown] = useKnown<{ started?: Started }>(stamp, run, state === "signed-out");
  const follow = useCallback(() => unlessGone((shown) => {
    const started = stamp.start(), { run } = stamp;
    return started.then((started) => shown(() => setKnown(run, { started })), () => {}); // the Stamp itself says why it has failed
  }), [stamp, setKnown]);
  // Whether a visitor who has signed out is to be asked for again is for the page to say, by start().
  useEffect(() => (stamp.state === "signed-out" ? undefined : follow()), [stamp, follow]);
  useEffect(() => (stamp.started ? follow() : undefined), [stamp, state, run, follow]);
  const authenticated = state === "signed-out" ? false : started?.authenticated;
  const failed = ended !== undefined && ended.code !== "closed" && ended.code !== "signed-out"; // what ends without a failure has these
  return { state, authenticated, claims: authenticated ? started?.claims : undefined, error: failed ? ended : undefined };
}

/** What useRequest() knows of an answer. */
export interface RequestStatus<T> {
  /** Undefined until it has come. While a later request is under way, it is the one before. */
  answer: Answer<T> | undefined;
  /** Its body, where it tells success. */
  body: T | undefined;
  /** What went wrong, where something did, or why there is no connection and will be none before the next start(). */
  error: HookError | undefined;
  /** Whether an answer is awaited, or the connection with which it can be asked for; not where there will be none. */
  loading: boolean;
  /** Sends the request again. */
  again: () => void;
}

/**
 * Sends a request as stamp.fetch() does, when the component is shown first and when the resource or an option is another,
 * compared as JSON. null and undefined send none. What is under way when the component goes away is aborted.
 */
export function useRequest<T = any>(stamp: Stamp, resource: string | URL | null | undefined, options: Omit<FetchOptions, "signal" | "throws"> = {}): RequestStatus<T> {
  resource ??= null;
  const { open, over, run, ended } = useOpen(stamp);
  const [round, setRound] = useState(0);
  const [known, setKnown] = useKnown<{ asked?: object; round?: number; answer?: Answer<T>; error?: HookError }>(stamp, run, over);
  const [key, why] = keyOf([resource, options]), asked = useAsked(key);
  const unheld = useMemo<HookError | undefined>(() => (why === undefined ? undefined : new TypeError(why)), [why]);
  useEffect(() => {
    if (resource === null || !open || key === "") return;
    return askUnlessGone(stamp, run, (shown, signal) => stamp.fetch<T>(resource, withSignal(Object(options), signal)).then(
      (answer) => shown(() => setKnown(run, { asked, round, answer })),
      (error: HookError) => shown(() => setKnown(run, { asked, round, error })),
    ));
  }, [stamp, asked, round, open, run]);
  const { answer, error } = known.asked === asked ? known : {};
  const done = known.asked === asked && known.round === round;
  return {
    answer, body: answer?.error ? undefined : answer?.body, error: unheld ?? answer?.error ?? error ?? (resource === null ? undefined : ended),
    loading: resource !== null && !done && !ended && !unheld,
    again: useCallback(() => setRound((before) => before + 1), []),
  };
}

/** What useSubscription() knows. */
export interface SubscriptionStatus {
  /** The last one, where no function gets them. */
  message: Message | undefined;
  /**
   * Why there is no subscription: the server has refused or ended it, there was no connection in time, which is tried again once
   * there is one, or there will be none before the next start().
   */
  error: HookError | undefined;
}

/** Subscribes while the component is shown. Messages go to the function, or the last one is returned. null and undefined subscribe to nothing. */
export function useSubscription(stamp: Stamp, subject: string | null | undefined, deliver?: (msg: Message) => void, options: { queue?: string | null | undefined } = {}): SubscriptionStatus {
  const queue = fieldOf(Object(options), "queue") as string | null | undefined;
  subject ??= null;
  const { open, over, run, ended } = useOpen(stamp);
  const [known, setKnown] = useKnown<{ asked?: object; message?: Message; error?: HookError }>(stamp, run, over);
  const asked = useAsked(JSON.stringify([subject, queue]));
  const latest = useRef(deliver);
  useEffect(() => { latest.current = deliver; });
  useEffect(() => {
    if (subject === null || !open) return;
    return askUnlessGone(stamp, run, (shown, signal) => {
      const failed = (error: HookError) => shown(() => setKnown(run, { asked, error }));
      let last: Message | undefined; // that is shown
      const receive = (message: Message) => (latest.current ? latest.current(message) : setKnown(run, { asked, message: last = message }));
      const subscribe = () => stamp.subscribe(subject, (message) => shown(() => receive(message)), { queue, signal, failed });
      return onceConnected(stamp, signal, failed, subscribe).then((again) => shown(() => { if (again) setKnown(run, { asked, ...last && { message: last } }); }), failed);
    });
  }, [stamp, asked, open, run]);
  const { message, error } = known.asked === asked ? known : {};
  return { message, error: error ?? (subject === null ? undefined : ended) };
}

/**
 * Subscribes, and does so again with each new connection as long as there was none in time, of which failed is told. Resolves with
 * whether it was told.
 */
async function onceConnected(stamp: Stamp, signal: AbortSignal, failed: (err: Error) => void, subscribe: () => Promise<unknown>): Promise<boolean> {
  for (let again = false; ; again = true) {
    try {
      await subscribe();
      return again;
    } catch (err) {
      if (!["no-connection", "refused", "timeout"].includes((err as StampError).code)) throw err;
      failed(err as Error);
    }
    await stamp.when("connected", { signal, timeout: Infinity });
  }
}

/** What is asked for, as JSON, by which it is compared; "" and why for what JSON cannot hold, as a circle or a BigInt. */
function keyOf(asked: unknown): [key: string, why?: string] {
  try {
    return [JSON.stringify(asked)];
  } catch (err) {
    return ["", `options: expected what JSON can hold: ${err instanceof Error ? err.message : String(err)}`];
  }
}

/** An object that is another one with each change of a key: what is known of it is not that of an equal key before. */
function useAsked(key: string): object {
  return useMemo(() => ({ key }), [key]);
}

/** The state of the connection, the run that it is in, and why there will be no connection, where there will be none. */
function useConnection(stamp: Stamp): { state: State; run: number; ended: StampError | undefined } {
  const listen = useCallback((changed: () => void) => {
    for (const event of ["state", "run"]) stamp.addEventListener(event, changed);
    return () => {
      for (const event of ["state", "run"]) stamp.removeEventListener(event, changed);
    };
  }, [stamp]);
  const state = useSyncExternalStore<State>(listen, () => stamp.state, () => "closed"); // the last one is where a server renders the page
  const run = useSyncExternalStore(listen, () => stamp.run, () => 0);
  const ended = useSyncExternalStore(listen, () => stamp.ended, () => undefined);
  return { state, run, ended };
}

/** Whether there is a connection or one is being made, and whether there will be none without a new sign-in. */
function useOpen(stamp: Stamp): { open: boolean; over: boolean; run: number; ended: StampError | undefined } {
  const { state, run, ended } = useConnection(stamp), over = state === "signed-out";
  return { open: state !== "closed" && !over, over, run, ended };
}

interface Kept<T> {
  stamp?: Stamp;
  run?: number;
  known: T;
}

/**
 * What a Stamp has told in a run. In another run, of another Stamp, or when the visitor has signed out, it is not known any
 * more, from the first moment on: the next visitor may be another.
 */
function useKnown<T extends object>(stamp: Stamp, run: number, over: boolean): [known: Partial<T>, set: (run: number, known: T) => void] {
  const [kept, setKept] = useState<Kept<Partial<T>>>({ known: {} });
  const holds = kept.stamp === stamp && kept.run === run && !over;
  useEffect(() => { // nor does memory hold it
    if (!holds) setKept((kept) => (kept.stamp === undefined || kept.stamp === stamp && kept.run === stamp.run && !over ? kept : { known: {} }));
  }, [stamp, run, over, holds]);
  return [holds ? kept.known : {}, useCallback((run, known) => setKept({ stamp, run, known }), [stamp])];
}

/** What an effect waits for. Nothing is shown any more when the signal is aborted. */
type Begin = (shown: (update: () => void) => void, signal: AbortSignal) => Promise<unknown>;

/** Begins what an effect waits for, and returns what ends it: its signal is aborted, and nothing is shown any more. */
function unlessGone(begin: Begin): () => void {
  const controller = new AbortController(), { signal } = controller;
  void begin((update) => { if (!signal.aborted) update(); }, signal);
  return () => controller.abort();
}

/**
 * The same for what is sent to a service. It is not sent in the effect itself but right after it: StrictMode runs the effects of
 * a component that is shown first twice, and abort cannot take back what was sent by the first of the two. Nor is it sent in
 * another run, which may begin meanwhile.
 */
function askUnlessGone(stamp: Stamp, run: number, begin: Begin): () => void {
  return unlessGone(async (shown, signal) => {
    await undefined;
    if (!signal.aborted && stamp.run === run) await begin(shown, signal);
  });
}

/** The options with another signal. Their getters run on the page's own object, as in fetch(): those of a class may need its private fields. */
function withSignal<T extends object>(options: T, signal: AbortSignal): T & { signal: AbortSignal } {
  const own = Object.create(options, { signal: { value: signal } }) as T & { signal: AbortSignal };
  return new Proxy(own, { get: (_, name) => (name === "signal" ? signal : Reflect.get(options, name) as unknown) });
}
