// Headers that a page gives.
import type { HeaderMap } from "./messages.ts";

/** Headers in whatever form fetch() takes them, as a map of our own; values that are no text become it, as there. */
export function headerMap(init: HeadersInit | HeaderMap | undefined): HeaderMap {
  if (init instanceof Headers || Array.isArray(init)) return Object.fromEntries(new Headers(init as HeadersInit).entries());
  return Object.fromEntries(Object.entries(init ?? {}).map(([name, value]) => [name, Array.isArray(value) ? value.map(String) : String(value)]));
}

/** Takes a header out of the map, whatever the case of its name. */
export function take(headers: HeaderMap, name: string): string | undefined {
  let found: string | undefined;
  for (const key of Object.keys(headers)) {
    if (key.toLowerCase() !== name.toLowerCase()) continue;
    found = String(headers[key]);
    delete headers[key];
  }
  return found;
}
