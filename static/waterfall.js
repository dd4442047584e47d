// Draws the rows of a trace, and its time axis.

import { headerLine } from "./decoded.js";
import { inWords } from "./facts.js";
import { byId, make } from "./page.js";

const COLOURS = 6; // of services, in style.css

// A row that is still as it was drawn last stays: nobody loses the focus in it, or a click on it. `details` is put
// below the row of the selected span, if it is not null.
export function drawRows(rows, services, selected, details) {
  const list = byId("rows");
  const focused = document.activeElement.closest("#rows > [data-key]")?.dataset.key;
  const there = new Map([...list.children].map((element) => [element.dataset.key, element]));
  const elements = rows.map((row) => {
    const element = rowElement(row, services.indexOf(row.service) % COLOURS, row.span === selected);
    const old = there.get(row.key);
    if (old?.isEqualNode(element)) return old;
    old?.replaceWith(element);
    return element;
  });
  const last = elements.findLastIndex(({ dataset }) => dataset.span === selected && dataset.type !== "wait");
  if (details && last >= 0) elements.splice(last + 1, 0, details);
  for (const element of [...list.children]) if (!elements.includes(element)) element.remove();
  elements.forEach((element, index) => {
    if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
  });
  if (focused && !list.contains(document.activeElement)) buttonOf(focused)?.focus({ preventScroll: true });
}

export const buttonOf = (key) => byId("rows").querySelector(`[data-key="${key}"] > button`);

function rowElement(row, service, isSelected) {
  const { type, key, span, level } = row;
  const element = make("li", {
    "aria-level": level,
    "data-type": type,
    "data-key": key,
    "data-span": span,
    "data-selected": isSelected ? "" : null,
    "data-service": service < 0 ? null : service,
    "data-error": row.error ? "" : null,
    "data-open": row.took === null ? "" : null,
  }, ...CONTENT[type](row, isSelected ? true : null));
  element.style.setProperty("--level", level);
  return element;
}

const CONTENT = {
  span: (row, current) => [make("button", { type: "button", "aria-current": current }, nameOf(row), ...timesOf(row))],
  hop: ({ way, headers, sender }) =>
    [make("span", { class: "way" }, way), ...headers.map((header) => headerLine(header, sender))],
  wait: () => [make("span", { class: "note" }, "no span of the fryer yet")],
};

const nameOf = ({ kind, crossing, name, key, error, service, isOtherService, otherThread, note }) =>
  make("span", { class: "name" },
    make("span", { class: "kind", "data-crossing": crossing }, kind),
    make("span", { class: "label" }, name),
    kind === "CLIENT" ? make("code", { class: "sender-id" }, key) : null,
    error && make("span", { class: "failed" }, error),
    isOtherService ? make("span", { class: "service" }, service) : null,
    otherThread && make("span", { class: "thread" }, `thread ${otherThread}`),
    note && make("span", { class: "note" }, note));

function timesOf({ start, took }) {
  const bar = make("span", { class: "bar" });
  bar.style.setProperty("--start", start);
  if (took !== null) bar.style.setProperty("--took", took);
  const words = took === null ? "open" : inWords(took);
  return [make("span", { class: "took" }, words), make("span", { class: "time" }, bar)];
}

// An axis that is `total` microseconds long. A bar knows when it starts and how long it is, and CSS divides that by
// --total: while a trace grows, only this one number changes.
export function drawAxis(total) {
  const step = tickStep(total);
  byId("grid").style.setProperty("--total", total);
  byId("grid").style.setProperty("--step", step);
  const ticks = Array.from({ length: Math.floor(0.8 * total / step) + 1 }, (_, index) => {
    const tick = make("span", { class: "tick" }, index ? inWords(index * step) : "0");
    tick.style.setProperty("--start", index * step);
    return tick;
  });
  byId("ticks").replaceChildren(...ticks);
}

// The distance between the ticks: 1, 2 or 5 of something, so that there are at most four.
function tickStep(total) {
  const power = 10 ** Math.floor(Math.log10(total / 3));
  return power * [1, 2, 5, 10].find((times) => times * power * 3 >= total);
}

export function drawServices(services) {
  byId("services").replaceChildren(...services.map((name, index) =>
    make("li", { "data-service": index % COLOURS }, name)));
}
