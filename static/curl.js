// A request as a curl command for a POSIX shell, and the box that shows it.

import { headerValues } from "./facts.js";
import { NAMES } from "./headers.js";
import { make } from "./page.js";

// `headers` are [[name, value], ...], and `body` is a text or null.
export function curlCommand(method, url, headers, body) {
  const lines = [`curl -X ${quoted(method)} ${quoted(url)}`];
  // curl takes "name:" for a header that it shall not send, and "name;" for an empty one.
  for (const [name, value] of headers) lines.push(`-H ${quoted(value ? `${name}: ${value}` : `${name};`)}`);
  if (body !== null) lines.push(`-d ${quoted(body)}`);
  return lines.join(" \\\n  ");
}

// One word of a shell: in single quotes only the single quote is special.
export const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

// The command that sends to a shop again the request that a SERVER span received. `origin` is where this page is from.
export function commandFor(span, spans, origin) {
  const { "http.request.method": method, "url.path": path, "url.query": query } = span.attributes;
  const { "server.address": address, "server.port": port } = span.attributes;
  const headers = NAMES.flatMap((name) => headerValues(span, name).map((value) => [name, value]));
  const server = address ? `http://${address.includes(":") ? `[${address}]` : address}:${port}` : origin;
  const url = `${server}${path}${query ? `?${query}` : ""}`;
  return curlCommand(method, url, headers, method === "POST" ? exampleBody(span.attributes, spans) : null);
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

// A command, and a button that copies it. Where the browser gives the page no clipboard, since it is neither on a
// loopback address nor on HTTPS, the command is selected.
export function commandBox(command) {
  const button = make("button", { type: "button" }, "Copy as curl");
  const note = make("span", { role: "status" });
  const text = make("code", {}, command);
  button.addEventListener("click", async () => {
    getSelection().selectAllChildren(text);
    await navigator.clipboard?.writeText(command);
    note.textContent = navigator.clipboard ? "Copied." : "Selected: copy it with the keyboard.";
  });
  const box = make("pre", { class: "command", tabindex: 0, role: "region", "aria-label": "The command" }, text);
  return [make("p", { class: "actions" }, button, note), box];
}
