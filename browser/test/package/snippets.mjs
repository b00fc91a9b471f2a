// The code of pages in the documentation.
import { readFileSync } from "node:fs";

/** What the reader of a piece has already: those that begin with an import stand by themselves. */
const before = `import { Stamp, StampError, REST_Secure } from "@stamp/browser";\ndeclare const s: Stamp;\n`;

/** The code in a line of a table whose third column is code, and whose fourth one is what that gives. */
const inTable = /^\|[^|]*\|[^|]*\| `([^`]+)` \| `[^`]+` \|$/;

/**
 * The pieces of a document, as files that compile. Such a piece stands between fences of the language js, ts or tsx, is
 * indented and begins with an import, or is in a table of what code gives.
 */
export function snippets(file) {
  const lines = readFileSync(file, "utf8").split("\n");
  const found = [];
  for (let at = 0; at < lines.length; at++) {
    const fence = /^```(js|ts|tsx|jsx)$/.exec(lines[at]);
    const start = at;
    const taken = [];
    if (fence) {
      while (lines[++at] !== "```") taken.push(lines[at]);
    } else if (/^ {4}import /.test(lines[at]) && lines[at - 1] === "") {
      while (/^ {4}|^$/.test(lines[at] ?? "end")) taken.push(lines[at++]);
    } else if (inTable.test(lines[at])) {
      taken.push(`console.log(${inTable.exec(lines[at])[1]});`);
    } else continue;
    const text = taken.join("\n").replace(/^ {4}(?=import)/, "").replaceAll('"/stamp.js"', '"@stamp/browser"');
    found.push({ line: start + 1, extension: /x$/.test(fence?.[1] ?? "") ? "tsx" : "ts", text: (/^\s*(import|\/\/\/ <reference) /m.test(text) ? text : before + text) + "\nexport {};\n" });
  }
  return found;
}
