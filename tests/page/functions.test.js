// The page's pure functions, without a browser: node --test tests/page/functions.test.js

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { commandFor, quoted } from "../../static/curl.js";
import { headersFor, observe } from "../../static/experiments.js";
import { codeOf, extent, inWords, isGrowing, isIncomplete, micros } from "../../static/facts.js";
import { canBeSent, decode, headersOf, isFaulty, readServerTiming } from "../../static/headers.js";
import { rows } from "../../static/rows.js";
import { functionAround } from "../../static/source.js";

const TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT_ID = "00f067aa0ba902b7";
const TRACEPARENT = `00-${TRACE_ID}-${PARENT_ID}-01`;

// A span as the SDK writes it; it begins and ends after so many milliseconds.
const span = (id, parent, kind, name, start, end, attributes = {}) => ({
  name, kind: `SpanKind.${kind}`, status: { status_code: "UNSET" },
  context: { trace_id: `0x${TRACE_ID}`, span_id: `0x${id}` },
  parent_id: parent && `0x${parent}`,
  start_time: `2026-11-22T21:29:20.${String(start).padStart(3, "0")}000Z`,
  end_time: end === null ? null : `2026-11-22T21:29:20.${String(end).padStart(3, "0")}000Z`,
  attributes: { "thread.name": kind === "INTERNAL" ? name : "main", ...attributes },
  resource: { attributes: { "service.name": "shop" } },
});

const SENT = { "http.request.header.traceparent": [TRACEPARENT] };
const TAKEN = { "http.route": "/kitchen/add_donuts", "http.response.status_code": 200 };
const ORDER = [
  span("4", "3", "SERVER", "POST /kitchen/add_donuts", 3, 4, TAKEN),
  span("3", "2", "CLIENT", "POST", 2, 5, SENT),
  span("2", "1", "INTERNAL", "order", 1, 6),
  span("1", null, "SERVER", "POST /order", 0, 7, { "http.response.status_code": 200 }),
];
const outline = (spans) => rows(spans).map(({ key, level, way = "" }) => `${level} ${key} ${way}`.trim());

for (const { header, what, sent, fault } of JSON.parse(readFileSync(new URL("../traceparents.json", import.meta.url)))) {
  test(`${header}, ${what}: ${fault ? "a fault is marked" : "no fault is marked"}`, () => {
    assert.equal(isFaulty(decode(header, sent)), fault, JSON.stringify(decode(header, sent), null, 1));
  });
}

test("rows are in call order, with the header that crossed, and a place for the fryer's span", () => {
  const expected = ["1 1", "2 2", "3 3", "4 3/hop ↳ crossed", "4 4"];
  assert.deepEqual(outline(ORDER), [...expected, "5 4/wait"]);
  const fry = span("5", "4", "INTERNAL", "fry", 9, null);
  assert.deepEqual(outline([...ORDER, fry]), [...expected, "5 5"]);
  assert.deepEqual([ORDER, [...ORDER, fry], [ORDER[3]]].map(isGrowing), [true, true, false]);
  assert.equal(rows([...ORDER, fry]).at(-1).otherThread, "fry");
});

test("headers without a span that received them, and headers without a span that sent them", () => {
  assert.deepEqual(outline([ORDER[1]]), ["1 3", "2 3/hop ↳ injected"]);
  const received = span("4", PARENT_ID, "SERVER", "GET", 0, 1, SENT);
  assert.deepEqual(outline([received]), ["1 4/hop ↳ came in", "1 4"]);
  assert.match(rows([received])[1].note, /^parent 00f067aa0ba902b7 is not here: it is the caller’s own span$/);
});

test("spans that are each other's parents, or their own, are shown once, with a note", () => {
  const circle = [["1", "2"], ["2", "1"], ["3", "3"], ["4", "2"]].map(([id, parent], start) =>
    span(id, parent, "SERVER", "GET", start, 9));
  assert.deepEqual(outline(circle), ["1 1", "2 2", "3 4", "1 3"]);
  assert.deepEqual(rows(circle).map(({ note }) => /each other/.test(note)), [true, false, false, true]);
});

test("a span that ended before it began takes no time, and says why", () => {
  const back = span("1", null, "SERVER", "POST", 500, 100);
  assert.deepEqual(rows([back]).map(({ took, note }) => [took, /the clock was set back/.test(note)]), [[0, true]]);
  assert.equal(extent([back]).last, extent([back]).first);
});

test("times", () => {
  assert.deepEqual(["20Z", "20.5Z", "20.303854Z"].map((end) => micros(`2026-11-22T21:29:${end}`) % 1e6), [0, 5e5, 303_854]);
  assert.deepEqual([350, 999, 9140, 999_499, 1_400_000].map(inWords), ["350 µs", "999 µs", "9.14 ms", "999 ms", "1.4 s"]);
});

test("the code of a span on any system, and attributes that limits have dropped or cut", () => {
  const at = (path) => span("1", null, "SERVER", "GET", 0, 1, { "http.request.method": "GET", "code.file.path": path });
  for (const path of ["/home/a/kitchen.py", "C:\\Users\\a\\kitchen.py"]) assert.equal(codeOf(at(path)).file, "kitchen.py");
  assert.deepEqual([at("/a/b.py"), at("/home/ki"), ORDER[3], ORDER[2]].map(isIncomplete), [false, true, true, false]);
});

test("a function is found around a line of it, from its decorators to its last line", () => {
  const source = "a = 1\n\n@b\ndef f(\n    x,\n):\n    \"\"\"Two\n    lines.\"\"\"\n    # why\n\n    y\n\n\ndef g():\n    \"\"\"One.\"\"\"\n    z\n";
  const found = (text, line) => functionAround(text, line).map(({ number, isComment }) => isComment ? -number : number);
  assert.deepEqual(found(source, 11), [3, 4, 5, 6, -7, -8, -9, 10, 11]);
  assert.deepEqual(found("def a():\n    def b():\n        c\n    d\n", 4), [1, 2, 3, 4]);
  assert.deepEqual([1, 14, 99].map((line) => found(source, line)), [[], [14, -15, 16], []]);
});

test("a shell gets a word back, and a request its headers, its query and a body", () => {
  assert.equal(quoted("it's $HOME %"), "'it'\\''s $HOME %'");
  const attributes = { "http.request.method": "POST", "url.path": "/order", "url.query": "a=b", "http.route": "/order",
    "server.address": "::1", "server.port": 8082, ...SENT };
  assert.equal(commandFor(span("1", null, "SERVER", "POST /order", 0, 1, attributes), [], "http://elsewhere"),
    `curl -X 'POST' 'http://[::1]:8082/order?a=b' \\\n  -H 'traceparent: ${TRACEPARENT}' \\\n`
    + `  -d '{"donuts":[{"flavor":"glazed","quantity":1}]}'`);
  const status = span("1", null, "SERVER", "POST /status", 0, 1, { ...attributes, "http.route": "/status" });
  assert.match(commandFor(status, [{ attributes: { "microdonuts.order.id": "x" } }], ""), /-d '{"order_id":"x"}'$/);
});

test("members of a list are split and never judged; what the browser cannot send is known", () => {
  const parts = (name, value) => decode(name, value).parts.map(({ label, value: each }) => [label, each]);
  assert.deepEqual(parts("tracestate", "A=1%20, ,b=c=d"), [["A", "1%20"], ["b", "c=d"]]);
  assert.deepEqual(parts("baggage", "a=1%202;p,b=%zz"), [["a", "1 2;p"], ["b", "%zz"]]);
  assert.deepEqual(parts("traceparent", "x, y"), [["values", "x, y"]]);
  assert.deepEqual(parts("b3", TRACE_ID), [["trace id", TRACE_ID], ["span id", ""]]);
  assert.deepEqual(["a\tb é", "a\nb", "€"].map(canBeSent), [true, false, false]);
});

test("a header that was received and not used is told from one that was used", () => {
  const root = (...values) => span("1", null, "SERVER", "POST", 0, 1, { "http.request.header.traceparent": values });
  const other = root(TRACEPARENT.toUpperCase(), TRACEPARENT.toUpperCase());
  assert.deepEqual([TRACEPARENT, "00"].map((value) => rows([root(value)])[0].way), ["↳ came in", "↳ came in, not used"]);
  assert.deepEqual(headersOf(other)[1].parts.slice(1, 3).map(({ means }) => means), [null, null]);
  assert.match(headersOf(other)[1].wrong, /received and not used.* of several none counts/);
});

test("what came of a header is observed", () => {
  const answer = readServerTiming(`trace;desc="00-${TRACE_ID}-0000000000000001-02"`);
  assert.deepEqual(answer, { traceId: TRACE_ID, spanId: "0000000000000001", flags: "02" });
  assert.deepEqual([null, "cache;desc=x"].map(readServerTiming), [null, null]);
  const ours = [ORDER[1], span("0000000000000001", null, "SERVER", "POST /order", 0, 1),
    span("5", "0000000000000001", "INTERNAL", "order", 0, 1), span("6", "5", "CLIENT", "POST", 0, 1, { "http.request.header.tracestate": ["a=1"] })];
  assert.equal(observe({}, answer, ours).trace, "new");
  assert.equal(observe({ b3: "57b34da6-1" }, { ...answer, traceId: `${"0".repeat(16)}57b34da6` }, ours).trace, "same");
  const { trace, recording, sentences } = observe({ traceparent: TRACEPARENT, tracestate: "a=1" }, answer, ours);
  assert.deepEqual([trace, recording, sentences[2]], ["same", "recorded", "The kitchen was sent the tracestate “a=1”."]);
  assert.equal(observe({}, answer, [ORDER[1]]).recording, "not recorded");
  assert.match(headersFor("not sampled", new Set(["b3"])).b3, /^[0-9a-f]{32}-[0-9a-f]{16}-0$/);
  assert.match(headersFor("all zeros", new Set(["b3", "traceparent"])).traceparent, /^00-0{32}-0{16}-01$/);
});
