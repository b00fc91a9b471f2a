// Reads an object of JSON in which each name is there once.

/** The longest text that is read, in UTF-16 units: a trust of ten thousand servers is shorter. */
const longest = 1 << 20;

/** A string, with the colon that follows it if it is a name; or where an object begins or ends. Brackets within strings are not found. */
const TOKEN = /("(?:[^"\\]+|\\.)*")(\s*:)?|[{}]/g;

/** Throws a TypeError without the text, which may be secret. */
export function objectOf(text: string): object {
  if (typeof text !== "string") throw new TypeError("expected a text of JSON, found another value");
  if (text.length > longest) throw new TypeError(`expected an object of JSON of at most ${longest} characters, found ${text.length}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (err) {
    // The message of JSON.parse has a piece of the text.
    const at = err instanceof Error ? /at position \d+/.exec(err.message) : null;
    throw new TypeError(`expected an object of JSON, found something else${at ? ` ${at[0]}` : ""}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new TypeError("expected an object of JSON, found another value");
  checkNames(text);
  return value;
}

/** Throws where an object has a name twice, since JSON.parse keeps the last one. The text is valid. */
function checkNames(text: string): void {
  const open: Set<string>[] = []; // names of the objects that have begun
  for (const [token, name, colon] of text.matchAll(TOKEN)) {
    if (token === "{") open.push(new Set());
    else if (token === "}") open.pop();
    else if (colon) {
      const names = open.at(-1)!, decoded = JSON.parse(name!) as string; // two spellings, with escapes, are one name
      if (names.has(decoded)) throw new TypeError(`${JSON.stringify(decoded)} is there twice`);
      names.add(decoded);
    }
  }
}
