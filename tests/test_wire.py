"""The headers of W3C Trace Context (Level 2), W3C Baggage and B3.

The rules of both standards are rows of traceparents.json, tracestates.json and baggages.json, which
test_microdonuts.py sends to a shop. Those of traceparents.json are also run by tests/page.
"""

import re
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import baggage, context, propagate, trace
from servers import CALLER_ID, ORDER, TRACE_ID, TRACEPARENT, rows

import kitchen

settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")

CHECK = {"order_id": "o"}


@rows("traceparents", header="b3")
def test_a_b3_header_is_continued_or_not(front, fake, ask, monkeypatch, row):
    monkeypatch.setattr(propagate, "get_global_textmap", lambda: kitchen.PROPAGATORS["b3"])
    ask(front, "/status", CHECK, {"b3": row["sent"]})
    [call] = fake.requests
    trace_id, span_id, state = call.headers["b3"].split("-")
    is_continued = trace_id.lstrip("0") in row["sent"]
    assert (is_continued, state) == (row["continued"], row["flags"])
    assert (len(trace_id), len(span_id)) == (32, 16)


def test_what_came_is_on_the_span_as_it_came(shop, spans, ask):
    sent = [("traceparent", "a"), ("Traceparent", "b"), ("tracestate", "c=1,d=2")]
    [server] = spans.of(ask(shop, "/nowhere", headers=sent), 1)
    assert server.attributes["http.request.header.traceparent"] == ("a", "b")
    assert server.attributes["http.request.header.tracestate"] == ("c=1,d=2",)


# ---------------------------------------------------------------- tracestate

# The longest that has to be passed on: 32 members, with keys and values of 256 characters.
LONGEST = ",".join(f"{number:0256d}={'v' * 256}" for number in range(32))


def test_the_longest_tracestate_is_passed_on(front, fake, ask):
    ask(front, "/status", CHECK, {"traceparent": TRACEPARENT, "tracestate": LONGEST})
    [call] = fake.requests
    assert call.headers["tracestate"] == LONGEST
    assert {"traceparent", "tracestate"} <= set(call.headers), "names are sent in lower case"


def test_a_tracestate_looks_like_the_apis_own():
    """The SDK's JSON has its `repr`, and an exporter its `to_header`."""
    ours = kitchen.W3CTraceState.from_header(["a=1,b=2"])
    theirs = trace.TraceState.from_header(["a=1,b=2"])
    assert repr(ours) == repr(theirs)
    assert ours.to_header() == theirs.to_header()


# ---------------------------------------------------------------- baggage

KEY, OCTETS = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", r"[!#-+\--:<-\[\]-~]*"
BAGGAGE = re.compile(rf"{KEY}={OCTETS}(,{KEY}={OCTETS})*")
# With "a=" in front, and behind the shop's own member, these are 8,192 bytes.
FULL = "0" * 8_132
MANY = [f"{number:03d}=0123456789a" for number in range(512)]


def others(front, fake, ask, *lines):
    """Return the baggage that the kitchen gets behind the shop's own."""
    ask(front, "/order", ORDER, [("baggage", line) for line in lines])
    [sent] = {call.headers["baggage"] for call in fake.requests}
    assert BAGGAGE.fullmatch(sent)
    assert len(sent) <= 8_192
    own, *members = sent.split(",")
    assert re.fullmatch("microdonuts.order.id=[0-9a-f-]{36}", own)
    return members


def test_baggage_of_8_192_bytes_is_passed_on_and_of_more_whole_members(front, fake, ask):
    assert others(front, fake, ask, f"a={FULL}") == [f"a={FULL}"]
    fake.requests.clear()
    assert others(front, fake, ask, f"a={FULL}0") == []
    fake.requests.clear()
    assert others(front, fake, ask, "a=1", f"b={FULL}") == ["a=1"]
    fake.requests.clear()
    assert sorted(others(front, fake, ask, ",".join(MANY))) == MANY[:508]


@pytest.mark.parametrize("order_id", ['x, y;z=%\\"', "a+b", "%41", "x" * 100])
def test_an_order_id_of_any_text_travels(front, fake, ask, order_id):
    ask(front, "/status", {"order_id": order_id})
    name, _, value = fake.requests[0].headers["baggage"].partition("=")
    assert (name, unquote(value)) == ("microdonuts.order.id", order_id)


NAMES_OF_BAGGAGE = st.from_regex(f"{KEY[:-1]}{{1,20}}", fullmatch=True)


@given(st.dictionaries(NAMES_OF_BAGGAGE, st.text(max_size=50)))
def test_baggage_that_inject_writes_extract_reads(entries):
    sent_in, carrier = context.Context(), {}
    for key, value in entries.items():
        sent_in = baggage.set_baggage(key, value, sent_in)
    kitchen.PROPAGATORS["baggage"].inject(carrier, sent_in)
    assert all(map(BAGGAGE.fullmatch, carrier.values()))
    headers = {"baggage": list(carrier.values())}
    found_in = kitchen.PROPAGATORS["baggage"].extract(headers, context.Context())
    assert dict(baggage.get_all(found_in)) == entries


# ---------------------------------------------------------------- every propagator

NAMES = sorted(kitchen.PROPAGATORS)
READ = ("traceparent", "tracestate", "baggage", "b3")
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
    attributes = {f"http.request.header.{header}" for header in carrier}
    assert set(kitchen.header_attributes(carrier)) == attributes, "PROPAGATION_HEADERS has them all"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_injected_or_extracted_where_there_is_nothing(name):
    carrier = {}
    kitchen.PROPAGATORS[name].inject(carrier, context.Context())
    assert carrier == dict(kitchen.PROPAGATORS[name].extract({})) == {}


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


@given(IDS, st.integers(0, 1))
def test_b3_that_inject_writes_extract_reads(ids, flags):
    got = round_trip("b3", ids, flags, None)
    assert (got.trace_id, got.span_id, got.trace_flags, got.is_remote) == (*ids, flags, True)


def test_a_b3_without_ids_leaves_a_traceparent_alone():
    carrier = {"traceparent": [TRACEPARENT], "b3": ["0"]}
    before = kitchen.PROPAGATORS["tracecontext"].extract(carrier, context.Context())
    assert kitchen.PROPAGATORS["b3"].extract(carrier, before) == before


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
