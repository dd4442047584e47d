// A request as a curl command for a POSIX shell, and the box that shows it.

import { headerValues } from "./facts.js";
import { NAMES } from "./headers.js";
import { make } from "./page.js";

// The command for { method, url, headers: [[name, value], ...], body }, where body is a text or null.
export function curlCommand({ method, url, headers, body }) {
  const lines = [`curl -X ${quoted(method)} ${quoted(url)}`];
  // curl takes "name:" for a header that it shall not send, and "name;" for an empty one.
  for (const [name, value] of headers) lines.push(`-H ${quoted(value ? `${name}: ${value}` : `${name};`)}`);
  if (body !== null) lines.push(`-d ${quoted(body)}`);
  return lines.join(" \\\n  ");
}

// One word of a shell: in single quotes only the single quote is special.
export const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

// The command that sends to a shop again the request that a SERVER span received. `origin` is where this page is from.
export function commandFor({ attributes, ...span }, spans, origin) {
  const method = attributes["http.request.method"];
  const query = attributes["url.query"] ? `?${attributes["url.query"]}` : "";
  const headers = NAMES.flatMap((name) => headerValues({ attributes, ...span }, name).map((value) => [name, value]));
  const url = `${serverOf(attributes) ?? origin}${attributes["url.path"]}${query}`;
  return curlCommand({ method, url, headers, body: method === "POST" ? exampleBody(attributes, spans) : null });
}

function serverOf({ "server.address": address, "server.port": port }) {
  if (!address) return null;
  return `http://${address.includes(":") ? `[${address}]` : address}:${port}`;
}

// The body that came is not on the span: this one is an example, with the order that the trace is about.
function exampleBody(attributes, spans) {
  const order_id = spans.map((span) => span.attributes["microdonuts.order.id"]).find(Boolean) ?? "unknown";
  const bodies = {
    "/order": { donuts: [{ flavor: "glazed", quantity: 1 }] },
    "/status": { order_id },
    "/kitchen/add_donuts": { order_id, flavor: "glazed" },
  };
  return JSON.stringify(bodies[attributes["http.route"]] ?? {});
}

// Put a command into a place, and a button that copies it.
export function drawCommand(place, command) {
  const button = make("button", { type: "button" }, "Copy as curl");
  const note = make("span", { role: "status" });
  const text = make("code", {}, command);
  button.addEventListener("click", async () => {
    note.textContent = await copied(text);
  });
  const box = make("pre", { class: "command", tabindex: 0, role: "region", "aria-label": "The command" }, text);
  place.replaceChildren(make("p", { class: "actions" }, button, note), box);
}

// A page that is neither on a loopback address nor on HTTPS has no clipboard.
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text.textContent);
    return "Copied.";
  } catch {
    getSelection().selectAllChildren(text);
    return "This browser gives the page no clipboard: the command is selected, copy it with the keyboard.";
  }
}
