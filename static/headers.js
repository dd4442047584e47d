// The headers in which a context travels, taken apart: pure functions, which Node runs too. Faults are found in
// traceparent and b3 alone; tests/traceparents.json holds them to what the shop makes of these.

import { headerValues } from "./facts.js";

const W3C = "W3C Trace Context Level 2";

const TRACE_ID_MEANS = "shared by all spans of this trace";
const SENDER_MEANS = "becomes the parent of the span that receives it";

// The form of each part of a header: what it must be, what it means, and the section that says so.
const PARTS = {
  version: {
    form: /^(?!ff)[0-9a-f]{2}$/,
    must: "two lower-case hex digits, and not ff",
    means: "this header’s format",
    section: `${W3C}, 3.2.2.1`,
  },
  traceId: {
    label: "trace id",
    form: /^(?!0+$)[0-9a-f]{32}$/,
    must: "32 lower-case hex digits, not all of them 0",
    means: TRACE_ID_MEANS,
    section: `${W3C}, 3.2.2.3`,
  },
  parentId: {
    label: "parent id",
    form: /^(?!0+$)[0-9a-f]{16}$/,
    must: "16 lower-case hex digits, not all of them 0",
    means: SENDER_MEANS,
    section: `${W3C}, 3.2.2.4`,
  },
  flags: {
    form: /^[0-9a-f]{2}$/,
    must: "two lower-case hex digits",
    means: "eight bits, in hex; two have a meaning",
    section: `${W3C}, 3.2.2.5`,
    bits: flagBits,
  },
  more: {
    form: /^/,
    means: "from a later version, and skipped",
    section: `${W3C}, 3.2.4`,
  },
  b3TraceId: {
    label: "trace id",
    form: /^(?!0+$)([0-9a-f]{32}|[0-9a-f]{16})$/,
    must: "32 or 16 lower-case hex digits, not all of them 0",
    means: TRACE_ID_MEANS,
    section: "B3, TraceId",
  },
  b3SpanId: {
    label: "span id",
    form: /^(?!0+$)[0-9a-f]{16}$/,
    must: "16 lower-case hex digits, not all of them 0",
    means: SENDER_MEANS,
    section: "B3, SpanId",
  },
  b3State: {
    label: "sampled",
    form: /^[01d]$/,
    must: "0, 1 or d",
    means: "the sender’s decision: 1 to record, 0 not to record, d to record for debugging",
    section: "B3, Sampling State",
  },
  b3ParentId: {
    label: "parent span id",
    form: /^[0-9a-f]{16}$/,
    must: "16 lower-case hex digits",
    means: "the sender’s own parent",
    section: "B3, ParentSpanId",
  },
};

const DECODERS = {
  "traceparent": traceparent,
  "tracestate": (value) => members(value, "what one tracing system wants to find again"),
  "baggage": (value) => members(value, "goes along, and onto no span by itself", percentDecoded),
  "b3": b3,
  "x-b3-traceid": (value) => alone("trace id", value, TRACE_ID_MEANS),
  "x-b3-spanid": (value) => alone("span id", value, SENDER_MEANS),
  "x-b3-parentspanid": (value) => alone("parent span id", value, "the sender’s own parent"),
  "x-b3-sampled": (value) => alone("sampled", value, "1 to record, 0 not to record"),
  "x-b3-flags": (value) => alone("flags", value, "1 to record for debugging"),
};

// The names of all headers that carry a context, in lower case.
export const NAMES = Object.keys(DECODERS);

// The headers that a span sent or received, taken apart, one for each line.
export function headersOf(span) {
  return NAMES.flatMap((name) => {
    const decoded = headerValues(span, name).map((value) => decode(name, value));
    if (name !== "traceparent" || decoded.length === 1) return decoded;
    return decoded.map((header) => ({ ...header, wrong: REPEATED }));
  });
}

const REPEATED = `traceparent must come once: of several none counts (${W3C}, 3.2.2)`;

// A header taken apart: { name, value, parts, separator, wrong }, where `wrong` is a sentence about the header as a
// whole. A part is { label, text, value, means, wrong, bits }: `text` is how it is written in the header.
export const decode = (name, value) => ({ name, value, separator: "-", wrong: null, ...DECODERS[name](value.trim()) });

// A browser sends no header with another character than these.
export const canBeSent = (value) => /^[\t\x20-\x7e\x80-\xff]*$/.test(value);

// [sentence, ...] about the faults of a traceparent or b3.
export function faultsOf({ value, wrong, parts }) {
  if (value.trim() === "") return [];
  return [wrong, ...parts.map((part) => part.wrong && `its ${part.label} ${part.wrong}`)].filter(Boolean);
}

// Server-Timing names the SERVER span behind an answer: { traceId, spanId, flags }; null if it does not.
export function readServerTiming(value) {
  const match = value?.match(/\btrace;desc="?00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})/);
  return match && { traceId: match[1], spanId: match[2], flags: match[3] };
}

function read({ label, form, must, means, section, bits }, text = "") {
  const isRight = form.test(text);
  const wrong = isRight ? null : `must be ${must} (${section})`;
  return { label, text, value: text, means, wrong, bits: isRight ? bits?.(text) : undefined };
}

const partsOf = (names, texts) => names.map((name, index) => read({ label: name, ...PARTS[name] }, texts[index]));

function traceparent(value) {
  const [version, traceId, parentId, flags, ...more] = value.split("-");
  const parts = partsOf(["version", "traceId", "parentId", "flags"], [version, traceId, parentId, flags]);
  if (more.length) parts.push(read({ label: "more", ...PARTS.more }, more.join("-")));
  const isRight = parts.every((part) => !part.wrong) && (version !== "00" || !more.length);
  if (!isRight && value.includes(",")) return repeated(value);
  return { parts, wrong: version === "00" && more.length ? `version 00 has four parts (${W3C}, 3.2.2.2)` : null };
}

// A header that is sent twice arrives as one, with a comma between the values.
function repeated(value) {
  const parts = value.split(",").map((text) => ({ label: "traceparent", text: text.trim(), value: text.trim() }));
  return { parts, separator: ", ", wrong: REPEATED };
}

function flagBits(text) {
  const bits = parseInt(text, 16).toString(2).padStart(8, "0");
  return [
    { name: "sampled", bits: `·······${bits[7]}`, means: "1 if the sender may have recorded its span" },
    { name: "random", bits: `······${bits[6]}·`, means: "1 if the trace id, or at least its end, is random" },
    { name: "the others", bits: `${bits.slice(0, 6)}··`, means: "no meaning so far, and not passed on" },
  ];
}

// A decision may come without ids, and ids without a decision.
function b3(value) {
  if (!value.includes("-") && value.length < 16) return { parts: partsOf(["b3State"], [value]) };
  const texts = value.split("-");
  const names = ["b3TraceId", "b3SpanId", "b3State", "b3ParentId"].slice(0, Math.max(2, texts.length));
  return { parts: partsOf(names, texts), wrong: texts.length > 4 ? "b3 has at most four parts (B3, Single Header)" : null };
}

const alone = (label, value, means) => ({ parts: [{ label, text: value, value, means }] });

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
