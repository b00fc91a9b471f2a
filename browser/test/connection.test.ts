import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { StampError } from "../src/messages.ts";
import type { Site } from "../src/site.ts";

/** Answers what a client sends; undefined closes the connection. */
type Server = (line: string) => string | undefined;

/** A websocket to a server that does what a real one would have to be cut for at the right moment. */
class Scripted {
  static servers: Server[] = []; // of each connection; the last one goes on
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
      const answer = line === "" ? "" : this.#server(line);
      if (answer === undefined) return this.close();
      this.#tell(answer);
    }
  }

  close(): void {
    setTimeout(() => this.onclose({ wasClean: true, reason: "" }));
  }

  #tell(text: string): void {
    if (text !== "") setTimeout(() => this.onmessage({ data: new TextEncoder().encode(text).buffer as ArrayBuffer }));
  }
}

Object.assign(globalThis, { self: { addEventListener() {} }, WebSocket: Scripted });
const { Connection } = await import("../src/connection.ts");

const willing: Server = (line) => (line === "PING" ? "PONG\r\n" : "");

function connect(t: TestContext, ...servers: Server[]) {
  Scripted.servers = servers;
  const site = { tickets: false, key: "required", websocket: "ws://127.0.0.1:1", visitor: async () => ({ authenticated: true }) };
  const connection = new Connection(site as unknown as Site, () => {}, () => {});
  t.after(() => connection.stop("closed", ""));
  connection.start(undefined);
  return connection;
}

const subscribed = { subject: "a", deliver() {} };

test("a connection that is lost while it subscribes leaves that to the next one", async (t) => {
  const lines: string[] = [];
  let connected = false;
  const lost: Server = (line) => {
    if (line !== "PING") return line.startsWith("SUB") ? undefined : "";
    if (connected) return "";
    connected = true;
    return "PONG\r\n";
  };
  const connection = connect(t, lost, (line) => (lines.push(line), willing(line)));
  await connection.subscribe(1, subscribed, 20_000);
  assert.deepEqual(lines.filter((line) => line.startsWith("SUB")), ["SUB a 1"]);
});

test("a server that does not agree in time is an error, and the subscription is gone", async (t) => {
  const lines: string[] = [];
  let pings = 0;
  const connection = connect(t, (line) => (lines.push(line), line === "PING" && pings++ === 0 ? "PONG\r\n" : ""));
  await connection.ready(20_000);
  await assert.rejects(connection.subscribe(1, subscribed, 50), (err: StampError) => err.code === "timeout");
  assert.equal(lines.at(-1), "UNSUB 1");
});
