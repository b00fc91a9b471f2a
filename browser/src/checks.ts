// What a page gives, checked before anything is sent.

/** Whether a value is of a class of the browser, in whatever realm it was made: an iframe has classes of its own. */
export const isA = (name: string, value: unknown) => Object.prototype.toString.call(value) === `[object ${name}]`;

/** What a value is, in the words of an error. */
export const found = (value: unknown) => (value === null ? "null" : Array.isArray(value) ? "an array" : `a value of the type ${typeof value}`);

type Check = readonly [expected: string, holds: (value: any) => boolean];

const positive: Check = ["a positive number", (value) => typeof value === "number" && value > 0];
const text: Check = ["a string", (value) => typeof value === "string"];
const callable: Check = ["a function", (value) => typeof value === "function"];
const yesOrNo: Check = ["true or false", (value) => typeof value === "boolean"];
const names: Check = ["a list of strings", (value) => Array.isArray(value) && value.every((name) => typeof name === "string")];

/** What each option can be, in whichever call it is given. */
const options: Record<string, Check> = {
  timeout: positive, timeoutAfter: positive, concurrency: positive, stall: positive,
  recovery: ["a number that is not negative", (value) => typeof value === "number" && value >= 0],
  max: ["a positive whole number", (value) => Number.isSafeInteger(value) && value > 0],
  signal: ["an AbortSignal", (value) => isA("AbortSignal", value)],
  login: ["a string or a URL", (value) => typeof value === "string" || isA("URL", value)],
  subject: callable, failed: callable, contentType: text, reply: text, queue: text,
  ordered: yesOrNo, sentinel: yesOrNo, throws: yesOrNo, hidden: names, jwt_claims: names,
};

/** Options of which null says as much as nothing, as in fetch(); for numbers and switches it is a mistake. */
const optional = new Set(["signal", "login", "subject", "failed", "contentType", "reply", "queue", "hidden", "jwt_claims"]);

/** Options as they were given; without them an empty object. Throws a TypeError that names the option that cannot be used. */
export function checked<T extends object>(given: T | null | undefined): T {
  if (given === undefined || given === null) return {} as T;
  if (Object(given) !== given) throw new TypeError(`options: expected an object; found ${found(given)}`);
  for (const [name, [expected, holds]] of Object.entries(options)) {
    const value = (given as Record<string, unknown>)[name];
    if (value === undefined || value === null && optional.has(name) || holds(value)) continue;
    throw new TypeError(`${name}: expected ${expected}; found ${typeof value === "number" && /number/.test(expected) ? value : found(value)}`);
  }
  return given;
}
