"""docs/compare.md and docs/at-work.md, held to the official packages that are installed.

Both sides get the same requests. official.json has what differs, and docs/compare.md names the same
attributes and headers. So a package that changes shows which row is out of date.
"""

import json
import os
import re
import subprocess
import sys
import urllib.request
from contextlib import suppress

import pytest

flask = pytest.importorskip("flask", reason="needs: pip install '.[dev]'")
import werkzeug.serving
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.instrumentation import _semconv
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.urllib import URLLibInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.propagators.b3 import B3SingleFormat
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from servers import ROOT, close, serve

import kitchen
import microdonuts

IDS = {"T": "4bf92f3577b34da6a3ce929d0e0e4736", "S": "00f067aa0ba902b7"}
OURS_ALONE = re.compile(r"(code|thread|microdonuts|http\.request\.header)\..+")
THEIRS = (TraceContextTextMapPropagator(), W3CBaggagePropagator(), B3SingleFormat())
OURS = kitchen.PROPAGATORS.values()


def read(path):
    """Return a text, with ids in place of T and S."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return re.sub(r"\b[TS]\b", lambda match: IDS[match[0]], text)


TABLES = json.loads(read("tests/official.json"))
SERVER_REQUESTS, CLIENT_REQUESTS, SPANS, PROPAGATED = TABLES.values()


def words(name):
    """Return the words in backticks that docs/compare.md has in the last cells of a row."""
    # The row goes on below, where the other cells are empty.
    row = rf"(?m)^\|(?:[^|\n]*\|)?[^|\n]*`{name}\b.*\n(?:\| \| \|.*\n)*"
    [lines] = re.findall(row, read("docs/compare.md"))
    return set(re.findall("`(.+?)`", "".join(re.findall(r"[^|]*\|\n", lines))))


@pytest.fixture
def official(spans, monkeypatch):
    """A tracer provider for the packages, which are told to write the stable names."""
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
    # The variable is read once, when the first package is used.
    monkeypatch.setattr(_semconv._OpenTelemetrySemanticConventionStability, "_initialized", False)
    provider = TracerProvider()
    provider.spans = type(spans)()
    provider.add_span_processor(provider.spans)
    return provider


def aspects(span, port):
    """Return {what a span has: its value}, with PORT for the server's port and # for another."""
    found = dict(span.attributes)
    found["name"], found["kind"] = span.name, span.kind.name
    found["parent"] = span.parent and (span.parent.trace_id, span.parent.span_id)
    found["status"], found["description"] = span.status.status_code.name, span.status.description
    found["exceptions"] = " ".join(event.attributes["exception.type"] for event in span.events)
    return {
        name: re.sub(r"^\d{5}$", "#", str(value).replace(str(port), "PORT"))
        for name, value in found.items()
        if value not in (None, "") and not OURS_ALONE.fullmatch(name)
    }


def compare(rows, pairs):
    """Check that what differs is what these rows of official.json and of the document name."""
    found = {
        (aspect, title): [theirs.get(aspect), ours.get(aspect)]
        for title, (theirs, ours) in pairs.items()
        for aspect in theirs.keys() | ours.keys()
        if theirs.get(aspect) != ours.get(aspect)
    }
    listed = {(name, title): values for row in rows for name, title, *values in SPANS[row]}
    names = {name for name, _ in listed}
    shown = {key: found[key] for key in found if key in listed or key[0] not in names}
    assert shown == listed, "mend tests/official.json, and then docs/compare.md"
    known = {aspect for pair in pairs.values() for each in pair for aspect in each}
    for row in rows:
        assert words(row) & known == {name for name, *_ in SPANS[row]}, f"docs/compare.md, {row}"


@pytest.mark.parametrize("row", ["OpenTelemetryMiddleware", "FlaskInstrumentor"])
def test_server_spans(row, official, shop, spans, ask, monkeypatch):
    app = flask.Flask("kitchen", static_folder=None)
    if row == "FlaskInstrumentor":
        FlaskInstrumentor.instrument_app(app, tracer_provider=official)
    else:
        app.wsgi_app = OpenTelemetryMiddleware(app.wsgi_app, tracer_provider=official)

    def answer(*_):
        if "raised" in title:
            raise RuntimeError("a pan fell")
        return "", int(title[:3])

    for path in ("/order", "/kitchen/get_donuts"):
        app.add_url_rule(path, path, answer, methods=microdonuts.ROUTES[path][0])
    server = serve(werkzeug.serving.make_server("127.0.0.1", 0, app))
    monkeypatch.setattr(shop.kitchen, "get_all_donuts", answer)
    pairs = {}
    for title, (method, path, headers) in SERVER_REQUESTS.items():
        spans.clear()
        official.spans.clear()
        for url in (f"http://127.0.0.1:{server.server_port}", shop.url):
            ask(url, path, headers=headers, method=method)
        [theirs], [ours] = official.spans.wait(1), spans.wait(1)
        pairs[title] = aspects(theirs, server.server_port), aspects(ours, shop.server_port)
    close(server)
    compare(["trace_request", row], pairs)


def test_client_spans(official, spans, fake_kitchen):
    pairs = {}
    for title, answer in CLIENT_REQUESTS.items():
        spans.clear()
        official.spans.clear()
        url = fake_kitchen(lambda _, answer=answer: answer.encode()).url
        if title == "refused":
            url = "http://127.0.0.1:1"
        URLLibInstrumentor().instrument(tracer_provider=official)
        with suppress(Exception):
            urllib.request.urlopen(f"{url}/kitchen/get_donuts?order_id=x", timeout=5).read()
        URLLibInstrumentor().uninstrument()
        with suppress(kitchen.Refusal), kitchen.KitchenClient(url, "x") as client:
            client.get_donuts()
        [theirs], [ours] = official.spans.wait(1), spans.wait(1)
        pairs[title] = [aspects(span, url.rpartition(":")[2]) for span in (theirs, ours)]
    compare(["trace_call"], pairs)


@pytest.mark.parametrize("row, theirs, ours", [*zip(PROPAGATED, THEIRS, OURS, strict=True)])
def test_propagators(row, theirs, ours):
    for lines, *expected in PROPAGATED[row]:
        carrier, found = {}, ({}, {})
        for line in lines:
            name, value = line.split(": ")
            carrier.setdefault(name, []).append(value)
        for propagator, sent in zip((theirs, ours), found, strict=True):
            propagator.inject(sent, propagator.extract(carrier))
        assert list(found) == expected, f"{lines}: mend tests/official.json, and docs/compare.md"
    named = {word for word in words(row) if ": " in word}
    assert named == {line for lines, *_ in PROPAGATED[row] for line in lines}, "docs/compare.md"


def test_the_start_of_at_work_exports_one_trace_in_ten(fake_kitchen):
    start = re.search(r"(?ms)^```python\n(.*?)^```$", read("docs/at-work.md"))[1]
    work = "def serve():\n    for _ in range(300):\n        tracer.start_span('work').end()\n"
    backend = fake_kitchen(lambda path: backend.answer({}))
    environment = os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url}
    subprocess.run([sys.executable, "-c", work + start], env=environment, check=True)
    [sent] = ExportTraceServiceRequest.FromString(backend.requests[0].body).resource_spans
    assert 5 < len(sent.scope_spans[0].spans) < 80
    assert "shop" in [attribute.value.string_value for attribute in sent.resource.attributes]
