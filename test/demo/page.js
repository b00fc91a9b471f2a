"use strict";

// The few words of the NATS protocol that one request needs, so that the page
// loads nothing from elsewhere. Use nats.js in an application.
const size = (text) => new TextEncoder().encode(text).length; // in bytes

function request(url, inbox, headers) {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(url);
    const decoder = new TextDecoder();
    let input = "";
    const settle = (f, value) => { ws.onclose = null; ws.close(); clearTimeout(timer); f(value); };
    const timer = setTimeout(() => settle(reject, new Error("no answer")), 10000);
    ws.binaryType = "arraybuffer";
    ws.onclose = () => settle(reject, new Error("the connection was refused"));
    ws.onmessage = ({ data }) => {
      input += decoder.decode(data, { stream: true });
      for (let end; (end = input.indexOf("\r\n")) >= 0;) {
        const line = input.slice(0, end);
        if (line.startsWith("INFO ")) {
          const block = "NATS/1.0\r\n" + headers.map((h) => h + "\r\n").join("") + "\r\n";
          ws.send('CONNECT {"verbose":false,"pedantic":false,"headers":true,"protocol":1,"lang":"page","version":"0"}\r\n' +
            `SUB ${inbox} 1\r\nHPUB demo.whoami ${inbox} ${size(block)} ${size(block)}\r\n${block}\r\n`);
        } else if (line === "PING") {
          ws.send("PONG\r\n");
        } else if (line.startsWith("-ERR")) {
          return settle(reject, new Error(line));
        } else if (line.startsWith("MSG ")) {
          const rest = input.slice(end + 2);
          if (!rest.includes("\r\n")) return; // the rest of the payload, one line of JSON, is to come
          return settle(resolve, JSON.parse(rest.slice(0, rest.indexOf("\r\n"))));
        }
        input = input.slice(end + 2);
      }
    };
  });
}

const element = (id) => document.getElementById(id);
const show = (text) => { element("out").textContent = text; };
const showCookie = () => { element("cookie").textContent = JSON.stringify(document.cookie); };

async function ask(event) {
  event.preventDefault();
  try {
    const answer = await fetch("/session");
    if (!answer.ok) throw new Error("not logged in: " + (await answer.text()));
    const { user, websocket_port } = await answer.json();
    const headers = element("ask").headers.value.split("\n").filter((line) => line.trim() !== "");
    const inbox = `_INBOX.${user}.${crypto.randomUUID().replaceAll("-", "")}`;
    const got = await request(`ws://${location.hostname}:${websocket_port}`, inbox, headers);
    const lines = Object.entries(got.headers).flatMap(([name, values]) => values.map((value) => `${name}: ${value}`));
    show(`${lines.join("\n")}\n\nso you are ${got.user || "anonymous"}`);
  } catch (err) {
    show(err.message);
  }
}

async function post(path, body) {
  const answer = await fetch(path, { method: "POST", body });
  show(answer.ok ? "" : await answer.text());
  showCookie();
}

element("login").addEventListener("submit", (event) => {
  event.preventDefault();
  post("/login", new URLSearchParams(new FormData(element("login"))));
});
element("logout").addEventListener("click", () => post("/logout"));
element("ask").addEventListener("submit", ask);
showCookie();
