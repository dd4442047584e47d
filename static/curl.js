// A request as a curl command for a POSIX shell: pure functions, which Node runs too.

import { headerValues } from "./facts.js";
import { NAMES } from "./headers.js";

// The command for { method, url, headers: [[name, value], ...], body }, where body is a text or null.
export function curlCommand({ method, url, headers, body }) {
  const lines = [["curl", ...optionsFor(method, url, body), quoted(url)].join(" ")];
  for (const [name, value] of headers) lines.push(`-H ${quoted(headerLine(name, value))}`);
  if (body !== null) lines.push(`-d ${quoted(body)}`);
  return lines.join(" \\\n  ");
}

// curl makes a POST of -d, and a GET otherwise. It reads brackets in a URL as lists, and resolves the dots in a path.
function optionsFor(method, url, body) {
  const options = [];
  if (method === "HEAD") options.push("-I");
  else if (method !== (body === null ? "GET" : "POST")) options.push("-X", quoted(method));
  if (/[[\]{}]/.test(url)) options.push("-g");
  if (/\/\./.test(url)) options.push("--path-as-is");
  return options;
}

// curl takes "name:" for a header that it shall not send, and "name;" for an empty one.
const headerLine = (name, value) => value ? `${name}: ${value}` : `${name};`;

// One word of a shell, whatever it holds. In single quotes only the single quote is special. Characters that are not
// printable ASCII are written as bytes by printf, because a terminal could change them or act on them.
export function quoted(text) {
  if (/^[ -~]*$/.test(text)) return `'${text.replaceAll("'", `'\\''`)}'`;
  const format = text.replace(/[\\%]/g, "$&$&").replace(/'/g, "\\047").replace(/[^ -~]/g, octal);
  return `"$(printf '${format}')"`;
}

// An HTTP header has one byte for each of the characters up to U+00FF.
function octal(character) {
  const code = character.codePointAt(0);
  return code > 0xff ? character : `\\${code.toString(8).padStart(3, "0")}`;
}

// The command that sends to a shop again the request that a SERVER span received. `origin` is where this page is from.
export function commandFor(span, spans, origin) {
  const { attributes } = span;
  const method = String(attributes["http.request.method"]);
  const query = attributes["url.query"] ? `?${attributes["url.query"]}` : "";
  const headers = NAMES.flatMap((name) => headerValues(span, name).map((value) => [name, value]));
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
    "/kitchen/add_donuts": { order_id, flavor: "glazed", quantity: 1 },
  };
  return JSON.stringify(bodies[attributes["http.route"]] ?? {});
}
