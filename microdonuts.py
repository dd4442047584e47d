"""MicroDonuts: a donut shop of two files, to learn from how a trace crosses from one service to another.

    python microdonuts.py            then order in a browser: http://127.0.0.1:8082/

The shop takes an order and asks the kitchen to fry it, over HTTP, even where both are one process. Every span, every
inject and every extract is written by hand, to show what auto-instrumentation does when nobody looks. An order:

    POST /order                      SERVER    Handler.serve
      order                          INTERNAL  order
        POST                         CLIENT    kitchen.KitchenClient.exchange: injects the headers ...
          POST /kitchen/add_donuts   SERVER    Handler.serve: ... and this extracts them
            fry                      INTERNAL  kitchen.Kitchen.fry_all: another thread, later
        GET                          CLIENT
          GET /kitchen/get_donuts    SERVER

    span         one timed piece of work                    "POST /order", 31 ms
    trace id     the number all spans of one order share    4bf92f3577b34da6a3ce929d0e0e4736
    context      what is current in a thread right now      the span, and the baggage {microdonuts.order.id: ...}
    carrier      what takes a context to another process    the headers of one HTTP request
    traceparent  the header: version-trace-parent-flags     00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03
    propagator   writes a carrier (inject), or reads it (extract)

Read in this order: KitchenClient.exchange, W3CTraceContext and HeaderGetter in kitchen.py, Handler.serve here, and
Kitchen.fry_all. "Auto-instrumentation:" in a comment names the package and hook that does elsewhere what stands there.
Left out on purpose: metrics, the logs SDK, retries, Forwarded headers.
"""

import argparse
import collections
import contextlib
import gc
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
import uuid
from http.client import HTTPException, HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

gc.set_threshold(50_000)  # modules, spans and donuts stay on purpose: the default, 700, searches them too often

# BLOCK 0: OpenTelemetry's API and SDK

OTEL_PROPAGATORS = os.environ.pop("OTEL_PROPAGATORS", "")  # opentelemetry.propagate fails at import if it has b3

from opentelemetry import baggage, context, propagate, trace
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

import kitchen
from kitchen import FRY_SECONDS, STATES, Kitchen, KitchenClient, Refusal, read_json

tracer = trace.get_tracer("microdonuts", schema_url="https://opentelemetry.io/schemas/1.44.0")

# BLOCK 1: the tracer provider, and where its spans go


class CodeLocation(SpanProcessor):
    """Writes on each span which line of this program started it (Attribute registry, Code).
    # Auto-instrumentation: none does this; its spans all start in a package's own code."""

    MODULES = {__file__: "microdonuts", kitchen.__file__: "kitchen"}

    def on_start(self, span, parent_context=None):
        frame = sys._getframe(1)
        while frame and frame.f_globals.get("__file__") not in self.MODULES:
            frame = frame.f_back
        if frame:
            path = frame.f_globals["__file__"]
            thread = threading.current_thread()
            span.set_attributes({"thread.id": thread.ident, "thread.name": thread.name,
                                 "code.function.name": f"{self.MODULES[path]}.{frame.f_code.co_qualname}",
                                 "code.file.path": path, "code.line.number": frame.f_lineno})


MAX_TRACES, MAX_SPANS = 200, 1_000


class SpanStore(SpanProcessor):
    """The spans of the newest MAX_TRACES traces, MAX_SPANS of each, from the moment they start, for the page."""

    def __init__(self):
        self.traces = collections.OrderedDict()  # trace id -> its spans, oldest first; the newest trace last
        self.lock = threading.Lock()

    def on_start(self, span, parent_context=None):
        with self.lock:
            spans = self.traces.setdefault(span.context.trace_id, [])
            self.traces.move_to_end(span.context.trace_id)
            if len(spans) < MAX_SPANS:
                spans.append(span)
            if len(self.traces) > MAX_TRACES:
                self.traces.popitem(last=False)


def terminal_line(span):
    """One ended span in one line: when it began, -> if it sent its context or <- if it was sent its parent, its kind,
    name and outcome, how long it took, the line of code that started it, its id and its parent's, and the trace: the
    first digits of its id, or at the end of a root, which has no parent, where the page shows it."""
    began, ms = span.start_time // 1_000_000, (span.end_time - span.start_time) / 1e6
    when = f"{time.strftime('%H:%M:%S', time.localtime(began // 1000))}.{began % 1000:03}"
    has = span.attributes
    sent = span.kind is SpanKind.CLIENT and any(name.startswith("http.request.header.") for name in has)
    arrow = "->" if sent else "<-" if span.parent and span.parent.is_remote else "  "
    outcome = "ok" if span.status.status_code is StatusCode.UNSET else "ERROR"
    what = f"{span.kind.name} {span.name} {has.get('error.type') or has.get('http.response.status_code') or outcome}"
    took = f"{ms:.1f}ms" if ms < 100 else f"{ms / 1000:.2f}s"
    place = f"{os.path.basename(has.get('code.file.path', ''))}:{has.get('code.line.number')}"
    span_id, trace_id = f"{span.context.span_id:016x}", f"{span.context.trace_id:032x}"
    if span.parent is None:
        return f"{when} {arrow} {what} {took} {place} {span_id} /#{trace_id}\n"
    return f"{when} {arrow} {what:35} {took:>6} {place:>18} {span_id} {span.parent.span_id:016x} {trace_id[:8]}\n"


def otlp():
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        stop("OTEL_TRACES_EXPORTER=otlp needs a package: pip install opentelemetry-exporter-otlp-proto-http")
    # In batches, off the request's thread. A full queue drops spans: OTEL_BSP_MAX_QUEUE_SIZE makes it longer.
    return BatchSpanProcessor(OTLPSpanExporter())


# SimpleSpanProcessor exports each span as it ends, in the thread that ends it: in order, at once, and none is lost.
EXPORTERS = {"": lambda: SimpleSpanProcessor(ConsoleSpanExporter(formatter=terminal_line)),
             "console": lambda: SimpleSpanProcessor(ConsoleSpanExporter()), "otlp": otlp, "none": None}


def chosen(variable, value, choices, default):
    """What a variable's value, a comma-separated list, names among the choices; an unknown name ends the program."""
    names = dict.fromkeys(name.strip() for name in (value.strip(" ,") or default).split(","))
    if unknown := [name for name in names if name not in choices]:
        stop(f"{variable} has {unknown[0]!r}: use {', '.join(filter(None, choices))}, or a list of them")
    return [choices[name] for name in names]


def set_up_tracing(store):
    """Make the tracer provider and the propagators that the OTEL_ variables ask for, and make them the global ones.

    # Auto-instrumentation: opentelemetry-instrument (opentelemetry-distro) does this before the program starts.
    """
    exporters = chosen("OTEL_TRACES_EXPORTER", os.environ.get("OTEL_TRACES_EXPORTER", ""), EXPORTERS, "")
    propagators = chosen("OTEL_PROPAGATORS", OTEL_PROPAGATORS, kitchen.PROPAGATORS, "tracecontext,baggage")
    propagate.set_global_textmap(CompositePropagator(list(filter(None, propagators))))
    resource = Resource.create()
    if resource.attributes["service.name"].startswith("unknown_service"):  # neither variable gave one
        resource = resource.merge(Resource({"service.name": "microdonuts"}))
    provider = TracerProvider(resource=resource)
    for processor in [CodeLocation(), store, *(make() for make in filter(None, exporters))]:
        provider.add_span_processor(processor)
    trace.set_tracer_provider(provider)
    return provider


# What the endpoints answer, and what they ask for

FLAVORS = ("glazed", "cinnamon", "old-fashioned", "chocolate", "sprinkles", "jelly")
MAX_DONUTS = 100  # in one order
MAX_BODY = 65_536  # bytes


# What goes back to the client; `error` is the exception behind a 500 that nobody foresaw.
Answer = collections.namedtuple("Answer", "status body headers error", defaults=[None])


def in_json(value, status=200, headers=None, error=None):
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})}, error)


def check_order_id(order_id):
    """An order id is printable text of 1 to 100 characters."""
    if not isinstance(order_id, str) or not 0 < len(order_id) <= 100 or not order_id.isprintable():
        raise Refusal(400, 'Say which order: "order_id" must be the text that the answer to the order gave.')
    return order_id


def check_donut(item, default_quantity=None):
    """(flavor, quantity) of one item of a basket."""
    if not isinstance(item, dict):
        raise Refusal(400, 'Each donut must be an object: {"flavor": "glazed", "quantity": 1}.')
    flavor, quantity = item.get("flavor"), item.get("quantity", default_quantity)
    if flavor not in FLAVORS:
        raise Refusal(400, f'Choose a "flavor" that we have: {", ".join(FLAVORS)}.')
    if type(quantity) is not int or not 1 <= quantity <= MAX_DONUTS:  # not isinstance: True is an int too
        raise Refusal(400, f'"quantity" must be a whole number from 1 to {MAX_DONUTS}.')
    return flavor, quantity


def check_basket(items):
    """The flavors of an order, one for each donut."""
    if not isinstance(items, list) or not items:
        raise Refusal(400, 'Order something: "donuts" must be a list, [{"flavor": "glazed", "quantity": 1}].')
    flavors = [flavor for flavor, quantity in map(check_donut, items) for _ in range(quantity)]
    if len(flavors) > MAX_DONUTS:
        raise Refusal(400, f"Order at most {MAX_DONUTS} donuts at a time.")
    return flavors


# The order endpoints: they hold the kitchen's client, and nothing of the kitchen

# BLOCK 2: the spans of an order and of a status check

order_spans = collections.OrderedDict()  # order id -> span context of its "order" span, oldest first


def order(request, client):
    """POST /order {"donuts": [{"flavor", "quantity"}, ...]}: fry them, one kitchen call for each donut."""
    flavors = check_basket(request.fields.get("donuts"))
    order_id = str(uuid.uuid4())
    attributes = {kitchen.ORDER_ID: order_id, "microdonuts.quantity": len(flavors)}
    token = context.attach(baggage.set_baggage(kitchen.ORDER_ID, order_id))
    try:
        with tracer.start_as_current_span("order", attributes=attributes, record_exception=False,
                                          set_status_on_exception=False) as span, kitchen.failures_on(span):
            order_spans[order_id] = span.get_span_context()
            if len(order_spans) > kitchen.MAX_REMEMBERED:
                order_spans.popitem(last=False)
            return in_json(place(order_id, flavors, client, request.deadline))
    finally:
        context.detach(token)


def place(order_id, flavors, client, deadline):
    taken = 0
    try:
        for flavor in flavors:
            client.add_donut(order_id, flavor, deadline)
            taken += 1
        return summary(order_id, client.get_donuts(order_id, deadline))
    except Refusal as refusal:
        sentence = f"Order {order_id} failed with {taken} of {len(flavors)} donuts taken. {refusal}"
        raise Refusal(max(502, refusal.status), sentence, refusal.headers) from refusal  # 404: the kitchen's mistake


def status(request, client):
    """POST /status {"order_id"}: how far an order is."""
    order_id = check_order_id(request.fields.get("order_id"))
    # Each check is a trace of its own. Its link leads back to the order, which caused it but does not contain it.
    links = [trace.Link(order_spans[order_id])] if order_id in order_spans else []
    token = context.attach(baggage.set_baggage(kitchen.ORDER_ID, order_id))
    try:
        with tracer.start_as_current_span("status", attributes={kitchen.ORDER_ID: order_id}, links=links,
                                          record_exception=False, set_status_on_exception=False) as span, \
                kitchen.failures_on(span):
            return in_json(summary(order_id, client.get_donuts(order_id, request.deadline)))
    finally:
        context.detach(token)


def summary(order_id, donuts):
    """An order is as far as its least advanced donut, and as far off as its last. Refusal 404 if it has none."""
    if not donuts:
        raise Refusal(404, "The kitchen knows no such order: check the order_id, or order again.")
    state = min((donut["status"] for donut in donuts), key=STATES.index)
    seconds = 0 if state == "ready" else math.ceil(max(donut["ready_in"] for donut in donuts))
    shown = [{name: donut[name] for name in ("flavor", "status", "ready_in")} for donut in donuts]
    return {"order_id": order_id, "estimated_delivery_time": seconds, "state": state, "donuts": shown}


# The kitchen endpoints: they hold the kitchen, and nothing of the orders


def add_donuts(request, kitchen):
    """POST /kitchen/add_donuts {"order_id", "flavor", "quantity": 1}: how many donuts of that order there are now."""
    order_id = check_order_id(request.fields.get("order_id"))
    flavor, quantity = check_donut(request.fields, default_quantity=1)
    return in_json({"order_id": order_id, "donuts": kitchen.add(order_id, flavor, quantity)})


def get_donuts(request, kitchen):
    """GET /kitchen/get_donuts?order_id=: the donuts of one order, or all; kitchen.Kitchen.get tells their shape."""
    order_ids = parse_qs(request.query, keep_blank_values=True).get("order_id", [])
    if len(order_ids) > 1:
        raise Refusal(400, "Ask for one order at a time: give order_id once.")
    return in_json(kitchen.get(check_order_id(order_ids[0]) if order_ids else None))


# The page, and what it reads: none of this is traced

HERE = pathlib.Path(__file__).resolve().parent
CONTENT_TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".png": "image/png",
                 ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".py": "text/plain; charset=utf-8"}
FOLDER = HERE / "static" if (HERE / "static").is_dir() else HERE.parent / "static"
STATIC = {path.name: path for path in FOLDER.iterdir() if path.suffix in CONTENT_TYPES and not path.is_symlink()}
SOURCES = {name: HERE / name for name in ("microdonuts.py", "kitchen.py")}
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'")


def file(request, files):
    """GET /, /static/<name>, /source/<name>: one of the files found at the start; no path is made from a request."""
    name = request.path.rpartition("/")[2] or "index.html"
    if name not in files:
        raise Refusal(404, "There is no such file: start from the page, at /.")
    headers = {"Content-Type": CONTENT_TYPES[files[name].suffix], "Content-Security-Policy": POLICY,
               "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
    return Answer(200, files[name].read_bytes(), headers)


# BLOCK 3: the spans that the page reads

def traces(request, store):
    """GET /traces: the traces that are remembered, newest first: [{trace_id, spans, open, first}, ...], the first span
    as the SDK's to_json gives it, and how many there are and how many have not ended."""
    with store.lock:
        remembered = [list(spans) for spans in reversed(store.traces.values())]
    return in_json([{"trace_id": f"{spans[0].context.trace_id:032x}", "spans": len(spans),
                     "open": sum(span.end_time is None for span in spans),
                     "first": json.loads(spans[0].to_json(indent=None))} for spans in remembered],
                   headers={"Propagation-Fields": ", ".join(sorted(propagate.get_global_textmap().fields))})


def one_trace(request, store):
    """GET /traces/<trace id>: {spans, missing}: its spans, and why the other process's are missing, if they are.

    A kitchen that is another process is asked for its spans too; "?here" keeps it from asking on.
    """
    trace_id = request.path.removeprefix("/traces/")
    if not re.fullmatch("[0-9a-f]{32}", trace_id):
        raise Refusal(404, "A trace id is 32 digits of 0-9 and a-f: see /traces.")
    with store.lock:
        spans = list(store.traces.get(int(trace_id, 16), ()))
    spans, missing, client = [json.loads(span.to_json(indent=None)) for span in spans], None, request.server.client
    if request.query != "here" and client.url != request.server.url:
        try:
            with client.opener.open(f"{client.url}/traces/{trace_id}?here", timeout=2) as response:
                spans += json.load(response).get("spans", [])
        except (OSError, HTTPException, ValueError, AttributeError):
            missing = f"The kitchen at {client.url} does not answer: its spans are missing."
    if not spans and not missing:
        raise Refusal(404, "No such trace is remembered here: it was not sampled, or it is too long ago.")
    return in_json({"spans": spans, "missing": missing})


# The contents page: path, its method, the function that answers, and the one thing that function holds.
ROUTES = {
    "/order": ("POST", order, "client"),
    "/status": ("POST", status, "client"),
    "/kitchen/add_donuts": ("POST", add_donuts, "kitchen"),
    "/kitchen/get_donuts": ("GET", get_donuts, "kitchen"),
    "/": ("GET", file, "static"),
    "/static/": ("GET", file, "static"),
    "/source/": ("GET", file, "sources"),
    "/traces": ("GET", traces, "store"),
    "/traces/": ("GET", one_trace, "store"),
}

# HTTP, as far as http.server leaves it to us. Sections are of RFC 9110 (semantics) and RFC 9112 (HTTP/1.1).

TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110 5.6.2
# RFC 9112 2.2, 3, 5: perhaps an empty line, the request line, the headers, an empty line; a line may end in LF alone.
HEAD = re.compile(rf"(?:\r?\n)?({TOKEN}) ([!-~]+) (HTTP/[0-9]\.[0-9])\r?\n((?:{TOKEN}:[^\r\n\0]*\r?\n)*)\r?\n")
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::([0-9]{0,5}))?")  # RFC 9110 7.2


class Handler(BaseHTTPRequestHandler):
    """One connection: reads requests off it, one after another, and answers each."""

    timeout = 10  # seconds without a byte from the client, or without it taking one

    def handle_one_request(self):
        """Read a request and answer it, whatever its method; http.server's own looks for a do_GET, a do_POST, ..."""
        self.command, self.close_connection, is_read = None, True, False
        with contextlib.suppress(OSError):  # it said nothing for too long, or is gone; only reading stands in here
            is_read = self.rfile.peek(1) and self.read_head()
        if is_read:
            self.respond()

    def read_head(self):
        """Whether request line and headers came; if not, the refusal has been sent, and there is no span for it."""
        head = line = ""
        try:
            while not head.endswith(("\r\n\r\n", "\n\n")):
                line = self.rfile.readline(MAX_BODY).decode("latin-1")
                head += line
                if not line or len(head) >= MAX_BODY:
                    return self.refuse(400 if not line else 414 if head == line else 431)
        except TimeoutError:
            return self.refuse(408)
        match = HEAD.fullmatch(head)
        if not match or match[3] < "HTTP/1" or match[3] > "HTTP/2":
            return self.refuse(505 if match else 400)
        self.command, self.target, self.request_version, lines = match.groups()
        self.headers = HTTPMessage()
        for name, value in re.findall(r"([^:]+):(.*)\n", lines):
            self.headers[name] = value.strip(" \t\r")  # adds: a repeated header stays repeated
        return True

    def refuse(self, status):
        self.write(in_json({"error": "This cannot be read as HTTP/1.1: check its first line and its headers."}, status))

    def respond(self):
        threading.current_thread().name = "connection from {}:{}".format(*self.client_address)
        self.read_target()
        self.unread = "Content-Length" in self.headers or "Transfer-Encoding" in self.headers
        answer = self.serve()
        is_last = "close" in self.headers.get("Connection", "").lower() or self.request_version == "HTTP/1.0"
        self.close_connection = is_last or self.unread or self.server.closing
        self.write(answer)

    def read_target(self):
        """What was asked for, as it was sent: host, path, query, and the route that it matches."""
        absolute = re.fullmatch(r"(?i:http)://([^/?]*)(.*)", self.target)  # RFC 9112 3.2.2: it wins over Host
        hosts = self.headers.get_all("Host", [""])
        self.authority, target = absolute.groups() if absolute else (hosts[0] if len(hosts) == 1 else "", self.target)
        path, _, self.query = target.partition("?")
        self.path, folder = path or "/", path[:path.rfind("/") + 1]
        self.route = self.path if self.path in ROUTES else folder if folder in ROUTES and folder != "/" else None

    # BLOCK 4: the SERVER span, and what it extracts

    def serve(self):
        """The Answer, made within a SERVER span that continues the caller's trace, if the headers have one.

        # Auto-instrumentation: opentelemetry-instrumentation-wsgi wraps the WSGI app; http.server has none to wrap, and
        no package of its own. There the span also covers the sending of the answer. Here it ends before, so that
        whoever has the answer can find the span; a client that hangs up is one line on stderr.
        """
        if self.path == "/" or self.path.startswith(("/static/", "/traces", "/source/")):
            return self.answer()  # Auto-instrumentation: OTEL_PYTHON_EXCLUDED_URLS
        # extract reads what inject, in KitchenClient.exchange of kitchen.py, has written.
        token = context.attach(propagate.extract(self.headers, context.get_current(), kitchen.HeaderGetter()))
        try:
            method = self.command if self.command in kitchen.KNOWN_METHODS else "HTTP"  # HTTP spans, Name
            name = f"{method} {self.route}" if self.route else method
            span = tracer.start_span(name, kind=SpanKind.SERVER, attributes=self.server_attributes())
            with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
                answer = self.answer()
                describe_answer(span, answer)
        finally:
            context.detach(token)  # this thread's next request is another trace
        return answer

    def server_attributes(self):
        """What is known before the work begins, and so can guide a sampler (HTTP spans, HTTP server span)."""
        is_known = self.command in kitchen.KNOWN_METHODS
        host, port = host_and_port(self.authority) or (None, None)
        attributes = {
            "http.request.method": self.command if is_known else "_OTHER", "http.route": self.route,
            "http.request.method_original": None if is_known else self.command, "url.scheme": "http",
            "url.path": self.path, "url.query": kitchen.redact(self.query) or None, "server.address": host,
            "server.port": port, "client.address": self.client_address[0],
            "network.peer.address": self.client_address[0], "network.peer.port": self.client_address[1],
            "network.protocol.version": self.request_version.removeprefix("HTTP/"),
            "user_agent.original": self.headers.get("User-Agent"),
            **kitchen.wire_attributes(self.headers.items()),
            **(kitchen.order_attributes() if self.path.startswith("/kitchen/") else {}),
        }
        return {name: value for name, value in attributes.items() if value is not None}

    def answer(self):
        """The Answer to this request: the endpoint's, a refusal, or 500."""
        try:
            self.check()
            method, endpoint, holds = ROUTES[self.route]
            self.fields = self.json() if method == "POST" else {}
            self.deadline = time.monotonic() + KITCHEN_SECONDS
            with self.server.desk(self) if self.route in DESKS else contextlib.nullcontext():
                return endpoint(self, getattr(self.server, holds))
        except Refusal as refusal:
            return in_json({"error": str(refusal)}, refusal.status, refusal.headers)
        except Exception as error:
            self.server.handle_error(self.request, self.client_address)  # prints it
            return in_json({"error": "The shop made a mistake: look at its terminal."}, 500, error=error)

    def check(self):
        """What every endpoint asks of a request: a host, a path, a method, and an origin that is this server."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) > 1 or (hosts or self.request_version != "HTTP/1.0") and not host_and_port(self.authority):
            raise Refusal(400, "Send one Host header, with the name and port of this server.")  # RFC 9112 3.2
        if self.route is None:
            raise Refusal(404, f"There is nothing at this path: try {', '.join(ROUTES)}.")
        method = ROUTES[self.route][0]
        allowed = ("GET", "HEAD") if method == "GET" else (method,)
        if self.command not in allowed:
            raise Refusal(405, f"Use {' or '.join(allowed)} here.", {"Allow": ", ".join(allowed)})
        if method == "POST" and self.headers.get("Origin", f"http://{self.authority}") != f"http://{self.authority}":
            raise Refusal(403, "Order from the shop's own page: this request came from another site's.")

    def json(self):
        """The fields of the body, which is a JSON object whatever its Content-Type says."""
        try:
            fields = read_json(self.body().decode())
        except (ValueError, RecursionError):
            raise Refusal(400, "The body is not JSON: send an object, in UTF-8.") from None
        if not isinstance(fields, dict):
            raise Refusal(400, "The body must be a JSON object.")
        return fields

    def body(self):
        """The body, as long as Content-Length says it is (RFC 9112 6.2)."""
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or not lengths:
            raise Refusal(411, "Send a body with its Content-Length, not in chunks.")
        if len(lengths) > 1 or not re.fullmatch("[0-9]+", lengths[0]):
            raise Refusal(400, "Content-Length must be one whole number.")
        if len(lengths[0]) > 9 or int(lengths[0]) > MAX_BODY:
            raise Refusal(413, f"The body is too long: send at most {MAX_BODY} bytes.")
        try:
            data = self.rfile.read(int(lengths[0]))
        except OSError:
            raise Refusal(408, "The body stopped halfway: send all of it.") from None
        if len(data) < int(lengths[0]):
            raise Refusal(400, "The body is shorter than its Content-Length: send all of it.")
        self.unread = False
        return data

    def write(self, answer):
        """Send an answer in one piece: two small sends meet Nagle's algorithm and the delayed ACK, 40 ms."""
        headers = {"Date": self.date_time_string(), **answer.headers, "Content-Length": len(answer.body),
                   **({"Connection": "close"} if self.close_connection else {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {answer.status} {self.responses[answer.status][0]}\r\n{head}\r\n"
        try:
            self.wfile.write(head.encode("latin-1") + (b"" if self.command == "HEAD" else answer.body))
        except OSError as error:
            self.log_message("hung up before its answer, %d (%s)", answer.status, type(error).__name__)


def host_and_port(authority):
    """("127.0.0.1", 8082) of "127.0.0.1:8082"; port 80 if it has none, None if it is no authority at all."""
    match = HOST.fullmatch(authority)
    return (match[1].strip("[]"), int(match[2] or 80)) if match and int(match[2] or 80) < 65_536 else None


def describe_answer(span, answer):
    """HTTP spans, Status: to a server only 5xx is an error; a 4xx is the client's."""
    span.set_attribute("http.response.status_code", answer.status)
    if answer.status >= 500:
        span.set_attribute("error.type", kitchen.type_name(answer.error) if answer.error else str(answer.status))
        span.set_status(StatusCode.ERROR, answer.error and str(answer.error))  # the code says it all but for a bug
        if answer.error:
            kitchen.record_once(span, answer.error)
    ids = span.get_span_context()
    if ids.is_valid:  # tells the client its trace (W3C Trace Context, editor's draft, Server Timing Metric Format)
        trace_id, span_id = f"{ids.trace_id:032x}", f"{ids.span_id:016x}"
        answer.headers["Server-Timing"] = f'trace;desc="00-{trace_id}-{span_id}-{ids.trace_flags:02x}"'


# The server, and main

KITCHEN_SECONDS = 10  # how long one order or status check may wait for the desk and the kitchen in all
DESKS = {"/order": 1, "/status": 512}  # how many are served at once: threads that all want the interpreter slow it


class Server(ThreadingHTTPServer):
    """A thread for each connection, and the one thing each endpoint holds: client, kitchen, or static.

    A pool of threads would not do: the shop calls itself, and an order could wait for a thread that waits for it.
    """

    request_queue_size = 1024  # with the default of 5, bursts of connections wait for seconds
    daemon_threads = False  # so that server_close waits for the answers, and the spans, of requests under way

    def __init__(self, arguments, store):
        super().__init__((arguments.host, arguments.port), Handler)
        self.url = "http://{}:{}".format(*self.server_address).replace("//0.0.0.0", "//127.0.0.1")
        self.kitchen, self.client = Kitchen(arguments.fry_seconds), KitchenClient(arguments.kitchen or self.url)
        self.static, self.store, self.sources = STATIC, store, SOURCES
        self.connections, self.closing = set(), False
        self.desks = {route: threading.Semaphore(places) for route, places in DESKS.items()}

    def process_request(self, request, client_address):
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        """RFC 9112 9.6: to close with bytes unread would reset the connection, and lose the answer with it."""
        until = time.monotonic() + 1
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_WR)
            request.settimeout(1)
            while request.recv(65_536) and time.monotonic() < until:
                pass
        self.connections.discard(request)
        super().shutdown_request(request)

    @contextlib.contextmanager
    def desk(self, request):
        """A place at the desk for an order or a status check, within its deadline, and none once the shop closes."""
        desk, later = self.desks[request.route], {"Retry-After": "10"}
        if not desk.acquire(timeout=max(0, request.deadline - time.monotonic())):
            raise Refusal(503, "Too many orders at once: try again later.", later)
        try:
            if self.closing:
                raise Refusal(503, "The shop is closing: order again when it is open.", later)
            yield
        finally:
            desk.release()

    def close(self):
        """Let nobody new to the desks, answer those who are there (they still call this server), then close all."""
        self.closing, until = True, time.monotonic() + KITCHEN_SECONDS
        for route, places in DESKS.items():
            for _ in range(places):
                self.desks[route].acquire(timeout=max(0, until - time.monotonic()))
            self.desks[route].release(places)
        self.shutdown()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)  # an idle one ends here; another can still be answered
        self.server_close()
        self.kitchen.close()


def kitchen_url(text):
    parts = urlsplit(text)
    if parts.scheme != "http" or not host_and_port(parts.netloc.rpartition("@")[2]) or parts.path.strip("/"):
        raise argparse.ArgumentTypeError(f"{text!r} is no kitchen: give a URL such as http://127.0.0.1:8083")
    return text


def stop(sentence):
    print(f"microdonuts: {sentence}", file=sys.stderr)
    raise SystemExit(2)


def read_arguments():
    parser = argparse.ArgumentParser(description="A donut shop to learn context propagation from.")
    parser.error = stop
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8082, help="port to listen on (%(default)s; 0: any)")
    parser.add_argument("--kitchen", type=kitchen_url, metavar="URL", help="the shop whose kitchen fries (itself)")
    parser.add_argument("--fry-seconds", type=float, default=FRY_SECONDS, metavar="SECONDS",
                        help="how long one donut takes (%(default)s)")
    arguments = parser.parse_args()
    if 0 <= arguments.fry_seconds < 1_000_000:
        return arguments
    stop("argument --fry-seconds: give a time from 0 on, such as 1.4")


def main():
    arguments = read_arguments()
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # in all threads: sigwait, below, takes the first
    try:
        # BLOCK 5: tracing begins
        store = SpanStore()
        provider = set_up_tracing(store)
        server = Server(arguments, store)
    except (OSError, OverflowError) as error:
        stop(f"cannot listen on {arguments.host} port {arguments.port} ({error}): choose another --host or --port")
    except ValueError as error:
        stop(f"a setting cannot be used: {error}")
    threading.Thread(target=server.serve_forever, args=(0.1,)).start()
    print(f"MicroDonuts is open: {server.url}/ (Ctrl-C closes it)", file=sys.stderr)
    signal.sigwait(signals)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)  # a second one ends the program at once
    server.close()
    # BLOCK 6: tracing ends
    provider.shutdown()  # sends what a BatchSpanProcessor still holds


if __name__ == "__main__":
    main()
