// The headers in which a context travels, taken apart: pure functions, which Node runs too.

import { headerValues } from "./facts.js";

const W3C = "W3C Trace Context Level 2";

const hexDigits = (count) => new RegExp(`^(?!0+$)[0-9a-f]{${count}}$`); // an id, which is never all zeros

// The form of each part of a header: what it must be, what it means, and the section that says so.
const FORMS = {
  version: {
    part: "version",
    form: /^(?!ff)[0-9a-f]{2}$/,
    must: "two lower-case hex digits, and not ff",
    means: "this header’s format",
    section: `${W3C}, 3.2.2.1`,
  },
  traceId: {
    part: "trace-id",
    form: hexDigits(32),
    must: "32 lower-case hex digits, not all of them 0",
    means: "the number that all spans of this trace share",
    section: `${W3C}, 3.2.2.3`,
  },
  parentId: {
    part: "parent-id",
    form: hexDigits(16),
    must: "16 lower-case hex digits, not all of them 0",
    means: "the id of the span that sent this: the span that receives it becomes its child",
    section: `${W3C}, 3.2.2.4`,
  },
  flags: {
    part: "flags",
    form: /^[0-9a-f]{2}$/,
    must: "two lower-case hex digits",
    means: "eight bits, in hex; two have a meaning",
    section: `${W3C}, 3.2.2.5`,
    bits: flagBits,
  },
  more: {
    part: "more",
    form: /^/,
    means: "from a later version, and skipped",
    section: `${W3C}, 3.2.4`,
  },
  repeated: {
    part: "member",
    form: /^$/,
    must: "the only one",
    means: "one of several values, of which none counts",
    section: `${W3C}, 3.2.2`,
  },
  stateMember: {
    part: "member",
    form: /^[a-z0-9][a-z0-9_*/@-]{0,255}=[ -+\--<>-~]{0,255}[!-+\--<>-~]$/,
    must: "key=value, the key in lower case",
    means: "what one tracing system wants to find again",
    section: `${W3C}, 3.3.2.2`,
  },
  baggageMember: {
    part: "member",
    form: /^[!#$%&'*+.^_`|~0-9A-Za-z-]+\s*=\s*[!#-+\--:<-[\]-~]*\s*(;.*)?$/,
    must: "key=value, with %20 for a blank and the like",
    means: "goes along with the trace, and onto no span by itself",
    section: "W3C Baggage, Definition",
  },
  b3TraceId: {
    part: "trace-id",
    form: /^(?!0+$)([0-9a-f]{32}|[0-9a-f]{16})$/,
    must: "32 or 16 lower-case hex digits, not all of them 0",
    means: "the number that all spans of this trace share",
    section: "B3, TraceId",
  },
  b3SpanId: {
    part: "span-id",
    form: hexDigits(16),
    must: "16 lower-case hex digits, not all of them 0",
    means: "the id of the span that sent this: the span that receives it becomes its child",
    section: "B3, SpanId",
  },
  b3State: {
    part: "sampled",
    form: /^[01d]$/,
    must: "0, 1 or d",
    means: "1: recorded, 0: not recorded, d: recorded for debugging",
    section: "B3, Sampling State",
  },
  b3ParentId: {
    part: "parent-span-id",
    form: /^[0-9a-f]{16}$/,
    must: "16 lower-case hex digits",
    means: "the sender’s own parent",
    section: "B3, ParentSpanId",
  },
  b3Sampled: {
    part: "sampled",
    form: /^([01]|true|false)$/,
    must: "0 or 1",
    means: "1: recorded, 0: not recorded",
    section: "B3, Sampling State",
  },
  b3Flags: {
    part: "flags",
    form: /^[01]$/,
    must: "0 or 1",
    means: "1: recorded for debugging",
    section: "B3, Debug Flag",
  },
};

const DECODERS = {
  "traceparent": traceparent,
  "tracestate": tracestate,
  "baggage": baggage,
  "b3": b3,
  "x-b3-traceid": alone(FORMS.b3TraceId),
  "x-b3-spanid": alone(FORMS.b3SpanId),
  "x-b3-parentspanid": alone(FORMS.b3ParentId),
  "x-b3-sampled": alone(FORMS.b3Sampled),
  "x-b3-flags": alone(FORMS.b3Flags),
};

// The names of all headers that carry a context, in lower case.
export const NAMES = Object.keys(DECODERS);

// The headers that a span sent or received, taken apart, one for each line: [{ name, value, parts, separator, wrong,
// section }, ...].
export function headersOf(span) {
  return NAMES.flatMap((name) => {
    const decoded = headerValues(span, name).map((value) => decode(name, value));
    if (name === "traceparent" && decoded.length > 1) for (const each of decoded) each.wrong = REPEATED;
    return decoded;
  });
}

const REPEATED = "It must appear once; if it is repeated, all are ignored.";

// A header taken apart: `wrong` says what is wrong with it as a whole, `parts` have their own, and `section` belongs to
// `wrong`. One that a browser cannot send at all has no parts.
export function decode(name, value) {
  const header = { name, value, separator: "-", wrong: null, section: null };
  if (!CAN_BE_SENT.test(value)) return { ...header, parts: [], wrong: "It has a character that no header can carry." };
  return { ...header, ...DECODERS[name](value.trim()) };
}

const CAN_BE_SENT = /^[\t\x20-\x7e\x80-\xff]*$/;

// Everything that is wrong with a decoded header, whole or part: [{ sentence, section }, ...]
export const faultsOf = ({ wrong, section, parts }) => [
  ...(wrong ? [{ sentence: wrong, section }] : []),
  ...parts.filter((part) => part.wrong).map(faultOf),
];

const faultOf = ({ label, wrong, section }) => ({ sentence: `Its ${label} ${wrong}.`, section });

// Server-Timing names the SERVER span behind an answer: { traceId, spanId, flags, isSampled }; null if it does not.
export function readServerTiming(value) {
  const match = value?.match(/\btrace;desc="?00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})/);
  if (!match) return null;
  const [, traceId, spanId, flags] = match;
  return { traceId, spanId, flags, isSampled: isBitSet(flags) };
}

// Whether the last bit of hex digits, the sampled flag, is set.
export const isBitSet = (flags) => (parseInt(flags, 16) & 1) === 1;

// A part is { part, label, text, value, means, section, wrong, bits }: `text` is how it is written in the header.
function read({ part, form, must, means, section, bits }, text = "") {
  const isRight = form.test(text);
  return {
    part, label: part.replaceAll("-", " "), text, value: text, means, section,
    wrong: isRight ? null : `must be ${must}`,
    bits: isRight ? bits?.(text) : undefined,
  };
}

function alone(form) {
  return (value) => ({ parts: [read(form, value)] });
}

function traceparent(value) {
  if (value.includes(",")) return repeatedTraceparent(value);
  const [version, traceId, parentId, flags, ...more] = value.split("-");
  const parts = [
    read(FORMS.version, version),
    read(FORMS.traceId, traceId),
    read(FORMS.parentId, parentId),
    read(FORMS.flags, flags),
  ];
  if (more.length) parts.push(read(FORMS.more, more.join("-")));
  if (version !== "00" || !more.length) return { parts };
  return { parts, wrong: "Version 00 has four parts and no more.", section: `${W3C}, 3.2.2.2` };
}

// A header that is sent twice arrives as one, with a comma between the values.
function repeatedTraceparent(value) {
  const parts = value.split(",").map((text) => ({ ...read(FORMS.repeated, text.trim()), label: "traceparent" }));
  return { parts, separator: ", ", wrong: REPEATED, section: FORMS.repeated.section };
}

function flagBits(text) {
  const bits = parseInt(text, 16).toString(2).padStart(8, "0");
  return [
    { name: "sampled", bits: `·······${bits[7]}`, means: "1 if the sender may have recorded its span" },
    { name: "random", bits: `······${bits[6]}·`, means: "1 if the trace id is random, at least its last 14 digits" },
    { name: "the others", bits: `${bits.slice(0, 6)}··`, means: "no meaning so far, and not passed on" },
  ];
}

function b3(value) {
  if (!value.includes("-")) return { parts: [read(FORMS.b3State, value)] };
  const forms = [FORMS.b3TraceId, FORMS.b3SpanId, FORMS.b3State, FORMS.b3ParentId];
  const texts = value.split("-");
  const parts = texts.slice(0, forms.length).map((text, index) => read(forms[index], text));
  if (texts.length <= forms.length) return { parts };
  return { parts, wrong: "b3 has four parts at most.", section: "B3, Single Header" };
}

const members = (value) => value.split(",").map((member) => member.trim()).filter(Boolean);

function tracestate(value) {
  const parts = members(value).map((text) => ({
    ...read(FORMS.stateMember, text),
    label: text.split("=")[0],
    value: text.slice(text.indexOf("=") + 1),
  }));
  if (parts.length <= 32) return { parts, separator: "," };
  const wrong = "It has more than 32 members: all of it is dropped.";
  return { parts, separator: ",", wrong, section: `${W3C}, 3.3.2.1` };
}

function baggage(value) {
  const parts = members(value).map((text) => ({
    ...read(FORMS.baggageMember, text),
    label: text.split("=")[0].trim(),
    value: baggageValue(text),
  }));
  return { parts, separator: "," };
}

function baggageValue(member) {
  const value = member.slice(member.indexOf("=") + 1).split(";")[0].trim();
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
