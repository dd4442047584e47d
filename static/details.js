// Draws the details of one row under the waterfall: what is known of a span, or what crossed between two of them.

import { getSource, getTrace, getTraces } from "./api.js";
import { grouped } from "./attributes.js";
import { commandBox } from "./command.js";
import { commandFor } from "./curl.js";
import { fact, failure, headerLine, partList } from "./decoded.js";
import { bare, extent, idOf, inWords, kindOf, micros, serviceOf, threadOf } from "./facts.js";
import { headersOf } from "./headers.js";
import { byId, make, say } from "./page.js";
import { functionAround } from "./source.js";

let drawn = ""; // what is shown, in JSON: the same is not drawn again, so that nobody loses their place in it

// `part` says which row of this span was chosen: "" is the span itself, "hop" what crossed from it, and "sender" what
// it received from this page.
export function drawDetails(span, part, spans) {
  const { first } = extent(spans);
  const parent = spans.find((each) => each.context.span_id === span?.parent_id);
  const receiver = part === "hop" && spans.find((each) => each.parent_id === span?.context.span_id);
  const facts = JSON.stringify([span, part, first, parent?.name, receiver?.name]);
  if (facts === drawn) return;
  drawn = facts;
  byId("span").hidden = !span;
  if (!span) return;
  const crossing = crossingFacts(span, part, receiver);
  say("span-title", crossing ? "What crossed" : `${kindOf(span)} ${span.name}`);
  fill("facts", crossing ?? spanFacts(span, parent, first));
  fill("wire", wireOf(span));
  fill("repeat", kindOf(span) === "SERVER" ? repeatOf(span, spans) : []);
  fill("links", crossing ? [] : linksOf(span));
  fill("attributes", crossing ? [] : attributesOf(span, first));
  drawCode(span, () => facts === drawn);
  if (span.name === "order") drawPolls(span, () => facts === drawn);
}

const fill = (id, content) => byId(id).replaceChildren(...content);
const listOf = (items) => make("ul", {}, ...items.map((item) => make("li", {}, item)));
const linkTo = (context, text) => make("a", { href: `#${bare(context.trace_id)}/${bare(context.span_id)}` }, text);
const linkToSpan = (span) => linkTo(span.context, `${kindOf(span)} ${span.name}`);
const after = (time, first) => `after ${inWords(micros(time) - first)}`;

// Who sent the headers and who received them; null if a span itself is shown.
function crossingFacts(span, part, receiver) {
  if (receiver) return [fact("Sent by", linkToSpan(span)), fact("Received by", linkToSpan(receiver))];
  if (part !== "sender") return null;
  const sender = `span ${bare(span.parent_id)}, which is not in this shop’s store`;
  return [fact("Sent by", sender), fact("Received by", linkToSpan(span))];
}

function spanFacts(span, parent, first) {
  const parentId = parent ? linkTo(parent.context, idOf(parent)) : bare(span.parent_id);
  return [
    fact("Service", serviceOf(span)),
    fact("Thread", threadOf(span)?.name ?? "not known"),
    fact("Span id", make("code", {}, idOf(span))),
    fact("Parent id", parentId ? make("code", {}, parentId) : "none: the trace begins here"),
    fact("Began", after(span.start_time, first)),
    fact("Took", span.end_time ? inWords(micros(span.end_time) - micros(span.start_time)) : "still open"),
    fact("Status", `${span.status.status_code} ${span.status.description ?? ""}`),
  ];
}

const WIRE = {
  CLIENT: { title: "Sent: the headers that inject wrote", same: " = this CLIENT span’s own id" },
  SERVER: { title: "Received: the headers that extract read", same: " = the id of this span’s parent" },
};

function wireOf(span) {
  const headers = headersOf(span);
  if (!headers.length) return [];
  const kind = kindOf(span);
  const sender = kind === "CLIENT" ? idOf(span) : bare(span.parent_id);
  const { title, same } = WIRE[kind];
  return [make("h4", {}, title), ...headers.flatMap((header) => headerParts(header, sender, same))];
}

const headerParts = (header, sender, same) => [
  make("p", {}, headerLine(header, sender), header.wrong && failure(header.wrong)),
  partList(header, sender, same),
];

function repeatOf(span, spans) {
  const box = commandBox();
  box.show(commandFor(span, spans, location.origin));
  return [make("h4", {}, "Send this request again, from a terminal"), box.element];
}

function linksOf({ links }) {
  if (!links.length) return [];
  const words = ({ span_id, trace_id }) => `span ${bare(span_id)} of trace ${bare(trace_id)}`;
  return [make("h4", {}, "Links to"), listOf(links.map(({ context }) => linkTo(context, words(context))))];
}

// A link is stored on the span that it leads from: each status check is asked whether it leads to this order.
async function drawPolls(order, isStillShown) {
  const checks = (await getTraces()).filter(({ first }) => first.name === "POST /status");
  const traces = await Promise.all(checks.map(({ trace_id }) => getTrace(trace_id).catch(() => ({ spans: [] }))));
  const isLinked = ({ links }) => links.some(({ context }) => context.span_id === order.context.span_id);
  const linked = traces.flatMap(({ spans }) => spans).filter(isLinked);
  const words = ({ name, start_time }) => `${name} at ${new Date(start_time).toLocaleTimeString()}`;
  if (!linked.length || !isStillShown()) return;
  fill("links", [make("h4", {}, "Linked from"), listOf(linked.map((span) => linkTo(span.context, words(span))))]);
}

function attributesOf(span, first) {
  const inEvents = span.events.map((event) => ({
    title: `Event: ${event.name}, ${after(event.timestamp, first)}`,
    attributes: Object.entries(event.attributes).map(([name, value]) => ({ name, value, level: null })),
  }));
  return [...inEvents, ...grouped(span.attributes, kindOf(span))].map(groupOf);
}

function groupOf({ title, attributes }) {
  const facts = attributes.map(({ name, value, level }) =>
    fact(make("code", {}, name), String(value), level && make("span", { class: "level" }, level)));
  return make("section", {}, make("h4", {}, title), make("dl", {}, ...facts));
}

async function drawCode({ attributes }, isStillShown) {
  const file = String(attributes["code.file.path"]).split("/").at(-1);
  const number = attributes["code.line.number"];
  say("code-title", `${attributes["code.function.name"]}: ${file}, line ${number}`);
  const lines = functionAround(await getSource(file), number);
  if (!isStillShown()) return;
  fill("code", lines.length ? lines.map((line) => codeLine(line, line.number === number)) : [NO_CODE]);
}

const NO_CODE = "This shop does not have the code that started this span.";

const codeLine = ({ number, text, isComment }, isMarked) => make("span", {
  "data-line": number,
  "data-marked": isMarked ? "" : null,
  "class": isComment ? "comment" : /propagate\.(inject|extract)\(/.test(text) ? "crossing" : null,
}, `${text}\n`);
