// For pages that were written for the package rest-secure. docs/browser.md has what became of
// each of its features.
import type { Answer } from "./answer.ts";
import { bare, checked, checkHidden, foundName, isA, isToken } from "./checks.ts";
import { fieldOf } from "./field.ts";
import { headerMap, take } from "./headers.ts";
import type { HeaderMap } from "./messages.ts";
import { Stamp, type FetchOptions } from "./stamp.ts";
import { originOfPage, subjectOf } from "./resource.ts";

export interface RestSecureOptions {
  /** Its path comes before that of each resource. */
  endpoint: string;
  /** That there is a session is asked whether or not this is set. */
  refresh_token_uri?: string;
  /** Milliseconds. Default: 20000. */
  timeout?: number | undefined;
  contentType?: string;
  "content-type"?: string;
  /** response: a header of answers that the page does not get. request: the server stamps its own. */
  authHeader?: { request?: string; response?: string };
  /** URL of the worker's script. Default: "/auth/worker.js". */
  worker?: string | URL | { toString(): string } | null | undefined;
  /** Not used: the worker is ours. */
  QOper8?: unknown;
  qOptions?: unknown;
  /** Not used: no token passes here. */
  authTokenType?: string;
}

export interface RestSecureFetchOptions extends FetchOptions {
  /** Names of claims of the session that are put into the answer's body. */
  jwt_claims?: string[] | null | undefined;
}

/** What start() resolves with. Each field can be read in each case. */
export type RestSecureStatus =
  | { already_authenticated: boolean; claims?: Record<string, unknown> | undefined; error?: undefined }
  | { error: string; already_authenticated?: undefined; claims?: undefined };

/** The class of rest-secure, over a worker of ours: one request at a time, in order. */
export class REST_Secure {
  readonly name = "REST-Secure";
  /** What it stands on, for what rest-secure does not have. */
  readonly stamp: Stamp;
  readonly #options: RestSecureOptions;

  constructor(options: RestSecureOptions) {
    options = checked(options, (name, value) => name === "timeout" && !value); // there, 0 is none
    const authHeader = options.authHeader ?? {}, [request, response] = ["request", "response"].map((name) => fieldOf(authHeader, name) as string | undefined);
    const prefix = pathOf(options.endpoint ?? "/");
    for (const [name, value] of Object.entries({ request, response })) {
      if (value === undefined || value === null || isToken(value)) continue;
      throw new TypeError(`authHeader.${name}: expected the name of a header; found ${foundName(value)}`);
    }
    checkHidden("authHeader.response", response ? [response] : []);
    this.#options = bare({ ...options, authHeader: { request, response } as NonNullable<RestSecureOptions["authHeader"]> });
    this.stamp = new Stamp({
      ordered: true,
      subject: (resource) => subjectOf(whole(prefix, resource), originOfPage()),
      worker: options.worker,
      timeout: options.timeout,
      contentType: options.contentType || options["content-type"] || undefined,
      hidden: response ? [response] : [],
    });
    this.start = this.start.bind(this); // as there, they can be called alone
    this.fetch = this.fetch.bind(this);
  }

  /** Resolves with {error} where rest-secure does. While drain() of its Stamp goes on, it waits for that, and begins anew. */
  async start(): Promise<RestSecureStatus> {
    if (typeof this.#options.endpoint === "undefined") return { error: "No endpoint provided" };
    if (this.stamp.started) return { error: "the worker has been started already" };
    try {
      const { authenticated, claims } = await this.stamp.start();
      return authenticated ? { already_authenticated: true, claims } : { already_authenticated: false };
    } catch (err) {
      return { error: err instanceof Error ? err.message : String(err) };
    }
  }

  async fetch<T = any>(resource: string | URL | Request, options?: RestSecureFetchOptions | null): Promise<Answer<T>> {
    const others = checked(options), { jwt_claims } = others;
    const headers = others.headers ?? (isA("Request", resource) ? (resource as Request).headers : undefined);
    const { starting } = this.stamp; // of this run: another one may be another visitor's
    const answer = await this.stamp.fetch(resource, { ...others, headers: this.#sent(headers) });
    if (jwt_claims && answer.status < 400 && answer.body !== null && typeof answer.body === "object") {
      const claims = (await starting)?.claims;
      for (const name of jwt_claims) if (claims && Object.hasOwn(claims, name)) answer.body[name] = claims[name];
    }
    return answer;
  }

  /** Headers without those that rest-secure keeps for itself. Its contentType is no header, but what the body is. */
  #sent(init: HeadersInit | HeaderMap | undefined): HeaderMap {
    const sent = headerMap(withType(init));
    for (const name of ["X-Authorization", "Authorization", this.#options.authHeader?.request]) if (name) take(sent, name);
    const type = take(sent, "contentType");
    if (type !== undefined) {
      take(sent, "Content-Type");
      sent["Content-Type"] = type;
    }
    return sent;
  }
}

/** Headers without a contentType that says nothing: there, it is the default then. */
function withType(init: HeadersInit | HeaderMap | undefined): HeadersInit | HeaderMap | undefined {
  if (init === undefined || Object(init) !== init || Symbol.iterator in init || init["contentType"]) return init;
  const { contentType, ...others } = init;
  return others;
}

/** The path of the endpoint, without a slash at its end. */
function pathOf(endpoint: string): string {
  try {
    return new URL(endpoint, originOfPage()).pathname.replace(/\/$/, "");
  } catch {
    throw new TypeError("endpoint: expected a URL; found a string that is none");
  }
}

/** A path of the endpoint; a whole URL is one by itself. */
function whole(prefix: string, resource: string | URL): string | URL {
  if (typeof resource !== "string" || /^[a-z][a-z0-9+.-]*:/i.test(resource)) return resource;
  return prefix + "/" + resource.replace(/^\//, "");
}

/** As the README of rest-secure has it. */
export { REST_Secure as Rest_Secure };
