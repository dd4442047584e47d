// From the spans of a trace to the rows of its waterfall: pure functions, which Node runs too.

import { headersOf } from "./headers.js";

const MOST_ALIKE = 3; // of more sibling calls of one shape than these, all but the first are folded into one row

// The SDK writes an id as "0x4bf9...", the headers and our addresses without the 0x.
export const bare = (id) => id && id.replace(/^0x/, "");
export const idOf = (span) => bare(span.context.span_id);
export const kindOf = (span) => span.kind.replace("SpanKind.", "");
export const serviceOf = (span) => String(span.resource.attributes["service.name"]);
export const isError = (span) => span.status.status_code === "ERROR";
export const servicesOf = (spans) => [...new Set(spans.map(serviceOf))];

// Microseconds since 1970. Date.parse alone stops at milliseconds.
export function micros(time) {
  const fraction = time.match(/\.(\d{1,6})/)?.[1] ?? "";
  return Date.parse(time.replace(/\.\d+/, "")) * 1000 + Number(fraction.padEnd(6, "0"));
}

// The first moment of a trace and the last that is known of it, in microseconds.
export function extent(spans) {
  const times = spans.flatMap(({ start_time, end_time }) => [micros(start_time), micros(end_time ?? start_time)]);
  return { first: Math.min(...times), last: Math.max(...times) };
}

// A trace grows while a span is open, and while a donut that the kitchen has taken waits for the fryer.
export function isGrowing(spans) {
  const withChildren = new Set(spans.map((span) => span.parent_id));
  const isWaiting = ({ attributes, context }) => attributes["http.route"] === "/kitchen/add_donuts"
    && attributes["http.response.status_code"] === 200 && !withChildren.has(context.span_id);
  return spans.some((span) => span.end_time === null || isWaiting(span));
}

// The rows in call order, as they stand under each other; each holds all that is drawn of it. isOpen(key, byDefault)
// says whether the rows within a row are shown: by default they are, but for calls that are folded.
export function rows(spans, isOpen = (key, byDefault) => byDefault) {
  return [...siblingRows(tree(spans), { level: 1, parent: null, service: null, isOpen })];
}

function tree(spans) {
  const { first } = extent(spans);
  const nodes = new Map(spans.map((span) => [idOf(span), node(span, first)]));
  const roots = [];
  for (const each of [...nodes.values()].sort((a, b) => a.start - b.start)) {
    each.isOrphan = each.parentId !== null && !nodes.has(each.parentId);
    (nodes.get(each.parentId)?.children ?? roots).push(each);
  }
  return roots;
}

const node = (span, first) => ({
  id: idOf(span),
  parentId: bare(span.parent_id),
  span,
  kind: kindOf(span),
  service: serviceOf(span),
  start: micros(span.start_time) - first,
  end: span.end_time && micros(span.end_time) - first,
  children: [],
});

function* siblingRows(nodes, place) {
  for (const [first, ...others] of runs(nodes)) {
    yield* spanRows(first, place);
    if (others.length < MOST_ALIKE) for (const other of others) yield* spanRows(other, place);
    else yield* foldedRows(others, place);
  }
}

// Siblings in a row that have the same shape stand together.
function runs(nodes) {
  const found = [];
  for (const each of nodes) {
    const last = found.at(-1);
    if (last && shape(last[0]) === shape(each)) last.push(each);
    else found.push([each]);
  }
  return found;
}

const shape = (node) =>
  JSON.stringify([node.kind, node.span.name, node.service, reached(node)?.span.name, hasError(node)]);
const hasError = (node) => isError(node.span) || node.children.some(hasError);
const reached = (node) => node.kind === "CLIENT" ? node.children.find(({ kind }) => kind === "SERVER") : undefined;

function* spanRows(node, place) {
  const isExpanded = node.children.length ? place.isOpen(node.id, true) : null;
  yield spanRow(node, place, isExpanded);
  if (!isExpanded) return;
  const within = { ...place, level: place.level + 1, parent: node.id, service: node.service };
  if (reached(node)) yield hopRow(node, within);
  yield* siblingRows(node.children, within);
}

const spanRow = (node, { level, parent, service }, isExpanded) => ({
  type: "span", key: node.id, level, parent, isExpanded,
  name: node.span.name,
  kind: node.kind,
  service: node.service,
  isOtherService: node.service !== service,
  start: node.start,
  end: node.end,
  error: isError(node.span) ? node.span.attributes["error.type"] ?? "error" : null,
  note: node.isOrphan ? orphanNote(node) : null,
});

function orphanNote({ parentId, kind }) {
  return `parent ${parentId} is not here${kind === "SERVER" ? ": the caller’s own span" : ""}`;
}

// What crossed from a CLIENT span to the SERVER span that it reached.
const hopRow = (client, { level, parent }) => ({
  type: "hop", key: `${client.id}/hop`, level, parent, isExpanded: null,
  client: client.id,
  headers: headersOf(client.span),
});

function* foldedRows(nodes, place) {
  const key = `${nodes[0].id}/more`;
  const isExpanded = place.isOpen(key, false);
  const [{ kind, service, start, span: { name } }] = nodes;
  yield { type: "more", key, level: place.level, parent: place.parent, isExpanded, name, kind, service, start,
          count: nodes.length, end: endOf(nodes), error: hasError(nodes[0]) ? "error" : null };
  const within = { ...place, level: place.level + 1, parent: key };
  if (isExpanded) for (const each of nodes) yield* spanRows(each, within);
}

// When the last of these and their children ended; null if one has not.
function endOf(nodes) {
  const ends = nodes.flatMap((node) => [node.end, ...(node.children.length ? [endOf(node.children)] : [])]);
  return ends.includes(null) ? null : Math.max(...ends);
}

// The rows around a row, from the inside out: those that must be open for it to be seen.
export function around(allRows, key) {
  const parent = allRows.find((row) => row.key === key)?.parent;
  return parent ? [parent, ...around(allRows, parent)] : [];
}

// Where an arrow, Home or End leads from a row: the key of another, or of this one.
export function destination(allRows, from, arrow) {
  const at = allRows.findIndex(({ key }) => key === from);
  const parent = allRows.findIndex(({ key }) => key === allRows[at].parent);
  const child = allRows[at].isExpanded ? at + 1 : at;
  const indexes = { ArrowUp: at - 1, ArrowDown: at + 1, ArrowLeft: parent, ArrowRight: child,
                    Home: 0, End: allRows.length - 1 };
  return allRows[indexes[arrow]]?.key ?? from;
}

// 350 µs, 9.14 ms, 1.4 s
export function inWords(time) {
  const [unit, size] = time < 1000 ? ["µs", 1] : time < 999_500 ? ["ms", 1000] : ["s", 1_000_000];
  return `${Number((time / size).toPrecision(3))} ${unit}`;
}

// The distance between the ticks of an axis: 1, 2 or 5 of something, so that there are at most six.
export function tickStep(total) {
  const power = 10 ** Math.floor(Math.log10(total / 5));
  return power * [1, 2, 5, 10].find((times) => times * power * 5 >= total);
}
