import assert from "node:assert/strict";
import { test } from "node:test";
import { WaitingSocket } from "../src/socket.ts";

/** What a WebSocket is to the one that waits. */
class Fake {
  static last: Fake;
  onopen = () => {};
  onmessage = (_: { data: ArrayBuffer }) => {};
  onclose = (_: unknown) => {};
  onerror = () => {};
  binaryType = "";
  bufferedAmount = 0;
  closed = false;
  constructor() { Fake.last = this; }
  send() {}
  close() { this.closed = true; }
  say(text: string) { this.onmessage({ data: new TextEncoder().encode(text).buffer as ArrayBuffer }); }
}
(globalThis as { WebSocket: unknown }).WebSocket = Fake;

const settled = () => new Promise((resolve) => setImmediate(resolve));

function waiting(prepare: (nonce: string | undefined) => Promise<void>) {
  const socket = new WaitingSocket("ws://x", prepare);
  const got: string[] = [], errors: string[] = [];
  socket.onmessage = ({ data }) => got.push(new TextDecoder().decode(data));
  socket.onerror = ({ message }) => errors.push(message);
  return { socket, got, errors, fake: Fake.last };
}

test("INFO comes when all is prepared, and what is behind it in order", async () => {
  for (const pieces of [['INFO {"nonce":"n1"}\r\n'], ["IN", 'FO {"nonce":', '"n1"}\r', "\n"], ['INFO {"nonce":"n1"}\r\nPING\r\n']]) {
    let go = () => {}, nonce: string | undefined, calls = 0;
    const w = waiting((n) => {
      nonce = n;
      calls++;
      return new Promise((resolve) => { go = resolve; });
    });
    for (const piece of pieces) w.fake.say(piece);
    w.fake.say("PING\r\n");
    await settled();
    assert.deepEqual([w.got, nonce, calls], [[], "n1", 1]);
    go();
    await settled();
    w.fake.say("later");
    assert.deepEqual(w.got, [...pieces, "PING\r\n", "later"]);
  }
});

test("without a nonce it says so", async () => {
  let nonce: string | undefined = "none was told";
  const w = waiting(async (n) => { nonce = n; });
  w.fake.say('INFO {"nonce":""}\r\n');
  await settled();
  assert.equal(nonce, undefined);
});

test("when it cannot be prepared, or the server is none, the socket is closed", async () => {
  for (const [text, want] of [['INFO {"nonce":"n"}\r\n', "no ticket"], ["HTTP/1.1 200 OK\r\n", "the server does not begin with INFO"], ["INFO {\r\n", "the server does not begin with INFO"]] as const) {
    const w = waiting(async () => { throw new Error("no ticket"); });
    w.fake.say(text);
    await settled();
    assert.deepEqual([w.errors, w.got, w.fake.closed], [[want], [], true]);
  }
});
