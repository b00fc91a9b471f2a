// What a page gives, checked before anything is sent.

/** Whether a value is of a class of the browser, in whatever realm it was made: an iframe has classes of its own. */
export const isA = (name: string, value: unknown) => Object.prototype.toString.call(value) === `[object ${name}]`;

/** What a value is, in the words of an error. */
export const found = (value: unknown) => (value === null ? "null" : Array.isArray(value) ? "an array" : `a value of the type ${typeof value}`);

/** Whether a value is a token (RFC 9110, section 5.6.2), as methods and names of headers are. */
export const isToken = (value: unknown) => typeof value === "string" && /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(value);

type Check = readonly [expected: string, holds: (value: any) => boolean];

const positive: Check = ["a positive number", (value) => typeof value === "number" && value > 0];
const text: Check = ["a string", (value) => typeof value === "string"];
const line: Check = ["a string without line breaks", (value) => typeof value === "string" && !/[\0\r\n]/.test(value)];
const whole: Check = ["a positive whole number", (value) => Number.isSafeInteger(value) && value > 0];
const callable: Check = ["a function", (value) => typeof value === "function"];
const yesOrNo: Check = ["true or false", (value) => typeof value === "boolean"];
const names: Check = ["a list of strings", (value) => Array.isArray(value) && value.every((name) => typeof name === "string")];
const headers: Check = ["a list of names of headers", (value) => Array.isArray(value) && value.every(isToken)];

/** What each option can be, in whichever call it is given. */
const options: Record<string, Check> = {
  timeout: positive, timeoutAfter: positive, stall: positive,
  recovery: ["a number that is not negative", (value) => typeof value === "number" && value >= 0],
  max: whole, concurrency: whole,
  signal: ["an AbortSignal", (value) => isA("AbortSignal", value)],
  login: ["a string or a URL", (value) => typeof value === "string" || isA("URL", value)],
  subject: callable, failed: callable, contentType: line, reply: text, queue: text,
  ordered: yesOrNo, sentinel: yesOrNo, throws: yesOrNo, hidden: headers, jwt_claims: names,
  authHeader: ["an object", (value) => Object(value) === value && typeof value !== "function"],
};

/** Options of which null says as much as nothing, as in fetch(); for numbers and switches it is a mistake. */
const optional = new Set(["signal", "login", "subject", "failed", "contentType", "reply", "queue", "hidden", "jwt_claims", "authHeader"]);

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
