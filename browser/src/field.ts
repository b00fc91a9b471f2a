// Fields of objects that a page gives.

/** Whether it is Object.prototype, of whatever realm. */
const isRoot = (object: object) => object === Object.prototype || Object.getPrototypeOf(object) === null && Object.hasOwn(object, "isPrototypeOf");

/**
 * The value of a field, read as a browser reads options: also one that the object inherits, and one that a getter makes. What only
 * Object.prototype has was not given: a script may have put it there.
 */
export function fieldOf(object: object, name: string): unknown {
  const value = (object as Record<string, unknown>)[name];
  if (value === undefined) return undefined;
  let at: object | null = object;
  while (at !== null && !isRoot(at)) {
    if (Object.hasOwn(at, name)) return value;
    at = Object.getPrototypeOf(at) as object | null;
  }
  return at !== null && Object.hasOwn(at, name) ? undefined : value;
}
