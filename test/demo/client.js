// Connects to NATS with the browser package where the web server has it, else with the few
// words of the protocol that one request needs.

// Not awaited here: the page listens to its buttons before the package is there.
const loading = import("/stamp.js").catch(() => undefined);

// connect opens a connection: {name, closed, request(subject, lines), close()}, where a line is
// "name: value". The package takes neither the address nor the prefix from the page: its worker
// has them from the server.
export async function connect(url, inboxPrefix) {
  const stamp = await loading;
  if (!stamp) return new Raw(url, inboxPrefix).open();
  const s = new stamp.Stamp({ worker: "/worker.js" });
  const reached = (...states) => new Promise((resolve) => {
    s.addEventListener("state", ({ detail }) => states.includes(detail.state) && resolve());
  });
  const connected = reached("connected"), closed = reached("signed-out", "closed");
  if (!(await s.start()).authenticated) throw new Error("not logged in");
  await Promise.race([connected, closed]);
  return {
    name: "the browser package",
    closed,
    request: async (subject, lines) => (await s.request(subject, "", { headers: headers(lines) })).json(),
    close: () => s.close(),
  };
}

// headers makes headers of lines, as the package takes them.
function headers(lines) {
  const map = {};
  for (const line of lines) {
    const at = line.indexOf(":");
    (map[line.slice(0, at).trim()] ??= []).push(line.slice(at + 1).trim());
  }
  return map;
}

const size = (text) => new TextEncoder().encode(text).length; // in bytes

class Raw {
  name = "a few lines of its own";
  #input = "";
  #decoder = new TextDecoder();
  #waiting = new Map(); // inbox to {resolve, reject}
  #number = 0;

  constructor(url, inboxPrefix) {
    this.inbox = `${inboxPrefix}.${crypto.randomUUID().replaceAll("-", "")}`;
    this.ws = new WebSocket(url);
    this.ws.binaryType = "arraybuffer";
    this.ws.onmessage = ({ data }) => this.#read(this.#decoder.decode(data, { stream: true }));
    this.closed = new Promise((resolve) => { this.ws.onclose = resolve; });
    this.closed.then(() => this.#waiting.forEach(({ reject }) => reject(new Error("the connection was closed"))));
  }

  open() {
    return new Promise((resolve, reject) => {
      this.ready = () => resolve(this);
      this.closed.then(() => reject(new Error("the connection was refused")));
    });
  }

  close() {
    this.ws.close();
    return this.closed;
  }

  request(subject, lines) {
    const inbox = `${this.inbox}.${++this.#number}`;
    const block = "NATS/1.0\r\n" + lines.map((line) => line + "\r\n").join("") + "\r\n";
    return new Promise((resolve, reject) => {
      this.#waiting.set(inbox, { resolve, reject });
      this.ws.send(`HPUB ${subject} ${inbox} ${size(block)} ${size(block)}\r\n${block}\r\n`);
    });
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
      if (line.startsWith("INFO ") && this.ready && !this.connected) {
        this.connected = true;
        this.ws.send('CONNECT {"verbose":false,"pedantic":false,"headers":true,"protocol":1,"lang":"page","version":"0"}\r\n' +
          `SUB ${this.inbox}.* 1\r\nPING\r\n`);
      } else if (line === "PONG") {
        this.ready();
      } else if (line === "PING") {
        this.ws.send("PONG\r\n");
      } else if (line.startsWith("-ERR")) {
        this.#waiting.forEach(({ reject }) => reject(new Error(line)));
        this.#waiting.clear();
      }
    }
  }
}
