// From the spans of a trace to the rows of its waterfall: pure functions, which Node runs too.

import { bare, crossingOf, extent, idOf, isError, kindOf, micros, serviceOf, threadOf } from "./facts.js";
import { headersOf } from "./headers.js";

const MOST_ALIKE = 3; // of more sibling calls of one shape than these, all but the first are folded into one row

// The rows in call order, one below the other; each holds all that is drawn of it. isOpen(key, byDefault) says whether
// the rows within a row are shown: by default they are, but for calls that are folded. `sender` is the id of the span
// that this page claimed to have when it sent the request, if it did.
export function rows(spans, isOpen = (key, byDefault) => byDefault, sender = null) {
  const roots = tree(spans);
  const top = { level: 1, parent: null, service: null, thread: null, isOpen };
  const received = sender && roots.find(({ parentId }) => parentId === sender);
  if (received) received.isFromPage = true;
  return [...(received ? [senderRow(received)] : []), ...siblingRows(roots, top)];
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
  thread: threadOf(span),
  start: micros(span.start_time) - first,
  end: span.end_time && micros(span.end_time) - first,
  isFromPage: false,
  children: [],
});

// `position` is where these siblings are in the tree, and what their parent was: { level, parent, service, thread }.
function* siblingRows(nodes, position) {
  for (const [first, ...others] of runs(nodes)) {
    yield* spanRows(first, position);
    if (others.length < MOST_ALIKE) for (const other of others) yield* spanRows(other, position);
    else yield* foldedRows(others, position);
  }
}

// Neighbours of the same shape are one run.
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

function* spanRows(node, position) {
  const isExpanded = node.children.length ? position.isOpen(node.id, true) : null;
  yield spanRow(node, position, isExpanded);
  if (!isExpanded) return;
  const { level, isOpen } = position;
  const within = { level: level + 1, parent: node.id, service: node.service, thread: node.thread, isOpen };
  if (reached(node)) yield hopRow(node, within);
  yield* siblingRows(node.children, within);
}

const spanRow = (node, { level, parent, service, thread }, isExpanded) => ({
  type: "span", key: node.id, level, parent, isExpanded,
  name: node.span.name,
  kind: node.kind,
  crossing: crossingOf(node.span),
  service: node.service,
  isOtherService: node.service !== service,
  otherThread: thread && node.thread && !isSameThread(thread, node.thread) ? node.thread.name : null,
  start: node.start,
  end: node.end,
  error: isError(node.span) ? node.span.attributes["error.type"] ?? "error" : null,
  note: node.isOrphan && !node.isFromPage ? orphanNote(node) : null,
});

// Two processes may have threads of the same id; the names of those tell them apart.
const isSameThread = (one, other) => one.id === other.id && one.name === other.name;

function orphanNote({ parentId, kind }) {
  return `parent ${parentId} is not here${kind === "SERVER" ? ": it is the caller’s own span" : ""}`;
}

// The headers that crossed from a CLIENT span to the SERVER span that it reached.
const hopRow = (client, { level, parent }) => ({
  type: "hop", key: `${client.id}/hop`, level, parent, isExpanded: null,
  client: client.id,
  headers: headersOf(client.span),
});

// The span that this page claimed as its own. Nobody recorded it, so the row is drawn without a time.
const senderRow = (root) => ({
  type: "sender", key: `${root.id}/sender`, level: 1, parent: null, isExpanded: null,
  spanId: root.parentId,
  headers: headersOf(root.span),
});

function* foldedRows(nodes, position) {
  const key = `${nodes[0].id}/more`;
  const isExpanded = position.isOpen(key, false);
  const [{ kind, service, start, span: { name } }] = nodes;
  yield { type: "more", key, level: position.level, parent: position.parent, isExpanded, name, kind, service, start,
          count: nodes.length, end: endOf(nodes), error: hasError(nodes[0]) ? "error" : null };
  const within = { ...position, level: position.level + 1, parent: key };
  if (isExpanded) for (const each of nodes) yield* spanRows(each, within);
}

// When the last of these and their children ended; null if one has not.
function endOf(nodes) {
  const ends = nodes.flatMap((node) => [node.end, ...(node.children.length ? [endOf(node.children)] : [])]);
  return ends.includes(null) ? null : Math.max(...ends);
}
