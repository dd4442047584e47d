// The trace on the page: which one it is, which of its rows is chosen, and how it grows.

import { getTrace } from "./api.js";
import { byId, say } from "./page.js";
import { drawRecent } from "./recent.js";
import { around, destination, extent, idOf, isGrowing, micros, rows, servicesOf } from "./rows.js";
import { drawSpan } from "./span.js";
import { drawAxis, drawRows, drawServices, rowElement } from "./waterfall.js";

const POLL_MS = 1000;
const ADDRESS = /^#([0-9a-f]{32})(?:\/([0-9a-f]{16}(?:\/hop)?))?$/; // #<trace id>/<key of a row>

let shown = null; // the trace on the page: { id, spans, selected, at, opened, isZoomed, clock }

// Called with the Server-Timing header of the answer to an order: the trace that it names is shown as it grows.
export function follow(serverTiming) {
  const [, id, flags] = serverTiming?.match(/00-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})/) ?? [];
  if (!id) return close("The answer to this order names no trace: it has no Server-Timing header.");
  history.pushState(null, "", `#${id}`);
  if (parseInt(flags, 16) & 1) open(id);
  else close(`This order was not sampled (flags ${flags}): no span of it was kept. OTEL_TRACES_SAMPLER decides.`);
}

// The address says what to show. It changes with links, the Back button, and by hand.
function go() {
  const [, id, key = null] = location.hash.match(ADDRESS) ?? [];
  if (!id) return close("");
  if (id === shown?.id) return focusOn(key);
  open(id, key);
  byId("trace-title").focus();
}

function close(sentence) {
  shown = null;
  byId("trace-id").textContent = "";
  byId("trace").hidden = !sentence;
  byId("waterfall").hidden = true;
  say("trace-note", sentence);
  drawRecent();
}

async function open(id, selected = null) {
  const mine = { id, spans: [], selected, at: selected, opened: new Map(), isZoomed: false, clock: null };
  shown = mine;
  byId("trace-id").textContent = id;
  byId("trace").hidden = false;
  byId("waterfall").hidden = true;
  say("trace-note", "");
  drawRecent(id);
  try {
    while (await read(mine)) await new Promise((wake) => setTimeout(wake, POLL_MS));
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
  mine.clock ??= extent(spans).last - now(); // what to add to now() for the shop's time
  say("trace-note", missing ?? "");
  byId("waterfall").hidden = spans.length === 0;
  if (isFirst && mine.selected) focusOn(mine.selected);
  else draw();
  return isGrowing(spans);
}

const now = () => performance.now() * 1000;

function draw() {
  const { spans, at, selected, isZoomed } = shown;
  const all = visibleRows();
  shown.at = all.some(({ key }) => key === at) ? at : all[0]?.key; // where the Tab key leads
  const services = servicesOf(spans);
  const span = spans.find((each) => idOf(each) === selected?.slice(0, 16)) ?? null;
  drawServices(services);
  drawRows(all, services, shown.at, selected);
  drawAxis(...axis(isZoomed && (span ?? spans[0])));
  drawSpan(span, Boolean(selected?.endsWith("/hop")), spans);
  byId("zoom").ariaPressed = isZoomed;
}

const visibleRows = () => rows(shown.spans, (key, byDefault) => shown.opened.get(key) ?? byDefault);

// Where the time axis begins, and how long it is: for the whole trace, until now if a span is open, or for one span.
function axis(span) {
  const { first, last } = extent(shown.spans);
  const isOpen = shown.spans.some(({ end_time }) => end_time === null);
  const end = isOpen ? Math.max(last, shown.clock + now()) : last;
  if (!span) return [0, Math.max(1, end - first)];
  const start = micros(span.start_time);
  return [start - first, Math.max(1, (span.end_time ? micros(span.end_time) : end) - start)];
}

// Show the details of a row, and the row itself, wherever it is folded away.
function select(key) {
  for (const each of around(rows(shown.spans, () => true), key)) shown.opened.set(each, true);
  shown.selected = key;
  moveTo(key);
}

function moveTo(key) {
  shown.at = key;
  draw();
}

function focusOn(key) {
  select(key);
  rowElement(shown.at)?.focus();
}

function toggle(row) {
  shown.opened.set(row.key, !row.isExpanded);
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
  if (row.key !== shown.selected) history.pushState(null, "", `#${shown.id}/${row.key}`);
  select(row.key);
  byId("span-title").scrollIntoView({ block: "nearest" });
}

function pressed(event) {
  const all = visibleRows();
  const row = all.find(({ key }) => key === shown.at);
  const { key } = event;
  if (!row || event.altKey || event.ctrlKey || event.metaKey) return;
  if ((key === "ArrowRight" && row.isExpanded === false) || (key === "ArrowLeft" && row.isExpanded)) toggle(row);
  else if (key === "Enter" || key === " ") choose(row);
  else if (/^(Arrow|Home|End)/.test(key)) walkTo(destination(all, row.key, key), all);
  else return;
  event.preventDefault();
  rowElement(shown.at).focus();
}

// The arrows select as they go, and leave no trail for the Back button.
function walkTo(key, all) {
  if (all.find((row) => row.key === key).type === "more") return moveTo(key);
  history.replaceState(null, "", `#${shown.id}/${key}`);
  select(key);
}

function zoom() {
  shown.isZoomed = !shown.isZoomed;
  draw();
}

byId("rows").addEventListener("click", clicked);
byId("rows").addEventListener("keydown", pressed);
byId("zoom").addEventListener("click", zoom);
byId("look-again").addEventListener("click", () => drawRecent(shown?.id));
addEventListener("hashchange", go);
byId("traces").hidden = false;
go();
