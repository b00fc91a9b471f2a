// What a user of the package writes must have types, as they are published.
import {
  Stamp, REST_Secure, StampError, Subscription, subjectOf, type Answer, type Code, type Message, type State, type StampEventMap,
} from "@stamp/browser";

const s = new Stamp({ ordered: true, login: "/sign-in" });
const started = await s.start();
await s.when("connected", { timeout: 1000, signal: AbortSignal.timeout(1) });
const n: number | undefined = started.expires;
const a: Answer<{ id: number }> = await s.fetch<{ id: number }>("/x", { body: { a: 1 }, signal: AbortSignal.timeout(1) });
const id: number = a.body.id;
const st: State = s.state;
// @ts-expect-error
await s.fetch("/x", { timeout: "1" });

// Events.
s.addEventListener("state", (event) => {
  const now: State = event.detail.state, why: string = event.detail.reason;
  console.log(now, why);
});
const refused = ({ detail }: StampEventMap["error"]): void => {
  const code: Code = detail.code;
  console.log(code, detail.subject.length, detail.operation === "publish");
};
s.addEventListener("error", refused, { once: true });
s.removeEventListener("error", refused);
s.addEventListener("state", { handleEvent: (event) => console.log(event.detail.state) });
s.addEventListener("other", (event: Event) => console.log(event.type));
const target: EventTarget = s;
// @ts-expect-error
s.addEventListener("state", (event) => event.detail.nothing);

// Subscriptions and requests.
const sub: Subscription = await s.subscribe("x", (m) => m.json<string>().length, { failed: (e) => e.message, queue: "q", max: 3 });
await sub.unsubscribe();
for await (const msg of await s.subscribe("x", { max: 3, timeout: 1000, signal: null })) {
  const values: string[] = msg.headers.values("A", "insensitive"), first: string = msg.headers.get("A");
  console.log(values, first, msg.headers.has("A"), msg.headers.keys().length);
  await s.publish("y", msg.data, { headers: msg.headers, reply: "z" });
}
for await (const msg of s.requestMany("x", "", { max: 2, stall: 300, sentinel: true })) {
  const error: StampError | undefined = msg.error;
  console.log(error?.answer?.status);
}
const reply: Message = await s.request("x").catch((err: unknown) => {
  if (err instanceof StampError && err.code === "service") console.log(err.status, err.answer?.body);
  throw err;
});
await s.flush();
await s.drain();
const ended: StampError | undefined = s.ended, why: Code | undefined = s.ended?.code;
console.log(ended?.status, why);
// @ts-expect-error
await s.subscribe("x", { max: "3" });

// What was written for fetch().
async function api(path: string | URL, init?: RequestInit): Promise<Answer> {
  return s.fetch(path, init);
}
// Bytes go where the browser's own functions want them.
async function bytesOf(msg: Message, answer: Answer): Promise<unknown[]> {
  return [new Blob([msg.data]), new Blob([await answer.bytes()]), await crypto.subtle.digest("SHA-256", msg.data), new Response(msg.data)];
}
await bytesOf(reply, await api("/x"));
await api("/x", { method: "POST", credentials: "include", signal: null, headers: [["A", "b"]], body: new URLSearchParams() });

const r = new REST_Secure({ endpoint: "x" });
const status = await r.start();
const wrong: string | undefined = status.error;
if (status.error === undefined) {
  const known: boolean = status.already_authenticated;
  console.log(known);
}
console.log(n, id, st, reply.text(), wrong, target, subjectOf("/x", "https://a"));
