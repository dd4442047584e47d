// Draws the details of the selected span: the headers that it sent or received, the code that started it, and the rest.

import { getSource } from "./api.js";
import { commandFor, drawCommand } from "./curl.js";
import { headerLine, partList } from "./decoded.js";
import { bare, codeOf, crossingOf, durationOf, extent, idOf, inWords, isBackwards, isIncomplete, isOpen, kindOf, micros, serviceOf, threadOf,
         titleOf } from "./facts.js";
import { headersOf } from "./headers.js";
import { byId, fact, failure, make, say } from "./page.js";
import { functionAround } from "./source.js";

let drawn = ""; // what is shown, in JSON: the same is not drawn again, so that nobody loses their place in it
let drawnCode = "";

export function drawDetails(span, spans) {
  const { first } = extent(spans);
  const parent = spans.find((each) => each.context.span_id === span?.parent_id);
  const facts = JSON.stringify([span, first, parent?.name]);
  if (facts === drawn) return;
  const isOther = span?.context.span_id !== JSON.parse(drawn || "[null]")[0]?.context.span_id;
  drawn = facts;
  byId("span").hidden = !span;
  if (!span) return;
  say("span-title", titleOf(span));
  say("span-does", DOES[crossingOf(span)] ?? "");
  const headers = headersOf(span);
  const sender = kindOf(span) === "CLIENT" ? idOf(span) : bare(span.parent_id);
  fill("wire", headers.map((header) => make("p", {}, headerLine(header, sender))));
  fill("parts", headers.flatMap((header) => partsOf(header, sender, SAME[crossingOf(span)])));
  drawCode(span);
  say("span-note", noteOf(span));
  fill("facts", factsOf(span, parent, first));
  fill("repeat", kindOf(span) === "SERVER" && !isIncomplete(span) ? repeatOf(span, spans) : []);
  fill("attributes", [...span.events.map((event) => eventOf(event, first)), attributesOf("Attributes", span.attributes)]);
  if (isOther) byId("beside").scrollTop = 0;
}

const fill = (id, content) => byId(id).replaceChildren(...content);
const linkTo = (context, text) => make("a", { href: `#${bare(context.trace_id)}/${bare(context.span_id)}` }, text);
const after = (time, first) => `after ${inWords(micros(time) - first)}`;

const DOES = { sent: "sent the headers that inject wrote", received: "received the headers that extract read" };

const SAME = { sent: " = this CLIENT span’s own id", received: " = the id of this span’s parent" };

const partsOf = (header, sender, same) => [
  make("h4", {}, header.name, header.wrong && failure(header.wrong)),
  partList(header, sender, same),
];

function noteOf(span) {
  if (isBackwards(span)) return "This span ended before it began: the clock was set back while it was open.";
  if (!isIncomplete(span)) return "";
  return "This span does not say, or not whole, which code started it: nothing has written it, or limits on spans have dropped or "
    + "cut attributes (OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT, OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT). Its headers may be cut, too.";
}

function factsOf(span, parent, first) {
  const parentId = parent ? linkTo(parent.context, idOf(parent)) : bare(span.parent_id);
  const links = span.links.map(({ context }) =>
    fact("Link to", linkTo(context, `span ${bare(context.span_id)} of trace ${bare(context.trace_id)}`)));
  return [
    fact("Service", serviceOf(span)),
    fact("Thread", threadOf(span)?.name ?? "not known"),
    fact("Span id", make("code", {}, idOf(span))),
    fact("Parent id", parentId ? make("code", {}, parentId) : "none: the trace begins here"),
    fact("Began", after(span.start_time, first)),
    fact("Took", isOpen(span) ? "still open" : inWords(durationOf(span))),
    fact("Status", `${span.status.status_code} ${span.status.description ?? ""}`),
    ...links,
  ];
}

function repeatOf(span, spans) {
  const place = make("div", {});
  drawCommand(place, commandFor(span, spans, location.origin));
  return [make("h4", {}, "Send this request again, from a terminal"), place];
}

const eventOf = ({ name, timestamp, attributes }, first) => attributesOf(`Event: ${name}, ${after(timestamp, first)}`, attributes);

function attributesOf(title, attributes) {
  const names = Object.keys(attributes).sort();
  const facts = names.map((name) => fact(make("code", {}, name), String(attributes[name])));
  return make("section", {}, make("h4", {}, title), make("dl", {}, ...facts));
}

async function drawCode(span) {
  const code = codeOf(span);
  const wanted = JSON.stringify(code);
  if (wanted === drawnCode) return;
  drawnCode = wanted;
  say("code-title", code ? `${code.name}: ${code.file}, line ${code.line}` : "");
  const lines = code ? functionAround(await getSource(code.file), code.line) : [];
  if (wanted !== drawnCode) return;
  byId("code").hidden = !code;
  fill("code", lines.length ? lines.map((line) => codeLine(line, line.number === code.line)) : [NO_CODE]);
  showMarked();
}

const NO_CODE = "This shop does not have the code that started this span.";

const CROSSINGS = { inject: "◂ wrote the headers", extract: "◂ read the headers" };

function codeLine({ number, text, isComment }, isMarked) {
  const crossing = isComment ? null : text.match(/propagate\.(inject|extract)\(/)?.[1];
  const said = isMarked ? "◂ started this span" : CROSSINGS[crossing];
  return make("span", {
    "data-line": number,
    "data-marked": isMarked ? "" : null,
    "class": isComment ? "comment" : crossing ? "crossing" : null,
  }, text, said && make("b", {}, `  ${said}`), "\n");
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
