"""The tests of MicroDonuts, in the order in which a learner meets its features.

Most run the shop in this process (`shop`), where each span that ends can be looked at; what belongs to a process
(settings, signals, the terminal) is tested on a shop in a process of its own (`Process`). Nothing sleeps for a while: what
takes time is waited for, with a deadline.
"""

import argparse
import collections
import http.client
import json
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from types import SimpleNamespace

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import kitchen
import microdonuts

HERE = pathlib.Path(__file__).resolve().parent
DEADLINE = 20  # seconds after which whatever is waited for has failed
SAMPLE = {"donuts": [{"flavor": "glazed", "quantity": 1}, {"flavor": "jelly", "quantity": 1}]}
TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"

# ---------------------------------------------------------------- what the tests use


def until(condition, what="it"):
    """The first true value of condition(), which has DEADLINE seconds to give one."""
    end = time.monotonic() + DEADLINE
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not happen within {DEADLINE} s"
        time.sleep(0.005)
    return value


Reply = collections.namedtuple("Reply", "status headers body")


def ask(url, method, path, body=None, headers=()):
    """One request on a connection of its own; a body that is not bytes is sent as JSON."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=DEADLINE)
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    try:
        connection.putrequest(method, path)
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
    """Bytes as they are on a connection of its own: all that came back until the server closed it."""
    with socket.create_connection(url.removeprefix("http://").split(":"), timeout=DEADLINE) as connection:
        connection.sendall(data)
        if shut:
            connection.shutdown(socket.SHUT_WR)
        got = b""
        while chunk := connection.recv(65_536):
            got += chunk
        return got


def parse(got):
    """The one response that some bytes are."""
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 "), got[:200]
    status_line, *lines = head.decode("latin-1").split("\r\n")
    message = http.client.HTTPMessage()
    for line in lines:
        message[line.partition(": ")[0]] = line.partition(": ")[2]
    assert len(body) == int(message["Content-Length"])
    return Reply(int(status_line.split(" ")[1]), message, json.loads(body))


def post(path, body, *headers):
    """The bytes of a POST request."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


class Spans:
    """The spans that ended in this process since `clear`, told apart by trace."""

    def __init__(self):
        self.exporter = InMemorySpanExporter()

    def clear(self):
        self.exporter.clear()

    def all(self):
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time)

    def of(self, reply_or_trace_id):
        """The spans of one trace, named by its id or by a reply's Server-Timing."""
        trace_id = getattr(reply_or_trace_id, "headers", None)
        trace_id = trace_id["Server-Timing"].split("-")[1] if trace_id else reply_or_trace_id
        return [span for span in self.all() if f"{span.context.trace_id:032x}" == trace_id]

    def wait(self, reply_or_trace_id, count):
        """The same, once there are so many (a "fry" comes later than its order's answer)."""
        return until(lambda: len(found := self.of(reply_or_trace_id)) >= count and found, f"{count} spans")


def tree(spans, parent_id=None, indent=""):
    """The spans of a trace as indented text, in call order: the form of design and README."""
    known = {span.context.span_id for span in spans}
    text = ""
    for span in spans:
        its_parent = span.parent.span_id if span.parent and span.parent.span_id in known else None
        if its_parent == parent_id:
            text += f"{indent}{span.name} {span.kind.name}\n" + tree(spans, span.context.span_id, indent + "  ")
    return text


def start(kitchen_url=None, fry_seconds=0, host="127.0.0.1"):
    """A shop in this process; its spans go to `spans`."""
    arguments = argparse.Namespace(host=host, port=0, kitchen=kitchen_url, fry_seconds=fry_seconds)
    server = microdonuts.Server(arguments, microdonuts.SpanStore())
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    return server


@pytest.fixture(scope="session")
def provider():
    """The one tracer provider of this process, as the program makes it; it also fills the page's store."""
    os.environ["OTEL_TRACES_EXPORTER"] = "none"
    provider = microdonuts.set_up_tracing(STORE)
    del os.environ["OTEL_TRACES_EXPORTER"]
    provider.add_span_processor(SimpleSpanProcessor(SPANS.exporter))
    return provider


STORE, SPANS = microdonuts.SpanStore(), Spans()


@pytest.fixture
def spans(provider):
    SPANS.clear()
    return SPANS


@pytest.fixture(scope="module")
def shop(provider):
    """A shop whose donuts take no time."""
    server = start()
    yield server
    server.close()


class Process:
    """A shop in a process of its own, on a free port. Use: with Process("--fry-seconds", "0") as shop: ..."""

    def __init__(self, *arguments, folder=HERE, **env):
        clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        self.process = subprocess.Popen(
            [sys.executable, str(folder / "microdonuts.py"), "--port", "0", *arguments], env={**clean, **env},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.out, self.err = [], []
        self.readers = [threading.Thread(target=lines.extend, args=(stream,))
                        for lines, stream in ((self.out, self.process.stdout), (self.err, self.process.stderr))]
        for reader in self.readers:
            reader.start()
        until(lambda: self.err or self.process.poll() is not None, "the banner")
        self.url = (re.findall(r"http://[^/ ]+", self.err[0]) or [None])[0] if self.err else None

    def __enter__(self):
        assert self.url, self.err
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self, number=signal.SIGTERM):
        """End it and give its exit status; then .out and .err hold all it wrote."""
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
        return status

    def json_spans(self):
        """What OTEL_TRACES_EXPORTER=console has printed by the end: the SDK's JSON."""
        text, found, decoder = "".join(self.out).strip(), [], json.JSONDecoder()
        while text:
            span, end = decoder.raw_decode(text)
            found.append(span)
            text = text[end:].lstrip()
        return found


# ---------------------------------------------------------------- an order gets cooked


def states_of(url, order_id):
    donuts = ask(url, "GET", f"/kitchen/get_donuts?order_id={order_id}").body
    return [donut["status"] for donut in donuts]


def test_an_order_gets_cooked(shop):
    reply = ask(shop.url, "POST", "/order", SAMPLE)
    assert reply.status == 200
    assert set(reply.body) == {"order_id", "estimated_delivery_time", "state"}
    order_id = reply.body["order_id"]
    assert uuid.UUID(order_id).version == 4
    until(lambda: states_of(shop.url, order_id) == ["ready", "ready"])
    status = ask(shop.url, "POST", "/status", {"order_id": order_id})
    assert status.body == {"order_id": order_id, "estimated_delivery_time": 0, "state": "ready"}
    donuts = ask(shop.url, "GET", f"/kitchen/get_donuts?order_id={order_id}").body
    assert donuts == [{"flavor": flavor, "order_id": order_id, "status": "ready", "ready_in": 0.0}
                      for flavor in ("glazed", "jelly")]
