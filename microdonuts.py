"""MicroDonuts: a donut shop in two files that shows how a trace gets from one service to another.

    python microdonuts.py            then order in a browser: http://127.0.0.1:8082/

The shop takes an order, and asks the kitchen to fry the donuts. It does so over HTTP, although both
run in one process by default. Every span, every inject and every extract is written by hand, to
show what auto-instrumentation does behind the scenes. This is the trace of an order of one donut:

    span                             kind      started by
    POST /order                      SERVER    trace_request
      order                          INTERNAL  span_of_order
        POST                         CLIENT    exchange injects the context ...
          POST /kitchen/add_donuts   SERVER    ... and trace_request extracts it
            fry                      INTERNAL  Kitchen.fry_all, in another thread
        GET                          CLIENT    exchange
          GET /kitchen/get_donuts    SERVER    trace_request

    span         one timed piece of work, such as answering "POST /order"; the kind SERVER answers a
                 request, CLIENT sends one, and INTERNAL does neither
    attribute    a name and a value that are written on a span
    trace        all the spans that one request leads to; they share a trace id. Each but the first
                 has a parent, which is the span that led to it
    link         a pointer from a span to another one that is not its parent, often in another trace
    baggage      names and values that travel with a trace, such as the order id
    context      a span and baggage; each thread, or asyncio task, has a current one. A context is
                 never changed: to add something is to make a new one
    span context the ids and flags of one span, and a tracestate (BLOCK 9)
    carrier      the headers of a request, which take a context to another service
    traceparent  the standard header: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
                 (version, trace id, id of the span that sent it, flags)
    propagator   writes a context into a carrier (inject), or reads it (extract)

Read BLOCKs 1 and 2 here, then 7 to 10 in kitchen.py. BLOCKs 3 to 5 are for looking things up, and
BLOCK 6 can be skipped. A comment "Auto-instrumentation: ..." says which package would do the same
for you, and how it differs. Metrics, logs, retries, type hints and the header Forwarded are left
out on purpose.
"""

import argparse
import collections
import contextlib
import dataclasses
import gc
import ipaddress
import json
import math
import os
import pathlib
import re
import signal
import socket
import sys
import threading
import time
import traceback
import urllib.request
import uuid
from http.client import HTTPMessage, LineTooLong
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

# This variable is taken out of the environment before opentelemetry.propagate is imported. The
# import would fail if it named a propagator that no package has installed, such as b3, which is our
# own. set_up_tracing (BLOCK 4) applies it.
OTEL_PROPAGATORS = os.environ.pop("OTEL_PROPAGATORS", "")

from opentelemetry import baggage, context, propagate, trace
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

import kitchen
from kitchen import ORDER_ID_KEY, HeaderGetter, Kitchen, KitchenClient, Refusal
from kitchen import note_failure, use_context, use_span

# A tracer makes spans. They are recorded once set_up_tracing (BLOCK 4) has run. Apart from our own,
# microdonuts.*, the names of their attributes are those of OpenTelemetry's Semantic Conventions
# v1.44.0. Comments name pages of these conventions, such as "HTTP spans".
tracer = trace.get_tracer("microdonuts", schema_url="https://opentelemetry.io/schemas/1.44.0")

###############################################################################
# BLOCK 1: the SERVER span
###############################################################################


def trace_request(request):
    """Answer a request in a SERVER span that continues the caller's trace, or begins a new one.

    The request is a Handler (BLOCK 6). In this order: extract the caller's context, make that
    context current, start the span, make the span current, answer, end the span, restore the
    previous context.
    """
    # Read the context that the caller has put into the headers (propagate.inject, in exchange of
    # kitchen.py, does that), and add it to the current one. A browser usually sends none.
    # HeaderGetter (BLOCK 9) tells extract how to read the headers of http.server.
    caller_context = propagate.extract(request.headers, context.get_current(), HeaderGetter())
    # start_span takes the parent from the current context, so make caller_context current. Do that
    # for this block only, because this thread also answers the next request on the connection.
    with use_context(caller_context):
        name = f"{request.command} {request.route}" if request.route else request.command
        span = tracer.start_span(name, kind=SpanKind.SERVER, attributes=server_attributes(request))
        with use_span(span):  # the current span in this block; ended after it
            answer = request.dispatch()  # calls the endpoint; an exception becomes an answer
            describe_answer(span, answer)
            add_server_timing(span, answer)
            request.send(answer)  # raises if the caller has reset the connection
    # Auto-instrumentation: OpenTelemetryMiddleware of opentelemetry-instrumentation-wsgi wraps a
    # WSGI application in the same steps. If a span is current already, it extracts nothing, and
    # starts an INTERNAL span. There is no package for http.server.


def server_attributes(request):
    """Return the attributes that are known when the span starts ("HTTP spans", HTTP server span).

    A sampler, which decides whether a trace is recorded, sees only these.
    """
    host, port = parse_authority(request.authority) or (None, None)
    client_address, client_port = request.client_address[:2]  # an IPv6 address has two more parts
    attributes = {
        "http.request.method": request.command,
        "http.route": request.route,
        "network.protocol.version": request.request_version.removeprefix("HTTP/"),
        "user_agent.original": request.headers.get("User-Agent", "").strip(" \t") or None,
        # The URL, and the host and port that it names
        "url.scheme": "http",
        "url.path": request.url_path,
        "url.query": kitchen.redact(request.url_query) or None,
        "server.address": host,
        "server.port": port,
        # The caller. Without proxies in between, the client is the peer of the connection.
        "client.address": client_address,
        "network.peer.address": client_address,
        "network.peer.port": client_port,
        # The headers that can carry a context
        **kitchen.header_attributes(request.headers),
    }
    if request.url_path.startswith("/kitchen/"):
        # The kitchen gets the order id as baggage, so its span can have it from the start.
        attributes.update(kitchen.order_attributes())
    return {name: value for name, value in attributes.items() if value is not None}


def describe_answer(span, answer):
    """Write the outcome of a request on its SERVER span ("HTTP spans", Status).

    A 4xx is not an error to a server, because the mistake is the client's.
    """
    span.set_attribute("http.response.status_code", answer.status)
    if answer.error:  # an exception that nobody expected
        note_failure(span, answer.error)
    elif answer.status >= 500:  # a Refusal; its HTTP status needs no description
        span.set_attribute("error.type", str(answer.status))
        span.set_status(StatusCode.ERROR)


def add_server_timing(span, answer):
    """Tell the page which span this was (W3C Trace Context, editor's draft, Server-Timing)."""
    span_context = span.get_span_context()
    # With OTEL_SDK_DISABLED=true, start_span returns the caller's span, or an invalid one.
    if span_context.is_valid and not span_context.is_remote:
        traceparent = kitchen.format_traceparent(span_context)
        answer.headers["Server-Timing"] = f'trace;desc="{traceparent}"'


###############################################################################
# BLOCK 2: the endpoints
###############################################################################

# An endpoint has two parameters: the request, with the JSON body of a POST in request.fields, and
# the server (BLOCK 6). It returns a value that is sent as JSON, or raises a Refusal (BLOCK 11).
# Handler.dispatch turns either into an Answer.


@contextlib.contextmanager
def span_of_order(name, order_id, attributes=None, links=None):
    """Put the order id into the baggage, and start a span about the order, for a `with` block."""
    # set_baggage returns a new context, with the order id in its baggage. propagate.inject sends it
    # on, so that spans of the kitchen, and of services behind the kitchen, can have the id.
    with use_context(baggage.set_baggage(ORDER_ID_KEY, order_id)):
        attributes = {ORDER_ID_KEY: order_id, **(attributes or {})}
        with use_span(tracer.start_span(name, attributes=attributes, links=links)) as span:
            yield span


def order(request, server):
    """POST /order {"donuts": [{"flavor": "glazed", "quantity": 2}, ...]}

    Call the kitchen once for each donut, so that each donut has spans of its own. Answer with the
    new order (see order_summary).
    """
    flavors = parse_basket(request.fields.get("donuts"))
    order_id = str(uuid.uuid4())
    attributes = {"microdonuts.quantity": len(flavors)}
    with server.one_at_a_time() as deadline:  # the calls have to end by the deadline
        with span_of_order("order", order_id, attributes) as span:
            server.order_span_contexts.append((order_id, span.get_span_context()))
            donuts = place_order(server.client, order_id, flavors, deadline)
            return order_summary(order_id, donuts)


def place_order(client, order_id, flavors, deadline):
    """Hand each donut to the kitchen, and return all donuts of the order.

    Raise Refusal(502, 503 or 504) if a call fails. Donuts that were accepted before the failure are
    fried all the same, so the error gives their number.
    """
    accepted = 0
    try:
        for flavor in flavors:
            client.add_donut(order_id, flavor, deadline)
            accepted += 1
        donuts = client.get_donuts(order_id, deadline)
        if not donuts:  # the kitchen does not know the order
            raise Refusal(502, "The kitchen has forgotten the order: look at its terminal.")
    except Refusal as refusal:
        counts = f"{accepted} of {len(flavors)} donuts accepted"
        sentence = f"Order {order_id} failed with {counts}. {refusal}"
        raise Refusal(refusal.status, sentence) from refusal
    return donuts


def order_status(request, server):
    """POST /status {"order_id": "..."}

    Answer with the order (see order_summary), or with 404 if the kitchen does not know it.
    """
    order_id = parse_order_id(request.fields.get("order_id"))
    with server.one_at_a_time() as deadline:
        # The page sends no traceparent with a status check, so each of them is a trace of its own.
        # It is about the order, but no part of the work on it. A link says so.
        links = [trace.Link(found) for key, found in server.order_span_contexts if key == order_id]
        with span_of_order("status", order_id, links=links):
            donuts = server.client.get_donuts(order_id, deadline)
            if not donuts:
                raise Refusal(404, "The kitchen knows no such order: check the order_id.")
            return order_summary(order_id, donuts)


# The kitchen's endpoints. They call none of the endpoints above, and may be in another process.


def add_donuts(request, server):
    """POST /kitchen/add_donuts {"order_id": "...", "flavor": "glazed", "quantity": 1}

    Answer with the order id, and with the number of donuts that the order now has.
    """
    order_id = parse_order_id(request.fields.get("order_id"))
    item = {"quantity": 1, **request.fields}  # the quantity may be left out
    flavor, quantity = parse_donut(item)
    count = server.kitchen.add_donuts(order_id, flavor, quantity)
    return {"order_id": order_id, "donuts": count}


def get_donuts(request, server):
    """GET /kitchen/get_donuts?order_id=...

    Answer with the donuts of the order, or with all donuts if no order is named.
    """
    query = parse_qs(request.url_query, keep_blank_values=True)  # "order_id=" is refused below
    if "order_id" not in query:
        return server.kitchen.shelf.get_donuts()
    order_id = parse_order_id(query["order_id"][0])
    donuts = server.kitchen.shelf.get_donuts(order_id)
    if not donuts:
        raise Refusal(404, "The kitchen knows no such order: check the order_id.")
    return donuts


###############################################################################
# BLOCK 3: what a request may ask for, and what it is answered
###############################################################################

FLAVORS = ("glazed", "cinnamon", "old-fashioned", "chocolate", "sprinkles", "jelly")
MAX_DONUTS = 100  # in one order


@dataclasses.dataclass
class Answer:
    status: int
    body: bytes
    headers: dict
    error: Exception = None  # the exception behind a 500


def json_answer(value, status=200, headers=None, error=None):
    """Return an Answer with a JSON body. Handler.send adds its Content-Type."""
    return Answer(status, json.dumps(value).encode(), headers or {}, error)


def parse_fields(body):
    """Return the fields of a body, which has to be a JSON object. Raise Refusal(400)."""
    try:
        fields = json.loads(body.decode())
    except (ValueError, RecursionError):  # RecursionError: it is nested too deeply
        fields = None
    if not isinstance(fields, dict):
        raise Refusal(400, "The body must be a JSON object, in UTF-8.")
    return fields


def parse_order_id(value):
    """Return an order id. Raise Refusal(400) if the value cannot be one."""
    if not kitchen.is_order_id(value):
        raise Refusal(400, 'Say which order: send the "order_id" that the answer to the order had.')
    return value


def parse_donut(item):
    """Return the flavor and the quantity of one item of a basket. Raise Refusal(400)."""
    if not isinstance(item, dict):
        raise Refusal(400, 'Each donut must be an object: {"flavor": "glazed", "quantity": 1}.')
    flavor = item.get("flavor")
    quantity = item.get("quantity")
    if flavor not in FLAVORS:
        raise Refusal(400, f'Choose a "flavor" that we have: {", ".join(FLAVORS)}.')
    if type(quantity) is not int or not 1 <= quantity <= MAX_DONUTS:  # True is an int, too
        raise Refusal(400, f'"quantity" must be a whole number from 1 to {MAX_DONUTS}.')
    return flavor, quantity


def parse_basket(items):
    """Return the flavors of an order, one for each donut. Raise Refusal(400)."""
    if not isinstance(items, list) or not items:
        raise Refusal(400, 'Order a list of "donuts": [{"flavor": "glazed", "quantity": 1}].')
    flavors = []
    for item in items:
        flavor, quantity = parse_donut(item)
        flavors += [flavor] * quantity
    if len(flavors) > MAX_DONUTS:
        raise Refusal(400, f"Order at most {MAX_DONUTS} donuts at a time.")
    return flavors


def order_summary(order_id, donuts):
    """Return the answer to an order or a status check, from the kitchen's list of its donuts.

    An order is only as far as its least advanced donut. The estimated delivery time is the number
    of seconds until the last donut is ready.
    """
    return {
        "order_id": order_id,
        "estimated_delivery_time": math.ceil(max(donut["ready_in"] for donut in donuts)),
        "state": min((donut["status"] for donut in donuts), key=kitchen.STATES.index),
        "donuts": [
            {name: donut[name] for name in ("flavor", "status", "ready_in")} for donut in donuts
        ],
    }


###############################################################################
# BLOCK 4: where the spans go
###############################################################################

MAX_SPANS = 2_000


class CodeLocation(SpanProcessor):
    """Writes on each span the line of this program that started it, and the thread it runs in.

    The names are those of the Attribute registry, Code and Thread.
    """

    MODULES = {__file__: "microdonuts", kitchen.__file__: "kitchen"}

    def on_start(self, span, parent_context=None):
        thread = threading.current_thread()
        attributes = {"thread.id": thread.ident, "thread.name": thread.name}
        frame = sys._getframe(1)  # of the SDK, which has called this method; go out to our own
        while frame and frame.f_code.co_filename not in self.MODULES:
            frame = frame.f_back
        if frame:
            path = frame.f_code.co_filename
            attributes["code.function.name"] = f"{self.MODULES[path]}.{frame.f_code.co_qualname}"
            attributes["code.file.path"] = path
            attributes["code.line.number"] = frame.f_lineno
        span.set_attributes(attributes)


class SpanStore(SpanProcessor):
    """Keeps the newest MAX_SPANS spans for the page, from the moment they start."""

    def __init__(self):
        self.spans = collections.deque(maxlen=MAX_SPANS)

    def on_start(self, span, parent_context=None):
        self.spans.append(span)

    def traces(self):
        """Return {trace id: its spans}, the traces and the spans in the order of their start."""
        traces = {}
        for span in self.spans.copy():  # a copy, because other threads may be appending
            traces.setdefault(span.context.trace_id, []).append(span)
        return traces


def terminal_line(span):
    """Return the line that the terminal shows when a span has ended.

        -> CLIENT POST 200         1.5ms  <file>:<line> <span id> <parent's id> <start of trace id>
           SERVER POST /order 200  2.5ms  <file>:<line> <span id> /#<trace id>

    The arrow is -> if the span called another service, and <- if its parent is in another service.
    /#<trace id> is the address of the trace on the page.
    """
    attributes = span.attributes
    arrow = "  "
    if span.kind is SpanKind.CLIENT:
        arrow = "->"
    elif span.parent and span.parent.is_remote:
        arrow = "<-"
    outcome = attributes.get("error.type") or attributes.get("http.response.status_code", "ok")
    work = f"{span.kind.name} {span.name} {outcome}"
    milliseconds = (span.end_time - span.start_time) / 1e6
    file_name = os.path.basename(attributes.get("code.file.path", ""))
    code = f"{file_name}:{attributes.get('code.line.number')}"
    span_id = trace.format_span_id(span.context.span_id)
    trace_id = trace.format_trace_id(span.context.trace_id)
    origin = f"/#{trace_id}"
    if span.parent:
        origin = f"{trace.format_span_id(span.parent.span_id)} {trace_id[:6]}"
    return f"{arrow} {work:35} {milliseconds:6.1f}ms {code:>18} {span_id} {origin}\n"


def make_processor(exporter):
    """Return a processor, which passes ended spans to an exporter: otlp, console or terminal."""
    if exporter == "otlp":
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError:
            exit_with("otlp needs a package: pip install opentelemetry-exporter-otlp-proto-http")
        # This processor exports in a thread of its own, so that no request waits for a network. It
        # drops spans when its queue is full: OTEL_BSP_MAX_QUEUE_SIZE makes the queue longer.
        return BatchSpanProcessor(OTLPSpanExporter())
    # This processor exports each span when it ends, in the thread that ends it, so none is lost.
    if exporter == "console":
        return SimpleSpanProcessor(ConsoleSpanExporter())
    return SimpleSpanProcessor(ConsoleSpanExporter(formatter=terminal_line))


def read_names(variable, value, choices, default):
    """Return the names in a comma-separated variable, or the default if it has none that we know.

    Case does not matter, and an unknown name is ignored with a warning (SDK environment variables,
    Enum). "none" makes the list empty.
    """
    names = []
    for name in value.lower().split(","):
        name = name.strip()
        if name == "none":
            return []
        if name in choices:
            names.append(name)
        elif name:
            known = ", ".join(choices)
            print_line(f"{variable} has {name!r}, which is ignored: use {known} or none")
    return list(dict.fromkeys(names)) or default  # each name once


def set_up_tracing(store):
    """Make the tracer provider and the propagators that the OTEL_ variables ask for."""
    value = os.environ.get("OTEL_TRACES_EXPORTER", "")
    exporters = read_names("OTEL_TRACES_EXPORTER", value, ["console", "otlp"], ["terminal"])
    default = ["tracecontext", "baggage"]
    formats = read_names("OTEL_PROPAGATORS", OTEL_PROPAGATORS, kitchen.PROPAGATORS, default)
    propagators = [kitchen.PROPAGATORS[name] for name in formats]
    propagate.set_global_textmap(CompositePropagator(propagators))
    # A resource says which service the spans come from. Resource.create reads OTEL_SERVICE_NAME and
    # OTEL_RESOURCE_ATTRIBUTES. If neither gives a name, it says unknown_service, and ours is used.
    resource = Resource.create()
    if resource.attributes["service.name"].startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "microdonuts"}))
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(CodeLocation())
    provider.add_span_processor(store)
    for exporter in exporters:
        provider.add_span_processor(make_processor(exporter))
    trace.set_tracer_provider(provider)
    return provider
    # Auto-instrumentation: the command opentelemetry-instrument does this before a program starts.
    # opentelemetry-api reads OTEL_PROPAGATORS, and opentelemetry-sdk reads the others.
    # opentelemetry-distro makes the command set up the SDK, and sets defaults.


###############################################################################
# BLOCK 5: the page's files and read-outs; ROUTES
###############################################################################

HERE = pathlib.Path(__file__).resolve().parent
MAX_JSON = 1_000_000  # characters in one answer; the spans of 100 donuts have about 400,000
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".py": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
FILE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def find_files():
    """Return the files of the page by URL path, so that a request cannot name any other file."""
    folder = HERE / "static"
    if not folder.is_dir():
        folder = HERE.parent / "static"  # no-tracing/ has none of its own
    files = {
        "/": folder / "index.html",
        # The page shows the line that started a span.
        "/source/microdonuts.py": HERE / "microdonuts.py",
        "/source/kitchen.py": HERE / "kitchen.py",
    }
    for path in folder.iterdir():
        if path.suffix in CONTENT_TYPES and not path.is_symlink():
            files[f"/static/{path.name}"] = path
    return files


FILES = find_files()


def send_file(request, server):
    """GET /, /static/<name> and /source/<name>"""
    path = FILES[request.url_path]
    try:
        body = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise Refusal(404, "This file is gone: start from the page, at /.") from None
    return Answer(200, body, {"Content-Type": CONTENT_TYPES[path.suffix], **FILE_HEADERS})


def first_that_fit(texts):
    """Return a list of the JSON texts that fit into one answer, from the first one on."""
    chosen = []
    length = 0
    for text in texts:  # a generator makes them one by one, so the rest is never made
        length += len(text)
        if length > MAX_JSON:
            break
        chosen.append(text)
    return chosen


def list_traces(request, server):
    """GET /traces

    Answer with the traces that are remembered, the newest first: [{"trace_id", "spans", "open",
    "first"}, ...]. "spans" and "open" are numbers, of all and of those that have not ended. "first"
    is the first span in the SDK's JSON.
    """
    traces = reversed(server.store.traces().items())
    texts = first_that_fit(summarize(trace_id, spans) for trace_id, spans in traces)
    # This tells the page which headers our propagators write.
    headers = {"Propagation-Fields": ", ".join(sorted(propagate.get_global_textmap().fields))}
    return Answer(200, f"[{', '.join(texts)}]".encode(), headers)


def summarize(trace_id, spans):
    summary = {
        "trace_id": trace.format_trace_id(trace_id),
        "spans": len(spans),
        "open": sum(span.end_time is None for span in spans),
        "first": json.loads(spans[0].to_json(indent=None)),
    }
    return json.dumps(summary)


def show_trace(request, server):
    """GET /traces/<trace id>

    Answer with {"spans": [...], "missing": ...}: the spans in the SDK's JSON, and sentences that
    say which spans are not there, or null. A kitchen in another process is asked for its spans,
    too; "?here" stops it from asking on. Raise Refusal(404) if there are none.
    """
    trace_id = request.url_path.removeprefix("/traces/")
    spans = server.store.traces().get(int(trace_id, 16), [])
    texts = first_that_fit(span.to_json(indent=None) for span in spans)
    missing = ""
    if len(texts) < len(spans):
        missing = f"Only {len(texts)} of {len(spans)} spans fit into one answer."
    if request.url_query != "here" and server.client.url != server.url:
        try:
            kitchen_texts, kitchen_missing = fetch_spans(server.client.url, trace_id, spans)
            texts += kitchen_texts
        except Exception:  # the kitchen cannot be reached, or its answer has another form
            kitchen_missing = f"The kitchen at {server.client.url} does not show its spans."
        missing = f"{missing} {kitchen_missing}".strip()
    if not texts and not missing:
        raise Refusal(404, "This trace is not remembered: it was not sampled, or is too long ago.")
    body = f'{{"spans": [{", ".join(texts)}], "missing": {json.dumps(missing or None)}}}'
    return Answer(200, body.encode(), {})


def fetch_spans(url, trace_id, known_spans):
    """Ask another process for a trace. Return what its answer has of "spans" and of "missing".

    The spans are a list of JSON texts, without those that are known here.
    """
    known_ids = {span.context.span_id for span in known_spans}
    request = urllib.request.Request(f"{url}/traces/{trace_id}?here")
    client = KitchenClient(url)
    with contextlib.closing(client.handler):
        client.handler.deadline = time.monotonic() + 2
        response = client.opener.open(request)
        answer = json.loads(client.handler.read_body(response))
    if response.status == 404:
        return [], ""
    texts = [
        json.dumps(span, allow_nan=False)  # 1e999 is read as Infinity
        for span in answer["spans"]
        if int(span["context"]["span_id"], 16) not in known_ids
    ]
    return texts, answer["missing"] or ""


# The table of contents: the methods and the function for each path. No path has a space in it, so
# nobody can ask for the literal "/traces/<trace id>".
ROUTES = {
    "/order": ("POST", order),
    "/status": ("POST", order_status),
    "/kitchen/add_donuts": ("POST", add_donuts),
    "/kitchen/get_donuts": ("GET, HEAD", get_donuts),
    "/traces": ("GET, HEAD", list_traces),
    "/traces/<trace id>": ("GET, HEAD", show_trace),
}
for path in FILES:
    ROUTES[path] = ("GET, HEAD", send_file)


def find_route(path):
    """Return the key of ROUTES that a path matches, or None."""
    if re.fullmatch("/traces/[0-9a-f]{32}", path):
        return "/traces/<trace id>"
    return path if path in ROUTES else None


def is_traced(path):
    """Tell whether a request for a path gets a span: the page and its read-outs do not."""
    return path != "/" and not path.startswith(("/static/", "/source/", "/traces"))
    # Auto-instrumentation: opentelemetry-instrumentation-flask reads such paths from the variable
    # OTEL_PYTHON_FLASK_EXCLUDED_URLS, or from OTEL_PYTHON_EXCLUDED_URLS.


###############################################################################
# BLOCK 6: HTTP, the server, and main. Skip it on a first reading.
###############################################################################

KITCHEN_SECONDS = 10  # how long an order or a status check may take in total
MAX_SPAN_CONTEXTS = 1_000  # with a tracestate in each, these are 16 MB
MAX_BODY = 65_536  # bytes
MAX_HEAD = 32_768  # bytes; the longest tracestate alone has 16,447

HEAD = re.compile(
    # RFC 9112 3: a method, a target and a version, with one space between them
    rb"[!-~]+ [!-~\x80-\xff]+ HTTP/1\.[0-9]\r?\n"
    # RFC 9110 5.5 and 5.6.2: tokens, each with a value, whose only control character is a tab
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*\r?\n)*"
    rb"\r?\n"
)
AUTHORITY = re.compile(  # RFC 9110 7.2: a host, and perhaps a port
    r"(?P<host> \[[0-9A-Fa-f:.]+\] | [A-Za-z0-9._~!$&'()*+,;=%-]+ ) (?: : (?P<port>[0-9]{0,5}) )?",
    re.VERBOSE,
)
UNREADABLE = "Send GET, HEAD or POST in well-formed HTTP/1.1, with a head of at most 32 KB."


class Headers(HTTPMessage):
    """Keeps the parser, which was made for e-mail, from looking for a multipart body."""

    def get_content_type(self):
        return "text/plain"


class HeadReader:
    """Lets http.server read the headers of a request, and keeps the head as it was sent."""

    def __init__(self, rfile, request_line):
        self.rfile = rfile
        self.head = request_line

    def readline(self, limit):
        line = self.rfile.readline(MAX_HEAD)
        self.head += line
        if len(self.head) > MAX_HEAD:
            raise LineTooLong("head")  # http.server answers this with 431
        return line


class Handler(BaseHTTPRequestHandler):
    """One connection, with one request after the other. http.server calls do_GET for each.

    http.server reads the request line and the headers. It accepts much that is malformed, and
    parse_request refuses that. Two losses are accepted: a method without a do_ method gets 501 and
    no span; an empty line in front of a request, or a head that stalls, ends the connection without
    an answer.
    """

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.1"
    timeout = 10  # seconds without a byte from the client
    MessageClass = Headers

    def parse_request(self):
        """Read the head of a request. Return False if it was refused."""
        reader = HeadReader(self.rfile, self.raw_requestline)
        self.rfile = reader
        try:
            if not super().parse_request():
                return False
        finally:
            self.rfile = reader.rfile
        # RFC 9112 6.3: with a malformed or repeated length, nobody knows where the request ends.
        # Without a length it ends after its head. 20 digits are more than any length needs.
        length = self.header("Content-Length", "0")
        if not HEAD.fullmatch(reader.head) or not re.fullmatch("[0-9]{1,20}", length):
            self.send_error(400)
            return False
        self.length = int(length)
        return True

    def header(self, name, default=""):
        """Return the value of a header. Of a repeated one, return all values, one a line."""
        return "\n".join(self.headers.get_all(name, [default])).strip(" \t")

    def do_GET(self):
        """Answer a request of any method."""
        self.read_target()
        # RFC 9110 7.6.1: a list of options. http.server understands a single one.
        options = re.split(r"[,\s]+", self.header("Connection").lower())
        # RFC 9112 C.2.2: an HTTP/1.0 client may read until the connection ends.
        if "close" in options or self.request_version == "HTTP/1.0":
            self.close_connection = True
        try:
            if is_traced(self.url_path):
                trace_request(self)
            else:
                self.send(self.dispatch())
        except OSError:  # from send: dispatch turns every exception into an answer
            self.close_connection = True
            self.log_message("hung up before its answer")

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET
    do_OPTIONS = do_TRACE = do_PATCH = do_QUERY = do_GET

    def read_target(self):
        """Split the target as it was sent. http.server shortens a leading "//" in self.path."""
        target = self.requestline.split(" ")[1]
        self.host = self.header("Host")
        self.authority = self.host
        absolute = re.fullmatch("(?i:http)://([^/?]*)(.*)", target)
        if absolute:  # RFC 9112 3.2.2: a target with a host in it wins over the header Host
            self.authority, target = absolute.groups()
        path, _, self.url_query = target.partition("?")
        self.url_path = path or "/"
        self.route = find_route(self.url_path)

    def dispatch(self):
        """Return the answer of the endpoint, or an error answer if something was raised."""
        try:
            body = self.read_body()
            self.check_host()
            endpoint = self.check_route()
            if self.command == "POST":
                self.fields = parse_fields(body)
            result = endpoint(self, self.server)
            return result if isinstance(result, Answer) else json_answer(result)
        except Refusal as refusal:
            return json_answer({"error": str(refusal)}, refusal.status, refusal.headers)
        except Exception as error:
            traceback.print_exc()
            sentence = "The shop failed: look at its terminal."
            return json_answer({"error": sentence}, 500, error=error)

    def check_host(self):
        """Raise Refusal(400) unless there is one Host, and 421 if it is not ours."""
        if self.request_version == "HTTP/1.0" and not self.host:
            return
        address = parse_authority(self.authority)
        if not address or not parse_authority(self.host):  # RFC 9112 3.2
            raise Refusal(400, "Send one Host header, with the name and port of this server.")
        # A page from elsewhere can have its own name resolve to 127.0.0.1 (DNS rebinding), and then
        # read this server's answers in a browser. The Host of its requests is its own name.
        if self.server.is_local and not is_loopback(address[0]):
            raise Refusal(421, f"This is not the server that you named: use {self.server.url}/.")

    def check_route(self):
        """Return the endpoint. Raise Refusal(403, 404 or 405)."""
        if self.route is None:
            raise Refusal(404, "There is nothing at this path: start from the page, at /.")
        methods, endpoint = ROUTES[self.route]
        if self.command not in methods.split(", "):
            refusal = Refusal(405, f"Use one of these methods: {methods}.")
            refusal.headers["Allow"] = methods
            raise refusal
        own_origin = f"http://{self.authority}"
        if self.command == "POST" and self.headers.get("Origin", own_origin) != own_origin:
            raise Refusal(403, "Order from the shop's own page: this request is another site's.")
        return endpoint

    def read_body(self):
        """Return the body, b"" if there is none. Raise Refusal(400, 408, 411 or 413)."""
        self.has_unread_body = True
        if "Transfer-Encoding" in self.headers:
            raise Refusal(411, "Send the body with its Content-Length, and not in chunks.")
        if self.length > MAX_BODY:
            raise Refusal(413, f"The body is too long: send at most {MAX_BODY} bytes.")
        try:
            body = self.rfile.read(self.length)
        except OSError:
            raise Refusal(408, "The body did not arrive in time: send all of it.") from None
        if len(body) < self.length:
            raise Refusal(400, "The body is shorter than its Content-Length: send all of it.")
        self.has_unread_body = False
        return body

    def send(self, answer):
        """Send an answer in one piece. A second one would wait until the first is acknowledged.

        Raise OSError if the client has reset the connection. If the client has closed it in the
        normal way, nothing is raised.
        """
        if self.has_unread_body or self.server.is_closing:
            self.close_connection = True
        headers = {
            "Date": self.date_time_string(),
            "Content-Type": "application/json",  # unless the answer says another one
            **answer.headers,
            "Content-Length": len(answer.body),
        }
        if self.close_connection:
            headers["Connection"] = "close"
        head = f"HTTP/1.1 {answer.status} {self.responses[answer.status][0]}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        body = b"" if self.command == "HEAD" else answer.body
        self.wfile.write(f"{head}\r\n".encode("latin-1") + body)

    def send_error(self, code, *explanations):
        """Refuse what cannot be read, and close. Called by http.server and parse_request."""
        self.has_unread_body = True
        self.send(json_answer({"error": UNREADABLE}, code))

    def log_error(self, *arguments):
        """Say nothing. http.server would log each idle connection that it closes."""


def parse_authority(text):
    """Return ("127.0.0.1", 8082) for "127.0.0.1:8082", with port 80 if there is none; or None."""
    match = AUTHORITY.fullmatch(text)
    if match is None:
        return None
    port = int(match["port"] or 80)
    return (match["host"].strip("[]"), port) if port < 65_536 else None


def is_loopback(host):
    """Tell whether a host can only be reached from this machine."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Server(ThreadingHTTPServer):
    """The shop: a thread for each connection, and what the endpoints need.

    A thread pool could deadlock: the shop calls itself, so an order could wait for a thread that is
    waiting for that order.
    """

    request_queue_size = 1024  # with the default of 5, a burst of connections waits for seconds
    daemon_threads = False  # so that server_close waits for answers that are being sent

    def __init__(self, arguments, store):
        host = arguments.host
        if ":" in host:
            self.address_family = socket.AF_INET6
            host = f"[{host}]"
        super().__init__((arguments.host, arguments.port), Handler)
        self.url = f"http://{host.replace('0.0.0.0', '127.0.0.1')}:{self.server_port}"
        self.is_local = is_loopback(arguments.host)
        self.store = store
        self.kitchen = Kitchen(arguments.fry_seconds)
        self.client = KitchenClient(arguments.kitchen or self.url)
        # (order id, span context) of the newest "order" spans, for the links of status checks
        self.order_span_contexts = collections.deque(maxlen=MAX_SPAN_CONTEXTS)
        self.order_lock = threading.Lock()
        self.connections = set()
        self.is_closing = False

    @contextlib.contextmanager
    def one_at_a_time(self):
        """Let one order or status check in, and yield its deadline, a value of time.monotonic().

        Only one thread at a time may use the connection of the KitchenClient, and with more of
        them the threads would only contend for the interpreter. Raise Refusal(503) if the caller is
        not let in by its deadline, or if the shop is closing.
        """
        deadline = time.monotonic() + KITCHEN_SECONDS
        if not self.order_lock.acquire(timeout=KITCHEN_SECONDS):
            raise Refusal(503, "Too many orders at once: try again later.")
        try:
            if self.is_closing:
                raise Refusal(503, "The shop is closing: order again when it is open.")
            yield deadline
        finally:
            self.order_lock.release()

    def process_request(self, request, client_address):
        self.connections.add(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request, client_address):
        threading.current_thread().name = "connection from {}:{}".format(*client_address)
        super().process_request_thread(request, client_address)

    def close_request(self, request):
        """Read what is left, then close the connection. Called when nothing more will be sent.

        RFC 9112 9.6: otherwise, bytes that we have not read would make the client lose our answer.
        """
        end = time.monotonic() + 1
        with contextlib.suppress(OSError):
            request.settimeout(1)
            while request.recv(65_536) and time.monotonic() < end:
                pass
        self.connections.discard(request)
        request.close()

    def handle_error(self, request, client_address):
        """Print an unforeseen exception, but not that a connection broke between two requests."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def close(self):
        """Refuse new orders, finish the one in progress, then close."""
        self.is_closing = True
        with self.order_lock:  # waits for the one in progress, which has a deadline
            pass
        self.shutdown()
        for connection in self.connections.copy():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)  # an idle one ends, a busy one answers first
        self.server_close()
        self.client.handler.close()
        self.kitchen.close()


def print_line(sentence):
    """Print a line on stderr, if it can be written."""
    with contextlib.suppress(OSError):
        print(f"microdonuts: {sentence}", file=sys.stderr)


def exit_with(sentence):
    print_line(sentence)
    raise SystemExit(2)


def kitchen_url(text):
    """Return the URL of a kitchen, http://host:port. Raise ArgumentTypeError."""
    match = re.fullmatch("(?i:http)://([^/?#]+)/?", text)
    if not match or not parse_authority(match[1]):
        # The sentence does not repeat the text, which may have a password in it.
        raise argparse.ArgumentTypeError("give a host and a port alone: http://127.0.0.1:8083")
    return f"http://{match[1]}"


def read_arguments():
    parser = argparse.ArgumentParser(description="A donut shop that shows context propagation.")
    parser.error = exit_with
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (%(default)s). While it is a loopback address, requests for "
        "other hosts are refused; with 0.0.0.0 or a name, every Host is taken",
    )
    parser.add_argument(
        "--port", type=int, default=8082, help="port to listen on (%(default)s; 0: any)"
    )
    parser.add_argument(
        "--kitchen", type=kitchen_url, metavar="URL", help="the shop whose kitchen fries (itself)"
    )
    parser.add_argument(
        "--fry-seconds",
        type=float,
        default=kitchen.FRY_SECONDS,
        help="how long one donut takes, from 0 to 5 (%(default)s)",
    )
    arguments = parser.parse_args()
    if not arguments.host:  # it would mean all addresses
        exit_with("argument --host: give an address, such as 127.0.0.1")
    if not 0 <= arguments.fry_seconds <= 5:  # because closing waits for one donut
        exit_with("argument --fry-seconds: give a time from 0 to 5, such as 1.4")
    return arguments


def main():
    gc.set_threshold(50_000)  # otherwise all kept spans and donuts are searched too often
    arguments = read_arguments()
    is_closing = False

    def on_signal(number, frame):
        nonlocal is_closing
        is_closing = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second signal ends the program at once
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    store = SpanStore()
    try:
        provider = set_up_tracing(store)
        server = Server(arguments, store)
    except (OSError, OverflowError) as error:
        address = f"{arguments.host} port {arguments.port}"
        exit_with(f"cannot listen on {address} ({error}): choose another --host or --port")
    except (TypeError, ValueError) as error:  # TypeError: a host that cannot be a name
        exit_with(f"a setting cannot be used: {error}")
    threading.Thread(target=server.serve_forever, args=(0.1,)).start()
    print_line(f"open at {server.url}/ (Ctrl-C closes)")
    while not is_closing:
        time.sleep(0.2)  # a wait without an end could not be interrupted on Windows
    server.close()
    provider.shutdown()  # sends the spans that a BatchSpanProcessor still has


if __name__ == "__main__":
    main()
