// Drives the demonstration's page in headless Chromium, and prints what it saw as JSON for
// test/demo's browser_test.go to judge. Its argument is the page's URL; CHROMIUM names the browser.
// With SCREENSHOTS, the path of a folder, it leaves pictures there.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { launch, until } from "./browser/visitor.mjs";

const [, , page_url] = process.argv;
const { SCREENSHOTS: shots } = process.env;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const attacks = ["forge", "alias", "malformed", "steal", "socket", "foreign", "replay"];
const browser = await launch("chrome", process.env.CHROMIUM);
const saw = { console: [], axe: [], rules: [], overflow: [] };

// By script: a tab in the background has no mouse.
const click = (page, selector) => page.$eval(selector, (element) => element.click());
const textOf = (page, selector) => page.$eval(selector, (element) => element.textContent);
const inState = (page, state) => until(page, (state) => document.body?.dataset.state === state, state);
const entries = (page) => page.$$eval(".entry", (all) => all.length);

// newest returns the entry on top, when there are more of them than before.
async function newest(page, before) {
  await until(page, (before) => document.querySelectorAll(".entry").length > before, before);
  return page.$eval(".entry", (entry) => ({
    title: entry.querySelector("h3").lastChild.textContent.trim(), verdict: entry.dataset.verdict, plain: entry.querySelector(".plain").textContent,
    ways: [...entry.querySelectorAll(".way")].map((way) => [...way.querySelectorAll("li, p")].map((line) => line.textContent)),
  }));
}

async function after(page, act) {
  const before = await entries(page);
  await act();
  return newest(page, before);
}

// signIn goes to the provider and back.
async function signIn(page, user) {
  await until(page, () => document.querySelector("#login:not([hidden])") !== null);
  if (await page.$eval("#login", (element) => element.tagName === "A")) {
    await page.evaluate(() => { setTimeout(() => document.getElementById("login").click()); }); // the answer comes from this page still
    await until(page, () => location.pathname.startsWith("/provider/"));
    if (user === "alice") await look(page, "sign-in");
    await page.evaluate((user) => {
      document.getElementById("user").value = user;
      setTimeout(() => document.querySelector("button").click());
    }, user);
  } else {
    await page.$eval("#user", (input, user) => { input.value = user; }, user);
    await click(page, "#login button");
  }
  await inState(page, "open");
}

const themes = ["light", "dark"];
const widths = { desktop: 1280, phone: 390 };

// look has axe-core judge the page in both themes and at two widths, and takes the pictures.
async function look(page, name) {
  await page.bringToFront();
  for (const theme of themes) {
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }, { name: "prefers-reduced-motion", value: "reduce" }]);
    for (const [device, width] of Object.entries(widths)) {
      await page.setViewport({ width, height: 900 });
      await page.evaluate(axe); // as a script of the browser's own: the page's policy permits none of others
      const { violations, passes } = await page.evaluate(() => axe.run({ runOnly: { type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] } }));
      for (const { id, help, nodes } of violations) saw.axe.push(`${name}, ${theme}, ${device}: ${id}: ${help}: ${nodes.map(({ target }) => target).join(" ")}`);
      saw.rules.push(passes.length);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (wide > 0) saw.overflow.push(`${name} at ${width} pixels`);
      if (shots) await page.screenshot({ path: join(shots, `${name}-${device}-${theme}.png`), fullPage: true });
    }
  }
  await page.emulateMediaFeatures([]);
  await page.setViewport({ width: widths.desktop, height: 900 });
}

// walk presses the tab key once round the page, and returns the names of what has the focus.
async function walk(page) {
  await page.bringToFront();
  const names = [];
  while (names.length < 60) {
    await page.keyboard.press("Tab");
    const { name, outlined } = await page.evaluate(() => {
      const element = document.activeElement;
      return { name: element === document.body ? "" : element.id || element.textContent.trim(), outlined: getComputedStyle(element).outlineStyle !== "none" };
    });
    if (names.includes(name)) break; // once round
    if (name !== "") names.push(outlined ? name : `${name} (without an outline)`);
  }
  return names;
}

// socket opens a websocket from a page, and says whether the server let it.
const socket = (page, url) => page.evaluate((url) => new Promise((resolve) => {
  const ws = new WebSocket(url);
  ws.onopen = () => { ws.close(); resolve("opened"); };
  ws.onerror = () => resolve("refused");
}), url);

try {
  const context = await browser.createBrowserContext();
  const tab = async (url) => {
    const page = await context.newPage();
    await page.goto(url);
    return page;
  };

  // The first load. The package comes late: the page says so, and works then.
  const one = await context.newPage();
  one.on("console", (message) => { if (["error", "warn"].includes(message.type())) saw.console.push(message.text()); });
  one.on("pageerror", (err) => saw.console.push(String(err)));
  const isLate = (request) => ["/stamp.js", "/session"].includes(new URL(request.url()).pathname);
  const pass = (request) => { if (!isLate(request)) request.continue(); };
  const late = one.waitForRequest(isLate);
  await one.setRequestInterception(true);
  one.on("request", pass);
  await one.goto(page_url);
  const held = await late;
  saw.at_first = await textOf(one, "#status");
  one.off("request", pass);
  await held.continue();
  await one.setRequestInterception(false);
  await inState(one, "out");
  saw.before_login = { status: await textOf(one, "#status"), usable: await one.$$eval("fieldset:enabled", (all) => all.length), mode: await one.$eval("body", (body) => body.dataset.mode) };
  await look(one, "signed-out");

  await signIn(one, "alice");
  saw.first = await newest(one, 0);
  saw.status = await textOf(one, "#status");
  saw.client = await textOf(one, "#client");
  saw.load_errors = saw.console.splice(0); // attacks leave errors of the browser there

  const cookies = await context.cookies();
  saw.cookies = cookies.map(({ name, httpOnly, sameSite }) => ({ name, httpOnly, sameSite }));
  const id = cookies.find(({ name }) => name === "session").value;

  // A message of the visitor's own; before it, one with a fault in its headers.
  const fill = (text, subject = "demo.whoami") => one.evaluate((text, subject) => {
    document.getElementById("headers").value = text;
    document.getElementById("subject").value = subject;
    document.querySelector("#ask button").click();
  }, text, subject);
  await fill("Color: blue\nforged");
  saw.fault = await textOf(one, "#fault");
  saw.own = await after(one, () => fill("Session: forged\nx_user: admin\nColor: blue"));
  saw.token = await after(one, () => fill("", "demo.token"));

  saw.attacks = {};
  for (const attack of attacks) saw.attacks[attack] = await after(one, () => click(one, `#attack-${attack}`));
  saw.loot = await one.evaluate((secret) =>
    Object.entries(window.loot).map(([place, text]) => ({ place, size: String(text).length, has: String(text).includes(secret) })), id);

  // A second tab of the same visitor, and another visitor.
  const two = await tab(page_url);
  await inState(two, "open");
  saw.second_tab = await newest(two, 0);
  await until(one, () => document.querySelectorAll("#tabs [data-open=true]").length === 2);
  const other = await (await browser.createBrowserContext()).newPage();
  await other.goto(page_url);
  await signIn(other, "bob");

  // A refresh of the token on the open connection.
  await one.bringToFront();
  if (await one.$("#refresh")) await click(one, "#refresh");
  await until(one, () => document.querySelectorAll("#tokens code").length >= 2);
  saw.tokens = await one.$$eval("#tokens code", (all) => all.map((code) => code.textContent));
  saw.status_after_refresh = await textOf(one, "#status");
  saw.focus = await walk(one);
  await look(one, "signed-in");

  // A page of another origin, in the browser that holds the cookie: it is the same site (ports of a
  // host share cookies), so the cookie goes along.
  const nats = page_url.replace("http", "ws") + "/nats";
  const elsewhere = createServer((_, answer) => answer.setHeader("Content-Type", "text/html").end("<title>elsewhere</title>"));
  await new Promise((resolve) => elsewhere.listen(0, "127.0.0.1", resolve));
  const foreign = await tab(`http://127.0.0.1:${elsewhere.address().port}/`);
  saw.foreign = await socket(foreign, nats);
  saw.own_origin = await socket(one, nats);
  elsewhere.close();
  elsewhere.closeAllConnections();

  // Logout in one tab.
  const beforeLogout = await entries(two);
  saw.logout = await after(one, () => click(one, "#logout"));
  await inState(one, "ended");
  await inState(two, "ended");
  saw.logout_elsewhere = await newest(two, beforeLogout);
  saw.after_logout = { status: await textOf(two, "#status"), usable: await two.$$eval("fieldset:enabled", (all) => all.length) };
  saw.other_visitor = await textOf(other, "#status");
  await look(one, "logged-out");

  // A cookie that a script makes up itself.
  saw.made_up = await two.evaluate((url) => {
    document.cookie = "session=MADEUPMADEUPMADEUPMADEUP22";
    return new Promise((resolve) => {
      const ws = new WebSocket(url);
      ws.binaryType = "arraybuffer";
      let text = "";
      ws.onmessage = ({ data }) => {
        text += new TextDecoder().decode(data);
        if (text.includes("INFO ") && !text.includes("-ERR")) ws.send('CONNECT {"verbose":false}\r\nPING\r\n');
        if (text.includes("PONG")) resolve("let in");
      };
      ws.onclose = () => resolve(text.includes("Authorization Violation") ? "refused" : "closed");
    });
  }, nats);
  console.log(JSON.stringify(saw, (_, value) => typeof value === "string" ? value.replaceAll(id, "THE-ID") : value, 1));
} finally {
  await browser.close();
}
