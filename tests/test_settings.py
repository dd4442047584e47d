"""Settings: the options, the variables, and how the program starts and ends."""

import contextlib
import json
import re
import signal
import subprocess
import sys
import threading

import pytest
from servers import CALLER_ID, ORDER, ROOT, TRACE_ID, TRACEPARENT, rows

import microdonuts

LISTING = "/kitchen/get_donuts"
CALLER = {"traceparent": TRACEPARENT, "b3": f"{TRACE_ID}-{CALLER_ID}-1"}


def printed(shop):
    """Return the spans that a shop with OTEL_TRACES_EXPORTER=console has printed."""
    return [json.loads(text) for text in re.findall(r"(?ms)^\{$.*?^\}$", "".join(shop.out))]


@rows("propagators")
def test_otel_propagators_chooses_what_is_sent(run_shop, fake, ask, row):
    shop = run_shop("--kitchen", fake.url, OTEL_PROPAGATORS=row["chosen"])
    reply = ask(shop, "/status", {"order_id": "o"}, CALLER)
    [call] = fake.requests
    sent = {name.lower() for name in call.headers.keys()}
    assert sorted(sent & {"traceparent", "baggage", "b3"}) == row["sent"]
    assert (reply.trace_id == TRACE_ID) == row["continued"]
    assert ask(shop, "/traces").headers["Propagation-Fields"] == row["fields"]
    assert_only_warning(shop, "OTEL_PROPAGATORS", row["unknown"])


def assert_only_warning(shop, variable, unknown):
    shop.stop()
    *warnings, banner = shop.err
    assert "open at" in banner
    assert len(warnings) == bool(unknown), warnings
    assert all(variable in line and unknown in line for line in warnings)


@rows("exporters")
def test_otel_traces_exporter_chooses_where_spans_go(run_shop, ask, row):
    shop = run_shop(OTEL_TRACES_EXPORTER=row["chosen"])
    ask(shop, LISTING)
    assert_only_warning(shop, "OTEL_TRACES_EXPORTER", row["unknown"])
    lines = [line for line in shop.out if re.match("   SERVER GET ", line)]
    assert (len(printed(shop)), len(lines)) == (row["printed_as_json"], row["printed_as_lines"])


@rows("sdk_variables")
def test_the_sdk_reads_its_own_variables(run_shop, ask, row):
    shop = run_shop(OTEL_TRACES_EXPORTER="console", **row["variables"])
    ask(shop, LISTING, headers={"User-Agent": "x" * 20_000})
    shop.stop()
    [span] = printed(shop)
    found = span["resource"]["attributes"] | span["attributes"]
    assert found[row["attribute"]] == row["value"]


def test_a_shop_without_the_sdk_serves_and_names_no_span_as_its_own(run_shop, ask):
    shop = run_shop(OTEL_SDK_DISABLED="true")
    for headers in ({}, CALLER):
        reply = ask(shop, "/order", ORDER, headers)
        assert (reply.status, reply.headers["Server-Timing"]) == (200, None)
    assert shop.stop() == 0
    assert (shop.out, len(shop.err)) == ([], 1)


@rows("wrong_options")
def test_an_option_that_cannot_be_is_one_line_and_exit_2(run_shop, row):
    shop = run_shop(*row["arguments"])
    assert shop.stop() == 2
    *usage, line = shop.err
    assert re.match(rf"microdonuts(\.py)?: {row['line']}", line)
    assert [text for text in usage if not re.match("usage: | ", text)] == []
    assert "pw" not in "".join(shop.err), "a password must not be printed"


def test_what_is_no_failed_bind_is_not_called_one(run_shop):
    shop = run_shop(OTEL_TRACES_EXPORTER="otlp", OTEL_BSP_MAX_QUEUE_SIZE="10")
    assert shop.stop() != 0
    assert "cannot listen" not in "".join(shop.err)


@rows("missing")
def test_what_is_missing_is_named_in_one_line(row):
    run = "runpy.run_path('microdonuts.py', run_name='__main__')"
    start = f"import runpy, sys; {row['before']}; {run}"
    command = [sys.executable, "-c", start, "--port", "0"]
    variables = {"OTEL_TRACES_EXPORTER": "otlp"}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, timeout=20)
    [line] = done.stderr.decode().splitlines()
    assert row["named"] in line
    assert done.returncode != 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_costs_an_order_no_answer_and_no_span(run_shop, ask, until, number):
    shop, replies = run_shop("--fry-seconds", "0.2", OTEL_TRACES_EXPORTER="console"), []
    dozen = {"donuts": [{"flavor": "jelly", "quantity": microdonuts.MAX_DONUTS}]}
    buyer = threading.Thread(target=lambda: replies.append(ask(shop, "/order", dozen)))
    buyer.start()
    until(lambda: len(printed(shop)) > 4, "some spans")
    assert shop.stop(number) == 0
    buyer.join(20)
    names = [span["name"] for span in printed(shop)]
    assert [reply.status for reply in replies] == [200]
    assert names.count("POST /kitchen/add_donuts") == 12
    assert names.count("POST /order") == 1
    assert len(shop.err) == 1


def test_a_second_ctrl_c_still_flushes(run_shop, ask):
    shop = run_shop(OTEL_TRACES_EXPORTER="console")
    ask(shop, LISTING)
    shop.process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        shop.process.wait(0.1)
    shop.stop(signal.SIGINT)
    assert len(printed(shop)) == 1
    assert len(shop.err) == 1, "no traceback"
