"""W3C Baggage, and B3: what the kitchen gets of the headers that came to the shop."""

import re
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, context, trace

import kitchen

# ---------------------------------------------------------------- baggage

KEY, OCTETS = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", r"[!#-+\--:<-\[\]-~]*"
BAGGAGE = re.compile(rf"{KEY}={OCTETS}(,{KEY}={OCTETS})*")
ODD = "\t \"';=asdf!@#$%^&*()é"
EACH_OCTET = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '%",;\\')
MANY = [f"{number:03d}=0123456789a" for number in range(512)]
SIXTY_THREE = {f"key{number}": "value" for number in range(63)}
# With "a=" in front, and behind the shop's own member, these are 8,192 bytes.
LONGEST = "0" * 8_132
# What it is about, mostly after the W3C's own tests (w3c/baggage, test/test_baggage.py); the lines
# that are sent; the names and values that go on to the kitchen behind the shop's own.
BAGGAGES = [
    ("none", [], {}),
    ("empty", ["", ",", " , \t,", ";"], {}),
    ("one", ["SomeKey=SomeValue"], {"SomeKey": "SomeValue"}),
    ("two", ["a=1,b=2"], {"a": "1", "b": "2"}),
    ("several lines", ["a=1", "b=2, c=3"], {"a": "1", "b": "2", "c": "3"}),
    ("blanks around the separators", ["a \t = \t 1 \t , \t b = 2 "], {"a": "1", "b": "2"}),
    ("properties are left out", ["a=1;p,b=2;p=3 ; q , c=3;p=4;p"], {"a": "1", "b": "2", "c": "3"}),
    ("several =", ["a=1=2=="], {"a": "1=2=="}),
    ("percent-encoded", [f"a={quote(ODD)}"], {"a": ODD}),
    ("percent-encoded, with blanks", [f" a = {quote(ODD)} ;p={quote(ODD)}"], {"a": ODD}),
    ("a plus sign is a plus sign", ["a=1+1,b=1%2B1,c=1%201"], {"a": "1+1", "b": "1+1", "c": "1 1"}),
    ("no UTF-8 is U+FFFD", ["a=%FFx,b=%e2%82"], {"a": "\ufffdx", "b": "\ufffd"}),
    ("a percent sign that encodes nothing", ["a=%zz%"], {"a": "%zz%"}),
    ("an empty value", ["a=,b=1"], {"a": "", "b": "1"}),
    ("each octet of a value", [f"a={EACH_OCTET}"], {"a": EACH_OCTET}),
    ("each octet of a key", ["!#$%&'*+-.^_`|~0aA=1"], {"!#$%&'*+-.^_`|~0aA": "1"}),
    (
        "keys are case-sensitive and never decoded",
        ["A=1,a=2,%61=3"],
        {"A": "1", "a": "2", "%61": "3"},
    ),
    ("malformed: no =", ["a,b=1"], {"b": "1"}),
    ("malformed: no key", ["=,=1,b=1"], {"b": "1"}),
    ("malformed: a key", ["a b=1,(=1,é=1,a/b=1,b=1"], {"b": "1"}),
    ("malformed: a value", ['a=é,c=b c,d="b",e=b\\c,b=1'], {"b": "1"}),
    ("64 with the shop's own", [",".join(f"{k}={v}" for k, v in SIXTY_THREE.items())], SIXTY_THREE),
    ("8,192 bytes", [f"a={LONGEST}"], {"a": LONGEST}),
    ("8,193 bytes: whole members only", [f"a={LONGEST}0"], {}),
    ("8,192 bytes in two lines", ["a=1", f"b={LONGEST[4:]}"], {"a": "1", "b": LONGEST[4:]}),
]


@pytest.mark.parametrize(("what", "lines", "expected"), BAGGAGES, ids=[row[0] for row in BAGGAGES])
def test_the_callers_baggage_goes_on_behind_the_shops_own(front, fake, ask, what, lines, expected):
    ask(front, "/order", {"donuts": [JELLY]}, [("baggage", line) for line in lines])
    [sent] = {call.headers["baggage"] for call in fake.requests}
    assert BAGGAGE.fullmatch(sent)
    assert len(sent) <= 8_192
    own, *others = [member.partition("=") for member in sent.split(",")]
    assert re.fullmatch("microdonuts.order.id=[0-9a-f-]{36}", "".join(own))
    assert {key: unquote(value) for key, _, value in others} == expected


JELLY = {"flavor": "jelly", "quantity": 1}


def test_of_too_many_members_as_many_go_on_as_there_is_room_for(front, fake, ask):
    ask(front, "/order", {"donuts": [JELLY]}, {"baggage": ",".join(MANY)})
    own, *others = fake.requests[0].headers["baggage"].split(",")
    assert own.startswith("microdonuts.order.id=")
    assert len(others) == 508
    assert set(others) <= set(MANY)


def test_the_shops_own_value_is_first_and_the_callers_is_gone(front, fake, ask):
    sent = {"baggage": "a=1,microdonuts.order.id=theirs;p,b=2"}
    ask(front, "/status", {"order_id": "mine"}, sent)
    [call] = fake.requests
    first, *others = call.headers["baggage"].split(",")
    assert (first, sorted(others)) == ("microdonuts.order.id=mine", ["a=1", "b=2"])


@pytest.mark.parametrize("order_id", ['x, y;z=%\\"', "a+b", "%41", "x" * 100])
def test_an_order_id_of_any_text_travels(front, fake, ask, order_id):
    ask(front, "/status", {"order_id": order_id})
    [call] = fake.requests
    name, _, value = call.headers["baggage"].partition("=")
    assert (name, unquote(value)) == ("microdonuts.order.id", order_id)


def write_and_read(entries):
    """Return the header that W3CBaggage writes of these entries, and what it reads from that."""
    sent_in, carrier = context.Context(), {}
    for key, value in entries.items():
        sent_in = baggage.set_baggage(key, value, sent_in)
    kitchen.PROPAGATORS["baggage"].inject(carrier, sent_in)
    lines = [carrier["baggage"]] if carrier else []
    found_in = kitchen.PROPAGATORS["baggage"].extract({"baggage": lines}, context.Context())
    return carrier.get("baggage"), dict(baggage.get_all(found_in))


@given(st.dictionaries(st.from_regex(f"{KEY[:-1]}{{1,20}}", fullmatch=True), st.text(max_size=50)))
def test_baggage_that_inject_writes_extract_reads(entries):
    header, found = write_and_read(entries)
    assert found == entries or len(header) > 8_000
    assert header is None or BAGGAGE.fullmatch(header)


def test_what_cannot_be_a_key_is_not_sent_and_what_is_no_text_is():
    bad = dict.fromkeys(("", "a b", "a,b", "a=b", "a;b", "a\r\nX-Evil: 1", "é"), "v")
    assert write_and_read(bad) == (None, {})
    header, found = write_and_read({"number": 5, "lines": "1\r\nX-Evil: 2"})
    assert found == {"number": "5", "lines": "1\r\nX-Evil: 2"}
    assert header.isprintable()


# ---------------------------------------------------------------- B3

LONG, SHORT, SPAN, PARENT = (
    "4bf92f3577b34da6a3ce929d0e0e4736",
    "a3ce929d0e0e4736",
    "00f067aa0ba902b7",
    "b7ad6b7169203331",
)
PADDED = "0" * 16 + SHORT


def multi(trace_id=None, span_id=None, sampled=None, flags=None, parent_id=None):
    names = ("TraceId", "SpanId", "Sampled", "Flags", "ParentSpanId")
    values = (trace_id, span_id, sampled, flags, parent_id)
    return {f"X-B3-{name}": value for name, value in zip(names, values, strict=True) if value}


# The headers that are sent; what is read: trace id, span id and whether it is sampled, or None.
# The rows of one header alone are in traceparents.json.
B3_ROWS = [
    (multi(LONG, SPAN, "1"), (LONG, SPAN, True)),
    (multi(LONG, SPAN, "true"), (LONG, SPAN, True)),
    (multi(LONG, SPAN, "0"), (LONG, SPAN, False)),
    (multi(LONG, SPAN, "false"), (LONG, SPAN, False)),
    (multi(LONG, SPAN), (LONG, SPAN, True)),
    (multi(SHORT, SPAN), (PADDED, SPAN, True)),
    (multi(LONG, SPAN, flags="1"), (LONG, SPAN, True)),
    (multi(LONG, SPAN, "0", flags="1"), (LONG, SPAN, True)),
    (multi(LONG, SPAN, flags="0", parent_id=PARENT), (LONG, SPAN, True)),
    ({"b3": "x"} | multi(LONG, SPAN), (LONG, SPAN, True)),
    ({"b3": f"{LONG}-{SPAN}-0"} | multi(SHORT, PARENT), (LONG, SPAN, False)),
    ({"b3": f"{LONG}-{'0' * 16}-1"} | multi(SHORT, PARENT), (PADDED, PARENT, True)),
    ({"b3": f"{'0' * 32}-{SPAN}-1"} | multi(SHORT, PARENT), (PADDED, PARENT, True)),
    ({}, None),
    (multi(LONG), None),
    (multi(span_id=SPAN, sampled="0"), None),
    (multi(sampled="0"), None),
    (multi(flags="1"), None),
    (multi("x", SPAN, "0"), None),
    (multi("0" * 32, SPAN), None),
    (multi(LONG, "0" * 16), None),
    (multi(LONG.upper(), SPAN), None),
    # ids that look well-formed only together
    (multi(SHORT, f"{SPAN}-1"), None),
    (multi(f"{SHORT}-{SPAN}", "1"), None),
    (multi(f"{LONG}-{SPAN}", "0"), None),
    (multi(f"{LONG}-{SPAN}-1", PARENT), None),
    (multi(LONG, f"{SPAN}-1-{PARENT}"), None),
    (multi(f"{LONG}-{SPAN}"), None),
    (multi(span_id=f"{LONG}-{SPAN}"), None),
    (multi(LONG[:16], f"{LONG[16:]}-{SPAN}"), None),
]


@pytest.mark.parametrize(("headers", "expected"), B3_ROWS)
@pytest.mark.parametrize("name", ["b3", "b3multi"])
def test_b3_is_read_in_both_forms_and_written_in_one(headers, expected, name):
    carrier = {header.lower(): [value] for header, value in headers.items()}
    found_in = kitchen.PROPAGATORS[name].extract(carrier, context.Context())
    found = trace.get_current_span(found_in).get_span_context()
    ids = (f"{found.trace_id:032x}", f"{found.span_id:016x}", found.trace_flags.sampled)
    assert (ids if found.is_valid else None) == expected
    written = {}
    kitchen.PROPAGATORS[name].inject(written, found_in)
    if expected is None:
        assert written == {}
    elif name == "b3":
        assert written == {"b3": f"{ids[0]}-{ids[1]}-{int(ids[2])}"}
    else:
        sampled = str(int(ids[2]))
        keys = ("x-b3-traceid", "x-b3-spanid", "x-b3-sampled")
        assert written == dict(zip(keys, (*ids[:2], sampled), strict=True))


def test_a_traceparent_is_kept_where_b3_has_nothing_to_say():
    carrier = {"traceparent": [f"00-{LONG}-{SPAN}-01"], "b3": ["0"]}
    before = kitchen.PROPAGATORS["tracecontext"].extract(carrier, context.Context())
    after = kitchen.PROPAGATORS["b3"].extract(carrier, before)
    assert dict(after) == dict(before)
