"""Settings: the options, the variables, and how the program starts and ends."""

import contextlib
import json
import re
import signal
import subprocess
import sys
import threading

import pytest
from servers import ROOT

import microdonuts

ORDER = {"donuts": [{"flavor": "jelly", "quantity": 1}]}
LISTING = "/kitchen/get_donuts"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = {
    "traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01",
    "b3": f"{TRACE_ID}-00f067aa0ba902b7-1",
}

# OTEL_PROPAGATORS; and the headers that the kitchen gets then.
PROPAGATORS = [
    ("", {"traceparent", "baggage"}),
    ("b3", {"b3"}),
    ("b3multi", {"x-b3-traceid", "x-b3-spanid", "x-b3-sampled"}),
    (" B3 ,b3, tracecontext,", {"b3", "traceparent"}),
    ("baggage", {"baggage"}),
    ("none", set()),
    ("none,b3", set()),
    ("jaeger,tracecontext", {"traceparent"}),
]


@pytest.mark.parametrize(("chosen", "expected"), PROPAGATORS)
def test_otel_propagators_chooses_what_is_sent(run_shop, fake, ask, chosen, expected):
    shop = run_shop("--kitchen", fake.url, OTEL_PROPAGATORS=chosen)
    reply = ask(shop, "/status", {"order_id": "o"}, CALLER)
    assert reply.status == 200
    [call] = fake.requests
    sent = {name.lower() for name in call.headers.keys()}
    assert {name for name in sent if re.match("traceparent|baggage|b3|x-b3", name)} == expected
    assert (reply.trace_id == TRACE_ID) == bool(expected - {"baggage"})
    fields = ask(shop, "/traces").headers["Propagation-Fields"].split(", ")
    assert set(fields) - {"tracestate", ""} == expected
    assert fields == sorted(fields)
    assert shop.stop() == 0
    warnings = [line for line in shop.err if "OTEL_PROPAGATORS" in line]
    assert [re.findall("jaeger", line) for line in warnings] == [["jaeger"]] * ("jaeger" in chosen)


def spans_of(lines):
    """Return the spans that OTEL_TRACES_EXPORTER=console has printed."""
    return [json.loads(text) for text in re.findall(r"(?ms)^\{$.*?^\}$", "".join(lines))]


# OTEL_TRACES_EXPORTER; how many spans of one request are printed as JSON, and how many as lines.
EXPORTERS = [
    ("", 0, 1),
    ("console", 1, 0),
    (" Console,", 1, 0),
    ("none", 0, 0),
    ("console,none", 0, 0),
    ("zipkin,console", 1, 0),
]


@pytest.mark.parametrize(("chosen", "as_json", "as_lines"), EXPORTERS)
def test_otel_traces_exporter_chooses_where_spans_go(run_shop, ask, chosen, as_json, as_lines):
    shop = run_shop(OTEL_TRACES_EXPORTER=chosen)
    ask(shop, LISTING)
    assert shop.stop() == 0
    assert len(spans_of(shop.out)) == as_json
    assert len([line for line in shop.out if re.match("   SERVER GET ", line)]) == as_lines
    warnings = [line for line in shop.err if "OTEL_TRACES_EXPORTER" in line]
    assert [re.findall("zipkin", line) for line in warnings] == [["zipkin"]] * ("zipkin" in chosen)


# Variables; an attribute of a span or of its resource; and its value.
FOR_THE_SDK = [
    ({}, "service.name", "microdonuts"),
    ({"OTEL_SERVICE_NAME": "bakery"}, "service.name", "bakery"),
    ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=a,b=c"}, "service.name", "a"),
    ({}, "user_agent.original", "x" * 10_000),
    ({"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "9"}, "user_agent.original", "x" * 9),
]


@pytest.mark.parametrize(("variables", "name", "value"), FOR_THE_SDK)
def test_what_the_sdk_makes_of_its_variables(run_shop, ask, variables, name, value):
    shop = run_shop(OTEL_TRACES_EXPORTER="console", **variables)
    ask(shop, LISTING, headers={"User-Agent": "x" * 20_000})
    shop.stop()
    [span] = spans_of(shop.out)
    assert (span["resource"]["attributes"] | span["attributes"])[name] == value


def test_a_shop_without_the_sdk_serves_and_names_no_span_of_its_own(run_shop, ask):
    shop = run_shop("--fry-seconds", "0", OTEL_SDK_DISABLED="true")
    for headers in ({}, CALLER):
        reply = ask(shop, "/order", ORDER, headers)
        assert (reply.status, reply.headers["Server-Timing"]) == (200, None)
    assert shop.stop() == 0
    assert (shop.out, len(shop.err)) == ([], 1)


WRONG = [
    ["--port", "x"],
    ["--port", "65536"],
    ["--host", "192.0.2.1"],
    ["--ketchup"],
    *(["--fry-seconds", seconds] for seconds in ("-1", "5.1", "nan", "inf")),
    *(["--kitchen", url] for url in ("kitchen", "https://kitchen", "http://", "http://a:b")),
    *(["--kitchen", url] for url in ("http://a/b", "http://a:99999", "http://a b", "http://[x]")),
    *(["--kitchen", url] for url in ("http://user:pass@kitchen", "user:pass@kitchen")),
]


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_an_option_that_cannot_be_is_one_line_and_exit_2(run_shop, arguments):
    shop = run_shop(*arguments)
    assert shop.stop() == 2
    *usage, line = shop.err
    assert re.match(r"microdonuts(\.py)?: ", line)
    assert [text for text in usage if not re.match("usage: | ", text)] == []
    assert "pass" not in "".join(shop.err), "a password must not be printed"
    assert ("cannot listen" in line) == (
        arguments[0] in ("--host", "--port") and "x" not in arguments
    )


def test_what_is_no_failed_bind_is_not_called_one(run_shop):
    shop = run_shop(OTEL_TRACES_EXPORTER="otlp", OTEL_BSP_MAX_QUEUE_SIZE="10")
    assert shop.stop() != 0
    assert "cannot listen" not in "".join(shop.err)


# ---------------------------------------------------------------- the start, and the end


def test_a_python_that_is_too_old_and_packages_that_are_missing_are_one_line():
    for before, word in (
        ("sys.version_info = (3, 10, 9)", r"3\.11"),
        ("sys.modules['opentelemetry'] = None", "pip install"),
        ("sys.modules['opentelemetry.exporter'] = None", "opentelemetry-exporter-otlp-proto-http"),
    ):
        start = (
            f"import runpy, sys; {before}; runpy.run_path('microdonuts.py', run_name='__main__')"
        )
        done = subprocess.run(
            [sys.executable, "-c", start, "--port", "0"],
            cwd=ROOT,
            env={"OTEL_TRACES_EXPORTER": "otlp"},
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert done.returncode != 0
        [line] = done.stderr.splitlines()
        assert re.search(word, line)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_an_order_loses_no_answer_and_no_span(run_shop, ask, number):
    shop, replies = run_shop("--fry-seconds", "0.2", OTEL_TRACES_EXPORTER="console"), []
    dozen = {"donuts": [{"flavor": "jelly", "quantity": microdonuts.MAX_DONUTS}]}
    buyer = threading.Thread(target=lambda: replies.append(ask(shop, "/order", dozen)))
    buyer.start()
    buyer.join(0.01)
    assert shop.stop(number) == 0
    buyer.join(20)
    names = [span["name"] for span in spans_of(shop.out)]
    assert [reply.status for reply in replies] == [200]
    assert names.count("POST /kitchen/add_donuts") == 12
    assert names.count("POST /order") == 1
    assert len(shop.err) == 1


def test_a_second_ctrl_c_still_flushes(run_shop, ask):
    shop = run_shop("--fry-seconds", "0", OTEL_TRACES_EXPORTER="console")
    ask(shop, LISTING)
    shop.process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        shop.process.wait(0.1)
    shop.stop(signal.SIGINT)
    assert "Traceback" not in "".join(shop.err)
    assert len(spans_of(shop.out)) == 1
