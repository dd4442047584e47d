// Draws the rows of a trace. A row that is still as it was drawn last is not touched.

import { headerLine } from "./decoded.js";
import { inWords } from "./facts.js";
import { byId, make, set } from "./page.js";

const COLOURS = 6; // of services, in style.css

const drawn = new Map(); // key of a row -> { element, facts }

// `tabStop` is the key of the row that the Tab key leads to, `selected` that of the row whose details are shown.
export function drawRows(rows, services, tabStop, selected) {
  const keys = new Set(rows.map(({ key }) => key));
  for (const key of [...drawn.keys()].filter((key) => !keys.has(key))) forget(key);
  let next = byId("rows").firstElementChild;
  for (const row of rows) {
    const service = services.indexOf(row.service) % COLOURS;
    const element = drawRow(row, { service, isTabStop: row.key === tabStop, isSelected: row.key === selected });
    if (element === next) next = next.nextElementSibling;
    else byId("rows").insertBefore(element, next);
  }
}

export const rowElement = (key) => drawn.get(key)?.element;

function forget(key) {
  rowElement(key).remove();
  drawn.delete(key);
}

function drawRow(row, state) {
  const facts = JSON.stringify({ ...row, ...state });
  const { element, facts: before } = drawn.get(row.key) ?? { element: make("div", { role: "row" }) };
  if (facts !== before) {
    set(element, rowAttributes(row, state));
    element.style.setProperty("--level", row.level);
    element.replaceChildren(...CELLS[row.type](row));
    drawn.set(row.key, { element, facts });
  }
  return element;
}

const rowAttributes = (row, { service, isTabStop, isSelected }) => ({
  "class": row.type,
  "tabindex": isTabStop ? 0 : -1,
  "aria-level": row.level,
  "aria-expanded": row.isExpanded,
  "aria-selected": row.type === "more" ? null : isSelected,
  "data-key": row.key,
  "data-span-id": row.type === "span" ? row.key : null,
  "data-hop": row.client ?? null,
  "data-service": service < 0 ? null : service,
  "data-error": row.error ? "" : null,
  "data-open": row.end === null ? "" : null,
});

const CELLS = { span: spanCells, hop: hopCells, sender: senderCells, more: moreCells };

function spanCells(row) {
  const name = cell("name", twisty(), kindMark(row), make("span", { class: "label" }, row.name),
    row.kind === "CLIENT" ? make("code", { class: "sender-id" }, row.key) : null,
    row.error && make("span", { class: "failed" }, row.error),
    row.isOtherService ? make("span", { class: "service" }, row.service) : null,
    row.otherThread && make("span", { class: "thread" }, `in the thread ${row.otherThread}`),
    row.note && make("span", { class: "note" }, row.note));
  return [name, ...timeCells(row)];
}

function moreCells(row) {
  const label = make("span", { class: "label" }, `${row.count} more like this ${row.name}`);
  return [cell("name", twisty(), label), ...timeCells(row)];
}

function hopCells(row) {
  const hop = cell("name", ...row.headers.map((header) => headerLine(header, row.client)));
  set(hop, { "aria-colspan": 3 });
  return [hop];
}

function senderCells(row) {
  const sender = make("span", {}, "your browser: span ", make("code", { class: "sender-id" }, row.spanId),
    ", not in this shop's store");
  const name = cell("name", sender, ...row.headers.map((header) => headerLine(header, row.spanId)));
  set(name, { "aria-colspan": 3 });
  return [name];
}

const cell = (name, ...content) => make("div", { role: "gridcell", class: name }, ...content);
const twisty = () => make("span", { class: "twisty", "aria-hidden": true });
const kindMark = ({ kind, crossing }) => make("span", { class: "kind", "data-crossing": crossing }, kind);

function timeCells({ start, end }) {
  const bar = make("span", { class: "bar" });
  bar.style.setProperty("--start", start);
  if (end !== null) bar.style.setProperty("--took", end - start);
  const time = cell("time", bar);
  time.ariaLabel = `after ${inWords(start)}`;
  return [cell("took", end === null ? "open" : inWords(end - start)), time];
}

// The time from `from` on, `total` long, all in microseconds. A bar knows when it starts and how long it is, and CSS
// divides that by --total: while a trace grows, only this one number changes.
export function drawAxis(from, total) {
  const step = tickStep(total);
  const values = { "--from": from, "--total": total, "--step": step };
  for (const [name, value] of Object.entries(values)) byId("grid").style.setProperty(name, value);
  const ticks = Array.from({ length: Math.floor(0.95 * total / step) + 1 }, (_, index) => {
    const tick = make("span", { class: "tick" }, index ? inWords(index * step) : "0");
    tick.style.setProperty("--start", from + index * step);
    return tick;
  });
  byId("ticks").replaceChildren(...ticks);
}

// The distance between the ticks: 1, 2 or 5 of something, so that there are at most six.
function tickStep(total) {
  const power = 10 ** Math.floor(Math.log10(total / 5));
  return power * [1, 2, 5, 10].find((times) => times * power * 5 >= total);
}

export function drawServices(services) {
  byId("services").replaceChildren(...services.map((name, index) =>
    make("li", { "data-service": index % COLOURS }, name)));
}
