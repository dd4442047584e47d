// Draws what is known of one span, or of one hop, under the waterfall.

import { getSource, getTrace, getTraces } from "./api.js";
import { grouped } from "./attributes.js";
import { headersOf } from "./headers.js";
import { byId, make, say } from "./page.js";
import { bare, extent, idOf, inWords, isError, kindOf, micros, serviceOf } from "./rows.js";
import { functionAround } from "./source.js";
import { headerLine } from "./waterfall.js";

let drawn = ""; // what the panel shows, in JSON: the same is not drawn again, so that nobody loses their place in it

// A hop is shown with the CLIENT span that it starts from.
export function drawSpan(span, isHop, spans) {
  const { first } = extent(spans);
  const parent = spans.find((each) => each.context.span_id === span?.parent_id);
  const receiver = isHop && spans.find((each) => each.parent_id === span?.context.span_id);
  const facts = JSON.stringify([span, isHop, first, parent?.name, receiver?.name]);
  if (facts === drawn) return;
  drawn = facts;
  byId("span").hidden = !span;
  if (!span) return;
  say("span-title", receiver ? "What crossed" : `${kindOf(span)} ${span.name}`);
  fill("facts", receiver ? hopFacts(span, receiver) : spanFacts(span, parent, first));
  fill("wire", wireOf(span));
  fill("links", receiver ? [] : linksOf(span));
  fill("attributes", receiver ? [] : attributesOf(span, first));
  drawCode(span, () => facts === drawn);
  if (span.name === "order") drawPolls(span, () => facts === drawn);
}

const fill = (id, content) => byId(id).replaceChildren(...content);
const fact = (name, ...value) => make("div", {}, make("dt", {}, name), make("dd", {}, ...value));
const listOf = (items) => make("ul", {}, ...items.map((item) => make("li", {}, item)));
const linkTo = (context, text) => make("a", { href: `#${bare(context.trace_id)}/${bare(context.span_id)}` }, text);
const linkToSpan = (span) => linkTo(span.context, `${kindOf(span)} ${span.name}`);
const after = (time, first) => `after ${inWords(micros(time) - first)}`;

const hopFacts = (client, server) => [
  fact("Sent by", linkToSpan(client)),
  fact("Received by", linkToSpan(server)),
];

function spanFacts(span, parent, first) {
  const parentId = parent ? linkTo(parent.context, idOf(parent)) : bare(span.parent_id);
  return [
    fact("Service", serviceOf(span)),
    fact("Span id", make("code", {}, idOf(span))),
    fact("Parent id", parentId ? make("code", {}, parentId) : "none: the trace begins here"),
    fact("Began", after(span.start_time, first)),
    fact("Took", span.end_time ? inWords(micros(span.end_time) - micros(span.start_time)) : "still open"),
    fact("Status", `${span.status.status_code} ${span.status.description ?? ""}`),
  ];
}

const WIRE = {
  CLIENT: { title: "Sent: what inject wrote into the request", same: " = this CLIENT span’s own id" },
  SERVER: { title: "Received: what extract found in the request", same: " = the id of this span’s parent" },
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
  make("p", {}, headerLine(header, sender), header.wrong && failed(header.wrong)),
  make("dl", { class: "parts" }, ...header.parts.map((part) => partOf(part, part.value === sender ? same : null))),
];

function partOf({ part, label, value, means, wrong, bits = [] }, same) {
  return fact(label,
    make("code", { "data-part": part, class: same && "sender" }, value || "nothing"),
    same && make("b", {}, same),
    make("span", { class: "means" }, means),
    wrong && failed(wrong),
    ...bits.map(bitOf));
}

const bitOf = ({ name, bits, means }) =>
  make("span", { class: "bit", "data-bit": name }, make("code", {}, bits), ` ${name}: ${means}`);
const failed = (sentence) => make("span", { class: "failed" }, sentence);

function linksOf({ links }) {
  if (!links.length) return [];
  const words = ({ span_id, trace_id }) => `span ${bare(span_id)} of trace ${bare(trace_id)}`;
  return [make("h4", {}, "Links to"), listOf(links.map(({ context }) => linkTo(context, words(context))))];
}

// A link stands on the span that it leads from: each status check is asked whether it leads to this order.
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
