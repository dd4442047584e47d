"""W3C Trace Context, Level 2: what the kitchen gets of the headers that came to the shop.

The rows in traceparents.json are run here against the shop, and by tests/page against the page.
"""

import json
import pathlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import context, propagate, trace
from opentelemetry.propagators.composite import CompositePropagator

import kitchen

settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")

TABLE = json.loads((pathlib.Path(__file__).parent / "traceparents.json").read_text("utf-8"))
TRACE_ID, CALLER_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{CALLER_ID}-01"
CHECK = {"order_id": "o"}


def rows(header):
    chosen = [row for row in TABLE if row["header"] == header]
    return pytest.mark.parametrize("row", chosen, ids=[row["what"] for row in chosen])


@rows("traceparent")
def test_a_traceparent_is_continued_or_not(front, fake, spans, ask, row):
    reply = ask(front, "/status", CHECK, {"traceparent": row["sent"]})
    [call] = fake.requests
    version, trace_id, parent_id, flags = call.headers["traceparent"].split("-")
    assert (trace_id in row["sent"], flags) == (row["continued"], row["flags"])
    assert version == "00"
    assert (len(trace_id), len(parent_id)) == (32, 16)
    assert parent_id != CALLER_ID
    assert reply.trace_id == trace_id
    if int(row["flags"], 16) & 1:
        [server, *_] = spans.of(reply, 3)
        parent_id = server.parent and f"{server.parent.span_id:016x}"
        assert parent_id == (CALLER_ID if row["continued"] else None)


@rows("b3")
def test_a_b3_header_is_continued_or_not(front, fake, ask, choose, row):
    choose("b3")
    ask(front, "/status", CHECK, {"b3": row["sent"]})
    [call] = fake.requests
    trace_id, span_id, state = call.headers["b3"].split("-")
    is_continued = trace_id.lstrip("0") in row["sent"]
    assert (is_continued, state) == (row["continued"], row["flags"])
    assert (len(trace_id), len(span_id)) == (32, 16)


@pytest.fixture
def choose():
    """choose("b3", ...): let this process use these propagators, as OTEL_PROPAGATORS would."""
    usual = propagate.get_global_textmap()

    def choose(*names):
        chosen = [kitchen.PROPAGATORS[name] for name in names]
        propagate.set_global_textmap(CompositePropagator(chosen))

    yield choose
    propagate.set_global_textmap(usual)


# What it is about; the headers that are sent; the flags and the tracestate that the kitchen gets,
# where the trace is continued, or None.
SEVERAL = [
    ("names of any case", {"TraceParent": TRACEPARENT, "TRACESTATE": "a=1"}, ("01", "a=1")),
    ("a tracestate alone", {"tracestate": "a=1"}, None),
    ("a traceparent that is bad", {"traceparent": "x", "tracestate": "a=1"}, None),
    ("two that are equal", [("traceparent", TRACEPARENT), ("traceparent", TRACEPARENT)], None),
    ("two of any case", [("traceparent", TRACEPARENT), ("TraceParent", TRACEPARENT)], None),
    ("two, the second is bad", [("traceparent", TRACEPARENT), ("traceparent", "x")], None),
    ("two, the first is empty", [("traceparent", ""), ("traceparent", TRACEPARENT)], None),
]


@pytest.mark.parametrize(("what", "headers", "expected"), SEVERAL)
def test_the_headers_together(front, fake, ask, what, headers, expected):
    ask(front, "/status", CHECK, headers)
    [call] = fake.requests
    _, trace_id, _, flags = call.headers["traceparent"].split("-")
    tracestate = call.headers["tracestate"]
    assert ((flags, tracestate) if trace_id == TRACE_ID else tracestate) == expected
    assert "traceparent" in call.headers.keys(), "the name is sent in lower case"


def test_what_came_is_on_the_span_as_it_came(shop, spans, ask):
    sent = [("traceparent", "a"), ("Traceparent", "b"), ("tracestate", "c=1,d=2")]
    [server] = spans.of(ask(shop, "/nowhere", headers=sent), 1)
    assert server.attributes["http.request.header.traceparent"] == ("a", "b")
    assert server.attributes["http.request.header.tracestate"] == ("c=1,d=2",)


# ---------------------------------------------------------------- tracestate

MANY = [f"k{number}=v" for number in range(33)]
LONG_KEY, LONG_VALUE = "k" * 256, "v" * 256
LONGEST = ",".join(f"{number:0256d}={LONG_VALUE}" for number in range(32))
# The section of the standard, and what it is about; the lines that are sent; what is passed on.
TRACESTATES = [
    ("3.3.2 order and bytes are kept", ['z=1,a@b= x!"~ y,m=4'], 'z=1,a@b= x!"~ y,m=4'),
    ("3.3.2 several lines are one", ["a=1", "b=2,c=3"], "a=1,b=2,c=3"),
    ("3.3.2 blanks around members", [" a=1 \t, b=2,\tc=3 "], "a=1,b=2,c=3"),
    ("3.3.2 empty members and lines", ["", "a=1, ,,b=2,", " "], "a=1,b=2"),
    ("3.3.2 it is never sent empty", [""], None),
    ("3.3.2.1 32 members", [",".join(MANY[:32])], ",".join(MANY[:32])),
    ("3.3.2.1 32 members of the greatest length", [LONGEST], LONGEST),
    ("3.3.2.1 33 members", [",".join(MANY)], None),
    ("3.3.2.1 33 members in two lines", [",".join(MANY[:16]), ",".join(MANY[16:])], None),
    ("3.3.2.2.1 keys of Level 2", ["1a=1,a@b@c=2,0=3,a_-*/=4"], "1a=1,a@b@c=2,0=3,a_-*/=4"),
    ("3.3.2.2.1 a key of 256", [f"{LONG_KEY}=1"], f"{LONG_KEY}=1"),
    ("3.3.2.2.1 a key of 257", [f"{LONG_KEY}k=1,a=1"], None),
    ("3.3.2.2.1 a key in upper case", ["b=2,A=1"], None),
    ("3.3.2.2.1 a key with - in front", ["b=2,-a=1"], None),
    ("3.3.2.2.1 a key with _ in front", ["b=2,_a=1"], None),
    ("3.3.2.2.1 a key with @ in front", ["b=2,@a=1"], None),
    ("3.3.2.2.1 a key with a blank", ["b=2,a =1"], None),
    ("3.3.2.2.1 a key with !", ["b=2,a!=1"], None),
    ("3.3.2.2.1 no key", ["b=2,=1"], None),
    ("3.3.2.2.2 a value of 256", [f"a={LONG_VALUE}"], f"a={LONG_VALUE}"),
    ("3.3.2.2.2 a value of 257", [f"a={LONG_VALUE}v"], None),
    ("3.3.2.2.2 no value", ["b=2,a="], None),
    ("3.3.2.2.2 no = at all", ["b=2,a"], None),
    ("3.3.2.2.2 a value with =", ["b=2,a=1=2"], None),
    ("3.3.2.2.2 a value beyond ASCII", ["b=2,a=é"], None),
    ("3.3.2.2.2 a value with a tab", ["b=2,a=a\tb"], None),
    ("3.3.3 the first of a repeated key", ["a=1,b=2,a=3"], "a=1,b=2"),
]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [row[1:] for row in TRACESTATES],
    ids=[row[0] for row in TRACESTATES],
)
def test_a_tracestate_is_passed_on_whole_or_not_at_all(front, fake, ask, lines, expected):
    headers = [("traceparent", TRACEPARENT), *(("tracestate", line) for line in lines)]
    reply = ask(front, "/status", CHECK, headers)
    [call] = fake.requests
    assert call.headers["tracestate"] == expected
    assert reply.trace_id == TRACE_ID, "a bad tracestate must not cost the trace"


def test_a_tracestate_looks_like_the_apis_own():
    """The SDK's JSON has its `repr`, and an exporter its `to_header`."""
    ours = kitchen.W3CTraceState.from_header(["a=1,b=2"])
    theirs = trace.TraceState.from_header(["a=1,b=2"])
    assert repr(ours) == repr(theirs)
    assert ours.to_header() == theirs.to_header()


# ---------------------------------------------------------------- every propagator

NAMES = sorted(kitchen.PROPAGATORS)
B3_MULTI = ("x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags")
READ = ("traceparent", "tracestate", "baggage", "b3", *B3_MULTI)
EVERYTHING = {
    "traceparent": [TRACEPARENT],
    "tracestate": ["a=1"],
    "baggage": ["a=1"],
    "b3": [f"{TRACE_ID}-{CALLER_ID}-1"],
}


@pytest.mark.parametrize("name", NAMES)
def test_fields_name_all_that_inject_writes(name):
    propagator, carrier, found_in = kitchen.PROPAGATORS[name], {}, context.Context()
    for each in kitchen.PROPAGATORS.values():
        found_in = each.extract(EVERYTHING, found_in)
    propagator.inject(carrier, kitchen.PROPAGATORS["tracecontext"].extract(EVERYTHING, found_in))
    assert set(propagator.fields) == set(carrier)
    assert set(carrier) <= set(kitchen.PROPAGATION_HEADERS), "the page would not show it"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_injected_where_there_is_nothing(name):
    carrier = {}
    kitchen.PROPAGATORS[name].inject(carrier, context.Context())
    assert carrier == {}


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_read_leaves_the_context_as_it_was(name):
    before = context.set_value("mine", 1, context.Context())
    for value in ("", "x", "-", ",", ";", "=", "é"):
        after = kitchen.PROPAGATORS[name].extract(dict.fromkeys(READ, [value]), before)
        assert dict(after) == {"mine": 1}


@given(
    st.dictionaries(
        st.sampled_from(READ),
        st.lists(st.binary(max_size=300).map(lambda data: data.decode("latin-1")), max_size=3),
    ),
    st.sampled_from(NAMES),
)
def test_nothing_that_is_sent_raises_or_makes_an_invalid_span(carrier, name):
    found_in = kitchen.PROPAGATORS[name].extract(carrier, context.Context())
    found = trace.get_current_span(found_in).get_span_context()
    assert found.is_valid == found.is_remote
    kitchen.PROPAGATORS[name].inject({}, found_in)


IDS = st.tuples(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1))
KEYS = st.from_regex(r"[a-z0-9][a-z0-9_*/@-]{0,255}", fullmatch=True)
VALUES = st.from_regex(r"[ -+\--<>-~]{0,255}[!-+\--<>-~]", fullmatch=True)


@given(IDS, st.integers(0, 3), st.dictionaries(KEYS, VALUES, max_size=32))
def test_trace_context_that_inject_writes_extract_reads(ids, flags, members):
    header = ",".join(f"{key}={value}" for key, value in members.items())
    got = round_trip("tracecontext", ids, flags, kitchen.W3CTraceState.from_header([header]))
    assert (got.trace_id, got.span_id, got.trace_flags, got.is_remote) == (*ids, flags, True)
    assert got.trace_state.to_header() == header
    assert dict(got.trace_state) == members


@given(IDS, st.integers(0, 1), st.sampled_from(["b3", "b3multi"]))
def test_b3_that_inject_writes_extract_reads(ids, flags, name):
    got = round_trip(name, ids, flags, None)
    assert (got.trace_id, got.span_id, got.trace_flags, got.is_remote) == (*ids, flags, True)


def round_trip(name, ids, flags, trace_state):
    """Return the span context that a propagator reads from what it has written."""
    sent = trace.SpanContext(*ids, False, trace.TraceFlags(flags), trace_state)
    sent_in = trace.set_span_in_context(trace.NonRecordingSpan(sent), context.Context())
    carrier = {}
    kitchen.PROPAGATORS[name].inject(carrier, sent_in)
    assert all(re.fullmatch(r"[ -~]*", value) for value in carrier.values())
    carrier = {header: [value] for header, value in carrier.items()}
    found_in = kitchen.PROPAGATORS[name].extract(carrier, context.Context())
    return trace.get_current_span(found_in).get_span_context()
