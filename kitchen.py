"""The kitchen of MicroDonuts, the way to reach it, and what travels on that way.

Kitchen fries donuts, one at a time, in a thread of its own. KitchenClient asks it for them over HTTP, even where both
are one process. A trace crosses twice: in the headers of each request (KitchenClient.exchange injects, Handler.serve of
microdonuts.py extracts), and in the queue between two threads (Kitchen.enqueue, Kitchen.fry_all). As a library should,
this file needs the OpenTelemetry API alone: which SDK makes the spans, and where they go, is the application's choice.
"""

import base64
import collections
import contextlib
import json
import os
import queue
import re
import select
import socket
import threading
import time
import types
import urllib.parse
import urllib.request
from http.client import HTTPConnection, HTTPException, IncompleteRead

# BLOCK 0: OpenTelemetry's API

from opentelemetry import baggage, context, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context, create_key, get_value, set_value
from opentelemetry.propagators.textmap import Getter, TextMapPropagator, default_getter, default_setter
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags, TraceState

# "HTTP spans" and the like, in comments here and in microdonuts.py, are pages of the Semantic Conventions v1.44.0.
tracer = trace.get_tracer("kitchen", schema_url="https://opentelemetry.io/schemas/1.44.0")


class Refusal(Exception):
    """An answer other than 200: its status, one sentence that says what to do, and headers to go with it."""

    def __init__(self, status, sentence, headers=None):
        super().__init__(sentence)
        self.status, self.headers = status, headers or {}


# The value of a JSON text (RFC 8259: no NaN, no Infinity; int refuses them). Raises ValueError or RecursionError.
read_json = json.JSONDecoder(parse_constant=int).decode


# BLOCK 1: what both halves write on their spans

ORDER_ID = "microdonuts.order.id"  # an attribute, and the baggage key under which the order id travels
WIRE_HEADERS = {"traceparent", "tracestate", "baggage", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid",
                "x-b3-sampled", "x-b3-flags"}

KNOWN_METHODS = (os.environ.get("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS")  # HTTP spans, note on http.request.method
                 or "GET,HEAD,POST,PUT,DELETE,CONNECT,OPTIONS,TRACE,PATCH,QUERY").split(",")
# HTTP spans, note on url.query; AWSAccessKeyId and Signature are v1.40.0's.
SECRET = re.compile(r"(?<![^?&])(AWSAccessKeyId|sig|(X-(Amz|Goog)-)?Signature|X-Amz-(Credential|Security-Token))=[^&]*")


def redact(query):
    """A query, or a target that has one, with REDACTED for its secret values and every other byte as it was."""
    return SECRET.sub(r"\1=REDACTED", query)


def wire_attributes(headers):
    """The propagation headers among (name, value) pairs, as attributes: http.request.header.<name>: [value, ...].
    The convention has request headers as opt-in, since they can hold secrets. Here they are the subject."""
    found = collections.defaultdict(list)
    for name, value in headers:
        if name.lower() in WIRE_HEADERS:
            found[f"http.request.header.{name.lower()}"].append(value)
    return found


def order_attributes():
    """The order id that came as baggage, as an attribute: baggage goes along with a trace, but onto no span by itself.
    # Auto-instrumentation: opentelemetry-processor-baggage, a span processor, copies it onto each span it starts."""
    order_id = baggage.get_baggage(ORDER_ID)
    return {} if order_id is None else {ORDER_ID: order_id}


def type_name(error):
    """"http.client.RemoteDisconnected", but "TimeoutError": what error.type asks for (Attribute registry, Error)."""
    return f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")


def record_once(span, error):
    """Put an exception on the innermost span that it ends, and on none of those around it."""
    if not hasattr(error, "is_recorded"):
        error.is_recorded = True
        span.record_exception(error)


@contextlib.contextmanager
def failures_on(span):
    """What an exception that leaves this block says about its span (Recording errors).
    # Auto-instrumentation: start_as_current_span writes an event for any exception, on each span around it."""
    try:
        yield
    except Exception as error:
        if isinstance(error, Refusal):  # an answer that was meant so: below 500 the mistake is the asker's
            if error.status >= 500:
                span.set_status(StatusCode.ERROR, str(error))
        else:
            span.set_attribute("error.type", type_name(error))
            span.set_status(StatusCode.ERROR, str(error))
            record_once(span, error)
        raise


# The kitchen

STATES = ("new_order", "received", "cooking", "ready")
FRY_SECONDS = 1.4  # one donut at a time: in a trace, the "fry" spans of an order are a staircase
RECEIVED_SECONDS = 0.4  # of these, in the fryer's hands before it cooks
MAX_WAITING = 1_000
MAX_REMEMBERED = 10_000


class Kitchen:
    """Fries donuts, one at a time and in the order in which they came; its thread starts with it. At most MAX_WAITING
    donuts wait. MAX_REMEMBERED are remembered: beyond that the oldest ones, which are ready, are forgotten."""

    def __init__(self, fry_seconds=FRY_SECONDS):
        self.fry_seconds = fry_seconds
        self.donuts = collections.deque()  # all that are remembered, oldest first
        self.orders = collections.defaultdict(collections.deque)  # the same by order id
        self.added = self.started = 0  # numbers of the newest donut and of the one the fryer took last ...
        self.free_at = 0.0  # ... which will be ready at this time.monotonic()
        self.lock = threading.Lock()
        self.queue, self.closing = queue.SimpleQueue(), False
        self.fryer = threading.Thread(target=self.fry_all, name="fryer", daemon=True)
        self.fryer.start()

    def add(self, order_id, flavor, quantity):
        """Take `quantity` donuts, all or none: how many of the order there are now. Refusal 503 if too many wait."""
        with self.lock:
            if self.added - self.started + quantity > MAX_WAITING:
                raise Refusal(503, "The kitchen is full: try again later.", {"Retry-After": "10"})
            for _ in range(quantity):
                self.added += 1
                donut = types.SimpleNamespace(order_id=order_id, flavor=flavor, status=STATES[0], number=self.added)
                self.donuts.append(donut)
                self.orders[order_id].append(donut)
                self.enqueue(donut)
            while len(self.donuts) > MAX_REMEMBERED:
                oldest = self.donuts.popleft().order_id
                self.orders[oldest].popleft()
                if not self.orders[oldest]:
                    del self.orders[oldest]
            return len(self.orders[order_id])

    def get(self, order_id=None):
        """The donuts of one order (none if it is unknown), or all: [{flavor, order_id, status, ready_in}, ...].
        `ready_in` is in seconds: for a waiting donut, what those before it take and what it takes itself."""
        with self.lock:
            now = time.monotonic()
            chosen = self.donuts if order_id is None else self.orders.get(order_id, ())
            return [{"flavor": donut.flavor, "order_id": donut.order_id, "status": donut.status,
                     "ready_in": round(self.ready_in(donut, now), 3)} for donut in chosen]

    def ready_in(self, donut, now):
        if donut.status == "ready":
            return 0.0
        return max(0.0, self.free_at - now) + (donut.number - self.started) * self.fry_seconds

    def close(self):
        """Finish the donut in the fryer, and no other."""
        self.closing = True
        self.queue.put(None)
        self.fryer.join()

    # BLOCK 2: the donut's way through the queue into the other thread

    def enqueue(self, donut):
        self.queue.put((donut, context.get_current()))  # what is current here is not current in the fryer's thread

    def fry_all(self):
        """Each donut in the context of the request that brought it.
        # Auto-instrumentation: opentelemetry-instrumentation-threading wraps Thread.start and executors' submit. The
        # fryer was started at boot, and of a queue it knows nothing. "fry" is a child, not a link, so that it stands
        # in its order's own trace; a link is right where one span works for many orders at once.
        """
        while (item := self.queue.get()) and not self.closing:
            donut, order_context = item
            token = context.attach(order_context)
            try:
                attributes = {"microdonuts.flavor": donut.flavor, **order_attributes()}
                with tracer.start_as_current_span("fry", attributes=attributes):
                    self.fry(donut)
            finally:
                context.detach(token)

    def fry(self, donut):
        received = min(RECEIVED_SECONDS, self.fry_seconds)
        with self.lock:
            donut.status, self.started = "received", donut.number
            self.free_at = time.monotonic() + self.fry_seconds
        for status, seconds in (("cooking", received), ("ready", self.fry_seconds - received)):
            if seconds:  # a sleep of 0 would still hand the interpreter to every other thread first
                time.sleep(seconds)
            donut.status = status


# The way to the kitchen

class Socket(socket.socket):
    """Reads until `deadline`, a time.monotonic(); a timeout alone begins anew with each byte that drips in."""

    def recv_into(self, *arguments):
        self.settimeout(max(0.001, self.deadline - time.monotonic()))
        return super().recv_into(*arguments)


class KeptConnections(urllib.request.HTTPHandler):
    """http:// for urllib on connections that are kept; urllib's own handler closes each after one answer."""

    def __init__(self):
        super().__init__()
        self.idle = collections.deque()  # of HTTPConnections, the one used last at the right

    def http_open(self, request):
        deadline = time.monotonic() + request.timeout
        connection = request.connection = self.take() or HTTPConnection(request.host, timeout=request.timeout)
        if not connection.sock:
            connection.connect()
            connection.sock = Socket(fileno=connection.sock.detach())
        connection.sock.settimeout(request.timeout)
        connection.sock.deadline = deadline
        connection.request(request.get_method(), request.selector, request.data, dict(request.header_items()))
        # BLOCK 3: the peer that was really reached
        address, port = connection.sock.getpeername()[:2]
        trace.get_current_span().set_attributes({"network.peer.address": address, "network.peer.port": port})
        return connection.getresponse()

    def take(self):
        """An idle connection with nothing to read: one that the kitchen has closed is noticed before it is used. Nor is
        one that the kitchen may just be about to close: half of Handler.timeout, in microdonuts.py, is old enough."""
        with contextlib.suppress(IndexError):
            while True:
                connection, poll = self.idle.pop(), select.poll()
                poll.register(connection.sock, select.POLLIN)
                if time.monotonic() - connection.idle_since < 5 and not poll.poll(0):
                    return connection
                connection.close()

    def read(self, connection, response):
        """The body of a response; its connection is then kept for another request, unless the kitchen will close it."""
        with response:
            data = b"".join(iter(lambda: response.read1(65_536), b""))  # not read(): it trusts any Content-Length
        if response.length:
            raise IncompleteRead(data, response.length)
        if not response.will_close:
            connection.idle_since = time.monotonic()
            self.idle.append(connection)
        return data


class KitchenClient:
    """Asks the kitchen at `url` (http://host:port) for things. What it raises is a Refusal, 502, 503 or 504."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        userinfo, at, authority = parts.netloc.rpartition("@")
        self.url, self.host, self.port = f"http://{authority}", parts.hostname, parts.port or 80
        self.shown_url = f"http://REDACTED:REDACTED@{authority}" if at else self.url
        credentials = f"Basic {base64.b64encode(urllib.parse.unquote_to_bytes(userinfo)).decode()}"  # RFC 7617 2
        self.headers = {"Content-Type": "application/json", **({"Authorization": credentials} if at else {})}
        self.connections = KeptConnections()
        # An opener of one handler: no proxy, and no redirect, which would carry our headers to another host.
        self.opener = urllib.request.OpenerDirector()
        self.opener.add_handler(self.connections)

    def add_donut(self, order_id, flavor, deadline):
        """Have one donut fried; `deadline` is a time.monotonic()."""
        self.call("POST", "/kitchen/add_donuts", json.dumps({"order_id": order_id, "flavor": flavor}), deadline)

    def get_donuts(self, order_id, deadline):
        """The donuts of an order, as Kitchen.get gives them."""
        donuts = self.call("GET", f"/kitchen/get_donuts?order_id={urllib.parse.quote(order_id)}", None, deadline)
        if not isinstance(donuts, list) or not all(map(is_donut, donuts)):
            raise Refusal(502, f"The kitchen at {self.url} gave no list of donuts: look at its terminal.")
        return donuts

    def call(self, method, path, body, deadline):
        """One HTTP request to the kitchen: the JSON value of its answer."""
        request = urllib.request.Request(self.url + path, body and body.encode(), self.headers, method=method)
        try:
            response, data = self.exchange(request, deadline)
        except (OSError, HTTPException, UnicodeError) as error:
            request.connection.close()
            is_late, what = isinstance(error, TimeoutError), f"gave no whole answer ({type(error).__name__})"
            sentence = f"The kitchen at {self.url} {'took too long' if is_late else what}: see that it runs."
            raise Refusal(504 if is_late else 502, sentence) from error
        if response.status == 503:
            wait = re.fullmatch("[0-9]+", response.headers.get("Retry-After", ""))  # RFC 9110 10.2.3: or a date
            raise Refusal(503, "The kitchen is full: try again later.", {"Retry-After": wait[0] if wait else "10"})
        try:
            return read_json(data.decode() if response.status == 200 else "")
        except (ValueError, RecursionError):
            sentence = f"The kitchen at {self.url} answered {response.status}, nothing of use: look at its terminal."
            raise Refusal(502, sentence) from None

    # BLOCK 4: the CLIENT span, and what it injects

    def exchange(self, request, deadline):
        """Send a request and read its answer: (response, body), with a CLIENT span that lasts until the last byte.
        # Auto-instrumentation: opentelemetry-instrumentation-urllib wraps OpenerDirector.open. Its span ends before
        # the body is read, and has no server.address, server.port or network.peer.*."""
        attributes = {"http.request.method": request.method, "url.full": self.shown_url + redact(request.selector),
                      "server.address": self.host, "server.port": self.port}
        span = tracer.start_span(request.method, kind=SpanKind.CLIENT, attributes=attributes)
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False), \
                failures_on(span):
            propagate.inject(request.headers)  # its other half: extract, in Handler.serve of microdonuts.py
            span.set_attributes(wire_attributes(request.headers.items()))
            response = self.opener.open(request, timeout=max(0.001, deadline - time.monotonic()))
            version = f"{response.version // 10}.{response.version % 10}"
            span.set_attributes({"http.response.status_code": response.status, "network.protocol.version": version})
            if response.status >= 400:  # HTTP spans, Status: to a client that is an error, and says enough
                span.set_attribute("error.type", str(response.status))
                span.set_status(StatusCode.ERROR)
            return response, self.connections.read(request.connection, response)


def is_donut(item):
    return (isinstance(item, dict) and item.get("status") in STATES and type(item.get("ready_in")) in (int, float)
            and 0 <= item["ready_in"] < float("inf"))


# BLOCK 5: what travels in the headers


class HeaderGetter(Getter):
    """How a propagator reads http.server's headers: an email.message.Message, whose names have no case."""

    def get(self, carrier, key):
        """Repeated lines joined into one (RFC 9110 5.3), but traceparent, which must not repeat, as it came."""
        values = carrier.get_all(key)
        return values if not values or key == "traceparent" else [",".join(values)]

    def keys(self, carrier):
        return carrier.keys()


TRACEPARENT = re.compile(r"""
    (?!ff)([0-9a-f]{2})        # 3.2.2.1 version, of which ff is invalid
    -(?!0{32})([0-9a-f]{32})   # 3.2.2.3 trace-id, not all zeros
    -(?!0{16})([0-9a-f]{16})   # 3.2.2.4 parent-id, the span that sent this, not all zeros
    -([0-9a-f]{2})             # 3.2.2.5 trace-flags: bit 0 sampled, bit 1 random
    (-.*)?                     # 3.2.4   what a later version may add""", re.VERBOSE)
MEMBER = re.compile(r"([a-z0-9][a-z0-9_*/@-]{0,255})=([ -+\--<>-~]{0,255}[!-+\--<>-~])")  # 3.3.2.2.1 and 3.3.2.2.2


class W3CTraceContext(TextMapPropagator):
    """traceparent, and tracestate: what other tracing systems add. Sections are of W3C Trace Context Level 2.
    # Auto-instrumentation: opentelemetry.trace.propagation.tracecontext, with which 38 of the W3C's 41 tests pass."""

    fields = frozenset(("traceparent", "tracestate"))

    def extract(self, carrier, context=None, getter=default_getter):
        """`context` with the sender's span in it as a remote parent; as it was where there is no valid traceparent."""
        context = Context() if context is None else context
        values = getter.get(carrier, "traceparent") or []
        match = TRACEPARENT.fullmatch(values[0].strip(" \t")) if len(values) == 1 else None
        if not match or (match[1] == "00" and match[5]):  # 3.2.4: ours, 00, has nothing more
            return context
        span_context = SpanContext(
            int(match[2], 16), int(match[3], 16), is_remote=True,
            trace_flags=TraceFlags(int(match[4], 16) & 0b11),  # 3.2.2.5.3: others are not passed on
            trace_state=ReceivedTraceState(getter.get(carrier, "tracestate") or []))
        return trace.set_span_in_context(NonRecordingSpan(span_context), context)

    def inject(self, carrier, context=None, setter=default_setter):
        """Write the current span into the headers, in the highest version that we know (3.2.4)."""
        span = trace.get_current_span(context).get_span_context()
        if not span.is_valid:
            return
        setter.set(carrier, "traceparent", f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}")
        if span.trace_state:  # 3.3.2: an empty one should not be sent
            setter.set(carrier, "tracestate", span.trace_state.to_header())


class ReceivedTraceState(TraceState):
    """The members of all tracestate lines, in order; none at all if one is malformed or there are more than 32. A
    TraceState drops the keys that are new in Level 2, such as 1a: when it is made, and in add() and update()."""

    def __init__(self, lines):
        super().__init__()
        members = [member.strip(" \t") for member in ",".join(lines).split(",")]  # 3.3.2
        matches = [MEMBER.fullmatch(member) for member in members if member]
        if len(matches) <= 32 and None not in matches:  # 3.3.2.1
            for match in matches:
                self._dict.setdefault(*match.groups())  # 3.3.3: a key stands once; the leftmost is the newest


B3_SINGLE = re.compile(r"(?!0+-)([0-9a-f]{32}|[0-9a-f]{16})-(?!0{16})([0-9a-f]{16})(?:-([01d])(?:-[0-9a-f]{16})?)?")
B3_DEBUG = create_key("b3-debug")  # in a context: the caller asked for this trace to be debugged


class B3(TextMapPropagator):
    """Zipkin's headers: one, b3, or several, X-B3-...; both are read. Quoted is github.com/openzipkin/b3-propagation.
    # Auto-instrumentation: opentelemetry-propagator-b3 reads upper-case ids, and loses "debug" and a lone denial."""

    fields = frozenset(("b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags"))

    def __init__(self, is_single):
        self.is_single = is_single

    def extract(self, carrier, context=None, getter=default_getter):
        context = Context() if context is None else context
        lines = {name: getter.get(carrier, name) or [""] for name in self.fields}
        trace_id, span_id, state = self.read({name: lines[name][0].split(",")[0].strip(" \t") for name in lines})
        if state == "0" and not trace_id and not span_id:  # "deny" alone: the trace begins here, and is not sampled
            trace_id, span_id = os.urandom(16).hex(), os.urandom(8).hex()
        if state == "d":
            context = set_value(B3_DEBUG, True, context)
        match = B3_SINGLE.fullmatch(f"{trace_id}-{span_id}")
        if not match or match[3]:  # zeros or malformed, or two ids that only together look well-formed
            return context
        flags = TraceFlags(state != "0")  # an absent state is "defer": it is ours to decide, and we sample
        span_context = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=flags)
        return trace.set_span_in_context(NonRecordingSpan(span_context), context)

    def read(self, first):
        """(trace id, span id, sampling state), "" where absent, of the first value of each header."""
        if first["b3"] in ("0", "1", "d"):
            return "", "", first["b3"]
        if match := B3_SINGLE.fullmatch(first["b3"]):
            return match[1], match[2], match[3] or ""
        state = {"true": "1", "false": "0"}.get(first["x-b3-sampled"], first["x-b3-sampled"])
        return first["x-b3-traceid"], first["x-b3-spanid"], "d" if first["x-b3-flags"] == "1" else state

    def inject(self, carrier, context=None, setter=default_setter):
        span = trace.get_current_span(context).get_span_context()
        if not span.is_valid:
            return
        state = "d" if get_value(B3_DEBUG, context) else str(int(span.trace_flags.sampled))
        if self.is_single:
            return setter.set(carrier, "b3", f"{span.trace_id:032x}-{span.span_id:016x}-{state}")
        setter.set(carrier, "x-b3-traceid", f"{span.trace_id:032x}")
        setter.set(carrier, "x-b3-spanid", f"{span.span_id:016x}")
        # "Debug implies an accept decision, so don't also send the X-B3-Sampled header."
        setter.set(carrier, *(("x-b3-flags", "1") if state == "d" else ("x-b3-sampled", state)))


PROPAGATORS = {"tracecontext": W3CTraceContext(), "baggage": W3CBaggagePropagator(),
               "b3": B3(is_single=True), "b3multi": B3(is_single=False), "none": None}
