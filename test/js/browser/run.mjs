// Runs the checks of the browser package against a site that the Go test serves, in one browser, and
// prints a line of JSON for each. Arguments: the site's origin, chrome or firefox, the browser's file,
// and the files of checks. CHECK runs those alone whose file and name, as in api/close, have that in them.
import { launch } from "./visitor.mjs";

const [, , origin, kind, file, ...sets] = process.argv;
const browser = await launch(kind, file);
try {
  for (const set of sets) {
    const { checks } = await import(`./${set}.mjs`);
    for (const [name, check] of Object.entries(checks)) {
      if (!`${set}/${name}`.includes(process.env.CHECK ?? "")) continue;
      const began = performance.now();
      let error = "";
      try {
        await check({ origin, kind, browser });
      } catch (err) {
        error = err.stack ?? String(err);
      }
      for (const context of browser.browserContexts()) {
        if (context !== browser.defaultBrowserContext()) await context.close();
      }
      console.log(JSON.stringify({ set, name, error, ms: Math.round(performance.now() - began) }));
    }
  }
} finally {
  await browser.close();
}
