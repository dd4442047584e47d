// The trace on the page: which one it is, which of its rows is selected, and how it grows.

import { getTrace } from "./api.js";
import { drawDetails } from "./details.js";
import { extent, idOf, isGrowing, isOpen, servicesOf } from "./facts.js";
import { readServerTiming } from "./headers.js";
import { afterNextFrame, byId, make, say, sleep } from "./page.js";
import { drawRecent } from "./recent.js";
import { rows } from "./rows.js";
import { buttonOf, drawAxis, drawRows, drawServices } from "./waterfall.js";

const POLL_MS = 1000;
const MOST_QUIET_POLLS = 60; // a trace that has not changed for so long is taken for complete
const AXIS_MS = 100; // between two polls, the time axis of a growing trace is drawn so often
const ADDRESS = /^#([0-9a-f]{32})(?:\/([0-9a-f]{16}))?/; // #<trace id>/<id of the selected span>
const UNNAMED = "The answer to this order names no trace: it has no Server-Timing header.";
const UNRECORDED = "No span of this trace was recorded here, so nothing can be seen of it.";

// The trace on the page: { id, spans, selected, clock }. `selected` is the id of the span in the details, and `clock`
// plus now() is the shop's time.
let shown = null;

export const wide = matchMedia("(min-width: 1100px)"); // then the details are beside the rows, and otherwise below one
const panel = byId("span");
const panelRow = make("li", { "data-key": "details" });

export function openTraces() {
  byId("rows").addEventListener("click", clicked);
  byId("rows").addEventListener("keydown", pressed);
  byId("look-again").addEventListener("click", () => drawRecent(shown?.id));
  addEventListener("hashchange", showAddressed);
  wide.addEventListener("change", () => shown?.spans.length && draw());
  setInterval(() => shown?.spans.some(isOpen) && drawAxis(duration()), AXIS_MS);
  showAddressed();
}

// Called with the Server-Timing header of the answer to an order: show the trace that it names. Return its spans.
export async function follow(serverTiming) {
  const timing = readServerTiming(serverTiming);
  if (!timing) return close(UNNAMED);
  const spans = await open(timing.traceId, null);
  afterNextFrame(() => history.pushState(null, "", `#${timing.traceId}`)); // a new address has the page drawn anew
  return spans;
}

// The address says what to show. It changes with links, the Back button, and by hand.
async function showAddressed() {
  const [, id, selected = null] = location.hash.match(ADDRESS) ?? [];
  if (!id) return close("");
  if (id === shown?.id && shown.spans.length) select(selected);
  else await open(id, selected);
  (buttonOf(selected) ?? byId("trace-title")).focus();
}

function close(sentence) {
  shown = null;
  clear();
  byId("trace").hidden = !sentence;
  say("trace-note", sentence);
  showRecent();
}

function clear() {
  say("trace-id", "");
  byId("waterfall").hidden = true;
  byId("outcome").hidden = true;
  drawServices([]);
}

async function showRecent() {
  const isTraced = await drawRecent(shown?.id);
  byId("traces").hidden = !isTraced;
  byId("untraced").hidden = isTraced;
}

// Show a trace, and return its spans. Then go on while it grows.
async function open(id, selected) {
  const mine = { id, spans: [], selected, clock: -Infinity };
  if (shown) clear(); // nothing of the trace that was shown before is left behind
  shown = mine;
  await read(mine);
  grow(mine);
  return mine.spans;
}

async function grow(mine) {
  showRecent(); // after the trace, which is what the visitor is waiting for
  for (let quiet = 0; shown === mine && isGrowing(mine.spans) && quiet < MOST_QUIET_POLLS; quiet++) {
    await sleep(POLL_MS);
    if (await read(mine)) quiet = 0;
  }
  if (shown === mine) showRecent();
}

// Whether there is something new.
async function read(mine) {
  if (shown !== mine) return false;
  const { spans = [], missing } = await getTrace(mine.id).catch(({ message }) => ({ missing: message }));
  if (shown !== mine) return false;
  byId("trace").hidden = false;
  say("trace-id", mine.id);
  say("trace-note", missing ?? (spans.length ? "" : UNRECORDED));
  if (!spans.length || JSON.stringify(spans) === JSON.stringify(mine.spans)) return false;
  mine.spans = spans;
  mine.clock = Math.max(mine.clock, extent(spans).last - now());
  draw();
  return true;
}

const now = () => performance.now() * 1000;

function draw() {
  const { spans } = shown;
  const drawn = rows(spans);
  if (wide.matches) shown.selected ??= firstOf(drawn);
  const span = spans.find((each) => idOf(each) === shown.selected) ?? null;
  const place = span === null || wide.matches ? byId("beside") : panelRow;
  if (panel.parentElement !== place) place.append(panel); // what is moved loses its scroll position
  byId("waterfall").hidden = false;
  drawServices(servicesOf(spans));
  drawRows(drawn, servicesOf(spans), shown.selected, place === panelRow ? panelRow : null);
  drawAxis(duration());
  // After the rows, which are what the visitor is waiting for.
  afterNextFrame(() => drawDetails(span, spans));
}

// The first span whose headers are drawn; of a trace without any, once it is complete, its first span.
const firstOf = (drawn) =>
  drawn.find(({ type }) => type === "hop")?.span ?? (isGrowing(shown.spans) ? null : drawn[0].span);

// How long the time axis is: until now if a span is open.
function duration() {
  const { first, last } = extent(shown.spans);
  const end = shown.spans.some(isOpen) ? Math.max(last, shown.clock + now()) : last;
  return Math.max(1, end - first);
}

// Show the details of a span, or of none. Its row stays where it is, although those of another one close above it.
function select(id) {
  const topOf = () => buttonOf(id)?.getBoundingClientRect().top ?? 0;
  const before = topOf();
  shown.selected = id;
  draw();
  if (!wide.matches) scrollBy(0, topOf() - before);
}

function clicked({ target }) {
  const id = target.closest("[data-span]")?.dataset.span;
  if (!id) return;
  if (id === shown.selected) return wide.matches || select(null);
  history.pushState(null, "", `#${shown.id}/${id}`);
  select(id);
}

// The arrows, Home and End lead from row to row.
function pressed(event) {
  const buttons = [...byId("rows").querySelectorAll("[data-span] > button")];
  const index = buttons.indexOf(event.target);
  const indexes = { ArrowUp: index - 1, ArrowDown: index + 1, Home: 0, End: buttons.length - 1 };
  const button = buttons[indexes[event.key]];
  if (index < 0 || !button || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  button.focus();
  if (!wide.matches) return;
  const id = button.parentElement.dataset.span;
  history.replaceState(null, "", `#${shown.id}/${id}`); // no trail for the Back button
  select(id);
}
