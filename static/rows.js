// From the spans of a trace to the rows of its waterfall: pure functions, which Node runs too.

import { bare, crossingOf, durationOf, extent, idOf, isBackwards, isError, isOpen, isTaken, kindOf, micros, serviceOf,
         threadOf } from "./facts.js";
import { headersOf } from "./headers.js";

// The rows in call order, one below the other; each holds all that is drawn of it. `sender` is the id of the span
// that this page claimed to have when it sent the request, if it did.
export function rows(spans, sender = null) {
  const { first } = extent(spans);
  return treeOf(spans).flatMap((root) => [
    ...(sender !== null && root.parentId === sender ? [senderRow(root)] : []),
    ...rowsOf(root, { level: 1, service: null, thread: null }, first, sender),
  ]);
}

// The roots, each with its children, in the order in which they began.
function treeOf(spans) {
  const ordered = spans.map(nodeOf).sort((a, b) => a.start - b.start);
  const nodes = new Map(ordered.map((node) => [node.id, node]));
  for (const node of ordered) nodes.get(node.parentId)?.children.push(node);
  const roots = ordered.filter(({ parentId }) => !nodes.has(parentId));
  for (const node of roots) markReached(node);
  // Spans that are each other's parents lead to no root: the first of them becomes one.
  for (const node of ordered.filter(({ isReached }) => !isReached)) {
    if (node.isReached) continue;
    node.isInCircle = true;
    const siblings = nodes.get(node.parentId).children;
    siblings.splice(siblings.indexOf(node), 1);
    roots.push(node);
    markReached(node);
  }
  return roots;
}

const nodeOf = (span) =>
  ({ id: idOf(span), parentId: bare(span.parent_id), span, start: micros(span.start_time), children: [], isReached: false });

function markReached(node) {
  node.isReached = true;
  node.children.forEach(markReached);
}

// `above` is what the row above is like: { level, service, thread }.
function rowsOf(node, above, first, sender) {
  const { span, children, id } = node;
  const within = { level: above.level + 1, service: serviceOf(span), thread: threadOf(span) };
  const found = [spanRow(node, above, first, sender)];
  if (crossingOf(span) === "sent") found.push(hopRow(node, within.level));
  for (const child of children) found.push(...rowsOf(child, within, first, sender));
  if (isTaken(span) && children.length === 0) found.push({ type: "wait", key: `${id}/wait`, level: within.level, span: id });
  return found;
}

function spanRow(node, { level, service, thread }, first, sender) {
  const { span } = node;
  const own = threadOf(span);
  const crossing = crossingOf(span);
  return {
    type: "span", key: node.id, span: node.id, level,
    name: span.name,
    kind: kindOf(span),
    crossing,
    service: serviceOf(span),
    isOtherService: serviceOf(span) !== service,
    otherThread: crossing !== "received" && thread && own && !isSameThread(thread, own) ? own.name : null,
    start: node.start - first,
    took: isOpen(span) ? null : durationOf(span),
    error: isError(span) ? String(span.attributes["error.type"] ?? "error") : null,
    note: noteOf(node, level, sender),
  };
}

// Two processes may have threads of the same id; the names of those tell them apart.
const isSameThread = (one, other) => one.id === other.id && one.name === other.name;

function noteOf({ span, parentId, isInCircle }, level, sender) {
  if (isBackwards(span)) return "ended before it began: the clock was set back";
  if (isInCircle) return `parent ${parentId} is also below it: these spans are each other’s parents`;
  if (level > 1 || parentId === null || parentId === sender) return null;
  return `parent ${parentId} is not here${kindOf(span) === "SERVER" ? ": it is the caller’s own span" : ""}`;
}

// The headers that a CLIENT span wrote. They crossed if a SERVER span has it as its parent.
const hopRow = ({ id, span, children }, level) => ({
  type: "hop", key: `${id}/hop`, level, span: id,
  isReceived: children.some((child) => kindOf(child.span) === "SERVER"),
  sender: id,
  headers: headersOf(span),
});

// The span that this page claimed as its own. Nobody recorded it, so the row is drawn without a time.
const senderRow = ({ id, parentId, span }) =>
  ({ type: "sender", key: `${id}/sender`, level: 1, span: id, sender: parentId, headers: headersOf(span) });
