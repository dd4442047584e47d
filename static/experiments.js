// What the ready experiments of index.html send, and what is observed of an answer: pure functions, for Node too.

import { bare, headerValues, idOf, kindOf } from "./facts.js";
import { carries } from "./headers.js";

const hex = (bytes) =>
  Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, "0")).join("");
const newIds = () => ({ traceId: hex(16), spanId: hex(8) });

// By the names on their buttons. `ids` are { traceId, spanId }, and `carry` is one of the two below.
const EXPERIMENTS = {
  "your own trace": (ids, carry) => carry(ids, "1"),
  "not sampled": (ids, carry) => carry(ids, "0"),
  "upper case": ({ traceId, spanId }, carry) =>
    carry({ traceId: traceId.toUpperCase(), spanId: spanId.toUpperCase() }, "1"),
  "all zeros": (ids, carry) => carry({ traceId: "0".repeat(32), spanId: "0".repeat(16) }, "1"),
  "version 01 with more": ({ traceId, spanId }) =>
    ({ traceparent: `01-${traceId}-${spanId}-01-what-the-future-brings` }),
  "two traceparents": (ids) =>
    ({ traceparent: `${traceparent(ids, "1").traceparent}, ${traceparent(newIds(), "1").traceparent}` }),
  "tracestate with a key of Level 2": (ids, carry) =>
    ({ ...carry(ids, "1"), tracestate: "1a=new-in-level-2,vendor=as-ever" }),
  "baggage with a customer": (ids, carry) => ({ ...carry(ids, "1"), baggage: "customer=Ada%20Lovelace" }),
  "no header": () => ({}),
};

const traceparent = ({ traceId, spanId }, state) => ({ traceparent: `00-${traceId}-${spanId}-0${state}` });
const b3 = ({ traceId, spanId }, state) => ({ b3: `${traceId}-${spanId}-${state}` });

// { header: value, ... } of an experiment, for a shop that reads the headers in the Set `reads`.
export const headersFor = (name, reads) =>
  EXPERIMENTS[name](newIds(), reads.has("b3") && !reads.has("traceparent") ? b3 : traceparent);

// What is seen of { traceId, spanId }, which the answer named, and of its spans: { trace, recording, sentences }, in
// the words of the page's predictions.
export function observe({ traceparent = "", b3 = "", ...lists }, { traceId, spanId }, spans) {
  const isSame = [traceparent, b3].some((value) => carries(value, traceId));
  const isRecorded = spans.some((span) => idOf(span) === spanId);
  const childrenOf = (id) => spans.filter((span) => bare(span.parent_id) === id);
  const calls = childrenOf(spanId).flatMap((child) => [child, ...childrenOf(idOf(child))]);
  const client = calls.find((span) => kindOf(span) === "CLIENT");
  const names = client ? ["tracestate", "baggage"].filter((name) => lists[name]) : [];
  const sentences = [
    isSame ? "It is the same trace." : "It is a new trace.",
    isRecorded ? "It was recorded." : "It was not recorded, so nothing can be seen of what went on to the kitchen.",
    ...names.map((name) => wentOn(name, headerValues(client, name))),
  ];
  return { trace: isSame ? "same" : "new", recording: isRecorded ? "recorded" : "not recorded", sentences };
}

const wentOn = (name, [value]) =>
  value ? `The kitchen was sent the ${name} “${value}”.` : `The kitchen was sent no ${name}.`;
