// A websocket to a server of the tests' own, and what tests share.
import type { TestContext } from "node:test";

/** Answers what a client sends; undefined closes the connection. */
export type Server = (line: string) => string | undefined;

/** A websocket to a server that does what a real one would have to be cut for at the right moment. */
export class Scripted {
  static servers: Server[] = []; // of each connection; the last one goes on
  static delay = 0; // milliseconds until an answer comes
  static #asked: (text: string) => void = () => {}; // answers the last request
  bufferedAmount = 0;
  onopen = () => {};
  onmessage = (_: { data: ArrayBuffer }) => {};
  onclose = (_: { wasClean: boolean; reason: string }) => {};
  readonly #server: Server;

  constructor() {
    this.#server = Scripted.servers.length > 1 ? Scripted.servers.shift()! : Scripted.servers[0]!;
    setTimeout(() => {
      this.onopen();
      this.#tell('INFO {"server_id":"S","version":"2.15.2","proto":1,"headers":true,"max_payload":1000}\r\n');
    });
  }

  send(data: Uint8Array): void {
    for (const line of new TextDecoder().decode(data).split("\r\n")) {
      const [verb, , reply] = line.split(" ");
      if (verb === "HPUB") Scripted.#asked = (text) => this.#tell(`HMSG ${reply} 1 12 ${12 + text.length}\r\nNATS/1.0\r\n\r\n${text}\r\n`);
      const answer = line === "" ? "" : this.#server(line);
      if (answer === undefined) return this.close();
      this.#tell(answer);
    }
  }

  /** Answers the last request. */
  static say(text: string): void {
    Scripted.#asked(text);
  }

  close(): void {
    setTimeout(() => this.onclose({ wasClean: true, reason: "" }));
  }

  #tell(text: string): void {
    if (text !== "") setTimeout(() => this.onmessage({ data: new TextEncoder().encode(text).buffer as ArrayBuffer }), Scripted.delay);
  }
}

export const willing: Server = (line) => (line === "PING" ? "PONG\r\n" : "");

export async function until(holds: () => boolean): Promise<void> {
  for (const end = Date.now() + 20_000; !holds();) {
    if (Date.now() > end) throw new Error(`not in 20 seconds: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Lets the process do nothing at all, as when it is stopped or a laptop sleeps. */
export function freeze(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

/** How many timers of some length were set, and how many objects of these classes were made, while something ran. */
export async function counted(t: TestContext, run: () => Promise<unknown>) {
  const { setTimeout, AbortController, TextDecoder, URL } = globalThis, classes = { AbortController, TextDecoder, URL };
  const made = { timers: 0, AbortController: 0, TextDecoder: 0, URL: 0 };
  const restore = () => Object.assign(globalThis, { setTimeout, ...classes });
  t.after(restore);
  for (const name of Object.keys(classes) as (keyof typeof classes)[]) {
    Object.assign(globalThis, { [name]: new Proxy(classes[name], { construct: (of, args) => (made[name]++, Reflect.construct(of, args)) }) });
  }
  Object.assign(globalThis, { setTimeout: (call: () => void, ms = 0, ...args: []) => {
    if (ms >= 100) made.timers++;
    return setTimeout(call, ms, ...args);
  } });
  await run();
  restore();
  return made;
}
