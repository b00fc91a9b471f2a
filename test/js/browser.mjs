// Drives the demonstration's page in headless Chromium, and prints what it saw as
// JSON for test/demo's browser_test.go to judge. Its argument is the page's URL,
// CHROMIUM names the browser.
import { createServer } from "node:http";
import { chromium } from "playwright-core";

const [, , page_url] = process.argv;
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ["--no-sandbox", "--disable-dev-shm-usage"],
});
const saw = {};
try {
  const context = await browser.newContext();
  const tab = async (url) => {
    const page = await context.newPage();
    await page.goto(url);
    return page;
  };
  const status = (page, text) => page.waitForFunction((t) => document.getElementById("status").textContent.startsWith(t), text);
  const ask = async (page) => {
    await page.evaluate(() => { document.getElementById("out").textContent = ""; });
    await page.click("#ask button");
    await page.waitForFunction(() => document.getElementById("out").textContent !== "");
    return page.textContent("#out");
  };

  const one = await tab(page_url);
  saw.before_login = await ask(one);
  await one.click("#login button");
  await status(one, "open");
  saw.client = await one.textContent("#client");

  const cookies = await context.cookies();
  saw.cookies = cookies.map(({ name, httpOnly, sameSite }) => ({ name, httpOnly, sameSite }));
  const id = cookies[0].value;
  saw.answer = (await ask(one)).replaceAll(id, "THE-ID");

  // A script that got into the page.
  await one.click("#attack");
  await one.waitForFunction(() => document.getElementById("found").textContent.endsWith("done\n"));
  saw.panel = await one.textContent("#found");
  saw.loot = await one.evaluate((secret) =>
    Object.entries(window.loot).map(([place, text]) => ({ place, size: String(text).length, has: String(text).includes(secret) })), id);

  // A second tab of the same visitor, and another visitor.
  const two = await tab(page_url);
  saw.second_tab = await ask(two);
  const other = await (await browser.newContext()).newPage();
  await other.goto(page_url);
  await other.fill("input[name=user]", "bob");
  await other.click("#login button");
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
  await one.click("#logout");
  await status(one, "closed by the server");
  await status(two, "closed by the server");
  saw.after_logout = await ask(two);
  saw.other_visitor = await other.textContent("#status");

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
