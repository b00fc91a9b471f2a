// The page: it connects with what no script of it can read, sends messages, attacks, and shows what
// came of it.
import { attacks, exchange } from "./attacks.js";
import { make, show } from "./board.js";
import { connect } from "./client.js";

const element = (id) => document.getElementById(id);
const watching = "watch"; // the payload of messages that only look for a new token

let connection; // undefined while there is none
let leaving = false; // whether this tab itself is logging out

const words = {
  starting: () => "Connecting …",
  out: () => "Not signed in",
  open: () => `Connected as ${connection.user}`,
  ended: () => "Logged out: the server closed the connection",
  failed: () => "No connection",
};

function setState(state) {
  document.body.dataset.state = state;
  element("status").textContent = words[state]();
  element("client").textContent = connection ? connection.name : "none";
  const open = state === "open";
  if (!open) {
    element("seen").textContent = "nobody";
    element("token").textContent = "none";
    element("refreshes").textContent = "";
  }
  for (const fieldset of document.querySelectorAll("fieldset")) fieldset.disabled = !open;
  if (element("refresh")) element("refresh").disabled = !open;
  element("login").hidden = open || state === "starting";
  element("logout").hidden = !open;
  tellTabs();
}

async function start() {
  setState("starting");
  try {
    connection = await connect();
  } catch (err) {
    failed("No connection", err);
    setState("failed");
    return;
  }
  if (!connection) return setState("out");
  const made = connection;
  made.ended.then(() => ended(made));
  setState("open");
  await attempt("The first message", () => exchange(made, {
    title: "The page’s first message",
    plain: `The page sent no header. The service knows that it is ${made.user}, because the server wrote it.`,
  }));
  void watch(made);
}

function ended(made) {
  if (connection !== made) return;
  connection = undefined;
  setState("ended");
  show({
    title: leaving ? "You logged out" : "The session ended", verdict: "event",
    plain: leaving ? "The session is gone. The server closed the connections of all tabs, and the cookie is worth nothing."
      : "Another tab logged out, or the session’s time was over. The server closed this tab’s connection, without being asked by this page.",
  });
  leaving = false;
}

// attempt shows the entry that f returns, or its error.
async function attempt(title, f) {
  try {
    const entry = await f();
    if (entry.user) element("seen").textContent = entry.user;
    show(entry).scrollIntoView({ block: "nearest" }); // on a phone it is below the buttons
  } catch (err) {
    failed(title, err);
  }
}

function failed(title, err) {
  show({ title, verdict: "failed", plain: `It did not work: ${err.message}` });
}

// --- messages of the visitor

// parse returns the lines of the form, or throws an error for its reader.
function parse(input) {
  const lines = [];
  input.split("\n").forEach((line, number) => {
    if (line.trim() === "") return;
    const at = line.indexOf(":"), name = line.slice(0, at).trim();
    if (at < 0) throw new Error(`Line ${number + 1}: expected “Name: value”, found “${line.trim()}” without a colon.`);
    if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name)) throw new Error(`Line ${number + 1}: a name has letters, digits and - _ . alone, found “${name}”.`);
    lines.push([name, line.slice(at + 1).trim()]);
  });
  return lines;
}

element("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = element("headers");
  let lines;
  try {
    lines = parse(field.value);
  } catch (err) {
    element("fault").textContent = err.message;
    field.setAttribute("aria-invalid", "true");
    field.focus();
    return;
  }
  element("fault").textContent = "";
  field.removeAttribute("aria-invalid");
  const subject = element("subject").value;
  await attempt("Your message", () => exchange(connection, {
    title: "Your message", subject, lines,
    plain: subject === "demo.token" ? "On this subject the server writes the access token too. The page never has it."
      : `The service sees ${connection.user}, whatever the page wrote.`,
  }));
});

// --- attacks

for (const { id, name, about, run } of attacks) {
  const button = make("button", { type: "button", id: `attack-${id}` }, make("span", { class: "name" }, name), make("span", { class: "about" }, about));
  button.addEventListener("click", async () => {
    button.setAttribute("aria-busy", "true");
    await attempt(name, () => run({ connection }));
    button.removeAttribute("aria-busy");
  });
  element("attack-buttons").append(button);
}

// --- the access token, as it changes

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const shownTokens = 4;
let wake = () => {}; // ends the pause between two looks

async function watch(made) {
  let last, changes = 0;
  element("tokens").replaceChildren();
  while (connection === made) {
    try {
      if (!document.hidden) {
        const { headers } = await made.request("demo.token", [], watching);
        const [token] = headers.Authorization;
        if (token !== last) {
          if (last) changes++;
          sawToken(token, last, changes);
          last = token;
        }
      }
    } catch { // the connection ended, or is being opened again
    }
    await Promise.race([pause(2000), new Promise((resolve) => { wake = resolve; })]);
  }
}

function sawToken(token, last, changes) {
  element("token").textContent = token;
  const time = new Date();
  const row = make("li", {}, make("code", {}, token), make("time", { datetime: time.toISOString() }, time.toLocaleTimeString([], { hour12: false })));
  element("tokens").prepend(row);
  while (element("tokens").children.length > shownTokens) element("tokens").lastChild.remove();
  if (!last) return;
  element("refreshes").textContent = changes === 1 ? "refreshed once" : `refreshed ${changes} times`;
  if (changes > 1) return; // the list shows the others
  show({
    title: "The access token was refreshed", verdict: "event", sent: ["to demo.token"],
    did: [["stamped", `Authorization: ${token}`]], received: [`Authorization: ${token}`],
    plain: "The session has a new access token. The server stamps it from now on, on the connection that is open; the page did nothing.",
  });
}

element("refresh")?.addEventListener("click", async () => {
  const answer = await fetch("/refresh", { method: "POST" });
  if (!answer.ok) failed("A refresh", new Error((await answer.text()).trim()));
  wake();
});

// --- tabs

const channel = new BroadcastChannel("tabs");
const me = crypto.randomUUID();
const others = new Map(); // id to {text, open}

function tellTabs(closing = false) {
  channel.postMessage({ id: me, text: element("status").textContent, open: document.body.dataset.state === "open", closing });
  showTabs();
}

channel.onmessage = ({ data }) => {
  if (data.hello) return tellTabs();
  if (data.closing) others.delete(data.id);
  else others.set(data.id, data);
  showTabs();
};

function showTabs() {
  const row = (name, text, open) => make("li", { "data-open": String(open) }, make("span", { class: "lamp", "aria-hidden": "true" }), make("strong", {}, name), ` ${text}`);
  element("tabs").replaceChildren(
    row("This tab:", element("status").textContent, document.body.dataset.state === "open"),
    ...[...others.values()].map(({ text, open }) => row("Another tab:", text, open)));
}

addEventListener("pagehide", () => tellTabs(true));
addEventListener("pageshow", ({ persisted }) => { if (persisted) location.reload(); }); // its connection is gone

// --- signing in and out

if (element("login").tagName === "FORM") {
  element("login").addEventListener("submit", async (event) => {
    event.preventDefault();
    const answer = await fetch("/login", { method: "POST", body: new URLSearchParams(new FormData(element("login"))) });
    if (answer.ok) await start();
    else failed("Signing in", new Error((await answer.text()).trim()));
  });
}

element("logout").addEventListener("click", async () => {
  leaving = true;
  try {
    await connection.logout();
  } catch (err) {
    leaving = false;
    failed("Logging out", err);
  }
});

channel.postMessage({ hello: true });
void start();
