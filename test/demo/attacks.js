// What a script would do that an attacker got into the page. Each attack really happens, and its
// entry on the board says what came of it.
import { Raw } from "./client.js";
import { difference, linesOf } from "./board.js";

const text = ([name, value]) => `${name}: ${value}`;

// exchange sends a message, and returns its entry. The service must see the visitor, and nothing
// under a stamped name that the page wrote.
export async function exchange(connection, { title, subject = "demo.whoami", lines = [], plain }) {
  const { user, headers } = await connection.request(subject, lines);
  const sent = lines.map(text), received = linesOf(headers), did = difference(sent, received);
  const forged = did.some(([kind, line]) => kind === "kept" && isStamped(line));
  const good = user === connection.user && !forged;
  return {
    title, sent: [`to ${subject}`, ...(sent.length > 0 ? sent : ["no header"])], did, received, user,
    verdict: !good ? "broken" : did.some(([kind]) => kind === "removed") ? "harmless" : "stamped",
    plain: good ? plain : `The service takes this page for ${user || "nobody"}, and it received a header that the page forged.`,
  };
}

// isStamped says whether a line has a name that the server writes, as lax libraries compare names.
const isStamped = (line) => ["session", "xuser", "authorization"].includes(line.split(":")[0].toLowerCase().replace(/[-_.]/g, ""));

export const attacks = [
  {
    id: "forge", name: "Forge a header", about: "say that you are admin",
    run: ({ connection }) => exchange(connection, {
      title: "A forged header", lines: [["X-User", "admin"], ["Session", "forged"]],
      plain: `The server removed both lines and wrote its own. To the service this is still ${connection.user}.`,
    }),
  },
  {
    id: "alias", name: "Forge it in another spelling", about: "that libraries may read as X-User",
    run: ({ connection }) => exchange(connection, {
      title: "A forged header in other spellings", lines: [["x-user", "admin"], ["X_User", "admin"], ["x.user", "admin"], ["SESSION", "forged"]],
      plain: "Some libraries take X_User for X-User. So the server removes each name that anybody could read as one of its own.",
    }),
  },
  { id: "malformed", name: "Hide a header", about: "behind a broken line end", run: malformed },
  { id: "steal", name: "Search the page for secrets", about: "cookies, storage, memory, answers", run: steal },
  { id: "socket", name: "Open a websocket of its own", about: "the cookie goes along", run: ownSocket },
  { id: "foreign", name: "Connect from another site", about: "a page of another origin", run: foreignOrigin },
  { id: "replay", name: "Replay a ticket", about: "one that has leaked", run: replay },
];

async function malformed() {
  const answer = await fetch("/attack/malformed", { method: "POST" });
  if (!answer.ok) throw new Error((await answer.text()).trim());
  const { refusal } = await answer.json();
  return {
    title: "A header hidden behind a broken line end", heads: ["The web server sent", "nats-server", "The service received"], sent: ["to demo.whoami", "Color: red\\nSession: forged"],
    did: [refusal ? ["refused", refusal] : ["note", "let it through"]],
    verdict: refusal ? "refused" : "broken",
    plain: refusal
      ? "The lines are separated by a line feed alone. Some libraries would see one header, others two, so the server refuses the message. " +
        "A page’s client cannot send this: the demonstration’s web server did, on a connection of its own."
      : "The server let a message through that libraries read differently.",
  };
}

// places are where a script finds what a page holds. Each is a name and what was there.
const places = {
  "document.cookie": () => document.cookie,
  "cookieStore": async () => window.cookieStore ? JSON.stringify(await cookieStore.getAll()) : "",
  "localStorage": () => JSON.stringify({ ...localStorage }),
  "sessionStorage": () => JSON.stringify({ ...sessionStorage }),
  "indexedDB": async () => JSON.stringify(await indexedDB.databases?.() ?? []),
  "caches": async () => window.caches ? JSON.stringify(await caches.keys()) : "",
  "performance entries": () => JSON.stringify(performance.getEntries()),
  "headers of an answer": async () => JSON.stringify([...(await fetch(sessionPage())).headers]),
  "the page about the session": async () => (await fetch(sessionPage())).text(),
  "the page itself": () => document.documentElement.outerHTML,
  "the connection’s object": ({ connection }) => JSON.stringify(connection, keepAll()),
  "what the service answers": async ({ connection }) => JSON.stringify(await connection.request("demo.token", [])),
  "all of window": () => Object.getOwnPropertyNames(window).map((name) => { try { return String(window[name]); } catch { return ""; } }).join(" "),
};

const sessionPage = () => document.body.dataset.mode === "ticket" ? "/auth/session" : "/session";

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

async function steal(env) {
  window.loot = {}; // for whoever wants to look closer, in the console
  const looked = [], found = [];
  for (const [name, look] of Object.entries(places)) {
    let loot;
    try {
      loot = String(await look(env));
    } catch (err) {
      loot = err.message;
    }
    window.loot[name] = loot;
    // Only the web server knows the secrets.
    const answer = await fetch("/attack/search", { method: "POST", body: loot });
    if (!answer.ok) throw new Error((await answer.text()).trim());
    if ((await answer.json()).found) found.push(name);
    looked.push(name);
  }
  return {
    title: "A search for secrets", heads: ["The script looked in", "Why there is nothing"], sent: looked,
    did: [["note", "The session cookie is HttpOnly: the browser attaches it, and shows it to no script."],
      ["note", "Access tokens never come here: the server stamps them behind the page."]],
    verdict: found.length > 0 ? "broken" : "nothing",
    plain: found.length > 0 ? `A secret is in ${found.join(", ")}.`
      : `The script looked in ${looked.length} places. Neither the session id nor a token is in any of them, so there is nothing to steal.`,
  };
}

// ownSocket opens a websocket as a script would. The browser attaches the visitor's cookie.
async function ownSocket({ connection }) {
  const raw = new Raw(`_INBOX.${connection.user}`);
  const title = "A websocket of the script’s own", sent = ["opens a websocket", "CONNECT, without a token"];
  try {
    await raw.open();
  } catch (err) {
    return {
      title, sent, did: [["refused", err.message]], verdict: "refused",
      plain: "The browser attached the cookie, but no cookie opens a connection here. Only a one-time ticket does, and tickets go to the page’s worker alone.",
    };
  }
  try {
    const entry = await exchange({ user: connection.user, request: (...all) => raw.request(...all) }, {
      title, lines: [["X-User", "admin"]],
      plain: `In this setup the cookie opens connections. The script gains nothing: it is still ${connection.user}, and a logout closes this connection too.`,
    });
    return { ...entry, sent: [...sent, ...entry.sent] };
  } finally {
    raw.close();
  }
}

// foreignOrigin opens a websocket from a frame with an origin of its own.
async function foreignOrigin() {
  const frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "allow-scripts"); // without allow-same-origin
  frame.title = "A page of another origin";
  frame.src = "/foreign.html";
  frame.hidden = true;
  const answered = new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error("the other page does not answer")), 20_000);
    addEventListener("message", function listen({ source, data }) {
      if (source !== frame.contentWindow) return;
      clearTimeout(late);
      removeEventListener("message", listen);
      resolve(data.opened);
    });
  });
  document.body.append(frame);
  try {
    const opened = await answered;
    return {
      title: "A connection from another site", sent: ["opens a websocket from a frame of another origin"],
      did: [opened ? ["note", "let it in"] : ["refused", "Origin: null"]],
      verdict: opened ? "broken" : "refused",
      plain: opened ? "A page of another origin can connect."
        : "Browsers say which origin opens a websocket, and scripts cannot change that. The server takes connections of its own site alone.",
    };
  } finally {
    frame.remove();
  }
}

// replay asks for a ticket as a script would, and then uses the one that the worker connected with.
async function replay({ connection }) {
  const title = "A replayed ticket";
  if (document.body.dataset.mode !== "ticket") {
    return {
      title, verdict: "nothing", badge: "Not in this setup", heads: ["The page sent", "The server"], sent: ["no ticket"], did: [["note", "There are no tickets in this setup: the cookie opens connections."]],
      plain: "If npm is there, scripts/run builds the browser package, whose worker connects with one-time tickets. This button then replays one.",
    };
  }
  const asked = await fetch("/auth/ticket", { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" });
  const { ticket } = await (await fetch("/attack/ticket")).json();
  const did = [asked.ok ? ["note", "gave out a ticket"] : ["refused", `the request for a ticket: status ${asked.status}`]];
  const raw = new Raw(`_INBOX.${connection.user}`, { auth_token: ticket });
  let opened = true;
  try {
    await raw.open();
    raw.close();
    did.push(["note", "accepted the leaked ticket"]);
  } catch (err) {
    opened = false;
    did.push(["refused", `the leaked ticket: ${err.message}`]);
  }
  const broken = opened || asked.ok || !ticket;
  return {
    title, sent: ["asks for a ticket", "CONNECT, with a ticket that leaked"], did, verdict: broken ? "broken" : "refused",
    plain: broken ? "A script got a connection, or a ticket, or there was no ticket to replay."
      : "A ticket is good for one connection, and for the key of the worker that asked for it. That key cannot leave the worker, so even a ticket that leaks opens nothing.",
  };
}
