// The ready experiments: what each one sends, with ids that are made on the spot. Pure functions, which Node runs too.

const hex = (bytes) =>
  Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, "0")).join("");

// `ids` are { traceId, spanId }, `carry` is traceparent or b3 below, whichever this shop reads.
export const EXPERIMENTS = [
  {
    name: "your own trace",
    hint: "You are the upstream: the trace began with you, and your span is recorded.",
    headers: (ids, carry) => carry(ids, true),
  },
  {
    name: "not sampled",
    hint: "You have a trace, and have decided not to record it.",
    headers: (ids, carry) => carry(ids, false),
  },
  {
    name: "upper case",
    hint: "Hex digits are often written in upper case elsewhere. Is that allowed here?",
    headers: ({ traceId, spanId }, carry) =>
      carry({ traceId: traceId.toUpperCase(), spanId: spanId.toUpperCase() }, true),
  },
  {
    name: "all zeros",
    hint: "Both ids have the right length, but no digit other than 0.",
    headers: (ids, carry) => carry({ traceId: "0".repeat(32), spanId: "0".repeat(16) }, true),
  },
  {
    name: "version 01 with more",
    hint: "Version 01 does not exist yet. Here it is, with a part that nobody knows.",
    headers: (ids) => ({ traceparent: `01-${ids.traceId}-${ids.spanId}-01-what-the-future-brings` }),
  },
  {
    name: "two traceparents",
    hint: "This page cannot send the same header twice: fetch joins the two with a comma, as you see. That should "
      + "come to the same (RFC 9110, 5.3). From a terminal, curl sends two lines if you give it two -H options.",
    headers: (ids) => {
      const { traceparent: first } = traceparent(ids, true);
      const { traceparent: second } = traceparent(newIds(), true);
      return { traceparent: `${first}, ${second}` };
    },
  },
  {
    name: "tracestate with a key of Level 2",
    hint: "In Level 1 of the standard no key began with a digit, unless an @ followed. Level 2 allows it.",
    headers: (ids, carry) => ({ ...carry(ids, true), tracestate: "1a=new-in-level-2,vendor=as-ever" }),
  },
  {
    name: "baggage with a customer",
    hint: "Baggage goes along with the trace to the kitchen. See on the spans which of them received it.",
    headers: (ids, carry) => ({ ...carry(ids, true), baggage: "customer=Ada%20Lovelace" }),
  },
  {
    name: "no header",
    hint: "As the Order button does it.",
    headers: () => ({}),
  },
];

// { header: value, ... } of an experiment, for a shop that reads the headers in the Set `reads`.
export const headersFor = (experiment, reads) =>
  experiment.headers(newIds(), reads.has("b3") && !reads.has("traceparent") ? b3 : traceparent);

const newIds = () => ({ traceId: hex(16), spanId: hex(8) });

const traceparent = ({ traceId, spanId }, isSampled) => ({
  traceparent: `00-${traceId}-${spanId}-${isSampled ? "01" : "00"}`,
});

const b3 = ({ traceId, spanId }, isSampled) => ({
  b3: `${traceId}-${spanId}-${isSampled ? "1" : "0"}`,
});
