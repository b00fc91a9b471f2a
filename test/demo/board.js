// Shows what happened, message by message: what the page sent, what the server did, and what the
// service received.

const element = (id) => document.getElementById(id);

// make makes an element; children are elements and texts.
export function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const signs = {
  removed: { sign: "−", word: "removed" },
  stamped: { sign: "+", word: "wrote" },
  kept: { sign: "=", word: "left alone" },
  refused: { sign: "✕", word: "refused" },
  note: { sign: "•", word: "" },
};

const verdicts = { stamped: "Stamped", harmless: "Forgery removed", refused: "Refused", nothing: "Found nothing", event: "Session", failed: "Failed", broken: "This must not happen" };
const usualHeads = ["The page sent", "The server", "The service received"];
const maxEntries = 50;
let count = 0;

// show adds an entry in front: {title, verdict, badge, sent, did, received, heads, plain}. sent and received
// are lists of lines; did is a list of [kind, line], with a kind of signs. heads are the columns' titles, of
// which there may be two; badge is the verdict in words, and plain says what it all means.
export function show({ title, verdict, badge = verdicts[verdict], sent = [], did = [], received, heads = usualHeads, plain }) {
  const id = `entry-${++count}`;
  const entry = make("article", { class: "entry", "aria-labelledby": id, "data-verdict": verdict });
  entry.append(make("div", { class: "entry-head" },
    make("h3", { id }, make("span", { class: "number" }, `${count}`), ` ${title}`),
    make("span", { class: "badge" }, badge)));
  entry.append(make("p", { class: "plain" }, plain));
  if (sent.length + did.length > 0 || received) {
    const columns = [lines(sent), did.map(([kind, text]) => action(kind, text)), received ? lines(received) : [make("p", { class: "nothing" }, "nothing")]];
    entry.append(make("div", { class: "ways" }, ...heads.map((head, i) => column(head, columns[i]))));
  }
  element("empty").hidden = true;
  element("log").prepend(entry);
  while (element("log").children.length > maxEntries) element("log").lastChild.remove();
  element("news").textContent = `${title}: ${badge}. ${plain}`;
  return entry;
}

function column(title, content) {
  return make("div", { class: "way" }, make("h4", {}, title), ...content);
}

const lines = (texts) => [make("ul", { class: "lines" }, ...texts.map((text) => make("li", {}, make("code", {}, text))))];

function action(kind, text) {
  const { sign, word } = signs[kind];
  const row = make("p", { class: `action ${kind}` }, make("span", { class: "sign", "aria-hidden": "true" }, sign));
  const said = make("span");
  if (word) said.append(make("span", { class: "word" }, `${word} `));
  said.append(kind === "note" ? text : make("code", {}, text));
  row.append(said);
  return row;
}

// linesOf returns the headers that the service received as lines, in the order of their names.
export function linesOf(headers) {
  return Object.entries(headers).flatMap(([name, values]) => values.map((value) => `${name}: ${value}`)).sort();
}

// difference says what the server did to a message: the difference of what was sent and received.
export function difference(sent, received) {
  const left = [...received], removed = [], kept = [];
  for (const line of sent) {
    const at = left.indexOf(line);
    if (at >= 0) kept.push(["kept", ...left.splice(at, 1)]);
    else removed.push(["removed", line]);
  }
  return [...removed, ...left.map((line) => ["stamped", line]), ...kept];
}
