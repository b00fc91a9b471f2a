// What a page gives, checked before anything is sent.
import { fieldOf } from "./field.ts";

/** Whether a value is of a class of the browser, in whatever realm it was made: an iframe has classes of its own. */
export const isA = (name: string, value: unknown) => Object.prototype.toString.call(value) === `[object ${name}]`;

/** What a value is, in the words of an error. */
export const found = (value: unknown) => (value === null ? "null" : Array.isArray(value) ? "an array" : `a value of the type ${typeof value}`);

/** The same of what may be shown: a name, which is no secret. */
export const foundName = (value: unknown) => (isText(value) ? JSON.stringify(value) : found(value));

/** Whether a browser would load a page of that URL, and not run a script that is in it. */
export function isPage(url: string): boolean {
  try {
    return /^https?:$/.test(new URL(url, "https://relative.invalid").protocol);
  } catch {
    return false;
  }
}

/** Whether a value is a token (RFC 9110, section 5.6.2), as methods and names of headers are. */
export const isToken = (value: unknown) => typeof value === "string" && /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(value);

/** A copy that inherits nothing: what a script has put into Object.prototype is in none of its fields. */
export const bare = <T extends object>(value: T): T => ({ __proto__: null, ...value });

const isText = (value: unknown) => typeof value === "string";
const isObject = (value: unknown) => Object(value) === value && typeof value !== "function" && !Array.isArray(value);

type Check = readonly [expected: string, holds: (value: any) => boolean];

const positive: Check = ["a positive number", (value) => typeof value === "number" && value > 0];
const whole: Check = ["a positive whole number", (value) => Number.isSafeInteger(value) && value > 0];
const text: Check = ["a string", isText];
const line: Check = ["a string without line breaks and NUL", (value) => isText(value) && !/[\0\r\n]/.test(value)];
const address: Check = ["a string or a URL", isText]; // a URL has become a string by then
const page: Check = ["a string or a URL of http or https", (value) => isText(value) && isPage(value)];
const script: Check = ["a string, a URL or a TrustedScriptURL", (value) => isText(value) || isObject(value)];
const callable: Check = ["a function", (value) => typeof value === "function"];
const yesOrNo: Check = ["true or false", (value) => typeof value === "boolean"];
const list = (expected: string, holds: (value: unknown) => boolean): Check => [expected, (value) => Array.isArray(value) && [...value].every(holds)];

/** What each option can be, in whichever call it is given. */
const options: Record<string, Check> = bare<Record<string, Check>>({
  timeout: positive, timeoutAfter: positive, stall: positive, concurrency: whole, max: whole,
  recovery: ["a number that is not negative", (value) => typeof value === "number" && value >= 0],
  signal: ["an AbortSignal", (value) => isA("AbortSignal", value) && ["addEventListener", "removeEventListener", "throwIfAborted"].every((name) => typeof value[name] === "function")],
  worker: script, login: page, endpoint: address, subject: callable, failed: callable, reply: text, queue: text, contentType: line, "content-type": line,
  ordered: yesOrNo, sentinel: yesOrNo, throws: yesOrNo, jwt_claims: list("a list of strings", isText), hidden: list("a list of names of headers", isToken),
  authHeader: ["an object", isObject],
});

/** All options. Each call looks for each of them: so the list is made once. Those without a check are checked where they are used. */
const names = [...Object.keys(options), "method", "headers", "body"];

/** Options of which null says as much as nothing, as in fetch(); for numbers and switches it is a mistake. */
const optional = new Set([
  "signal", "worker", "login", "endpoint", "subject", "failed", "reply", "queue", "contentType", "content-type", "jwt_claims", "hidden", "authHeader",
]);

const none = Object.freeze(bare({}));

/**
 * A copy of the options that were given and are not undefined; without them an empty object. It inherits nothing. Each is read
 * once, lists and URLs too: what the page makes of its objects later on was not checked. Throws a TypeError that names the option that cannot be used.
 */
export function checked<T extends object>(given: T | null | undefined, saysNothing = (_name: string, _value: unknown) => false): T {
  if (given === undefined || given === null) return none as T;
  const copy: Record<string, unknown> = bare({});
  if (Object(given) !== given) throw new TypeError(`options: expected an object; found ${found(given)}`);
  for (const name of names) {
    let value = fieldOf(given, name);
    if (value === undefined || saysNothing(name, value)) continue;
    const check = options[name];
    if (check && Array.isArray(value)) value = [...value];
    if (check && isA("URL", value) || check === script && isObject(value) && !isA("TrustedScriptURL", value)) value = String(value);
    copy[name] = value;
    if (!check || value === null && optional.has(name)) continue;
    const [expected, holds] = check;
    if (holds(value)) continue;
    throw new TypeError(`${name}: expected ${expected}; found ${typeof value === "number" && /number/.test(expected) ? value : shown(value, holds)}`);
  }
  return copy as T;
}

/** Headers in which a service says that it has failed. */
const telling = /^(?:status|description|nats-service-error(?:-code)?)$/i;

/** Throws a TypeError for headers that cannot be hidden: an error without them would be a success. */
export function checkHidden(option: string, names: readonly string[]): void {
  const name = names.find((name) => telling.test(name));
  if (name !== undefined) throw new TypeError(`${option}: ${name} cannot be hidden: it tells whether a service has failed, and its errors would be taken for success`);
}

/** What an option is, and of a list the entry that it cannot have. */
function shown(value: unknown, holds: (value: unknown) => boolean): string {
  if (!Array.isArray(value)) return found(value);
  const entry: unknown = [...value].find((entry) => !holds([entry]));
  return `an array with ${foundName(entry)}`;
}
