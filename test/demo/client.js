// The page's connection to NATS: by the browser package, or, where that is not built, by the few
// words of the protocol that one request needs.

// Where the worker's script is; undefined if there is none. With tickets the package's own default.
const script = { ticket: "/auth/worker.js", package: "/worker.js" }[document.body.dataset.mode];
const loading = script && import("/stamp.js");

// connect opens a connection if the visitor is signed in, and returns undefined if not. A connection is
// {name, user, ended, request(subject, lines, payload), logout()}; a line is a [name, value].
export function connect() {
  return script ? connectWorker() : connectCookie();
}

async function connectWorker() {
  const { Stamp } = await loading;
  const stamp = new Stamp({ worker: script }); // the worker knows the address; the page cannot choose it
  const reached = (...states) => new Promise((resolve) => {
    const look = (state) => { if (states.includes(state)) resolve(state); };
    stamp.addEventListener("state", ({ detail }) => look(detail.state));
    look(stamp.state);
  });
  const { authenticated, claims } = await stamp.start();
  if (!authenticated) {
    stamp.close();
    return undefined;
  }
  await stamp.when("connected");
  return {
    name: "owned by a worker", user: claims.sub, ended: reached("signed-out", "closed"), object: stamp,
    request: async (subject, lines, payload = "") => (await stamp.request(subject, payload, { headers: headerMap(lines) })).json(),
    logout: () => stamp.logout(),
  };
}

// headerMap returns headers as the package takes them.
function headerMap(lines) {
  const map = {};
  for (const [name, value] of lines) (map[name] ??= []).push(value);
  return map;
}

async function connectCookie() {
  const answer = await fetch("/session");
  if (!answer.ok) throw new Error((await answer.text()).trim());
  const { authenticated, claims, inbox } = await answer.json();
  if (!authenticated) return undefined;
  const raw = new Raw(inbox);
  await raw.open();
  return {
    name: "opened with the cookie", user: claims.sub, ended: raw.closed, object: raw,
    request: (subject, lines, payload = "") => raw.request(subject, lines, payload),
    logout: () => fetch("/logout", { method: "POST" }),
  };
}

const size = (text) => new TextEncoder().encode(text).length; // in bytes

// Raw speaks as much of the protocol as a request needs. Without an inbox it can only publish.
export class Raw {
  #input = "";
  #decoder = new TextDecoder();
  #waiting = new Map(); // inbox to {resolve, reject}
  #number = 0;
  #inbox;
  #login;
  #error = "";
  #settled = { resolve() {}, reject() {} };

  // login has further fields of CONNECT.
  constructor(inboxPrefix, login = {}) {
    this.#inbox = `${inboxPrefix}.${crypto.randomUUID().replaceAll("-", "")}`;
    this.#login = login;
    this.ws = new WebSocket(`ws://${location.host}/nats`);
    this.ws.binaryType = "arraybuffer";
    this.ws.onmessage = ({ data }) => this.#read(this.#decoder.decode(data, { stream: true }));
    this.closed = new Promise((resolve) => { this.ws.onclose = resolve; });
    this.closed.then(() => this.#fail(this.#error || "the connection was closed"));
  }

  // open resolves when the server has accepted the connection, and rejects with its words if it refuses.
  open() {
    return new Promise((resolve, reject) => {
      this.#settled = { resolve, reject };
    });
  }

  close() {
    this.ws.close();
    return this.closed;
  }

  request(subject, lines, payload = "") {
    const inbox = `${this.#inbox}.${++this.#number}`;
    const block = "NATS/1.0\r\n" + lines.map(([name, value]) => `${name}: ${value}\r\n`).join("") + "\r\n";
    return new Promise((resolve, reject) => {
      this.#waiting.set(inbox, { resolve, reject });
      this.ws.send(`HPUB ${subject} ${inbox} ${size(block)} ${size(block + payload)}\r\n${block}${payload}\r\n`);
    });
  }

  #fail(text) {
    this.#settled.reject(new Error(text));
    this.#waiting.forEach(({ reject }) => reject(new Error(text)));
    this.#waiting.clear();
  }

  #read(text) {
    this.#input += text;
    for (let end; (end = this.#input.indexOf("\r\n")) >= 0;) {
      const line = this.#input.slice(0, end);
      if (line.startsWith("MSG ")) { // its payload is one line of JSON
        const rest = this.#input.slice(end + 2), stop = rest.indexOf("\r\n");
        if (stop < 0) return;
        const inbox = line.split(" ")[1];
        this.#waiting.get(inbox)?.resolve(JSON.parse(rest.slice(0, stop)));
        this.#waiting.delete(inbox);
        this.#input = rest.slice(stop + 2);
        continue;
      }
      this.#input = this.#input.slice(end + 2);
      if (line.startsWith("INFO ")) this.#connect();
      else if (line === "PONG") this.#settled.resolve();
      else if (line === "PING") this.ws.send("PONG\r\n");
      else if (line.startsWith("-ERR")) this.#fail(this.#error = line);
    }
  }

  #connect() {
    if (this.connected) return; // the server sends INFO again when it changes
    this.connected = true;
    const options = { verbose: false, pedantic: false, headers: true, protocol: 1, lang: "page", version: "0", ...this.#login };
    this.ws.send(`CONNECT ${JSON.stringify(options)}\r\nSUB ${this.#inbox}.* 1\r\nPING\r\n`);
  }
}
