// What a page gives, checked before anything is sent.

/** Whether a value is of a class of the browser, in whatever realm it was made: an iframe has classes of its own. */
export const isA = (name: string, value: unknown) => Object.prototype.toString.call(value) === `[object ${name}]`;

/** What a value is, in the words of an error. */
export const found = (value: unknown) => (value === null ? "null" : Array.isArray(value) ? "an array" : `a value of the type ${typeof value}`);

/** Options as they were given; without them an empty object. Throws a TypeError that names the option that cannot be used. */
export function checked<T extends object>(options: T | null | undefined): T {
  if (options === undefined || options === null) return {} as T;
  if (Object(options) !== options) throw new TypeError(`options: expected an object; found ${found(options)}`);
  const given = options as Record<string, unknown>;
  for (const name of ["timeout", "timeoutAfter", "recovery", "concurrency", "stall"]) {
    const value = given[name] ?? 1;
    if (given[name] === null || typeof value !== "number" || !(value > 0 || value === 0 && name === "recovery")) throw new TypeError(`${name}: must be a positive number`);
  }
  const max = given["max"] ?? 1, signal = given["signal"];
  if (given["max"] === null || !(Number.isSafeInteger(max) && max as number > 0)) throw new TypeError("max: must be a positive whole number");
  if (signal !== undefined && signal !== null && !isA("AbortSignal", signal)) throw new TypeError(`signal: expected an AbortSignal; found ${found(signal)}`);
  return options;
}
