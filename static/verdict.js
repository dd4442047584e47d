// The rules by which a shop treats the headers that were sent: pure functions, which Node runs too. The answer of the
// server decides what happened; the rules only explain it.

import { decode, faultsOf, isBitSet } from "./headers.js";

const W3C = "W3C Trace Context Level 2";

// The headers ask for this: { traceId, parentId, rule, section, isSampled, samplingSection }. traceId is null if they
// carry no trace to go on with, and isSampled is null if they say nothing of it. `headers` is { name: value }, `reads`
// is the Set of the headers that this shop reads. Of two formats that ask for different traces, `taken` is the one.
export function askedFor(headers, reads, taken = null) {
  const found = FORMATS.filter(({ name }) => reads.has(name)).map(({ name, rules }) => rules(headers[name] ?? ""));
  if (found.length === 0) return nothing("this shop reads no header that carries a trace", "OTEL_PROPAGATORS");
  return found.find(({ traceId }) => traceId && traceId === taken)
    ?? found.find(({ traceId }) => traceId)
    ?? found.find(({ isSampled }) => isSampled !== null)
    ?? found.find(({ isAbsent }) => !isAbsent)
    ?? unread(headers, reads)
    ?? found[0];
}

// A header that would have counted if this shop read its format.
function unread(headers, reads) {
  const name = FORMATS.map((format) => format.name).find((each) => headers[each] && !reads.has(each));
  return name && nothing(`this shop does not read ${name}`, "OTEL_PROPAGATORS");
}

const FORMATS = [{ name: "traceparent", rules: traceparentRules }, { name: "b3", rules: b3Rules }];

const nothing = (rule, section) => ({ traceId: null, parentId: null, rule, section, isSampled: null });

const invalid = (name, { sentence, section }) =>
  nothing(`an invalid ${name} is ignored, and this one is invalid: ${asClause(sentence)}`, section);

const asClause = (sentence) => sentence[0].toLowerCase() + sentence.slice(1).replace(/\.$/, "");

function traceparentRules(value) {
  const absent = "no traceparent came, and where none comes a new trace begins";
  if (!value.trim()) return { ...nothing(absent, `${W3C}, 5.1.1`), isAbsent: true };
  const header = decode("traceparent", value);
  const [fault] = faultsOf(header);
  if (fault) return invalid("traceparent", fault);
  const [version, traceId, parentId, flags] = header.parts.map(({ text }) => text);
  const asked = { traceId, parentId, isSampled: isBitSet(flags), samplingSection: `${W3C}, 3.2.2.5.1` };
  if (version === "00") return { ...asked, rule: "a valid traceparent is continued", section: `${W3C}, 5.1.2` };
  const rule = "of a traceparent in a later version, the parts that version 00 has are read";
  return { ...asked, rule, section: `${W3C}, 3.2.4` };
}

function b3Rules(value) {
  const absent = "no b3 came, and where none comes a new trace begins";
  if (!value.trim()) return { ...nothing(absent, "B3, Overall Process"), isAbsent: true };
  const header = decode("b3", value);
  const [fault] = faultsOf(header);
  if (fault) return invalid("b3", fault);
  const [first, parentId, state = "1"] = header.parts.map(({ text }) => text);
  const samplingSection = "B3, Sampling State";
  if (parentId) {
    const asked = { traceId: first.padStart(32, "0"), parentId, isSampled: state !== "0", samplingSection };
    return { ...asked, rule: "a valid b3 is continued", section: "B3, Single Header" };
  }
  const rule = "b3 brought a decision without ids, and without ids a new trace begins";
  return { ...nothing(rule, samplingSection), isSampled: first !== "0", samplingSection };
}

// Whether the answer continues the trace that was sent, whatever the rules say.
export function isSameTrace({ traceId }, { traceparent = "", b3 = "" }) {
  const sent = `${traceparent} ${b3}`;
  return sent.includes(traceId) || (/^0{16}/.test(traceId) && b3.startsWith(traceId.slice(16)));
}

// One sentence, which begins with Right or Wrong. `predicted` is { isSame, isRecorded }, and `answer` is { traceId,
// isSampled } of Server-Timing.
export function verdict(predicted, answer, headers, reads) {
  const isSame = isSameTrace(answer, headers);
  const asked = askedFor(headers, reads, answer.traceId);
  const clauses = [
    traceClause(isSame, asked),
    recordingClause(answer.isSampled, asked),
    headers.tracestate && tracestateClause(headers.tracestate, isSame, reads),
    headers.baggage && baggageClause(headers.baggage, reads),
  ];
  return `${grade(predicted, isSame, answer.isSampled)}: ${clauses.filter(Boolean).join("; ")}.`;
}

function grade(predicted, isSame, isRecorded) {
  const isTraceRight = predicted.isSame === isSame;
  const isRecordingRight = predicted.isRecorded === isRecorded;
  if (isTraceRight && isRecordingRight) return "Right";
  if (isTraceRight) return "Wrong about the recording";
  return isRecordingRight ? "Wrong about the trace" : "Wrong about both";
}

function traceClause(isSame, { traceId, rule, section }) {
  const words = isSame ? "it is the same trace" : "it is a new trace";
  if (isSame !== (traceId !== null)) return `${words}, which no rule explains that this page knows`;
  return `${words}, because ${rule} (${section})`;
}

function recordingClause(isRecorded, { isSampled, samplingSection }) {
  const words = isRecorded ? "it is recorded" : "it is not recorded";
  if (isSampled === null) {
    const sampler = isRecorded ? "records what begins here" : "does not record what begins here";
    return `${words}, because no sender’s decision counts and the shop’s sampler ${sampler} (OTEL_TRACES_SAMPLER)`;
  }
  if (isSampled !== isRecorded) {
    return `${words}, because the sender’s flag is advice, which this shop’s sampler does not take (${W3C}, 3.2.2.5)`;
  }
  const decision = isSampled ? "has decided to record" : "has decided not to record";
  return `${words}, because the sender ${decision} and the shop’s sampler follows (${samplingSection})`;
}

const notPassedOn = (name) => `the ${name} is not passed on, because this shop does not read it (OTEL_PROPAGATORS)`;

function tracestateClause(value, isSame, reads) {
  if (!reads.has("tracestate")) return notPassedOn("tracestate");
  if (!isSame) return `the tracestate is not read, because it belongs to the traceparent (${W3C}, 3.3)`;
  const [fault] = faultsOf(decode("tracestate", value));
  if (fault) return `the whole tracestate is dropped: ${asClause(fault.sentence)} (${fault.section})`;
  const isNew = /(^|,)\s*[0-9]/.test(value);
  const digit = isNew ? ", even with a key that begins with a digit, because Level 2 allows that" : "";
  return `the tracestate is passed on${digit} (${W3C}, 3.3.2.2.1)`;
}

function baggageClause(value, reads) {
  if (!reads.has("baggage")) return notPassedOn("baggage");
  const isWhole = faultsOf(decode("baggage", value)).length === 0;
  if (!isWhole) return "of the baggage, only the valid members are passed on (W3C Baggage, Mutating baggage)";
  return "the baggage is passed on to the kitchen, and decides neither (W3C Baggage, Overview)";
}
