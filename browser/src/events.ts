// The events of a Stamp, and their types.
import type { Code } from "./errors.ts";
import type { State } from "./messages.ts";

export interface StateChange {
  state: State;
  /** Why, in words; "" where there is nothing to say. */
  reason: string;
}

/** What the server has refused, and nobody waits for; or a message that came and cannot be read. */
export interface Refusal {
  /** denied, unreadable, or failed, where the server refuses something else: the message has its words. */
  code: Code;
  message: string;
  operation: "publish" | "subscription" | "connection";
  /** "" where the server does not name it. */
  subject: string;
}

export interface StampEventMap {
  state: CustomEvent<StateChange>;
  error: CustomEvent<Refusal>;
  run: Event;
}

/** A listener for one kind of event, as addEventListener() takes it. */
export type Listener<T, E> = ((this: T, event: E) => unknown) | { handleEvent(event: E): unknown } | null;
