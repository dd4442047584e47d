// Facts about one span or about all spans of a trace, read from the SDK's JSON: pure functions, which Node runs too.

const HEADER = "http.request.header.";

// The SDK writes an id as "0x4bf9...", the headers and our addresses without the 0x.
export const bare = (id) => id && id.replace(/^0x/, "");
export const idOf = (span) => bare(span.context.span_id);
export const kindOf = (span) => span.kind.replace("SpanKind.", "");
export const serviceOf = (span) => String(span.resource.attributes["service.name"]);
export const threadOf = (span) => span.attributes["thread.name"] ?? null;
export const isError = (span) => span.status.status_code === "ERROR";
export const servicesOf = (spans) => [...new Set(spans.map(serviceOf))];

// Whether a span's context left in headers ("sent"), or its parent came in headers ("received"); null if neither did.
export function crossingOf(span) {
  const kind = kindOf(span);
  if (kind === "CLIENT" && Object.keys(span.attributes).some((name) => name.startsWith(HEADER))) return "sent";
  return kind === "SERVER" && span.parent_id ? "received" : null;
}

// [value, ...] of one header that a span sent or received, one for each line of it.
export const headerValues = (span, name) => span.attributes[HEADER + name] ?? [];

// Limits on spans drop attributes, the oldest first, or cut their values: the path of our code ends in .py otherwise.
export function isIncomplete({ kind, attributes }) {
  const isRequest = /SERVER|CLIENT/.test(kind);
  return (isRequest && !attributes["http.request.method"]) || attributes["code.file.path"]?.endsWith(".py") === false;
}

// { name, file, line } of the code that started a span, as far as the span says it.
export const codeOf = ({ attributes }) => ({
  name: attributes["code.function.name"],
  file: attributes["code.file.path"]?.split(/[/\\]/).at(-1),
  line: attributes["code.line.number"],
});

// Microseconds since 1970. Date.parse alone stops at milliseconds.
export function micros(time) {
  const fraction = time.match(/\.(\d{1,6})/)?.[1] ?? "";
  return Date.parse(time.replace(/\.\d+/, "")) * 1000 + Number(fraction.padEnd(6, "0"));
}

export const isOpen = (span) => span.end_time === null;

// A clock can be set back while a span is open, so that the span ends before it began.
export const isBackwards = (span) => !isOpen(span) && micros(span.end_time) < micros(span.start_time);
export const durationOf = (span) => Math.max(0, micros(span.end_time) - micros(span.start_time));

// The first moment of a trace and the last that is known of it, in microseconds.
export function extent(spans) {
  const first = Math.min(...spans.map((span) => micros(span.start_time)));
  const last = Math.max(...spans.map((span) => micros(span.end_time ?? span.start_time)));
  return { first, last: Math.max(first, last) };
}

// Whether a span is that of a donut which the kitchen has taken, so that a span of the fryer can still follow.
export const isTaken = ({ attributes }) =>
  attributes["http.route"] === "/kitchen/add_donuts" && attributes["http.response.status_code"] === 200;

// A trace grows while a span is open, and while a donut waits for the fryer.
export function isGrowing(spans) {
  const parents = new Set(spans.map((span) => span.parent_id));
  return spans.some((span) => isOpen(span) || (isTaken(span) && !parents.has(span.context.span_id)));
}

// 350 µs, 9.14 ms, 1.4 s
export function inWords(time) {
  const [unit, size] = time < 1000 ? ["µs", 1] : time < 999_500 ? ["ms", 1000] : ["s", 1_000_000];
  return `${Number((time / size).toPrecision(3))} ${unit}`;
}
