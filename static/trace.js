// The trace on the page: which one it is, which of its rows is selected, and how it grows.

import { getTrace } from "./api.js";
import { drawDetails } from "./details.js";
import { durationOf, extent, idOf, isGrowing, isOpen, micros, servicesOf } from "./facts.js";
import { readServerTiming } from "./headers.js";
import { byId, make, say, sleep, wide } from "./page.js";
import { drawRecent } from "./recent.js";
import { rows } from "./rows.js";
import { buttonOf, drawAxis, drawRows, drawServices } from "./waterfall.js";

const POLL_MS = 1000;
const MOST_QUIET_POLLS = 60; // a trace that has not changed for so long is taken for complete
const AXIS_MS = 100; // between two polls, the time axis of a growing trace is drawn so often
const ADDRESS = /^#([0-9a-f]{32})(?:\/([0-9a-f]{16}))?/; // #<trace id>/<id of the selected span>

const UNNAMED = "The answer to this order names no span: it has no Server-Timing header. OTEL_SDK_DISABLED turns tracing off.";
const UNRECORDED = "No span of this trace was recorded here, so nothing can be seen of it.";

// The trace on the page: { id, sender, spans, selected, isOwnChoice, isZoomed, clock }. `selected` is the id of the span
// whose details are shown, `isOwnChoice` says that the visitor selected it or closed it, and `clock` is what to add to
// now() for the shop's time.
let shown = null;

const senders = new Map(); // trace id -> id of the span that this page claimed to have when it sent the request

const panel = byId("span");
const panelRow = make("li", { "data-key": "details" }); // where the panel is on a narrow screen

export function openTraces() {
  byId("rows").addEventListener("click", clicked);
  byId("rows").addEventListener("keydown", pressed);
  byId("zoom").addEventListener("click", zoom);
  byId("look-again").addEventListener("click", () => drawRecent(shown?.id));
  addEventListener("hashchange", showAddressed);
  wide.addEventListener("change", () => shown?.spans.length && draw());
  showAddressed();
}

// Called with the Server-Timing header of the answer to an order: the trace that it names is shown as it grows.
// `sender` is the id of the span that this page claimed to have, if it did.
export function follow(serverTiming, sender = null) {
  const timing = readServerTiming(serverTiming);
  if (!timing) return close(UNNAMED);
  senders.set(timing.traceId, sender);
  history.pushState(null, "", `#${timing.traceId}`);
  open(timing.traceId, null, () => wide.matches || byId("trace").scrollIntoView());
}

// The address says what to show. It changes with links, the Back button, and by hand.
function showAddressed() {
  const [, id, selected = null] = location.hash.match(ADDRESS) ?? [];
  if (!id) return close("");
  if (id !== shown?.id) return open(id, selected, () => byId("trace-title").focus());
  if (selected) select(selected);
}

function close(sentence) {
  shown = null;
  clear("");
  byId("trace").hidden = !sentence;
  say("trace-note", sentence);
  showRecent();
}

// Nothing of the trace that was shown before is left behind.
function clear(id) {
  byId("trace-id").textContent = id;
  byId("waterfall").hidden = true;
  byId("zoom").hidden = true;
  byId("beside").append(panel);
  drawServices([]);
  drawRows([], [], null, null);
  drawDetails(null, []);
  byId("outcome").hidden = true;
}

async function showRecent() {
  const isTraced = await drawRecent(shown?.id);
  byId("traces").hidden = !isTraced;
  byId("untraced").hidden = isTraced;
  if (isTraced) return;
  byId("trace").hidden = false;
  say("trace-note", "");
}

// `whenDrawn` is called when the trace is there to be seen.
async function open(id, selected, whenDrawn) {
  const mine = { id, spans: [], selected, isOwnChoice: selected !== null, isZoomed: false, clock: -Infinity };
  shown = mine;
  clear(id);
  byId("trace").hidden = false;
  say("trace-note", "");
  try {
    await read(mine);
    if (shown === mine) whenDrawn();
    if (shown === mine) showRecent(); // after the trace, which is what the visitor is waiting for
    for (let quiet = 0; isAlive(mine) && quiet < MOST_QUIET_POLLS; quiet++) {
      await growUntilNextPoll(mine);
      if (await read(mine)) quiet = 0;
    }
  } catch (refusal) {
    if (shown === mine) say("trace-note", refusal.message);
  }
  if (shown === mine) showRecent();
}

const isAlive = (mine) => shown === mine && isGrowing(mine.spans);

// Whether there is something new.
async function read(mine) {
  const { spans, missing } = await getTrace(mine.id);
  if (shown !== mine) return false;
  say("trace-note", missing ?? (spans.length ? "" : UNRECORDED));
  if (JSON.stringify(spans) === JSON.stringify(mine.spans)) return false;
  mine.spans = spans;
  mine.clock = Math.max(mine.clock, extent(spans).last - now());
  draw();
  return true;
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
  const { id, spans, isZoomed } = shown;
  const drawn = rows(spans, senders.get(id));
  if (wide.matches && !shown.isOwnChoice) shown.selected ??= firstOf(drawn);
  const span = spans.find((each) => idOf(each) === shown.selected) ?? null;
  const isBelow = span !== null && !wide.matches;
  (isBelow ? panelRow : byId("beside")).append(panel);
  byId("waterfall").hidden = false;
  byId("zoom").hidden = false;
  byId("zoom").ariaPressed = isZoomed;
  drawServices(servicesOf(spans));
  drawRows(drawn, servicesOf(spans), shown.selected, isBelow ? panelRow : null);
  drawAxis(...axis());
  drawDetails(span, spans);
}

// The first span whose headers are drawn; of a trace without any, once it is complete, its first span.
const firstOf = (drawn) =>
  drawn.find(({ type }) => type === "hop")?.span ?? (isGrowing(shown.spans) ? null : drawn[0].span);

// Where the time axis begins, and how long it is: for the whole trace, until now if a span is open, or for one span.
function axis() {
  const { first, last } = extent(shown.spans);
  const end = shown.spans.some(isOpen) ? Math.max(last, shown.clock + now()) : last;
  if (!shown.isZoomed) return [0, Math.max(1, end - first)];
  const span = shown.spans.find((each) => idOf(each) === shown.selected) ?? shown.spans[0];
  const start = micros(span.start_time);
  return [start - first, Math.max(1, isOpen(span) ? end - start : durationOf(span))];
}

// Show the details of a span, or of none.
function select(id) {
  shown.selected = id;
  shown.isOwnChoice = true;
  draw();
  buttonOf(id)?.focus();
}

function clicked({ target }) {
  const id = target.closest("[data-span]")?.dataset.span;
  const isOpenBelow = id === shown.selected && !wide.matches;
  if (!id) return;
  if (id !== shown.selected) history.pushState(null, "", `#${shown.id}/${id}`);
  select(isOpenBelow ? null : id);
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

function zoom() {
  shown.isZoomed = !shown.isZoomed;
  draw();
}
