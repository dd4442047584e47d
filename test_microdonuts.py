"""What MicroDonuts promises, in the order in which a learner meets it.

    python -m pytest test_microdonuts.py

The fixtures are in conftest.py: `shop` is a shop in this process, `spans` has the spans that have
ended since the test began, and `ask` sends one request. The functions that several tests use are at
the end of this file. tests/ goes into each subject further, and needs more packages.
"""

import concurrent.futures
import json
import pathlib
import re
import threading
import urllib.request
import uuid
from http.client import HTTPConnection
from unittest.mock import ANY
from urllib.parse import unquote

import pytest
from opentelemetry.trace import TraceFlags
from servers import CALLER_ID, ORDER, TRACE_ID, TRACEPARENT, rows, table

import kitchen
import microdonuts

SAMPLE = {"donuts": [{"flavor": "glazed", "quantity": 1}, {"flavor": "jelly", "quantity": 1}]}
README = (pathlib.Path(__file__).parent / "README.md").read_text(encoding="utf-8")

# ---------------------------------------------------------------- an order gets cooked


def test_an_order_gets_cooked(shop, ask, until):
    order = ask(shop, "/order", SAMPLE)
    assert order.status == 200
    order_id = order.json["order_id"]
    assert uuid.UUID(order_id).version == 4
    check = until(lambda: when_ready(ask, shop, order_id), "the last donut")
    assert [donut["flavor"] for donut in check["donuts"]] == ["glazed", "jelly"]
    assert check["estimated_delivery_time"] == 0
    assert set(order.json) == {"order_id", "estimated_delivery_time", "state", "donuts"}
    assert set(order.json) == set(check)
    assert ask(shop, f"/kitchen/get_donuts?order_id={order_id}").json == [
        {"flavor": "glazed", "order_id": order_id, "status": "ready", "ready_in": 0},
        {"flavor": "jelly", "order_id": order_id, "status": "ready", "ready_in": 0},
    ]


def when_ready(ask, shop, order_id):
    check = ask(shop, "/status", {"order_id": order_id}).json
    return check["state"] == "ready" and check


@pytest.mark.parametrize("flavor", microdonuts.FLAVORS)
def test_each_flavor_can_be_had_by_the_dozen(shop, ask, flavor):
    item = {"flavor": flavor, "quantity": microdonuts.MAX_DONUTS}
    donuts = ask(shop, "/order", {"donuts": [item]}).json["donuts"]
    assert [donut["flavor"] for donut in donuts] == [flavor] * 12


def test_donuts_are_fried_one_after_the_other_in_the_order_of_arrival():
    oven, seen = kitchen.Kitchen(fry_seconds=0.06), []
    for flavor in ("glazed", "glazed", "jelly"):
        oven.add_donut("o", flavor)
    first, second, third = [donut["ready_in"] for donut in oven.get_donuts("o")]
    assert (second - first, third - second) == (pytest.approx(0.06, abs=0.01),) * 2
    while not seen or seen[-1] != ["ready"] * 3:
        states = [donut["status"] for donut in oven.get_donuts("o")]
        if states not in seen:
            seen.append(states)
    for states in seen:
        assert states == sorted(states, key=kitchen.STATES.index, reverse=True)
    assert kitchen.STATES == ("new_order", "received", "cooking", "ready")


@rows("slowest")
def test_an_order_is_only_as_far_as_its_slowest_donut(front, fake, ask, row):
    fake.script = lambda path: fake.answer(row["donuts"])
    check = ask(front, "/status", {"order_id": "o"}).json
    assert [check["state"], check["estimated_delivery_time"]] == row["state_and_seconds"]


# ---------------------------------------------------------------- an order is one trace

ORDER_TREE = """\
POST /order SERVER
  order INTERNAL
    POST CLIENT
      POST /kitchen/add_donuts SERVER, remote parent
        fry INTERNAL
    POST CLIENT
      POST /kitchen/add_donuts SERVER, remote parent
        fry INTERNAL
    GET CLIENT
      GET /kitchen/get_donuts SERVER, remote parent
"""
STATUS_TREE = """\
POST /status SERVER
  status INTERNAL
    GET CLIENT
      GET /kitchen/get_donuts SERVER, remote parent
"""


def test_an_order_is_one_trace_and_its_hops_are_real(shop, spans, ask):
    reply = ask(shop, "/order", SAMPLE)
    found = spans.of(reply, 10)
    assert tree(found) == ORDER_TREE
    assert found[0].parent is None
    assert reply.headers["Server-Timing"] == f'trace;desc="{traceparent(found[0])}"'


def test_a_status_check_is_a_trace_of_its_own_with_a_link_to_its_order(shop, spans, ask):
    order = ask(shop, "/order", SAMPLE)
    order_span = spans.of(order, 10)[1]
    found = spans.of(ask(shop, "/status", {"order_id": order.json["order_id"]}), 4)
    assert tree(found) == STATUS_TREE
    assert found[0].context.trace_id != order_span.context.trace_id
    links = [(span.name, link.context) for span in found for link in span.links]
    assert links == [("status", order_span.context)]


def test_a_404_is_an_error_of_the_client_alone(shop, spans, ask):
    reply = ask(shop, "/status", {"order_id": "unknown"})
    assert reply.status == 404
    found = spans.of(reply, 4)
    assert tree(found) == STATUS_TREE
    assert [outcome(span) for span in found] == [
        ("POST /status", 404, None, "UNSET"),
        ("status", None, None, "UNSET"),
        ("GET", 404, "404", "ERROR"),
        ("GET /kitchen/get_donuts", 404, None, "UNSET"),
    ]
    assert [event.name for span in found for event in span.events] == []
    assert [link for span in found for link in span.links] == []


# ---------------------------------------------------------------- nothing leaks, nothing mixes


def test_no_context_stays_on_a_kept_connection(shop, spans, ask):
    connection = HTTPConnection("127.0.0.1", shop.server_port, timeout=20)
    requests = {"/order": SAMPLE, "/status": {"order_id": "x"}, "/nowhere": {}}
    seen = []
    for number, (path, fields) in enumerate(requests.items(), 1):
        sent = {"traceparent": f"00-{number:032x}-{1:016x}-01", "baggage": "tier=gold"}
        for headers in (sent, {}):
            connection.request("POST", path, json.dumps(fields), headers)
            answer = connection.getresponse()
            answer.read()
            seen.append(answer.headers["Server-Timing"].split("-")[1])
    connection.close()
    assert seen[::2] == [f"{number:032x}" for number in range(1, 4)]
    assert len(set(seen)) == 6
    for trace_id, count in zip(seen[1::2], (10, 4, 1), strict=True):
        found = spans.of(trace_id, count)
        assert [span.name for span in found if span.parent is None] == [found[0].name]
        headers = [span.attributes.get("http.request.header.baggage") for span in found]
        assert "gold" not in str(headers), "the caller's baggage of the request before"


def test_orders_at_the_same_time_never_mix(shop, spans, ask):
    def buy(number):
        headers = {"traceparent": f"00-{number:032x}-{number:016x}-01"}
        return ask(shop, "/order", SAMPLE, headers)

    with concurrent.futures.ThreadPoolExecutor(24) as buyers:
        replies = list(buyers.map(buy, range(1, 25)))
    for number, reply in enumerate(replies, 1):
        found = spans.of(f"{number:032x}", 10)
        assert tree(found) == ORDER_TREE
        assert found[0].parent.span_id == number
        order_ids = {span.attributes.get("microdonuts.order.id") for span in found}
        assert order_ids - {None} == {reply.json["order_id"]}


# ---------------------------------------------------------------- what is on each span

# On each span, from CodeLocation. The function is another one each time.
CODE = dict.fromkeys(("code.file.path", "code.line.number", "thread.id", "thread.name"), ANY)
# On each SERVER span of a request that is sent as OF_TEST says.
SERVER = CODE | {
    "code.function.name": f"microdonuts.{microdonuts.trace_request.__name__}",
    "url.scheme": "http",
    "server.address": "localhost",
    "server.port": 80,
    "client.address": "127.0.0.1",
    "network.peer.address": "127.0.0.1",
    "network.peer.port": ANY,
    "network.protocol.version": "1.1",
    "user_agent.original": "Test/1.0",
    "http.response.status_code": 200,
    "http.request.header.traceparent": (TRACEPARENT,),
    "http.request.header.baggage": ("microdonuts.order.id=theirs",),
    "microdonuts.order.id": "theirs",
}
OF_TEST = {
    "Host": "localhost",
    "User-Agent": "Test/1.0",
    "traceparent": TRACEPARENT,
    "baggage": "microdonuts.order.id=theirs",
}
TRACED = [
    path
    for path in microdonuts.ROUTES
    if path not in microdonuts.FILES and not path.startswith("/traces")
]
# One row for each traced route: the fields to send (None for GET), and what its SERVER span has
# beside the attributes above, http.request.method, http.route and url.path.
EXAMPLES = {
    "/order": (SAMPLE, {}),
    "/status": ({"order_id": "x"}, {"http.response.status_code": 404}),
    "/kitchen/add_donuts": ({"order_id": "x", "flavor": "jelly"}, {}),
    "/kitchen/get_donuts": (None, {}),
}


@pytest.mark.parametrize("path", TRACED)
def test_each_traced_route_continues_a_trace_and_has_attributes(shop, spans, ask, until, path):
    assert path in EXAMPLES, f"Give {path} a row in EXAMPLES, in test_microdonuts.py."
    [method, *_], _ = microdonuts.ROUTES[path]
    fields, attributes = EXAMPLES[path]
    ask(shop, path, fields, OF_TEST, method)
    name = f"{method} {path}"
    [server] = until(lambda: named(spans, name), f"a span {name}")
    own = {"http.request.method": method, "http.route": path, "url.path": path}
    hint = f"If {name} is to have other attributes, change its row in EXAMPLES, or SERVER."
    assert dict(server.attributes) == SERVER | own | attributes, hint
    assert f"{server.context.trace_id:032x}-{server.parent.span_id:016x}" == TRACEPARENT[3:-3]
    assert server.parent.is_remote


@pytest.mark.parametrize("path", TRACED)
def test_each_traced_route_is_documented(path):
    [method, *_], _ = microdonuts.ROUTES[path]
    section = re.search(r"(?ms)^## The endpoints$(.*?)(?=^## |\Z)", README)
    assert section, 'README.md has no section "## The endpoints"'
    is_named = re.search(rf"curl .*{re.escape(path)}(?![\w/])", section[1])
    assert is_named, f'Add {method} {path} to "The endpoints" in README.md, with a line to try it.'


def test_the_attributes_of_the_other_spans_of_an_order(shop, spans, ask):
    reply = ask(shop, "/order", SAMPLE)
    order_id = reply.json["order_id"]
    found = spans.of(reply, 10)
    [order], [add, _], [get] = named(found, "order"), named(found, "POST"), named(found, "GET")
    fry, _ = named(found, "fry")
    assert dict(order.attributes) == CODE | {
        "code.function.name": f"microdonuts.{microdonuts.ROUTES['/order'][1].__name__}",
        "microdonuts.order.id": order_id,
        "microdonuts.quantity": 2,
    }
    client = CODE | {
        "code.function.name": f"kitchen.{kitchen.trace_call.__name__}",
        "server.address": "127.0.0.1",
        "server.port": shop.server_port,
        "network.protocol.version": "1.1",
        "http.response.status_code": 200,
        "http.request.header.baggage": (f"microdonuts.order.id={order_id}",),
    }
    assert dict(add.attributes) == client | {
        "http.request.method": "POST",
        "url.full": f"{shop.url}/kitchen/add_donuts",
        "http.request.header.traceparent": (traceparent(add),),
    }
    assert dict(get.attributes) == client | {
        "http.request.method": "GET",
        "url.full": f"{shop.url}/kitchen/get_donuts?order_id={order_id}",
        "http.request.header.traceparent": (traceparent(get),),
    }
    assert dict(fry.attributes) == CODE | {
        "code.function.name": f"kitchen.{kitchen.Kitchen.fry_forever.__qualname__}",
        "microdonuts.order.id": order_id,
        "microdonuts.flavor": "glazed",
        "thread.name": "fryer",
    }
    assert [(span.status.status_code.name, *span.events) for span in found] == [("UNSET",)] * 10


def test_each_span_names_the_line_of_ours_that_started_it(shop, spans, ask):
    for span in spans.of(ask(shop, "/order", SAMPLE), 10):
        path = pathlib.Path(span.attributes["code.file.path"])
        lines = path.read_text(encoding="utf-8").splitlines()
        assert path.is_absolute()
        assert "tracer.start_span(" in lines[span.attributes["code.line.number"] - 1]


# ---------------------------------------------------------------- the header: W3C Trace Context

# A row has what is sent, whether the trace goes on, and what the kitchen gets.


@rows("traceparents", header="traceparent")
def test_a_traceparent_is_continued_or_not(front, fake, spans, ask, row):
    reply = ask(front, "/status", {"order_id": "o"}, {"traceparent": row["sent"]})
    [call] = fake.requests
    version, trace_id, parent_id, flags = call.headers["traceparent"].split("-")
    # Before version 1.42, the SDK knows no other flag than 01.
    known = 0x03 if hasattr(TraceFlags, "RANDOM_TRACE_ID") else 0x01
    expected = f"{int(row['flags'], 16) & known:02x}"
    assert (trace_id in row["sent"], flags) == (row["continued"], expected)
    assert (version, len(trace_id), len(parent_id)) == ("00", 32, 16)
    assert parent_id != CALLER_ID, "the kitchen's parent must be the CLIENT span, not the caller's"
    assert reply.trace_id == trace_id
    if int(flags, 16) & 1:
        [server, *_] = spans.of(reply, 3)
        parent_id = server.parent and f"{server.parent.span_id:016x}"
        assert parent_id == (CALLER_ID if row["continued"] else None)


@rows("several_headers")
def test_several_headers_together(front, fake, ask, row):
    ask(front, "/status", {"order_id": "o"}, row["sent"])
    [call] = fake.requests
    is_continued = call.headers["traceparent"].split("-")[1] == TRACE_ID
    assert (is_continued, call.headers["tracestate"]) == (row["continued"], row["tracestate"])


@rows("tracestates")
def test_a_tracestate_is_passed_on_whole_or_not_at_all(front, fake, ask, row):
    headers = [("traceparent", TRACEPARENT), *(("tracestate", line) for line in row["sent"])]
    reply = ask(front, "/status", {"order_id": "o"}, headers)
    assert reply.trace_id == TRACE_ID, "a bad tracestate must not cost the trace"
    assert fake.requests[0].headers["tracestate"] == row["passed_on"]


# ---------------------------------------------------------------- the header: W3C Baggage


def test_the_order_id_travels_as_baggage_and_reaches_spans_by_hand(shop, spans, ask):
    reply = ask(shop, "/order", SAMPLE, {"baggage": "tier=gold"})
    found, order_id = spans.of(reply, 10), reply.json["order_id"]
    having = [span for span in found if span.attributes.get("microdonuts.order.id") == order_id]
    names = [{span.name for span in each} for each in (found, having)]
    assert names[0] - names[1] == {"POST /order", "POST", "GET"}
    [(sent,)] = {span.attributes["http.request.header.baggage"] for span in named(found, "POST")}
    assert members(sent) == {"microdonuts.order.id": order_id, "tier": "gold"}


@rows("baggages")
def test_the_callers_baggage_goes_on_beside_the_shops_own(front, fake, ask, row):
    headers = [("baggage", line) for line in row["sent"]]
    ask(front, "/status", {"order_id": "mine"}, headers)
    [call] = fake.requests
    expected = {"microdonuts.order.id": "mine"} | row["passed_on"]
    assert members(call.headers["baggage"]) == expected


# ---------------------------------------------------------------- the queue


def test_the_context_crosses_the_queue_beside_the_donut(start_shop, spans, ask):
    shop = start_shop(fry_seconds=0.2)
    reply = ask(shop, "/order", SAMPLE, {"traceparent": TRACEPARENT})
    found = spans.of(reply, 10)
    by_id = {span.context.span_id: span for span in found}
    for fry in named(found, "fry"):
        parent = by_id[fry.parent.span_id]
        assert parent.name == "POST /kitchen/add_donuts"
        assert parent.attributes["thread.id"] != fry.attributes["thread.id"]
        assert parent.end_time < fry.end_time, "fry goes on when its request has been answered"


def test_a_donut_that_fails_costs_itself_alone(shop, spans, ask, until, monkeypatch, capfd):
    fry = kitchen.Kitchen.fry

    def burn(self, donut):
        if donut.flavor == "glazed":
            raise RuntimeError("it has burned")
        fry(self, donut)

    monkeypatch.setattr(kitchen.Kitchen, "fry", burn)
    reply = ask(shop, "/order", SAMPLE)
    burned, good = named(spans.of(reply, 10), "fry")
    assert outcome(burned) == ("fry", None, "RuntimeError", "ERROR")
    assert outcome(good) == ("fry", None, None, "UNSET")
    [event] = burned.events
    assert event.attributes["exception.message"] == "it has burned"
    assert event.attributes["exception.escaped"] == "True"
    check = until(lambda: when_ready(ask, shop, reply.json["order_id"]), "the other donut")
    assert [donut["flavor"] for donut in check["donuts"]] == ["jelly"]
    assert capfd.readouterr().err.count("RuntimeError: it has burned") == 1


def test_the_memory_of_the_kitchen_is_bounded(provider, until):
    slow, accepted = kitchen.Kitchen(fry_seconds=60), 0
    with pytest.raises(kitchen.Refusal) as refusal:
        for accepted in range(20_000):
            slow.add_donut(f"order {accepted}", "jelly")
    assert refusal.value.status == 503
    assert accepted in (10_000, 10_001)  # one more than may wait, if the fryer has taken one

    quick = kitchen.Kitchen(fry_seconds=0)
    for first, last in ((0, 5_000), (5_001, 10_000)):
        for number in range(first, last + 1):
            quick.add_donut(f"order {number}", "jelly")
        until(lambda: quick.get_donuts(f"order {last}")[0]["status"] == "ready")  # noqa: B023
    assert quick.get_donuts("order 0") == []
    assert len(quick.get_all_donuts()) == 10_000


def test_an_order_holds_a_dozen_in_the_kitchen_too(shop, ask):
    donut = {"order_id": "greedy", "flavor": "jelly"}
    statuses = [ask(shop, "/kitchen/add_donuts", donut).status for _ in range(13)]
    assert statuses == [200] * 12 + [400]


def test_the_memory_of_the_shop_is_bounded(store, provider):
    for _ in range(2_100):
        microdonuts.tracer.start_span("x").end()
    assert len(store.spans) == 2_000


# ---------------------------------------------------------------- sampling


def test_what_is_not_sampled_is_not_recorded_and_its_ids_travel(front, fake, spans, ask):
    reply = ask(front, "/order", SAMPLE, {"traceparent": f"{TRACEPARENT[:-2]}00"})
    sent = [call.headers["traceparent"] for call in fake.requests]
    assert [line[:36] + line[-2:] for line in sent] == [f"00-{TRACE_ID}-00"] * 3
    assert len(set(sent)) == 3
    assert reply.headers["Server-Timing"].endswith('-00"')
    assert [span.name for span in spans if span.name != "fry"] == []


# ---------------------------------------------------------------- refusals


@rows("refusals")
def test_a_refusal_is_a_sentence_and_no_error_of_the_server(shop, spans, ask, row):
    reply = ask(shop, row["path"], row["body"].encode(), method=row["method"])
    assert (reply.status, list(reply.json)) == (row["status"], ["error"])
    assert row["words"] in reply.json["error"]
    server = spans.of(reply, 1)[0]
    assert outcome(server) == (server.name, row["status"], None, "UNSET")
    assert server.events == ()


# ---------------------------------------------------------------- when something fails

# A row has what the kitchen answers, the status of the shop's answer, and what its span says.


@rows("faults")
def test_a_kitchen_that_fails_is_502_or_504_and_its_span_says_why(
    front, fake, spans, ask, short_timeout, row
):
    fake.script = lambda path: row["answer"] and row["answer"].encode()
    reply = ask(front, "/order", SAMPLE)
    status = row["status"]
    assert reply.status == status, reply.json
    server, order, *clients = spans.of(reply, 3)
    order_id = order.attributes["microdonuts.order.id"]
    assert order_id in reply.json["error"], "name the order, because its first donuts may be fried"
    assert [*outcome(clients[-1])[1:]] == row["client"]
    assert outcome(order)[2:] == (str(status), "ERROR")
    assert outcome(server)[1:] == (status, str(status), "ERROR")


def test_a_kitchen_that_is_down(start_shop, spans, ask):
    found = spans.of(ask(start_shop("http://127.0.0.1:1"), "/order", SAMPLE), 3)
    assert [outcome(span) for span in found] == [
        ("POST /order", 502, "502", "ERROR"),
        ("order", None, "502", "ERROR"),
        ("POST", None, "ConnectionRefusedError", "ERROR"),
    ]
    events = [(span.name, event.name) for span in found for event in span.events]
    assert events == [("POST", "exception")]


def test_nobody_else_waits_for_a_kitchen_that_hangs(front, fake, ask, short_timeout):
    fake.script = lambda path: None if path.endswith("slow") else fake.cook(path)
    ended = []

    def check(order_id):
        ended.append((order_id, ask(front, "/status", {"order_id": order_id}).status))

    slow = threading.Thread(target=check, args=("slow",))
    slow.start()
    check("quick")
    slow.join(20)
    assert ended == [("quick", 200), ("slow", 504)]


@pytest.fixture
def short_timeout(monkeypatch):
    """Wait half a second for a kitchen that hangs, and not as long as the shop would."""
    usual = urllib.request.OpenerDirector.open

    def open(self, request, data=None, timeout=None):
        return usual(self, request, data, 0.5)

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", open)


def test_a_mistake_in_the_program_is_a_500_and_on_its_spans(shop, spans, ask, monkeypatch, capfd):
    def fail(*arguments):
        raise LookupError("the oven is gone")

    monkeypatch.setattr(shop.kitchen, "add_donut", fail)
    donut = {"order_id": "x", "flavor": "jelly"}
    reply = ask(shop, "/kitchen/add_donuts", donut)
    assert (reply.status, set(reply.json)) == (500, {"error"})
    [server] = spans.of(reply, 1)
    assert outcome(server) == (server.name, 500, "LookupError", "ERROR")
    [event] = server.events
    assert event.attributes["exception.message"] == "the oven is gone"
    assert "LookupError: the oven is gone" in capfd.readouterr().err


# ---------------------------------------------------------------- the terminal

LINE = re.compile(
    r"(?P<arrow>->|<-|  ) (?P<work>[A-Z]+ .+?) +[0-9.]+ms +(?P<function>\w+) (?P<id>[0-9a-f]{16}) "
    r"(/#(?P<root>[0-9a-f]{32})|(?P<parent>[0-9a-f]{16}) [0-9a-f]{6})\n"
)


def test_the_terminal_shows_each_span_and_its_function(run_shop, ask, until):
    shop = run_shop("--fry-seconds", "0")
    reply = ask(shop, "/order", ORDER)
    until(lambda: len(shop.out) == 7, "7 lines")
    found = ask(shop, f"/traces/{reply.trace_id}").json["spans"]
    lines = {line["id"]: line for line in map(LINE.fullmatch, shop.out)}
    assert sorted(f"{line['arrow']} {line['work']}" for line in lines.values()) == table("terminal")
    for span in found:
        line = lines[span["context"]["span_id"][2:]]
        parent_id = span["parent_id"] and span["parent_id"][2:]
        assert (line["parent"], line["root"]) == (parent_id, None if parent_id else reply.trace_id)
        assert line["function"] == span["attributes"]["code.function.name"].rpartition(".")[2]
    assert max(map(len, shop.out)) <= 121, "a line of the terminal has more than 120 columns"


def test_no_span_takes_less_than_no_time(spans):
    microdonuts.tracer.start_span("x", start_time=2_000_000_000).end(end_time=1_000_000_000)
    assert " 0.0ms " in microdonuts.terminal_line(spans.wait(1)[0])


def test_a_port_that_is_taken_is_one_line(run_shop, shop):
    second = run_shop("--port", str(shop.server_port))
    assert second.stop() == 2
    [line] = second.err
    assert line.startswith("microdonuts: cannot listen ")


# ---------------------------------------------------------------- what several tests use


def tree(spans, parent_id=None, indent=""):
    """Return the spans of a trace as indented text, each below its parent."""
    known = {span.context.span_id for span in spans}
    text = ""
    for span in spans:
        parent = span.parent if span.parent and span.parent.span_id in known else None
        if (parent.span_id if parent else None) == parent_id:
            is_remote = ", remote parent" if parent and parent.is_remote else ""
            text += f"{indent}{span.name} {span.kind.name}{is_remote}\n"
            text += tree(spans, span.context.span_id, indent + "  ")
    return text


def named(spans, name):
    return [span for span in spans.copy() if span.name == name]


def outcome(span):
    """Return what a span says about how it went: its name, status code, error type and status."""
    attributes = span.attributes
    status_code = attributes.get("http.response.status_code")
    return span.name, status_code, attributes.get("error.type"), span.status.status_code.name


def traceparent(span):
    """Return the traceparent that names a span."""
    ids = span.context
    return f"00-{ids.trace_id:032x}-{ids.span_id:016x}-{ids.trace_flags:02x}"


def members(header):
    """Return the names and values in a baggage header."""
    pairs = [member.partition("=") for member in header.split(",")]
    return {name: unquote(value) for name, _, value in pairs}
