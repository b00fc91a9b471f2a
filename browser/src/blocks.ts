// Blocks of headers, in the worker. The client's own way reads them inside its parser of the protocol, which does not
// come back from what it throws there, and looks through all names before for each line.
import { MsgHdrsImpl } from "@nats-io/nats-core/internal";
import { StampError } from "./errors.ts";
import type { HeaderMap } from "./messages.ts";

/** The headers of a message that has come. */
export class Block extends MsgHdrsImpl {
  /** Why the block cannot be read; "" where it can. */
  unreadable = "";

  add(name: string, value: string): void {
    const before = this.headers.get(name);
    if (before) before.push(value);
    else this.headers.set(name, [value]);
  }
}

/** The characters of a name: printable ASCII without the colon. */
const namePattern = /^[!-9;-~]+$/;

/** What the first line begins with. A status of three digits may stand behind it, and words behind that. */
const version = "NATS/1.0";

/** The status of a first line and its words; 0 where there is none. Undefined where the line cannot be read. */
function statusOf(line: string): { code: number; words: string } | undefined {
  const rest = line.slice(version.length);
  if (!line.startsWith(version) || /[\r\n]/.test(line) || !/^(?:$|[ \t])/.test(rest)) return undefined;
  const text = rest.trim();
  if (text === "") return { code: 0, words: "" };
  const found = /^([1-9]\d\d)(?:$|[ \t])/.exec(text);
  return found ? { code: Number(found[1]), words: text.slice(found[0].length).trim() } : undefined;
}

/**
 * Reads a block, in a time that grows as the block does. It throws nothing: of a block that cannot be read, there is nothing
 * but the reason, which quotes nothing of it: any part may belong to a hidden header.
 */
export function readBlock(data: Uint8Array): Block {
  const block = new Block();
  const [first, ...lines] = new TextDecoder().decode(data).split("\r\n");
  const status = statusOf(first!);
  if (!status) return unreadable("expected a first line of NATS/1.0, or of that, a status of three digits and words; found something else");
  block._code = status.code;
  block._description = status.words;
  for (const line of lines) {
    if (line === "") continue;
    const colon = line.indexOf(":"), name = line.slice(0, Math.max(colon, 0));
    if (!namePattern.test(name)) return unreadable("a line of its headers does not begin with a name and a colon");
    if (/[\r\n]/.test(line)) return unreadable("a line of its headers holds a lone line break");
    block.add(name, line.slice(colon + 1).trim());
  }
  return block;
}

function unreadable(why: string): Block {
  const block = new Block();
  block.unreadable = `the message cannot be read: ${why}`;
  return block;
}

/** Has the client read blocks by the function above. */
export function readBlocksHere(): void {
  MsgHdrsImpl.decode = readBlock;
}

/** Headers as the client sends them. */
export function writtenHeaders(map: HeaderMap): MsgHdrsImpl {
  const block = new Block();
  for (const [name, values] of Object.entries(map)) {
    for (const value of [values].flat()) {
      if (!namePattern.test(name) || typeof value !== "string" || /[\r\n]/.test(value)) {
        throw new StampError("invalid", `header ${JSON.stringify(name)} cannot be sent: its name or value is not allowed`);
      }
      block.add(name, value.trim());
    }
  }
  return block;
}
