# /// script
# requires-python = ">=3.11"
# dependencies = ["opentelemetry-api>=1.26,<2", "opentelemetry-sdk>=1.26,<2"]
# ///
"""MicroDonuts: a donut shop in two files that shows how a trace gets from one service to another.

    python microdonuts.py            then order in a browser: http://127.0.0.1:8082/

The shop takes an order and asks the kitchen, in kitchen.py, to fry the donuts. It asks over HTTP,
although both are one process by default. Every span, every inject and every extract is written by
hand, to show what packages for auto-instrumentation do. This is the trace of an order of one donut:

    span                             kind      started by
    POST /order                      SERVER    trace_request()
      order                          INTERNAL  order()
        POST                         CLIENT    trace_call(), which injects the context
          POST /kitchen/add_donuts   SERVER    trace_request(), which extracts it
            fry                      INTERNAL  Kitchen.fry_forever(), in another thread
        GET                          CLIENT    trace_call()
          GET /kitchen/get_donuts    SERVER    trace_request()

    span          one timed piece of work, with attributes, which are names and values
    trace         all the spans that one request leads to
    kind          CLIENT for whoever calls, SERVER for whoever answers, INTERNAL for neither
    baggage       names and values that travel with a trace
    context       holds a span and baggage; each thread has a current context; to attach another one
                  is to make it current, and to detach it brings back the one before
    propagator    writes a context into the headers of a request (inject) and reads it (extract);
                  an object that holds headers is a carrier
    sampler       decides for each span that starts whether it is recorded
"""

import argparse
import collections
import json
import math
import mimetypes
import os
import pathlib
import re
import signal
import socketserver
import sys
import threading
import time
import traceback
import urllib.request
import uuid
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit("microdonuts needs Python 3.11 or later: try `uv run microdonuts.py`.")
try:
    import opentelemetry.sdk  # noqa: F401
except ImportError:
    sys.exit("microdonuts needs a package: python3 -m pip install 'opentelemetry-sdk>=1.26,<2'")

# When opentelemetry.propagate is imported, it reads this variable and fails if there is no package
# for b3. We bring our own b3, so we remove the variable before the import.
OTEL_PROPAGATORS = os.environ.pop("OTEL_PROPAGATORS", "") or "tracecontext,baggage"

from opentelemetry import baggage, context, propagate, trace
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind

from kitchen import MAX_DONUTS, ORDER_ID_KEY, PROPAGATORS, STATES, Kitchen, KitchenClient, Refusal
from kitchen import active_span, format_traceparent, header_attributes, mark_failed, record_failure

# A tracer starts spans. Their attributes have the names of OpenTelemetry's semantic conventions.
tracer = trace.get_tracer("microdonuts", schema_url="https://opentelemetry.io/schemas/1.44.0")

##### BLOCK 1: the SERVER span #####################################################################


def trace_request(handler):
    """Answer a request in a span of kind SERVER: a child of the caller's span, if there is one."""
    # Auto-instrumentation: opentelemetry-instrumentation-wsgi does these steps around a WSGI
    # application. OpenTelemetry has no package for http.server.

    # Propagators look for names in lower case. Keep all values of a header, so that a propagator
    # notices a second traceparent, which makes both invalid.
    carrier = {name.lower(): handler.headers.get_all(name) for name in handler.headers}
    # Read the caller's span and baggage from the headers. trace_call() in kitchen.py writes them. A
    # browser usually sends no such headers, and then a new trace begins.
    caller_context = propagate.extract(carrier, context.get_current())

    name = handler.command  # the method: GET or POST
    # Use the route and not the path, because spans are grouped by name, and paths are unlimited.
    if handler.route:
        name += f" {handler.route}"
    attributes = server_attributes(handler, caller_context) | header_attributes(carrier)
    # start_span() takes the parent from caller_context and makes nothing current. active_span(), in
    # kitchen.py, makes the span and the caller's baggage current until the block ends.
    span = tracer.start_span(name, caller_context, kind=SpanKind.SERVER, attributes=attributes)
    with active_span(span, caller_context):
        answer = handler.call_endpoint()
        add_server_timing(answer, span)
        handler.send(answer)
        note_answer(span, answer)


def server_attributes(handler, caller_context):
    """Return the attributes that are known when the span starts.

    Besides these, the sampler sees the name, the kind, the links, the parent and the trace id. What
    is written on the span later comes too late for it.
    """
    client_address, client_port = handler.client_address
    attributes = {
        "http.request.method": handler.command,
        "http.route": handler.route,
        "url.scheme": "http",
        "url.path": handler.url.path,
        # If your queries can hold secrets, replace the secrets here.
        "url.query": handler.url.query,
        "server.address": handler.host,
        "server.port": handler.port,
        # A header such as X-Forwarded-For is not read, so the client is whoever has connected.
        "client.address": client_address,
        "network.peer.address": client_address,
        "network.peer.port": client_port,
        "network.protocol.version": handler.request_version.removeprefix("HTTP/"),
        "user_agent.original": handler.headers.get("User-Agent"),
        # Baggage does not become an attribute by itself.
        ORDER_ID_KEY: baggage.get_baggage(ORDER_ID_KEY, caller_context),
    }
    return {name: value for name, value in attributes.items() if value}


def add_server_timing(answer, span):
    """Let the page find the trace, with a header that a draft of Trace Context proposes."""
    span_context = span.get_span_context()
    # With OTEL_SDK_DISABLED, no span is ours: the ids are zeros, or those of the caller's span.
    if span_context.is_valid and not span_context.is_remote:
        answer.headers["Server-Timing"] = f'trace;desc="{format_traceparent(span_context)}"'


def note_answer(span, answer):
    """Record the answer on a SERVER span. If sending has failed, this is not reached."""
    span.set_attribute("http.response.status_code", answer.status)
    # call_endpoint() turns an exception into a 500, so active_span() does not see the exception.
    if answer.error:
        record_failure(span, answer.error)
    # For a server, a 4xx is not an error, because the mistake is the client's.
    elif answer.status >= 500:
        mark_failed(span, str(answer.status))


##### BLOCK 2: the endpoints #######################################################################

# An endpoint gets the request, which is a Handler, and the Shop (both in BLOCK 4). It returns a
# value, which is sent as JSON, or raises a Refusal, which is an HTTP status and a sentence. The
# kitchen's endpoints share nothing with the shop's, because the kitchen can be another process.

FLAVORS = ("glazed", "cinnamon", "old-fashioned", "chocolate", "sprinkles", "jelly")
UNKNOWN_ORDER = "The kitchen does not know this order: check the order_id."


def order(request, shop):
    """Place an order: POST /order {"donuts": [{"flavor": "glazed", "quantity": 2}, ...]}."""
    flavors = read_flavors(request.fields)  # one entry for each donut
    order_id = str(uuid.uuid4())

    # This is a copy of the current context, with the order id in its baggage. While it is current,
    # every call carries the id in a header, and so the kitchen can write the id on its spans.
    order_context = baggage.set_baggage(ORDER_ID_KEY, order_id)
    attributes = {ORDER_ID_KEY: order_id, "microdonuts.quantity": len(flavors)}
    span = tracer.start_span("order", order_context, attributes=attributes)
    # The span of a status check will have a link to this span.
    shop.remember_order(order_id, span)

    with active_span(span, order_context):
        with KitchenClient(shop.kitchen_url, order_id) as client:
            # There is one call for each donut. If a call fails, the earlier donuts are still fried.
            for flavor in flavors:
                client.add_donut(flavor)
            return order_summary(order_id, client.get_donuts())


def order_status(request, shop):
    """Report the progress of an order: POST /status {"order_id": "..."}."""
    order_id = read_order_id(request.fields)
    order_context = baggage.set_baggage(ORDER_ID_KEY, order_id)
    attributes = {ORDER_ID_KEY: order_id}
    # Each status check has a trace of its own, because the page sends no traceparent. A link points
    # from a span to another one, in whatever trace. This link points to the order.
    link = shop.order_links.get(order_id)
    links = [link] if link else []
    span = tracer.start_span("status", order_context, attributes=attributes, links=links)
    with active_span(span, order_context):
        with KitchenClient(shop.kitchen_url, order_id) as client:
            donuts = client.get_donuts()
            if not donuts:
                raise Refusal(404, UNKNOWN_ORDER)
            return order_summary(order_id, donuts)


def order_summary(order_id, donuts):
    """Return the answer of both endpoints. An order has the state of its slowest donut."""
    try:
        seconds = max(math.ceil(donut["ready_in"]) for donut in donuts)
        # STATES is in the order of progress.
        progress = min(STATES.index(donut["status"]) for donut in donuts)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        # Any program can run at kitchen_url. Its answer is empty, or it is no list of donuts.
        raise Refusal(502, f"The kitchen sent no donuts of order {order_id}.") from error
    return {
        "order_id": order_id,
        "estimated_delivery_time": seconds,
        "state": STATES[progress],
        "donuts": donuts,
    }


def add_donuts(request, shop):
    """Take one donut: POST /kitchen/add_donuts {"order_id": "...", "flavor": "glazed"}."""
    order_id = read_order_id(request.fields)
    flavor = read_flavor(request.fields)
    shop.kitchen.add_donut(order_id, flavor)
    return {"order_id": order_id}


def get_donuts(request, shop):
    """List the donuts of an order, or of all orders: GET /kitchen/get_donuts?order_id=..."""
    fields = dict(parse_qsl(request.url.query, keep_blank_values=True))
    if "order_id" not in fields:
        return shop.kitchen.get_all_donuts()
    donuts = shop.kitchen.get_donuts(read_order_id(fields))
    if not donuts:
        raise Refusal(404, UNKNOWN_ORDER)
    return donuts


def read_flavors(fields):
    """Return a list with one flavor for each donut of an order."""
    items = fields.get("donuts")
    if not isinstance(items, list):
        raise Refusal(400, 'Send a list of "donuts": [{"flavor": "glazed", "quantity": 1}].')
    flavors = []
    for item in items:
        flavor = read_flavor(item)
        quantity = item.get("quantity")
        # To Python, True is an int.
        if type(quantity) is not int or not 1 <= quantity <= MAX_DONUTS:
            raise Refusal(400, f'Send a "quantity" that is a whole number from 1 to {MAX_DONUTS}.')
        flavors += [flavor] * quantity
    if not 1 <= len(flavors) <= MAX_DONUTS:
        raise Refusal(400, f"Order from 1 to {MAX_DONUTS} donuts: a box holds no more.")
    return flavors


def read_flavor(fields):
    flavor = isinstance(fields, dict) and fields.get("flavor")
    if flavor not in FLAVORS:
        raise Refusal(400, f'Choose a "flavor" that we have: {", ".join(FLAVORS)}.')
    return flavor


def read_order_id(fields):
    order_id = fields.get("order_id")
    if not isinstance(order_id, str) or not re.fullmatch("[ -~]{1,100}", order_id):
        raise Refusal(400, 'Send the "order_id" that the answer to the order had.')
    return order_id


##### BLOCK 3: where the spans go ##################################################################

SOURCES = ("microdonuts.py", "kitchen.py")


class CodeLocation(SpanProcessor):
    """Writes on each span which line of this program started it, and in which thread.

    A processor is told when a span starts (on_start) and when it ends (on_end).
    """

    def on_start(self, span, parent_context=None):
        thread = threading.current_thread()
        attributes = {"thread.id": thread.ident, "thread.name": thread.name}
        # The SDK called this method. Go up the stack, to the line of ours that called the SDK.
        frame = sys._getframe(1)
        while frame and not frame.f_code.co_filename.endswith(SOURCES):
            frame = frame.f_back
        if frame:
            path = frame.f_code.co_filename
            attributes |= {
                "code.function.name": f"{pathlib.Path(path).stem}.{frame.f_code.co_qualname}",
                "code.file.path": path,
                "code.line.number": frame.f_lineno,
            }
        span.set_attributes(attributes)


class SpanStore(SpanProcessor):
    """Keeps the newest 2,000 spans for the page, from the moment when they start."""

    def __init__(self):
        self.spans = collections.deque(maxlen=2_000)

    def on_start(self, span, parent_context=None):
        self.spans.append(span)

    def traces(self):
        """Return {trace id: list of its spans}, the oldest trace first."""
        traces = {}
        # A copy, because other threads go on adding spans.
        for span in self.spans.copy():
            trace_id = f"{span.context.trace_id:032x}"
            traces.setdefault(trace_id, []).append(span)
        return traces


def terminal_line(span):
    """Return the line that the terminal shows when a span has ended, for example:

    -> CLIENT POST 200     1.5ms  trace_call  <span id> <parent's id> <start of the trace id>

    The arrow -> means that the span called another service, and <- that its parent came in a
    header. A span without a parent has /#<trace id>, the address of the trace on the page.
    """
    arrow = "  "
    if span.kind is SpanKind.CLIENT:
        arrow = "->"
    elif span.parent and span.parent.is_remote:
        arrow = "<-"
    outcome = span.attributes.get("http.response.status_code", "ok")
    work = f"{span.kind.name} {span.name} {span.attributes.get('error.type', outcome)}"
    # The machine's clock can be set back during a span.
    milliseconds = max(0, span.end_time - span.start_time) / 1e6
    function = span.attributes.get("code.function.name", "").rpartition(".")[2]
    trace_id = f"{span.context.trace_id:032x}"
    ids = f"/#{trace_id}"
    if span.parent:
        ids = f"{span.parent.span_id:016x} {trace_id[:6]}"
    ids = f"{span.context.span_id:016x} {ids}"
    return f"{arrow} {work:36} {milliseconds:6.1f}ms {function:>13} {ids}\n"


def make_processor(name):
    """Return a processor that hands ended spans to an exporter, which prints or sends them."""
    if name == "terminal":
        return SimpleSpanProcessor(ConsoleSpanExporter(formatter=terminal_line))
    if name == "console":
        return SimpleSpanProcessor(ConsoleSpanExporter())
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        sys.exit("microdonuts: otlp needs `pip install opentelemetry-exporter-otlp-proto-http`.")
    # This processor sends spans in batches, so that no request waits for the backend.
    return BatchSpanProcessor(OTLPSpanExporter())


def read_names(variable, value, choices):
    """Return the names in a list such as "b3, baggage"."""
    names = [name.strip() for name in value.lower().split(",")]
    unknown = set(names).difference(choices, ["none", ""])
    if unknown:
        print(f"microdonuts: {variable}: {unknown} is not in {[*choices]}", file=sys.stderr)
    return [name for name in dict.fromkeys(names) if name in choices]


def set_up_tracing(store):
    """Choose the propagators, the processors and the exporters. Return the provider.

    The provider makes the spans of all tracers. A process can have only one global provider.

    The variable OTEL_TRACES_SAMPLER names its sampler. By default each new trace is recorded, and a
    span that has a parent follows the decision of the parent.
    """
    # Auto-instrumentation: the command opentelemetry-instrument does this before a program starts,
    # with the packages opentelemetry-instrumentation and opentelemetry-distro.
    names = read_names("OTEL_PROPAGATORS", OTEL_PROPAGATORS, PROPAGATORS)
    propagate.set_global_textmap(CompositePropagator([PROPAGATORS[name] for name in names]))
    # A resource says where spans come from. Merged last, OTEL_SERVICE_NAME wins over our own name.
    resource = Resource.create({"service.name": "microdonuts"})
    resource = resource.merge(OTELResourceDetector().detect())
    # Headers become attributes, and callers choose how long their headers are.
    os.environ.setdefault("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10000")
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(CodeLocation())
    provider.add_span_processor(store)
    exporters = os.environ.get("OTEL_TRACES_EXPORTER") or "terminal"
    for name in read_names("OTEL_TRACES_EXPORTER", exporters, ["terminal", "console", "otlp"]):
        provider.add_span_processor(make_processor(name))
    trace.set_tracer_provider(provider)
    return provider


##### BLOCK 4: HTTP, and main ######################################################################

HERE = pathlib.Path(__file__).parent
# A copy of this file, such as the one in no-tracing/, uses the page of the folder above.
STATIC = next(HERE.glob("static"), HERE.parent / "static")
FILES = {"/": STATIC / "index.html"}
FILES |= {f"/static/{path.name}": path for path in STATIC.glob("*")}
FILES |= {f"/source/{name}": HERE / name for name in SOURCES}
# Only Python's own list of types is used, because the system's can be wrong about .js.
CONTENT_TYPES = mimetypes.MimeTypes()
# The page gets no spans, because they would hide those of the orders.
UNTRACED_PATHS = ("/static/", "/source/", "/traces")
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}")

# `body` is bytes, and `error` is an exception that nobody expected.
Answer = collections.namedtuple("Answer", "status body headers error", defaults=[None])


def json_answer(status, value, error=None):
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"}, error)


def send_file(request, shop):
    """Answer GET /, GET /static/<name> and GET /source/<name>."""
    path = FILES[request.url.path]
    content_type, _ = CONTENT_TYPES.guess_type(path.name)
    headers = {"Content-Type": content_type, "Content-Security-Policy": "default-src 'self'"}
    return Answer(200, path.read_bytes(), headers)


def list_traces(request, shop):
    """Answer GET /traces: the newest 100 traces, and which headers our propagators write."""
    summaries = []
    for trace_id, spans in list(shop.store.traces().items())[-100:]:
        first = json.loads(spans[0].to_json())
        summaries.insert(0, {"trace_id": trace_id, "spans": len(spans), "first": first})
    answer = json_answer(200, summaries)
    answer.headers["Propagation-Fields"] = ", ".join(sorted(propagate.get_global_textmap().fields))
    return answer


def show_trace(request, shop):
    """Answer GET /traces/<trace id>: its spans here, and in a kitchen that is another process."""
    trace_id = request.url.path.removeprefix("/traces/")
    spans = [json.loads(span.to_json()) for span in shop.store.traces().get(trace_id, [])]
    missing = None
    # With ?here, a shop returns only its own spans, so that two shops never ask in a circle.
    if shop.kitchen_url != shop.url and request.url.query != "here":
        try:
            with NO_PROXY.open(f"{shop.kitchen_url}/traces/{trace_id}?here", timeout=2) as response:
                theirs = json.load(response)["spans"]
            # Keep each span once, because the kitchen can be this very shop under another name.
            spans = list({span["context"]["span_id"]: span for span in spans + theirs}.values())
        # The kitchen is down, or it is another program.
        except Exception:
            missing = f"The kitchen at {shop.kitchen_url} does not show its spans."
    if not spans and not missing:
        missing = "This trace is not here: it was not recorded, or it is too old."
    return {"spans": spans, "missing": missing}


# path: (methods, endpoint)
READ = ["GET", "HEAD"]
ROUTES = {
    "/order": (["POST"], order),
    "/status": (["POST"], order_status),
    "/kitchen/add_donuts": (["POST"], add_donuts),
    "/kitchen/get_donuts": (READ, get_donuts),
    "/traces": (READ, list_traces),
    "/traces/<trace id>": (READ, show_trace),
}
ROUTES |= dict.fromkeys(FILES, (READ, send_file))


class Handler(BaseHTTPRequestHandler):
    """A connection and its current request. http.server calls do_GET() for each GET request."""

    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds to wait for the client
    # Send head and body in one piece and without delay.
    wbufsize = -1
    disable_nagle_algorithm = True
    # Answer in JSON, too, when http.server itself refuses a request.
    error_content_type = "application/json"
    error_message_format = '{"error": "%(explain)s"}'

    def do_GET(self):
        """Answer a request, whatever its method."""
        try:
            self.url = urlsplit(self.path)
            host = urlsplit(f"//{self.headers.get('Host', '')}")
            self.host = host.hostname
            self.port = self.host and (host.port or 80)
        except ValueError:
            return self.send_error(400)
        path = self.url.path
        if path.startswith("/traces/"):
            path = "/traces/<trace id>"
        self.route = path if path in ROUTES else None
        if path == "/" or path.startswith(UNTRACED_PATHS):
            self.send(self.call_endpoint())
        else:
            trace_request(self)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET

    def call_endpoint(self):
        """Return the Answer of the endpoint. A Refusal or an exception becomes an Answer, too."""
        try:
            body = self.read_body()
            self.check_origin()
            if self.route is None:
                raise Refusal(404, "There is nothing at this path: start from the page, at /.")
            methods, endpoint = ROUTES[self.route]
            if self.command not in methods:
                raise Refusal(405, f"Use {methods[0]} for this path.")
            self.fields = read_fields(body)
            result = endpoint(self, self.server)
        except Refusal as refusal:
            return json_answer(refusal.status, {"error": str(refusal)})
        except (ConnectionError, TimeoutError):
            # The client has gone or is too slow, and http.server closes the connection.
            raise
        except Exception as error:
            traceback.print_exc()
            return json_answer(500, {"error": "The shop has failed: look at its terminal."}, error)
        return result if isinstance(result, Answer) else json_answer(200, result)

    def read_body(self):
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not re.fullmatch("[0-9]{1,5}", length):
            # The rest would be read as if it were the next request.
            self.close_connection = True
            raise Refusal(400, "Send a body of at most 99999 bytes, with its Content-Length.")
        return self.rfile.read(int(length))

    def check_origin(self):
        """Refuse what another site makes a browser send."""
        # Another site can make its own name lead to this machine (DNS rebinding).
        if LOOPBACK.fullmatch(self.server.server_name) and not LOOPBACK.fullmatch(str(self.host)):
            raise Refusal(421, f"Use {self.server.url}/, or start with --host 0.0.0.0.")
        if self.command == "POST" and self.headers.get("Sec-Fetch-Site") == "cross-site":
            raise Refusal(403, "A page of another site sent this: use the shop's own page.")

    def send(self, answer):
        """Send an Answer. Raise OSError if the client has hung up."""
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        if answer.status == 405:
            self.send_header("Allow", ", ".join(ROUTES[self.route][0]))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    def handle_expect_100(self):
        super().handle_expect_100()
        # The client waits for this line before it sends the body.
        self.wfile.flush()
        return True

    def log_message(self, *arguments):
        """Say nothing: the spans are the log."""


def read_fields(body):
    """Return the fields of a JSON object: {} if there is no body."""
    with suppress(ValueError, RecursionError):
        fields = json.loads(body or "{}")
        if isinstance(fields, dict):
            return fields
    raise Refusal(400, "Send a JSON object.")


class Shop(ThreadingHTTPServer):
    """The server, which has a thread for each connection, and all that the endpoints need."""

    # With the default, which is 5, a burst of connections would wait for seconds.
    request_queue_size = 1_024
    # On Windows, two shops could otherwise share a port.
    allow_reuse_address = os.name != "nt"

    def __init__(self, arguments, store):
        super().__init__((arguments.host, arguments.port), Handler)
        # 0.0.0.0 means all addresses. On Windows, it cannot be called.
        host = "127.0.0.1" if arguments.host == "0.0.0.0" else arguments.host
        self.url = f"http://{host}:{self.server_port}"
        self.store = store
        self.kitchen = Kitchen(arguments.fry_seconds)
        self.kitchen_url = arguments.kitchen or self.url
        self.order_links = collections.OrderedDict()  # order id -> a link to the span "order"

    def remember_order(self, order_id, span):
        """Keep a link to the span "order", for the newest 1,000 orders."""
        self.order_links[order_id] = trace.Link(span.get_span_context())
        if len(self.order_links) > 1_000:
            self.order_links.popitem(last=False)

    def server_bind(self):
        """Bind without asking DNS for the name of this machine, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address

    def handle_error(self, request, client_address):
        """Print an exception, but not one that is about a client who has hung up."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def kitchen_url(text):
    # For a ValueError, argparse would print the URL, which may hold a password.
    if not re.fullmatch(r"http://[\w.-]+(:[0-9]{1,5})?/?", text):
        raise argparse.ArgumentTypeError("use a host and a port, such as http://127.0.0.1:8083")
    # This raises ValueError if the port is too large.
    _ = urlsplit(text).port
    return text.rstrip("/")


def fry_seconds(text):
    seconds = float(text)
    if not 0 <= seconds <= 5:
        raise argparse.ArgumentTypeError("use a number from 0 to 5")
    return seconds


def main():
    parser = argparse.ArgumentParser(description="A donut shop.")
    parser.add_argument("--host", default="127.0.0.1", help="to listen on (%(default)s)")
    parser.add_argument("--port", default=8082, type=int, help="to listen on (%(default)s)")
    parser.add_argument("--kitchen", type=kitchen_url, metavar="URL", help="another shop")
    parser.add_argument(
        "--fry-seconds", default=1.4, type=fry_seconds, help="for a donut (%(default)s)"
    )
    arguments = parser.parse_args()
    store = SpanStore()
    provider = set_up_tracing(store)
    try:
        shop = Shop(arguments, store)
    except (OSError, OverflowError) as error:
        parser.exit(2, f"microdonuts: cannot listen on this host and port: {error}\n")
    print(f"microdonuts: open at {shop.url}/ (Ctrl-C closes)", file=sys.stderr)
    # SIGTERM now does what Ctrl-C does: it raises KeyboardInterrupt.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with shop, suppress(KeyboardInterrupt):
        shop.serve_forever()
    # Give the answers in progress a moment, which a second Ctrl-C ends.
    with suppress(KeyboardInterrupt):
        time.sleep(0.5)
    # A BatchSpanProcessor still has spans to send.
    provider.shutdown()


if __name__ == "__main__":
    main()
