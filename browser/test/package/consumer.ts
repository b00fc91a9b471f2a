// What a user of the package writes must have types, as they are published.
import { Stamp, REST_Secure, StampError, subjectOf, type Answer, type State } from "@stamp/browser";

const s = new Stamp({ ordered: true });
const started = await s.start();
const n: number | undefined = started.expires;
const a: Answer<{ id: number }> = await s.fetch<{ id: number }>("/x", { body: { a: 1 }, signal: AbortSignal.timeout(1) });
const id: number = a.body.id;
const sub = await s.subscribe("x", (m) => m.json<string>().length, { failed: (e) => e.message });
await sub.unsubscribe();
const st: State = s.state;
// @ts-expect-error
await s.fetch("/x", { timeout: "1" });

// What was written for fetch().
async function api(path: string | URL, init?: RequestInit): Promise<Answer> {
  return s.fetch(path, init);
}
await api("/x", { method: "POST", credentials: "include", signal: null, headers: [["A", "b"]], body: new URLSearchParams() });

const r = new REST_Secure({ endpoint: "x" });
const status = await r.start();
const wrong: string | undefined = status.error;
if (status.error === undefined) {
  const known: boolean = status.already_authenticated;
  console.log(known);
}
console.log(n, id, st, wrong, StampError, subjectOf("/x", "https://a"));
