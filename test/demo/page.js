// The page: it logs in, connects with nothing but the cookie that it cannot read,
// asks a service, and looks for the session id as a hostile script would.
import { connect } from "./client.js";

const element = (id) => document.getElementById(id);
const show = (text) => { element("out").textContent = text; };
const status = (text) => { element("status").textContent = text; };

let connection; // that which is open, or none

async function open() {
  if (connection) return connection;
  const answer = await fetch("/session");
  if (!answer.ok) throw new Error("not logged in: " + (await answer.text()).trim());
  const { claims: { user }, inbox, websocket_port } = await answer.json();
  const made = await connect(`ws://${location.hostname}:${websocket_port}`, inbox);
  connection = made;
  element("client").textContent = made.name;
  status(`open, as ${user}`);
  made.closed.then(() => {
    if (connection === made) connection = undefined;
    status("closed by the server");
  });
  return made;
}

async function ask(event) {
  event.preventDefault();
  try {
    const lines = element("ask").headers.value.split("\n").filter((line) => line.trim() !== "");
    const got = await (await open()).request("demo.whoami", lines);
    const text = Object.entries(got.headers).flatMap(([name, values]) => values.map((value) => `${name}: ${value}`));
    show(`${text.sort().join("\n")}\n\nso you are ${got.user || "anonymous"}`);
  } catch (err) {
    show(err.message);
  }
}

async function post(path, body) {
  const answer = await fetch(path, { method: "POST", body });
  show(answer.ok ? "" : await answer.text());
  return answer.ok;
}

element("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!await post("/login", new URLSearchParams(new FormData(element("login"))))) return;
  try {
    if (connection) await connection.close();
    await open();
  } catch (err) {
    status(err.message);
  }
});
element("logout").addEventListener("click", () => post("/logout"));
element("ask").addEventListener("submit", ask);

// Where a script finds what a page holds. Each entry is a name and what was there.
const places = {
  "document.cookie": () => document.cookie,
  "cookieStore": async () => window.cookieStore ? JSON.stringify(await cookieStore.getAll()) : "not in this browser, or not without TLS",
  "localStorage": () => JSON.stringify({ ...localStorage }),
  "sessionStorage": () => JSON.stringify({ ...sessionStorage }),
  "indexedDB": async () => JSON.stringify(await indexedDB.databases?.() ?? []),
  "caches": async () => window.caches ? JSON.stringify(await caches.keys()) : "not without TLS",
  "performance entries": () => JSON.stringify(performance.getEntries()),
  "headers of an answer": async () => JSON.stringify([...(await fetch("/session")).headers]),
  "body of /session": async () => (await fetch("/session")).text(),
  "the page itself": () => document.documentElement.outerHTML,
  "the NATS connection": async () => JSON.stringify(await open(), keepAll()),
  "what the service tells": async () => JSON.stringify(await (await open()).request("demo.whoami", [])),
  "window": () => Object.getOwnPropertyNames(window).map((name) => { try { return String(window[name]); } catch { return ""; } }).join(" "),
};

// keepAll makes JSON of objects that contain themselves.
function keepAll() {
  const seen = new Set();
  return (_, value) => {
    if (typeof value !== "object" || value === null) return value;
    if (seen.has(value)) return undefined;
    seen.add(value);
    return value;
  };
}

element("attack").addEventListener("click", async () => {
  element("found").textContent = "";
  window.loot = {}; // for who wants to look closer
  for (const [name, look] of Object.entries(places)) {
    let text;
    try {
      text = await look();
    } catch (err) {
      text = err.message;
    }
    window.loot[name] = text;
    const id = /\b[A-Z2-7]{26}\b/.test(text); // the form of an id
    element("found").textContent += `${id ? "FOUND in" : "not in"} ${name}\n`;
  }
  element("found").textContent += "done\n";
});
