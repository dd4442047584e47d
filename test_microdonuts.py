"""The tests of MicroDonuts, in the order in which a learner meets its features.

Most tests run the shop in this process (the fixture `shop`), because there each span that ends
can be looked at. Settings, signals and the terminal belong to a process, so they are tested on a
shop in a process of its own (the class `Process`). No test sleeps for a fixed time: it waits until
something has happened, with a deadline. The helpers are at the end of the file.
"""

import argparse
import ast
import base64
import collections
import concurrent.futures
import contextlib
import errno
import gzip
import http.client
import http.server
import importlib
import inspect
import itertools
import json
import logging
import os
import pathlib
import queue
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time
import tomllib
import urllib.error
import urllib.parse
import urllib.request
import uuid
import wsgiref.simple_server
from importlib import metadata, resources
from types import SimpleNamespace

import flask
import pytest
import werkzeug.serving
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, context, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.threading import ThreadingInstrumentor
from opentelemetry.instrumentation.urllib import URLLibInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from selenium import webdriver

import kitchen
import microdonuts

HERE = pathlib.Path(__file__).resolve().parent
DEADLINE = 20  # seconds after which whatever is waited for has failed
SAMPLE = {"donuts": [{"flavor": "glazed", "quantity": 1}, {"flavor": "jelly", "quantity": 1}]}
JELLY = {"donuts": [{"flavor": "jelly", "quantity": 1}]}
TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"

# ---------------------------------------------------------------- an order gets cooked


def test_an_order_gets_cooked(shop):
    reply = ask(shop.url, "POST", "/order", SAMPLE)
    assert reply.status == 200
    assert set(reply.body) == {"order_id", "estimated_delivery_time", "state", "donuts"}
    order_id = reply.body["order_id"]
    assert uuid.UUID(order_id).version == 4
    until(lambda: states_of(shop.url, order_id) == ["ready", "ready"])
    flavors = ("glazed", "jelly")
    donuts = [{"flavor": flavor, "status": "ready", "ready_in": 0.0} for flavor in flavors]
    status = ask(shop.url, "POST", "/status", {"order_id": order_id})
    assert status.body == {
        "order_id": order_id,
        "estimated_delivery_time": 0,
        "state": "ready",
        "donuts": donuts,
    }
    kept = ask(shop.url, "GET", f"/kitchen/get_donuts?order_id={order_id}").body
    assert kept == [{**donut, "order_id": order_id} for donut in donuts]
    unknown = ask(shop.url, "GET", "/kitchen/get_donuts?order_id=unknown")
    assert unknown.status == 404 and "no such order" in unknown.body["error"]


def test_the_fryer_takes_one_donut_at_a_time_and_states_go_in_order():
    fryer = kitchen.Kitchen(fry_seconds=0.06)
    seen = []
    assert [fryer.add_donuts("o", "glazed", 2), fryer.add_donuts("o", "jelly", 1)] == [2, 3]
    ready_at = [donut.ready_at for donut in fryer.shelf.donuts]
    assert all(later - earlier >= 0.0599 for earlier, later in itertools.pairwise(ready_at))
    while not seen or seen[-1] != ("ready",) * 3:
        states = tuple(donut["status"] for donut in fryer.shelf.get_donuts("o"))
        assert sum(state in ("received", "cooking") for state in states) <= 1
        assert list(states) == sorted(states, key=kitchen.STATES.index, reverse=True)
        if states not in seen:
            seen.append(states)
    fryer.close()
    assert kitchen.STATES == ("new_order", "received", "cooking", "ready")
    assert (kitchen.FRY_SECONDS, kitchen.RECEIVED_SECONDS) == (1.4, 0.4)


# fmt: off
PROGRESS = [
    ([("ready", 0), ("cooking", 0.3), ("new_order", 4.1)], "new_order", 5),
    ([("ready", 0), ("cooking", 0.3)], "cooking", 1),
    ([("received", 1.0)], "received", 1),
    ([("ready", 0), ("ready", 0)], "ready", 0),
]
# fmt: on


@pytest.mark.parametrize(("donuts", "state", "seconds"), PROGRESS)
def test_an_order_is_as_far_as_its_least_advanced_donut(donuts, state, seconds):
    names = ("flavor", "status", "ready_in")
    donuts = [dict(zip(names, ("jelly", *donut), strict=True)) for donut in donuts]
    assert microdonuts.order_summary("o", [{**donut, "order_id": "o"} for donut in donuts]) == {
        "order_id": "o",
        "estimated_delivery_time": seconds,
        "state": state,
        "donuts": donuts,
    }


def test_a_full_kitchen_says_503_and_so_does_the_order(provider, monkeypatch):
    shop = start(fry_seconds=60)
    monkeypatch.setattr(kitchen, "MAX_WAITING", 4)
    try:
        order_id = ask(shop.url, "POST", "/order", SAMPLE).body["order_id"]
        until(lambda: "received" in states_of(shop.url, order_id))
        donuts = {"order_id": "x", "flavor": "jelly", "quantity": 4}
        reply = ask(shop.url, "POST", "/kitchen/add_donuts", donuts)
        assert (reply.status, reply.headers["Retry-After"]) == (503, "10")
        five = {"donuts": [{"flavor": "jelly", "quantity": 5}]}
        reply = ask(shop.url, "POST", "/order", five)
        assert (reply.status, reply.headers["Retry-After"]) == (503, "10")
        assert re.fullmatch(
            r"Order [0-9a-f-]{36} failed with 3 of 5 donuts accepted. "
            r"The kitchen is full: try again later.",
            reply.body["error"],
        )
        assert len(states_of(shop.url, order_id)) == 2
    finally:
        # The donut in the fryer takes a minute, so the test does not wait for it.
        monkeypatch.setattr(shop.kitchen.fryer, "join", lambda: None)
        shop.close()


def test_the_kitchen_forgets_the_oldest_ready_donuts_first(monkeypatch):
    monkeypatch.setattr(kitchen, "MAX_REMEMBERED", 5)
    fryer = kitchen.Kitchen(fry_seconds=0)

    def order_ids():
        return [donut["order_id"] for donut in fryer.shelf.get_donuts()]

    for order_id, quantity in (("a", 2), ("b", 3), ("c", 1)):
        fryer.add_donuts(order_id, "glazed", quantity)
        until(lambda: fryer.shelf.get_donuts()[-1]["status"] == "ready")
    assert order_ids() == ["a", "b", "b", "b", "c"]
    fryer.add_donuts("d", "glazed", 1)
    assert order_ids() == ["b", "b", "b", "c", "d"]
    assert fryer.shelf.get_donuts("a") == [] and set(fryer.shelf.donuts_by_order) == {"b", "c", "d"}
    fryer.close()


def test_a_donut_that_fails_costs_itself_and_its_span_and_not_the_fryer(provider, spans, capfd):
    shop, fry = start(), kitchen.Kitchen.fry

    def burn(donut):
        if donut.flavor == "glazed":
            raise RuntimeError("it burned")
        fry(shop.kitchen, donut)

    shop.kitchen.fry = burn
    reply = ask(shop.url, "POST", "/order", SAMPLE)
    found = named(spans.wait(reply, 10), "fry")
    until(lambda: states_of(shop.url, reply.body["order_id"]) == ["ready"])
    shop.close()
    assert [span.status.status_code.name for span in found] == ["ERROR", "UNSET"]
    assert found[0].attributes["error.type"] == "RuntimeError"
    assert [event.name for event in found[0].events] == ["exception"]
    assert capfd.readouterr().err.count("RuntimeError: it burned") == 1


# ---------------------------------------------------------------- an order is one trace

ORDER_TREE = """\
POST /order SERVER
  order INTERNAL
    POST CLIENT
      POST /kitchen/add_donuts SERVER
        fry INTERNAL
    POST CLIENT
      POST /kitchen/add_donuts SERVER
        fry INTERNAL
    GET CLIENT
      GET /kitchen/get_donuts SERVER
"""
STATUS_TREE = """\
POST /status SERVER
  status INTERNAL
    GET CLIENT
      GET /kitchen/get_donuts SERVER
"""


def test_an_order_is_one_trace(shop, spans):
    reply = ask(shop.url, "POST", "/order", SAMPLE)
    found = spans.wait(reply, 10)
    assert tree(found) == ORDER_TREE
    assert len({span.context.trace_id for span in spans.all()}) == 1
    assert found[0].parent is None


def test_the_http_hop_is_real(shop, spans):
    for span in spans.wait(ask(shop.url, "POST", "/order", SAMPLE), 10):
        is_kitchen = span.name.endswith(("/kitchen/add_donuts", "/kitchen/get_donuts"))
        assert (span.parent is not None and span.parent.is_remote) == is_kitchen
    source = pathlib.Path(microdonuts.__file__).read_text()
    for name in ("order", "order_status", "place_order", "order_summary"):
        body = re.search(rf"\ndef {name}\(.*?\n(?=\S)", source, re.DOTALL)[0]
        assert "Kitchen(" not in body and "shop.kitchen" not in body


def test_a_status_check_is_a_trace_of_its_own_with_a_link_to_its_order(shop, spans):
    order = ask(shop.url, "POST", "/order", SAMPLE)
    order_span = spans.wait(order, 10)[1]
    check = ask(shop.url, "POST", "/status", {"order_id": order.body["order_id"]})
    found = spans.wait(check, 4)
    assert tree(found) == STATUS_TREE
    assert [link.context for link in found[1].links] == [order_span.context]
    assert all(span.status.status_code.name == "UNSET" and not span.events for span in found)


def test_a_404_is_an_error_to_the_client_alone(shop, spans):
    unknown = ask(shop.url, "POST", "/status", {"order_id": "unknown"})
    assert unknown.status == 404
    found = spans.wait(unknown, 4)
    assert tree(found) == STATUS_TREE and not found[1].links
    assert [span.status.status_code.name for span in found] == ["UNSET", "UNSET", "ERROR", "UNSET"]
    assert [span.attributes.get("error.type") for span in found] == [None, None, "404", None]
    assert not any(span.events for span in found)


def test_the_shop_forgets_the_oldest_order_and_its_link_first(spans, monkeypatch):
    monkeypatch.setattr(microdonuts, "MAX_SPAN_CONTEXTS", 2)
    with FakeKitchen() as fake:
        shop = start(fake.url)
        orders = [ask(shop.url, "POST", "/order", SAMPLE).body["order_id"] for _ in range(3)]
        assert list(dict(shop.order_span_contexts)) == orders[1:]
        for order_id in orders:
            assert ask(shop.url, "POST", "/status", {"order_id": order_id}).status == 200
        shop.close()
    assert [len(span.links) for span in spans.all() if span.name == "status"] == [0, 1, 1]


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/order"), ("GET", "/nowhere"), ("GET", "/order"), ("PUT", "/order")],
)
def test_server_timing_names_the_span(shop, spans, method, path):
    reply = ask(shop.url, method, path, SAMPLE if method == "POST" else None)
    [span] = [span for span in spans.of(reply) if span.parent is None]
    assert reply.headers["Server-Timing"] == f'trace;desc="{traceparent_of(span)}"'


def test_a_kept_connection_never_leaks_one_requests_context_into_the_next(shop, spans):
    connection = http.client.HTTPConnection("127.0.0.1", shop.server_port, timeout=DEADLINE)
    seen = []
    for number, (path, body) in enumerate(
        [("/order", SAMPLE), ("/order", {}), ("/status", {"order_id": "x"})] * 2
    ):
        for headers in ({"traceparent": f"00-{number + 1:032x}-{1:016x}-01", "baggage": "a=b"}, {}):
            connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            answer.read()
            seen.append(answer.headers["Server-Timing"].split("-")[1])
    connection.close()
    assert seen[::2] == [f"{number + 1:032x}" for number in range(6)] and len(set(seen)) == 12
    until(lambda: len(named(spans.all(), "fry")) == 8)
    for trace_id in seen[1::2]:
        assert all("a=b" not in str(span.attributes) for span in spans.of(trace_id))
        assert [span.parent is None for span in spans.of(trace_id)].count(True) == 1


def test_orders_at_the_same_time_never_mix(shop, spans):
    def buy(number):
        header = ("traceparent", f"00-{number:032x}-{number:016x}-01")
        assert ask(shop.url, "POST", "/order", SAMPLE, [header]).status == 200

    buyers = [threading.Thread(target=buy, args=(number,)) for number in range(1, 25)]
    for buyer in buyers:
        buyer.start()
    for buyer in buyers:
        buyer.join(DEADLINE)
    for number in range(1, 25):
        found = spans.wait(f"{number:032x}", 10)
        below_caller = [span for span in found if span.parent.span_id == number]
        assert len(found) == 10 and [span.name for span in below_caller] == ["POST /order"]
        assert tree(found).count("\n") == 10
        [order_id] = {
            span.attributes["microdonuts.order.id"]
            for span in found
            if "microdonuts.order.id" in span.attributes
        }
        assert order_id


# ---------------------------------------------------------------- README: the whole idea, and how to run it


def test_the_two_lines_that_are_the_whole_idea():
    [code] = fences(section("The whole idea"), "python")
    ids = {"trace_id": int(TRACE_ID, 16), "span_id": int(PARENT_ID, 16), "flags": 1}
    inject, extract = code.splitlines()
    one_side = {"headers": {}, **ids}
    exec(inject, one_side)
    assert one_side["headers"] == {"traceparent": TRACEPARENT}
    other_side = {"headers": one_side["headers"]}
    exec(extract, other_side)
    found = [other_side[name] for name in ("version", "trace_id", "parent_id", "flags")]
    assert found == ["00", TRACE_ID, PARENT_ID, "01"]
    assert inject.endswith("# inject") and extract.endswith("# extract")


def test_the_hop_in_the_table_is_the_one_in_the_terminal():
    [shown] = fences(section("Read the terminal"), "")
    lines = {
        name.rpartition(" ")[0]: (root or f"{digits}*", span_id, parent)
        for _, _, name, _, _, _, span_id, root, parent, digits in (
            LINE.fullmatch(f"{line}\n").groups() for line in shown.splitlines()
        )
    }
    trace_id = lines["POST /order"][0]
    for cells in table(section("The whole idea")):
        [name], [its_trace_id], [span_id], [parent] = map(quoted, cells)
        assert lines[name] == (f"{its_trace_id[:6]}*", span_id, parent) and its_trace_id == trace_id
    [header] = fences(section("The whole idea"), "")
    assert header == f"traceparent: 00-{trace_id}-{parent}-03\n"  # the last row's parent sent it


# The forms of README's commands, but for those with curl, which are run.
VENV = r"(?P<venv>\.venv(-[a-z]+)?)"
COMMANDS = [
    f"python3 -m venv {VENV}",
    f"{VENV}/bin/pip install -q (?P<packages>.+)",
    f"{VENV}/bin/python -m pytest -q -n auto",
    f"{VENV}/bin/python (broken-shop/microdonuts|flask_kitchen).py",
    rf"(?P<variables>([A-Z_]+=\S+ )*){VENV}/bin/python (no-tracing/)?microdonuts\.py"
    r"( --port 80\d\d)?( --kitchen http://127\.0\.0\.1:8083)?( --fry-seconds 0)?",
    r"ab -l -c 8 -n 2000 -p order\.json -T application/json http://127\.0\.0\.1:808[23]/order",
    r"echo '(?P<order>.+)' > order\.json",
    f"{VENV}/bin/opentelemetry-instrument .*",  # it is run
]
VARIABLES = {
    "OTEL_PROPAGATORS=b3",
    "OTEL_TRACES_SAMPLER=always_on",
    "OTEL_TRACES_EXPORTER=otlp",
    "OTEL_TRACES_EXPORTER=none",
    "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318",
    "OTEL_SERVICE_NAME=kitchen",
}


def shell_lines():
    """Return the commands of README."""
    return "".join(fences(README, "sh")).replace("\\\n", "").splitlines()


def test_the_commands_of_readme_are_those_of_the_project():
    project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    known = {re.split("[<>=]", name)[0] for name in [*extras["otlp"], *extras["test"]]}
    known |= {"opentelemetry-sdk", ".[test]", *project["dependencies"]}
    made, set_there = set(), set()
    for command in " && ".join(shell_lines()).split(" && "):
        if re.search("curl |^(docker|mkdir|cp) ", command):
            continue
        match = next(filter(None, (re.fullmatch(form, command) for form in COMMANDS)), None)
        assert match, command
        names = match.groupdict()
        if "order" in names:
            assert len(microdonuts.parse_basket(json.loads(names["order"])["donuts"])) == 3
        if "venv" not in names:
            continue
        if command.startswith("python3 "):
            made.add(names["venv"])
        assert names["venv"] in made, command
        assert set(shlex.split(names.get("packages") or "")) <= known, command
        set_there |= set((names.get("variables") or "").split())
    assert set_there == VARIABLES
    assert project["requires-python"] == ">=3.11" and "Python 3.11 or later" in README


def test_the_first_command_has_its_form_for_windows():
    [windows] = fences(section("Run it"), "")
    first = shell_lines()[0].replace("python3", "py").replace("/bin/", "/Scripts/")
    assert windows.strip() == first.replace("/", "\\").replace("'", '"')


def test_the_copy_to_break_has_the_page(tmp_path):
    for name in (*FILES, "static"):
        (tmp_path / name).symlink_to(HERE / name)
    [copying] = [line for line in shell_lines() if line.startswith("mkdir ")]
    subprocess.run(["bash", "-c", copying], cwd=tmp_path, check=True)
    with Process(folder=tmp_path / "broken-shop") as shop:
        assert b"<!DOCTYPE html>" in ask(shop.url, "GET", "/").body


def test_a_folder_that_is_named_like_a_file_is_a_404_and_so_is_a_file_that_is_gone(tmp_path):
    folder = copy_shop(tmp_path, HERE)
    (tmp_path / "static" / "x.js").mkdir()
    with Process(folder=folder) as shop:
        assert ask(shop.url, "GET", "/static/style.css").status == 200
        (tmp_path / "static" / "style.css").unlink()
        for name in ("x.js", "style.css"):
            assert ask(shop.url, "GET", f"/static/{name}").status == 404
        shop.stop()
    assert len(shop.err) == 1


def test_the_oldest_version_that_readme_names_cooks_an_order(tmp_path, monkeypatch):
    oldest = re.search(r"versions\s(\d+\.\d+\.\d+)\sand", section("Run it"))[1]
    needed = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]["dependencies"]
    assert f"opentelemetry-sdk>={oldest.removesuffix('.0')},<2" in needed
    python = tmp_path / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q"]
    packages = [f"opentelemetry-sdk=={oldest}", f"opentelemetry-api=={oldest}"]
    if subprocess.run([*pip, *packages]).returncode:
        pytest.skip("needs a package registry")
    monkeypatch.setattr(sys, "executable", str(python))
    with Process("--fry-seconds", "0") as shop:
        reply = ask(shop.url, "POST", "/order", SAMPLE, [("baggage", "a=1;b,c=2")])
        assert reply.status == 200 and len(shown_spans(shop, reply, 10)) == 10
        until(lambda: len(shop.out) == 10, "the last line")
        assert shop.stop() == 0
    assert all(LINE.fullmatch(line) for line in shop.out) and len(shop.err) == 1, shop.err


# ---------------------------------------------------------------- the terminal

LINE = re.compile(
    r"(->|<-|  ) (SERVER|CLIENT|INTERNAL) (.+?) +([\d.]+)ms +"
    r"(\w+\.py):(\d+) "
    r"([0-9a-f]{16}) (?:/#([0-9a-f]{32})|([0-9a-f]{16}) ([0-9a-f]{6}))\n"
)
SIX = {"donuts": [{"flavor": "glazed", "quantity": 4}, {"flavor": "jelly", "quantity": 2}]}


def test_an_order_of_six_takes_at_most_24_lines_of_120_columns_that_can_be_followed_by_eye():
    with Process("--fry-seconds", "0") as shop:
        reply = ask(shop.url, "POST", "/order", SIX)
        until(lambda: len(shop.out) == 22, "the last line")
        shop.stop()
    assert len(shop.out) == 22 and max(len(line.rstrip("\n")) for line in shop.out) <= 120, shop.out
    rows = [LINE.fullmatch(line).groups() for line in shop.out]
    trace_id = reply.headers["Server-Timing"].split("-")[1]
    by_id = {row[6]: row for row in rows}
    for arrow, kind, _, _, file, line, _, root_trace, parent, digits in rows:
        source = (HERE / file).read_text().splitlines()[int(line) - 1]
        assert "tracer.start_span(" in source
        assert trace_id.startswith(digits or root_trace)
        expected = {"CLIENT": "->", "SERVER": "<-" if parent else "  ", "INTERNAL": "  "}[kind]
        assert arrow == expected
        if kind == "SERVER" and parent:  # the hop
            assert by_id[parent][1] == "CLIENT"
    assert collections.Counter((row[1], row[2]) for row in rows) == {
        ("SERVER", "POST /order 200"): 1,
        ("INTERNAL", "order ok"): 1,
        ("CLIENT", "POST 200"): 6,
        ("SERVER", "POST /kitchen/add_donuts 200"): 6,
        ("INTERNAL", "fry ok"): 6,
        ("CLIENT", "GET 200"): 1,
        ("SERVER", "GET /kitchen/get_donuts 200"): 1,
    }
    assert len(shop.err) == 1


def test_the_terminal_shows_what_went_wrong():
    with Process("--kitchen", "http://127.0.0.1:1") as shop:
        ask(shop.url, "POST", "/order", SAMPLE)
        shop.stop()
    assert [LINE.fullmatch(line)[3] for line in shop.out] == [
        "POST ConnectionRefusedError",
        "order 502",
        "POST /order 502",
    ]


def test_the_terminal_of_readme_is_the_terminal():
    [shown] = fences(section("Read the terminal"), "")
    order = """-d '{"donuts": [{"flavor": "glazed", "quantity": 1}]}'"""
    with Terminal() as terminal:
        run_and_compare(f"curl http://127.0.0.1:8082/order {order}", shown, terminal)


# ---------------------------------------------------------------- what the page reads


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/static/style.css",
        "/static/none",
        "/traces",
        "/traces/x",
        "/tracesx",
        "/source/kitchen.py",
        "/source/",
    ],
)
def test_the_page_and_what_it_reads_are_not_traced(shop, spans, method, path):
    reply = ask(shop.url, method, path, b"" if method == "POST" else None)
    assert spans.all() == [] and "Server-Timing" not in reply.headers


def test_the_store_hears_of_a_span_when_it_starts_and_has_the_newest(monkeypatch):
    monkeypatch.setattr(microdonuts, "MAX_SPANS", 4)
    store = microdonuts.SpanStore()
    started = [
        SimpleNamespace(context=SimpleNamespace(trace_id=trace_id)) for trace_id in (1, 2, 1, 3, 1)
    ]
    for span in started:
        store.on_start(span)
    assert list(store.traces().items()) == [
        (2, [started[1]]),
        (1, [started[2], started[4]]),
        (3, [started[3]]),
    ]
    assert microdonuts.SpanStore().spans.maxlen == 4


@pytest.mark.parametrize(
    ("chosen", "fields"),
    [
        ("", "baggage, traceparent, tracestate"),
        ("b3", "b3"),
        ("b3multi", "x-b3-sampled, x-b3-spanid, x-b3-traceid"),
    ],
)
def test_the_traces_name_the_headers_that_the_propagators_write(chosen, fields):
    with Process(OTEL_PROPAGATORS=chosen) as shop:
        assert ask(shop.url, "GET", "/traces").headers["Propagation-Fields"] == fields


def test_what_does_not_fit_into_a_read_out_is_left_out_and_it_says_so(shop, spans, monkeypatch):
    reply = ask(shop.url, "POST", "/order", SAMPLE)
    spans.wait(reply, 10)
    path = "/traces/" + reply.headers["Server-Timing"].split("-")[1]
    whole = ask(shop.url, "GET", path).body
    assert len(whole["spans"]) == 10 and whole["missing"] is None
    three = sum(len(json.dumps(span)) for span in whole["spans"][:3])
    monkeypatch.setattr(microdonuts, "MAX_JSON", three)
    cut = ask(shop.url, "GET", path).body
    assert cut["spans"] == whole["spans"][:3]
    assert cut["missing"] == "Only 3 of 10 spans fit into one answer."
    assert len(ask(shop.url, "GET", "/traces").body) < 4


HUNDRED = {"donuts": [{"flavor": "jelly", "quantity": 100}]}


def test_an_order_of_100_donuts_is_whole_and_what_strangers_send_is_cut(shop, spans):
    def size(path):
        return int(ask(shop.url, "HEAD", path).headers["Content-Length"])

    def order():
        reply = ask(shop.url, "POST", "/order", HUNDRED)
        path = "/traces/" + reply.headers["Server-Timing"].split("-")[1]
        assert len(shown_spans(shop, reply, 304)) == 304
        assert ask(shop.url, "GET", path).body["missing"] is None and size(path) < 1_000_000
        return path

    order()
    long = ("User-Agent", "x" * 30_000)
    for _ in range(40):
        ask(shop.url, "GET", "/kitchen/get_donuts?order_id=x", headers=[long])
        ask(shop.url, "GET", "/nowhere", headers=[long, ("traceparent", TRACEPARENT)])
    for path in ("/traces", f"/traces/{TRACE_ID}"):
        assert 900_000 < size(path) < 1_010_000
    cut = ask(shop.url, "GET", f"/traces/{TRACE_ID}").body
    assert cut["missing"] == f"Only {len(cut['spans'])} of 40 spans fit into one answer."
    path = order()  # the newest is whole, whatever came before it
    newest = ask(shop.url, "GET", "/traces").body[0]
    assert (
        path.endswith(newest["trace_id"]) and newest["spans"] == 304 and size("/traces") < 1_010_000
    )


# ---------------------------------------------------------------- README: read the page's trace


def chains_of_the_diagram():
    """Return the chains of the diagram: what follows what, and the words on the arrows between."""
    [drawing] = fences(section("Read the page's trace"), "")
    heading, threads, *lines = drawing.splitlines()
    # Those who call each other, and the threads in which they are: see `chain` below.
    assert re.split("  +", heading.strip()) == ["you", "the shop", "the kitchen", "the fryer"]
    assert re.split("  +", threads.strip()) == [
        "a thread for each connection",
        "a thread for each, too",
        "one thread",
    ]
    assert max(map(len, lines)) <= 100
    found = []
    for line in lines:
        if ">" in line:
            words = [word for word in re.split(r"[ +]*-{2,}>? *", line.strip()) if word]
            found.append(words if line.startswith(" POST") else [*found[-1][:2], *words])
    return found


def test_the_diagram_is_what_an_order_and_a_status_check_do():
    def attribute(span, name):
        return span["attributes"][name]

    def chain(span):
        """Return the way to a span from the root of its trace, in the diagram's words."""
        parent = by_id.get(span["parent_id"])
        above = chain(parent) if parent else []
        if span["kind"] == "SpanKind.SERVER":
            # It is answered by the function that its route names, in the thread of its connection.
            assert attribute(span, "thread.name").startswith("connection from ")
            return [
                *above,
                span["name"] if not parent else attribute(span, "http.route").rpartition("/")[2],
            ]
        function = attribute(span, "code.function.name").rpartition(".")[2]
        is_same_thread = attribute(span, "thread.id") == attribute(parent, "thread.id")
        assert is_same_thread != (function == "fry_all")
        if span["kind"] == "SpanKind.CLIENT":
            times = sum(
                other["name"] == span["name"] for other in spans if other["kind"] == span["kind"]
            )
            return [*above, f"{span['name']}, {'once' if times == 1 else 'each donut'}"]
        if function == "fry_all":
            assert attribute(span, "thread.name") == "fryer"
            return [*above, "queue", function]
        _, endpoint = microdonuts.ROUTES[f"/{span['name']}"]
        return [*above, endpoint.__name__]

    chains = []
    with Process("--fry-seconds", "0") as shop:
        donuts = [{"flavor": "jelly", "quantity": 2}]
        order = ask(shop.url, "POST", "/order", {"donuts": donuts})
        status = ask(shop.url, "POST", "/status", {"order_id": order.body["order_id"]})
        for reply, count in (order, 10), (status, 4):
            spans = shown_spans(shop, reply, count)
            by_id = {span["context"]["span_id"]: span for span in spans}
            parents = {span["parent_id"] for span in spans}
            leaves = [chain(span) for span in spans if span["context"]["span_id"] not in parents]
            chains += [list(words) for words in dict.fromkeys(map(tuple, leaves))]
    assert sorted(chains) == sorted(chains_of_the_diagram())


# ---------------------------------------------------------------- what is on each span


def attributes(span):
    """Return the function that started a span, and the span's other attributes.

    Attributes that differ from run to run are left out once they have been checked.
    """
    found = dict(span.attributes)
    path = pathlib.Path(found.pop("code.file.path"))
    function = found.pop("code.function.name")
    line = path.read_text().splitlines()[found.pop("code.line.number") - 1]
    assert path.is_absolute() and path.stem == function.split(".")[0]
    assert "tracer.start_span(" in line, line
    port, thread_id = found.pop("network.peer.port", 0), found.pop("thread.id")
    assert type(port) is int and type(thread_id) is int
    return function, found


def wire(span):
    """Return the http.request.header attributes that both ends of a kitchen call must have."""
    return {"http.request.header.traceparent": (traceparent_of(span),)}


def test_every_attribute_of_every_kind_of_span(shop, spans):
    headers = [("User-Agent", "Test/1.0"), ("Host", f"localhost:{shop.server_port}")]
    reply = ask(shop.url, "POST", "/order", SAMPLE, headers)
    server, order, client, add, *_ = found = spans.wait(reply, 10)
    [fry, _], [get], [get_server] = (
        named(found, name) for name in ("fry", "GET", "GET /kitchen/get_donuts")
    )
    order_id = reply.body["order_id"]
    thread = server.attributes["thread.name"]
    assert attributes(server) == (
        "microdonuts.trace_request",
        {
            "http.request.method": "POST",
            "http.route": "/order",
            "url.scheme": "http",
            "url.path": "/order",
            "server.address": "localhost",
            "server.port": shop.server_port,
            "client.address": "127.0.0.1",
            "network.peer.address": "127.0.0.1",
            "network.protocol.version": "1.1",
            "user_agent.original": "Test/1.0",
            "http.response.status_code": 200,
            "thread.name": thread,
        },
    )
    assert attributes(order) == (
        "microdonuts.span_of_order",
        {"microdonuts.order.id": order_id, "microdonuts.quantity": 2, "thread.name": thread},
    )
    here = {
        "server.address": "127.0.0.1",
        "server.port": shop.server_port,
        "network.peer.address": "127.0.0.1",
        "network.protocol.version": "1.1",
        "http.response.status_code": 200,
        "http.request.header.baggage": (f"microdonuts.order.id={order_id}",),
    }
    assert client.attributes["network.peer.port"] == shop.server_port
    assert attributes(client) == (
        "kitchen.exchange",
        {
            "http.request.method": "POST",
            "url.full": f"{shop.url}/kitchen/add_donuts",
            "thread.name": thread,
            **here,
            **wire(client),
        },
    )
    of_kitchen = {
        "url.scheme": "http",
        "user_agent.original": f"Python-urllib/{sys.version_info[0]}.{sys.version_info[1]}",
        "client.address": "127.0.0.1",
        "microdonuts.order.id": order_id,
        "thread.name": add.attributes["thread.name"],
        **here,
    }
    assert attributes(add) == (
        "microdonuts.trace_request",
        {
            "http.request.method": "POST",
            "http.route": "/kitchen/add_donuts",
            "url.path": "/kitchen/add_donuts",
            **of_kitchen,
            **wire(client),
        },
    )
    assert attributes(fry) == (
        "kitchen.Kitchen.fry_all",
        {
            "microdonuts.order.id": order_id,
            "microdonuts.flavor": "glazed",
            "thread.name": "fryer",
        },
    )
    assert attributes(get) == (
        "kitchen.exchange",
        {
            "http.request.method": "GET",
            "url.full": f"{shop.url}/kitchen/get_donuts?order_id={order_id}",
            "thread.name": thread,
            **here,
            **wire(get),
        },
    )
    assert attributes(get_server) == (
        "microdonuts.trace_request",
        {
            "http.request.method": "GET",
            "http.route": "/kitchen/get_donuts",
            "url.path": "/kitchen/get_donuts",
            "url.query": f"order_id={order_id}",
            **of_kitchen,
            **wire(get),
        },
    )
    assert {span.instrumentation_scope.name for span in found} == {"microdonuts", "kitchen"}
    for span in found:
        assert span.status.status_code.name == "UNSET" and not span.events and not span.links


def test_each_connection_has_a_thread_with_its_name(shop, spans):
    reply = ask(shop.url, "POST", "/order", SAMPLE)
    found = spans.wait(reply, 10)
    names = {}
    for span in found:
        names.setdefault(span.attributes["thread.name"], []).append(span)
    # One thread has the caller's connection, one has the connection to the kitchen, and one fries.
    assert sorted(map(len, names.values())) == [2, 3, 5]
    assert {span.name for span in names.pop("fryer")} == {"fry"}
    for name, its_spans in names.items():
        [port] = {
            span.attributes["network.peer.port"] for span in its_spans if span.kind.name == "SERVER"
        }
        assert name == f"connection from 127.0.0.1:{port}"
        assert len({span.attributes["thread.id"] for span in its_spans}) == 1


# fmt: off
SERVER_SPANS = [
    ("QUERY /order", "QUERY /order", {"http.request.method": "QUERY", "http.response.status_code": 405}),
    ("HEAD /kitchen/get_donuts", "HEAD /kitchen/get_donuts", {"http.response.status_code": 200}),
    ("GET /caf%C3%A9?", "GET", {"url.path": "/caf%C3%A9", "http.response.status_code": 404}),
    ("GET //order", "GET", {"url.path": "//order", "http.response.status_code": 404}),
    *((f"GET /kitchen/get_donuts?{query}", "GET /kitchen/get_donuts", {"url.query": redacted}) for query, redacted in (
        ("sig=a&x=%20&Signature=b&signature=c", "sig=REDACTED&x=%20&Signature=REDACTED&signature=c"),
        ("X-Amz-Signature=&asig=d&AWSAccessKeyId=e", "X-Amz-Signature=REDACTED&asig=d&AWSAccessKeyId=REDACTED"),
        ("X-Amz-Credential=a&X-Amz-Security-Token=b", "X-Amz-Credential=REDACTED&X-Amz-Security-Token=REDACTED"),
        ("a&X-Goog-Signature=b?sig=c", "a&X-Goog-Signature=REDACTED"))),
    ("GET http://localhost:99/kitchen/get_donuts?a", "GET /kitchen/get_donuts", {"server.address": "localhost", "server.port": 99, "url.query": "a"}),
    ("OPTIONS *", "OPTIONS", {"url.path": "*", "http.response.status_code": 404}),
]
# fmt: on


@pytest.mark.parametrize(("request_line", "name", "expected"), SERVER_SPANS)
def test_server_span_names_and_targets(shop, spans, request_line, name, expected):
    send_raw(shop.url, f"{request_line} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    [span] = spans.all()
    assert span.name == name
    assert {key: span.attributes[key] for key in expected} == expected
    assert ("http.route" in span.attributes) == (" /" in name)
    assert "url.query" in expected or "url.query" not in span.attributes


# Host; server.address; server.port. The shop on 0.0.0.0 is for any host, the other one is local.
# fmt: off
HOSTS = [
    ("localhost", "localhost", 80, 200),
    ("LOCALHOST:", "LOCALHOST", 80, 200),
    ("127.0.0.1:1", "127.0.0.1", 1, 200),
    ("127.9.9.9", "127.9.9.9", 80, 200),
    ("[::1]:8082", "::1", 8082, 200),
    ("donuts.example:8088", "donuts.example", 8088, 421),
    ("10.0.0.1", "10.0.0.1", 80, 421),
    ("localhost.example", "localhost.example", 80, 421),
    ("[::2]", "::2", 80, 421),
]
# fmt: on


@pytest.mark.parametrize(("host", "address", "port", "status"), HOSTS)
def test_a_local_shop_is_for_local_hosts_and_any_other_for_all(
    shop, everywhere, spans, host, address, port, status
):
    for server, expected in ((shop, status), (everywhere, 200)):
        spans.clear()
        reply = parse(send_raw(server.url, get("/kitchen/get_donuts", host=host)))
        assert reply.status == expected
        [span] = spans.all()
        assert span.attributes["http.response.status_code"] == expected
        assert span.attributes["server.address"] == address
        assert span.attributes["server.port"] == port
        if expected == 421:
            assert reply.body["error"].endswith(f"use {server.url}/.")


@pytest.fixture(scope="module")
def everywhere(provider):
    """Return a shop that does not listen on a loopback address."""
    server = start(host="0.0.0.0")
    yield server
    server.close()


def test_the_order_id_travels_as_baggage_and_a_callers_own_passes_through(shop, spans):
    header = ("baggage", "tier=gold;paid,microdonuts.order.id=theirs")
    reply = ask(shop.url, "POST", "/order", SAMPLE, [header])
    server, order, client, add, *_ = found = spans.wait(reply, 10)
    order_id = reply.body["order_id"]
    assert "microdonuts.order.id" not in server.attributes
    sent = client.attributes["http.request.header.baggage"]
    assert sent == (f"microdonuts.order.id={order_id},tier=gold;paid",)
    knowing = [order, add, *named(found, "fry")]
    assert {span.attributes["microdonuts.order.id"] for span in knowing} == {order_id}


@pytest.mark.parametrize("theirs", ["x" * 100, "x" * 101, "a%00b", "a%0Ab", ""])
def test_an_order_id_from_baggage_is_held_to_the_rule_of_a_body(shop, spans, theirs):
    header = ("baggage", f"microdonuts.order.id={theirs}")
    reply = ask(shop.url, "GET", "/kitchen/get_donuts", headers=[header])
    [span] = spans.of(reply)
    assert ("microdonuts.order.id" in span.attributes) == (len(theirs) == 100)
    assert span.attributes["http.request.header.baggage"] == (header[1],)


# ---------------------------------------------------------------- the wire: W3C Trace Context

VALID = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"
MANY = [f"k{n}=v" for n in range(33)]
LONG_KEY, LONG_VALUE = "k" * 256, "v" * 256
LONGEST = ",".join(f"{number:0256d}={LONG_VALUE}" for number in range(32))  # 16,447 characters
# The section of Level 2; its rule; the header lines that are sent; the flags of the traceparent
# that is passed on (None for a new trace); the tracestate that is passed on (None for none).
# fmt: off
WIRE = [
    ("3.2.1", "a name of any case", [("TraceParent", f"00-{VALID}-01"), ("TRACESTATE", "a=1")], "01", "a=1"),
    ("3.2.2", "absent", [], None, None),
    ("3.2.2", "tracestate alone is not read", [("tracestate", "a=1")], None, None),
    ("3.2.2", "empty", [("traceparent", "")], None, None),
    ("3.2.2", "two, equal", [("traceparent", f"00-{VALID}-01")] * 2, None, None),
    ("3.2.2", "two, the other bad", [("traceparent", f"00-{VALID}-01"), ("traceparent", "x")], None, None),
    ("3.2.2", "two in one line", [("traceparent", f"00-{VALID}-01,00-{VALID}-01")], None, None),
    ("3.2.2", "blanks around it", [("traceparent", f" \t00-{VALID}-01\t ")], "01", None),
    ("3.2.2", "blanks within", [("traceparent", f"00 -{VALID}-01")], None, None),
    ("3.2.2", "other dashes", [("traceparent", f"00_{VALID}_01")], None, None),
    ("3.2.2.1", "version ff", [("traceparent", f"ff-{VALID}-01")], None, None),
    ("3.2.2.1", "version too long", [("traceparent", f"000-{VALID}-01")], None, None),
    ("3.2.2.1", "version not hex", [("traceparent", f"0g-{VALID}-01")], None, None),
    ("3.2.2.1", "version in upper case", [("traceparent", f"0A-{VALID}-01")], None, None),
    ("3.2.2.2", "00 and more", [("traceparent", f"00-{VALID}-01-what")], None, None),
    ("3.2.2.2", "00 and a dash", [("traceparent", f"00-{VALID}-01-")], None, None),
    ("3.2.2.3", "trace-id of zeros", [("traceparent", f"00-{'0' * 32}-{VALID[33:]}-01")], None, None),
    ("3.2.2.3", "trace-id in upper case", [("traceparent", f"00-{VALID.upper()}-01")], None, None),
    ("3.2.2.3", "trace-id too short", [("traceparent", f"00-{VALID[1:]}-01")], None, None),
    ("3.2.2.3", "trace-id too long", [("traceparent", f"00-a{VALID}-01")], None, None),
    ("3.2.2.4", "parent-id of zeros", [("traceparent", f"00-{VALID[:32]}-{'0' * 16}-01")], None, None),
    ("3.2.2.4", "parent-id not hex", [("traceparent", f"00-{VALID[:32]}-{'g' * 16}-01")], None, None),
    ("3.2.2.5", "flags too long", [("traceparent", f"00-{VALID}-001")], None, None),
    ("3.2.2.5", "flags too short", [("traceparent", f"00-{VALID}-1")], None, None),
    ("3.2.2.5", "flags not hex", [("traceparent", f"00-{VALID}-.0")], None, None),
    ("3.2.2.5.1", "not sampled", [("traceparent", f"00-{VALID}-00"), ("tracestate", "a=1")], "00", "a=1"),
    ("3.2.2.5.2", "sampled and random", [("traceparent", f"00-{VALID}-03")], "03", None),
    ("3.2.2.5.2", "random, not sampled", [("traceparent", f"00-{VALID}-02")], "02", None),
    ("3.2.2.5.3", "unknown flags are set to zero", [("traceparent", f"00-{VALID}-ff")], "03", None),
    ("3.2.2.5.3", "unknown flags alone", [("traceparent", f"00-{VALID}-fc")], "00", None),
    ("3.2.4", "a later version", [("traceparent", f"cc-{VALID}-01"), ("tracestate", "a=1")], "01", "a=1"),
    ("3.2.4", "a later version and more", [("traceparent", f"cc-{VALID}-01-what-ever")], "01", None),
    ("3.2.4", "a later version and a dash", [("traceparent", f"cc-{VALID}-01-")], "01", None),
    ("3.2.4", "a later version and no dash", [("traceparent", f"cc-{VALID}-01.what")], None, None),
    ("3.3", "a bad traceparent: tracestate is not read", [("traceparent", "x"), ("tracestate", "a=1")], None, None),
    *((section, what, [("traceparent", f"00-{VALID}-01"), *[("tracestate", line) for line in lines]], "01", expected)
      for section, what, lines, expected in (
        ("3.3.2", "order and bytes are kept", ["z=1,a@b= x!\"~ y,m=4"], "z=1,a@b= x!\"~ y,m=4"),
        ("3.3.2", "several lines are one", ["a=1", "b=2,c=3"], "a=1,b=2,c=3"),
        ("3.3.2", "blanks around members", [" a=1 \t, b=2,\tc=3 "], "a=1,b=2,c=3"),
        ("3.3.2", "empty members and lines", ["", "a=1, ,,b=2,", " "], "a=1,b=2"),
        ("3.3.2", "empty: never sent", [""], None),
        ("3.3.2.1", "32 members", [",".join(MANY[:32])], ",".join(MANY[:32])),
        ("3.3.2.1", "32 members of the greatest length", [LONGEST], LONGEST),
        ("3.3.2.1", "33 members: none", [",".join(MANY)], None),
        ("3.3.2.1", "33 members in two lines: none", [",".join(MANY[:16]), ",".join(MANY[16:])], None),
        ("3.3.2.2.1", "Level 2 keys", ["1a=1,a@b@c=2,0=3,a_-*/=4"], "1a=1,a@b@c=2,0=3,a_-*/=4"),
        ("3.3.2.2.1", "a key of 256", [f"{LONG_KEY}=1"], f"{LONG_KEY}=1"),
        ("3.3.2.2.1", "a key of 257: none", [f"{LONG_KEY}k=1,a=1"], None),
        *(("3.3.2.2.1", f"key {key!r}: none", [f"b=2,{key}=1"], None)
          for key in ("A", "-a", "_a", "@a", "a ", "a!", "")),
        ("3.3.2.2.2", "a value of 256", [f"a={LONG_VALUE}"], f"a={LONG_VALUE}"),
        ("3.3.2.2.2", "a value of 257: none", [f"a={LONG_VALUE}v"], None),
        *(("3.3.2.2.2", f"value {value!r}: none", [f"b=2,a={value}"], None)
          for value in ("", "1=2", "\xe9", "a\tb")),
        ("3.3.3", "the first of a repeated key", ["a=1,b=2,a=3"], "a=1,b=2"))),
]
# fmt: on


def carried_by(shop, fake, headers, path="/order"):
    """Send a request with these headers to a shop whose kitchen is `fake`, and return the reply."""
    fake.requests.clear()
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers).encode("latin-1")
    body = json.dumps(SAMPLE if path == "/order" else {"order_id": "x"}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n".encode()
    length = f"Content-Length: {len(body)}\r\n\r\n".encode()
    reply = parse(send_raw(shop.url, head + lines + length + body, shut=False))
    assert reply.status == 200, reply
    return reply


@pytest.fixture(scope="module")
def wired(provider):
    """Return a shop, and the kitchen that it calls, which the test plays."""
    with FakeKitchen() as fake:
        shop = start(fake.url)
        yield shop, fake
        shop.close()


@pytest.mark.parametrize(
    ("section", "what", "headers", "flags", "tracestate"),
    WIRE,
    ids=[f"{section} {what}" for section, what, *_ in WIRE],
)
def test_the_rules_of_w3c_trace_context_level_2(
    wired, spans, section, what, headers, flags, tracestate
):
    reply = carried_by(*wired, headers)
    sent = wired[1].headers("traceparent")
    # There is a call for each of two donuts, and one that asks for both. Each has its own span.
    assert len(sent) == 3 and len(set(sent)) == 3
    for value in sent:
        version, trace_id, parent_id, its_flags = value.split("-")
        assert version == "00" and re.fullmatch("[0-9a-f]{32}", trace_id)
        assert re.fullmatch("[0-9a-f]{16}", parent_id)
        assert (trace_id == VALID[:32]) == (flags is not None) and parent_id != VALID[33:]
        # This SDK marks a trace id of its own as random, and samples it.
        assert its_flags == (flags or "03")
    assert wired[1].headers("tracestate") == [tracestate] * 3
    assert all("traceparent: " in head for head in wired[1].requests)  # 3.2.1: sent in lower case
    is_sampled = flags is None or int(flags, 16) & 1
    assert len(spans.all()) == (5 if is_sampled else 0)
    if is_sampled and flags:
        assert f"{spans.of(reply)[0].parent.span_id:016x}" == VALID[33:]


@pytest.mark.parametrize("path", ["/order", "/status"])
def test_orders_and_status_checks_carry_the_callers_trace_to_the_kitchen(wired, spans, path):
    reply = carried_by(*wired, [("traceparent", TRACEPARENT)], path)
    sent = wired[1].headers("traceparent")
    clients = [span for span in spans.of(reply) if span.kind.name == "CLIENT"]
    assert sent == [wire(span)["http.request.header.traceparent"][0] for span in clients]
    assert {value.split("-")[1] for value in sent} == {TRACE_ID}
    assert sent == [span.attributes["http.request.header.traceparent"][0] for span in clients]


# fmt: off
CONTINUED = [
    ("POST", "/kitchen/add_donuts", {"order_id": "continued", "flavor": "jelly"}),
    ("GET", "/kitchen/get_donuts", None),
    ("GET", "/nowhere", None),
    ("HEAD", "/kitchen/get_donuts", None),
    ("DELETE", "/order", None),
]
# fmt: on


@pytest.mark.parametrize(("method", "path", "body"), CONTINUED)
def test_every_traced_request_continues_the_callers_trace(shop, spans, method, path, body):
    reply = ask(shop.url, method, path, body, [("traceparent", TRACEPARENT)])
    [span] = [span for span in spans.of(reply) if span.kind.name == "SERVER"]
    assert f"{span.context.trace_id:032x}" == TRACE_ID
    assert (f"{span.parent.span_id:016x}", span.parent.is_remote) == (PARENT_ID, True)
    assert span.attributes["http.request.header.traceparent"] == (TRACEPARENT,)


def test_two_traceparents_are_on_the_span_as_they_came(shop, spans):
    lines = ["traceparent: a", "Traceparent: b", "tracestate: c=1,d=2", "tracestate: e=3"]
    send_raw(shop.url, get("/nowhere", *lines))
    [span] = spans.all()
    assert span.attributes["http.request.header.traceparent"] == ("a", "b")
    assert span.attributes["http.request.header.tracestate"] == ("c=1,d=2", "e=3")


# All headers that a propagator of ours reads, and so all that it may write.
B3_MULTI = ("x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags")
WIRE_HEADERS = ("traceparent", "tracestate", "baggage", "b3", *B3_MULTI)


@given(
    st.lists(st.tuples(st.sampled_from(WIRE_HEADERS), st.binary(max_size=300)), max_size=8),
    st.sampled_from(sorted(kitchen.PROPAGATORS)),
)
def test_any_bytes_in_a_header_never_raise(headers, name):
    texts = [(header, value.decode("latin-1")) for header, value in headers]
    message = as_message([(header, re.sub("[\r\n]", " ", text)) for header, text in texts])
    found_in = kitchen.PROPAGATORS[name].extract(message, getter=kitchen.HeaderGetter())
    found = trace.get_current_span(found_in).get_span_context()
    assert not found.is_remote or found.is_valid
    kitchen.PROPAGATORS[name].inject({}, found_in)


IDS = st.tuples(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1))
KEYS = st.from_regex(r"[a-z0-9][a-z0-9_*/@-]{0,255}", fullmatch=True)
VALUES = st.from_regex(r"[ -+\--<>-~]{0,255}[!-+\--<>-~]", fullmatch=True)


@given(IDS, st.integers(0, 3), st.dictionaries(KEYS, VALUES, max_size=32))
def test_what_inject_writes_extract_reads_back(ids, flags, members):
    lines = [",".join(f"{key}={value}" for key, value in members.items())]
    state = kitchen.W3CTraceState.from_header(lines)
    assert list(state.items()) == list(members.items())
    flags = trace.TraceFlags(flags)
    sent = trace.SpanContext(*ids, is_remote=False, trace_flags=flags, trace_state=state)
    carrier, propagator = {}, kitchen.W3CTraceContext()
    propagator.inject(carrier, trace.set_span_in_context(trace.NonRecordingSpan(sent)))
    assert ("tracestate" in carrier) == bool(members)
    found_in = propagator.extract(as_message(carrier), getter=kitchen.HeaderGetter())
    got = trace.get_current_span(found_in).get_span_context()
    assert (got.trace_id, got.span_id, got.trace_flags, got.is_remote) == (*ids, flags, True)
    assert got.trace_state.to_header() == lines[0]


def test_nothing_is_injected_without_a_valid_span():
    for propagator in kitchen.PROPAGATORS.values():
        carrier = {}
        propagator.inject(carrier)
        assert carrier == {}


# ---------------------------------------------------------------- the wire: the sections of its rules

SECTION = re.compile(r"(?<!RFC \d{4} )(?<!RFC \d{4}, )(?<![\d.])3(?:\.\d){1,4}\b(?!\.\d)")
BLOCK = re.compile(r"(?ms)^#{20,}\n# BLOCK (\d+)[:.].*?\n#{20,}\n(.*?)(?=^#{20,}\n|\Z)")


def sections_in(text):
    return set(SECTION.findall(text))


def test_every_section_in_the_comments_of_w3c_trace_context_has_a_row_and_every_row_a_comment():
    blocks = dict(BLOCK.findall((HERE / "kitchen.py").read_text()))
    about_tracestate = blocks["12"].partition("\n# baggage:")[0]
    in_code = sections_in(blocks["9"]) | sections_in(about_tracestate)
    assert in_code == {section for section, *_ in WIRE}


# ---------------------------------------------------------------- the wire: TraceState

LEVEL_1_KEYS = st.from_regex(r"[a-z][a-z0-9_*/-]{0,10}", fullmatch=True)
SHORT_VALUES = st.from_regex(r"[ -+\--<>-~]{0,8}[!-+\--<>-~]", fullmatch=True)
ANY_KEYS = LEVEL_1_KEYS | st.sampled_from(["", "A", "-a", "a b", "a=b", "k" * 257, "é"])
ANY_VALUES = SHORT_VALUES | st.sampled_from(["", "a,b", "a=b", "v ", "v" * 257, "é", "a\tb"])


def seen_of(state):
    """Return all that can be seen of a TraceState through its public methods."""
    keys = list(state)
    return {
        "repr": repr(state),
        "header": state.to_header(),
        "keys": list(state.keys()),
        "values": list(state.values()),
        "items": list(state.items()),
        "len": len(state),
        "iter": keys,
        "get": [state.get(key) for key in [*keys, "none"]],
        "[]": [state[key] for key in keys],
        "in": [key in state for key in [*keys, "none"]],
        "bool": bool(state),
    }


@given(st.dictionaries(LEVEL_1_KEYS, SHORT_VALUES, max_size=32), ANY_KEYS, ANY_VALUES)
def test_our_tracestate_does_what_its_base_does(members, key, value):
    entries = list(members.items())
    base, ours = TraceState(entries), kitchen.W3CTraceState(entries)
    assert seen_of(ours) == seen_of(base) and ours == base and base == ours
    results = [
        (state.add(key, value), state.update(key, value), state.delete(key))
        for state in (base, ours)
    ]
    for expected, found in zip(*results, strict=True):
        assert seen_of(found) == seen_of(expected) and isinstance(found, kitchen.W3CTraceState)
    for own_key in list(members)[:2]:
        for method, arguments in (("add", ("v",)), ("update", ("v",)), ("delete", ())):
            expected, found = (
                getattr(state, method)(own_key, *arguments) for state in (base, ours)
            )
            assert seen_of(found) == seen_of(expected)
    # None of them changes the TraceState that it is called on.
    assert seen_of(ours) == seen_of(base)
    lines = [base.to_header(), ""]
    assert seen_of(kitchen.W3CTraceState.from_header(lines)) == seen_of(
        TraceState.from_header(lines)
    )


def test_every_public_method_of_tracestate_is_one_that_we_know():
    known = "add delete from_header get get_default items keys to_header update values"
    assert {name for name in dir(TraceState) if not name.startswith("_")} == set(known.split())
    storage = "self." + next(iter(vars(TraceState())))
    methods = {
        name: member for name, member in vars(TraceState).items() if inspect.isfunction(member)
    }
    looks_into_it = {
        name for name, member in methods.items() if storage in inspect.getsource(member)
    }
    assert looks_into_it <= set(vars(kitchen.W3CTraceState)) and {"add", "__repr__"} < looks_into_it


def test_our_tracestate_can_be_made_in_every_way_that_its_base_can():
    for empty in (
        kitchen.W3CTraceState(),
        kitchen.W3CTraceState(None),
        kitchen.W3CTraceState(entries=None),
        kitchen.W3CTraceState([]),
        kitchen.W3CTraceState.get_default(),
        kitchen.W3CTraceState.from_header([]),
    ):
        assert seen_of(empty) == seen_of(TraceState()) and isinstance(empty, kitchen.W3CTraceState)
    many = [(f"k{number}", "v") for number in range(33)]
    assert len(kitchen.W3CTraceState(many[:32])) == 32
    for cls in (kitchen.W3CTraceState, TraceState):
        assert seen_of(cls(many)) == seen_of(TraceState())
    full = kitchen.W3CTraceState(many[:32])
    assert seen_of(full.add("new", "v")) == seen_of(full.update("new", "v")) == seen_of(full)
    assert full.update("k5", "new").to_header().startswith("k5=new,k0=v")
    mixed = [("a", "1"), ("A", "2"), ("a", "3"), ("b", "4")]
    assert seen_of(kitchen.W3CTraceState(mixed)) == seen_of(TraceState(mixed))


def test_our_tracestate_keeps_what_its_base_drops():
    lines = ["1a=x,a@b@c=y", "b=z,b=again"]
    ours, base = kitchen.W3CTraceState.from_header(lines), TraceState.from_header(lines)
    # The base class drops the whole of it, with what is other vendors'.
    assert (ours.to_header(), base.to_header()) == ("1a=x,a@b@c=y,b=z", "")
    assert TraceState.from_header(["1a=x,b=y"]).to_header() == ""
    assert ours.delete("b").to_header() == "1a=x,a@b@c=y"
    assert ours.add("2c", "w").to_header() == "2c=w,1a=x,a@b@c=y,b=z"
    assert ours.update("b", "w").to_header() == "b=w,1a=x,a@b@c=y"
    assert ours.update("1a", "w").to_header() == "1a=w,a@b@c=y,b=z"


def test_the_sdks_json_prints_our_tracestate_as_it_prints_its_own(spans, provider):
    shown = []
    for make in (TraceState, kitchen.W3CTraceState):
        ids = trace.SpanContext(1, 2, True, trace.TraceFlags(1), make([("a", "1"), ("b", "2")]))
        parent = trace.set_span_in_context(trace.NonRecordingSpan(ids))
        trace.get_tracer("test").start_span("test", parent).end()
        shown.append(json.loads(spans.all()[-1].to_json())["context"]["trace_state"])
    assert shown[0] == shown[1] == "['{key=a, value=1}', '{key=b, value=2}']"


def test_no_private_attribute_of_the_api_is_touched():
    for name, allowed in (("kitchen.py", set()), ("microdonuts.py", {"_getframe"})):
        code = ast.parse((HERE / name).read_text())
        # The storage of the base class is private, too, and ours has another name.
        used = [node.attr for node in ast.walk(code) if isinstance(node, ast.Attribute)]
        assert {name for name in used if re.match("_(?!_)", name)} <= allowed
        imported = [
            part
            for node in ast.walk(code)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for text in [getattr(node, "module", "") or "", *(alias.name for alias in node.names)]
            for part in text.split(".")
        ]
        assert not [part for part in imported if re.match("_(?!_)", part)]


# ---------------------------------------------------------------- the wire: W3C Baggage

OWN = r"microdonuts\.order\.id=([0-9a-f-]{36}|x)"  # what the shop itself adds, always in front
BAGGAGE_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
BAGGAGE_OCTETS = r"[!#-+\--:<-\[\]-~]*"
OWS = r"[ \t]*"
BAGGAGE_PROPERTY = f"{OWS};{OWS}{BAGGAGE_TOKEN}(?:{OWS}={OWS}{BAGGAGE_OCTETS})?"
BAGGAGE_MEMBER = f"{BAGGAGE_TOKEN}{OWS}={OWS}{BAGGAGE_OCTETS}(?:{BAGGAGE_PROPERTY})*"
BAGGAGE_STRING = re.compile(f"{BAGGAGE_MEMBER}(?:,{BAGGAGE_MEMBER})*")  # Definition
ODD = "\t \"';=asdf!@#$%^&*()"  # the value that the W3C's own tests encode
QUOTED_ODD = urllib.parse.quote(ODD)
BLANKS = " \t {} \t "


def spaced(text):
    """Return the same baggage with blanks and tabs around each separator."""
    return re.sub("[=;,]", lambda match: BLANKS.format(match[0]), text)


# A case of the W3C's own tests (w3c/baggage at 9af80f4, test/test_baggage.py: class and test), or
# the name of a section of W3C Baggage; the header lines that are sent; the members that go on to the
# kitchen behind the shop's own, or others that mean the same.
TWO_MEMBERS = "SomeKey=SomeValue;SomeProp,SomeKey2=SomeValue2;ValueProp=PropVal"
TWO_KV = (
    "SomeKey=SomeValue;SomePropKey=SomePropValue,SomeKey2=SomeValue2;SomePropKey2=SomePropValue2"
)
PROPERTIES = "SomeKey=SomeValue;SomeProp;SecondProp=PropValue"
SAME_NAME = "SomeKey=SomeValue;SomeProp;SomeProp=PropValue;SomeProp=AnotherPropValue"
NO_DECODING = "SomeKey=SomeValue;ValueProp%20%09%20%3D%20%09%20PropVal"
SIXTY_FOUR = ",".join(f"key{n}=value" for n in range(63))  # with the shop's own they are 64
MANY_ENTRIES = [f"{n:03d}=0123456789a" for n in range(512)]
# fmt: off
BAGGAGE = [
    ("BaggageTest.test_ctor_default", [], ""),
    ("BaggageTest.test_parse_simple", ["SomeKey=SomeValue"], "SomeKey=SomeValue"),
    ("BaggageTest.test_parse_multiple", [TWO_MEMBERS], TWO_MEMBERS),
    ("BaggageTest.test_parse_multiple_ows", [spaced(TWO_MEMBERS)], TWO_MEMBERS),
    ("BaggageTest.test_parse_multiple_kv_property", [TWO_KV], TWO_KV),
    ("BaggageTest.test_parse_multiple_kv_property_ows", [spaced(TWO_KV)], TWO_KV),
    ("BaggageEntryTest.test_ctor_default", [""], ""),
    ("BaggageEntryTest.test_parse_simple", ["SomeKey=SomeValue"], "SomeKey=SomeValue"),
    ("BaggageEntryTest.test_parse_multiple_equals", ["SomeKey=SomeValue=equals"], "SomeKey=SomeValue=equals"),
    ("BaggageEntryTest.test_parse_percent_encoded", [f"SomeKey={QUOTED_ODD}"], f"SomeKey={QUOTED_ODD}"),
    ("BaggageEntryTest.test_parse_property", ["SomeKey=SomeValue;SomeProp"], "SomeKey=SomeValue;SomeProp"),
    ("BaggageEntryTest.test_parse_multi_property", [PROPERTIES], PROPERTIES),
    ("BaggageEntryTest.test_parse_multiple_properties_same_name", [SAME_NAME], SAME_NAME),
    ("BaggageEntryTest.test_parse_kv_property", ["SomeKey=SomeValue;SomePropKey=SomePropValue"], "SomeKey=SomeValue;SomePropKey=SomePropValue"),
    ("BaggageEntryTest.test_parse_simple_ows", ["SomeKey \t = \t SomeValue \t "], "SomeKey=SomeValue"),
    ("BaggageEntryTest.test_parse_percent_encoded_ows", [f"SomeKey \t = \t {QUOTED_ODD} \t "], f"SomeKey={QUOTED_ODD}"),
    ("BaggageEntryTest.test_parse_property_ows", ["SomeKey \t = \t SomeValue \t ; \t SomeProp"], "SomeKey=SomeValue;SomeProp"),
    ("BaggageEntryTest.test_parse_multi_property_ows", [spaced(PROPERTIES)], PROPERTIES),
    ("BaggageEntryTest.test_parse_kv_property_ows", [spaced("SomeKey=SomeValue;SomePropKey=SomePropValue")], "SomeKey=SomeValue;SomePropKey=SomePropValue"),
    ("BaggageEntryTest.test_parse_percent_encoded_property", [f"SomeKey=SomeValue;SomePropKey={QUOTED_ODD}"], f"SomeKey=SomeValue;SomePropKey={QUOTED_ODD}"),
    ("BaggageEntryTest.test_parse_property_without_value_no_percent_decoding", [NO_DECODING], NO_DECODING),
    ("LimitsTest.test_serialize_at_least_64", [SIXTY_FOUR], SIXTY_FOUR),
    ("LimitsTest.test_serialize_long_entry", ["a=" + "0" * 8_132], "a=" + "0" * 8_132),  # with the shop's own and its comma: 8192
    ("LimitsTest.test_serialize_many_entries", [",".join(MANY_ENTRIES)], ",".join(MANY_ENTRIES[:508])),  # the same: 8185
    ("Limits: no partial member", ["a=" + "0" * 8_133], ""),
    ("Limits: all lines together", ["a=" + "0" * 4_064, "b=" + "0" * 4_064], "a=" + "0" * 4_064 + ",b=" + "0" * 4_064),
    ("Limits: all lines together", ["a=" + "0" * 4_065, "b=" + "0" * 4_065], "a=" + "0" * 4_065),
    ("Baggage HTTP Header Format: several lines", ["a=1", "b=2, c=3"], "a=1,b=2,c=3"),
    ("baggage-string: repeated keys keep their order", ["a=1,b=2,a=3"], "a=1,b=2,a=3"),
    ("key: a token, case-sensitive and never decoded", ["A=1,a=2,a%20=3,!#$%&'*+-.^_`|~0=4"], "A=1,a=2,a%20=3,!#$%&'*+-.^_`|~0=4"),
    ("value: empty", ["a=,b="], "a=,b="),
    ("value: each octet", ["a=" + "".join(map(chr, range(0x21, 0x7F))).translate(dict.fromkeys(map(ord, '",;\\')))],
     "a=" + "".join(map(chr, range(0x21, 0x7F))).translate(dict.fromkeys(map(ord, '",;\\')))),
    ("value: a plus sign is a plus sign", ["a=1+1,b=1%2B1,c=1%201"], "a=1%2B1,b=1%2B1,c=1%201"),
    ("value: no UTF-8 is U+FFFD", ["a=%FFx,b=%e2%82"], "a=%EF%BF%BDx,b=%EF%BF%BD"),
    ("Mutating baggage: a malformed member is left out", [
        "a,=,=1,b c=1,(=1,\xe9=1,a=\xe9,a=b c,a=\"b\",a=b\\c,a=b;,a=b;;p,a=b;=p,a=b;p q,a=b;p=\",c=3"], "c=3"),
    ("Mutating baggage: empty members", ["", ",", " , a=1 ,\t,", ";"], "a=1"),
    ("Mutating baggage: a value of the shop's own key", ["a=1,microdonuts.order.id=mine;p,b=2"], "a=1,b=2"),
]
# fmt: on


def taken_apart(text):
    """Return the members of a baggage-string, sorted by their keys.

    A member is (key, value, ((key, value or None), ...)). The order of different keys means
    nothing, but members of one key keep theirs (baggage-string).
    """
    members = []
    for member in filter(None, text.split(",")):
        (key, _, value), *properties = (pair_of(part) for part in member.split(";"))
        properties = tuple((name, text if equals else None) for name, equals, text in properties)
        members.append((key, value, properties))
    return sorted(members, key=lambda member: member[0])


def pair_of(text):
    key, equals, value = text.partition("=")
    return key.strip(" \t"), equals, urllib.parse.unquote(value.strip(" \t"))


@pytest.mark.parametrize(
    ("case", "lines", "expected"),
    BAGGAGE,
    ids=[f"{case} {number}" for number, (case, *_) in enumerate(BAGGAGE)],
)
def test_the_w3cs_own_cases_for_baggage_over_the_wire(wired, case, lines, expected):
    carried_by(*wired, [("baggage", line) for line in lines])
    sent = wired[1].headers("baggage")
    assert len(sent) == 3 and len(set(sent)) == 1
    own, _, others = sent[0].partition(",")
    assert re.fullmatch(OWN, own) and BAGGAGE_STRING.fullmatch(sent[0]) and len(sent[0]) <= 8_192
    assert taken_apart(others) == taken_apart(expected)


def test_the_table_has_every_case_of_the_w3cs_own_tests():
    names = [case for case, *_ in BAGGAGE if re.match(r"\w+Test\.", case)]
    assert len(names) == len(set(names)) == 24
    counts = collections.Counter(name.partition(".")[0] for name in names)
    assert counts == {"BaggageTest": 6, "BaggageEntryTest": 15, "LimitsTest": 3}


def read_baggage(propagator, *lines):
    """Return the context that a propagator makes of some baggage lines."""
    message = as_message([("baggage", line) for line in lines])
    return propagator.extract(message, context.Context(), kitchen.HeaderGetter())


def write_baggage(propagator, its_context):
    """Return the baggage header that a propagator writes, or None."""
    carrier = {}
    propagator.inject(carrier, its_context)
    assert set(carrier) <= {"baggage"}
    return carrier.get("baggage")


def test_baggage_is_decoded_for_whoever_asks_for_it():
    found = read_baggage(
        kitchen.W3CBaggage(), "a=DF%2028,b=1+1;p=2,c=%FF,d=%zz%,e==", "f = %20 ;p , a=last"
    )
    expected = {"a": "last", "b": "1+1", "c": "\ufffd", "d": "%zz%", "e": "=", "f": " "}
    assert dict(baggage.get_all(found)) == expected
    assert baggage.get_baggage("b", found) == "1+1"


def test_no_baggage_leaves_the_context_as_it_was():
    before = baggage.set_baggage("mine", "1", context.Context())
    for lines in ([], [""], [" ,;, = "]):
        message = as_message([("baggage", line) for line in lines])
        after = kitchen.W3CBaggage().extract(message, before, kitchen.HeaderGetter())
        assert dict(baggage.get_all(after)) == {"mine": "1"}
        assert write_baggage(kitchen.W3CBaggage(), after) == "mine=1"
    assert write_baggage(kitchen.W3CBaggage(), context.Context()) is None


KEYS_OF_BAGGAGE = st.from_regex(rf"{BAGGAGE_TOKEN[:-1]}{{1,20}}", fullmatch=True)


@given(st.dictionaries(KEYS_OF_BAGGAGE, st.text(max_size=50), max_size=10))
def test_baggage_that_inject_writes_extract_reads_back(values):
    its_context = context.Context()
    for key, value in values.items():
        its_context = baggage.set_baggage(key, value, its_context)
    sent = write_baggage(kitchen.W3CBaggage(), its_context)
    assert (sent is None) == (not values)
    if values:
        assert BAGGAGE_STRING.fullmatch(sent) and sent.isascii()
        assert taken_apart(sent) == sorted((key, value, ()) for key, value in values.items())
        assert dict(baggage.get_all(read_baggage(kitchen.W3CBaggage(), sent))) == values


VALUES_OF_BAGGAGE = st.text(max_size=15).map(urllib.parse.quote)
MEMBERS_OF_BAGGAGE = st.tuples(
    KEYS_OF_BAGGAGE,
    VALUES_OF_BAGGAGE,
    st.lists(st.tuples(KEYS_OF_BAGGAGE, st.none() | VALUES_OF_BAGGAGE), max_size=3),
)


@given(st.lists(MEMBERS_OF_BAGGAGE, min_size=1, max_size=8, unique_by=lambda member: member[0]))
def test_properties_pass_through_but_for_a_value_that_was_changed(members):
    lines = [
        ";".join([f"{key}={value}", *(k if v is None else f"{k}={v}" for k, v in properties)])
        for key, value, properties in members
    ]
    found = read_baggage(kitchen.W3CBaggage(), *lines)
    assert taken_apart(write_baggage(kitchen.W3CBaggage(), found)) == taken_apart(",".join(lines))
    key, changed = members[0][0], urllib.parse.unquote(members[0][1]) + "!"
    found = baggage.set_baggage(key, changed, found)
    # The member that was changed is now our own, and comes first.
    first, *others = write_baggage(kitchen.W3CBaggage(), found).split(",")
    others = taken_apart(",".join(others))
    assert taken_apart(first) == [(key, changed, ())] and others == taken_apart(",".join(lines[1:]))
    if members[1:]:
        found = baggage.remove_baggage(key, found)
        assert taken_apart(write_baggage(kitchen.W3CBaggage(), found)) == others


def test_what_cannot_be_a_key_is_not_sent_and_what_is_no_text_is():
    its_context = context.Context()
    for key in ("", "a b", "a,b", "a=b", "a;b", "a\r\nX-Evil: 1", "\xe9"):
        its_context = baggage.set_baggage(key, "v", its_context)
    assert write_baggage(kitchen.W3CBaggage(), its_context) is None
    its_context = baggage.set_baggage("number", 5, its_context)
    its_context = baggage.set_baggage("lines", "1\r\nX-Evil: 2", its_context)
    assert write_baggage(kitchen.W3CBaggage(), its_context) == "lines=1%0D%0AX-Evil%3A%202,number=5"


def test_an_order_id_of_any_text_travels_as_baggage(wired):
    fake = wired[1]
    for order_id in ('é, x;y=%\\"', "a+b", " blank ", "%41", "x" * 100):
        fake.requests.clear()
        ask(wired[0].url, "POST", "/status", {"order_id": order_id})
        [sent] = fake.headers("baggage")
        assert taken_apart(sent) == [("microdonuts.order.id", order_id, ())]


# The difference; the header lines; what get_all then has, and the header that is sent, first with
# the API's propagator and then with ours; and the section of W3C Baggage that says that we are right.
# fmt: off
BAGGAGE_DIFFERENCES = [
    ("a blank is sent as +", ["node=DF%2028"], {"node": "DF 28"}, "node=DF+28", {"node": "DF 28"}, "node=DF%2028",
     "value: percent-encoding is that of RFC 3986 2.1, in which + is a plus sign"),
    ("a plus sign is read as a blank", ["a=1+1"], {"a": "1 1"}, "a=1+1", {"a": "1+1"}, "a=1+1", "the same"),
    ("encoded blanks are stripped", ["a=%20x%20"], {"a": "x"}, "a=x", {"a": " x "}, "a=%20x%20",
     "value: only blanks that are not encoded are no part of it"),
    ("properties are swallowed", ["a=alice;ttl=60"], {"a": "alice;ttl=60"}, "a=alice%3Bttl%3D60", {"a": "alice"}, "a=alice;ttl=60",
     "property: it is metadata of the value, and no part of it"),
    ("one of a repeated key is kept", ["a=1,b=2,a=3"], {"a": "3", "b": "2"}, "a=3,b=2", {"a": "3", "b": "2"}, "a=1,b=2,a=3",
     "baggage-string: the order of duplicate entries SHOULD be preserved"),
    ("a key is decoded", ["a%20b=1"], {"a b": "1"}, "a+b=1", {"a%20b": "1"}, "a%20b=1", "key: it is a token; only values are encoded"),
    ("a key of token characters is encoded", ["a&b=1"], {"a&b": "1"}, "a%26b=1", {"a&b": "1"}, "a&b=1", "the same"),
    ("more than 180 members", [",".join(f"k{n}=" for n in range(181))], {f"k{n}": "" for n in range(180)},
     ",".join(f"k{n}=" for n in range(180)), {f"k{n}": "" for n in range(181)}, ",".join(f"k{n}=" for n in range(181)),
     "Limits: SHOULD propagate as much as is reasonable"),
    ("a member of more than 4096 bytes", ["a=" + "x" * 4_095], {}, None, {"a": "x" * 4_095}, "a=" + "x" * 4_095,
     "Limits: all, if it is of 8192 bytes or less"),
    ("a header of more than 8192 bytes", ["a=" + "x" * 8_100 + ",b=" + "y" * 100], {}, None, {"a": "x" * 8_100}, "a=" + "x" * 8_100,
     "Limits: members may be dropped; all of them need not be"),
]
BAGGAGE_AGREED = ["a=1", "a=1,b=2", "a = 1\t,\tb=2", ",,a=1,", "a", "=1", "a=\xe9,b=1", "b c=1,a=2", "a=%C3%A9", "a=x=y", "a=", "a=%FF",
                  "a=%zz", "a=\"1\",b=2", "a=1;p q,b=2", "a=1\\,b=2"]
# fmt: on


@pytest.mark.parametrize(
    ("lines", "their_values", "their_header", "our_values", "our_header"),
    [row[1:-1] for row in BAGGAGE_DIFFERENCES],
    ids=[row[0] for row in BAGGAGE_DIFFERENCES],
)
def test_the_apis_own_baggage_propagator_differs(
    lines, their_values, their_header, our_values, our_header
):
    theirs = read_baggage(W3CBaggagePropagator(), *lines)
    assert dict(baggage.get_all(theirs)) == their_values
    assert write_baggage(W3CBaggagePropagator(), theirs) == their_header
    ours = read_baggage(kitchen.W3CBaggage(), *lines)
    assert dict(baggage.get_all(ours)) == our_values
    assert taken_apart(write_baggage(kitchen.W3CBaggage(), ours)) == taken_apart(our_header)


@pytest.mark.parametrize("line", BAGGAGE_AGREED)
def test_elsewhere_the_apis_own_baggage_propagator_agrees(line):
    theirs, ours = (
        read_baggage(each, line) for each in (W3CBaggagePropagator(), kitchen.W3CBaggage())
    )
    assert dict(baggage.get_all(theirs)) == dict(baggage.get_all(ours))
    sent = write_baggage(W3CBaggagePropagator(), theirs), write_baggage(kitchen.W3CBaggage(), ours)
    assert taken_apart(sent[0] or "") == taken_apart(sent[1] or "")


def test_malformed_baggage_is_logged_by_the_api_and_not_by_us(caplog):
    caplog.set_level(logging.DEBUG)
    for line in ("\x1b[31mred", "a b=token123", "x" * 9_000):
        read_baggage(kitchen.W3CBaggage(), line)
        assert caplog.records == []
        read_baggage(W3CBaggagePropagator(), line)
        assert any(line in record.getMessage() for record in caplog.records)
        caplog.clear()


def test_malformed_baggage_reaches_no_terminal():
    with FakeKitchen() as fake, Process("--kitchen", fake.url) as shop:
        for value in ("token 123", "a b=token123", "\x80token123", "a=1;token 123", "x" * 9_000):
            ask(shop.url, "POST", "/status", {"order_id": "x"}, [("baggage", value)])
        shop.stop()
    assert not any(re.search("token|Baggage|xxx", line) for line in shop.out + shop.err[1:])


def test_baggage_of_8192_bytes_is_sent_and_of_8193_is_not():
    for count, is_sent in ((8_190, True), (8_191, False)):  # and two bytes for "a="
        header = "a=" + "x" * count
        found = read_baggage(kitchen.W3CBaggage(), header)
        assert write_baggage(kitchen.W3CBaggage(), found) == (header if is_sent else None)
        own = baggage.set_baggage("a", "x" * count, context.Context())
        assert write_baggage(kitchen.W3CBaggage(), own) == (header if is_sent else None)
    whole = "a=" + "x" * 8_190
    found = read_baggage(kitchen.W3CBaggage(), f"{whole},b=1")
    assert write_baggage(kitchen.W3CBaggage(), found) == whole
    # LimitsTest.test_serialize_many_entries has 8192 bytes.
    entries = ",".join(MANY_ENTRIES) + "b"
    found = read_baggage(kitchen.W3CBaggage(), entries)
    assert len(entries) == 8_192 and write_baggage(kitchen.W3CBaggage(), found) == entries


@given(st.lists(st.integers(1, 3_000), min_size=1, max_size=12), st.integers(0, 8_150))
def test_the_shops_own_baggage_comes_first_and_only_whole_members_are_sent(lengths, own_length):
    members = [f"k{number}=" + "x" * length for number, length in enumerate(lengths)]
    found = read_baggage(kitchen.W3CBaggage(), ",".join(members))
    own = f"own={'o' * own_length}"
    sent = write_baggage(
        kitchen.W3CBaggage(), baggage.set_baggage("own", "o" * own_length, found)
    ).split(",")
    assert sent[0] == own and len(",".join(sent)) <= 8_192
    assert [member for member in members if member in sent] == sent[1:]
    fits = len(own) + sum(len(member) + 1 for member in members) <= 8_192
    assert not fits or sent[1:] == members  # Limits: what fits MUST be sent
    dropped = [member for member in members if member not in sent]
    assert not dropped or len(",".join([*sent, dropped[0]])) > 8_192


class CountedPattern:
    """A compiled pattern that adds up the lengths of the texts that it is given."""

    def __init__(self, pattern, counts):
        self.pattern, self.counts = pattern, counts

    def __getattr__(self, name):
        method = getattr(self.pattern, name)
        if not callable(method):
            return method

        def counted(*arguments, **options):
            self.counts["characters"] += sum(
                len(text) for text in arguments if isinstance(text, str)
            )
            return method(*arguments, **options)

        return counted


def work_of(line, monkeypatch):
    """Count what it takes to read and send a header.

    These are the lines of kitchen.py that run, and the characters that its patterns are given.
    """
    counts = collections.Counter()

    def count(frame, event, argument):
        if frame.f_code.co_filename != kitchen.__file__:
            return None
        counts["lines"] += event == "line"
        return count

    with monkeypatch.context() as patch:
        for name, value in list(vars(kitchen).items()):
            if isinstance(value, re.Pattern):
                patch.setattr(kitchen, name, CountedPattern(value, counts))
        old = sys.gettrace()
        sys.settrace(count)
        try:
            write_baggage(kitchen.W3CBaggage(), read_baggage(kitchen.W3CBaggage(), line))
        finally:
            sys.settrace(old)
    return counts


# fmt: off
BAGGAGE_SHAPES = {
    "members": lambda n: ",".join(f"k{number:05}=v" for number in range(n)),
    "the same key": lambda n: ",".join(["k=v"] * n),
    "properties": lambda n: "k=v" + ";p=q" * n,
    "empty members": lambda n: "," * n,
    "empty properties": lambda n: "k=v" + ";" * n,
    "blanks": lambda n: "k=" + " " * n + "v",
    "blanks and a tab": lambda n: " \t" * n + "k=v",
    "equal signs": lambda n: "k" + "=" * n,
    "percent signs": lambda n: "k=" + "%" * n,
    "malformed members": lambda n: ",".join(["k v"] * n),
    "one long key": lambda n: "k" * n,
    "blanks within a value": lambda n: "k=v" + " " * n + "w",
    "blanks within the name": lambda n: "k" + " " * n + "l=v",
    "blanks within a property": lambda n: "k=v;p" + " " * n + "q",
    "blanks and no more": lambda n: "k=" + " \t" * n + ";" + " " * n,
}
# fmt: on


@pytest.mark.parametrize("shape", BAGGAGE_SHAPES)
def test_baggage_takes_work_in_proportion_to_its_length(shape, monkeypatch):
    monkeypatch.setattr(kitchen, "MAX_BAGGAGE_BYTES", 10_000_000)  # so that nothing is cut off
    make = BAGGAGE_SHAPES[shape]
    once, twice, four = (work_of(make(n), monkeypatch) for n in (400, 800, 1_600))
    for what in ("lines", "characters"):
        first, second = twice[what] - once[what], four[what] - twice[what]
        # Twice as much is added, so it takes twice as much more.
        assert second <= 2.1 * first + 50, (what, once, twice, four)
    assert four["lines"] >= 1 and four["characters"] <= 20 * len(make(1_600))


# Steps within a pattern cannot be counted. A quadratic one would need minutes for so much.
LONG_BAGGAGE = """
import sys
import kitchen

kitchen.MAX_BAGGAGE_BYTES = 10_000_000
for line in sys.stdin:
    carrier = {"baggage": line.rstrip("\\n")}
    kitchen.W3CBaggage().inject({}, kitchen.W3CBaggage().extract(carrier))
"""


def test_baggage_of_a_million_characters_is_no_problem(tmp_path):
    # For each member, the API copies a dict.
    shapes = [
        make for name, make in BAGGAGE_SHAPES.items() if name not in ("members", "the same key")
    ]
    lines = "\n".join(make(200_000) for make in shapes)
    command = [sys.executable, "-c", LONG_BAGGAGE]
    subprocess.run(command, cwd=HERE, input=lines, text=True, check=True, timeout=DEADLINE)


# ---------------------------------------------------------------- the wire: B3

T16, T32, S16, P16 = "a3ce929d0e0e4736", TRACE_ID, PARENT_ID, "b7ad6b7169203331"
ZERO16 = "0" * 16
FRESH = ("fresh", "fresh")
# The header lines that are sent; the trace id, span id and sampling state that are read from them,
# or None if the context is left alone.
# fmt: off
B3_CASES = [
    ({"b3": f"{T32}-{S16}-1"}, (T32, S16, "1")),
    ({"b3": f"{T32}-{S16}-0"}, (T32, S16, "0")),
    ({"b3": f"{T32}-{S16}-d"}, (T32, S16, "d")),
    ({"b3": f"{T32}-{S16}"}, (T32, S16, "1")),
    ({"b3": f"{T16}-{S16}-1"}, (ZERO16 + T16, S16, "1")),
    ({"b3": f"{T32}-{S16}-1-{P16}"}, (T32, S16, "1")),
    ({"b3": f" {T32}-{S16}-1 "}, (T32, S16, "1")),
    ({"X-B3-TraceId": T32, "X-B3-SpanId": S16, "X-B3-Sampled": "1"}, (T32, S16, "1")),
    ({"X-B3-TraceId": T32, "X-B3-SpanId": S16, "X-B3-Sampled": "true"}, (T32, S16, "1")),
    ({"X-B3-TraceId": T32, "X-B3-SpanId": S16, "X-B3-Sampled": "0"}, (T32, S16, "0")),
    ({"X-B3-TraceId": T32, "X-B3-SpanId": S16, "X-B3-Sampled": "false"}, (T32, S16, "0")),
    ({"X-B3-TraceId": T16, "X-B3-SpanId": S16}, (ZERO16 + T16, S16, "1")),
    ({"X-B3-TraceId": T32, "X-B3-SpanId": S16, "X-B3-Flags": "1"}, (T32, S16, "d")),
    ({"X-B3-TraceId": T32, "X-B3-SpanId": S16, "X-B3-Flags": "1", "X-B3-Sampled": "0"}, (T32, S16, "d")),
    ({"X-B3-TraceId": T32, "X-B3-SpanId": S16, "X-B3-ParentSpanId": P16, "X-B3-Flags": "0"}, (T32, S16, "1")),
    ([("X-B3-TraceId", T32), ("X-B3-SpanId", S16), ("X-B3-Sampled", "0"), ("X-B3-Sampled", "1")], (T32, S16, "0")),
    ([("b3", "0"), ("b3", "1")], (*FRESH, "0")),
    ({"b3": "0"}, (*FRESH, "0")),
    ({"b3": "1"}, (*FRESH, "1")),
    ({"b3": "d"}, (*FRESH, "d")),
    ({"X-B3-Sampled": "0"}, (*FRESH, "0")),
    ({"X-B3-Sampled": "false"}, (*FRESH, "0")),
    ({"X-B3-Sampled": "1"}, (*FRESH, "1")),
    ({"X-B3-Sampled": "true"}, (*FRESH, "1")),
    ({"X-B3-Flags": "1"}, (*FRESH, "d")),
    ({"X-B3-TraceId": T32, "X-B3-SpanId": S16, "X-B3-Sampled": "x"}, (T32, S16, "1")),
    ({"b3": "x", "X-B3-TraceId": T32, "X-B3-SpanId": S16}, (T32, S16, "1")),
    ({"b3": "x", "X-B3-Sampled": "0"}, (*FRESH, "0")),
    ({"b3": f"{T32}-{ZERO16}-1", "X-B3-TraceId": T16, "X-B3-SpanId": P16}, (ZERO16 + T16, P16, "1")),
    ({"b3": f"{'0' * 32}-{S16}-1", "X-B3-TraceId": T16, "X-B3-SpanId": P16}, (ZERO16 + T16, P16, "1")),
    ({"b3": f"{T32}-{ZERO16}", "X-B3-TraceId": T16, "X-B3-SpanId": P16}, (ZERO16 + T16, P16, "1")),
    *((headers, None) for headers in (
        {}, {"b3": ""}, {"b3": f"{T32}-{S16}-2"}, {"b3": f"{T32}-{S16}-1-x"}, {"b3": "2"}, {"b3": "01"}, {"X-B3-Sampled": "x"},
        {"b3": f"{T32[1:]}-{S16}-1"}, {"b3": f"{'0' * 32}-{S16}-1"}, {"b3": f"{ZERO16}-{S16}"},
        {"b3": f"{T32}-{ZERO16}-1"}, {"b3": f"{T32.upper()}-{S16}-1"}, {"X-B3-TraceId": T32},
        {"X-B3-SpanId": S16, "X-B3-Sampled": "0"}, {"X-B3-TraceId": "0" * 32, "X-B3-SpanId": S16},
        {"X-B3-TraceId": "x", "X-B3-SpanId": S16, "X-B3-Sampled": "0"},
        # Ids that only together look well-formed
        {"X-B3-TraceId": T16, "X-B3-SpanId": f"{S16}-1"}, {"X-B3-TraceId": f"{T16}-{S16}", "X-B3-SpanId": "1"},
        {"X-B3-TraceId": f"{T32}-{S16}", "X-B3-SpanId": "0"}, {"X-B3-TraceId": f"{T32}-{S16}", "X-B3-SpanId": "d"},
        {"X-B3-TraceId": f"{T32}-{S16}-1", "X-B3-SpanId": P16}, {"X-B3-TraceId": T32, "X-B3-SpanId": f"{S16}-1-{P16}"},
        {"X-B3-TraceId": f"{T32}-{S16}"}, {"X-B3-SpanId": f"{T32}-{S16}"},
        {"X-B3-TraceId": T32[:16], "X-B3-SpanId": f"{T32[16:]}-{S16}"})),
]
# The ways in which the official package differs, with the words of the B3 specification (README.md
# of openzipkin/b3-propagation).
B3_DIFFERENCES = {
    "upper case": "TraceId: 32 or 16 lower-hex characters; the package reads upper-case ones, too",
    "debug": "Debug Flag: Debug implies an accept decision; the package samples, but sends 1 on, not d",
    "deny alone": "Sampling State: it can be sent alone (a predefined decision); the package leaves the context alone",
    "accept alone": "the same",
    "debug alone": "the same",
    "fallback": "a single header that is malformed hides the other headers from the package",
    "deferred": "Sampling State: absent is a decision left to the receiver; the package takes it for a denial in several headers",
    "state": "Sampling State: only 0, 1 and d are sampling states",
}
# fmt: on


def read_b3(propagator, headers, before=None):
    """Return (trace id, span id, the state that is sent on) as a propagator reads them, or None."""
    found_in = propagator.extract(as_message(headers), before, getter=kitchen.HeaderGetter())
    found = trace.get_current_span(found_in).get_span_context()
    if not found.is_valid:
        return None
    assert found.is_remote
    carrier = {}
    propagator.inject(carrier, found_in)
    trace_id, span_id, state = carrier["b3"].split("-")
    assert found.trace_flags.sampled == (state != "0")
    is_fresh = trace_id not in str(headers) and T16 not in str(headers) and not before
    return (*FRESH, state) if is_fresh else (trace_id, span_id, state)


@pytest.mark.parametrize(
    ("headers", "expected"), B3_CASES, ids=[str(headers) for headers, _ in B3_CASES]
)
def test_b3(headers, expected):
    assert read_b3(kitchen.B3(is_single=True), headers) == expected


def why_b3_differs(headers):
    headers = dict(headers)
    single = headers.get("b3", "")
    if single and any(name.startswith("X-") for name in headers):
        return "fallback"
    if T32.upper() in single:
        return "upper case"
    if (
        single in ("0", "1", "d")
        or len(headers) == 1
        and headers.keys() & {"X-B3-Sampled", "X-B3-Flags"}
    ):
        is_debug = single == "d" or "X-B3-Flags" in headers
        return (
            "debug alone"
            if is_debug
            else f"{'deny' if {'0', 'false'} & set(headers.values()) else 'accept'} alone"
        )
    if single.endswith("-d") or headers.get("X-B3-Flags") == "1":
        return "debug"
    return "state" if single.endswith(("-2", "-x")) else "deferred"


def test_b3_is_the_official_packages_but_for_a_short_list():
    seen = set()
    for headers, expected in B3_CASES:
        if read_b3(B3SingleFormat(), headers) != expected:
            seen.add(why_b3_differs(headers))
    assert seen == set(B3_DIFFERENCES)


def test_ids_of_a_decision_that_came_alone_are_new_each_time():
    for state in ("0", "1", "d"):
        seen = set()
        for _ in range(50):
            found = kitchen.B3(is_single=True).extract(
                as_message({"b3": state}), None, kitchen.HeaderGetter()
            )
            span = trace.get_current_span(found).get_span_context()
            seen |= {span.trace_id, span.span_id}
        assert len(seen) == 100


# The state that came alone; the flags of the span that is in the context already; its flags
# afterwards; the state that is sent on.
# fmt: off
ALONE = [
    ("0", 0b01, 0b00, "0"), ("0", 0b11, 0b10, "0"), ("0", 0b00, 0b00, "0"),
    ("1", 0b00, 0b01, "1"), ("1", 0b10, 0b11, "1"), ("1", 0b01, 0b01, "1"),
    ("d", 0b00, 0b01, "d"), ("d", 0b10, 0b11, "d"), ("d", 0b11, 0b11, "d"),
]
# fmt: on


@pytest.mark.parametrize(("state", "flags", "then", "sent"), ALONE)
@pytest.mark.parametrize("is_single", [True, False])
def test_a_decision_that_came_alone_keeps_the_ids_of_a_valid_span_in_the_context(
    state, flags, then, sent, is_single
):
    line = f"00-{VALID}-{flags:02x}"
    headers = as_message({"traceparent": line, "tracestate": "1a=x"})
    before = kitchen.W3CTraceContext().extract(headers, None, kitchen.HeaderGetter())
    alone = (
        {"b3": state}
        if is_single
        else {"X-B3-Flags": "1"}
        if state == "d"
        else {"X-B3-Sampled": state}
    )
    b3 = kitchen.B3(is_single=is_single)
    after = b3.extract(as_message(alone), before, kitchen.HeaderGetter())
    span = trace.get_current_span(after).get_span_context()
    assert f"{span.trace_id:032x}-{span.span_id:016x}" == VALID and span.is_remote
    assert span.trace_flags == then and span.trace_state.to_header() == "1a=x"
    carrier = {}
    b3.inject(carrier, after)
    expected = {"x-b3-flags": "1"} if state == "d" else {"x-b3-sampled": sent}
    ids = {"x-b3-traceid": VALID[:32], "x-b3-spanid": VALID[33:]}
    assert carrier == ({"b3": f"{VALID}-{sent}"} if is_single else {**ids, **expected})


# The sampler; the headers that come; the state that the kitchen gets.
# fmt: off
SAMPLED = [
    ("parentbased_always_off", {}, "0"),
    ("parentbased_always_off", {"b3": "1"}, "1"),
    ("parentbased_always_off", {"b3": "d"}, "d"),
    ("parentbased_always_off", {"b3": "0"}, "0"),
    ("parentbased_always_off", {"X-B3-Sampled": "1"}, "1"),
    ("parentbased_always_off", {"X-B3-Flags": "1"}, "d"),
    ("parentbased_always_off", {"b3": f"{T32}-{S16}-1"}, "1"),
    ("parentbased_always_on", {}, "1"),
    ("parentbased_always_on", {"b3": "0"}, "0"),
    ("parentbased_always_on", {"X-B3-Sampled": "0"}, "0"),
    ("parentbased_always_on", {"b3": "1"}, "1"),
    ("parentbased_always_on", {"b3": "d"}, "d"),
]
# fmt: on


@pytest.mark.parametrize("sampler", ["parentbased_always_off", "parentbased_always_on"])
def test_a_b3_decision_that_came_alone_is_honoured(sampler):
    rows = [(headers, state) for its_sampler, headers, state in SAMPLED if its_sampler == sampler]
    env = {"OTEL_PROPAGATORS": "b3", "OTEL_TRACES_SAMPLER": sampler}
    with FakeKitchen() as fake, Process("--kitchen", fake.url, **env) as shop:
        replies = [
            ask(shop.url, "POST", "/status", {"order_id": "x"}, headers.items())
            for headers, _ in rows
        ]
        shop.stop()
    sent = [value.split("-") for value in fake.headers("b3")]
    assert [parts[2] for parts in sent] == [state for _, state in rows]
    assert len({parts[0] for parts in sent}) == len(rows)
    for (_, state), parts, reply in zip(rows, sent, replies, strict=True):
        flags = reply.headers["Server-Timing"].rstrip('"').rpartition("-")[2]
        assert int(flags, 16) & 1 == (state != "0")
        assert any(parts[0][:6] in line for line in shop.out) == (state != "0")


def test_a_denial_beside_a_traceparent_keeps_its_trace():
    headers = [("traceparent", f"00-{VALID}-03"), ("tracestate", "1a=x")]
    with (
        FakeKitchen() as fake,
        Process("--kitchen", fake.url, OTEL_PROPAGATORS="tracecontext,b3") as shop,
    ):
        for state in ("0", "1", "d"):
            ask(shop.url, "POST", "/status", {"order_id": "x"}, [*headers, ("b3", state)])
        # If it has ids, b3 wins. In the same trace it leaves alone what it cannot express.
        for ids in (f"{T32}-{P16}", f"{T16}-{P16}"):
            ask(shop.url, "POST", "/status", {"order_id": "x"}, [*headers, ("b3", f"{ids}-1")])
    parents = [value.split("-") for value in fake.headers("traceparent")]
    assert [parts[1] for parts in parents] == [TRACE_ID] * 4 + [ZERO16 + T16]
    assert [parts[3] for parts in parents] == ["02", "03", "03", "03", "01"]
    assert [value.split("-")[2] for value in fake.headers("b3")] == ["0", "1", "d", "1", "1"]
    assert fake.headers("tracestate") == ["1a=x"] * 4 + [None]


def test_the_debug_mark_of_one_trace_is_not_written_on_another():
    written = {}
    for names in ("b3", "tracecontext"), ("tracecontext", "b3"):
        headers = as_message({"b3": f"{T16}-{P16}-d", "traceparent": f"00-{VALID}-00"})
        found_in = None
        for name in names:
            propagator = kitchen.PROPAGATORS[name]
            found_in = propagator.extract(headers, found_in, kitchen.HeaderGetter())
        kitchen.B3(is_single=True).inject(carrier := {}, found_in)
        written[names[-1]] = carrier["b3"]
    # The propagator that is asked last decides which trace it is.
    assert written == {
        "tracecontext": f"{VALID}-0",
        "b3": f"{ZERO16}{T16}-{P16}-d",
    }


def test_fields_name_what_inject_writes():
    official = {
        "b3": B3SingleFormat(),
        "b3multi": B3MultiFormat(),
        "baggage": W3CBaggagePropagator(),
        "tracecontext": TraceContextTextMapPropagator(),
    }
    headers = as_message({"traceparent": TRACEPARENT, "tracestate": "a=1", "baggage": "a=1"})
    its_context = kitchen.W3CTraceContext().extract(headers, None, kitchen.HeaderGetter())
    its_context = kitchen.W3CBaggage().extract(headers, its_context, kitchen.HeaderGetter())
    for name, theirs in official.items():
        ours = kitchen.PROPAGATORS[name]
        carrier = {}
        ours.inject(carrier, its_context)
        assert set(ours.fields) == set(theirs.fields) == set(carrier), name
    assert set(kitchen.B3(is_single=True).fields) == {"b3"}
    assert set(kitchen.B3(is_single=False).fields) == {
        "x-b3-traceid",
        "x-b3-spanid",
        "x-b3-sampled",
    }


# ---------------------------------------------------------------- README: experiments

# fmt: off
CHOSEN_PROPAGATORS = [
    ("b3", {"b3"}),
    ("b3multi", {"x-b3-traceid", "x-b3-spanid", "x-b3-sampled"}),
    ("none", set()),
    ("tracecontext", {"traceparent"}),
    ("baggage", {"baggage"}),
    ("", {"traceparent", "baggage"}),
    (" b3 ,b3, tracecontext,", {"b3", "traceparent"}),
    ("none,b3", set()),
    ("B3,jaeger", {"b3"}),
]
# fmt: on


@pytest.mark.parametrize(("chosen", "names"), CHOSEN_PROPAGATORS)
def test_otel_propagators_chooses_what_is_sent(chosen, names):
    with FakeKitchen() as fake, Process("--kitchen", fake.url, OTEL_PROPAGATORS=chosen) as shop:
        headers = [("b3", f"{T32}-{S16}-1"), ("traceparent", TRACEPARENT)]
        reply = ask(shop.url, "POST", "/status", {"order_id": "x"}, headers)
        shop.stop()
    [head] = fake.requests
    assert set(re.findall("(?m)^([a-z0-9-]+): ", head)) & set(WIRE_HEADERS) == names
    continued = reply.headers["Server-Timing"].split("-")[1] == TRACE_ID
    assert continued == bool(names & {"b3", "x-b3-traceid", "traceparent"})


def test_not_sampled_nothing_is_printed_and_the_ids_travel():
    with Process("--fry-seconds", "0") as back, Process("--kitchen", back.url) as front:
        header = ("traceparent", f"00-{VALID}-00")
        reply = ask(front.url, "POST", "/order", SAMPLE, [header])
        until(lambda: states_of(back.url, reply.body["order_id"]) == ["ready"] * 2)
        assert ask(front.url, "GET", f"/traces/{TRACE_ID}").status == 404
        front.stop()
        back.stop()
    assert reply.headers["Server-Timing"].startswith(f'trace;desc="00-{TRACE_ID}-')
    assert front.out == []
    assert all("get_donuts" in line for line in back.out)  # for the questions of this test


README = (HERE / "README.md").read_text()
FENCE = re.compile(r"(?m)^```(\w*)\n(.*?)^```$", re.DOTALL)
PORT = re.compile(r"127\.0\.0\.1:(80\d\d)")


def section(heading):
    """Return the text below a heading of README."""
    return re.search(rf"(?m)^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", README, re.DOTALL)[1]


def fences(text, language):
    return [code for tag, code in FENCE.findall(text) if tag == language]


def table(text):
    """Return the rows of the first table in a text, as lists of cells."""
    lines = re.search(r"(?m)^\|.*\n\|[-|]+\n((?:\|.*\n)+)", text)[1].splitlines()
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]


def quoted(text):
    """Return the texts that are in backticks."""
    return re.findall(r"`([^`]+)`", text)


def examples(heading):
    """Return [(commands, their output)] of a section of README."""
    found = [("", ""), *FENCE.findall(section(heading))]
    return [
        # A shop that is started in front of them has a block of its own, because it keeps a terminal.
        (start + commands if start.startswith("OTEL_") else commands, shown)
        for (_, start), (one, commands), (other, shown) in zip(
            found, found[1:], found[2:], strict=False
        )
        if (one, other) == ("sh", "") and "curl" in commands
    ]


EXAMPLES = [
    example for heading in re.findall(r"(?m)^## (.+)$", README) for example in examples(heading)
]


@pytest.mark.parametrize(("commands", "shown"), EXAMPLES)
def test_what_readmes_curl_lines_print_is_what_readme_shows(commands, shown):
    assert len(EXAMPLES) >= 7
    with Terminal() as terminal:
        printed = terminal.run(commands)
        assert anonymous(printed, commands) == anonymous(shown, commands)
        if '-00"' not in shown:
            until(
                lambda: any(shop.out for shop in terminal.shops.values()), "a line in the terminal"
            )
    assert '-00"' not in shown or not terminal.shop().out  # not sampled


# ---------------------------------------------------------------- README: sampling, and whom to trust


@pytest.mark.parametrize("row", range(7))
def test_each_row_of_what_a_sampler_does(row):
    rows = table(section("Sampling is a decision that travels"))
    assert len(rows) == 7
    sampler, flags, is_recorded, sent = rows[row]
    [sampler], flags, [sent] = quoted(sampler), quoted(flags)[0], quoted(sent)
    # The default is the default: its rows are run without the variable.
    env = {} if sampler == "parentbased_always_on" else {"OTEL_TRACES_SAMPLER": sampler}
    trace_id = "5" * 32
    headers = (
        [] if flags == "traceparent" else [("traceparent", f"00-{trace_id}-{'6' * 16}-{flags}")]
    )
    with FakeKitchen() as fake:
        with Process("--kitchen", fake.url, **env) as shop:
            reply = ask(shop.url, "POST", "/order", JELLY, headers)
            timing = reply.headers["Server-Timing"].split('"')[1].split("-")
            recorded = [entry["trace_id"] for entry in ask(shop.url, "GET", "/traces").body]
    assert recorded == ([timing[1]] if is_recorded == "yes" else [])
    assert bool(shop.out) == (is_recorded == "yes")
    assert (timing[1] == trace_id) == bool(headers)
    received = [value.split("-") for value in fake.headers("traceparent") if value]
    assert len(received) == 2 and {value[3] for value in received} == {sent} == {timing[3]}
    assert {value[1] for value in received} == {timing[1]} and len(
        {value[2] for value in received}
    ) == 2


def test_a_kitchen_that_records_what_the_shop_did_not_has_parents_that_nobody_finds():
    trace_id = "5" * 32
    with Process("--fry-seconds", "0", OTEL_TRACES_SAMPLER="always_on") as back:
        with Process("--kitchen", back.url) as shop:
            header = ("traceparent", f"00-{trace_id}-{'6' * 16}-00")
            ask(shop.url, "POST", "/order", JELLY, [header])
            found = ask(shop.url, "GET", f"/traces/{trace_id}").body["spans"]
    ids = {span["context"]["span_id"] for span in found}
    headless = [span for span in found if span["parent_id"] not in ids]
    assert not shop.out and sorted(span["name"] for span in headless) == [
        "GET /kitchen/get_donuts",
        "POST /kitchen/add_donuts",
    ]
    assert {span["context"]["trace_id"] for span in found} == {f"0x{trace_id}"}


def test_a_strangers_baggage_goes_on_to_the_kitchen():
    with FakeKitchen() as fake, Process("--kitchen", fake.url) as shop:
        ask(shop.url, "POST", "/order", JELLY, [("baggage", "secret=token123")])
    assert [value.split(",")[1] for value in fake.headers("baggage")] == ["secret=token123"] * 2


AT_THE_EDGE = """
from http.client import HTTPMessage
from opentelemetry import baggage, context, propagate, trace
{provider}
{recipe}
tracer, heard = trace.get_tracer("edge"), []


def answer():
    heard.append((dict(baggage.get_all()), trace.get_current_span().get_span_context().trace_id))


for sent in ("00-{trace_id}-{span_id}-00", "nonsense"):
    headers = HTTPMessage()
    headers["Traceparent"], headers["Baggage"] = sent, "secret=token123"
{code}
assert [items for items, _ in heard] == [{{}}, {{}}]
"""


def test_the_edge_starts_a_trace_of_its_own_with_a_link_and_no_baggage(tmp_path):
    lines = section("Whom to trust").strip("\n").splitlines()
    assert len(lines) <= 15
    [code] = fences(section("Whom to trust"), "python")
    recipe, provider, *_ = fences(section("Your own http.server"), "python")
    ids = {"trace_id": "5" * 32, "span_id": "6" * 16}
    program = AT_THE_EDGE.format(
        provider=provider, recipe=recipe, code=textwrap.indent(code, "    "), **ids
    )
    told, nothing = program_spans(tmp_path, program)
    assert told["parent_id"] is nothing["parent_id"] is None and told["kind"] == "SpanKind.SERVER"
    [link] = told["links"]
    assert link["context"]["trace_id"] == f"0x{'5' * 32}" != told["context"]["trace_id"]
    assert not nothing["links"]


# ---------------------------------------------------------------- README: break it on purpose


def breaks():
    """Return {title of a row: (the name of its command, the changes)} of the table.

    A change is (where, its file, the line, the line in its place).
    """
    found = {}
    for what, where, line, instead, command, _ in table(section("Break it on purpose")):
        what = what or list(found)[-1]
        found.setdefault(what, (command, []))[1].append(
            (*quoted(where), where.split(", ")[1], *quoted(line), *(quoted(instead) or [""]))
        )
    return found


BREAKS = breaks()
# The commands above the table, by the name that is in bold in front of each.
TRIES = dict(
    re.findall(r"(?ms)\*\*(\w+)\*\* .*?^```sh\n(.*?)^```$", section("Break it on purpose"))
)


def break_line(folder, where, file_name, line, instead):
    """Change one line of a copy of the shop, as a row says."""
    file = folder / file_name
    lines = file.read_text().splitlines()
    [at] = [
        n
        for n in range(*pieces(file.read_text())[where])
        if lines[n].strip().partition("  # ")[0] == line
    ]
    lines[at] = re.match(" *", lines[at])[0] + instead
    file.write_text("\n".join(lines) + "\n")


def ordered(shop, command):
    """Order one donut. Return its spans as the terminal has them, and as the page has them."""
    assert '"order_id"' in bash(PORT.sub(shop.url.removeprefix("http://"), command))
    until(lambda: len(shop.out) == 7, "the last span")
    remembered = remembered_spans(shop.url, ["microdonuts.order.id"])
    return terminal_spans(shop.out), remembered


def timings(shop, command):
    """Return the trace ids that a command sends, and those that the shop answers with."""
    printed = bash(PORT.sub(shop.url.removeprefix("http://"), command))
    return re.findall(r": 00-(\w{32})-", command), re.findall(r'desc="00-(\w{32})-', printed)


def roots(remembered):
    return [path[0] for path in paths(remembered) if len(path) == 1]


APART = ["GET /kitchen/get_donuts SERVER", "POST /kitchen/add_donuts SERVER", "POST /order SERVER"]
KNOW_THE_ORDER = ["GET /kitchen/get_donuts", "POST /kitchen/add_donuts", "fry", "order"]


def know_the_order(remembered):
    """Return the names of the spans that have the order id."""
    return sorted(
        span.label.rsplit(" ", 2)[0] for span in remembered if span.label.endswith(".order.id")
    )


def tree_of(remembered):
    """Return the path of each span below its root, without the names of attributes."""
    found = [[re.sub(r" microdonuts\S+", "", name) for name in path] for path in paths(remembered)]
    return [" / ".join(path) for path in found]


def is_broken_inject(shop, command):
    _, remembered = ordered(shop, command)
    return roots(remembered) == APART


def is_broken_inject_outside(shop, command):
    _, remembered = ordered(shop, command)
    assert know_the_order(remembered) == KNOW_THE_ORDER
    order = "POST /order SERVER / order INTERNAL"
    return tree_of(remembered) == [
        "POST /order SERVER",
        order,
        f"{order} / GET /kitchen/get_donuts SERVER",
        f"{order} / GET CLIENT",
        f"{order} / POST /kitchen/add_donuts SERVER",
        f"{order} / POST /kitchen/add_donuts SERVER / fry INTERNAL",
        f"{order} / POST CLIENT",
    ]


def is_broken_extract(shop, command):
    seen, remembered = ordered(shop, command)
    sent = [span for span in seen if span.label.startswith("->")]
    return roots(remembered) == APART and len(sent) == 2 and know_the_order(remembered) == ["order"]


def is_broken_getter(shop, command):
    _, remembered = ordered(shop, TRIES["order"])
    assert len(roots(remembered)) == 1
    [sent], [answered] = timings(shop, command)
    return sent != answered


def is_broken_attach(shop, command):
    _, remembered = ordered(shop, command)
    return roots(remembered) == APART and know_the_order(remembered) == ["order"]


def is_broken_context(shop, command):
    _, remembered = ordered(shop, command)
    [newest] = ask(shop.url, "GET", "/traces").body
    spans = ask(shop.url, "GET", f"/traces/{newest['trace_id']}").body["spans"]
    sent = [
        span["attributes"]["http.request.header.baggage"][0]
        for span in spans
        if span["kind"] == "SpanKind.CLIENT"
    ]
    # Broken or not, this is one trace, and its tree is whole.
    assert [len(path) for path in paths(remembered)] == [1, 2, 3, 4, 3, 4, 5] and len(sent) == 2
    is_alice_lost = not any("customer=alice" in baggage for baggage in sent)
    return know_the_order(remembered) == ["order"] and is_alice_lost


def is_broken_detach(shop, command):
    [sent], answered = timings(shop, command)
    assert len(answered) == 2 and answered[0] == sent
    return answered[1] == sent


def is_broken_current(shop, command):
    _, remembered = ordered(shop, command)
    return tree_of(remembered) == [
        "POST /order SERVER",
        "order INTERNAL",
        "order INTERNAL / GET CLIENT",
        "order INTERNAL / GET CLIENT / GET /kitchen/get_donuts SERVER",
        "order INTERNAL / POST CLIENT",
        "order INTERNAL / POST CLIENT / POST /kitchen/add_donuts SERVER",
        "order INTERNAL / POST CLIENT / fry INTERNAL",
    ]


def is_broken_queue(shop, command):
    _, remembered = ordered(shop, command)
    known = [name for name in KNOW_THE_ORDER if name != "fry"]
    is_alone = roots(remembered) == ["POST /order SERVER", "fry INTERNAL"]
    return is_alone and know_the_order(remembered) == known


def is_broken_baggage(shop, command):
    _, remembered = ordered(shop, command)
    return len(roots(remembered)) == 1 and know_the_order(remembered) == ["order"]


def is_broken_second_provider(shop, command):
    printed = bash(f"{PORT.sub(shop.url.removeprefix('http://'), command.strip())} -i")
    traces = ask(shop.url, "GET", "/traces").body
    shop.stop()
    assert '"order_id"' in printed and re.search(r'trace;desc="00-\w{32}-\w{16}-0[13]"', printed)
    warnings = "".join(shop.err).count("Overriding of current TracerProvider is not allowed")
    assert (not shop.out) == (not traces) == bool(warnings) and warnings <= 1
    return bool(warnings)


def function_for(what):
    return "is_broken_" + re.sub(r"\W+", "_", what.strip("`=").lower())


@pytest.mark.parametrize("what", BREAKS)
def test_a_deleted_line_does_the_damage_that_readme_says(what, tmp_path):
    folder, is_broken = copy_shop(tmp_path, HERE), globals()[function_for(what)]
    name, changes = BREAKS[what]
    with Process("--fry-seconds", "0", folder=folder) as shop:
        assert not is_broken(shop, TRIES[name])
    for change_of_row in changes:
        break_line(folder, *change_of_row)
    with Process("--fry-seconds", "0", folder=folder) as shop:
        assert is_broken(shop, TRIES[name]), (shop.out, shop.err)


def test_each_row_of_the_table_has_its_test_and_each_command_has_its_rows():
    tested = {name for name in globals() if name.startswith("is_broken_")}
    assert {function_for(what) for what in BREAKS} == tested
    assert {command for command, _ in BREAKS.values()} == set(TRIES)
    assert set(TRIES) == {"order", "alice", "capital", "twice"}


# ---------------------------------------------------------------- README: what carries the context

# Every program below begins with this, and prints the ids of the spans that are current: first the
# one on this side.
HERE_AND_THERE = """
import asyncio, functools, multiprocessing, os, queue, subprocess, sys, threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from opentelemetry import context, propagate, trace
from opentelemetry.sdk.trace import TracerProvider

trace.set_tracer_provider(TracerProvider())
tracer = trace.get_tracer("ways")
if "instrumentation-threading" in sys.argv:
    from opentelemetry.instrumentation.threading import ThreadingInstrumentor
    ThreadingInstrumentor().instrument()


def look():
    print(trace.get_current_span().get_span_context().span_id, flush=True)
"""
ASYNC = """
async def work():
    look()

async def main():
    LINE

with tracer.start_as_current_span("here"):
    look()
    asyncio.run(main())
"""
IN_A_THREAD_OF_ASYNCIO = """
work = look

async def main():
    loop = asyncio.get_running_loop()
    LINE

with tracer.start_as_current_span("here"):
    look()
    asyncio.run(main())
"""
SYNC = """
work = look

with tracer.start_as_current_span("here"):
    look()
    LINE
"""
QUEUES = """
work, jobs = look, queue.SimpleQueue()
worker = threading.Thread(target=lambda: jobs.get()())
worker.start()
with tracer.start_as_current_span("here"):
    look()
    LINE
    worker.join()

async def main():
    jobs = asyncio.Queue()

    async def read():
        (await jobs.get())()

    worker = asyncio.create_task(read())
    with tracer.start_as_current_span("here"):
        look()
        LINE
        await worker

asyncio.run(main())
"""
GENERATOR = """
def rows():
    LINE
        yield 1

with tracer.start_as_current_span("here"):
    look()
    for row in rows():
        look()
"""
FORK = """
with tracer.start_as_current_span("here"):
    look()
    if LINE == 0:
        look()
        os._exit(0)
    os.wait()
"""
SPAWN = """
def child(carrier):
    LINE
    look()

if __name__ == "__main__":
    carrier = {}
    with tracer.start_as_current_span("here"):
        look()
        propagate.inject(carrier)
        process = multiprocessing.get_context("spawn").Process(target=child, args=(carrier,))
        process.start()
        process.join()
"""
SUBPROCESS = """
if "TRACEPARENT" in os.environ:
    LINE
    look()
else:
    with tracer.start_as_current_span("here"):
        look()
        carrier = {}
        propagate.inject(carrier)
        environment = {**os.environ, "TRACEPARENT": carrier["traceparent"]}
        subprocess.run([sys.executable, *sys.argv], env=environment, check=True)
"""
# The rows of README's table, in its order: a program whose LINE is the code that the row shows.
WAYS = (
    [ASYNC] * 3
    + [IN_A_THREAD_OF_ASYNCIO] * 2
    + [SYNC] * 3
    + [QUEUES, GENERATOR, FORK, SPAWN, SUBPROCESS]
)
GENERATORS_OWN = "no: the generator's own span is current there"


def current_ids(folder, program, *arguments, options=()):
    """Return the ids that a program prints, and its log."""
    printed, log = run_program(folder, HERE_AND_THERE + program, *arguments, options=options)
    return printed.split(), log


def is_still_current(folder, program, line, *arguments):
    """Return the table's word for `line` as the way to the other side."""
    printed, log = current_ids(folder, program.replace("LINE", line), *arguments)
    assert len(printed) >= 2 and "Failed to detach" not in log
    halves = [printed[:2], printed[2:]] if program is QUEUES else [printed]
    answers = {there == half[0] for half in halves for there in half[1:]}
    assert len(answers) == 1, printed
    if answers == {True}:
        return "yes"
    return "no" if printed[1] == "0" else GENERATORS_OWN


@pytest.mark.parametrize("row", range(13))
def test_each_row_of_what_carries_the_context(tmp_path, row):
    rows = table(section("What carries the context"))
    assert len(rows) == len(WAYS)
    way, alone, with_threading, mend = rows[row]
    program = WAYS[row]
    line = "pass" if program in (SPAWN, SUBPROCESS) else quoted(way)[-1]
    assert is_still_current(tmp_path, program, line) == alone
    assert is_still_current(tmp_path, program, line, "instrumentation-threading") == with_threading
    assert bool(mend) == (alone != "yes")
    if mend:
        assert is_still_current(tmp_path, program, quoted(mend)[0]) == "yes"
        with_both = is_still_current(
            tmp_path, program, quoted(mend)[0], "instrumentation-threading"
        )
        assert with_both == "yes"


WORKER_STARTED_IN_A_SPAN = """
jobs = queue.SimpleQueue()

def read():
    while job := jobs.get():
        job()

with tracer.start_as_current_span("the first request"):
    look()
    worker = threading.Thread(target=read)
    worker.start()
with tracer.start_as_current_span("a later request"):
    jobs.put_nowait(look)
    jobs.put_nowait(None)
    worker.join()
"""
POOL_IN_TWO_SPANS = """
pool = ThreadPoolExecutor(1)
with tracer.start_as_current_span("the first request"):
    look()
    pool.submit(look).result()
with tracer.start_as_current_span("a later request"):
    look()
    pool.submit(look).result()
"""


def test_a_worker_that_is_started_in_a_span_keeps_it_for_life_with_the_threading_package(tmp_path):
    first, later = current_ids(tmp_path, WORKER_STARTED_IN_A_SPAN)[0]
    assert later == "0"
    first, later = current_ids(tmp_path, WORKER_STARTED_IN_A_SPAN, "instrumentation-threading")[0]
    assert later == first
    if sys.version_info >= (3, 14):
        option = ["-X", "thread_inherit_context=1"]
        thread = SYNC.replace("LINE", "threading.Thread(target=work).start()")
        for program in (thread, WORKER_STARTED_IN_A_SPAN):
            here, there = current_ids(tmp_path, program, options=option)[0]
            assert there == here
        first, in_the_pool, later, in_the_pool_later = current_ids(
            tmp_path, POOL_IN_TWO_SPANS, options=option
        )[0]
        assert in_the_pool == in_the_pool_later == first != later


def test_failed_to_detach_context_comes_from_a_generator_that_is_closed_elsewhere(tmp_path):
    [code] = fences(section("What carries the context"), "python")
    look_after = code.replace(
        "        break\n", "        break\n    look()\n    await asyncio.sleep(0)\n    look()\n"
    )
    assert look_after != code
    program = look_after + textwrap.dedent("""
        with tracer.start_as_current_span("here"):
            look()
            asyncio.run(first_row())
        """)
    (here, *after), log = current_ids(tmp_path, program)
    assert (
        log.count("Failed to detach context") == 1 and "was created in a different Context" in log
    )
    assert here not in after and "0" not in after and len(set(after)) == 1
    way, *_, mend = table(section("What carries the context"))[9]
    (here, *after), log = current_ids(tmp_path, program.replace(quoted(way)[0], quoted(mend)[0]))
    assert after == [here, here] and not log


TOKENS = """
def attach_and_detach():
    token = context.attach(context.Context())
    context.detach(token)
    return token


context.detach(attach_and_detach())
token = context.attach(context.Context())
thread = threading.Thread(target=context.detach, args=(token,))
thread.start()
thread.join()
"""


def test_a_token_works_once_and_only_where_it_came_from(tmp_path):
    _, log = current_ids(tmp_path, TOKENS)
    assert log.count("Failed to detach context") == 2
    assert "has already been used once" in log and "was created in a different Context" in log


# ---------------------------------------------------------------- README: your own http.server

# A program as people write one: not ours, and with nothing in it about tracing but the base class.
SOMEBODYS_SERVER = """
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CAKES = ["sponge", "marble"]


class Handler(TracedRequests, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments):
        print(self.command, trace.get_current_span().get_span_context().trace_id, file=sys.stderr)

    def do_GET(self):
        if self.path.startswith("/cakes"):
            self.span.update_name("GET /cakes")
            self.span.set_attribute("http.route", "/cakes")
            self.reply(200, CAKES)
        elif self.path == "/wrong":
            self.reply(200, CAKES[7])
        elif self.path == "/sold-out":
            self.send_error(503)
        else:
            self.send_error(404)

    def do_HEAD(self):
        self.do_GET()

    def do_POST(self):
        cake = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with trace.get_tracer("somebody").start_as_current_span("bake") as span:
            span.set_attribute("who", str(baggage.get_baggage("customer")))
            CAKES.append(cake)
            self.reply(201, CAKES)


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, file=sys.stderr, flush=True)
server.serve_forever()
"""


def recipes():
    return fences(section("Your own http.server"), "python")


class SomebodysServer:
    """The server above with README's recipe, in a process of its own.

    `spans` and `log` are there once it is closed.
    """

    def __init__(self, folder):
        recipe, provider, *_ = recipes()
        program = folder / "somebody.py"
        imports = "from opentelemetry import baggage\n"
        program.write_text(recipe + imports + provider + SOMEBODYS_SERVER)
        self.process = subprocess.Popen(
            [sys.executable, str(program)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.port = int(self.process.stderr.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        out, self.log = self.process.communicate(timeout=DEADLINE)
        self.spans = sorted(read_json_spans(out), key=lambda span: span["start_time"])


def facts(span):
    """Return what the tests compare of a span's JSON."""
    attributes = span["attributes"]
    return (
        span["name"],
        attributes.get("url.path"),
        attributes.get("http.response.status_code"),
        attributes.get("error.type"),
        span["status"]["status_code"],
    )


def test_the_recipe_is_at_most_40_lines_of_100_columns():
    lines = recipes()[0].splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 100
    assert "microdonuts" not in recipes()[0] and "kitchen" not in recipes()[0]


def test_the_recipe_traces_a_server_that_somebody_else_wrote(tmp_path):
    with SomebodysServer(tmp_path) as somebody:
        kept = http.client.HTTPConnection("127.0.0.1", somebody.port, timeout=DEADLINE)

        def answer(method, path, body=None, headers=None):
            kept.request(method, path, body, headers or {})
            response = kept.getresponse()
            response.read()
            return response.status

        assert answer("GET", "/cakes?secret=1", headers={"Traceparent": TRACEPARENT}) == 200
        # The connection is kept, and yet the next request is a trace of its own.
        assert kept.sock
        assert answer("GET", "/none") == 404
        assert answer("GET", "/sold-out") == 503
        # do_HEAD calls do_GET, and there is one span all the same.
        assert answer("HEAD", "/cakes") == 200
        headers = {"Traceparent": TRACEPARENT, "Baggage": "customer=alice"}
        assert answer("POST", "/cakes", b"cherry", headers) == 201
        assert kept.sock
        assert answer("BREW", "/cakes") == 501  # http.server's own refusal has no span
        kept.close()
        with pytest.raises(http.client.RemoteDisconnected):
            answer("GET", "/wrong")
        url, two = f"http://127.0.0.1:{somebody.port}", [f"traceparent: {TRACEPARENT}"] * 2
        assert b" 200 OK" in send_raw(url, get("/cakes", "Connection: close", *two))
        assert b"Bad request syntax" in send_raw(
            url, get("/cakes") + b"nonsense and more of it\r\n\r\n"
        )
    assert [facts(span) for span in somebody.spans] == [
        ("GET /cakes", "/cakes", 200, None, "UNSET"),
        ("GET", "/none", 404, None, "UNSET"),
        ("GET", "/sold-out", 503, "503", "ERROR"),
        ("GET /cakes", "/cakes", 200, None, "UNSET"),
        ("POST", "/cakes", 201, None, "UNSET"),
        ("bake", None, None, None, "UNSET"),
        ("GET", "/wrong", None, "IndexError", "ERROR"),
        ("GET /cakes", "/cakes", 200, None, "UNSET"),
        ("GET /cakes", "/cakes", 200, None, "UNSET"),
    ]
    first, second, _, head, baked, bake, wrong, twice, _ = somebody.spans
    assert {first["kind"], baked["kind"]} == {"SpanKind.SERVER"} and bake[
        "kind"
    ] == "SpanKind.INTERNAL"
    assert first["context"]["trace_id"] == baked["context"]["trace_id"] == f"0x{TRACE_ID}"
    assert first["parent_id"] == baked["parent_id"] == f"0x{PARENT_ID}"
    assert bake["parent_id"] == baked["context"]["span_id"] and bake["attributes"]["who"] == "alice"
    roots = [second, head, wrong, twice]
    assert all(span["parent_id"] is None for span in roots)
    # The first request and the POST have one trace, with "bake" in it.
    assert len({span["context"]["trace_id"] for span in somebody.spans}) == 7
    for span, method in ((first, "GET"), (head, "HEAD")):
        assert span["attributes"]["http.request.method"] == method
        assert span["attributes"]["url.scheme"] == "http"
    assert "secret" not in json.dumps(somebody.spans)
    assert [event["name"] for event in wrong["events"]] == ["exception"]
    # Nothing is current between two requests.
    assert "BREW 0\n" in somebody.log and "GET 0\n" not in somebody.log
    assert "Failed to detach" not in somebody.log and "ended span" not in somebody.log


# The program in which the recipes for a message queue run.
BROKER = """
import json, os, subprocess, sys
from opentelemetry import baggage, context, propagate, trace
{provider}
tracer = trace.get_tracer("somebody")
broker, baked = [], []


def bake(body):
    baked.append((body, baggage.get_baggage("customer")))


token = context.attach(baggage.set_baggage("customer", "alice"))
for _ in range(3):
{send}
context.detach(token)
broker = json.loads(json.dumps(broker))  # nothing but text is left of a message
{receive}
batch = [json.loads(message) for message in broker]
{receive_batch}
assert baked[0] == ("one cake", "alice") and baked[1] == (batch, None) and len(baked) == 2
assert not trace.get_current_span().get_span_context().is_valid and not baggage.get_all()
"""


def test_the_recipe_for_a_call_to_another_service(tmp_path):
    _, provider, call, *_ = recipes()
    with FakeKitchen() as other:
        program = f"""
import urllib.request
from opentelemetry import propagate, trace
{provider}
tracer = trace.get_tracer("somebody")
url = "{other.url}/kitchen/get_donuts"
{call}
assert b"jelly" in body
"""
        [span] = program_spans(tmp_path, program)
    [sent] = other.headers("traceparent")
    assert span["kind"] == "SpanKind.CLIENT"
    assert sent.split("-")[1:3] == [
        span["context"][name].removeprefix("0x") for name in ("trace_id", "span_id")
    ]


def test_the_recipe_for_a_message_queue(tmp_path):
    _, provider, _, send, receive, receive_batch, *_ = recipes()
    program = BROKER.format(
        provider=provider,
        send=textwrap.indent(send, "    "),
        receive=receive,
        receive_batch=receive_batch,
    )
    one, two, three, received, batch = program_spans(tmp_path, program)
    assert [span["kind"] for span in (one, received, batch)] == [
        "SpanKind.PRODUCER",
        "SpanKind.CONSUMER",
        "SpanKind.CONSUMER",
    ]
    assert one["name"] == two["name"] == "send cakes"
    assert received["name"] == batch["name"] == "process cakes"
    assert (received["parent_id"], received["links"]) == (one["context"]["span_id"], [])
    assert received["context"]["trace_id"] == one["context"]["trace_id"]
    assert batch["parent_id"] is None
    linked = [link["context"]["span_id"] for link in batch["links"]]
    assert linked == [two["context"]["span_id"], three["context"]["span_id"]]


def test_the_recipe_for_a_child_process(tmp_path):
    _, provider, *_, run_the_child, read_the_environment = recipes()
    begin = f"""
import os, subprocess, sys
from opentelemetry import context, propagate, trace
{provider}
tracer = trace.get_tracer("somebody")
"""
    child = f"""{begin}
assert "TRACEPARENT" in os.environ
{read_the_environment}
tracer.start_span("child").end()
"""
    parent = f"""{begin}
with tracer.start_as_current_span("parent"):
{textwrap.indent(run_the_child, "    ")}
"""
    (tmp_path / "child.py").write_text(child)
    child_span, span = program_spans(tmp_path, parent)
    assert [child_span["name"], span["name"]] == ["child", "parent"]
    assert child_span["parent_id"] == span["context"]["span_id"]
    assert child_span["context"]["trace_id"] == span["context"]["trace_id"]
    # The same line as in the table of "What carries the context".
    assert read_the_environment.strip() in section("What carries the context")


# ---------------------------------------------------------------- README: a program that nobody here wrote


class FlaskKitchen:
    """The kitchen in Flask of README, in a process of its own on a free port."""

    def __init__(self, folder, **env):
        [code] = fences(section("One trace with a program that nobody here wrote"), "python")
        assert code.count("\n") <= 30 and code.count("port=8083") == 1
        (folder / "flask_kitchen.py").write_text(code.replace("port=8083", "port=0"))
        self.process = subprocess.Popen(
            [sys.executable, "flask_kitchen.py"],
            cwd=folder,
            env=environment(**env),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.url = None
        while not self.url:
            line = self.process.stderr.readline()
            assert line, "Flask has ended"
            self.url = (re.findall(r"Running on (http://\S+)", line) or [None])[0]
        self.lines = []
        self.reader = threading.Thread(target=self.lines.extend, args=(self.process.stdout,))
        self.reader.start()
        until(lambda: " * Serving Flask app 'kitchen'\n" in self.lines, "the name of the app")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(DEADLINE)
        self.reader.join(DEADLINE)
        self.process.stdout.close()
        self.process.stderr.close()

    def words(self):
        """Return the order ids that it has printed, by threads that mix up their lines."""
        return re.findall(r"The baggage says order (None|[0-9a-f-]{36})", "".join(self.lines))

    def spans(self):
        """Return the spans of its endpoints, in the order in which they started."""
        found = read_json_spans(
            "\n".join(re.findall(r'(?ms)\{\n    "name".*?^\}', "".join(self.lines)))
        )
        endpoints = [span for span in found if "/kitchen/" in span["name"]]  # not /traces, a 404
        return sorted(endpoints, key=lambda span: span["start_time"])


@pytest.mark.parametrize(
    ("propagators", "is_baggage_sent"), [("", True), ("b3", False), ("b3,baggage", True)]
)
def test_a_kitchen_in_flask_continues_our_trace(tmp_path, propagators, is_baggage_sent):
    env = {"OTEL_PROPAGATORS": propagators} if propagators else {}
    assert not propagators or f"OTEL_PROPAGATORS={propagators}" in quoted(
        FENCE.sub("", section("One trace with a program that nobody here wrote"))
    )
    with FlaskKitchen(tmp_path, **env) as kitchen_in_flask:
        with Process(
            "--kitchen", kitchen_in_flask.url, OTEL_TRACES_EXPORTER="console", **env
        ) as shop:
            reply = ask(shop.url, "POST", "/order", SAMPLE)
            read_out = ask(
                shop.url, "GET", "/traces/" + reply.headers["Server-Timing"].split("-")[1]
            ).body
            status = ask(shop.url, "POST", "/status", {"order_id": reply.body["order_id"]})
            theirs = until(
                lambda: len(found := kitchen_in_flask.spans()) == 4 and found, "four spans"
            )
    assert (
        (reply.status, reply.body["state"])
        == (status.status, status.body["state"])
        == (200, "ready")
    )
    ours = shop.json_spans()
    assert [span["name"] for span in theirs] == [
        "POST /kitchen/add_donuts",
        "POST /kitchen/add_donuts",
        "GET /kitchen/get_donuts",
        "GET /kitchen/get_donuts",
    ]
    assert {span["kind"] for span in theirs} == {"SpanKind.SERVER"}
    clients = [span for span in ours if span["kind"] == "SpanKind.CLIENT"]
    clients.sort(key=lambda span: span["start_time"])
    assert [span["parent_id"] for span in theirs] == [
        span["context"]["span_id"] for span in clients
    ]
    assert [span["context"]["trace_id"] for span in theirs] == [
        span["context"]["trace_id"] for span in clients
    ]
    header = "b3" if "b3" in propagators else "traceparent"
    assert all(f"http.request.header.{header}" in span["attributes"] for span in clients)
    assert kitchen_in_flask.words() == [reply.body["order_id"] if is_baggage_sent else "None"] * 2
    # The page draws the shop's half, and says that the other one is missing.
    assert len(read_out["spans"]) == 5 and "does not show its spans" in read_out["missing"]


def test_a_kitchen_in_flask_answers_as_our_kitchen_does(tmp_path, shop):
    donut = {"order_id": "a", "flavor": "jelly"}
    with FlaskKitchen(tmp_path) as kitchen_in_flask:
        for count in (1, 2):
            for url in (shop.url, kitchen_in_flask.url):
                header = ("Content-Type", "application/json")
                added = ask(url, "POST", "/kitchen/add_donuts", donut, [header])
                assert added.body == {"order_id": "a", "donuts": count}
        listed = ask(kitchen_in_flask.url, "GET", "/kitchen/get_donuts?order_id=a").body
        assert ask(kitchen_in_flask.url, "GET", "/kitchen/get_donuts?order_id=b").body == []
    ours = ask(shop.url, "GET", "/kitchen/get_donuts?order_id=a").body
    assert listed == [{**each, "status": "ready", "ready_in": 0} for each in ours]


# ---------------------------------------------------------------- README: elsewhere, and settings


def test_two_processes_give_one_trace():
    with Process(
        "--fry-seconds", "0", OTEL_SERVICE_NAME="kitchen", OTEL_TRACES_EXPORTER="console"
    ) as back:
        with Process("--kitchen", back.url, OTEL_TRACES_EXPORTER="console") as front:
            reply = ask(front.url, "POST", "/order", SAMPLE)
            until(lambda: states_of(back.url, reply.body["order_id"]) == ["ready"] * 2)
            read_out = ask(
                front.url, "GET", "/traces/" + reply.headers["Server-Timing"].split("-")[1]
            ).body
            front.stop()
        back.stop()
    trace_id = "0x" + reply.headers["Server-Timing"].split("-")[1]
    ours, theirs = (
        [span for span in shop.json_spans() if span["context"]["trace_id"] == trace_id]
        for shop in (front, back)
    )
    assert sorted(span["name"] for span in ours) == ["GET", "POST", "POST", "POST /order", "order"]
    assert sorted(span["name"] for span in theirs) == [
        "GET /kitchen/get_donuts",
        "POST /kitchen/add_donuts",
        "POST /kitchen/add_donuts",
        "fry",
        "fry",
    ]
    clients = {span["context"]["span_id"] for span in ours if span["kind"] == "SpanKind.CLIENT"}
    assert {span["parent_id"] for span in theirs if span["kind"] == "SpanKind.SERVER"} == clients
    services = collections.Counter(
        span["resource"]["attributes"]["service.name"] for span in read_out["spans"]
    )
    assert services == {"microdonuts": 5, "kitchen": 5} and read_out["missing"] is None


def test_a_kitchen_that_is_the_shop_by_another_name_shows_each_span_once():
    port = free_port()
    itself = f"http://localhost:{port}"
    with Process("--fry-seconds", "0", "--port", port, "--kitchen", itself) as shop:
        reply = ask(shop.url, "POST", "/order", SAMPLE)
        found = shown_spans(shop, reply, 10)
    assert len({span["context"]["span_id"] for span in found}) == 10


def spans_of_an_order(*arguments, **env):
    """Return the JSON spans of one order in a process with these settings."""
    with Process("--fry-seconds", "0", *arguments, OTEL_TRACES_EXPORTER="console", **env) as shop:
        reply = ask(shop.url, "POST", "/order", SAMPLE)
        assert reply.status == 200
        until(lambda: states_of(shop.url, reply.body["order_id"]) == ["ready"] * 2)
        shop.stop()
    return shop.json_spans()


def test_console_is_the_sdks_json_and_nothing_else_on_stdout():
    found = spans_of_an_order()
    names = collections.Counter(span["name"] for span in found)
    assert names["POST /order"] == 1 and names["fry"] == 2
    assert {span["resource"]["attributes"]["service.name"] for span in found} == {"microdonuts"}


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({"OTEL_SERVICE_NAME": "bakery"}, "bakery"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=stall,a=b"}, "stall"),
        ({"OTEL_SERVICE_NAME": ""}, "microdonuts"),
    ],
)
def test_the_service_name_is_ours_only_where_neither_variable_gives_one(env, name):
    assert {
        span["resource"]["attributes"]["service.name"] for span in spans_of_an_order(**env)
    } == {name}


@pytest.mark.parametrize(
    "env",
    [
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_SAMPLER": "always_off"},
    ],
)
def test_a_shop_that_exports_nothing_serves_as_always(env):
    with Process("--fry-seconds", "0", **env) as shop:
        for headers in ([], [("traceparent", TRACEPARENT)]):
            reply = ask(shop.url, "POST", "/order", SAMPLE, headers)
            assert reply.status == 200
            # Without the SDK the shop has no span, and does not pass off the caller's as its own.
            assert ("Server-Timing" in reply.headers) == ("OTEL_SDK_DISABLED" not in env)
        assert shop.stop() == 0
    assert shop.out == [] and len(shop.err) == 1


def test_a_list_of_exporters():
    with Process("--fry-seconds", "0", OTEL_TRACES_EXPORTER="Console, console,") as shop:
        ask(shop.url, "GET", "/kitchen/get_donuts")
        shop.stop()
    assert [span["name"] for span in shop.json_spans()] == ["GET /kitchen/get_donuts"]
    assert len(shop.err) == 1
    with Process("--fry-seconds", "0", OTEL_TRACES_EXPORTER="console,none") as shop:
        ask(shop.url, "GET", "/kitchen/get_donuts")
        shop.stop()
    assert shop.out == []


@pytest.mark.parametrize(
    ("variable", "known"),
    [
        ("OTEL_TRACES_EXPORTER", "console, otlp or none"),
        ("OTEL_PROPAGATORS", "tracecontext, baggage, b3, b3multi or none"),
    ],
)
def test_an_unknown_name_is_ignored_with_a_warning_of_one_line(variable, known):
    with Process("--fry-seconds", "0", **{variable: "zipkin"}) as shop:
        headers = [("traceparent", TRACEPARENT)]
        reply = ask(shop.url, "GET", "/kitchen/get_donuts", headers=headers)
        shop.stop()
    assert TRACE_ID in reply.headers["Server-Timing"] and LINE.fullmatch(shop.out[0])
    warning = f"microdonuts: {variable} has 'zipkin', which is ignored: use {known}\n"
    assert shop.err[0] == warning and len(shop.err) == 2


NO_OTLP = "otlp needs a package: pip install opentelemetry-exporter-otlp-proto-http"


# fmt: off
BAD_SETTINGS = [
    (["--port", "x"], {}, "argument --port: invalid int value: 'x'"),
    (["--port", "65536"], {}, "cannot listen on 127.0.0.1 port 65536 (bind(): port must be 0-65535.): choose another --host or --port"),
    *((["--fry-seconds", value], {}, "argument --fry-seconds: give a time from 0 to 5, such as 1.4") for value in ("-1", "5.1", "nan", "inf")),
    (["--ketchup"], {}, "unrecognized arguments: --ketchup"),
    (["--host", ""], {}, "argument --host: give an address, such as 127.0.0.1"),
    *((["--kitchen", url], {}, "argument --kitchen: give a host and a port alone: http://127.0.0.1:8083")
      for url in ("kitchen", "https://kitchen", "http://", "http://a:b", "http://a/b", "http://a:99999", "http://a b", "http://a?b", "http://[x]",
                  "http://user:pass@kitchen", "user:pass@kitchen", "http://user@kitchen:8083/")),
    (["--kitchen", "http://[1.2]:80"], {}, "a setting cannot be used: '1.2' does not appear to be an IPv4 or IPv6 address"),
    (["--host", "a..\u00fc"], {}, "a setting cannot be used: encoding of hostname failed"),
    ([], {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_BSP_MAX_QUEUE_SIZE": "10"},
     "a setting cannot be used: max_export_batch_size must be less than or equal to max_queue_size."),
]
# fmt: on


@pytest.mark.parametrize(("arguments", "env", "sentence"), BAD_SETTINGS)
def test_a_setting_that_cannot_be_is_one_line_and_exit_2(arguments, env, sentence):
    shop = Process(*arguments, **env)
    assert (shop.wait(), shop.out, shop.err) == (2, [], [f"microdonuts: {sentence}\n"])


def test_a_port_that_is_taken_is_one_line_and_exit_2(shop):
    second = Process("--port", str(shop.server_port))
    assert second.wait() == 2
    reason = f"[Errno {errno.EADDRINUSE}] Address already in use"
    sentence = f"cannot listen on 127.0.0.1 port {shop.server_port} ({reason})"
    assert second.err == [f"microdonuts: {sentence}: choose another --host or --port\n"]


def test_otlp_without_its_package_says_what_to_install():
    code = (
        "import runpy, sys; sys.modules['opentelemetry.exporter'] = None; "
        "sys.argv = ['microdonuts.py']; "
        "runpy.run_path('microdonuts.py', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=HERE,
        env={**os.environ, "OTEL_TRACES_EXPORTER": "otlp"},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert (done.returncode, done.stderr) == (2, f"microdonuts: {NO_OTLP}\n")


def test_otlp_speaks_to_a_collector():
    collector_pb2 = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    got = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            data = self.rfile.read(int(self.headers["Content-Length"]))
            data = gzip.decompress(data) if self.headers["Content-Encoding"] == "gzip" else data
            got.append((self.path, collector_pb2.ExportTraceServiceRequest.FromString(data)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        with Process(
            "--fry-seconds", "0", OTEL_TRACES_EXPORTER="otlp", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint
        ) as shop:
            reply = ask(shop.url, "POST", "/order", SAMPLE)
            until(lambda: states_of(shop.url, reply.body["order_id"]) == ["ready"] * 2)
            shop.stop()  # which sends what the batch still has
        server.shutdown()
    assert {path for path, _ in got} == {"/v1/traces"}
    found = [
        span
        for _, request in got
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    trace_id = reply.headers["Server-Timing"].split("-")[1]
    assert sum(span.trace_id.hex() == trace_id for span in found) == 10


# The fields of what each endpoint answers to README's lines. An unknown order is an error.
ORDER_FIELDS = {"order_id", "estimated_delivery_time", "state", "donuts"}
ANSWERS = {
    "/order": [ORDER_FIELDS],
    "/status": [ORDER_FIELDS, {"error"}],
    "/kitchen/add_donuts": [{"order_id", "donuts"}],
    "/kitchen/get_donuts": [{"flavor", "order_id", "status", "ready_in"}],
}


def test_the_endpoints_answer_readmes_curl_lines():
    [commands] = [each for each in fences(section("The endpoints"), "sh") if "curl" in each]
    text, decoder, asked = "", json.JSONDecoder(), []
    with Terminal() as terminal:
        text = terminal.run(commands)
    for path in re.findall(r"curl \S+:8082([\w/]+)", commands):
        answer, end = decoder.raw_decode(text)
        text = text[end:].lstrip()
        for fields in answer if isinstance(answer, list) else [answer]:
            assert set(fields) in ANSWERS[path], (path, fields)
            asked.append((path, "error" in fields))
    assert not text and {path for path, _ in asked} == set(ANSWERS)
    assert ("/status", True) in asked  # a status check of an unknown order


# ---------------------------------------------------------------- errors are designed

# fmt: off
NO_OBJECT = "The body must be a JSON object, in UTF-8."
NO_ORDER_ID = 'Say which order: send the "order_id" that the answer to the order had.'
NO_ORDER = "The kitchen knows no such order: check the order_id."
NO_BASKET = 'Order a list of "donuts": [{"flavor": "glazed", "quantity": 1}].'
NO_DONUT = 'Each donut must be an object: {"flavor": "glazed", "quantity": 1}.'
NO_FLAVOR = 'Choose a "flavor" that we have: glazed, cinnamon, old-fashioned, chocolate, sprinkles, jelly.'
NO_QUANTITY = '"quantity" must be a whole number from 1 to 100.'
TOO_MANY = "Order at most 100 donuts at a time."
NO_HOST = "Send one Host header, with the name and port of this server."
NO_LENGTH = "Send the body with its Content-Length, and not in chunks."
TOO_LONG = "The body is too long: send at most 65536 bytes."
CUT = "The body is shorter than its Content-Length: send all of it."
OTHER_SITE = "Order from the shop's own page: this request is another site's."
NOWHERE = "There is nothing at this path: start from the page, at /."
# The sentence about a head that cannot be read. Such a request has no span.
UNREADABLE = "Send GET, HEAD or POST in well-formed HTTP/1.1, with a head of at most 32 KB."
# fmt: on
DEEP = b'{"donuts":' * 6_000


def item(**fields):
    return json.dumps({"donuts": [fields]}).encode()


def post(path, body, *headers, host="localhost"):
    """Return the bytes of a POST request."""
    return get(path, f"Content-Length: {len(body)}", *headers, method="POST", host=host) + body


def get(path, *headers, method="GET", host="localhost"):
    """Return the bytes of a request without a body."""
    return raw_request(f"{method} {path} HTTP/1.1", f"Host: {host}", *headers)


def raw_request(line, *headers):
    """Return the bytes of a request line and header lines; PORT is for the port to be put in."""
    return "\r\n".join([line, *(headers or ["Host: 127.0.0.1:PORT"]), "", ""]).encode("latin-1")


# A method and a path of each kind of route. What is refused before the path is looked at is refused
# on all of them.
ROUTE_KINDS = (
    ("POST", "/order"),
    ("GET", "/kitchen/get_donuts"),
    ("GET", "/"),
    ("GET", "/static/style.css"),
    ("GET", "/traces"),
    ("GET", "/nowhere"),
)
# Header lines that are refused.
# fmt: off
BAD_LINES = [
    "A : b", "no colon", "A: b\r\n folded", "\tA: b", "A: b\0", "A: b\x0b", "A: b\x1f", "A: \x1b[2J", "A: b\x7f", "From y", ": y", "a(b): y", "\xe9: y", "A",
    *(f"Content-Length: {value}" for value in ("-1", "+1", "\xb2", "1, 1", "1,1", "", "0x1", "1 1", "1_0", "9" * 21, "9" * 5000)), "Content-Length: 0\r\nContent-Length: 0",
]
# Request lines that are refused.
BAD_STARTS = [
    "METHOD PATH", "METHOD PATH HTTP/1.1 x", "METHOD  PATH HTTP/1.1", "METHOD PATH  HTTP/1.1", " METHOD PATH HTTP/1.1", "METHOD PATH http/1.1",
    "METHOD PATH HTTP/1.10", "METHOD PATH HTTP/0.9", "METHOD PATH HTTP/1", "METHOD PATH HTTP/1.x", "METHOD PATH HTTP/1.1 ", "METHOD PATH\x7f HTTP/1.1",
    "METHOD PATH\x0b HTTP/1.1", "METHOD PATH\0 HTTP/1.1", "METHOD\tPATH HTTP/1.1", "METHOD PATH\tHTTP/1.1", "M\xc9THOD PATH HTTP/1.1", "METHOD PATH\r HTTP/1.1",
]
BAD_HOSTS = [(), ("localhost", "localhost"), ("localhost", ""), ("a b",), ("a/b",), ("",), ("a:b",), ("a:65536",), ("a@localhost",)]
# The bytes that are sent; the status and the sentence of the answer. Each row is sent to the shop,
# and to the shop without tracing.
REFUSALS = {
    **{f"POST {path}: {what}": (post(path, body), 400, sentence)
       for path in ("/order", "/status", "/kitchen/add_donuts")
       for what, body, sentence in (
        ("empty", b"", NO_OBJECT), ("no JSON", b"donuts", NO_OBJECT), ("Latin-1", b'{"donuts": "\xe9"}', NO_OBJECT), ("deep", DEEP, NO_OBJECT),
        ("not UTF-8", b'{"a": "\xff"}', NO_OBJECT), ("a list", b"[1]", NO_OBJECT), ("huge number", b'{"a": ' + b"1" * 5000 + b"}", NO_OBJECT),
        ("null", b"null", NO_OBJECT), ("text", b'"donuts"', NO_OBJECT))},
    **{f"order {body}": (post("/order", body), 400, sentence) for body, sentence in (
        (b"{}", NO_BASKET), (b'{"donuts": []}', NO_BASKET), (b'{"donuts": {}}', NO_BASKET), (b'{"donuts": ["glazed"]}', NO_DONUT),
        (item(quantity=1), NO_FLAVOR), (item(flavor="pizza", quantity=1), NO_FLAVOR), (item(flavor=["glazed"], quantity=1), NO_FLAVOR),
        (item(flavor="glazed\0", quantity=1), NO_FLAVOR), (item(flavor="glazed\ud800", quantity=1), NO_FLAVOR), (item(flavor="glazed"), NO_QUANTITY),
        *((item(flavor="glazed", quantity=value), NO_QUANTITY) for value in (True, 2.0, "2", 1e9, 0, -1, None, 101, [1])),
        (json.dumps({"donuts": [{"flavor": "glazed", "quantity": 60}] * 2}).encode(), TOO_MANY))},
    **{f"status {value!r}": (post("/status", json.dumps({"order_id": value}).encode()), 400, NO_ORDER_ID)
       for value in (None, 1, "", "x" * 101, "a\0b", "a\nb", "\ud800", ["x"])},
    "status of an unknown order": (post("/status", b'{"order_id": "x"}'), 404, NO_ORDER),
    "donuts of an unknown order": (get("/kitchen/get_donuts?order_id=x"), 404, NO_ORDER),
    **{f"add {body}": (post("/kitchen/add_donuts", body), 400, sentence) for body, sentence in (
        (b'{"flavor": "jelly"}', NO_ORDER_ID), (b'{"order_id": "x"}', NO_FLAVOR), (b'{"order_id": "x", "flavor": "jelly", "quantity": true}', NO_QUANTITY))},
    **{f"GET {query}": (get(f"/kitchen/get_donuts?{query}"), 400, sentence) for query, sentence in (
        ("order_id=", NO_ORDER_ID), ("order_id=%00", NO_ORDER_ID))},
    **{f"nowhere {path}": (get(path), 404, NOWHERE) for path in (
        "/nowhere", "/\xff", "/static/../kitchen.py", "/static/%2e%2e/kitchen.py", "/static//etc/passwd", "/static/style.css/x", "/source/../LICENSE",
        "//static/style.css", "/../static/style.css", "http://localhost/x", "https://localhost/order", "ftp://localhost/", "*")},
    **{f"{method} {path}": (get(path, method=method), 405, sentence) for method, path, sentence in (
        ("GET", "/order", "Use one of these methods: POST."), ("DELETE", "/status", "Use one of these methods: POST."), ("PUT", "/", "Use one of these methods: GET, HEAD."),
        ("POST", "/kitchen/get_donuts", "Use one of these methods: GET, HEAD."), ("POST", "/static/style.css", "Use one of these methods: GET, HEAD."))},
    **{f"origin {origin}": (post("/order", b"{}", f"Origin: {origin}"), 403, OTHER_SITE)
       for origin in ("http://evil.example", "null", "https://localhost", "http://localhost:81")},
    "no Content-Length": (get("/order", method="POST"), 400, NO_OBJECT),
    "chunked": (get("/order", "Transfer-Encoding: chunked", method="POST") + b"2\r\n{}\r\n0\r\n\r\n", 411, NO_LENGTH),
    "chunked with a length": (post("/order", b"{}", "Transfer-Encoding: chunked"), 411, NO_LENGTH),
    **{f"Content-Length: {value[:9]}": (get("/order", f"Content-Length: {value}", method="POST"), status, sentence)
       for value, status, sentence in (("65537", 413, TOO_LONG), ("9" * 20, 413, TOO_LONG), ("7", 400, CUT))},
    "10 MB": (post("/order", b"x" * 10_000_000), 413, TOO_LONG),
    **{f"hosts {hosts} {method} {path}": (raw_request(f"{method} {path} HTTP/1.1", *(f"Host: {host}" for host in hosts), "A: b"), 400, NO_HOST)
       for hosts in BAD_HOSTS for method, path in ROUTE_KINDS},
    "target's host": (get("http://localhost:x/order"), 400, NO_HOST),
    **{f"bad line {line!r} {method} {path}": (get(path, line, method=method), 400, UNREADABLE) for line in BAD_LINES for method, path in ROUTE_KINDS},
    **{f"bad start {start!r} {method} {path}": (start.replace("METHOD", method).replace("PATH", path).encode("latin-1") + b"\r\nHost: localhost\r\n\r\n", 400, UNREADABLE)
       for start in BAD_STARTS for method, path in ROUTE_KINDS},
    **{f"no HTTP {line}": (line + b"\r\nHost: localhost\r\n\r\n", 400, UNREADABLE) for line in (b"hello", b"\x16\x03\x01")},
    **{f"HTTP/2 {method} {path}": (f"{method} {path} HTTP/2.0\r\nHost: localhost\r\n\r\n".encode(), 505, UNREADABLE) for method, path in ROUTE_KINDS},
    **{f"method {method}": (get("/order", method=method), 501, UNREADABLE) for method in ("BREW", "get", "Post")},
    "long address": (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414, UNREADABLE),
    **{f"long head, {len(lines)} times {len(lines[0])}: {method} {path}": (get(path, *lines, method=method), 431, UNREADABLE) for method, path in ROUTE_KINDS for lines in (
        ["A: " + "a" * 70_000], ["A: " + "a" * 32_768], ["A: " + "a" * 16_384] * 2, ["A: a"] * 20_000)},
    **{f"file {path}": (get(path), 404, NOWHERE) for path in (
        "/static/..", "/static/..%2fkitchen.py", "/static/x%00.css", "/static/.", "/static/KITCHEN.PY", "/source/", "/source/test_microdonuts.py",
        "/source/style.css", "/static/kitchen.py")},
}
# fmt: on


@pytest.fixture(scope="module")
def untraced():
    """Start the shop without tracing."""
    with Process("--fry-seconds", "0", folder=HERE / "no-tracing") as shop:
        yield shop
        shop.stop()
        assert len(shop.err) == 1, shop.err


@pytest.mark.parametrize("which", ["shop", "untraced"])
def test_each_refusal_is_one_sentence_that_says_what_to_do(request, which):
    url = request.getfixturevalue(which).url
    wrong = []
    for row, (data, status, sentence) in REFUSALS.items():
        reply = parse(send_raw(url, data))
        if (reply.status, reply.body) != (status, {"error": sentence}):
            wrong.append((row, reply))
        assert reply.headers["Content-Type"] == "application/json", row
        assert reply.headers["Date"].endswith(" GMT"), row
        assert (reply.headers["Allow"] is not None) == (status == 405), row
        assert reply.headers["Connection"] == "close" or sentence != UNREADABLE, row
    assert not wrong, wrong
    assert ask(url, "GET", "/kitchen/get_donuts").status == 200  # it still serves


def test_each_refusal_has_the_server_span_of_its_answer(shop, spans):
    for row, (data, status, sentence) in REFUSALS.items():
        spans.clear()
        reply = parse(send_raw(shop.url, data))
        is_of_page = re.match(rb"\S+ /((static|source|traces)\S*)? ", data)
        is_traced = sentence != UNREADABLE and not is_of_page
        assert ("Server-Timing" in reply.headers) == is_traced, row
        server = [span for span in spans.all() if span.parent is None]
        statuses = [span.attributes["http.response.status_code"] for span in server]
        assert statuses == [status] * is_traced, row
        for span in spans.all():
            assert not span.events, row
            if span.kind.name != "CLIENT":
                assert span.status.status_code.name == "UNSET", row
                assert "error.type" not in span.attributes, row


def test_a_405_says_what_is_allowed(shop):
    for path, allowed in (
        ("/order", "POST"),
        ("/kitchen/get_donuts", "GET, HEAD"),
        ("/", "GET, HEAD"),
    ):
        reply = ask(shop.url, "DELETE", path)
        assert (reply.status, reply.headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize(
    "header",
    [
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Type: multipart/form-data; boundary=b",
        "Content-Type: message/rfc822",
        "Content-Type: multipart/x; boundary*=undefined''a",
        "Origin: http://localhost",
        "Expect: 100-continue",
    ],
)
def test_a_body_is_json_whatever_its_type_says_and_whoever_is_at_home_may_order(shop, header):
    order = post("/order", json.dumps(SAMPLE).encode(), header, "Connection: close")
    got = send_raw(shop.url, order)
    assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\n") == header.startswith("Expect")
    assert b"HTTP/1.1 200 OK\r\n" in got


EXPECTING = "Expect: 100-continue"
ORDER = json.dumps(SAMPLE).encode()
# Requests with an expectation; and the status of their answer.
# fmt: off
EXPECTANT = [
    (post("/order", b"x" * 70_000, EXPECTING), 413),
    (post("/nowhere", ORDER, EXPECTING), 404),
    (post("/kitchen/get_donuts", ORDER, EXPECTING), 405),
    (post("/", ORDER, EXPECTING), 405),
    (post("/order", ORDER, EXPECTING, "Origin: http://donuts.example"), 403),
    (post("/order", ORDER, EXPECTING, host="donuts.example"), 421),
    (post("/order", ORDER, EXPECTING, "Host: localhost"), 400),
    (post("/order", ORDER, EXPECTING, "Content-Length: 1"), 400),
    (get("/order", EXPECTING, "Transfer-Encoding: chunked", method="POST"), 411),
    (get("/kitchen/get_donuts", EXPECTING), 200),
    (get("/kitchen/get_donuts", EXPECTING, "Content-Length: 3") + b"abc", 200),
    (post("/order", ORDER, EXPECTING).replace(b"HTTP/1.1", b"HTTP/1.0"), 200),
    (post("/order", ORDER, "Expect: 200-ok"), 200),
]
# fmt: on


@pytest.mark.parametrize(("data", "status"), EXPECTANT)
def test_100_continue_is_sent_to_whoever_expects_it_in_http_1_1(shop, data, status):
    got = send_raw(shop.url, data)
    is_expected = b" HTTP/1.1\r\n" in data and EXPECTING.encode() in data
    assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\n") == is_expected
    assert parse(got.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")).status == status


def test_head_is_get_without_the_body(shop):
    for path in ("/", "/kitchen/get_donuts", "/static/style.css"):
        head, whole = ask(shop.url, "HEAD", path), ask(shop.url, "GET", path)
        assert head.status == 200 and head.body == b"" and whole.body != b""
        assert int(head.headers["Content-Length"]) > 0
        assert head.headers["Content-Type"] == whole.headers["Content-Type"]


def test_a_malformed_head_request_is_refused_without_a_body(shop):
    for line in BAD_LINES:
        for _, path in ROUTE_KINDS:
            head, _, body = send_raw(shop.url, get(path, line, method="HEAD")).partition(
                b"\r\n\r\n"
            )
            assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n") and body == b"", (line, path)


def test_a_host_of_somebody_else_is_421_on_every_kind_of_route(shop, untraced):
    for method, path in ROUTE_KINDS:
        request = get(path, "Content-Length: 0", method=method, host="donuts.example")
        for url in (shop.url, untraced.url):
            reply = parse(send_raw(url, request))
            assert reply.status == 421, (path, url)
            assert reply.body["error"] == f"This is not the server that you named: use {url}/."


def test_the_help_says_which_hosts_are_taken():
    shop = Process("--help")
    assert shop.wait() == 0 and "0.0.0.0 or a name, every Host is taken" in " ".join(
        "".join(shop.out).split()
    )


def test_lines_may_end_in_a_line_feed_alone(shop):
    for end in ("\n\n", "\n\r\n", "\r\n\n"):
        request = f"GET /kitchen/get_donuts HTTP/1.1\nHost: localhost\nConnection: close{end}"
        assert parse(send_raw(shop.url, request.encode(), shut=False)).status == 200


@pytest.mark.parametrize(
    "start_line", ["GET http://localhost?a HTTP/1.1", "GET HTTP://LOCALHOST:1/ HTTP/1.9"]
)
def test_forms_of_a_request_line_that_http_allows(shop, start_line):
    request = f"{start_line}\r\nHost:\t localhost \r\nConnection: x, Close\r\n\r\n".encode()
    got = send_raw(shop.url, request)
    assert got.startswith(b"HTTP/1.1 200 OK\r\n") and b"<!DOCTYPE html>" in got


def test_a_head_may_have_32_768_characters_and_bytes_beyond_ascii(shop):
    headers = [("A", f"a{' ' * 32_000}\t\xe9b".encode("latin-1"))]
    assert ask(shop.url, "GET", "/kitchen/get_donuts", headers=headers).status == 200


def test_a_connection_is_kept_and_carries_one_request_after_another(shop):
    other_options = get("/kitchen/get_donuts", "Connection: close-to, not-close")
    requests = post("/status", b'{"order_id": "x"}') + other_options + get("/nowhere")
    got = send_raw(shop.url, requests + get("/", "Connection: close"))
    assert re.findall(rb"HTTP/1.1 (\d+)", got) == [b"404", b"200", b"404", b"200"]
    assert got.count(b"Connection: close") == 1


# fmt: off
CLOSED_AFTER = [
    get("/kitchen/get_donuts").replace(b"1.1", b"1.0"),
    get("/kitchen/get_donuts", "Connection: keep-alive").replace(b"1.1", b"1.0"),
    get("/kitchen/get_donuts", "Connection: close"),
    get("/kitchen/get_donuts", "Connection: te, close"),
    get("/kitchen/get_donuts", "Connection: te", "Connection: keep-alive,\tCLOSE , x"),
    get("/order", "Transfer-Encoding: chunked", method="POST"),
    post("/nowhere", b"x" * 70_000),
    post("/order", b"x" * 70_000),
]
# fmt: on


@pytest.mark.parametrize("data", CLOSED_AFTER)
def test_a_connection_is_closed_after_http_1_0_and_with_a_body_unread(shop, data):
    reply = parse(send_raw(shop.url, data + get("/"), shut=False))
    assert reply.headers["Connection"] == "close"


def test_a_body_that_stalls_gets_408_and_a_head_that_does_is_dropped(shop, spans, monkeypatch):
    monkeypatch.setattr(microdonuts.Handler, "timeout", 0.2)
    reply = parse(send_raw(shop.url, post("/order", b"{}")[:-1], shut=False))
    assert reply.status == 408
    assert reply.body["error"] == "The body did not arrive in time: send all of it."
    assert [span.attributes["http.response.status_code"] for span in spans.all()] == [408]
    for data in (b"POST /order HTTP/1.1\r\nHost: ", b"POST /or", b"", b"\r\n"):
        assert send_raw(shop.url, data, shut=False) == b""


def test_a_client_that_hangs_up_before_the_answer_is_an_error_and_one_line_on_stderr(
    provider, spans, capfd
):
    is_reached, may_go_on = threading.Event(), threading.Event()

    def script(path):
        is_reached.set()
        return may_go_on.wait(DEADLINE) and FakeKitchen.cook(path)

    with FakeKitchen(script) as fake:
        shop = start(fake.url)
        hang_up(shop.server_port, post("/status", b'{"order_id": "x"}'), is_reached, may_go_on)
        server, *others = spans.all()
        shop.close()
    assert (server.name, server.status.status_code.name) == ("POST /status", "ERROR")
    assert server.attributes["error.type"] in ("ConnectionResetError", "BrokenPipeError")
    assert server.attributes["http.response.status_code"] == 200
    assert [span.name for span in others] == ["status", "GET"]
    for span in others:
        assert span.status.status_code.name == "UNSET" and "error.type" not in span.attributes
    [line] = capfd.readouterr().err.splitlines()
    assert re.fullmatch(r"127.0.0.1 - - \[.*\] hung up before its answer", line)


def test_an_unforeseen_error_is_a_500_recorded_once_on_the_innermost_span(
    shop, spans, monkeypatch, capfd
):
    def fail(*_):
        raise LookupError("the oven is gone")

    monkeypatch.setattr(shop.client, "add_donut", fail)
    reply = ask(shop.url, "POST", "/order", SAMPLE)
    assert reply.status == 500
    assert reply.body == {"error": "The shop failed: look at its terminal."}
    server, order = spans.of(reply)
    assert server.attributes["http.response.status_code"] == 500
    for span in (server, order):
        assert span.attributes["error.type"] == "LookupError"
        assert span.status.status_code.name == "ERROR"
        assert span.status.description == "the oven is gone"
    assert [event.attributes["exception.message"] for event in order.events] == ["the oven is gone"]
    assert not server.events
    monkeypatch.setattr(shop.kitchen.shelf, "get_donuts", fail)
    [server] = spans.of(ask(shop.url, "GET", "/kitchen/get_donuts"))
    assert [event.name for event in server.events] == ["exception"]
    assert capfd.readouterr().err.count("LookupError: the oven is gone") == 2


def kitchen_answer(value, status="200 OK", *headers):
    """Return the bytes of an answer of a kitchen."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def kitchen_answers(data):
    return lambda path: data


CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
# The bytes of the kitchen's answer (None if it says nothing); the status of the shop's answer, and
# a word of its sentence; the error.type of the CLIENT span, and whether it has an event.
# fmt: off
KITCHEN_FAULTS = {
    "refused": (None, 502, "ConnectionRefusedError", "ConnectionRefusedError", True),
    "hung": (None, 504, "took too long", "TimeoutError", True),
    "closed early": (b"", 502, "RemoteDisconnected", "http.client.RemoteDisconnected", True),
    "500": (kitchen_answer({}, "500 Oh no"), 502, "answered with 500", "500", False),
    "404": (kitchen_answer({}, "404 Not Found"), 502, "did not accept a donut", "404", False),
    "503": (kitchen_answer({}, "503 Full", "Retry-After: \xb2"), 503, "kitchen is full", "503", False),
    "redirect": (kitchen_answer({}, "302 Found", "Location: http://127.0.0.1:1/"), 502, "answered with 302", None, False),
    "not JSON": (kitchen_answer(b"<html>"), 502, "JSONDecodeError", None, False),
    "cut short": (CLOSING + b"Content-Length: 9\r\n\r\n{}", 502, "IncompleteRead", "http.client.IncompleteRead", True),
    "cut shorter": (CLOSING + b"Content-Length: %d\r\n\r\n{}" % 10**30, 502, "IncompleteRead", "http.client.IncompleteRead", True),
    "cut chunk": (CLOSING + b"Transfer-Encoding: chunked\r\n\r\n9\r\n{}", 502, "IncompleteRead", "http.client.IncompleteRead", True),
    "not HTTP": (b"220 ftp\r\nConnection: close\r\n", 502, "BadStatusLine", "http.client.BadStatusLine", True),
    "two lengths": (kitchen_answer({}, "200 OK", "Content-Length: 3"), 502, "HTTPException", "http.client.HTTPException", True),
    "the same length twice": (kitchen_answer({}, "200 OK", "Content-Length: 2"), 502, "HTTPException", "http.client.HTTPException", True),
    "negative chunk": (CLOSING + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n{}", 502, "ValueError", "ValueError", True),
    "negative chunk without an end": (CLOSING + b"Transfer-Encoding: chunked\r\n\r\n-%s\r\n{}" % (b"f" * 500), 502, "OverflowError", "OverflowError", True),
    "malformed Content-Type": (CLOSING + b"Content-Type: multipart/mixed; boundary*=a''b; boundary*0*=c\r\n\r\n{}", 502, "TypeError", "TypeError", True),
    "a number that Python does not read": (kitchen_answer(b"[%s]" % (b"1" * 5_000)), 502, "ValueError", None, False),
    "too much": (kitchen_answer(b" " * 3_000_000), 502, "gave no usable answer (", "*", True),
    "too many headers": (CLOSING + b"A: b\r\n" * 10_000 + b"\r\n", 502, "HTTPException", "http.client.HTTPException", True),
}
# fmt: on


@pytest.mark.parametrize("fault", KITCHEN_FAULTS)
@pytest.mark.parametrize("path", ["/order", "/status"])
def test_a_kitchen_that_fails_is_a_clear_error_in_time(spans, provider, monkeypatch, fault, path):
    data, status, word, error_type, has_event = KITCHEN_FAULTS[fault]
    monkeypatch.setattr(microdonuts, "KITCHEN_SECONDS", 0.3)
    with FakeKitchen(kitchen_answers(data)) as fake:
        shop = start("http://127.0.0.1:1" if fault == "refused" else fake.url)
        reply = ask(shop.url, "POST", path, SAMPLE if path == "/order" else {"order_id": "x"})
        shop.close()
    if (fault, path) == ("404", "/status"):
        assert (reply.status, reply.body["error"]) == (404, NO_ORDER)
        return
    assert reply.status == status and word in reply.body["error"]
    if path == "/order":
        pattern = r"Order [0-9a-f-]{36} failed with 0 of 2 donuts accepted. "
        assert re.match(pattern, reply.body["error"])
    assert reply.headers["Retry-After"] == ("10" if status == 503 else None)
    server, internal, client = spans.of(reply)
    assert error_type in (client.attributes.get("error.type"), "*")
    assert client.status.status_code.name == ("ERROR" if error_type else "UNSET")
    assert [event.name for event in client.events] == ["exception"] * has_event
    assert internal.status.status_code.name == "ERROR"
    assert internal.status.description == reply.body["error"]
    assert (server.status.status_code.name, server.status.description) == ("ERROR", None)
    for span in (server, internal):
        assert span.attributes["error.type"] == str(status) and not span.events
    if fault != "refused":
        assert f"http://127.0.0.1:{client.attributes['network.peer.port']}" == fake.url


READY_DONUT = {"flavor": "jelly", "status": "ready", "ready_in": 0}
# fmt: off
NONSENSE = [
    {}, None, [], [1], [{}], [{"status": "ready", "ready_in": 0}],
    *([{**READY_DONUT, name: value}] for name, value in (
        ("flavor", 1), ("status", "burnt"), ("status", []), ("ready_in", None), ("ready_in", "0"), ("ready_in", -1), ("ready_in", True), ("ready_in", 10**9))),
]
# fmt: on


@pytest.mark.parametrize("donuts", NONSENSE)
def test_a_kitchen_that_lists_nonsense_is_502_with_all_donuts_accepted(provider, donuts):
    def script(path):
        return kitchen_answer(donuts) if "get" in path else FakeKitchen.cook(path)

    with FakeKitchen(script) as fake:
        shop = start(fake.url)
        reply = ask(shop.url, "POST", "/order", SAMPLE)
        shop.close()
    assert reply.status == 502
    assert " failed with 2 of 2 donuts accepted. The kitchen" in reply.body["error"]


# The answers of another process that has no traces to show.
# fmt: off
NO_TRACES = [
    kitchen_answer({"spans": 5}), kitchen_answer({"spans": [5]}), kitchen_answer({"spans": [{}]}), kitchen_answer({"spans": [{"context": 1}]}),
    kitchen_answer({}), kitchen_answer([]), kitchen_answer(None), kitchen_answer(b"<html>"), kitchen_answer(b"[" * 100_000), kitchen_answer(b"\xff"),
    kitchen_answer(b'{"spans": [{"x": NaN, "context": {"span_id": "1"}}]}'), kitchen_answer({"error": "no"}, "401 Unauthorized"), kitchen_answer(b" " * 3_000_000), b"",
]
# fmt: on


def test_a_kitchen_that_does_not_show_its_spans_is_a_sentence_and_nothing_worse(
    provider, monkeypatch
):
    with FakeKitchen() as fake:
        shop = start(fake.url)
        reply = ask(shop.url, "POST", "/order", SAMPLE)
        path = "/traces/" + reply.headers["Server-Timing"].split("-")[1]
        for answer in NO_TRACES:
            fake.script = kitchen_answers(answer)
            read_out = ask(shop.url, "GET", path)
            assert read_out.status == 200 and len(read_out.body["spans"]) == 5, answer[:99]
            sentence = f"The kitchen at {fake.url} does not show its spans."
            assert read_out.body["missing"] == sentence, answer[:99]
        fake.script = kitchen_answers(kitchen_answer({"error": "none"}, "404 Not Found"))
        assert ask(shop.url, "GET", path).body["missing"] is None
        cut = {"spans": [{"context": {"span_id": f"0x{S16}"}}], "missing": "Some are missing."}
        fake.script = kitchen_answers(kitchen_answer(cut))
        read_out = ask(shop.url, "GET", path).body
        assert read_out["spans"][5:] == cut["spans"] and read_out["missing"] == cut["missing"]
        fake.script = kitchen_answers(b"")
        monkeypatch.setattr(microdonuts, "MAX_JSON", 1)
        both = f"Only 0 of 5 spans fit into one answer. {sentence}"
        assert ask(shop.url, "GET", path).body == {"spans": [], "missing": both}
        shop.close()


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one():
    def script(path):
        if path.endswith("=late"):
            until(lambda: len(fake.requests) == 2)
        return kitchen_answer([{**READY_DONUT, "flavor": path[-4:]}])

    with FakeKitchen(script) as fake:
        client = kitchen.KitchenClient(fake.url)
        try:
            client.get_donuts("late", time.monotonic() + 0.1)
        except kitchen.Refusal as refusal:  # keeps the response, and with it the socket, open
            [donut] = client.get_donuts("next", time.monotonic() + DEADLINE)
            assert refusal.status == 504 and donut["flavor"] == "next"
        client.handler.close()
        assert fake.headers("Accept-Encoding") == ["identity"] * 2


# fmt: off
DRIPS = {
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b" "),
    "body until it closes": (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "status line": (b"HTTP/1.1 200 ", b"O"),
    "header": (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "1xx": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}
# fmt: on


@contextlib.contextmanager
def pouring_kitchen(begin, drop, seconds):
    """Start a kitchen that answers one request with one drop after the other, for ever.

    Yield its URL and a list of the lengths that it has sent.
    """

    def pour():
        with listener.accept()[0] as connection, contextlib.suppress(OSError):
            connection.sendall(begin)
            while True:
                connection.sendall(drop)
                sent.append(len(drop))
                time.sleep(seconds)

    sent = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=pour)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", sent
        thread.join(DEADLINE)
    assert not thread.is_alive()


@pytest.mark.parametrize(("begin", "drop"), DRIPS.values(), ids=DRIPS)
def test_a_kitchen_that_drips_is_given_up_in_time(provider, monkeypatch, begin, drop):
    monkeypatch.setattr(microdonuts, "KITCHEN_SECONDS", 0.3)
    with pouring_kitchen(begin, drop, seconds=0.02) as (url, _):
        shop = start(url)
        reply = ask(shop.url, "POST", "/status", {"order_id": "x"})
        shop.close()
    assert reply.status == 504 and "took too long" in reply.body["error"]


# fmt: off
FLOODS = {
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", b" " * 65_536),
    "body until it closes": (b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65_536),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65_536 + b"\r\n"),
    "status line": (b"HTTP/1.1 200 ", b"O" * 65_536),
    "header": (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 65_536),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: x\r\n" * 10_000),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000),
    "103 Early Hints": (b"", (b"HTTP/1.1 103 Early Hints\r\n" + b"X: x\r\n" * 50 + b"\r\n") * 100),
}
# fmt: on


@pytest.mark.parametrize(("begin", "drop"), FLOODS.values(), ids=FLOODS)
def test_a_kitchen_that_floods_is_given_up_in_time(provider, spans, monkeypatch, begin, drop):
    monkeypatch.setattr(microdonuts, "KITCHEN_SECONDS", 1)
    with pouring_kitchen(begin, drop, seconds=0) as (url, sent):
        shop = start(url)
        reply = ask(shop.url, "POST", "/status", {"order_id": "x"})
        shop.close()
    # What never begins, such as an answer after 100 Continue, is given up when the time is over.
    assert reply.status in (502, 504) and reply.body["error"].startswith("The kitchen at ")
    [client] = named(spans.all(), "GET")
    assert [event.name for event in client.events] == ["exception"]
    if reply.status == 502:
        assert sum(sent) < 30_000_000  # a megabyte, and what the buffers in between have taken


def test_interim_answers_of_a_kitchen_are_skipped(provider, spans):
    hints = b"HTTP/1.1 100 Continue\r\n\r\n" + b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 2
    with FakeKitchen(lambda path: hints + FakeKitchen.cook(path)) as fake:
        shop = start(fake.url)
        assert ask(shop.url, "POST", "/order", SAMPLE).status == 200
        shop.close()
    clients = [span for span in spans.all() if span.kind.name == "CLIENT"]
    assert [span.attributes["http.response.status_code"] for span in clients] == [200] * 3
    assert len({span.attributes["network.peer.port"] for span in clients}) == 1


# ---------------------------------------------------------------- traps, and the house


def test_trap_a_proxy_in_the_environment_is_not_between_shop_and_kitchen():
    with Process(
        "--fry-seconds", "0", http_proxy="http://127.0.0.1:1", HTTP_PROXY="http://127.0.0.1:1"
    ) as shop:
        assert ask(shop.url, "POST", "/order", SAMPLE).status == 200


def test_trap_a_redirect_takes_no_header_to_another_host(provider):
    with (
        FakeKitchen() as other,
        FakeKitchen(
            lambda path: kitchen_answer(
                {}, "307 Temporary Redirect", f"Location: {other.url}{path}"
            )
        ) as fake,
    ):
        shop = start(fake.url)
        assert ask(shop.url, "POST", "/order", SAMPLE).status == 502
        shop.close()
    assert len(fake.requests) == 1 and not other.requests


def test_trap_an_answer_is_sent_in_one_piece(shop, monkeypatch):
    sent, others = [], shop.connections.copy()
    monkeypatch.setattr(
        microdonuts.Handler,
        "wfile",
        property(
            lambda self: SimpleNamespace(write=sent.append, flush=int, closed=True, close=int),
            lambda self, _: None,
        ),
        raising=False,
    )
    with socket.create_connection(("127.0.0.1", shop.server_port)) as connection:
        connection.sendall(get("/kitchen/get_donuts"))
        [answer] = until(lambda: sent)
    assert parse(answer).status == 200
    until(lambda: shop.connections <= others, "the end of the connection")


def test_trap_a_closed_kept_connection_is_noticed_and_nothing_is_sent_twice(provider):
    with FakeKitchen() as fake:
        shop = start(fake.url)
        for _ in range(2):
            assert ask(shop.url, "POST", "/status", {"order_id": "x"}).status == 200
        kept = shop.client.handler.sock
        kept.shutdown(socket.SHUT_RDWR)  # as if the kitchen had started anew
        assert ask(shop.url, "POST", "/status", {"order_id": "x"}).status == 200
        assert len(fake.requests) == 3 and shop.client.handler.sock is not kept
        shop.close()


def test_trap_a_connection_is_given_up_before_the_kitchen_closes_it_for_being_idle(
    shop, monkeypatch
):
    def address_of_the_client():
        ask(shop.url, "POST", "/order", SAMPLE)
        return shop.client.handler.sock.getsockname()

    kept = address_of_the_client()
    assert address_of_the_client() == kept
    monkeypatch.setattr(kitchen, "MAX_IDLE_SECONDS", 0)
    assert address_of_the_client() != kept
    monkeypatch.undo()
    assert kitchen.MAX_IDLE_SECONDS <= microdonuts.Handler.timeout / 2


def test_an_answer_of_the_kitchen_has_room_for_all_donuts_that_it_remembers(provider):
    donut = kitchen.Donut("x" * 100, "old-fashioned", "new_order", time.monotonic() + 5000)
    shelf = kitchen.Shelf()
    for _ in range(kitchen.MAX_REMEMBERED):
        shelf.add(donut)
    assert len(json.dumps(shelf.get_donuts())) < kitchen.MAX_ANSWER


def test_trap_one_connection_to_the_kitchen_is_enough_and_is_kept(shop, spans):
    for _ in range(2):
        ask(shop.url, "POST", "/order", SAMPLE)
    calls = [span for span in spans.all() if span.name.startswith(("POST /k", "GET /k"))]
    assert len(calls) == 6
    assert len({span.attributes["network.peer.port"] for span in calls}) == 1


# A program that runs the shop where nothing is left that only Unix has.
PORTABLE = f"""
import os, runpy, select, signal, socket, sys
for module, names in (
    (os, "fork forkpty register_at_fork getuid geteuid setsid killpg wait getpgid"),
    (select, "poll epoll"),
    (signal, "sigwait sigwaitinfo sigtimedwait pthread_sigmask pthread_kill sigpending pause alarm "
     "setitimer siginterrupt SIGHUP SIGUSR1 SIGUSR2 SIGALRM SIGPIPE SIGCHLD"),
    (socket, "AF_UNIX MSG_DONTWAIT SO_REUSEPORT"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
sys.modules.update(dict.fromkeys(("fcntl", "resource", "pwd", "grp", "termios")))
sys.path.insert(0, {str(HERE)!r})
runpy.run_path({str(HERE / "microdonuts.py")!r}, run_name="__main__")
"""


def test_the_shop_runs_where_nothing_is_that_only_unix_has(tmp_path):
    (tmp_path / "microdonuts.py").write_text(PORTABLE)
    with Process("--fry-seconds", "0", folder=tmp_path) as shop:
        reply = ask(shop.url, "POST", "/order", SAMPLE)
        assert reply.status == 200
        until(lambda: states_of(shop.url, reply.body["order_id"]) == ["ready"] * 2)
        assert shop.stop(signal.SIGINT) == 0
    assert len(shop.err) == 1, shop.err


def test_the_kitchen_imports_the_api_alone_and_the_shop_before_tracing_runs_without_the_packages():
    imports = re.compile(r"(?m)^\s*(?:from|import) (opentelemetry[\w.]*)")
    found = imports.findall((HERE / "kitchen.py").read_text())
    assert found and not any(name.startswith("opentelemetry.sdk") for name in found)
    assert any(
        name.startswith("opentelemetry.sdk")
        for name in imports.findall((HERE / "microdonuts.py").read_text())
    )
    code = (
        "import sys, runpy; sys.modules['opentelemetry'] = None; sys.path.insert(0, 'no-tracing'); "
        "runpy.run_path('no-tracing/microdonuts.py')"
    )
    subprocess.run([sys.executable, "-c", code], cwd=HERE, check=True, timeout=DEADLINE)
    for name in ("microdonuts.py", "kitchen.py"):
        assert not imports.findall((HERE / "no-tracing" / name).read_text())
        blocks = [
            re.findall(r"(?m)^# BLOCK .*", (folder / name).read_text())
            for folder in (HERE, HERE / "no-tracing")
        ]
        assert blocks[0] == blocks[1] and len(blocks[0]) >= 6


@pytest.mark.skipif(sys.platform != "linux", reason="writes to /dev/full")
def test_the_shop_serves_where_its_terminal_cannot_be_written_to():
    port = free_port()
    command = [sys.executable, str(HERE / "microdonuts.py"), "--fry-seconds", "0", "--port", port]
    with open("/dev/full", "w") as full:
        shop = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=full)
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: is_open(url), "opening")
        assert ask(url, "POST", "/order", SAMPLE).status == 200
        shop.terminate()
        assert shop.wait(DEADLINE) == 0
    finally:
        shop.kill()


def test_the_shop_can_listen_on_ipv6():
    with Process("--fry-seconds", "0", "--host", "::1") as shop:
        port = int(re.fullmatch(r"http://\[::1\]:(\d+)", shop.url)[1])
        connection = http.client.HTTPConnection("::1", port, timeout=DEADLINE)
        connection.request("POST", "/order", json.dumps(SAMPLE))
        assert connection.getresponse().status == 200
        connection.close()
        until(lambda: len(shop.out) == 10, "the last span")
        assert shop.stop() == 0


def test_an_order_and_a_closing_cause_no_warning():
    strict = {"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error"}
    with Process("--fry-seconds", "0", **strict) as back:
        with Process("--kitchen", back.url, **strict) as front:
            for shop in (back, front):
                reply = ask(shop.url, "POST", "/order", SAMPLE)
                assert reply.status == 200 and len(shown_spans(shop, reply, 10)) == 10
            assert front.stop() == 0
        assert back.stop() == 0
    assert len(front.err) == len(back.err) == 1, (front.err, back.err)


def test_the_subject_comes_first_and_every_span_has_the_same_shape():
    blocks, calls = {}, collections.Counter()
    for file in FILES:
        text = (HERE / file).read_text()
        for number, body in re.findall(r"(?ms)^# BLOCK (\d+): (.*?)(?=^#+\n# BLOCK|\Z)", text):
            blocks[int(number)] = body.count("\n") + 1  # and the line above the title
        code = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 40, node.name
            elif isinstance(node, ast.Call):
                calls[file, ast.unparse(node.func)] = line = node.lineno
                if ast.unparse(node.func) == "tracer.start_span":
                    calls[file, "started"] += 1
                    assert "with use_span(" in code[line - 1] or "    span = " in code[line - 1]
                elif ast.unparse(node.func) == "use_span":
                    calls[file, "used"] += 1
    assert list(blocks) == list(range(1, 14))
    assert sum(blocks[number] for number in (1, 2, 7, 8, 9, 10)) <= 500  # the reading path
    assert 0 < calls["microdonuts.py", "propagate.extract"] <= 100
    assert 0 < calls["kitchen.py", "propagate.inject"] <= 130
    assert not calls["kitchen.py", "propagate.extract"]
    assert not calls["microdonuts.py", "propagate.inject"]
    for file, count in (("microdonuts.py", 2), ("kitchen.py", 2)):
        assert calls[file, "started"] == calls[file, "used"] == count


def test_each_comment_on_auto_instrumentation_names_a_package():
    for file in FILES:
        text = (HERE / file).read_text()
        comments = re.findall(r"# Auto-instrumentation: .*\n(?: *# .*\n)*", text)
        assert len(comments) >= 3
        for comment in comments:
            assert re.search("opentelemetry-(api|sdk|distro|[a-z]+-[a-z0-9]+)", comment), comment


# ---------------------------------------------------------------- closing


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_an_order_loses_no_span_and_no_donut_of_the_fryers(number):
    with Process("--fry-seconds", "0.3", OTEL_TRACES_EXPORTER="console") as shop:
        idle = socket.create_connection(shop.url.removeprefix("http://").split(":"))
        replies = []
        body = {"donuts": [{"flavor": "glazed", "quantity": 100}]}
        buyer = threading.Thread(
            target=lambda: replies.append(ask(shop.url, "POST", "/order", body))
        )
        buyer.start()
        until(lambda: shop.out)
        assert shop.stop(number) == 0
        buyer.join(DEADLINE)
        assert idle.recv(1) == b""
        idle.close()
    [reply] = replies
    assert reply.status == 200
    found = [
        span
        for span in shop.json_spans()
        if span["context"]["trace_id"][2:] in reply.headers["Server-Timing"]
    ]
    assert 304 - 100 + 1 <= len(found) < 304 and all(span["end_time"] for span in found)
    ids = {span["context"]["span_id"] for span in found}
    assert [span["name"] for span in found if span["parent_id"] not in ids] == ["POST /order"]
    assert len(shop.err) == 1, shop.err


def test_an_order_that_comes_while_the_shop_closes_gets_503(provider):
    gate = threading.Event()
    with FakeKitchen(lambda path: gate.wait(DEADLINE) and FakeKitchen.cook(path)) as fake:
        shop = start(fake.url)
        replies = []
        first = threading.Thread(
            target=lambda: replies.append(ask(shop.url, "POST", "/order", SAMPLE))
        )
        first.start()
        until(lambda: fake.requests)
        closing = threading.Thread(target=shop.close)
        closing.start()
        until(lambda: shop.is_closing)
        gate.set()
        late = None
        while late is None:
            try:
                late = ask(shop.url, "POST", "/order", SAMPLE)
            except ConnectionError:
                break
        first.join(DEADLINE)
        closing.join(DEADLINE)
    assert replies[0].status == 200
    # It is 400 if the shop closed its end for reading before the body had come.
    assert late is None or late.status in (503, 400)


def test_stalled_clients_and_a_hung_kitchen_hold_no_order_beyond_its_time(provider, monkeypatch):
    monkeypatch.setattr(microdonuts, "KITCHEN_SECONDS", 0.5)
    with FakeKitchen(lambda path: None) as fake:
        shop = start(fake.url)
        half = [socket.create_connection(("127.0.0.1", shop.server_port)) for _ in range(4)]
        for connection in half:
            connection.sendall(post("/order", b"{}")[:-1])
        replies = []

        def order():
            replies.append(ask(shop.url, "POST", "/order", SAMPLE))

        buyers = [threading.Thread(target=order) for _ in range(6)]
        for buyer in buyers:
            buyer.start()
        for buyer in buyers:
            buyer.join(DEADLINE)
        for connection in half:
            connection.close()
        shop.close()
    # One order at a time is let in, and waits for the kitchen. The others wait for that one.
    # Those that get their turn at the last moment have no time left for the kitchen.
    assert len(replies) == 6 and {504} <= {reply.status for reply in replies} <= {503, 504}
    refused = {reply.body["error"] for reply in replies if reply.status == 503}
    assert refused <= {"Too many orders at once: try again later."}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_program_at_once(number):
    with Process("--fry-seconds", "5") as shop:
        order_id = ask(shop.url, "POST", "/order", SAMPLE).body["order_id"]
        until(lambda: set(states_of(shop.url, order_id)) & {"received", "cooking"})
        shop.process.send_signal(signal.SIGTERM)
        until(lambda: not is_open(shop.url), "closing")
        shop.process.send_signal(number)
        assert shop.wait() == -number


def is_open(url):
    try:
        socket.create_connection(url.removeprefix("http://").split(":"), timeout=1).close()
        return True
    except OSError:
        return False


# ---------------------------------------------------------------- README: compare with the machine

# The official packages write the stable convention if they find this when they are first used.
os.environ["OTEL_SEMCONV_STABILITY_OPT_IN"] = "http"

# Attributes that we alone write, whatever the request is: the line and the thread that started the
# span, the shop's own, and the headers that carried the trace.
OURS_ALONE = re.compile(
    r"code\.(function\.name|file\.path|line\.number)|thread\.(id|name)|microdonuts\..+|"
    r"http\.request\.header\.(traceparent|tracestate|baggage|b3|x-b3-[a-z]+)"
)

# All other differences: the packages; the attributes, or name, status, description, exceptions; a
# pattern that is found in the titles of the requests that show it; the value that they write, and
# the one that we write (JSON, with * for any text and # for a number; "" for none); and the text
# that says that we are right, by its heading in "HTTP spans" of Semantic Conventions v1.44.0, or
# by its page.
Difference = collections.namedtuple("Difference", "packages aspects when theirs ours clause")
# fmt: off
DIFFERENCES = [Difference(*row) for row in (
    # Names
    ("wsgi flask", "name", "404: path", '"GET /no/*"', '"GET"', "Name: it MUST NOT default to the URI path"),
    # SERVER attributes
    ("wsgi", "url.path url.query http.route", "", "", '"*"', "HTTP server span: the first is Required, the others are if one was received, or is available"),
    ("flask", "url.path", "404: path", '"/no/such place"', '"/no/such%20place"',
     "HTTP server span: the path component as RFC 3986 3.3 has it, which has no blanks"),
    ("flask", "url.query", "secrets", '"sig=s3cret&X-Amz-Signature=s3cret&a=%20b&c="',
     '"sig=REDACTED&X-Amz-Signature=REDACTED&a=%20b&c="', "HTTP server span, note 10: SHOULD be redacted by default"),
    ("flask", "http.route", "405: PUT", "", '"/order"', "HTTP server span: Required if it is available"),
    ("wsgi flask", "server.address", "", '"*:*"', '"*"', "Setting server.address and server.port: parse Host"),
    ("wsgi flask", "server.port", "another port", "PORT", "8088", "Setting server.address and server.port: the port"),
    ("wsgi flask", "server.port", "no port", "PORT", "80", "the same; 80 is what no port means, RFC 9110 4.2.1"),
    ("wsgi flask", "server.port", "no Host", "PORT", "", "HTTP server span: Required if server.address is set"),
    ("flask", "client.port", "", "#", "", "HTTP server span: Opt-In; we have it as network.peer.port"),
    ("wsgi flask", "user_agent.synthetic.type", "bot", '"bot"', "", "HTTP server span: Opt-In, and in development"),
    # A SERVER span whose endpoint raised something unforeseen
    ("wsgi", "http.response.status_code", "raised", "", "500", "HTTP server span: Required if one was sent"),
    ("flask", "error.type", "raised", '"500"', '"RuntimeError"',
     "HTTP server span, note 4: the status code or the type of the exception, either is right; the latter says more"),
    # CLIENT attributes
    ("urllib", "server.address", "", "", '"127.0.0.1"', "HTTP client span: Required"),
    ("urllib", "server.port", "", "", "PORT", "HTTP client span: Required"),
    ("urllib", "network.protocol.version", "", "", '"1.*"', "HTTP client span: Recommended"),
    ("wsgi flask urllib", "network.peer.address", "", "", '"127.0.0.1"', "HTTP server span, client span: Recommended"),
    ("wsgi flask urllib", "network.peer.port", "", "", "#", "the same: Recommended if network.peer.address is set"),
    ("urllib", "url.full", "secrets", '"*?sig=REDACTED&X-Amz-Signature=s3cret&a=+b"',
     '"*?sig=REDACTED&X-Amz-Signature=REDACTED&a=%20b&c="', "HTTP client span, note 4: redact these values, no more"),
    # A CLIENT span that fails
    ("urllib", "error.type", "40|500", '"HTTPError"', '"*0*"', "HTTP client span, note 5: the status code; so does HTTP client call: Internal Server Error"),
    ("urllib", "description", "40|500", '"HTTPError: *"', "", "Status: none if the status code tells the reason"),
    ("urllib", "exceptions", "40|500", "*HTTPError*", "", "Recording errors, Recording exceptions: for failures due to an exception; a status is an answer"),
    ("urllib", "error.type exceptions", "refused", "*URLError*", "*ConnectionRefusedError*",
     "Attribute registry, Error: for a wrapper that does not help to classify, the type of the inner error"),
    ("urllib", "error.type", "closed early", '"RemoteDisconnected"', '"http.client.RemoteDisconnected"',
     "HTTP client span, note 5: the fully-qualified class name"),
    ("urllib", "status", "cut short", '"UNSET"', '"ERROR"', "Status: MUST be Error for a network error receiving the response body"),
    ("urllib", "error.type description exceptions", "cut short", "", "*IncompleteRead*",
     "HTTP client span: error.type is Required if there was an error; Recording errors"),
    ("flask urllib", "description", "raised|refused|closed early|timeout", '"*: *"', '"*"',
     "Recording errors: the exception's message; to repeat error.type in it is NOT RECOMMENDED"),
)]
# fmt: on


def aspects(span, port):
    """Return {aspect or attribute: its value in JSON}, with PORT for the server's port."""
    parent = (
        span.parent
        and f"{span.parent.trace_id:032x}-{span.parent.span_id:016x} {span.parent.is_remote}"
    )
    found = {
        "name": span.name,
        "kind": span.kind.name,
        "parent": parent,
        "status": span.status.status_code.name,
        "description": span.status.description,
        **span.attributes,
        "exceptions": [event.attributes["exception.type"] for event in span.events] or None,
    }
    return {
        name: json.dumps(value).replace(str(port), "PORT")
        for name, value in found.items()
        if value is not None
    }


def compare_with_official(package, pairs):
    """Check that all differences are listed, and that all that is listed for a package was shown.

    `pairs` is {title of a request: (their aspects, ours)}.
    """

    def fits(pattern, text):
        return re.fullmatch(
            re.escape(pattern).replace(r"\*", ".+").replace(r"\#", r"(\d+|PORT)"), text
        )

    entries = [entry for entry in DIFFERENCES if package in entry.packages.split()]
    listed = {(name, entry) for entry in entries for name in entry.aspects.split()}
    shown, unlisted = set(), []
    for title, (theirs, ours) in pairs.items():
        for aspect in sorted(theirs.keys() | ours.keys()):
            they, we = theirs.get(aspect, ""), ours.get(aspect, "")
            if they == we or not they and OURS_ALONE.fullmatch(aspect):
                continue
            found = {
                (name, entry)
                for name, entry in listed
                if name == aspect
                and re.search(entry.when, title)
                and fits(entry.theirs, they)
                and fits(entry.ours, we)
            }
            shown |= found
            unlisted += [] if found else [f"{title} | {aspect} | {package}: {they} | ours: {we}"]
    assert not unlisted, "not on the list:\n" + "\n".join(unlisted)
    assert not listed - shown, "shown by no request:\n" + "\n".join(map(str, listed - shown))


def official_provider():
    """Return a tracer provider for an official package, and the exporter that gets its spans."""
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


TOLD = SimpleNamespace(status=200, error=None)


def as_told(environ):
    """Return the status that the official packages' apps are told to answer, or raise."""
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if TOLD.error:
        raise TOLD.error
    return TOLD.status


def wsgi_server(provider):
    """Return a server with the official middleware around an app that answers as it is told."""

    def app(environ, start_response):
        start_response(f"{as_told(environ)} as told", [])
        return []

    return wsgiref.simple_server.make_server(
        "127.0.0.1", 0, OpenTelemetryMiddleware(app, tracer_provider=provider)
    )


def flask_server(provider):
    """Return a server with an instrumented Flask app that has the shop's endpoints."""
    app = flask.Flask(__name__, static_folder=None)
    FlaskInstrumentor.instrument_app(app, tracer_provider=provider)
    for path in ("/order", "/status", "/kitchen/add_donuts", "/kitchen/get_donuts"):
        app.add_url_rule(
            path,
            path,
            lambda: ("", as_told(flask.request.environ)),
            methods=microdonuts.ROUTES[path][0].split(", "),
            provide_automatic_options=False,
        )
    quiet = type("Quiet", (werkzeug.serving.WSGIRequestHandler,), {"log_request": lambda *_: None})
    return werkzeug.serving.make_server("127.0.0.1", 0, app, request_handler=quiet)


GET_DONUTS = "GET /kitchen/get_donuts HTTP/1.1"
# fmt: off
SERVER_REQUESTS = {
    "200: GET": raw_request(GET_DONUTS),
    "200: query": raw_request("GET /kitchen/get_donuts?a=b%20c&d HTTP/1.1"),
    "200: secrets": raw_request("GET /kitchen/get_donuts?sig=s3cret&X-Amz-Signature=s3cret&a=%20b&c= HTTP/1.1"),
    "200: POST, no port": post("/order", json.dumps(SAMPLE).encode()),
    "400: not JSON, no port": post("/order", b"{"),
    "404: order, no port": post("/status", b'{"order_id": "none"}'),
    "404: path": raw_request("GET /no/such%20place HTTP/1.1"),
    "405: PUT": raw_request("PUT /order HTTP/1.1"),
    "200: HEAD": raw_request("HEAD /kitchen/get_donuts HTTP/1.1"),
    "200: HTTP/1.0": raw_request("GET /kitchen/get_donuts HTTP/1.0"),
    "200: HTTP/1.0, no Host": raw_request("GET /kitchen/get_donuts HTTP/1.0", "Accept: */*"),
    "200: Host with no port": raw_request(GET_DONUTS, "Host: localhost"),
    "200: Host with another port": raw_request(GET_DONUTS, "Host: localhost:8088"),
    "200: browser": raw_request(GET_DONUTS, "Host: 127.0.0.1:PORT", "User-Agent: Mozilla/5.0 (X11; Linux x86_64)"),
    "200: bot": raw_request(GET_DONUTS, "Host: 127.0.0.1:PORT", "User-Agent: Googlebot/2.1"),
    "200: traceparent": raw_request(GET_DONUTS, "Host: 127.0.0.1:PORT", f"traceparent: {TRACEPARENT}"),
    **dict.fromkeys(("503: full", "500: raised"), raw_request(GET_DONUTS)),
}
# fmt: on


def answer_to(title, port):
    """Return what a server on this port answers to one of these requests."""
    got = send_raw(
        f"http://127.0.0.1:{port}", SERVER_REQUESTS[title].replace(b"PORT", str(port).encode())
    )
    assert got.split(b" ")[1].decode() == title[:3], got
    return got


def our_answer_to(title, shop, monkeypatch):
    """Return the id of the shop's span for a request; its kitchen fails where the title says so."""

    def fail(*_):
        if "full" in title:
            raise kitchen.Refusal(503, "The kitchen is full.")
        raise RuntimeError("a pan fell")

    with monkeypatch.context() as patch:
        if title.startswith("50"):
            patch.setattr(shop.kitchen.shelf, "get_donuts", fail)
        got = answer_to(title, shop.server_port)
    return int(re.search(rb'trace;desc="00-[0-9a-f]{32}-([0-9a-f]{16})', got)[1], 16)


@pytest.mark.parametrize("package, make", [("wsgi", wsgi_server), ("flask", flask_server)])
def test_server_spans_are_the_official_ones(package, make, shop, spans, monkeypatch):
    (provider, exporter), pairs = official_provider(), {}
    server = make(provider)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    for title in SERVER_REQUESTS:
        TOLD.status, TOLD.error = (
            int(title[:3]),
            RuntimeError("a pan fell") if "raised" in title else None,
        )
        answer_to(title, server.server_port)
        [theirs] = until(exporter.get_finished_spans, "their span")
        exporter.clear()
        span_id = our_answer_to(title, shop, monkeypatch)
        [ours] = [span for span in spans.all() if span.context.span_id == span_id]
        pairs[title] = aspects(theirs, server.server_port), aspects(ours, shop.server_port)
    server.shutdown()
    server.server_close()
    compare_with_official(package, pairs)


# fmt: off
CLIENT_REQUESTS = {
    "200: GET": ("GET", "", None, kitchen_answer([])),
    "200: POST": ("POST", "", "{}", kitchen_answer({})),
    "200: HTTP/1.0": ("GET", "", None, b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n[]"),
    "200: secrets": ("GET", "?sig=s3cret&X-Amz-Signature=s3cret&a=%20b&c=", None, kitchen_answer([])),
    "400: POST": ("POST", "", "{", kitchen_answer({}, "400 Bad Request")),
    "404: GET": ("GET", "", None, kitchen_answer({}, "404 Not Found")),
    "500: GET": ("GET", "", None, kitchen_answer({}, "500 Internal Server Error")),
    "refused": ("GET", "", None, None),
    "closed early": ("GET", "", None, b""),
    "cut short": ("GET", "", None, b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\n[]"),
    "timeout": ("GET", "", None, None),
}
# fmt: on


def ask_with_urllib(url, method, body, seconds, provider):
    """Send a request as anyone would with urllib, which is instrumented meanwhile."""
    URLLibInstrumentor().instrument(tracer_provider=provider)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, body, method=method)
    try:
        with opener.open(request, timeout=seconds) as response:
            response.read()
    except urllib.error.HTTPError as error:
        error.close()
    except (OSError, http.client.HTTPException):
        pass
    URLLibInstrumentor().uninstrument()


def test_client_spans_are_the_official_ones(spans):
    (provider, exporter), pairs = official_provider(), {}
    for title, (method, query, body, answer) in CLIENT_REQUESTS.items():
        path, seconds = f"/kitchen/get_donuts{query}", 0.2 if title == "timeout" else DEADLINE
        with FakeKitchen(kitchen_answers(answer)) as fake:
            if title == "refused":
                fake.listener.shutdown(socket.SHUT_RDWR)  # the port stays ours, and is deaf
            ask_with_urllib(fake.url + path, method, body and body.encode(), seconds, provider)
            client = kitchen.KitchenClient(fake.url)
            with contextlib.suppress(kitchen.Refusal):
                client.call(method, path, time.monotonic() + seconds, body and body.encode())
            client.handler.close()
        ours = [
            span for span in spans.all() if span.attributes.get("url.full", "").startswith(fake.url)
        ]
        [theirs], [ours] = exporter.get_finished_spans(), ours
        pairs[title] = [aspects(span, fake.url.rpartition(":")[2]) for span in (theirs, ours)]
        exporter.clear()
        spans.clear()
    compare_with_official("urllib", pairs)


def test_the_differences_in_readme_are_those_of_the_oracle():
    listed = {
        (package, aspect)
        for row in DIFFERENCES
        for package in row.packages.split()
        for aspect in row.aspects.split()
    }
    names = [name for file in FILES for name in pieces((HERE / file).read_text())]
    for by_hand, _, more, worse in table(section("Compare with the machine")):
        assert quoted(by_hand)[0] in names
        references = [
            name for name in quoted(more + worse) if re.match("(wsgi|flask|urllib) |test_", name)
        ]
        assert references, by_hand
        for name in references:
            assert (
                tuple(name.split(" ")) in listed
                or name.startswith("test_")
                and callable(globals()[name])
            ), name


# fmt: off
LESS_EXACT = [
    ("01", ("traceparent", TRACEPARENT), {"traceparent": TRACEPARENT}, {}),
    ("ff", ("accept", "*/*"), {"traceparent": TRACEPARENT[:-2] + "ff"}, {"traceparent": TRACEPARENT[:-2] + "03"}),
    ("01", ("tracestate", "1a=x"), {"traceparent": TRACEPARENT}, {"traceparent": TRACEPARENT, "tracestate": "1a=x"}),
    ("01", ("tracestate", "a=1,a=2"), {"traceparent": TRACEPARENT}, {"traceparent": TRACEPARENT, "tracestate": "a=1"}),
]
# fmt: on


@pytest.mark.parametrize(("flags", "more", "theirs", "ours"), LESS_EXACT)
def test_the_apis_own_propagator_is_less_exact(flags, more, theirs, ours):
    headers = as_message([("traceparent", TRACEPARENT[:-2] + flags), more])
    for propagator, expected in [
        (TraceContextTextMapPropagator(), theirs),
        (kitchen.W3CTraceContext(), ours),
    ]:
        carrier = {}
        propagator.inject(carrier, propagator.extract(headers, getter=kitchen.HeaderGetter()))
        assert carrier == expected


def test_auto_instrumentation_gives_client_spans_alone(tmp_path, monkeypatch):
    [commands], [shown] = [
        fences(section("Compare with the machine"), language) for language in ("sh", "")
    ]
    command = re.search(
        r"(?ms)^\S+/opentelemetry-instrument .*(?=no-tracing/microdonuts.py)", commands
    )[0]
    command = command.replace("\\\n", "").replace(
        ".venv-auto/bin", str(pathlib.Path(sys.executable).parent)
    )
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(wrapper))
    with Process("--fry-seconds", "0", folder=HERE / "no-tracing") as shop:
        assert ask(shop.url, "POST", "/order", JELLY).status == 200
        shop.stop()
    found = [
        Seen(
            span["context"]["span_id"],
            span["parent_id"],
            span["context"]["trace_id"],
            f"{span['name']} {span['kind'].removeprefix('SpanKind.')}",
        )
        for span in shop.json_spans()
    ]
    assert outline(found) == outline(drawn_spans(shown.partition("\n")[2])) and shown.startswith(
        "2 traces, 2 spans\n"
    )


EXCLUDED = """
import json, sys, threading, urllib.request, wsgiref.util
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
import flask
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.urllib import URLLibInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

exporter, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))

def count():
    number = len(exporter.get_finished_spans())
    exporter.clear()
    return number

def app(environ, start_response):
    start_response("200 OK", [])
    return [b""]

environ = {"PATH_INFO": "/health"}
wsgiref.util.setup_testing_defaults(environ)
list(OpenTelemetryMiddleware(app, tracer_provider=provider)(environ, lambda *_: None))
wsgi = count()
site = flask.Flask("site")
site.add_url_rule("/health", "health", lambda: "")
FlaskInstrumentor().instrument_app(site, tracer_provider=provider)
site.test_client().get("/health")
with_flask = count()
URLLibInstrumentor().instrument(tracer_provider=provider)
try:
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open("http://127.0.0.1:1/health")
except OSError:
    pass
print(json.dumps({"wsgi": wsgi, "flask": with_flask, "urllib": count()}))
"""


# The variable that excludes the path, and how many spans each package then makes.
# fmt: off
EXCLUDED_BY = [
    ("NONE", {"wsgi": 1, "flask": 1, "urllib": 1}),
    ("OTEL_PYTHON_EXCLUDED_URLS", {"wsgi": 1, "flask": 0, "urllib": 0}),
    ("OTEL_PYTHON_FLASK_EXCLUDED_URLS", {"wsgi": 1, "flask": 0, "urllib": 1}),
    ("OTEL_PYTHON_WSGI_EXCLUDED_URLS", {"wsgi": 1, "flask": 1, "urllib": 1}),
]
# fmt: on


@pytest.mark.parametrize(("variable", "expected"), EXCLUDED_BY)
def test_wsgi_reads_no_excluded_urls_but_flask_and_urllib_do(tmp_path, variable, expected):
    printed, _ = run_program(tmp_path, EXCLUDED, **{variable: "health"})
    assert json.loads(printed) == expected


def test_the_threading_package_carries_a_context_into_threads_timers_and_pools_but_no_queue():
    seen, work, done = {}, queue.SimpleQueue(), threading.Event()

    def note(name):
        seen[name] = baggage.get_baggage("order")

    def fry_all():  # started at boot, as the fryer is
        work.get()
        note("queue")
        done.set()

    ThreadingInstrumentor().instrument()
    try:
        fryer = threading.Thread(target=fry_all)
        fryer.start()
        token = context.attach(baggage.set_baggage("order", "x"))
        try:
            thread, timer = (
                threading.Thread(target=note, args=("thread",)),
                threading.Timer(0, note, ("timer",)),
            )
            for each in (thread, timer):
                each.start()
                each.join(DEADLINE)
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                pool.submit(note, "pool").result(DEADLINE)
            work.put("donut")
            assert done.wait(DEADLINE)
        finally:
            context.detach(token)
        fryer.join(DEADLINE)
        wrapped = {
            each: hasattr(each.submit, "__wrapped__")
            for each in (
                concurrent.futures.ThreadPoolExecutor,
                concurrent.futures.ProcessPoolExecutor,
            )
        }
    finally:
        ThreadingInstrumentor().uninstrument()
    assert seen == {"thread": "x", "timer": "x", "pool": "x", "queue": None}
    assert list(wrapped.values()) == [True, False]


def test_the_sdk_looks_up_exporters_and_the_distro_only_sets_defaults():
    [distro] = metadata.entry_points(group="opentelemetry_distro")
    [configurator] = metadata.entry_points(group="opentelemetry_configurator")
    assert {distro.dist.name, configurator.dist.name} == {"opentelemetry-distro"}
    [console] = metadata.entry_points(group="opentelemetry_traces_exporter", name="console")
    assert console.dist.name == "opentelemetry-sdk"
    own = configurator.load()
    assert "_configure" not in vars(own) and own.__mro__[1].__module__.startswith(
        "opentelemetry.sdk."
    )
    source = inspect.getsource(distro.load())
    assert source.count("os.environ.setdefault(") == 4 and "entry_points" not in source
    assert "OTEL_TRACES_EXPORTER" in inspect.getsource(sys.modules[own.__mro__[1].__module__])


def test_only_urllib_uses_start_as_current_span_and_none_of_them_says_where_in_the_code():
    sources = {
        name: inspect.getsource(importlib.import_module(f"opentelemetry.instrumentation.{name}"))
        for name in ("wsgi", "flask", "urllib", "threading")
    }
    assert [name for name, source in sources.items() if ".start_as_current_span(" in source] == [
        "urllib"
    ]
    assert [name for name, source in sources.items() if "trace.use_span(" in source] == [
        "wsgi",
        "flask",
    ]
    assert not any(
        re.search(r"code\.|CODE_(FUNCTION|FILE|LINE)", source) for source in sources.values()
    )


@pytest.mark.parametrize("package", ["wsgi", "flask"])
def test_the_official_server_packages_do_not_notice_that_the_caller_hung_up(package, capfd):
    is_reached, may_go_on, is_sent = threading.Event(), threading.Event(), threading.Event()
    provider, exporter = official_provider()
    large = b"x" * 1_000_000  # one send does not take so much

    def answer():
        is_reached.set()
        assert may_go_on.wait(DEADLINE)
        yield large
        is_sent.set()

    if package == "wsgi":

        def app(environ, start_response):
            start_response("200 OK", [("Content-Length", str(len(large)))])
            return answer()

        app = OpenTelemetryMiddleware(app, tracer_provider=provider)
        server = wsgiref.simple_server.make_server("127.0.0.1", 0, app)
    else:
        app = flask.Flask("hang_up", static_folder=None)
        FlaskInstrumentor().instrument_app(app, tracer_provider=provider)
        app.add_url_rule("/kitchen/get_donuts", "get_donuts", answer)
        server = werkzeug.serving.make_server("127.0.0.1", 0, app)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    hang_up(server.server_port, raw_request(GET_DONUTS, "Host: localhost"), is_reached, may_go_on)
    [span] = until(exporter.get_finished_spans, "their span")
    server.shutdown()
    server.server_close()
    assert not is_sent.is_set()
    assert span.status.status_code.name == "UNSET" and "error.type" not in span.attributes
    assert not span.events and span.attributes["http.response.status_code"] == 200


# ---------------------------------------------------------------- README: its contents and its map


def test_the_table_of_contents_is_that_of_readme():
    listed = re.findall(r"(?m)^- \[(.+)\]\(#(.+)\)$", README)
    assert [title for title, _ in listed] == re.findall(r"(?m)^## (.+)$", README)
    assert all(
        anchor == re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")
        for title, anchor in listed
    )
    prose = [line for line in FENCE.sub("", README).splitlines() if not line.startswith("|")]
    assert max(map(len, prose)) <= 120


def test_the_map_of_the_code_is_the_territory():
    text = section("Map of the code")
    named_there = [quoted(row[0])[0] for row in table(text)]
    hidden = {"README.md", "LICENSE", "pyproject.toml"}
    if (HERE / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files"], cwd=HERE, capture_output=True, text=True, check=True
        ).stdout
        top = {re.sub("/.*", "/", path) for path in listed.splitlines() if not path.startswith(".")}
        assert top == {*named_there, *hidden}
    for name in named_there:
        assert (HERE / name).exists(), name
    names = [
        name
        for file in ("microdonuts.py", "kitchen.py")
        for name in pieces((HERE / file).read_text())
    ]
    for name in quoted(text):
        if re.fullmatch(r"[A-Z]\w+(\.\w+)?|main", name):
            assert name in names, name


# ---------------------------------------------------------------- the walkthrough, step by step


# A module and its finished form, to try the walkthrough's instructions on.
BEGUN = '''\
"""A stall."""

import os

##############################
# BLOCK 1: the stall
##############################

PRICE = 2  # of a donut


# Donuts by the dozen
def dozen():
    return 12


class Stall:
    """It sells."""

    def open(self):
        return True
        # Come in,

        # please.

    def close(self):
        return False


##############################
# BLOCK 2: its money
##############################
'''
FINISHED = (
    BEGUN.replace("2  # of a donut", "3").replace("A stall.", "A dear stall.") + "\nTILL = []\n"
)
IMPORT, PRICE, OPEN = (
    "import os\n",
    "PRICE = 2  # of a donut\n",
    "    def open(self):\n        return True\n        # Come in,\n\n        # please.\n\n",
)
DOZEN, CLOSE = (
    "# Donuts by the dozen\ndef dozen():\n    return 12\n",
    "    def close(self):\n        return False\n",
)
MONEY = "# BLOCK 2: its money\n##############################\n"
BAKER, SHUT = "def baker():\n    return 13\n", "    def shut(self):\n        return None\n"
# The instruction, the code below it, what it looks for, and what is there afterwards.
# fmt: off
EDITS = [
    ("replace `dozen`:", BAKER, DOZEN, BAKER),
    ("replace `PRICE`:", f"PRICE = 1\n\n{BAKER}", PRICE, f"PRICE = 1\n\n\n{BAKER}"),
    ("replace `Stall.close`:", f"\n{SHUT}\n", CLOSE, SHUT),
    ("replace the module docstring:", '"""Sold."""\n', '"""A stall."""\n', '"""Sold."""\n'),
    ("replace the imports:", "import re\nimport sys\n", IMPORT, "import re\nimport sys\n"),
    ("below `Stall.open`, add:", SHUT, CLOSE, f"{SHUT}\n{CLOSE}"),
    ("below `Stall`, add:", BAKER, CLOSE, f"{CLOSE}\n\n{BAKER}"),
    ("below `PRICE`, add:", "COST = 1\n", PRICE, f"{PRICE}COST = 1\n"),
    ("below `PRICE`, add:", BAKER, PRICE, f"{PRICE}\n\n{BAKER}"),
    ("under `BLOCK 1`, add:", BAKER, PRICE, f"\n{BAKER}\n\n{PRICE}"),
    ("under `BLOCK 2`, add:", "TILL = {}\n", MONEY, f"{MONEY}\nTILL = {{}}\n"),
    ("copy `BLOCK 2`.", "", MONEY, f"{MONEY}\nTILL = []\n"),
    ("copy `PRICE`.", "", PRICE, "PRICE = 3\n"),
    ("copy the module docstring.", "", "A stall.", "A dear stall."),
    ("delete `dozen`.", "", f"{DOZEN}\n\n", ""),
    ("delete `Stall.open`.", "", OPEN, ""),
]
# What a writer may get wrong: the sentence, the code below it, and a word of what is said of it.
WRONG = [
    ("In `stall.py`, replace `bakers`:", "X = 1\n", "there is no bakers"),
    ("In `stall.py`, change `dozen`:", "X = 1\n", "none of the forms.*change `dozen`"),
    ("In `stall.py`, under `dozen`, add:", "X = 1\n", "none of the forms.*under `dozen`"),
    ("In `stall.py`, replace `PRICE`:", "PRICE = (1)\n", "more than blank lines"),
    ("In `stall.py`, replace `PRICE`:", "", "none of the forms.*replace `PRICE`"),
    ("In `stall.py`, replace `PRICE`: see?", "PRICE = 1\n", "none of the forms.*replace `PRICE`"),
    ("In `stall.py`, delete `PRICE`.", "PRICE = 1\n", "none of the forms.*```python"),
    ("And so it is.", "PRICE = 1\n", "none of the forms.*```python"),
]
# fmt: on


def after_step(sentences, code):
    """Return what becomes of BEGUN in a walkthrough of one step."""
    fence = f"```python\n{code}```\n" if code else ""
    [(_, todo)] = steps(f"Hello\n\n## Step 1: x\n\n{sentences}\n\n{fence}")
    text = BEGUN
    for instruction in todo:
        text = edited(text, FINISHED, instruction)
    return text


@pytest.mark.parametrize(("sentence", "code", "old", "new"), EDITS)
def test_each_form_of_an_instruction_edits_whole_definitions(sentence, code, old, new):
    assert BEGUN.count(old) == 1
    assert after_step(f"Why so.\nIn `stall.py`,\n{sentence}", code) == BEGUN.replace(old, new)


def test_one_sentence_may_name_several_and_one_paragraph_have_several():
    copied = "In `s.py`, copy `PRICE`, `BLOCK 2`, and the module docstring."
    text = after_step(f"{copied} Then.\nIn `s.py`, delete `dozen`.", "")
    assert text == FINISHED.replace(f"{DOZEN}\n\n", "")


@pytest.mark.parametrize(("sentence", "code", "word"), WRONG)
def test_an_instruction_that_cannot_be_followed_says_why(sentence, code, word):
    with pytest.raises(AssertionError, match=word):
        after_step(sentence, code)


def test_a_look_comes_after_the_commands_above_it_and_a_step_ends_at_the_next_heading():
    usual, own, look = "python microdonuts.py\ncurl x\n", "curl y\n", "```\nshown\n```\n"
    [(title, todo), (_, other)] = steps(
        f"```sh\ncp\n```\n```sh\n{usual}```\n## Step 1: one\n{look}```sh\n{own}```\n{look}"
        f"## Step 2: two\n{look}\n## What to try next\n\n```python\nX = 1\n```\n"
    )
    assert title == "Step 1: one"
    assert todo == [(usual, "shown\n"), (own, "shown\n")]
    assert other == [(usual, "shown\n")]


@pytest.mark.parametrize("file", ["microdonuts.py", "kitchen.py"])
@pytest.mark.parametrize("folder", [HERE, HERE / "no-tracing"], ids=["finished", "no-tracing"])
def test_both_shops_have_the_blank_lines_of_the_walkthrough(folder, file):
    text = (folder / file).read_text()
    assert tidied(text) == text


WALKTHROUGH = (HERE / "no-tracing" / "README.md").read_text()


def test_the_walkthrough_leads_from_no_tracing_to_the_finished_files(tmp_path):
    for name in ("no-tracing", "static"):
        shutil.copytree(HERE / name, tmp_path / name)
    for file in FILES:
        shutil.copy(HERE / file, tmp_path)
    copying, *_, comparing, _ = fences(WALKTHROUGH, "sh")
    subprocess.run(["bash", "-c", copying], cwd=tmp_path, check=True)
    folder, last_touched = tmp_path / "my-shop", {}
    for title, todo in steps(WALKTHROUGH):
        assert isinstance(todo[-1], tuple), f"{title} does not end with what one sees"
        before = definitions(folder)
        try:
            take(folder, todo)
        except Exception as error:
            raise AssertionError(f"{title}: {error!r}") from error
        after = definitions(folder)
        last_touched |= {key: title for key in after if after[key] != before.get(key)}
    ours, finished = definitions(folder), definitions(HERE)
    keys = {key for key in ours.keys() | finished.keys() if ours.get(key) != finished.get(key)}
    stale = {key: last_touched.get(key, "no step") for key in keys}
    assert not stale, f"not as in the finished file: {stale}"
    for file in FILES:
        assert (folder / file).read_text() == (HERE / file).read_text(), file
    compared = subprocess.run(["bash", "-c", comparing], cwd=folder, capture_output=True, text=True)
    assert (compared.returncode, compared.stdout, compared.stderr) == (0, "", "")


def test_the_walkthrough_has_ten_steps_of_like_weight():
    introduction, *texts = re.split(r"(?m)^## (?=Step \d+: )", WALKTHROUGH)
    assert len(re.findall(r"(?m)^- \*\*\w+\*\*: ", introduction)) == 10
    titles = [int(re.match(r"Step (\d+): ", text)[1]) for text in texts]
    assert titles == list(range(1, 11))
    for text, (title, todo) in zip(texts, steps(WALKTHROUGH), strict=True):
        assert re.search(r"(?m)^\*\*Why\.\*\* ", text), title
        assert re.search(r"(?i)\b(because|otherwise)\b", text), title
        assert len(re.findall(r"<details><summary><b>Question:</b>", text)) == 1, title
        assert 2 <= sum(not isinstance(part, tuple) for part in todo) <= 5, title
    prose = FENCE.sub("", WALKTHROUGH)
    assert len(prose.split()) <= 4_000
    assert max(map(len, prose.splitlines())) <= 120


def test_the_header_that_the_walkthrough_names_is_that_of_the_hop_that_it_shows():
    step = WALKTHROUGH.partition("## Step 3: ")[2].partition("## Step 4: ")[0]
    [shown] = re.findall(r"So `POST` has sent `traceparent: ([^`]+)`", step)
    hops = [span.groups() for span in PLAIN.finditer(step) if span[5] == "POST"]
    assert shown in [f"00-{trace_id}-{span_id}-03" for trace_id, span_id, *_ in hops]


def test_the_walkthroughs_commands_and_names_are_those_of_the_program():
    """The looks do not show what a later step replaces, nor a wrong path to Python."""
    starting = r"([A-Z_]+=\S+ )*\.\./\.venv/bin/python microdonuts\.py( --[a-z]+ \S+)*"
    comparing = "diff microdonuts.py ../microdonuts.py; diff kitchen.py ../kitchen.py"
    exercising = "SHOP=my-shop .venv-test/bin/python -m pytest -m exercise"
    for line in "".join(fences(WALKTHROUGH, "sh")).splitlines()[1:]:
        assert (
            re.fullmatch(starting, line)
            or "curl " in line
            and ("-o " not in line or "-o /dev/null" in line or "grep -o" in line)
            or line in (comparing, exercising)
        ), line
    files = [HERE / folder / file for folder in (".", "no-tracing") for file in FILES]
    known = " ".join(path.read_text().casefold() for path in files)
    for code in fences(WALKTHROUGH, "python"):
        for node in ast.walk(ast.parse(textwrap.dedent(code))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value.strip().removesuffix(".").casefold() in known, node.value
            elif isinstance(node, (ast.Attribute, ast.Name)):
                name = node.attr if isinstance(node, ast.Attribute) else node.id
                assert name.casefold() in known or name == "plain_line", name


# ---------------------------------------------------------------- the walkthrough's exercises


def traces_of(url, count):
    """Return {trace id: its spans}, as the page can read them, once `count` spans have ended."""

    def read():
        ids = [each["trace_id"] for each in ask(url, "GET", "/traces").body]
        found = {each: ask(url, "GET", f"/traces/{each}").body["spans"] for each in ids}
        ended = [span for spans in found.values() for span in spans if span["end_time"]]
        return len(ended) >= count and found

    return until(read, f"{count} spans")


# The header, and what it says: trace id, parent id, and whether the trace is sampled.
# fmt: off
JAEGER_HEADERS = [
    (f"{TRACE_ID}:{PARENT_ID}:0:1", (TRACE_ID, PARENT_ID, True)),
    (f"{TRACE_ID}:{PARENT_ID}:0:01", (TRACE_ID, PARENT_ID, True)),
    (f"{TRACE_ID}:{PARENT_ID}:0:3", (TRACE_ID, PARENT_ID, True)),
    (f"{TRACE_ID}:{PARENT_ID}:0:0", (TRACE_ID, PARENT_ID, False)),
    (f"{TRACE_ID}:{PARENT_ID}:0:2", (TRACE_ID, PARENT_ID, False)),
    (f"{TRACE_ID}:{PARENT_ID}:b7ad6b7169203331:1", (TRACE_ID, PARENT_ID, True)),
    ("1f:2a:0:1", ("1f".zfill(32), "2a".zfill(16), True)),
    *[(malformed, None) for malformed in (
        "", "nonsense", f"{TRACE_ID}:{PARENT_ID}:0", f"{TRACE_ID}:{PARENT_ID}:0:1:1", f"0:{PARENT_ID}:0:1", f"{TRACE_ID}:0:0:1",
        f"{TRACE_ID}0:{PARENT_ID}:0:1", f"{TRACE_ID}:{PARENT_ID}0:0:1", f"{TRACE_ID}:{PARENT_ID}:0:", f"{TRACE_ID}:{PARENT_ID}:0:x",
        f":{PARENT_ID}:0:1", "0x1f:2a:0:1", "1_f:2a:0:1", "-1f:2a:0:1", "1f: 2a:0:1",
    )],
]
# fmt: on


def check_jaeger(folder):
    """See that a shop reads and writes uber-trace-id."""
    with (
        FakeKitchen() as fake,
        Process("--kitchen", fake.url, folder=folder, OTEL_PROPAGATORS="jaeger") as shop,
    ):
        fields = ask(shop.url, "GET", "/traces").headers["Propagation-Fields"]
        assert fields == "uber-trace-id", f"inject should write uber-trace-id, and not {fields}"
        for header, told in JAEGER_HEADERS:
            fake.requests.clear()
            headers = [("uber-trace-id", header)]
            reply = ask(shop.url, "POST", "/order", SAMPLE, headers)
            assert reply.status == 200, f"{header!r}: {reply}"
            sent = fake.headers("uber-trace-id")
            trace_id = reply.headers["Server-Timing"].split("-")[1]
            is_sampled = told[2] if told else True
            spans = ask(shop.url, "GET", f"/traces/{trace_id}").body["spans"]
            if told:
                assert trace_id == told[0], f"{header!r} was not read: the trace is {trace_id}"
            else:
                assert trace_id not in (TRACE_ID, "1f".zfill(32)), f"{header!r} is malformed"
            parts = [
                re.fullmatch("([0-9a-f]{32}):([0-9a-f]{16}):0:0?([01])", each) for each in sent
            ]
            assert all(parts), f"sent: {sent}, but the flags that you send are 1 or 0"
            assert {part[1] for part in parts} == {trace_id}, f"sent: {sent}"
            assert {part[3] for part in parts} == {str(int(is_sampled))}, f"sent: {sent}"
            calls = [
                span["context"]["span_id"] for span in spans if span["kind"] == "SpanKind.CLIENT"
            ]
            roots = [span["parent_id"] for span in spans if span["name"] == "POST /order"]
            if is_sampled:
                assert [f"0x{part[2]}" for part in parts] == calls[-len(sent) :], f"sent: {sent}"
                parent = f"0x{told[1]}" if told else None
                assert roots[-1] == parent, f"{header!r}: the parent is {roots[-1]}"
                shown = "http.request.header.uber-trace-id"
                assert shown in spans[-1]["attributes"], "PROPAGATION_HEADERS lacks uber-trace-id"


def check_baggage_on_spans(folder):
    """See that a shop has each entry of the baggage on each span that starts within it."""
    with Process("--fry-seconds", "0", folder=folder) as shop:
        headers = [("baggage", "tenant=acme,http.route=%2Fevil")]
        ask(shop.url, "POST", "/order", SAMPLE, headers)
        [spans] = traces_of(shop.url, 10).values()
    for span in spans:
        name, attributes = span["name"], span["attributes"]
        assert attributes.get("baggage.tenant") == "acme", f"{name}: no baggage.tenant"
        assert attributes.get("baggage.http.route") == "/evil", f"{name}: no baggage.http.route"
        assert attributes.get("http.route") in (None, name.partition(" ")[2]), f"{name}: http.route"
        if name != "POST /order":
            order_id = attributes.get("baggage.microdonuts.order.id")
            assert order_id, f"{name}: no baggage.microdonuts.order.id"
    # A span may also be started in a context that is not the current one.
    program = (
        "import microdonuts; from opentelemetry import baggage, trace; "
        "provider = microdonuts.set_up_tracing(microdonuts.SpanStore()); "
        "other = baggage.set_baggage('tenant', 'other'); "
        "print(dict(trace.get_tracer('x').start_span('x', other).attributes)['baggage.tenant'])"
    )
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.stdout == "other\n", f"the baggage of parent_context: {done.stdout}{done.stderr}"


def check_linked_fry(folder):
    """See that each "fry" is a trace of its own, with a link to the request that brought it."""
    with Process("--fry-seconds", "0", folder=folder) as shop:
        ask(shop.url, "POST", "/order", SAMPLE)
        traces = traces_of(shop.url, 10).values()
    assert sorted(map(len, traces)) == [1, 1, 8], "two traces of fry alone, and one of the order"
    [order] = [spans for spans in traces if len(spans) == 8]
    fries = [spans[0] for spans in traces if len(spans) == 1]
    requests = [span["context"] for span in order if span["name"] == "POST /kitchen/add_donuts"]
    links = [link["context"] for fry in fries for link in fry["links"]]
    assert [fry["name"] for fry in fries] == ["fry", "fry"]
    assert [fry["parent_id"] for fry in fries] == [None, None], "fry has a parent"

    def in_order(contexts):
        return sorted((context["trace_id"], context["span_id"]) for context in contexts)

    assert in_order(links) == in_order(requests), "a link to each POST /kitchen/add_donuts"
    for fry in fries:
        assert "microdonuts.order.id" in fry["attributes"], "the baggage is lost"


JAEGER = """
UBER_TRACE_ID = re.compile(
    "(?!0+:)([0-9a-f]{1,32}):(?!0+:)([0-9a-f]{1,16}):[0-9a-f]{1,16}:([0-9a-f]{1,2})"
)


class Jaeger(TextMapPropagator):
    fields = {"uber-trace-id"}

    def extract(self, carrier, context=None, getter=default_getter):
        if context is None:
            context = Context()
        match = UBER_TRACE_ID.fullmatch((getter.get(carrier, "uber-trace-id") or [""])[0])
        if match is None:
            return context
        trace_id, span_id, flags = (int(group, 16) for group in match.groups())
        flags = TraceFlags(flags & TraceFlags.SAMPLED)
        sender = SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)
        return trace.set_span_in_context(NonRecordingSpan(sender), context)

    def inject(self, carrier, context=None, setter=default_setter):
        ids = trace.get_current_span(context).get_span_context()
        if ids.is_valid:
            header = f"{ids.trace_id:032x}:{ids.span_id:016x}:0:{ids.trace_flags.sampled:x}"
            setter.set(carrier, "uber-trace-id", header)


PROPAGATORS = {
    "jaeger": Jaeger(),
"""
BAGGAGE_ON_SPANS = """
class BaggageOnSpans(SpanProcessor):
    def on_start(self, span, parent_context=None):
        for key, value in baggage.get_all(parent_context).items():
            span.set_attribute(f"baggage.{key}", value)


def set_up_tracing(store):
"""
LINKED_FRY = """
                    links = [trace.Link(trace.get_current_span().get_span_context())]
                    root = trace.set_span_in_context(trace.INVALID_SPAN)
                    span = tracer.start_span("fry", root, attributes=attributes, links=links)
                    with use_span(span):
"""
STORED = "    provider.add_span_processor(store)\n"
# An exercise: its test, and a solution, as (file, text that is there once, text in its place).
# fmt: off
EXERCISES = {
    "Jaeger's header": (check_jaeger, [
        ("kitchen.py", "\nPROPAGATORS = {\n", JAEGER),
        ("kitchen.py", '"baggage", "b3", *B3_HEADERS)', '"baggage", "uber-trace-id", "b3", *B3_HEADERS)'),
    ]),
    "Baggage on every span": (check_baggage_on_spans, [
        ("microdonuts.py", "\ndef set_up_tracing(store):\n", BAGGAGE_ON_SPANS),
        ("microdonuts.py", STORED, f"{STORED}    provider.add_span_processor(BaggageOnSpans())\n"),
    ]),
    "fry as a trace of its own": (check_linked_fry, [
        ("kitchen.py", '\n                    with use_span(tracer.start_span("fry", attributes=attributes)):\n', LINKED_FRY),
    ]),
}
# What a learner may forget: the exercise, a piece of its solution, and what is there instead.
FORGOTTEN = [
    ("Jaeger's header", "UBER_TRACE_ID.fullmatch", "UBER_TRACE_ID.match"),
    ("Jaeger's header", "[0-9a-f]{1,32}", ".+"),
    ("Jaeger's header", "flags & TraceFlags.SAMPLED", "1"),
    ("Jaeger's header", "{ids.trace_flags.sampled:x}", "1"),
    ("Jaeger's header", '"uber-trace-id", "b3"', '"b3"'),
    ("Baggage on every span", "get_all(parent_context)", "get_all()"),
    ("Baggage on every span", 'f"baggage.{key}"', "key"),
    ("fry as a trace of its own", "attributes=attributes, links=links", "attributes=attributes"),
    ("fry as a trace of its own", '"fry", root', '"fry"'),
    ("fry as a trace of its own", "attributes=attributes, links=links", "links=links"),
]
# fmt: on


def solve(folder, title, piece="", instead=""):
    """Change a copy of the shop as the solution of an exercise does, but for a piece of it."""
    _, changes = EXERCISES[title]
    for file, old, new in changes:
        text = (folder / file).read_text()
        assert text.count(old) == 1, old
        new = new.replace(piece, instead) if piece else new
        (folder / file).write_text(text.replace(old, new))


@pytest.mark.exercise
@pytest.mark.parametrize("title", EXERCISES)
def test_your_solution_of_an_exercise(title):
    EXERCISES[title][0](HERE / os.environ.get("SHOP", "my-shop"))


@pytest.mark.parametrize("title", EXERCISES)
def test_an_exercise_can_be_solved_and_is_not_solved_yet(title, tmp_path):
    folder = copy_shop(tmp_path, HERE)
    with pytest.raises(AssertionError):
        EXERCISES[title][0](folder)
    solve(folder, title)
    EXERCISES[title][0](folder)


@pytest.mark.parametrize(("title", "piece", "instead"), FORGOTTEN)
def test_an_exercise_is_not_solved_if_something_was_forgotten(title, piece, instead, tmp_path):
    folder = copy_shop(tmp_path, HERE)
    solve(folder, title, piece, instead)
    with pytest.raises(AssertionError):
        EXERCISES[title][0](folder)


def test_the_exercises_are_those_of_the_walkthrough():
    text = WALKTHROUGH.partition("\n## What to try next\n")[2]
    found = re.findall(r"(?m)^\d\. \*\*(.+)\.\*\*", text)
    assert [title.replace("`", "") for title in found] == list(EXERCISES)


# ---------------------------------------------------------------- under load and faults

THREE = {"donuts": [{"flavor": "glazed", "quantity": 2}, {"flavor": "jelly", "quantity": 1}]}


def buy(url, count, connections, replies):
    """Start threads that place `count` orders, and add each Reply or exception to `replies`."""
    left = iter(range(count))

    def customer():
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=3 * DEADLINE)
        for _ in left:
            try:
                connection.request("POST", "/order", json.dumps(THREE))
                answer = connection.getresponse()
                replies.append(Reply(answer.status, answer.headers, json.loads(answer.read())))
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                replies.append(error)
        connection.close()

    customers = [threading.Thread(target=customer) for _ in range(connections)]
    for each in customers:
        each.start()
    return customers


def annoy(url, done, answers):
    """Be clients that stall, vanish, send byte by byte, or send no HTTP, until `done` is set.

    Add to `answers` what came back to those who send byte by byte, and to those who send no HTTP.
    """
    whole, stalled = post("/order", json.dumps(THREE).encode()), []
    while not done.wait(0.1):
        with contextlib.suppress(OSError):
            stalled = stalled[-20:] + [
                socket.create_connection(url.removeprefix("http://").split(":"))
            ]
            stalled[-1].sendall(whole[:-5])
            with socket.create_connection(url.removeprefix("http://").split(":")) as vanishing:
                vanishing.sendall(whole)
            with socket.create_connection(
                url.removeprefix("http://").split(":"), timeout=DEADLINE
            ) as slow:
                for byte in get("/kitchen/get_donuts?order_id=x", "Connection: close"):
                    slow.sendall(bytes([byte]))
                answers.append(slow.recv(12))
            answers.append(send_raw(url, os.urandom(50) + b"\r\n\r\n")[:12])
    for connection in stalled:
        connection.close()


def usage(process):
    """Return the threads, the open files and the MiB in memory of a process."""
    folder = pathlib.Path(f"/proc/{process.process.pid}")
    size = int(re.search(r"VmRSS:\s+(\d+)", (folder / "status").read_text())[1]) / 1024
    return len(os.listdir(folder / "task")), len(os.listdir(folder / "fd")), size


def check_lines(lines):
    """Return the fields of the terminal's lines, each of which must have its parent among them."""
    rows = [LINE.fullmatch(line).groups() for line in lines]
    ids = {row[6] for row in rows}
    assert len(ids) == len(rows)
    orphans = [row for row in rows if row[8] and row[8] not in ids]
    assert not orphans, orphans[:3]
    return rows


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("count", "connections"),
    [(300, 32), pytest.param(50_000, 256, marks=pytest.mark.soak)],
    ids=["short", "soak"],
)
def test_under_load_nothing_is_lost_and_all_comes_back_to_where_it_began(count, connections):
    with Process("--fry-seconds", "0") as shop:
        for each in buy(shop.url, 50, 8, warm := []):
            each.join()
        before, sizes = usage(shop), []
        done, replies, answers = threading.Event(), [], []
        pest = threading.Thread(target=annoy, args=(shop.url, done, answers))
        pest.start()
        for part in (count // 5, count - count // 5):
            for each in buy(shop.url, part, connections, replies):
                each.join()
            sizes.append(usage(shop)[2])
        done.set()
        pest.join(DEADLINE)
        # Of what is no HTTP, a first line that is empty ends the connection without an answer.
        refused = [f"HTTP/1.1 {status}".encode() for status in (400, 404, 414, 501, 505)]
        assert b"HTTP/1.1 404" in answers and set(answers) <= {b"", *refused}, set(answers)
        assert {getattr(reply, "status", reply) for reply in warm + replies} == {200}
        ours = {reply.body["order_id"] for reply in replies[-1000:]}
        until(
            lambda: (
                {donut["status"] for donut in ask(shop.url, "GET", "/kitchen/get_donuts").body}
                == {"ready"}
            )
        )
        donuts = ask(shop.url, "GET", "/kitchen/get_donuts").body
        counts = collections.Counter(donut["order_id"] for donut in donuts)
        assert all(counts[order_id] == 3 for order_id in ours)
        assert len(donuts) <= kitchen.MAX_REMEMBERED
        until(lambda: usage(shop)[0] <= before[0] and usage(shop)[1] <= before[1] + 2, "rest")
        if count >= 50_000:
            # After 10,000 orders, all that is remembered has reached its bound. What is added later
            # is the allocator's fragments.
            assert sizes[1] <= 1.15 * sizes[0], sizes
        assert shop.stop() == 0
    rows = check_lines(shop.out)
    fried = collections.Counter(row[8] for row in rows if row[2] == "fry ok")
    assert set(fried.values()) == {1}  # none twice: one "fry" below each add_donuts
    added = {row[6] for row in rows if row[2] == "POST /kitchen/add_donuts 200"}
    assert added == set(fried) and len(added) >= 3 * (count + 50)
    assert all("hung up before its answer" in line for line in shop.err[1:]), shop.err[1:5]


@pytest.mark.soak
def test_the_memory_is_bounded_whatever_strangers_send_and_however_many_read():
    def send(traces):
        connection = http.client.HTTPConnection(shop.url.removeprefix("http://"), timeout=DEADLINE)
        for number in range(25_000):
            header = f"00-{number % traces + 1:032x}-{1:016x}-01"
            headers = {"User-Agent": "x" * 30_000, "traceparent": header}
            connection.request("GET", "/kitchen/get_donuts?order_id=x", headers=headers)
            connection.getresponse().read()
        connection.close()

    def read(path):
        assert int(ask(shop.url, "GET", path).headers["Content-Length"]) < 1_010_000

    def order_meanwhile(threads):
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            replies.append(ask(shop.url, "POST", "/order", SAMPLE).status)
            sizes.append(usage(shop)[2])
            time.sleep(0.5)

    replies, sizes = [], []
    with Process("--fry-seconds", "0", OTEL_TRACES_EXPORTER="none") as shop:
        ask(shop.url, "POST", "/order", SAMPLE)
        before = usage(shop)
        for traces in (200, 1):
            order_meanwhile([threading.Thread(target=send, args=(traces,)) for _ in range(2)])
            for path in (f"/traces/{1:032x}", "/traces"):
                order_meanwhile([threading.Thread(target=read, args=(path,)) for _ in range(30)])
        until(lambda: usage(shop)[:2] <= (before[0], before[1] + 2), "rest")
        assert shop.stop() == 0
    assert set(replies) == {200} and max(sizes) < 200, max(sizes)


@pytest.mark.parametrize(
    ("count", "connections"),
    [(150, 8), pytest.param(5_000, 64, marks=pytest.mark.soak)],
    ids=["short", "soak"],
)
def test_a_kitchen_that_is_killed_and_comes_back_costs_only_the_orders_it_had(count, connections):
    port = free_port()
    first = Process("--fry-seconds", "0", "--port", port)
    with Process("--kitchen", first.url) as shop:
        replies = []
        customers = buy(shop.url, count, connections, replies)
        until(lambda: len(replies) > count // 3)
        first.stop(signal.SIGKILL)
        until(lambda: any(reply.status != 200 for reply in replies), "an error")
        with Process("--fry-seconds", "0", "--port", port) as second:
            for each in customers:
                each.join()
            more = buy(second.url and shop.url, 20, 2, after := [])
            for each in more:
                each.join()
            assert [reply.status for reply in after] == [200] * 20
            for reply in after:
                until(
                    lambda reply=reply: (
                        states_of(second.url, reply.body["order_id"]) == ["ready"] * 3
                    )
                )
            assert shop.stop() == 0 and second.stop() == 0
    assert len(replies) == count and {reply.status for reply in replies} <= {200, 502, 504}
    for reply in replies:
        if reply.status != 200:
            assert re.match(
                r"Order [0-9a-f-]{36} failed with \d of 3 donuts accepted. The kitchen ",
                reply.body["error"],
            )
    assert len(shop.err) == 1, shop.err[:5]


@pytest.mark.parametrize(
    "connections", [16, pytest.param(256, marks=pytest.mark.soak)], ids=["short", "soak"]
)
def test_sigterm_under_load_answers_all_who_are_in_and_loses_no_span(connections):
    with Process("--fry-seconds", "0") as shop:
        customers = buy(shop.url, 50 * connections, connections, replies := [])
        until(lambda: len(replies) > 2 * connections)
        assert shop.stop() == 0
        for each in customers:
            each.join()
    answers = [reply for reply in replies if isinstance(reply, Reply)]
    closing = {"error": "The shop is closing: order again when it is open."}
    assert {reply.status for reply in answers} == {200, 503}
    assert all(reply.body == closing for reply in answers if reply.status == 503)
    # Those who came when it was closed could not connect.
    assert all(isinstance(reply, (Reply, ConnectionError)) for reply in replies)
    rows = check_lines(shop.out)
    names = collections.Counter(row[2] for row in rows)
    assert [names["POST /order 200"], names["POST /order 503"]] == [
        sum(reply.status == status for reply in answers) for status in (200, 503)
    ]
    fried = collections.Counter(row[8] for row in rows if row[2] == "fry ok")
    assert set(fried.values()) == {1} and len(shop.err) == 1, shop.err[:5]


# ---------------------------------------------------------------- the page, in a real Chromium

CHROMIUM, DRIVER = (
    shutil.which("chromium") or shutil.which("google-chrome"),
    shutil.which("chromedriver"),
)
AXE = resources.files("axe_playwright_python") / "axe.min.js"
browser_test = pytest.mark.browser
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1280,1000"
).split()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """One browser for all the tests of the page."""
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs Chromium: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@contextlib.contextmanager
def window(driver, width):
    """A browser that is so many pixels wide; below 800 it is a phone's."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 800}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        yield
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


class Page:
    """What a person does on the page, and sees there."""

    def __init__(self, driver, url):
        self.driver = driver
        driver.get("about:blank")
        driver.get_log("browser")
        driver.get(url)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def count(self, selector):
        return self.run("return document.querySelectorAll(arguments[0]).length", selector)

    def one(self, selector):
        return until(lambda: self.all(selector), selector)[0]

    def text(self, selector):
        return self.one(selector).text

    def add(self, flavor):
        self.one(f"[data-flavor={flavor}] button").click()

    def order(self, *flavors):
        """Place an order. The clicks come from a script: a mouse can miss a button that moves."""
        for flavor in flavors:
            self.press(f"[data-flavor={flavor}] button")
        self.press("#order-button")

    def press(self, selector):
        button = self.one(selector)
        assert button.is_displayed() and button.is_enabled(), selector
        self.run("arguments[0].click()", button)

    def wait_for_donuts(self):
        """Wait until the order is ready. If the page shows an error, fail with its sentence."""

        def state():
            assert not self.text("#error"), self.text("#error")
            return self.one("#order").get_attribute("data-state")

        until(lambda: state() == "ready", "the end of the order")

    def button(self, name):
        return until(
            lambda: [
                button
                for button in self.all("button")
                if button.accessible_name == name and button.is_displayed()
            ],
            name,
        )[0]

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def problems(self):
        """What the browser's console says, but for its own line about each refused request."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if "Failed to load resource" not in entry["message"]
        ]

    def violations(self):
        """What axe-core finds, in light and in dark."""
        self.driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
        found = []
        for scheme in ("light", "dark"):
            features = [
                {"name": "prefers-color-scheme", "value": scheme},
                {"name": "prefers-reduced-motion", "value": "reduce"},
            ]  # no colour on its way to another
            self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            self.run(AXE.read_text())
            result = self.driver.execute_async_script(
                "axe.run().then(arguments[arguments.length - 1])"
            )
            found += [
                (scheme, item["id"], [node["html"] for node in item["nodes"]])
                for item in result["violations"]
            ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        self.driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": False})
        return found


@pytest.fixture(scope="module")
def slow_shop(provider):
    """A shop whose donuts take a moment, for the page."""
    server = start(fry_seconds=0.2)
    yield server
    server.close()


@browser_test
def test_an_order_by_clicking_from_the_menu_to_ready(chromium, slow_shop):
    page = Page(chromium, slow_shop.url)
    assert "MicroDonuts" in chromium.title and len(page.all("[data-flavor] svg")) == 6
    page.add("glazed")
    page.add("glazed")
    page.add("jelly")
    page.button("Remove one glazed").click()
    assert page.text("#total") == "2 donuts in all"
    page.one("#order-button").click()
    page.wait_for_donuts()
    assert [tile.get_attribute("data-state") for tile in page.all("#donuts li")] == [
        "ready",
        "ready",
    ]
    assert "ready" in page.text("#state") and page.text("#countdown") == "Ready!"
    bar = page.one("#progress")
    assert bar.get_attribute("value") == bar.get_attribute("max")
    page.one("#new-order").click()
    assert page.one("#menu").is_displayed() and not page.one("#order").is_displayed()
    assert page.problems() == []


@browser_test
def test_an_order_by_keyboard_alone(chromium, slow_shop):
    page = Page(chromium, slow_shop.url)
    keys = webdriver.common.keys.Keys

    def press_at(name):
        for _ in range(60):
            if chromium.switch_to.active_element.accessible_name == name:
                return chromium.switch_to.active_element.send_keys(keys.ENTER)
            webdriver.ActionChains(chromium).send_keys(keys.TAB).perform()
        raise AssertionError(f"no way to {name} with Tab")

    press_at("Add one jelly")
    press_at("Order")
    page.wait_for_donuts()
    press_at(page.text("#new-order"))
    assert page.one("#menu").is_displayed()


@browser_test
def test_the_page_shows_the_servers_sentence_when_the_kitchen_is_down(chromium, provider):
    shop = start("http://127.0.0.1:1")
    page = Page(chromium, shop.url)
    page.order("glazed")
    until(lambda: page.text("#error"))
    assert re.fullmatch(
        r"Order [0-9a-f-]{36} failed with 0 of 1 donuts accepted. The kitchen at http://127.0.0.1:1 "
        r"gave no usable answer \(ConnectionRefusedError\): start it, or look at its terminal.",
        page.text("#error"),
    )
    assert (
        page.one("#error").get_attribute("role") == "alert"
        and page.one("#order-button").is_enabled()
    )
    shop.close()


@browser_test
def test_an_empty_box_and_a_shop_that_is_gone_are_explained(chromium, provider):
    shop = start()
    page = Page(chromium, shop.url)
    page.one("#order-button").click()
    assert page.text("#error") == "Your box is empty: add a donut from the menu, then order."
    shop.close()
    page.order("glazed")
    until(lambda: "does not answer" in page.text("#error"))


@browser_test
def test_the_page_polls_no_more_often_than_every_two_seconds(chromium, provider, spans):
    shop = start(fry_seconds=1)
    page = Page(chromium, shop.url)
    page.order("glazed", "glazed", "glazed", "glazed")
    page.wait_for_donuts()
    shop.close()
    polls = [span.start_time / 1e9 for span in named(spans.all(), "POST /status")]
    assert 2 <= len(polls) <= 4 and all(
        later - earlier >= 2 for earlier, later in zip(polls, polls[1:], strict=False)
    )


@browser_test
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_and_axe_core_finds_nothing(chromium, slow_shop, width):
    with window(chromium, width):
        page = Page(chromium, slow_shop.url)
        fits = "return document.documentElement.scrollWidth <= innerWidth"
        assert page.violations() == [] and page.run(fits)
        page.order("glazed", "sprinkles")
        assert page.violations() == [] and page.run(fits)
        page.wait_for_donuts()
        assert page.violations() == [] and page.run(fits)


def test_the_page_is_whole_without_script_and_asks_for_nothing_from_elsewhere(shop):
    reply = ask(shop.url, "GET", "/")
    html = reply.body.decode()
    assert (
        all(f"<h3>{flavor.capitalize()}</h3>" in html for flavor in microdonuts.FLAVORS)
        and "<noscript>" in html
    )
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=\"/static/)", html)
    for name in os.listdir(HERE / "static"):
        text = ask(shop.url, "GET", f"/static/{name}").body
        assert not re.search(rb"""\b(src|href|url|import|fetch)\W{1,3}(https?:)?//""", text), name
    policy = reply.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


def test_the_static_files_are_those_of_the_folder_and_links_are_not_followed(tmp_path):
    shutil.copy(HERE / "kitchen.py", tmp_path)
    shutil.copy(HERE / "microdonuts.py", tmp_path)
    shutil.copytree(HERE / "static", tmp_path / "static")
    (tmp_path / "static" / "link.css").symlink_to("/etc/passwd")
    with Process(folder=tmp_path) as shop:
        for name in os.listdir(HERE / "static"):
            reply = ask(shop.url, "GET", f"/static/{name}")
            assert (reply.status, reply.body) == (200, (HERE / "static" / name).read_bytes())
        assert ask(shop.url, "GET", "/static/link.css").status == 404


# ---------------------------------------------------------------- the trace on the page


def trace_of(page, url):
    """The trace that the page shows, as the shop's read-out has it, once it is whole and drawn."""
    trace_id = until(lambda: page.run("return location.hash")[1:33], "a trace in the address")

    def whole():
        spans = ask(url, "GET", f"/traces/{trace_id}").body["spans"]
        return (
            page.count("#rows [data-span-id]") == len(spans)
            and all(span["end_time"] for span in spans)
            and not page.count("#rows [data-open]")
            and spans
        )

    return trace_id, until(whole, "the whole trace")


def drawn_rows(page):
    """What the rows say: (level, span id or the CLIENT's id and "hop", text)."""
    return page.run("""return [...document.querySelectorAll("#rows [role=row]")].map((row) => [
        Number(row.ariaLevel), row.dataset.spanId ?? row.dataset.hop + "/hop", row.textContent])""")


def in_call_order(spans, parent_id=None, level=1):
    """[(level, span id), ...] of the SDK's JSON spans: the tree that the page must show."""
    known = {span["context"]["span_id"] for span in spans}
    found = []
    for span in sorted(spans, key=lambda span: span["start_time"]):
        if (span["parent_id"] if span["parent_id"] in known else None) == parent_id:
            found += [
                (level, span["context"]["span_id"][2:]),
                *in_call_order(spans, span["context"]["span_id"], level + 1),
            ]
    return found


@browser_test
def test_the_trace_of_the_order_just_placed_is_drawn_as_the_tree_it_is(chromium, slow_shop):
    page = Page(chromium, slow_shop.url)
    page.order("glazed", "jelly")
    trace_id, spans = trace_of(page, slow_shop.url)
    grid = page.one("[role=treegrid]")
    assert grid.accessible_name.startswith("Trace") and len(spans) == 10
    rows = [(level, key) for level, key, _ in drawn_rows(page) if not key.endswith("/hop")]
    assert rows == in_call_order(spans)
    by_id = {span["context"]["span_id"][2:]: span for span in spans}
    for _, key, text in drawn_rows(page):
        if not key.endswith("/hop"):
            kind = by_id[key]["kind"].removeprefix("SpanKind.")
            assert kind in text and by_id[key]["name"] in text and re.search(r"\d (µs|ms|s)", text)
    assert [page.text("#traces-note"), page.text("#trace-note")] == ["", ""]
    link = page.one(f"#traces a[href='#{trace_id}']")
    assert "10 spans" in link.text and page.problems() == []


@browser_test
def test_the_hop_is_the_header_that_crossed_taken_apart(chromium, slow_shop):
    page = Page(chromium, slow_shop.url)
    page.order("glazed")
    trace_id, spans = trace_of(page, slow_shop.url)
    clients = [span for span in spans if span["kind"] == "SpanKind.CLIENT"]
    hops = page.all("#rows [data-hop]")
    assert [hop.get_attribute("data-hop") for hop in hops] == [
        span["context"]["span_id"][2:] for span in clients
    ]
    for hop, client in zip(hops, clients, strict=True):
        part = {
            name: hop.find_element("css selector", f"[data-part={name}]").get_attribute(
                "textContent"
            )
            for name in ("version", "trace-id", "parent-id", "flags")
        }
        client_id, [sent] = (
            client["context"]["span_id"][2:],
            client["attributes"]["http.request.header.traceparent"],
        )
        for name, value in zip(part, sent.split("-"), strict=True):
            assert value in part[name]
        assert trace_id in part["trace-id"] and client_id in part["parent-id"]
    hops[0].click()
    bits = [bit.text for bit in until(lambda: page.all("#span [data-bit]"))]
    assert any("1" in bit and "sampled" in bit for bit in bits) and any(
        "random" in bit for bit in bits
    )
    assert clients[0]["context"]["span_id"][2:] in page.text("#span .parts [data-part=parent-id]")


@browser_test
@pytest.mark.parametrize(
    ("kind", "call", "function"),
    [
        ("CLIENT", "propagate.inject(", "kitchen.exchange"),
        ("SERVER", "propagate.extract(", "microdonuts.trace_request"),
    ],
)
def test_a_span_shows_the_function_that_started_it(chromium, slow_shop, kind, call, function):
    page = Page(chromium, slow_shop.url)
    page.order("glazed")
    trace_id, spans = trace_of(page, slow_shop.url)
    span = [span for span in spans if span["kind"] == f"SpanKind.{kind}"][-1]
    page.one(f"[data-span-id='{span['context']['span_id'][2:]}']").click()
    marked = until(lambda: page.all("#code [data-marked]"))[0]
    line = span["attributes"]["code.line.number"]
    source = pathlib.Path(span["attributes"]["code.file.path"]).read_text().splitlines()
    assert marked.get_attribute("data-line") == str(line)
    assert source[line - 1].strip() in marked.get_attribute("textContent")
    shown = [row.get_attribute("textContent") for row in page.all("#code [data-line]")]
    assert (
        any(call in text for text in shown)
        and "def " in shown[0]
        and function in page.text("#code-title")
    )
    assert str(line) in page.text("#code-title")
    numbers = [int(row.get_attribute("data-line")) for row in page.all("#code [data-line]")]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    for name, value in span["attributes"].items():
        assert name in page.text("#attributes") and str(
            value if not isinstance(value, list) else value[0]
        ).replace(" ", "") in page.text("#attributes").replace(" ", "").replace("\n", "")
    assert page.run("return location.hash") == f"#{trace_id}/{span['context']['span_id'][2:]}"


@browser_test
def test_the_grid_by_keyboard_alone(chromium, slow_shop):
    page = Page(chromium, slow_shop.url)
    page.order("glazed")
    trace_of(page, slow_shop.url)
    keys = webdriver.common.keys.Keys
    assert len(page.all("#rows [role=row][tabindex='0']")) == 1

    def press(key):
        page.one("#rows [role=row][tabindex='0']").send_keys(key)
        return page.all("#rows [role=row]").index(page.one("#rows [role=row][tabindex='0']"))

    last = len(page.all("#rows [role=row]")) - 1
    assert [
        press(key)
        for key in (keys.HOME, keys.ARROW_DOWN, keys.ARROW_DOWN, keys.END, keys.ARROW_UP, keys.HOME)
    ] == [0, 1, 2, last, last - 1, 0]
    press(keys.ENTER)
    assert page.one("#rows [aria-selected=true]") == page.all("#rows [role=row]")[0]
    press(keys.ARROW_LEFT)
    assert page.all("#rows [role=row]")[0].get_attribute("aria-expanded") == "false"
    assert len([row for row in page.all("#rows [role=row]") if row.is_displayed()]) == 1
    press(keys.ARROW_RIGHT)
    assert page.all("#rows [role=row]")[0].get_attribute("aria-expanded") == "true"
    webdriver.ActionChains(chromium).send_keys(keys.TAB).perform()
    assert not page.run("return document.getElementById('rows').contains(document.activeElement)")


@browser_test
def test_an_address_opens_what_it_names(chromium, slow_shop):
    reply = ask(slow_shop.url, "POST", "/order", SAMPLE)
    trace_id = reply.headers["Server-Timing"].split("-")[1]
    spans = until(
        lambda: (
            len(found := ask(slow_shop.url, "GET", f"/traces/{trace_id}").body["spans"]) == 10
            and found
        )
    )
    client_id = [
        span["context"]["span_id"][2:] for span in spans if span["kind"] == "SpanKind.CLIENT"
    ][0]
    page = Page(chromium, f"{slow_shop.url}/#{trace_id}")
    until(lambda: len(page.all("#rows [data-span-id]")) == 10)
    chromium.get(f"{slow_shop.url}/#{trace_id}/{client_id}")
    row = until(lambda: page.all(f"[data-span-id='{client_id}'][aria-selected=true]"))[0]
    assert row.is_displayed() and "inject" in page.text("#code")
    chromium.back()
    until(lambda: not page.all("[aria-selected=true]"))
    chromium.get(f"{slow_shop.url}/#{'f' * 32}")
    sentence = "This trace is not remembered: it was not sampled, or is too long ago."
    until(lambda: page.text("#trace-note") == sentence)


@browser_test
def test_a_link_is_followed_from_a_status_check_to_its_order_and_back(chromium, slow_shop):
    order = ask(slow_shop.url, "POST", "/order", SAMPLE)
    check = ask(slow_shop.url, "POST", "/status", {"order_id": order.body["order_id"]})
    order_trace, check_trace = (
        reply.headers["Server-Timing"].split("-")[1] for reply in (order, check)
    )
    page = Page(chromium, f"{slow_shop.url}/#{check_trace}")
    until(lambda: [row for row in page.all("#rows [data-span-id]") if "status" in row.text])
    [row for row in page.all("#rows [data-span-id]") if "INTERNAL" in row.text][0].click()
    page.one("#links a").click()
    until(lambda: page.run("return location.hash").startswith(f"#{order_trace}/"))
    until(lambda: "order" in page.text("#span-title"), "the order's span")
    until(lambda: page.all(f"#links a[href^='#{check_trace}']"), "the way back")


@browser_test
def test_two_processes_are_two_services_on_the_page(chromium):
    with Process("--fry-seconds", "0.1", OTEL_SERVICE_NAME="kitchen") as back:
        with Process("--kitchen", back.url) as front:
            page = Page(chromium, front.url)
            page.order("glazed")
            trace_id, spans = trace_of(page, front.url)
            assert len(spans) == 7
            assert [page.text("#services"), "kitchen" in page.text("#services")][1]
            assert "microdonuts" in page.text("#services")
            assert {
                row.get_attribute("data-service") for row in page.all("#rows [data-span-id]")
            } == {"0", "1"}
            back.stop()
            chromium.refresh()
            until(lambda: "does not show its spans" in page.text("#trace-note"))
            assert len(page.all("#rows [data-span-id]")) == 4
            front.stop()


def test_two_shops_pointed_at_each_other_do_not_ask_in_circles(provider):
    with FakeKitchen() as fake:
        shop = start(fake.url)
        reply = ask(shop.url, "POST", "/order", SAMPLE)
        trace_id = reply.headers["Server-Timing"].split("-")[1]
        ask(shop.url, "GET", f"/traces/{trace_id}?here")
        assert len(fake.requests) == 3
        fake.script = lambda path: kitchen_answer({"error": "no such trace"}, "404 Not Found")
        read_out = ask(shop.url, "GET", f"/traces/{trace_id}").body
        assert (
            fake.requests[3].startswith(f"GET /traces/{trace_id}?here ")
            and "traceparent" not in fake.requests[3]
        )
        assert len(read_out["spans"]) == 5 and read_out["missing"] is None
        shop.close()


@browser_test
def test_a_broken_kitchen_is_a_trace_with_its_error(chromium, provider):
    with Process("--kitchen", "http://127.0.0.1:1") as shop:
        page = Page(chromium, shop.url)
        page.order("glazed")
        until(lambda: page.text("#error"))
        until(lambda: page.all("#traces a"), "the list")[0].click()
        until(lambda: len(page.all("#rows [data-error]")) == 3)
        assert "error" in page.text("#traces a")
        [row for row in page.all("#rows [data-span-id]") if "CLIENT" in row.text][0].click()
        assert "ConnectionRefusedError" in until(
            lambda: page.text("#span")
        ) and "exception" in page.text("#span")


@browser_test
def test_what_a_header_carries_is_text_and_never_markup(chromium, slow_shop):
    evil = "<img src=x onerror=document.title='hacked'>"
    headers = [
        ("User-Agent", evil),
        ("baggage", f"a={evil}"),
        ("tracestate", f"a={evil}"),
        ("traceparent", evil),
    ]
    reply = ask(
        slow_shop.url, "GET", f"/kitchen/get_donuts?{evil.replace(' ', '%20')}", None, headers
    )
    trace_id, span_id = reply.headers["Server-Timing"].split("-")[1:3]
    page = Page(chromium, f"{slow_shop.url}/#{trace_id}/{span_id}")
    until(lambda: evil in page.text("#attributes"))
    assert not page.all("#trace img") and chromium.title != "hacked" and page.problems() == []


@browser_test
def test_a_trace_that_was_not_sampled_is_explained(chromium):
    with Process(OTEL_TRACES_SAMPLER="always_off") as shop:
        page = Page(chromium, shop.url)
        until(
            lambda: (
                page.text("#traces-note")
                == "No trace is remembered yet: order a donut, here or with curl, and "
                "look again."
            )
        )
        page.order("glazed")
        until(lambda: page.text("#trace-note").startswith("This order was not sampled"))


@browser_test
def test_the_shop_before_tracing_says_where_to_begin(chromium, untraced):
    page = Page(chromium, untraced.url)
    sentence = "This shop is not traced yet: the walkthrough in README.md says where to begin."
    until(lambda: page.text("#traces-note") == sentence)
    page.order("glazed")
    page.wait_for_donuts()


@browser_test
def test_a_hundred_donuts_are_folded_and_only_rows_that_change_are_touched(chromium, provider):
    shop = start(fry_seconds=0.05)
    page = Page(chromium, shop.url)
    basket = {"donuts": [{"flavor": "glazed", "quantity": 100}]}
    trace_id = ask(shop.url, "POST", "/order", basket).headers["Server-Timing"].split("-")[1]
    chromium.get(f"{shop.url}/#{trace_id}")
    until(lambda: page.count("#rows .more"))
    assert page.count("#rows [role=row]") < 20
    page.one("#rows .more").click()
    until(lambda: page.count("#rows [data-span-id]") > 150)
    page.run("""window.batches = [];
        new MutationObserver((records) => batches.push(new Set(records.flatMap(({ target, addedNodes }) =>
            [target, ...addedNodes]).map((node) => node.closest?.("#rows [role=row]")?.dataset.key).filter(Boolean))
        )).observe(document.querySelector("#rows"),
                   { subtree: true, childList: true, attributes: true, characterData: true });""")
    until(lambda: page.run("return batches.length") >= 2)
    touched = page.run("return batches.map((keys) => keys.size)")
    until(lambda: page.count("#rows [data-span-id]") == 304 and not page.count("#rows [data-open]"))
    shop.close()
    assert 0 < max(touched) <= 90, (
        touched
    )  # about 20 fry in the second between two polls, each with its SERVER row


@browser_test
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_core_finds_nothing_in_a_trace(chromium, slow_shop, width):
    with window(chromium, width):
        page = Page(chromium, slow_shop.url)
        page.order("glazed", "jelly")
        trace_of(page, slow_shop.url)
        page.wait_for_donuts()
        for selector in ("#rows [data-span-id]", "#rows [data-hop]"):
            page.all(selector)[-1].click()
            until(lambda: page.all("#rows [aria-selected=true]"))
            assert page.violations() == []
            assert page.run("return document.documentElement.scrollWidth <= innerWidth")


def started(span):
    return span["start_time"]


@browser_test
def test_with_a_kitchen_in_another_process_every_tile_the_countdown_and_the_bar_go_on(chromium):
    with Process("--fry-seconds", "0.6", OTEL_SERVICE_NAME="kitchen") as back:
        with Process("--kitchen", back.url) as front:
            page = Page(chromium, front.url)
            page.order("glazed", "jelly")
            until(lambda: page.all("#donuts li"))
            assert re.fullmatch(r"[12] s", page.text("#countdown"))
            page.wait_for_donuts()
            tiles = [
                (tile.get_attribute("data-state"), tile.text.lower())
                for tile in page.all("#donuts li")
            ]
            assert tiles == [("ready", "glazed\nready"), ("ready", "jelly\nready")]
            assert page.text("#countdown") == "Ready!" and page.text("#state").endswith("warm.")
            bar = page.one("#progress")
            assert bar.get_attribute("value") == bar.get_attribute("max")
            asked = page.run(
                "return performance.getEntriesByType('resource').map(({ name }) => name)"
            )
            assert not [name for name in asked if "/kitchen/" in name], "one poll is one request"


@browser_test
def test_only_a_span_whose_context_crossed_in_a_header_has_an_arrow(chromium, slow_shop):
    page = Page(chromium, slow_shop.url)
    page.order("glazed")
    trace_of(page, slow_shop.url)
    arrows = page.run("""return [...document.querySelectorAll("#rows .kind")].map((kind) =>
        [kind.textContent, getComputedStyle(kind, "::before").content])""")
    assert arrows == [
        ["SERVER", "none"],
        ["INTERNAL", "none"],
        ["CLIENT", '"→ "'],
        ["SERVER", '"← "'],
        ["INTERNAL", "none"],
        ["CLIENT", '"→ "'],
        ["SERVER", '"← "'],
    ]


@browser_test
def test_a_span_that_ran_in_another_thread_than_its_parent_says_so(chromium, slow_shop):
    page = Page(chromium, slow_shop.url)
    page.order("glazed")
    _, spans = trace_of(page, slow_shop.url)
    by_id = {span["context"]["span_id"][2:]: span["attributes"] for span in spans}
    parent = {span["context"]["span_id"][2:]: (span["parent_id"] or "0x")[2:] for span in spans}
    said = []
    for _, key, text in drawn_rows(page):
        if key in by_id:
            thread = by_id[key]["thread.id"], by_id[key]["thread.name"]
            above = by_id.get(parent[key])
            moved = above and thread != (above["thread.id"], above["thread.name"])
            assert (f"in the thread {thread[1]}" in text) == bool(moved)
            said += [thread[1]] if moved else []
    assert len(said) == 3 and said[1] == "fryer"
    assert re.fullmatch(r"connection from .*[0-9]+", said[0])


@browser_test
def test_the_time_axis_grows_smoothly_between_polls(chromium, provider):
    shop = start(fry_seconds=2.5)
    page = Page(chromium, shop.url)
    page.order("glazed")
    until(lambda: page.count("#rows [data-open]"))
    lengths = chromium.execute_async_script("""
        const done = arguments[arguments.length - 1], lengths = [];
        const timer = setInterval(() => {
            lengths.push(Number(getComputedStyle(document.querySelector("#grid")).getPropertyValue("--total")));
            if (lengths.length === 15) { clearInterval(timer); done(lengths); }
        }, 100);""")
    trace_of(page, shop.url)
    shop.close()
    steps = [later - earlier for earlier, later in zip(lengths, lengths[1:], strict=False)]
    assert all(step >= 0 for step in steps) and sum(step > 0 for step in steps) >= 10, lengths
    assert max(steps) < 600_000, lengths  # microseconds: a poll is each second


@browser_test
def test_the_page_says_where_its_own_polls_are_listed(chromium, slow_shop):
    page = Page(chromium, slow_shop.url)
    page.order("glazed")
    until(lambda: "POST /status" in page.text("#polls-note"))
    assert page.one("#polls-note").is_displayed()


def test_the_page_has_a_description(shop):
    html = ask(shop.url, "GET", "/").body.decode()
    assert re.search(r'<meta name="description" content="[^"]{50,160}">', html)


# ---------------------------------------------------------------- the page: send a header of your own

# What comes of each ready experiment: whether it is the same trace, whether it is recorded, the sections of the rules.
# fmt: off
READY = {
    None: {
        "your own trace": (True, True, ["Level 2, 5.1.2", "Level 2, 3.2.2.5.1"]),
        "not sampled": (True, False, ["Level 2, 5.1.2", "Level 2, 3.2.2.5.1"]),
        "upper case": (False, True, ["Level 2, 3.2.2.3", "OTEL_TRACES_SAMPLER"]),
        "all zeros": (False, True, ["Level 2, 3.2.2.3", "OTEL_TRACES_SAMPLER"]),
        "version 01 with more": (True, True, ["Level 2, 3.2.4", "Level 2, 3.2.2.5.1"]),
        "two traceparents": (False, True, ["Level 2, 3.2.2)", "OTEL_TRACES_SAMPLER"]),
        "tracestate with a key of Level 2": (True, True, ["Level 2, 5.1.2", "Level 2, 3.3.2.2.1"]),
        "baggage with a customer": (True, True, ["Level 2, 5.1.2", "W3C Baggage, Overview"]),
        "no header": (False, True, ["Level 2, 5.1.1", "OTEL_TRACES_SAMPLER"]),
    },
    "b3": {
        "your own trace": (True, True, ["B3, Single Header", "B3, Sampling State"]),
        "not sampled": (True, False, ["B3, Single Header", "B3, Sampling State"]),
        "upper case": (False, True, ["B3, TraceId", "OTEL_TRACES_SAMPLER"]),
        "all zeros": (False, True, ["B3, TraceId", "OTEL_TRACES_SAMPLER"]),
        "version 01 with more": (False, True, ["does not read traceparent (OTEL_PROPAGATORS)"]),
        "two traceparents": (False, True, ["does not read traceparent (OTEL_PROPAGATORS)"]),
        "tracestate with a key of Level 2": (True, True, ["B3, Single Header", "OTEL_PROPAGATORS"]),
        "baggage with a customer": (True, True, ["B3, Single Header", "OTEL_PROPAGATORS"]),
        "no header": (False, True, ["B3, Overall Process", "OTEL_TRACES_SAMPLER"]),
    },
}
# fmt: on


def open_experiments(chromium, url):
    page = Page(chromium, url)
    until(lambda: page.one("#experiment").is_displayed())
    assert page.one("#experiment").get_attribute("open") is None, "folded at first"
    page.one("#experiment summary").click()
    return page


def named_input(page, name):
    return [field for field in page.all("#experiment input") if field.accessible_name == name][0]


def predict(page, is_same, is_recorded):
    named_input(page, "Same trace" if is_same else "New trace").click()
    named_input(page, "Recorded" if is_recorded else "Not recorded").click()


def sent_verdict(page):
    page.button("Send").click()
    return until(lambda: page.text("#verdict"), "a verdict")


def typed_headers(page):
    names = ("traceparent", "tracestate", "baggage", "b3")
    fields = {field.accessible_name: field for field in page.all("#experiment input[type=text]")}
    return {name: fields[name].get_attribute("value") for name in names if name in fields}


@pytest.fixture(scope="module", params=READY, ids=["tracecontext", "b3"])
def experiment_shop(request):
    env = {"OTEL_PROPAGATORS": request.param} if request.param else {}
    with Process("--fry-seconds", "0.05", **env) as shop:
        yield request.param, shop


@browser_test
def test_each_ready_experiment_is_judged_by_what_the_shop_does(chromium, experiment_shop):
    propagators, shop = experiment_shop
    page = open_experiments(chromium, shop.url)
    buttons = [button.accessible_name for button in page.all("#experiments button")]
    assert buttons == list(READY[propagators])
    trace_ids = set()
    for name, (is_same, is_recorded, sections) in READY[propagators].items():
        page.button(name).click()
        headers = {header: value for header, value in typed_headers(page).items() if value}
        sent_ids = re.findall(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])", json.dumps(headers))
        for right in (True, False):
            predict(page, is_same if right else not is_same, is_recorded)
            verdict = sent_verdict(page)
            trace_id = page.run("return location.hash.slice(1)")
            assert verdict.startswith("Right:" if right else "Wrong about the trace:"), name
            assert all(section in verdict for section in sections), verdict
            assert ("it is the same trace" in verdict) == is_same == (trace_id in sent_ids)
            assert ("it is recorded" in verdict) == is_recorded
            assert verdict.count(". ") == 0 and verdict.endswith(".")
            # The decoder's own verdict, which the page does not act on, agrees with the shop's.
            asked = chromium.execute_async_script(
                """
                const [headers, fields, done] = arguments;
                import("/static/verdict.js").then(({ askedFor }) => done(askedFor(headers, new Set(fields))));""",
                headers,
                ["b3"] if propagators else ["baggage", "traceparent", "tracestate"],
            )
            assert (asked["traceId"] == trace_id) == is_same, name
            assert asked["isSampled"] in ((True, None) if is_recorded else (False,)), name
            if right:
                page.run("document.querySelector('#verdict').textContent = ''")
        assert trace_id not in trace_ids, "each experiment has a trace of its own"
        trace_ids.add(trace_id)
        if is_recorded:
            _, spans = trace_of(page, shop.url)
            assert spans[0]["name"] == "POST /order"
            rows = [(level, key) for level, key, _ in drawn_rows(page) if "/" not in key]
            assert rows == in_call_order(spans)
        else:
            until(lambda: page.text("#trace-note").startswith("This order was not sampled"))
            assert ask(shop.url, "GET", f"/traces/{trace_id}").status == 404
    assert page.problems() == []


@browser_test
def test_the_sender_is_a_dashed_row_above_the_root_and_no_span(chromium, slow_shop):
    page = open_experiments(chromium, slow_shop.url)
    page.button("your own trace").click()
    _, trace_id, span_id, _ = typed_headers(page)["traceparent"].split("-")
    predict(page, True, True)
    sent_verdict(page)
    assert trace_of(page, slow_shop.url)[0] == trace_id
    first = page.all("#rows [role=row]")[0]
    assert f"your browser: span {span_id}, not in this shop's store" in first.text
    assert first.get_attribute("aria-level") == "1" and not first.get_attribute("data-span-id")
    assert first.value_of_css_property("border-top-style") == "dashed"
    assert f"-{span_id}-01" in first.text.replace("\n", "")
    assert len(page.all("#rows .sender")) == 1 and "is not here" not in page.text("#rows")
    first.click()
    until(lambda: page.text("#span-title") == "What crossed")
    assert page.run("return location.hash").endswith("/sender")
    # The order button sends no header, and its trace has no such row.
    page.order("glazed")
    until(lambda: page.run("return location.hash")[1:33] != trace_id)
    trace_of(page, slow_shop.url)
    assert not page.all("#rows .sender")
    # The caller of this one is not this page.
    headers = [("traceparent", f"00-{'a' * 32}-{PARENT_ID}-01")]
    ask(slow_shop.url, "POST", "/order", SAMPLE, headers)
    chromium.get(f"{slow_shop.url}/#{'a' * 32}")
    until(
        lambda: f"parent {PARENT_ID} is not here: it is the caller’s own span" in page.text("#rows")
    )
    assert not page.all("#rows .sender")


@browser_test
def test_what_is_typed_is_taken_apart_and_each_error_is_at_its_place(chromium, slow_shop):
    page = open_experiments(chromium, slow_shop.url)
    names = [field.accessible_name for field in page.all("#experiment input[type=text]")]
    assert names == ["traceparent", "tracestate", "baggage"]  # this shop does not read B3

    def taken_apart(header, value):
        field = named_input(page, header)
        field.clear()
        field.send_keys(value)
        return {
            part.find_element("css selector", "dt").text: part.find_element(
                "css selector", "dd"
            ).text
            for part in page.all(f".header-field:has([name={header}]) .parts > div")
        }

    parts = taken_apart("traceparent", f"00-{TRACE_ID}-{'0' * 16}-0")
    assert "must be" not in parts["version"] + parts["trace id"]
    assert "must be 16 lower-case hex digits" in parts["parent id"]
    assert "must be two lower-case hex digits" in parts["flags"]
    assert named_input(page, "traceparent").get_attribute("aria-invalid") == "true"
    parts = taken_apart("traceparent", TRACEPARENT)
    assert TRACE_ID in parts["trace id"] and "sampled: 1 if" in parts["flags"]
    assert "must be" not in str(parts)
    assert named_input(page, "traceparent").get_attribute("aria-invalid") is None
    assert TRACEPARENT in page.text("#experiment-command code")
    parts = taken_apart("tracestate", "1a=x,Bad=y")
    assert "must be" not in parts["1a"] and "must be key=value" in parts["Bad"]
    assert "Ada Lovelace" in taken_apart("baggage", "customer=Ada%20Lovelace")["customer"]
    taken_apart("baggage", "customer=€")
    page.button("Send").click()
    until(lambda: "no header can carry" in page.text("#experiment-error"))
    taken_apart("baggage", "customer=x")
    page.button("Send").click()
    until(lambda: page.text("#experiment-error").startswith("Predict first"))
    assert page.run("return location.hash") == "" and page.text("#verdict") == ""
    evil = "<img/src=x/onerror=document.title='hacked'>"
    assert evil in str(taken_apart("tracestate", f"a={evil}").values()) or evil in page.text(
        ".header-field:has([name=tracestate])"
    )
    assert not page.all("#experiment img") and chromium.title != "hacked"


@browser_test
def test_a_shop_that_samples_by_itself_is_explained_and_so_is_a_refusal(chromium):
    with Process("--fry-seconds", "0", OTEL_TRACES_SAMPLER="always_on") as shop:
        page = open_experiments(chromium, shop.url)
        page.button("not sampled").click()
        predict(page, True, False)
        verdict = sent_verdict(page)
        assert verdict.startswith("Wrong about the recording: it is the same trace")
        assert "advice" in verdict and "Level 2, 3.2.2.5)" in verdict
        page.run(
            "document.querySelector('#experiment [name=baggage]').value = 'a=' + 'b'.repeat(70000)"
        )
        predict(page, True, True)
        page.button("Send").click()
        until(lambda: page.text("#experiment-error"))
        assert page.text("#verdict") == ""


@browser_test
@pytest.mark.parametrize("name", ["your own trace", "no header"])
def test_a_shop_that_makes_no_spans_gives_no_verdict(chromium, name):
    with Process("--fry-seconds", "0", OTEL_SDK_DISABLED="true") as shop:
        page = open_experiments(chromium, shop.url)
        page.button(name).click()
        predict(page, True, True)
        page.button("Send").click()
        until(lambda: "OTEL_SDK_DISABLED" in page.text("#experiment-error"))
        assert page.text("#verdict") == ""


@browser_test
def test_an_experiment_by_keyboard_alone(chromium, slow_shop):
    page = Page(chromium, slow_shop.url)
    keys = webdriver.common.keys.Keys
    until(lambda: page.one("#experiment").is_displayed())

    def press_at(name, key):
        for _ in range(60):
            active = chromium.switch_to.active_element
            if name in (active.accessible_name, active.text):
                return active.send_keys(key)
            webdriver.ActionChains(chromium).send_keys(keys.TAB).perform()
        raise AssertionError(f"no way to {name} with Tab")

    press_at("Send a header of your own", keys.ENTER)
    press_at("not sampled", keys.ENTER)
    press_at("Same trace", keys.SPACE)
    press_at("Recorded", keys.ARROW_RIGHT)
    press_at("Send", keys.ENTER)
    assert until(lambda: page.text("#verdict")).startswith("Right:")
    press_at("Copy as curl", keys.ENTER)
    until(lambda: page.text("#experiment-command [role=status]"))


# Values that a shell would act on, and bytes that a terminal could change.
EVIL = 'it\'s "$(touch pwned)" `touch pwned` $HOME \\ \\n %s !! ; & | é'


def run_in_a_shell(command, tmp_path):
    """Run a command as somebody who pastes it, and give the head of the request that came of it."""
    with FakeKitchen() as fake:
        command = re.sub(r"http://[0-9.:]+", fake.url, command)
        done = subprocess.run(
            ["sh", "-c", command], cwd=tmp_path, capture_output=True, timeout=DEADLINE
        )
        assert done.returncode == 0, done.stderr
        assert os.listdir(tmp_path) == []
        request_line, *lines = fake.requests[-1].split("\r\n")
        return request_line, [tuple(line.split(": ", 1)) for line in lines if ": " in line], lines


@browser_test
@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl: apt install curl")
def test_the_curl_command_of_an_experiment_sends_what_the_page_sends(chromium, slow_shop, tmp_path):
    page = open_experiments(chromium, slow_shop.url)
    page.button("your own trace").click()
    named_input(page, "baggage").send_keys(EVIL)
    named_input(page, "tracestate").send_keys("@file, {a}[1-2]=-")
    sent = typed_headers(page)
    command = page.text("#experiment-command code")
    assert command.startswith(f"curl '{slow_shop.url}/order' \\\n  -H 'traceparent: 00-")
    request_line, headers, _ = run_in_a_shell(command, tmp_path)
    assert request_line == "POST /order HTTP/1.1"
    assert {(name, value) for name, value in sent.items()} <= set(headers)
    predict(page, True, True)
    sent_verdict(page)
    _, spans = trace_of(page, slow_shop.url)
    assert spans[0]["attributes"]["http.request.header.baggage"] == [EVIL]


@browser_test
@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl: apt install curl")
def test_the_curl_command_of_a_server_span_sends_what_it_received(chromium, slow_shop, tmp_path):
    headers = [
        ("traceparent", TRACEPARENT),
        ("traceparent", "x'y"),
        ("tracestate", ""),
        ("baggage", EVIL.encode("latin-1")),
        ("baggage", "a=1\tb"),
    ]
    path = "/kitchen/get_donuts?order_id=a'$(x)[1]{2,3}%20`b`"
    reply = ask(slow_shop.url, "GET", path, None, headers)
    trace_id, span_id = reply.headers["Server-Timing"].split("-")[1:3]
    page = Page(chromium, f"{slow_shop.url}/#{trace_id}/{span_id}")
    command = until(lambda: page.text("#repeat code"))
    request_line, got, lines = run_in_a_shell(command, tmp_path)
    assert request_line == f"GET {path} HTTP/1.1"
    for name, value in headers:
        value = value.decode("latin-1") if isinstance(value, bytes) else value
        assert (name, value) in got or (not value and f"{name}:" in lines), name
    # Each SERVER span has a command, with a body where it was a POST; no other span has one.
    page = Page(chromium, slow_shop.url)
    page.order("glazed")
    trace_id, spans = trace_of(page, slow_shop.url)
    shown = 0
    for span in sorted(spans, key=started):
        page.one(f"[data-span-id='{span['context']['span_id'][2:]}']").click()
        until(lambda name=span["name"]: page.text("#span-title").endswith(name))
        assert len(page.all("#repeat code")) == (span["kind"] == "SpanKind.SERVER")
        if page.all("#repeat code"):
            shown += 1
            command = page.text("#repeat code")
            request_line, got, _ = run_in_a_shell(command, tmp_path)
            assert request_line.split(" ")[0] == span["attributes"]["http.request.method"]
            assert request_line.split(" ")[1].startswith(span["attributes"]["url.path"])
            assert (" -d '{" in command) == request_line.startswith("POST")
            sent = span["attributes"].get("http.request.header.traceparent", [])
            assert [value for name, value in got if name == "traceparent"] == sent
            assert subprocess.run(["sh", "-c", command], capture_output=True).returncode == 0
    assert shown == 3


@browser_test
def test_where_there_is_no_clipboard_the_command_is_selected(chromium, slow_shop):
    page = open_experiments(chromium, slow_shop.url)
    page.run("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.button("Copy as curl").click()
    until(lambda: "selected" in page.text("#experiment-command [role=status]"))
    assert page.run("return String(getSelection())") == page.text("#experiment-command code")


@browser_test
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_core_finds_nothing_in_an_experiment(chromium, slow_shop, width):
    with window(chromium, width):
        page = open_experiments(chromium, slow_shop.url)
        fits = "return document.documentElement.scrollWidth <= innerWidth"
        for name, is_right in (("version 01 with more", True), ("upper case", False)):
            page.button(name).click()
            until(lambda: page.run("return document.getAnimations().length === 0"))
            assert page.violations() == [] and page.run(fits)
            predict(page, True, True)
            assert sent_verdict(page).startswith("Right" if is_right else "Wrong")
            trace_of(page, slow_shop.url)
            assert page.violations() == [] and page.run(fits)


@browser_test
def test_the_shop_before_tracing_has_no_experiments(chromium, untraced):
    page = Page(chromium, untraced.url)
    until(lambda: page.text("#traces-note"))
    assert not page.one("#experiment").is_displayed() and not page.one("#polls-note").is_displayed()


def test_the_read_outs_are_facts_and_bounded(provider):
    shop = start()
    trace_id = ask(shop.url, "POST", "/order", SAMPLE).headers["Server-Timing"].split("-")[1]
    newest = ask(shop.url, "GET", "/traces").body
    assert newest[0]["trace_id"] == trace_id
    assert (
        set(newest[0]) == {"trace_id", "spans", "open", "first"}
        and newest[0]["first"]["name"] == "POST /order"
    )
    whole = until(lambda: len(ask(shop.url, "GET", f"/traces/{trace_id}").body["spans"]) == 10)
    assert whole
    for name in ("microdonuts.py", "kitchen.py"):
        assert ask(shop.url, "GET", f"/source/{name}").body == (HERE / name).read_bytes()
    for path in (
        "/traces/",
        "/traces/x",
        "/traces/" + "0" * 32,
        "/traces/" + trace_id.upper(),
        "/source/README.md",
    ):
        assert ask(shop.url, "GET", path).status == 404
    shop.close()


NODE_TEST = """
import { quoted } from "%(static)s/curl.js";
import { micros } from "%(static)s/facts.js";
import { decode, faultsOf } from "%(static)s/headers.js";
import { destination, keysAround } from "%(static)s/keyboard.js";
import { rows } from "%(static)s/rows.js";
import { functionAround } from "%(static)s/source.js";
import { askedFor, isSameTrace } from "%(static)s/verdict.js";
const [spans, wire] = JSON.parse(process.argv[2]);
const all = rows(spans, () => true);
const source = "a\\n\\ndef f():\\n    x\\n\\n    y\\n\\n\\ndef g():\\n    z\\n";
console.log(JSON.stringify({
  rows: all,
  ends: ["Home", "End", "ArrowDown"].map((pressed) => destination(all, all[0].key, pressed)),
  around: keysAround(all, all.at(-1).key),
  decoded: decode("traceparent", "00-%(trace)s-%(parent)s-03"),
  micros: micros("2026-11-22T21:29:20.303854Z"),
  lines: functionAround(source, 6).map(({ number }) => number),
  quoted: quoted("it's $HOME %%"),
  bytes: quoted("it's \u00e9 100%%"),
  asked: wire.map((traceparent) => askedFor({ traceparent }, new Set(["traceparent"])).traceId),
  tracestates: ["a=1,0b=2", "A=1", "a"].map((value) => faultsOf(decode("tracestate", value)).length),
  isPadded: isSameTrace({ traceId: "0".repeat(16) + "%(parent)s" }, { b3: "%(parent)s-%(parent)s-1" }),
}));
"""


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node: apt install nodejs")
def test_the_pure_functions_of_the_page_without_a_browser(tmp_path, shop, spans):
    shutil.copytree(HERE / "static", tmp_path / "static")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    names = {"static": "./static", "trace": TRACE_ID, "parent": PARENT_ID}
    (tmp_path / "test.js").write_text(NODE_TEST % names)
    reply = ask(shop.url, "POST", "/order", SAMPLE)
    found = [json.loads(span.to_json()) for span in spans.wait(reply, 10)]
    # Of the rows about one traceparent, those that HTTP carries as they are.
    wire = {
        headers[0][1].strip(" \t"): flags is not None
        for _, _, headers, flags, _ in WIRE
        if len(headers) == 1 and headers[0][0] == "traceparent"
    }
    wire, taken = list(wire), list(wire.values())
    done = subprocess.run(
        ["node", "test.js", json.dumps([found[::-1], wire])],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert got["micros"] == 1795382960303854 and got["lines"] == [3, 4, 5, 6]
    text = json.dumps(got["decoded"])
    assert TRACE_ID in text and PARENT_ID in text
    keys = [row["key"] for row in got["rows"]]
    assert [key for key in keys if "/" not in key] == [
        span_id for _, span_id in in_call_order(found)
    ]
    assert sum(key.endswith("/hop") for key in keys) == 3
    assert got["ends"] == [keys[0], keys[-1], keys[1]] and got["around"][-1] == keys[0]
    assert (
        got["quoted"] == "'it'\\''s $HOME %'"
        and got["bytes"] == "\"$(printf 'it\\047s \\351 100%%')\""
    )
    assert [trace_id == TRACE_ID for trace_id in got["asked"]] == taken and len(taken) > 20
    assert got["tracestates"] == [0, 1, 1] and got["isPadded"]


@pytest.mark.picture
def test_take_the_picture_that_readme_opens_with(chromium):
    with Process(OTEL_SERVICE_NAME="kitchen") as back, Process("--kitchen", back.url) as front:
        page = Page(chromium, front.url)
        page.order("glazed", "jelly")
        trace_of(page, front.url)
        assert len(page.all("#services li")) == 2
        page.run("document.querySelector('#zoom').hidden = true")
        # The picture is taken without scroll bars, and the page would move a little when they go.
        page.run("document.documentElement.style.overflow = 'hidden'")
        clip = page.run("""
            const [from, to] = ["#services", "#grid"].map((id) => document.querySelector(id).getBoundingClientRect());
            return { x: to.left - 8, y: from.top + scrollY - 8, width: to.width + 16,
                     height: to.bottom - from.top + 16, scale: 1 }""")
        shot = chromium.execute_cdp_cmd(
            "Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True}
        )
    (HERE / "static" / "trace.png").write_bytes(base64.b64decode(shot["data"]))


# ---------------------------------------------------------------- what the tests use


def until(condition, what="it"):
    """Return the first true value of condition(), or fail after DEADLINE seconds."""
    end = time.monotonic() + DEADLINE
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not happen within {DEADLINE} s"
        time.sleep(0.005)
    return value


Reply = collections.namedtuple("Reply", "status headers body")


def ask(url, method, path, body=None, headers=()):
    """Send one request on a connection of its own. A body that is not bytes is sent as JSON."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=DEADLINE)
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    try:
        connection.putrequest(
            method, path, skip_host="Host" in dict(headers), skip_accept_encoding=True
        )
        for name, value in headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        data = answer.read()
        is_json = data and answer.headers["Content-Type"] == "application/json"
        return Reply(answer.status, answer.headers, json.loads(data) if is_json else data)
    finally:
        connection.close()


def send_raw(url, data, shut=True):
    """Send bytes as they are, and return all that comes back until the connection is closed."""
    with socket.create_connection(
        url.removeprefix("http://").split(":"), timeout=DEADLINE
    ) as connection:
        connection.sendall(data)
        if shut:
            connection.shutdown(socket.SHUT_WR)
        got = b""
        while chunk := connection.recv(65_536):
            got += chunk
        return got


def parse(got):
    """Return the one response that these bytes are."""
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 "), got[:200]
    status_line, *lines = head.decode("latin-1").split("\r\n")
    message = as_message([line.split(": ", 1) if ": " in line else (line, "") for line in lines])
    assert len(body) == int(message["Content-Length"])
    return Reply(int(status_line.split(" ")[1]), message, json.loads(body))


def as_message(headers):
    """Return headers as http.server has them, from a dict or from (name, value) pairs."""
    message = http.client.HTTPMessage()
    for name, value in headers.items() if isinstance(headers, dict) else headers:
        message[name] = value
    return message


def hang_up(port, request, is_reached, may_go_on):
    """Send a request, and reset the connection when it has been reached and before its answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as connection:
        connection.sendall(request)
        assert is_reached.wait(DEADLINE)
        # With this option, close resets the connection.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    may_go_on.set()


class Spans(SpanProcessor):
    """The spans of this process that have ended since `clear`.

    An answer is sent inside its SERVER span, so whoever has the answer may still have to wait for
    the end of the span. `all` and `of` do that, but for "fry", which may come long afterwards.
    """

    def __init__(self):
        self.clear()

    def clear(self):
        self.open, self.ended = {}, []

    def on_start(self, span, parent_context=None):
        if span.name != "fry":
            self.open[span.context.span_id] = span.name

    def on_end(self, span):
        self.ended.append(span)
        self.open.pop(span.context.span_id, None)

    def all(self):
        until(lambda: not self.open, f"the end of {self.open}")
        return sorted(self.ended, key=lambda span: span.start_time)

    def of(self, reply_or_trace_id):
        """Return the spans of one trace, which is named by its id or by a reply."""
        trace_id = reply_or_trace_id
        if isinstance(reply_or_trace_id, Reply):
            trace_id = reply_or_trace_id.headers["Server-Timing"].split("-")[1]
        return [span for span in self.all() if f"{span.context.trace_id:032x}" == trace_id]

    def wait(self, reply_or_trace_id, count):
        """Return the same, once there are so many: a "fry" comes later than its order's answer."""
        return until(
            lambda: len(found := self.of(reply_or_trace_id)) >= count and found, f"{count} spans"
        )


def states_of(url, order_id):
    donuts = ask(url, "GET", f"/kitchen/get_donuts?order_id={order_id}").body
    return [donut["status"] for donut in donuts]


def named(spans, name):
    return [span for span in spans if span.name == name]


def traceparent_of(span):
    """Return the traceparent that names a span."""
    context = span.context
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def tree(spans, parent_id=None, indent=""):
    """Return the spans of a trace as indented text, each below its parent."""
    known = {span.context.span_id for span in spans}
    text = ""
    for span in spans:
        its_parent = span.parent.span_id if span.parent and span.parent.span_id in known else None
        if its_parent == parent_id:
            text += f"{indent}{span.name} {span.kind.name}\n" + tree(
                spans, span.context.span_id, indent + "  "
            )
    return text


def start(kitchen_url=None, fry_seconds=0, host="127.0.0.1"):
    """Start a shop in this process. Its spans go to `spans`, and to the store of the page."""
    arguments = argparse.Namespace(host=host, port=0, kitchen=kitchen_url, fry_seconds=fry_seconds)
    server = microdonuts.Server(arguments, STORE)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


@pytest.fixture(scope="session")
def provider():
    """Return the one tracer provider of this process, made as the program makes it."""
    os.environ["OTEL_TRACES_EXPORTER"] = "none"
    provider = microdonuts.set_up_tracing(STORE)
    del os.environ["OTEL_TRACES_EXPORTER"]
    provider.add_span_processor(SPANS)
    return provider


STORE, SPANS = microdonuts.SpanStore(), Spans()


@pytest.fixture
def spans(provider):
    SPANS.clear()
    return SPANS


@pytest.fixture(scope="module")
def shop(provider):
    """Return a shop whose donuts take no time."""
    server = start()
    yield server
    server.close()


def environment(**env):
    """Return the environment of this process, in which OpenTelemetry is told this and no more."""
    return {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")} | env


def run_program(folder, program, *arguments, options=(), **env):
    """Run a program in an interpreter of its own. Return what it has printed, and its log."""
    path = folder / "program.py"
    path.write_text(program)
    done = subprocess.run(
        [sys.executable, *options, str(path), *arguments],
        cwd=folder,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def read_json_spans(text):
    """Return the spans that a ConsoleSpanExporter has printed."""
    found, decoder = [], json.JSONDecoder()
    while text := text.lstrip():
        span, end = decoder.raw_decode(text)
        found.append(span)
        text = text[end:]
    return found


def program_spans(folder, program):
    """Return the spans that a program prints, which must log nothing."""
    printed, log = run_program(folder, program)
    assert not log, log
    return read_json_spans(printed)


def shown_spans(shop, reply, count):
    """Return the spans of a trace as the page gets them, once there are so many."""
    path = "/traces/" + reply.headers["Server-Timing"].split("-")[1]
    return until(
        lambda: len(found := ask(shop.url, "GET", path).body["spans"]) == count and found,
        f"{count} spans",
    )


class Process:
    """A shop in a process of its own, on a free port."""

    def __init__(self, *arguments, folder=HERE, **env):
        self.process = subprocess.Popen(
            [sys.executable, str(folder / "microdonuts.py"), "--port", "0", *arguments],
            env=environment(**env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.out, self.err = [], []
        self.readers = [
            threading.Thread(target=lines.extend, args=(stream,))
            for lines, stream in ((self.out, self.process.stdout), (self.err, self.process.stderr))
        ]
        for reader in self.readers:
            reader.start()
        until(lambda: self.url or self.process.poll() is not None, "the banner")

    @property
    def url(self):
        return next(iter(re.findall(r"open(?: at|:) (http://[^/ ]+)", "".join(self.err))), None)

    def __enter__(self):
        assert self.url, self.err
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self, number=signal.SIGTERM):
        """End it and return its exit status. Then `out` and `err` have all that it wrote."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.wait()
        finally:
            self.process.kill()

    def wait(self):
        status = self.process.wait(DEADLINE)
        for reader in self.readers:
            reader.join(DEADLINE)
        self.process.stdout.close()
        self.process.stderr.close()
        return status

    def json_spans(self):
        """Return the spans that OTEL_TRACES_EXPORTER=console has printed."""
        return read_json_spans("".join(self.out))


def free_port():
    """Return a port for a shop that has to know its port before it starts."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return str(probe.getsockname()[1])


class FakeKitchen:
    """A kitchen that the test plays. `requests` has the raw heads that it got.

    script(path) returns the bytes that it answers. It closes the connection without an answer if
    that is b"", and says nothing if it is None.
    """

    def __init__(self, script=None):
        self.script, self.requests = script or self.cook, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.done = threading.Event()

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.listener.close()

    @staticmethod
    def cook(path):
        if path.startswith("/kitchen/add_donuts"):
            return kitchen_answer({"order_id": "o", "donuts": 1})
        return kitchen_answer(
            [{"flavor": "jelly", "order_id": "o", "status": "ready", "ready_in": 0}]
        )

    def accept(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        # The shop may close a connection while this side still sends.
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as reader:
            while head := b"".join(itertools.takewhile(lambda line: line.strip(), reader)):
                self.requests.append(head.decode("latin-1"))
                length = re.search(rb"(?i)content-length: (\d+)", head)
                reader.read(int(length[1]) if length else 0)
                got = self.script(head.split(b" ")[1].decode())
                if not got:
                    return self.done.wait(DEADLINE) if got is None else None
                connection.sendall(got)
                if b"Connection: close" in got:
                    return None

    def headers(self, name):
        """Return the values of one header, one a request, with None where it is absent."""
        found = [re.search(rf"(?im)^{name}: (.*?)\r?$", head) for head in self.requests]
        return [match and match[1] for match in found]


# ---------------------------------------------------------------- what the tests of the texts use


class Terminal:
    """Runs the commands of a text. Each shop that they start has a port of its own."""

    def __init__(self, folder=HERE):
        self.folder, self.shops = folder, {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for shop in self.shops.values():
            shop.stop()

    def here(self, text):
        """Return a text with the ports that the shops really have."""
        return PORT.sub(lambda match: self.shop(match[1]).url.removeprefix("http://"), text)

    def shop(self, port="8082", *arguments, **env):
        if port not in self.shops:
            self.shops[port] = Process("--fry-seconds", "0", *arguments, folder=self.folder, **env)
            assert self.shops[port].url, self.shops[port].err
        return self.shops[port]

    def run(self, commands):
        """Return what curl prints. The lines with curl, or with a variable, are one bash script."""
        script = ""
        for line in commands.replace("\\\n", "").splitlines():
            if "curl" in line or "$" in line:
                script += self.here(line) + "\n"
            elif "microdonuts.py" in line:
                before, _, after = line.partition("microdonuts.py")
                arguments = shlex.split(self.here(after))
                port = arguments[arguments.index("--port") + 1] if "--port" in arguments else "8082"
                arguments = [word for word in arguments if word not in ("--port", port)]
                self.shop(port, *arguments, **dict(re.findall(r"([A-Z_]+)=(\S+)", before)))
        return bash(script)


def bash(script):
    """Return what a script with curl prints."""
    script = re.sub(r"\bcurl ", "curl -sS --max-time 20 ", script)
    command = ["bash", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=2 * DEADLINE).stdout


def anonymous(text, commands):
    """Return a text without what differs from run to run.

    These are all ids but those that the commands have sent.
    """
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ORDER", text.replace("\r", ""))

    def replaced(found):
        if found[1] in commands:
            return found[0]
        return "TRACE" if len(found[1]) == 32 else "SPAN"

    return re.sub(r"\b(?:0x)?([0-9a-f]{32}|[0-9a-f]{16})\b", replaced, text)


FILES = ("microdonuts.py", "kitchen.py")
Seen = collections.namedtuple("Seen", "id parent trace label")
# The terminal's lines in the walkthrough's first steps: trace id, id, parent's id, kind and name.
PLAIN = re.compile(
    r"([0-9a-f]{32}) ([0-9a-f]{16}) (?:([0-9a-f]{16})|-{16}) (SERVER|CLIENT|INTERNAL) (.+)\n"
)

# The sentences of the walkthrough that change a file. An example of each:
#   In `kitchen.py`, replace `exchange`:    (the new definition follows, as Python)
#   In `kitchen.py`, below `Refusal`, add:                (the same)
#   In `kitchen.py`, under `BLOCK 9`, add:                (the same)
#   In `kitchen.py`, copy `BLOCK 7` and `BLOCK 12`.       (from the finished file)
#   In `kitchen.py`, delete `Kitchen.peek`.
TARGET = r"(?:`[^`]+`|the\simports|the\smodule\sdocstring)"
PART = re.compile(
    r"(?ms)In\s`(?P<file>\w+\.py)`,\s(?:"
    rf"(?P<verb>replace|below|under(?=\s`BLOCK))\s(?P<target>{TARGET})(?:,\sadd)?:"
    r"\n\n```python\n(?P<code>.*?)^```$"
    rf"|(?P<whole>copy|delete)\s(?P<targets>{TARGET}(?:(?:,|\sand|,\sand)\s{TARGET})*)\.)"
    r"|^```(?P<language>sh|)\n(?P<block>.*?)^```$"
)


def pieces(text):
    """Return {name: (first line, line after its last)} of what an instruction can name in a module.

    Those are its BLOCKs, "the module docstring", "the imports" (all that is between that and the
    first BLOCK), and each function, class, method ("Handler.do_GET") and constant, with the comment
    right above it, and with an indented one below it that is not right above anything.
    """
    module, lines = ast.parse(text), text.splitlines()
    blocks = {
        line[2:].partition(":")[0]: n - 1
        for n, line in enumerate(lines)
        if line.startswith("# BLOCK ")
    }
    starts = [0, module.body[0].end_lineno, *blocks.values(), len(lines)]
    names = ["the module docstring", "the imports", *blocks]
    found = dict(zip(names, itertools.pairwise(starts), strict=True))
    for holder in [module, *(node for node in module.body if isinstance(node, ast.ClassDef))]:
        for node in holder.body:
            first = min(part.lineno for part in [node, *getattr(node, "decorator_list", [])]) - 1
            while re.match(" *# ", lines[first - 1]):
                first -= 1
            last = end = node.end_lineno
            for n, line in enumerate([*lines[end:], ""], end + 1):
                if re.match(" " * max(1, node.col_offset) + " *#", line):
                    end = n
                elif not line:
                    last = end
                else:
                    break
            name = getattr(node, "name", ast.unparse(node).partition(" = ")[0])
            found[f"{holder.name}.{name}" if holder is not module else name] = (first, last)
    return found


def tidied(text):
    """Return a module with `ruff format`'s blank lines, and with one above and below a banner.

    After a function, and before one, `ruff format` makes them two.
    """
    text = re.sub(r"\n*(\n##+\n# BLOCK .*\n##+\n)\n*", r"\n\1\n", text)
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length", "100", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=DEADLINE)
    lines, formatted = (list(filter(None, each.splitlines())) for each in (text, done.stdout))
    assert lines == formatted, f"ruff would change more than blank lines. {done.stderr}"
    return done.stdout


def edited(text, finished, part):
    """Return a module's text after one instruction of the walkthrough."""
    for target in re.findall(TARGET, part["target"] or part["targets"]):
        target = " ".join(target.strip("`").split())
        assert target in pieces(text), f"there is no {target}"
        (first, last), lines = pieces(text)[target], text.splitlines()
        code, old = (part["code"] or "").splitlines(), lines[first:last]
        if part["verb"] == "under":
            code = [*old[:3], *code, *old[3:]]  # a banner has three lines
        elif part["verb"] == "below":
            code = [*old, *code]
        elif part["whole"] == "copy":
            code = finished.splitlines()[slice(*pieces(finished)[target])]
        text = "\n".join([*lines[:first], *code, *lines[last:], ""])
    return tidied(text)


def steps(text):
    """Return [(title, [an instruction, or (commands, shown)])] of a walkthrough's steps."""
    introduction, *texts = re.split(r"(?m)^## (?=Step \d+: )", text)
    usual = [commands for commands in fences(introduction, "sh") if "curl" in commands]
    return [
        (step.partition("\n")[0], list(parts(step.partition("\n## ")[0], usual))) for step in texts
    ]


def parts(step, usual):
    """Yield a step's instructions, and its pairs of (commands, what is shown), in order."""
    stray = re.search(r"In\s`\w+\.py`,.*|```\w+\n.*", PART.sub("", step))
    assert not stray, f"this has none of the forms of an instruction: {stray[0]}"
    for part in PART.finditer(step):
        if part["file"]:
            yield part
        elif part["language"]:
            usual = [part["block"]]
        else:
            yield usual[0], part["block"]


def terminal_spans(lines):
    """What the terminal shows of some spans."""
    found = []
    for each in lines:
        if plain := PLAIN.fullmatch(each):
            trace_id, span, parent, kind, name = plain.groups()
            found.append(Seen(span, parent, trace_id[:6], f"   {kind} {name} - -"))
        else:
            arrow, kind, what, _, file, line, span, root, parent, digits = LINE.fullmatch(
                each
            ).groups()
            label = f"{arrow} {kind} {what} {file}:{line}"
            found.append(Seen(span, parent, digits or root[:6], label))
    return found


def drawn_spans(text):
    """Return the spans of a tree that is drawn with blanks."""
    above, found = {}, []
    for line in text.splitlines():
        depth = len(line) - len(line.lstrip())
        parent = above.get(depth - 2)
        above[depth] = len(found), parent[1] if parent else len(found)
        found.append(Seen(len(found), parent and parent[0], above[depth][1], line.strip()))
    return found


def remembered_spans(url, names):
    """Return the spans that the page can read, each with those of these attributes that it has."""
    found = []
    for trace_id in [each["trace_id"] for each in ask(url, "GET", "/traces").body]:
        for span in ask(url, "GET", f"/traces/{trace_id}").body["spans"]:
            words = [span["name"], span["kind"].removeprefix("SpanKind.")]
            words += [name for name in names if name in span["attributes"]]
            found.append(
                Seen(span["context"]["span_id"], span["parent_id"], trace_id, " ".join(words))
            )
    return found


def paths(spans):
    """Return the way from its root to each span. It is the same for equal trees in any order."""
    known = {span.id: span for span in spans}

    def path(span):
        parent = known.get(span.parent)
        return [*(path(parent) if parent else ()), span.label]

    return sorted(map(path, spans))


def outline(spans):
    """Return a text that is equal for equal trees of spans."""
    return "\n".join(
        [
            f"{len({span.trace for span in spans})} traces, {len(spans)} spans",
            *(" / ".join(path) for path in paths(spans)),
        ]
    )


def run_and_compare(commands, shown, terminal):
    """See that what a text shows below its commands is what there is."""
    printed = terminal.run(commands)
    shop = terminal.shop()
    first = f"{shown.splitlines()[0]}\n"
    if LINE.fullmatch(first) or PLAIN.fullmatch(first):
        expected = terminal_spans(shown.splitlines(keepends=True))
        until(
            lambda: len(shop.out) >= len(expected),
            f"{len(expected)} lines, of which there are {shop.out}",
        )
        shop.stop()
        assert outline(terminal_spans(shop.out)) == outline(expected)
    elif count := re.match(r"(\d+) traces?(?:, (\d+) spans?)?\n", shown):
        expected = drawn_spans(shown.partition("\n")[2])
        until(
            lambda: len(shop.out) >= len(expected),
            f"{len(expected)} spans, of which there are {shop.out}",
        )
        names = set(re.findall(r"\b[a-z]+(?:\.[a-z_]+)+\b", shown))
        if names:
            found = remembered_spans(shop.url, sorted(names, key=shown.index))
        shop.stop()
        if not names:
            found = [
                span._replace(label=re.sub(r"^.. (\w+) (.+) \S+ \S+$", r"\2 \1", span.label))
                for span in terminal_spans(shop.out)
            ]
        assert outline(found) == outline(expected)
        assert (int(count[1]), int(count[2] or 0)) == (
            len({span.trace for span in found}),
            len(found),
        )
    else:
        assert anonymous(printed, commands) == anonymous(shown, commands)


def copy_shop(folder, source):
    """Copy a shop's two files, and the page to one folder above, and return their folder."""
    shop = folder / "my-shop"
    shop.mkdir()
    for file in FILES:
        shutil.copy(source / file, shop)
    shutil.copytree(HERE / "static", folder / "static")
    return shop


def definitions(folder):
    """Return {(file, name): lines} of what the two files of a shop define."""
    texts = {file: (folder / file).read_text() for file in FILES}
    return {
        (file, name): texts[file].splitlines()[first:last]
        for file in FILES
        for name, (first, last) in pieces(texts[file]).items()
    }


def take(folder, todo):
    """Do as a step says, and compare what one sees with what it shows."""
    for part in todo:
        if isinstance(part, tuple):
            commands, shown = part
            with Terminal(folder) as terminal:
                run_and_compare(commands, shown, terminal)
        else:
            path, finished = folder / part["file"], (HERE / part["file"]).read_text()
            path.write_text(edited(path.read_text(), finished, part))
