// What the page and the worker say to each other over a MessagePort. The page asks with a Call,
// and the worker answers each with one Reply of the same id; Events come by themselves.
import type { Code } from "./errors.ts";

/** Names and values; several values are several lines. */
export type HeaderMap = Record<string, string | string[]>;

/** How requests are sent. Times are in milliseconds. */
export interface Limits {
  /** How long an answer is waited for. Default: 20000. */
  timeout?: number;
  /** The same after a time-out, so that a backlog drains. Default: 1000. */
  timeoutAfter?: number;
  /** For how long, after a time-out, timeoutAfter holds. Default: 300000. */
  recovery?: number;
  /** One request at a time, in the order of the calls. Default: false. */
  ordered?: boolean;
  /** Requests that may be under way at once, else; the others wait. Default: 16. */
  concurrency?: number;
  /** Names of headers that the worker takes out of all messages, beside Authorization and Set-Cookie. */
  hidden?: string[] | null | undefined;
}

/** Who is signed in, as far as the page may know. */
export interface Session {
  authenticated: boolean;
  /** Unix seconds. */
  expires?: number;
  /** Those that the site's configuration lists. */
  claims?: Record<string, unknown>;
}

/** What start() tells. */
export interface Started extends Session {
  /** Where the page sends the visitor to sign in; absent when the site has no such page. */
  login?: string;
  /** Whether tickets are bound to a key of the worker's. */
  key: boolean;
}

/**
 * State of the connection. "lost": it is being tried again; "refused": the same, and the server has
 * said no; "signed-out": there is no session, start() begins anew; "closed": by close(), or because
 * the browser cannot do what the site requires.
 */
export type State = "connecting" | "connected" | "lost" | "refused" | "signed-out" | "closed";

/** When no more answers are waited for; times in milliseconds. */
export interface Enough {
  timeout: number;
  max?: number | undefined;
  stall?: number | undefined;
  sentinel?: boolean | undefined;
}

export type Call =
  | { op: "start"; limits: Limits }
  | { op: "session" }
  | { op: "logout" }
  | { op: "request"; subject: string; headers: HeaderMap; data: Uint8Array; timeout?: number }
  | { op: "publish"; subject: string; headers: HeaderMap; data: Uint8Array; reply?: string | null | undefined }
  | { op: "requestMany"; subject: string; headers: HeaderMap; data: Uint8Array; receiver: number; enough: Enough }
  | { op: "flush" }
  | { op: "subscribe"; subject: string; queue?: string | null | undefined; max?: number | undefined; subscription: number }
  | { op: "unsubscribe"; subscription: number; drain?: boolean }
  | { op: "abort"; call: number }
  | { op: "unlock" };

export type Asked = Call & { id: number };

/** Bytes with a buffer of their own: from TypeScript 5.7 on Uint8Array<ArrayBuffer>, which Blob and fetch() want. */
export type Bytes = ReturnType<Uint8Array["slice"]>;

/** A message as it crosses the port. status is that of the first line, "NATS/1.0 503". */
export interface Wire {
  subject: string;
  reply?: string;
  status?: number;
  description?: string;
  headers: [string, string[]][];
  data: Bytes;
}

export type Reply = { id: number; value: unknown } | { id: number; error: { code: Code; message: string } };

export type Event =
  | { event: "lock"; name: string } // of a Web Lock that the worker holds as long as it lives, or until the call unlock
  | { event: "state"; state: State; reason: string; most?: number | undefined } // most: bytes of a message that the server takes
  | { event: "message"; subscription: number; message: Wire }
  | { event: "error"; code: Code; message: string; operation: "publish" | "subscription" | "connection"; subject: string; subscription?: number };
