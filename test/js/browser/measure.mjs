// Measures how soon a page has its first answer after it was loaded, by turns: the package, its class for rest-secure, the
// packages of other releases, and rest-secure itself over HTTP where the site has it. Prints JSON: for each way the times in
// milliseconds, of the first answer and of a later one, and the CPU time that the page and its worker had for them: on a machine
// that does other things it tells more. The argument is the JSON of what is asked, as the Go test makes it.
import { readdirSync, readFileSync } from "node:fs";
import { alice, launch, Visitor } from "./visitor.mjs";

const { origin: own, kind, file, rounds, restSecure: beside, others } = JSON.parse(process.argv[2]);

/** Browsers round their clocks, Firefox to a millisecond: so later answers are measured together. */
const later = 100;

async function stampOf() {
  const { Stamp } = await import("/dist/stamp.js");
  const s = new Stamp();
  await s.start();
  return s;
}

async function classOf() {
  const { REST_Secure } = await import("/dist/stamp.js");
  const rs = new REST_Secure({ endpoint: location.origin });
  await rs.start();
  return rs;
}

async function restSecure() {
  const [{ REST_Secure }, { QOper8 }] = await Promise.all([import("/rest-secure/rest-secure.js"), import("/rest-secure/QOper8.js")]);
  const rs = new REST_Secure({ QOper8, endpoint: `${location.origin}/rest`, refresh_token_uri: "/refresh" });
  const { already_authenticated } = await rs.start();
  if (!already_authenticated) throw new Error("rest-secure is not signed in");
  return rs;
}

const ways = [["package", own, stampOf], ["its REST_Secure", own, classOf]];
for (const [name, origin] of Object.entries(others)) ways.push([`package of ${name}`, origin, stampOf], [`REST_Secure of ${name}`, origin, classOf]);
if (beside) ways.push(["rest-secure, HTTP", own, restSecure]);

/** In the page: the time until its first answer. */
const begin = async (text) => {
  const t0 = performance.now();
  window.s = await (0, eval)(`(${text})`)();
  const { body } = await s.fetch("/api/seen/first");
  if (body.subject !== "api.seen.first") throw new Error(JSON.stringify(body));
  return performance.now() - t0;
};

/** In the page: the time of an answer after that. */
const goOn = async (later) => {
  const t0 = performance.now();
  for (let i = 0; i < later; i++) await s.fetch("/api/seen/first");
  return (performance.now() - t0) / later;
};

/** CPU time of each thread of the browser's processes for pages, in milliseconds; only Linux tells. */
function cpuTimes(root) {
  const parents = new Map(), times = new Map();
  const read = (file) => {
    try {
      return readFileSync(file, "utf8");
    } catch { // it has ended
      return "";
    }
  };
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) parents.set(pid, read(`/proc/${pid}/stat`).replace(/^.*\) /s, "").split(" ")[1]);
  const isOurs = (pid) => pid === root || parents.has(pid) && isOurs(parents.get(pid));
  for (const pid of [...parents.keys()].filter(isOurs)) {
    if (!/--type=renderer|-contentproc/.test(read(`/proc/${pid}/cmdline`))) continue;
    for (const file of threads(`/proc/${pid}/task`)) times.set(file, Number(read(`${file}/schedstat`).split(" ")[0]) / 1e6);
  }
  return times;
}

function threads(folder) {
  try {
    return readdirSync(folder).map((id) => `${folder}/${id}`);
  } catch {
    return [];
  }
}

/** What threads had since then; those that have ended are of the page before. */
const since = (before, after) => [...after].reduce((sum, [thread, ms]) => sum + ms - (before.get(thread) ?? 0), 0);

const browser = await launch(kind, file);
try {
  const visitors = {};
  for (const [, origin] of ways) visitors[origin] ??= await Visitor.open({ origin, kind, browser }, alice);
  const times = Object.fromEntries(ways.map(([name]) => [name, { first: [], later: [], firstCPU: [], laterCPU: [] }]));
  const root = String(browser.process().pid), cpu = process.platform === "linux" ? () => cpuTimes(root) : () => undefined;
  for (let round = -1; round < rounds; round++) { // the first one warms everything up
    for (const [name, origin, way] of round % 2 === 0 ? ways : [...ways].reverse()) { // none is always behind the same one
      const page = await visitors[origin].context.newPage();
      await page.setCacheEnabled?.(false).catch(() => {}); // Firefox cannot
      await page.goto(origin + "/");
      const at0 = cpu(), first = await page.evaluate(begin, way.toString());
      const at1 = cpu(), after = await page.evaluate(goOn, later), at2 = cpu();
      await page.close();
      if (round < 0) continue;
      times[name].first.push(first);
      times[name].later.push(after);
      if (!at0) continue;
      times[name].firstCPU.push(since(at0, at1));
      times[name].laterCPU.push(since(at1, at2) / later);
    }
  }
  console.log(JSON.stringify(times));
} finally {
  await browser.close();
}
