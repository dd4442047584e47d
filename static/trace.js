// The trace on the page: which one it is, which of its rows is chosen, and how it grows.

import { getTrace } from "./api.js";
import { drawDetails } from "./details.js";
import { extent, idOf, isGrowing, isOpen, micros, servicesOf } from "./facts.js";
import { readServerTiming } from "./headers.js";
import { destination, isToggle, keysAround } from "./keyboard.js";
import { byId, say, sleep } from "./page.js";
import { drawRecent } from "./recent.js";
import { rows } from "./rows.js";
import { drawAxis, drawRows, drawServices, rowElement } from "./waterfall.js";

const POLL_MS = 1000;
const AXIS_MS = 100; // between two polls, the time axis of a growing trace is drawn so often
const ADDRESS = /^#([0-9a-f]{32})(?:\/([0-9a-f]{16}(?:\/(?:hop|sender))?))?$/; // #<trace id>/<key of a row>

// The trace on the page: { id, spans, selectedKey, tabStopKey, toggled, isZoomed, clock }. The keys are those of rows:
// the details of the selected one are shown, and the Tab key leads to the other. `toggled` says which rows the visitor
// has opened or closed, and `clock` is what to add to now() for the shop's time.
let shown = null;

const senders = new Map(); // trace id -> id of the span that this page claimed to have when it began that trace

export function openTraces() {
  byId("rows").addEventListener("click", clicked);
  byId("rows").addEventListener("keydown", pressed);
  byId("zoom").addEventListener("click", zoom);
  byId("look-again").addEventListener("click", () => drawRecent(shown?.id));
  addEventListener("hashchange", showAddressed);
  byId("traces").hidden = false;
  showAddressed();
}

// Called with the Server-Timing header of the answer to an order: the trace that it names is shown as it grows.
// `sender` is the id of the span that this page claimed to have, if the shop has taken it as the parent.
export function follow(serverTiming, sender = null) {
  const timing = readServerTiming(serverTiming);
  if (!timing) return close("The answer to this order names no trace: it has no Server-Timing header.");
  const { traceId, flags, isSampled } = timing;
  if (sender) senders.set(traceId, sender);
  history.pushState(null, "", `#${traceId}`);
  if (isSampled) open(traceId);
  else close(`This order was not sampled (flags ${flags}): no span of it was kept. OTEL_TRACES_SAMPLER decides, and by `
    + "default it follows the caller.");
}

// The address says what to show. It changes with links, the Back button, and by hand.
function showAddressed() {
  const [, id, key = null] = location.hash.match(ADDRESS) ?? [];
  if (!id) return close("");
  if (id === shown?.id) return focusOn(key);
  open(id, key);
  byId("trace-title").focus();
}

function close(sentence) {
  shown = null;
  clear("");
  byId("trace").hidden = !sentence;
  say("trace-note", sentence);
  drawRecent();
}

// Nothing of the trace that was shown before is left behind.
function clear(id) {
  byId("trace-id").textContent = id;
  byId("waterfall").hidden = true;
  drawRows([], [], null, null);
}

async function open(id, key = null) {
  const keys = { selectedKey: key, tabStopKey: key };
  const mine = { id, spans: [], ...keys, toggled: new Map(), isZoomed: false, clock: -Infinity };
  shown = mine;
  clear(id);
  byId("trace").hidden = false;
  say("trace-note", "");
  try {
    let isGoingOn = await read(mine);
    if (shown === mine) drawRecent(id); // after the trace, which is what the visitor is waiting for
    while (isGoingOn) {
      await growUntilNextPoll(mine);
      isGoingOn = await read(mine);
    }
  } catch (refusal) {
    if (shown === mine) say("trace-note", refusal.message);
  }
  if (shown === mine) drawRecent(id);
}

// Whether there is more to come.
async function read(mine) {
  if (shown !== mine) return false;
  const { spans, missing } = await getTrace(mine.id);
  if (shown !== mine) return false;
  const isFirst = mine.spans.length === 0;
  mine.spans = spans;
  say("trace-note", missing ?? "");
  byId("waterfall").hidden = spans.length === 0;
  if (spans.length === 0) return false;
  mine.clock = Math.max(mine.clock, extent(spans).last - now());
  if (isFirst && mine.selectedKey) focusOn(mine.selectedKey);
  else draw();
  return isGrowing(spans);
}

async function growUntilNextPoll(mine) {
  const next = performance.now() + POLL_MS;
  while (performance.now() < next && shown === mine) {
    await sleep(AXIS_MS);
    if (shown === mine && mine.spans.some(isOpen)) drawAxis(...axis());
  }
}

const now = () => performance.now() * 1000;

function draw() {
  const { spans, tabStopKey, selectedKey, isZoomed } = shown;
  const visible = visibleRows();
  shown.tabStopKey = visible.some(({ key }) => key === tabStopKey) ? tabStopKey : visible[0]?.key;
  const services = servicesOf(spans);
  drawServices(services);
  drawRows(visible, services, shown.tabStopKey, selectedKey);
  drawAxis(...axis());
  drawDetails(selectedSpan(), selectedKey?.slice(17) ?? "", spans);
  byId("zoom").ariaPressed = isZoomed;
}

// A key is the id of a span, or that and the part of it that has a row of its own: <span id>/hop.
const selectedSpan = () => shown.spans.find((span) => idOf(span) === shown.selectedKey?.slice(0, 16)) ?? null;

const rowsWhere = (isRowOpen) => rows(shown.spans, isRowOpen, senders.get(shown.id));
const visibleRows = () => rowsWhere((key, byDefault) => shown.toggled.get(key) ?? byDefault);

// Where the time axis begins, and how long it is: for the whole trace, until now if a span is open, or for one span.
function axis() {
  const { first, last } = extent(shown.spans);
  const end = shown.spans.some(isOpen) ? Math.max(last, shown.clock + now()) : last;
  if (!shown.isZoomed) return [0, Math.max(1, end - first)];
  const span = selectedSpan() ?? shown.spans[0];
  const start = micros(span.start_time);
  return [start - first, Math.max(1, (isOpen(span) ? end : micros(span.end_time)) - start)];
}

// Show the details of a row, and the row itself, wherever it is folded away.
function select(key) {
  for (const each of keysAround(rowsWhere(() => true), key)) shown.toggled.set(each, true);
  shown.selectedKey = key;
  moveTo(key);
}

function moveTo(key) {
  shown.tabStopKey = key;
  draw();
}

function focusOn(key) {
  select(key);
  rowElement(shown.tabStopKey)?.focus();
}

function toggle(row) {
  shown.toggled.set(row.key, !row.isExpanded);
  moveTo(row.key);
}

function clicked({ target }) {
  const key = target.closest("[data-key]")?.dataset.key;
  const row = visibleRows().find((each) => each.key === key);
  if (row && target.matches("[aria-expanded] .twisty")) toggle(row);
  else if (row) choose(row);
}

function choose(row) {
  if (row.type === "more") return toggle(row);
  if (row.key !== shown.selectedKey) history.pushState(null, "", `#${shown.id}/${row.key}`);
  select(row.key);
  byId("span-title").scrollIntoView({ block: "nearest" });
}

function pressed(event) {
  const visible = visibleRows();
  const row = visible.find(({ key }) => key === shown.tabStopKey);
  if (!row || event.altKey || event.ctrlKey || event.metaKey) return;
  if (isToggle(row, event.key)) toggle(row);
  else if (event.key === "Enter" || event.key === " ") choose(row);
  else if (/^(Arrow|Home|End)/.test(event.key)) walkTo(destination(visible, row.key, event.key), visible);
  else return;
  event.preventDefault();
  rowElement(shown.tabStopKey).focus();
}

// The arrows select as they go, and leave no trail for the Back button.
function walkTo(key, visible) {
  if (visible.find((row) => row.key === key).type === "more") return moveTo(key);
  history.replaceState(null, "", `#${shown.id}/${key}`);
  select(key);
}

function zoom() {
  shown.isZoomed = !shown.isZoomed;
  draw();
}
