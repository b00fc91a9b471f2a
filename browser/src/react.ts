// Hooks for React. They keep no connection of their own: each takes a Stamp, which the page makes once, outside of its
// components.
import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";
import type { Answer, FetchOptions, Message, Stamp, StampError, Started, State } from "./index.ts";

/** What useStamp() knows of the connection and the visitor. */
export interface StampStatus {
  state: State;
  /** Whether the visitor is signed in; undefined until start() has told. */
  authenticated: boolean | undefined;
  /** Those that the site's configuration lists. */
  claims: Record<string, unknown> | undefined;
  /** Why start() failed, where it did. */
  error: Error | undefined;
}

/** Starts the connection, and renders again when its state changes. */
export function useStamp(stamp: Stamp): StampStatus {
  const state = useConnection(stamp);
  const [known, setKnown] = useState<{ started?: Started; error?: Error }>({});
  const follow = useCallback(() => unlessGone((shown) => stamp.start().then(
    (started) => shown(() => setKnown({ started })),
    (error: Error) => shown(() => setKnown({ error })),
  )), [stamp]);
  // Whether a visitor who has signed out is to be asked for again is for the page to say, by start().
  useEffect(() => (stamp.state === "signed-out" ? undefined : follow()), [stamp, follow]);
  useEffect(() => (stamp.started ? follow() : undefined), [stamp, state, follow]);
  useForgetting(state === "signed-out", setKnown);
  const { started, error } = known;
  const authenticated = state === "signed-out" ? false : started?.authenticated;
  return { state, authenticated, claims: authenticated ? started?.claims : undefined, error };
}

/** What useRequest() knows of an answer. */
export interface RequestStatus<T> {
  /** Undefined until it has come. While a later request is under way, it is the one before. */
  answer: Answer<T> | undefined;
  /** Its body, where it tells success. */
  body: T | undefined;
  /** What went wrong, where something did. */
  error: StampError | Error | undefined;
  /** Whether an answer is awaited, or the connection with which it can be asked for. */
  loading: boolean;
  /** Sends the request again. */
  again: () => void;
}

/**
 * Sends a request as stamp.fetch() does, when the component is shown first and when the resource or an option is another,
 * compared as JSON. null sends none. What is under way when the component goes away is aborted.
 */
export function useRequest<T = any>(stamp: Stamp, resource: string | URL | null, options: Omit<FetchOptions, "signal" | "throws"> = {}): RequestStatus<T> {
  const { open, over } = useOpen(stamp);
  const [round, setRound] = useState(0);
  const [known, setKnown] = useState<{ key?: string; round?: number; answer?: Answer<T>; error?: Error }>({});
  const key = JSON.stringify([resource, options]);
  useEffect(() => {
    if (resource === null || !open) return;
    return unlessGone((shown, signal) => stamp.fetch<T>(resource, { ...options, signal }).then(
      (answer) => shown(() => setKnown({ key, round, answer })),
      (error: Error) => shown(() => setKnown({ key, round, error })),
    ));
  }, [stamp, key, round, open]);
  useForgetting(over, setKnown);
  const { answer, error } = known.key === key && !over ? known : {};
  const done = known.key === key && known.round === round;
  return {
    answer, body: answer?.error ? undefined : answer?.body, error: answer?.error ?? error, loading: resource !== null && !done && !over,
    again: useCallback(() => setRound((before) => before + 1), []),
  };
}

/** What useSubscription() knows. */
export interface SubscriptionStatus {
  /** The last one, where no function gets them. */
  message: Message | undefined;
  /** Why there is no subscription, where the server refused it or ended it. */
  error: Error | undefined;
}

/** Subscribes while the component is shown. Messages go to the function, or the last one is returned. null subscribes to nothing. */
export function useSubscription(stamp: Stamp, subject: string | null, deliver?: (msg: Message) => void, { queue }: { queue?: string | undefined } = {}): SubscriptionStatus {
  const { open, over } = useOpen(stamp);
  const [known, setKnown] = useState<{ subject?: string; message?: Message; error?: Error }>({});
  const latest = useRef(deliver);
  useEffect(() => { latest.current = deliver; });
  useEffect(() => {
    if (subject === null || !open) return;
    return unlessGone((shown, signal) => {
      const failed = (error: Error) => shown(() => setKnown({ subject, error }));
      const receive = (message: Message) => (latest.current ? latest.current(message) : setKnown({ subject, message }));
      return stamp.subscribe(subject, (message) => shown(() => receive(message)), { queue, signal, failed }).catch(failed);
    });
  }, [stamp, subject, queue, open]);
  useForgetting(over, setKnown);
  const { message, error } = known.subject === subject && !over ? known : {};
  return { message, error };
}

/** The state of the connection. */
function useConnection(stamp: Stamp): State {
  const listen = useCallback((changed: () => void) => {
    stamp.addEventListener("state", changed);
    return () => stamp.removeEventListener("state", changed);
  }, [stamp]);
  return useSyncExternalStore(listen, () => stamp.state, () => "closed"); // the last one is where a server renders the page
}

/** Whether there is a connection or one is being made, and whether there will be none without a new sign-in. */
function useOpen(stamp: Stamp): { open: boolean; over: boolean } {
  const state = useConnection(stamp), over = state === "signed-out";
  return { open: state !== "closed" && !over, over };
}

/** Forgets what a visitor was told who has signed out: the next one may be another. */
function useForgetting(over: boolean, set: (none: object) => void): void {
  useEffect(() => { if (over) set({}); }, [over, set]);
}

/** Begins what an effect waits for, and returns what ends it: its signal is aborted, and nothing is shown any more. */
function unlessGone(begin: (shown: (update: () => void) => void, signal: AbortSignal) => Promise<unknown>): () => void {
  const controller = new AbortController(), { signal } = controller;
  void begin((update) => { if (!signal.aborted) update(); }, signal);
  return () => controller.abort();
}
