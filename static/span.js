// Draws what is known of one span, or of one hop, under the waterfall.

import { getSource, getTrace, getTraces } from "./api.js";
import { grouped } from "./attributes.js";
import { headersOf } from "./headers.js";
import { byId, make, say } from "./page.js";
import { bare, idOf, inWords, isError, kindOf, micros, serviceOf } from "./rows.js";
import { functionAround } from "./source.js";
import { headerLine } from "./waterfall.js";

let drawn = ""; // what the panel shows, in JSON: the same is not drawn again, so that nobody loses their place in it

export function drawSpan(span, isHop, first) {
  const facts = JSON.stringify([span, isHop, first]);
  if (facts === drawn) return;
  drawn = facts;
  byId("span").hidden = !span;
  if (!span) return;
  const title = isHop ? `What crossed from this ${span.name}` : `${kindOf(span)} ${span.name}`;
  say("span-title", title);
  byId("facts").replaceChildren(...(isHop ? [] : factsOf(span, first)));
  byId("wire").replaceChildren(...wireOf(span, isHop));
  byId("links").replaceChildren(...(isHop ? [] : linksOf(span)));
  byId("attributes").replaceChildren(...(isHop ? [] : attributesOf(span, first)));
  drawCode(span, () => facts === drawn);
  if (span.name === "order" && !isHop) drawPolls(span, () => facts === drawn);
}

const fact = (name, ...value) => make("div", {}, make("dt", {}, name), make("dd", {}, ...value));
const toSpan = (context, text) => make("a", { href: `#${bare(context.trace_id)}/${bare(context.span_id)}` }, text);
const after = (time, first) => inWords(micros(time) - first);

function factsOf(span, first) {
  const parent = bare(span.parent_id);
  return [
    fact("Service", serviceOf(span)),
    fact("Span id", make("code", {}, idOf(span))),
    fact("Parent id", parent ? make("code", {}, toSpan({ ...span.context, span_id: parent }, parent)) : "none: the trace begins here"),
    fact("Began", `after ${after(span.start_time, first)}`),
    fact("Took", span.end_time ? inWords(micros(span.end_time) - micros(span.start_time)) : "still open"),
    fact("Status", isError(span) ? `ERROR ${span.status.description ?? ""}` : span.status.status_code),
  ];
}

const WIRE_TITLES = { CLIENT: "Sent: what inject wrote into the request", SERVER: "Received: what extract read from the request" };

function wireOf(span, isHop) {
  const headers = headersOf(span);
  if (!headers.length) return [];
  const sender = kindOf(span) === "CLIENT" ? idOf(span) : bare(span.parent_id);
  const title = isHop ? "The headers, as inject wrote them and extract read them" : WIRE_TITLES[kindOf(span)];
  return [make("h4", {}, title), ...headers.flatMap((header) => headerParts(header, sender))];
}

function headerParts(header, sender) {
  return [
    make("p", {}, headerLine(header, sender)),
    header.wrong && make("p", { class: "failed" }, header.wrong),
    make("dl", { class: "parts" }, ...header.parts.map((part) => partOf(part, sender))),
  ].filter(Boolean);
}

function partOf({ label, value, means, wrong, bits = [] }, sender) {
  const isSender = value === sender;
  return fact(label,
    make("code", { class: isSender ? "sender" : null }, value || "nothing"),
    isSender ? make("b", {}, " = the CLIENT span’s id") : null,
    make("span", { class: "means" }, means),
    wrong && make("span", { class: "failed" }, wrong),
    ...bits.map((bit) => make("span", { class: "bit" }, make("code", {}, bit.bits), ` ${bit.name}: ${bit.means}`)));
}

function linksOf({ links }) {
  if (!links.length) return [];
  return [make("h4", {}, "Links"), listOf(links.map(({ context }) => toSpan(context, `span ${bare(context.span_id)} of trace ${bare(context.trace_id)}`)))];
}

const listOf = (items) => make("ul", {}, ...items.map((item) => make("li", {}, item)));

// A link stands on the span that it leads from, and so each poll is asked where it leads.
async function drawPolls(order, isStillShown) {
  const polls = (await getTraces()).filter(({ first }) => first.name === "POST /status");
  const traces = await Promise.all(polls.map(({ trace_id }) => getTrace(trace_id)));
  const linking = traces.flatMap(({ spans }) => spans).filter(({ links }) => links.some(({ context }) => context.span_id === order.context.span_id));
  if (!linking.length || !isStillShown()) return;
  byId("links").replaceChildren(make("h4", {}, "Linked from"), listOf(linking.map((span) => toSpan(span.context, `${span.name} at ${span.start_time}`))));
}

function attributesOf(span, first) {
  const groups = grouped(span.attributes, kindOf(span)).map(({ title, attributes }) => group(title, attributes));
  const events = span.events.map(({ name, timestamp, attributes }) =>
    group(`Event: ${name} after ${after(timestamp, first)}`, grouped(attributes).flatMap((each) => each.attributes)));
  return [...events, ...groups];
}

function group(title, attributes) {
  const facts = attributes.map(({ name, value, level }) =>
    fact(make("code", {}, name), String(value), level && make("span", { class: "level" }, level)));
  return make("section", {}, make("h4", {}, title), make("dl", {}, ...facts));
}

async function drawCode({ attributes }, isStillShown) {
  const path = String(attributes["code.file.path"] ?? "");
  const file = path.slice(path.lastIndexOf("/") + 1);
  const marked = attributes["code.line.number"];
  say("code-title", `${attributes["code.function.name"]}: ${file}, line ${marked}`);
  const lines = functionAround(await getSource(file), marked);
  if (!isStillShown()) return;
  byId("code").replaceChildren(...lines.map(({ number, text }) => codeLine(number, text, number === marked)));
}

const codeLine = (number, text, isMarked) => make("span", {
  "data-line": number,
  "data-marked": isMarked ? "" : null,
  "class": /^\s*#/.test(text) ? "comment" : /propagate\.(inject|extract)\(/.test(text) ? "crossing" : null,
}, `${text}\n`);
