// A visitor: a browser context of its own, with the site's cookies.
import puppeteer from "puppeteer-core";

export async function launch(kind, file, options = {}) {
  return puppeteer.launch({
    ...options,
    browser: kind, executablePath: file, headless: true, acceptInsecureCerts: true, // of the test's own authority
    args: kind === "chrome" ? ["--no-sandbox", "--disable-dev-shm-usage"] : [],
    // CI machines are slow.
    protocolTimeout: 120_000,
  });
}

process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0"; // the same, for requests of our own
process.removeAllListeners("warning");

export const alice = "test-user2", bob = "test-user@localhost"; // of the provider; id2 and id1

export class Visitor {
  constructor({ origin, browser, kind }) {
    this.origin = origin;
    this.browser = browser;
    this.kind = kind;
  }

  /** A new visitor with one tab; signed in when a name is given. */
  static async open(env, user) {
    const visitor = new Visitor(env);
    visitor.context = await env.browser.createBrowserContext();
    visitor.page = await visitor.tab();
    if (user) await visitor.signIn(user);
    return visitor;
  }

  /** A tab more, on the site's page. */
  async tab(path = "/") {
    const page = await this.context.newPage();
    await page.goto(this.origin + path);
    return page;
  }

  /** Signs in at the provider, by its form. */
  async signIn(user, page = this.page) {
    await page.goto(`${this.origin}/auth/login?to=/`);
    await fillIn(user, page);
    await until(page, (origin) => location.origin === origin, this.origin);
  }

  /** The value of the session's cookie, which no script of the page can read. */
  async cookie() {
    const all = await this.context.cookies();
    return all.find((c) => c.name === "session" || c.name === "__Host-session")?.value;
  }

  /** Starts the package in a tab, as window.s, and returns what start() tells. */
  async start(options = {}, page = this.page) {
    return page.evaluate(async (options) => {
      window.lib = await import("/dist/stamp.js");
      window.s = new lib.Stamp(options);
      window.states = [];
      s.addEventListener("state", ({ detail }) => states.push(detail));
      return s.start();
    }, options);
  }

  /** Runs a function in the page. */
  run(f, ...args) {
    return this.page.evaluate(f, ...args);
  }

  /** Cuts all connections to the site, that of the request too. */
  async drop() {
    await fetch(`${this.origin}/control/drop`, { method: "POST" }).catch(() => {});
  }

  async control(path) {
    const answer = await fetch(`${this.origin}/control/${path}`, { method: "POST" });
    if (!answer.ok) throw new Error(`control ${path}: ${answer.status}`);
  }

  async told(what) {
    return (await fetch(`${this.origin}/control/${what}`)).text();
  }
}

/** Fills in the provider's form. By script: a tab in the background has neither mouse nor keyboard. */
export async function fillIn(user, page) {
  await until(page, () => document.querySelector("input[name=username]") !== null);
  await page.evaluate((user) => {
    document.querySelector("input[name=username]").value = user;
    document.querySelector("input[name=password]").value = "verysecure";
    setTimeout(() => document.querySelector("button[type=submit]").click()); // the answer comes from this page still
  }, user);
}

/** Waits until a condition holds in the page, whichever page that is by then. */
export async function until(page, f, ...args) {
  for (const end = Date.now() + 60_000; ;) {
    try {
      // Firefox gives no answer when the page goes away meanwhile.
      if (await Promise.race([page.evaluate(f, ...args), new Promise((resolve) => setTimeout(resolve, 2000))])) return;
    } catch (err) {
      if (!/context|detached|navigat|destroyed|closed|frame/i.test(err.message)) throw err; // it goes to another page
    }
    if (Date.now() > end) throw new Error(`not in a minute at ${page.url()}: ${f}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
