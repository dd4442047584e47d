// The headers in which a context travels, taken apart: pure functions, which Node runs too.

const id = (digits) => new RegExp(`^(?!0+$)[0-9a-f]{${digits}}$`);

const VERSION = { part: "version", rule: /^(?!ff)[0-9a-f]{2}$/, must: "two hex digits, and not ff",
                  means: "this header’s format" };
const TRACE = { part: "trace-id", rule: id(32), must: "32 hex digits, not all of them 0",
                means: "the number that all spans of this trace share" };
const PARENT = { part: "parent-id", rule: id(16), must: "16 hex digits, not all of them 0",
                 means: "the id of the span that sent this: the span that receives it becomes its child" };
const FLAGS = { part: "flags", rule: /^[0-9a-f]{2}$/, must: "two hex digits",
                means: "eight bits, in hex; two have a meaning", bits: flagBits };
const MORE = { part: "more", rule: /^/, means: "from a later version, and skipped" };
const B3_TRACE = { ...TRACE, rule: /^(?!0+$)([0-9a-f]{32}|[0-9a-f]{16})$/,
                   must: "32 or 16 hex digits, not all of them 0" };
const B3_SPAN = { ...PARENT, part: "span-id" };
const B3_STATE = { part: "sampled", rule: /^([01d]|true|false)$/, must: "0, 1 or d",
                   means: "1: recorded, 0: not recorded, d: recorded for debugging" };
const B3_PARENT = { part: "parent-span-id", rule: id(16), must: "16 hex digits", means: "the sender’s own parent" };
const B3_FLAGS = { part: "flags", rule: /^[01]$/, must: "0 or 1", means: "1: recorded for debugging" };

const DECODERS = {
  "traceparent": traceparent,
  "tracestate": tracestate,
  "baggage": baggage,
  "b3": b3,
  "x-b3-traceid": alone(B3_TRACE),
  "x-b3-spanid": alone(B3_SPAN),
  "x-b3-parentspanid": alone(B3_PARENT),
  "x-b3-sampled": alone(B3_STATE),
  "x-b3-flags": alone(B3_FLAGS),
};

const PREFIX = "http.request.header.";

// What a span sent or received: [{ name, value, parts, separator, wrong }, ...], one for each header line.
export function headersOf(span) {
  return Object.keys(DECODERS).flatMap((name) => {
    const values = span.attributes[PREFIX + name] ?? [];
    const decoded = values.map((value) => decode(name, value));
    if (name === "traceparent" && values.length > 1)
      for (const each of decoded) each.wrong = "It must stand once: of several, none counts.";
    return decoded;
  });
}

export function decode(name, value) {
  return { name, value, wrong: null, separator: "-", ...DECODERS[name](value.trim()) };
}

// A part is { part, label, text, value, means, wrong, bits }: `text` is what stands in the header.
function read(field, text = "") {
  const isRight = field.rule.test(text);
  return { part: field.part, label: field.part.replaceAll("-", " "), text, value: text, means: field.means,
           wrong: isRight ? null : `must be ${field.must}`, bits: isRight ? field.bits?.(text) : undefined };
}

function alone(field) {
  return (value) => ({ parts: [read(field, value)] });
}

function traceparent(value) {
  const [version, trace, parent, flags, ...more] = value.split("-");
  const parts = [read(VERSION, version), read(TRACE, trace), read(PARENT, parent), read(FLAGS, flags)];
  if (more.length) parts.push(read(MORE, more.join("-")));
  return { parts, wrong: more.length && version === "00" ? "Version 00 has four parts and no more." : null };
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
  const fields = [B3_TRACE, B3_SPAN, B3_STATE, B3_PARENT];
  if (!value.includes("-")) return { parts: [read(B3_STATE, value)] };
  const texts = value.split("-");
  const wrong = texts.length > fields.length ? "b3 has four parts at most." : null;
  return { parts: texts.slice(0, fields.length).map((text, index) => read(fields[index], text)), wrong };
}

const members = (value) => value.split(",").map((member) => member.trim()).filter(Boolean);

const STATE_MEMBER = /^[a-z0-9][a-z0-9_*/@-]{0,255}=[ -+\--<>-~]{0,255}[!-+\--<>-~]$/;

function tracestate(value) {
  const parts = members(value).map((text) => ({
    part: "member", label: text.split("=")[0], text, value: text.slice(text.indexOf("=") + 1),
    means: "what this tracing system wants to find again",
    wrong: STATE_MEMBER.test(text) ? null : "must be key=value, the key in lower case",
  }));
  return { parts, separator: ",", wrong: parts.length > 32 ? "More than 32 members: all of it is dropped." : null };
}

const BAGGAGE_MEMBER = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+\s*=\s*[!#-+\--:<-[\]-~]*\s*(;.*)?$/;

function baggage(value) {
  const parts = members(value).map((text) => ({
    part: "member", label: text.split("=")[0].trim(), text, value: decoded(text),
    means: "goes along with the trace, and onto no span by itself",
    wrong: BAGGAGE_MEMBER.test(text) ? null : "must be key=value, with %20 for a blank and the like",
  }));
  return { parts, separator: "," };
}

function decoded(member) {
  const value = member.slice(member.indexOf("=") + 1).split(";")[0].trim();
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
