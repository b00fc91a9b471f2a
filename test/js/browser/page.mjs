// Does in a browser what a page of the documentation asks its reader to do. Arguments: chrome, and the browser's
// file. Each line on standard input is an action, {"text"} or {"script"}; each line printed is its result,
// {"error"} or {"value"}.
import { createInterface } from "node:readline";
import { inspect } from "node:util";
import { launch } from "./visitor.mjs";

const patience = 20_000; // ms
const browser = await launch(process.argv[2], process.argv[3]);
const tabs = [];
let page;

const actions = {
  /** Opens an address in a new tab. */
  async open(url) {
    page = await browser.newPage();
    tabs.push(page);
    await page.goto(url);
  },
  /** Goes to the tab of that number, from 1. */
  async tab(number) { page = tabs[Number(number) - 1]; },
  /** Presses the button of that text. */
  async click(text) { await page.locator(`button ::-p-text(${text})`).setTimeout(patience).click(); },
  /** Waits until the page shows a text. */
  async expect(text) { await page.waitForFunction((text) => document.body?.innerText.includes(text), { timeout: patience }, text); },
};

/** Runs a script as the console does, and returns its value as the console shows it. */
async function run(expression) {
  const session = await page.createCDPSession();
  const { result, exceptionDetails } = await session.send("Runtime.evaluate",
    { expression, replMode: true, awaitPromise: true, returnByValue: true });
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  return typeof result.value === "string" ? JSON.stringify(result.value) : inspect(result.value);
}

try {
  for await (const line of createInterface({ input: process.stdin })) {
    const { text, script } = JSON.parse(line);
    let answer = {};
    try {
      if (script) answer = { value: await run(script) };
      else await actions[text.split(" ", 1)[0]](text.slice(text.indexOf(" ") + 1));
    } catch (err) {
      const shown = await page?.evaluate(() => document.body?.innerText).catch(() => "");
      answer = { error: `${err}\nthe page shows: ${shown}` };
    }
    console.log(JSON.stringify(answer));
  }
} finally {
  await browser.close();
}
