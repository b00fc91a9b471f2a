// A websocket that waits before the client says CONNECT. The official client asks for credentials at
// once, but a signature of WebCrypto comes later.

/** Called with the nonce of the server's INFO; undefined: it has none. */
export type Prepare = (nonce: string | undefined) => Promise<void>;

/** What the client's websocket transport uses of a WebSocket. */
export class WaitingSocket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: ArrayBuffer }) => void) | null = null;
  onclose: ((event: { wasClean: boolean; reason: string }) => void) | null = null;
  onerror: ((event: { message: string }) => void) | null = null;

  readonly #socket: WebSocket;
  readonly #prepare: Prepare;
  #held: ArrayBuffer[] | undefined = []; // undefined: nothing is held any more
  #text = "";

  constructor(url: string, prepare: Prepare) {
    this.#prepare = prepare;
    this.#socket = new WebSocket(url);
    this.#socket.binaryType = "arraybuffer";
    this.#socket.onopen = () => this.onopen?.();
    this.#socket.onmessage = ({ data }) => this.#receive(data);
    this.#socket.onclose = (event) => this.onclose?.(event);
    this.#socket.onerror = () => this.onerror?.({ message: "the websocket could not be opened" });
  }

  get bufferedAmount(): number {
    return this.#socket.bufferedAmount;
  }

  set binaryType(_: string) {} // it is what the client wants

  send(data: ArrayBuffer): void {
    this.#socket.send(data);
  }

  close(): void {
    this.#socket.close();
  }

  /** Ends it at once. A closing handshake takes a browser long when nobody answers. */
  abandon(reason: string): void {
    this.onclose?.({ wasClean: false, reason });
    this.close();
  }

  #receive(data: ArrayBuffer): void {
    if (!this.#held) {
      this.onmessage?.({ data });
      return;
    }
    this.#held.push(data);
    if (this.#text.includes("\n")) return; // being prepared
    this.#text += new TextDecoder().decode(data);
    if (this.#text.includes("\n")) void this.#release();
  }

  async #release(): Promise<void> {
    try {
      await this.#prepare(nonceOf(this.#text));
    } catch (err) {
      this.onerror?.({ message: err instanceof Error ? err.message : String(err) });
      this.close();
      return;
    }
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const data of held) this.onmessage?.({ data });
  }
}

function nonceOf(text: string): string | undefined {
  const line = /^INFO\s+(\{.*\})\s*\n/.exec(text);
  if (!line) throw new Error("the server does not begin with INFO");
  const { nonce } = JSON.parse(line[1]!);
  return typeof nonce === "string" && nonce !== "" ? nonce : undefined;
}
