// Headers that a page gives.
import { found, isToken } from "./checks.ts";
import type { MessageHeaders } from "./message.ts";
import type { HeaderMap } from "./messages.ts";

/** Headers in whatever form fetch() takes them, as a map of our own; values that are no text become it, as there. */
export function headerMap(init: HeadersInit | HeaderMap | MessageHeaders | null | undefined): HeaderMap {
  if (init === undefined || init === null) return {};
  const map = new Map<string, (string | string[])[]>(); // all of a name are joined at once: one after the other, each would be copied for each after it
  for (const [name, value] of pairs(init)) {
    const values = Array.isArray(value) ? value.map(String) : String(value), before = map.get(name);
    if (before) before.push(values);
    else map.set(name, [values]);
  }
  return Object.fromEntries([...map].map(([name, all]) => [name, all.length === 1 ? all[0]! : all.flat().join(", ")]));
}

function pairs(init: object): [string, unknown][] {
  if (Object(init) !== init) throw noHeaders(init);
  if (!(Symbol.iterator in init)) return Object.entries(init);
  return [...init as Iterable<unknown>].map((pair) => {
    if (Array.isArray(pair) && pair.length === 2) return [String(pair[0]), pair[1]];
    throw noHeaders(init);
  });
}

const noHeaders = (init: unknown) => new TypeError(`headers: expected an object, Headers, or pairs of a name and a value; found ${found(init)}`);

/** Throws TypeError for headers that fetch() would not send. */
export function checkHeaders(headers: HeaderMap): void {
  for (const [name, values] of Object.entries(headers)) {
    if (!isToken(name)) throw new TypeError(`not the name of a header: ${JSON.stringify(name)}`);
    for (const value of [values].flat()) {
      if (/[\0\r\n]/.test(value)) throw new TypeError(`header ${name}: its value holds a line break or NUL`);
    }
  }
}

/** A method as it is sent: GET where none is given, and in capitals. Throws TypeError for what is no token. */
export function methodOf(given: string | null | undefined): string {
  const method = String(given ?? "GET");
  if (!isToken(method) || /^(?:connect|trace|track)$/i.test(method)) throw new TypeError(`not a method: ${JSON.stringify(method)}`);
  return method.toUpperCase();
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
