// How a path becomes a subject.
import { found, isA } from "./checks.ts";

let known: string | undefined; // a page keeps its origin, and a browser takes long to tell it

/** The page's origin. Where there is no page, as on a server that renders one, there is no connection to reach any other by. */
export function originOfPage(): string {
  if (known !== undefined) return known;
  const { location, origin } = globalThis;
  if (!location) return "http://localhost";
  return known = location.origin === "null" ? origin : location.origin; // a frame of srcdoc has its parent's, which its location does not tell
}

/** What URLs of the page are relative to, also for fetch() and new Worker(): what <base href> says, and else the page's own URL. */
export function baseOfPage(): string {
  const { document, Node } = globalThis;
  // By its getter: an element with the name baseURI, which needs no script, would be found in its place.
  const base = Node && document && Object.getOwnPropertyDescriptor(Node.prototype, "baseURI")?.get;
  return (base ? base.call(document) as string : document?.baseURI) ?? location.href;
}

/** The page's own URL; in a frame of srcdoc, which has none, that of the page around it. */
export function urlOfPage(): string {
  let page = globalThis as Pick<Window, "location" | "parent">;
  try {
    while (page.location.origin === "null" && page.parent !== page) page = page.parent;
    return page.location.origin === "null" ? baseOfPage() : page.location.href; // a window that another page has filled has none either
  } catch { // in a sandbox, which may not look around
    return baseOfPage();
  }
}

/**
 * The subject of a resource: "/api/users/7" is "api.users.7". Each segment of the path is a token.
 * What a token cannot hold, dots and wildcards too, stays percent-encoded, so that different paths
 * are different subjects; a slash at the end says nothing. Throws TypeError for what is no path of
 * this origin.
 */
export function subjectOf(resource: string | URL, origin: string): string {
  return subjectOfPath(urlOf(resource, origin));
}

/** What counts of a URL. */
export type Path = Pick<URL, "pathname" | "search">;

/** Paths that are subjects but for their slashes. Most are, and a URL would take a browser much longer. */
const plain = /^(?:\/[\w~-]+)+$/;

/** The same of a URL that is known to be of this origin. */
export function subjectOfPath(url: Path): string {
  if (plain.test(url.pathname)) return url.pathname.slice(1).replaceAll("/", ".");
  const segments = url.pathname.replace(/^\//, "").replace(/\/$/, "").split("/");
  return segments.map((segment) => token(segment, url.pathname)).join(".");
}

/** The URL of a resource. Throws TypeError for what is none of this origin. */
export function urlOf(resource: string | URL, origin: string): Path {
  if (typeof resource === "string" && plain.test(resource)) return { pathname: resource, search: "" };
  let url: URL;
  if (typeof resource !== "string" && !isA("URL", resource)) throw new TypeError(`not a resource: expected a string, a URL or a Request; found ${found(resource)}`);
  try {
    url = new URL(resource, origin);
  } catch {
    throw new TypeError(`not a resource: ${JSON.stringify(String(resource))}`);
  }
  if (url.username !== "" || url.password !== "") throw new TypeError("not a resource: a URL with a user name or a password in it");
  if (url.origin !== origin && url.origin !== new URL(origin).origin) throw new TypeError(`a resource of another origin: ${url.origin}`);
  return url;
}

function token(segment: string, path: string): string {
  if (segment === "") throw new TypeError(`a segment of the path is empty: ${path}`);
  let text: string;
  try {
    text = decodeURIComponent(segment);
  } catch {
    throw new TypeError(`a segment of the path is not percent-encoded UTF-8: ${path}`);
  }
  return encodeURIComponent(text).replaceAll(".", "%2E").replaceAll("*", "%2A");
}
