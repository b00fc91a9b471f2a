// Drives the demonstration's page in headless Chromium, and prints what it saw as
// JSON for test/demo's browser_test.go to judge. Its argument is the page's URL,
// CHROMIUM names the browser.
import { createServer } from "node:http";
import { launch } from "./browser/visitor.mjs";

const [, , page_url] = process.argv;
const browser = await launch("chrome", process.env.CHROMIUM);
const saw = {};
try {
  const context = await browser.createBrowserContext();
  const tab = async (url) => {
    const page = await context.newPage();
    await page.goto(url);
    return page;
  };
  const status = (page, text) => page.waitForFunction((t) => document.getElementById("status").textContent.startsWith(t), { polling: 20 }, text);
  // By script: a tab in the background has no mouse.
  const click = (page, selector) => page.$eval(selector, (element) => element.click());
  const textOf = (page, selector) => page.$eval(selector, (element) => element.textContent);
  const ask = async (page) => {
    await page.evaluate(() => { document.getElementById("out").textContent = ""; });
    await click(page, "#ask button");
    await page.waitForFunction(() => document.getElementById("out").textContent !== "", { polling: 20 });
    return textOf(page, "#out");
  };

  // The package comes late: the page works before.
  const one = await context.newPage();
  const isLate = (request) => new URL(request.url()).pathname === "/stamp.js";
  const pass = (request) => { if (!isLate(request)) request.continue(); };
  const late = one.waitForRequest(isLate);
  await one.setRequestInterception(true);
  one.on("request", pass);
  await one.goto(page_url);
  saw.before_login = await ask(one);
  await (await late).continue();
  one.off("request", pass);
  await one.setRequestInterception(false);
  await click(one, "#login button");
  await status(one, "open");
  saw.client = await textOf(one, "#client");

  const cookies = await context.cookies();
  saw.cookies = cookies.map(({ name, httpOnly, sameSite }) => ({ name, httpOnly, sameSite }));
  const id = cookies[0].value;
  saw.answer = (await ask(one)).replaceAll(id, "THE-ID");

  // A script that got into the page.
  await click(one, "#attack");
  await one.waitForFunction(() => document.getElementById("found").textContent.endsWith("done\n"), { polling: 20 });
  saw.panel = await textOf(one, "#found");
  saw.loot = await one.evaluate((secret) =>
    Object.entries(window.loot).map(([place, text]) => ({ place, size: String(text).length, has: String(text).includes(secret) })), id);

  // A second tab of the same visitor, and another visitor.
  const two = await tab(page_url);
  saw.second_tab = await ask(two);
  const other = await (await browser.createBrowserContext()).newPage();
  await other.goto(page_url);
  await other.$eval("input[name=user]", (input) => { input.value = "bob"; });
  await click(other, "#login button");
  await status(other, "open");

  // A page of another origin, in the browser that holds the cookie: it is the same
  // site (ports of a host share cookies), so the cookie goes along.
  const { websocket_port } = await one.evaluate(async () => (await fetch("/session")).json());
  const elsewhere = createServer((_, answer) => answer.setHeader("Content-Type", "text/html").end("<title>elsewhere</title>"));
  await new Promise((resolve) => elsewhere.listen(0, "127.0.0.1", resolve));
  const foreign = await tab(`http://127.0.0.1:${elsewhere.address().port}/`);
  saw.foreign = await foreign.evaluate((port) => new Promise((resolve) => {
    const ws = new WebSocket(`ws://127.0.0.1:${port}`);
    ws.onopen = () => resolve("opened");
    ws.onerror = () => resolve("refused");
  }), websocket_port);
  saw.own_origin = await one.evaluate((port) => new Promise((resolve) => {
    const ws = new WebSocket(`ws://127.0.0.1:${port}`);
    ws.onopen = () => { ws.close(); resolve("opened"); };
    ws.onerror = () => resolve("refused");
  }), websocket_port);
  elsewhere.close();
  elsewhere.closeAllConnections();

  // Logout in one tab.
  await click(one, "#logout");
  await status(one, "closed by the server");
  await status(two, "closed by the server");
  saw.after_logout = await ask(two);
  saw.other_visitor = await textOf(other, "#status");

  // A cookie that a script makes up itself.
  saw.made_up = await two.evaluate((port) => {
    document.cookie = "session=MADEUPMADEUPMADEUPMADEUP22";
    return new Promise((resolve) => {
      const ws = new WebSocket(`ws://127.0.0.1:${port}`);
      ws.binaryType = "arraybuffer";
      let text = "";
      ws.onmessage = ({ data }) => {
        text += new TextDecoder().decode(data);
        if (text.includes("INFO ") && !text.includes("-ERR")) ws.send('CONNECT {"verbose":false}\r\nPING\r\n');
        if (text.includes("PONG")) resolve("let in");
      };
      ws.onclose = () => resolve(text.includes("Authorization Violation") ? "refused" : "closed");
    });
  }, websocket_port);
  console.log(JSON.stringify(saw, null, 1));
} finally {
  await browser.close();
}
