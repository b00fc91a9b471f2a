// Measures how soon a page has its first answer after it was loaded, by turns: the package, its class
// for rest-secure, and rest-secure itself over HTTP where the site has it. Prints JSON: for each way
// the times in milliseconds, of the first answer and of one later. Arguments as run.mjs, and rounds.
import { alice, launch, Visitor } from "./visitor.mjs";

const [, , origin, kind, file, rounds, restSecure] = process.argv;

const ways = {
  "package": async () => {
    const { Stamp } = await import("/dist/stamp.js");
    const s = new Stamp();
    await s.start();
    return s;
  },
  "its REST_Secure": async () => {
    const { REST_Secure } = await import("/dist/stamp.js");
    const rs = new REST_Secure({ endpoint: location.origin });
    await rs.start();
    return rs;
  },
};
if (restSecure === "yes") {
  ways["rest-secure, HTTP"] = async () => {
    const [{ REST_Secure }, { QOper8 }] = await Promise.all([import("/rest-secure/rest-secure.js"), import("/rest-secure/QOper8.js")]);
    const rs = new REST_Secure({ QOper8, endpoint: `${location.origin}/rest`, refresh_token_uri: "/refresh" });
    const { already_authenticated } = await rs.start();
    if (!already_authenticated) throw new Error("rest-secure is not signed in");
    return rs;
  };
}

const browser = await launch(kind, file);
try {
  const v = await Visitor.open({ origin, kind, browser }, alice);
  const times = Object.fromEntries(Object.keys(ways).map((name) => [name, { first: [], later: [] }]));
  for (let round = -1; round < Number(rounds); round++) { // the first one warms everything up
    for (const [name, begin] of Object.entries(ways)) {
      const page = await v.context.newPage();
      await page.setCacheEnabled?.(false).catch(() => {}); // Firefox cannot
      await page.goto(origin + "/");
      const [first, later] = await page.evaluate(async (text) => {
        const begin = (0, eval)(`(${text})`);
        const t0 = performance.now();
        const s = await begin();
        const answer = await s.fetch("/api/seen/first");
        const t1 = performance.now();
        if (answer.body.subject !== "api.seen.first") throw new Error(JSON.stringify(answer));
        const t2 = performance.now();
        await s.fetch("/api/seen/first");
        return [t1 - t0, performance.now() - t2];
      }, begin.toString());
      if (round >= 0) {
        times[name].first.push(first);
        times[name].later.push(later);
      }
      await page.close();
    }
  }
  console.log(JSON.stringify(times));
} finally {
  await browser.close();
}
