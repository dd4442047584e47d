// From the spans of a trace to the rows of its waterfall: pure functions, which Node runs too.

import { bare, crossingOf, durationOf, extent, idOf, isBackwards, isError, isOpen, isTaken, kindOf, micros, serviceOf,
  threadOf } from "./facts.js";
import { headersOf } from "./headers.js";

// The rows in call order, one below the other; each holds all that is drawn of it.
export function rows(spans) {
  const { first } = extent(spans);
  return treeOf(spans).flatMap((root) => rowsOf(root, { level: 1, service: null, thread: null }, first));
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

const nodeOf = (span) => ({
  id: idOf(span), parentId: bare(span.parent_id), span, start: micros(span.start_time), children: [], isReached: false,
});

function markReached(node) {
  node.isReached = true;
  node.children.forEach(markReached);
}

// `above` is what the row above is like: { level, service, thread }.
function rowsOf(node, above, first) {
  const { span, children, id, parentId } = node;
  const level = above.level + 1;
  const crossing = crossingOf(span);
  const isReceived = children.some((child) => kindOf(child.span) === "SERVER");
  const found = [
    ...(above.level === 1 && kindOf(span) === "SERVER" ? [hopRow(span, 1, "↳ came in", parentId)] : []),
    spanRow(node, above, first),
    ...(crossing === "sent" ? [hopRow(span, level, isReceived ? "↳ crossed" : "↳ injected", id)] : []),
    ...children.flatMap((child) => rowsOf(child, { level, service: serviceOf(span), thread: threadOf(span) }, first)),
    ...(isTaken(span) && !children.length ? [{ type: "wait", key: `${id}/wait`, level, span: id }] : []),
  ];
  return found.filter(({ headers }) => headers?.length !== 0);
}

// The headers that a span wrote, or those that the first span of a trace received. `sender` is the id in them.
const hopRow = (span, level, what, sender, headers = headersOf(span)) => ({
  type: "hop", key: `${idOf(span)}/hop`, level, span: idOf(span), sender, headers,
  way: !span.parent_id && headers.some(({ isUnused }) => isUnused) ? `${what}, not used` : what,
});

function spanRow(node, { level, service, thread }, first) {
  const { span } = node;
  const crossing = crossingOf(span);
  return {
    type: "span", key: node.id, span: node.id, level, crossing,
    name: span.name,
    kind: kindOf(span),
    service: serviceOf(span),
    isOtherService: serviceOf(span) !== service,
    otherThread: crossing !== "received" && thread && threadOf(span) !== thread ? threadOf(span) : null,
    start: node.start - first,
    took: isOpen(span) ? null : durationOf(span),
    error: isError(span) ? String(span.attributes["error.type"] ?? "error") : null,
    note: noteOf(node, level),
  };
}

function noteOf({ span, parentId, isInCircle }, level) {
  if (isBackwards(span)) return "ended before it began: the clock was set back";
  if (isInCircle) return `parent ${parentId} is also below it: these spans are each other’s parents`;
  if (level > 1 || parentId === null) return null;
  return `parent ${parentId} is not here${kindOf(span) === "SERVER" ? ": it is the caller’s own span" : ""}`;
}
