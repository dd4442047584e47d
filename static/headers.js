// The headers in which a context travels, taken apart: pure functions, which Node runs too. Faults are found in
// traceparent and b3 alone; tests/traceparents.json holds them to what the shop makes of these.

import { bare, headerValues, kindOf } from "./facts.js";

const TRACE_ID = "shared by all spans of this trace";
const SENDER_ID = "becomes the parent of the span that receives it";
const TWO_DIGITS = "must be two lower-case hex digits";
const PARENT_DIGITS = "must be 16 lower-case hex digits, not all of them 0";

// The parts of a header: [label, form, what is wrong with another form, what the part means]
const TRACEPARENT = [
  ["version", /^(?!ff)[0-9a-f]{2}$/, `${TWO_DIGITS}, and not ff`, "this header’s format"],
  ["trace id", /^(?!0+$)[0-9a-f]{32}$/, "must be 32 lower-case hex digits, not all of them 0", TRACE_ID],
  ["parent id", /^(?!0+$)[0-9a-f]{16}$/, PARENT_DIGITS, SENDER_ID],
  ["flags", /^[0-9a-f]{2}$/, TWO_DIGITS, "eight bits, in hex; two have a meaning"],
];
const B3 = [
  ["trace id", /^(?!0+$)([0-9a-f]{16}){1,2}$/, "must be 32 or 16 lower-case hex digits, not all of them 0", TRACE_ID],
  ["span id", /^(?!0+$)[0-9a-f]{16}$/, PARENT_DIGITS, SENDER_ID],
  ["sampled", /^[01d]$/, "must be 0, 1 or d", "the sender’s decision: 1 to record, 0 not to record, d for debugging"],
  ["parent span id", /^[0-9a-f]{16}$/, "must be 16 lower-case hex digits", "the sender’s own parent"],
];

const DECODERS = {
  "traceparent": traceparent,
  "tracestate": (value) => members(value, "what one tracing system wants to find again"),
  "baggage": (value) => members(value, "goes along, and onto no span by itself", percentDecoded),
  "b3": b3,
};

export const NAMES = Object.keys(DECODERS);

// The headers that a span sent or received, taken apart, one for each line.
export const headersOf = (span) =>
  NAMES.flatMap((name) => headerValues(span, name).map((value) => observed(decode(name, value), span)));

// A header was not used if the span that received it is in another trace: its ids do not mean there what they should.
function observed(header, span) {
  const { name, value, wrong } = header;
  const isUnused = kindOf(span) === "SERVER" && /^(traceparent|b3)$/.test(name) && value.length > 1
    && !carries(value, bare(span.context.trace_id));
  if (!isUnused) return header;
  for (const part of header.parts) if ([TRACE_ID, SENDER_ID].includes(part.means)) part.means = null;
  const why = headerValues(span, name).length > 1 ? REPEATED : wrong;
  return { ...header, isUnused, wrong: why ? `${UNUSED} ${why}` : UNUSED };
}

// Whether a traceparent or a b3 names a trace. B3 may shorten a trace id that begins with 16 zeros.
export const carries = (value, traceId) => `${"0".repeat(16)}${value}`.includes(traceId);

const REPEATED = "It must come once: of several none counts.";
const UNUSED = "It was received and not used: this span’s trace id is another one.";

// A header taken apart: { name, value, parts, separator, wrong }, where `wrong` is a sentence about the header as a
// whole. A part is { label, text, value, means, wrong, bits }: `text` is how it is written in the header.
export function decode(name, value) {
  return { name, value, separator: "-", wrong: null, ...DECODERS[name](value.trim()) };
}

// A browser sends no header with another character than these.
export const canBeSent = (value) => /^[\t\x20-\x7e\x80-\xff]*$/.test(value);

// Whether the shop ignores this traceparent or b3. One that is empty is not there at all.
export const isFaulty = ({ value, wrong, parts }) =>
  value.trim() !== "" && (wrong !== null || parts.some((part) => part.wrong));

// Server-Timing names the SERVER span behind an answer: { traceId, spanId, flags }; null if it does not.
export function readServerTiming(value) {
  const match = value?.match(/\btrace;desc="?00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})/);
  return match ? { traceId: match[1], spanId: match[2], flags: match[3] } : null;
}

function read([label, form, must, means], text = "") {
  return { label, text, value: text, means, wrong: form.test(text) ? null : must };
}

function traceparent(value) {
  const [version, traceId, parentId, flags, ...more] = value.split("-");
  const parts = [version, traceId, parentId, flags].map((text, index) => read(TRACEPARENT[index], text));
  if (!parts[3].wrong) parts[3].bits = flagBits(flags);
  const wrong = version === "00" && more.length ? "Version 00 has four parts and no more." : null;
  const isWrong = wrong !== null || parts.some((part) => part.wrong);
  // A header that is sent twice arrives as one, with a comma between the values.
  if (isWrong && value.includes(",")) return { parts: [{ label: "values", text: value, value }], wrong: REPEATED };
  if (more.length) parts.push(read(["more", /^/, null, "from a later version, and skipped"], more.join("-")));
  return { parts, wrong };
}

function flagBits(flags) {
  const bits = parseInt(flags, 16).toString(2).padStart(8, "0");
  return [
    { name: "sampled", bits: `·······${bits[7]}`, means: "1 if the sender may have recorded its span" },
    { name: "random", bits: `······${bits[6]}·`, means: "1 if the trace id, or at least its end, is random" },
    { name: "the others", bits: `${bits.slice(0, 6)}··`, means: "no meaning so far, and not passed on" },
  ];
}

// A decision may come without ids, and ids without a decision.
function b3(value) {
  if (!value.includes("-") && value.length < 16) return { parts: [read(B3[2], value)] };
  const texts = value.split("-");
  const parts = B3.slice(0, Math.max(2, texts.length)).map((part, index) => read(part, texts[index]));
  return { parts, wrong: texts.length > 4 ? "It has four parts at most." : null };
}

// The members of a list, which are not judged.
function members(value, means, decoded = (text) => text) {
  const texts = value.split(",").map((text) => text.trim()).filter(Boolean);
  const parts = texts.map((text) => {
    const [key, ...rest] = text.split("=");
    return { label: key.trim(), text, value: decoded(rest.join("=").trim()), means, isMember: true };
  });
  return { parts, separator: "," };
}

function percentDecoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
