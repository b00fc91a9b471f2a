// Names of headers. x_user, X.User and X-USER are spellings of one name.
import { utf8 } from "./bytes.js";
import { firstWord } from "./names_hash.js";

const notToken = /[^!#$%&'*+\-.^_`|~0-9A-Za-z]/g; // what RFC 9110 does not allow in one (section 5.6.2)

export const isToken = (name: string): boolean => name !== "" && name.search(notToken) === -1;

/** The form that all spellings of a name have in common. */
export function fold(name: string): string {
  return name.replace(notToken, "").replace(/[A-Z]/g, (char) => char.toLowerCase()).replace(/[_.]/g, "-");
}

/** How a proof writes a folded name: 23 bits. */
export const entryOf = (folded: string): number => firstWord(utf8(folded)) >>> 8 & 0x7fffff;

/** All lines whose names are spellings of one. */
export interface Group {
  folded: string;
  spelling: string; // of the first line
  crowded: boolean; // another line has another spelling
  values: string[];
}

export function groupsOf(headers: Iterable<readonly [string, string]>): Map<string, Group> {
  const groups = new Map<string, Group>();
  let before: string | undefined, folded = "";
  for (const [name, value] of headers) {
    // A forwarded proof has a name once for all its values.
    if (name !== before) folded = fold(before = name);
    if (folded === "") continue;
    const group = groups.get(folded);
    if (!group) groups.set(folded, { folded, spelling: name, crowded: false, values: [value] });
    else {
      group.crowded ||= group.spelling !== name;
      group.values.push(value);
    }
  }
  return groups;
}

/** Compares two folded names byte by byte. They hold ASCII alone. */
export const isAfter = (a: string, b: string): boolean => a > b;
