// Draws the details of the selected span: the headers that it sent or received, the code that started it, and the rest.

import { getSource } from "./api.js";
import { commandBox, commandFor } from "./curl.js";
import { headerLine, partList } from "./decoded.js";
import { bare, codeOf, crossingOf, durationOf, extent, idOf, inWords, isIncomplete, isOpen, kindOf, micros,
  serviceOf, threadOf } from "./facts.js";
import { headersOf } from "./headers.js";
import { byId, fact, failure, make, say } from "./page.js";
import { functionAround } from "./source.js";

let drawn = ""; // what is shown, in JSON: the same is not drawn again, so that nobody loses their place in it
let drawnId = null;
let drawnCode = "";

export function drawDetails(span, spans) {
  const { first } = extent(spans);
  const parent = spans.find((each) => each.context.span_id === span?.parent_id);
  const facts = JSON.stringify([span, first, parent?.name, parent?.end_time]);
  if (facts === drawn) return;
  drawn = facts;
  byId("span").hidden = !span;
  if (span) drawSpan(span, parent, first, spans);
  if (span && idOf(span) !== drawnId) byId("beside").scrollTop = 0;
  drawnId = span && idOf(span);
}

function drawSpan(span, parent, first, spans) {
  const crossing = crossingOf(span);
  const headers = headersOf(span);
  const sender = crossing === "sent" ? idOf(span) : bare(span.parent_id);
  say("span-title", `${kindOf(span)} ${span.name}`);
  say("span-does", outlives(span, parent) ? "goes on after its parent has answered" : DOES[crossing] ?? "");
  fill("wire", headers.map((header) => make("p", {}, headerLine(header, sender))));
  byId("code").dataset.crossed = kindOf(span) === "CLIENT" || Boolean(crossing || headers.length);
  drawCode(span, idOf(span) !== drawnId);
  fill("parts", headers.flatMap((header) =>
    [make("h4", {}, header.name, header.wrong && failure(header.wrong)), partList(header, sender, SAME[crossing])]));
  say("span-note", isIncomplete(span) ? INCOMPLETE : "");
  fill("facts", factsOf(span, parent, first));
  fill("repeat", kindOf(span) === "SERVER" && !isIncomplete(span) ? repeatOf(span, spans) : []);
  const events = span.events.map(({ name, timestamp, attributes }) =>
    attributesOf(`Event: ${name}, ${after(timestamp, first)}`, attributes));
  fill("attributes", [...events, attributesOf("Attributes", span.attributes)]);
}

const outlives = (span, parent) =>
  parent && kindOf(span) === "INTERNAL" && !isOpen(parent) && (isOpen(span) || span.end_time > parent.end_time);

const fill = (id, content) => byId(id).replaceChildren(...content);
const linkTo = (context, text) => make("a", { href: `#${bare(context.trace_id)}/${bare(context.span_id)}` }, text);
const after = (time, first) => `after ${inWords(micros(time) - first)}`;

const DOES = { sent: "sent these headers", received: "received these headers" };
const SAME = { sent: " = this CLIENT span’s own id", received: " = the id of this span’s parent" };

const INCOMPLETE = "Attributes of this span are missing or cut, perhaps its headers, too: limits on spans do that "
  + "(OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT, OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT), or the shop does not write them yet.";

function factsOf(span, parent, first) {
  const parentId = parent ? linkTo(parent.context, idOf(parent)) : bare(span.parent_id);
  return [
    fact("Service", serviceOf(span)),
    fact("Thread", threadOf(span) ?? "not known"),
    fact("Span id", make("code", {}, idOf(span))),
    fact("Parent id", parentId ? make("code", {}, parentId) : "none: the trace begins here"),
    fact("Began", after(span.start_time, first)),
    fact("Took", isOpen(span) ? "still open" : inWords(durationOf(span))),
    fact("Status", `${span.status.status_code} ${span.status.description ?? ""}`),
    ...span.links.map(({ context }) =>
      fact("Link to", linkTo(context, `span ${bare(context.span_id)} of trace ${bare(context.trace_id)}`))),
  ];
}

const repeatOf = (span, spans) =>
  [make("h4", {}, "Send a request like this one from a terminal: a body is an example, and not what was sent"),
    ...commandBox(commandFor(span, spans, location.origin))];

function attributesOf(title, attributes) {
  const names = Object.keys(attributes).sort();
  const facts = names.map((name) => fact(make("code", {}, name), String(attributes[name])));
  return make("section", {}, make("h4", {}, title), make("dl", {}, ...facts));
}

async function drawCode(span, isOther) {
  const { name, file, line } = codeOf(span);
  const code = `${name}: ${file}, line ${line}`;
  if (code !== drawnCode) {
    drawnCode = code;
    say("code-title", file ? code : "This span does not say which code started it.");
    const lines = file ? functionAround(await getSource(file), line) : [];
    if (code !== drawnCode) return;
    byId("code").hidden = !file;
    fill("code", lines.length ? lines.map((each) => codeLine(each, each.number === line)) : [NO_CODE]);
  }
  if (isOther) showMarked();
}

const NO_CODE = "This shop does not have the code that started this span.";

const CROSSINGS = { inject: "▾ wrote the headers", extract: "▾ read the headers" };

// A line, and above it what it did, if it is one of the two that are marked.
function codeLine({ number, text, isComment }, isMarked) {
  const crossing = isComment ? null : text.match(/propagate\.(inject|extract)\(/)?.[1];
  const said = isMarked ? "▾ started this span" : CROSSINGS[crossing];
  return make("span", {
    "data-marked": isMarked ? "" : null,
    "class": isComment ? "comment" : crossing ? "crossing" : null,
  }, said && make("b", {}, said, "\n"), make("span", { "data-line": number }, text, "\n"));
}

// The two lines that are marked, or the first of them, are moved into the part of the code that is seen.
function showMarked() {
  const code = byId("code");
  const marked = [...code.querySelectorAll("[data-marked], .crossing")];
  if (!marked.length) return;
  const [top, bottom] = [marked[0].offsetTop, marked.at(-1).offsetTop + marked.at(-1).offsetHeight];
  const spare = Math.max(0, code.clientHeight - (bottom - top));
  code.scrollTop = top - spare / 2;
}
