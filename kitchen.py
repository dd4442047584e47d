"""The kitchen of MicroDonuts, the calls that reach it, and the headers that carry a trace there.

A trace crosses two boundaries in this file:

    between two services    trace_call() writes the current context into the headers of a request.
                            trace_request(), in microdonuts.py, reads it from there.
    between two threads     Kitchen.add_donut() puts the current context into a queue, beside a
                            donut. Kitchen.fry_forever(), in another thread, takes both out.

This file imports only OpenTelemetry's API, as a library should. The API alone records nothing. The
application, which is microdonuts.py, chooses the SDK, which records.
"""

import collections
import contextlib
import dataclasses
import json
import queue
import re
import threading
import time
import traceback
import urllib.request
from http.client import HTTPConnection, HTTPException
from urllib.parse import quote, unquote, urlencode, urlsplit

from opentelemetry import baggage, context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import TextMapPropagator, default_getter, default_setter
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags

tracer = trace.get_tracer("kitchen", schema_url="https://opentelemetry.io/schemas/1.44.0")
PROPAGATION_HEADERS = ("traceparent", "tracestate", "baggage", "b3")

##### BLOCK 5: the CLIENT span, and the shape of every span ########################################


def trace_call(opener, request):
    """Send a request in a span of kind CLIENT. Return the status and the body of the response.

    Raise OSError or HTTPException if there is no response or only a part of it.
    """
    # Auto-instrumentation: opentelemetry-instrumentation-urllib wraps OpenerDirector.open(). Its
    # span ends when open() returns, before the body is read.
    method = request.get_method()
    url = urlsplit(request.full_url)
    attributes = {
        "http.request.method": method,
        # If your URLs can hold secrets, replace the secrets here.
        "url.full": request.full_url,
        "server.address": url.hostname,
        "server.port": url.port or 80,
    }
    # The span is named after the method alone, because a client does not know the server's routes.
    span = tracer.start_span(method, kind=SpanKind.CLIENT, attributes=attributes)
    with active_span(span):
        # Write the current context into the headers: the ids of the current span into `traceparent`
        # and the baggage into `baggage`. The CLIENT span has to be current by now, so that the
        # server's span becomes its child. trace_request() in microdonuts.py reads the headers.
        propagate.inject(request.headers)
        span.set_attributes(header_attributes(request.headers))
        # This opener returns a 4xx or 5xx like any response. It gives up after 10 silent seconds.
        with opener.open(request, timeout=10) as response:
            note_response(span, response)
            # The span covers the body, too. read() raises IncompleteRead if the body is cut short.
            return response.status, response.read()


def note_response(span, response):
    """Record the status and the HTTP version of a response on a CLIENT span."""
    span.set_attribute("http.response.status_code", response.status)
    # http.client writes HTTP/1.1 as 11.
    span.set_attribute("network.protocol.version", str(response.version / 10))
    # For a client, a 4xx is an error, too. For a server, only a 5xx is.
    if response.status >= 400:
        mark_failed(span, str(response.status))


@contextlib.contextmanager
def active_span(span, parent_context=None):
    """Make a span current in a `with` block, and end it after the block.

    The baggage of parent_context, which is the current context by default, becomes current, too.

    An exception that leaves the block marks the span as failed. A Refusal, which is an answer with
    an HTTP status, does so only from 500 on.

    tracer.start_as_current_span() ignores the baggage of the context that it is given, by default
    marks the span as failed for every Exception, and writes no error.type.
    """
    # A context never changes. This is a copy of parent_context that holds the span.
    new_context = trace.set_span_in_context(span, parent_context)
    # This makes the copy current in this thread. The token can bring back what was current before.
    token = context.attach(new_context)
    try:
        yield
    except Refusal as refusal:
        # Below 500 the mistake is the caller's, and the work of this span has not failed.
        if refusal.status >= 500:
            mark_failed(span, str(refusal.status), str(refusal))
        raise
    except Exception as error:
        record_failure(span, error)
        raise
    finally:
        # Without detach(), this span would be the parent of whatever this thread does next, even of
        # the next request on the same connection.
        context.detach(token)
        span.end()


def mark_failed(span, error_type, description=None):
    """Give a span the status ERROR. error_type is an HTTP status or the name of an exception."""
    span.set_attribute("error.type", error_type)
    span.set_status(StatusCode.ERROR, description)


def record_failure(span, error):
    """Mark a span as failed, and record the exception as an event, which is a note with a time."""
    error_class = type(error)
    # The name has the module in front, except for built-in exceptions.
    name = f"{error_class.__module__}.{error_class.__qualname__}".removeprefix("builtins.")
    mark_failed(span, name, str(error))
    # Newer conventions want a log record in place of the event, and this program has no logs.
    span.record_exception(error, escaped=True)


class Refusal(Exception):
    """An answer other than 200, given on purpose: an HTTP status, and a sentence for the client."""

    def __init__(self, status, sentence):
        super().__init__(sentence)
        self.status = status


def header_attributes(carrier):
    """Return, as attributes, the headers that carry a context. The page shows them."""
    return {
        f"http.request.header.{name}": default_getter.get(carrier, name)
        for name in PROPAGATION_HEADERS
        if name in carrier
    }


##### BLOCK 6: the calls to the kitchen ############################################################


class KitchenClient:
    """Calls the kitchen about one order, over one connection. A `with` block closes it."""

    def __init__(self, url, order_id):
        self.url = url
        self.order_id = order_id
        self.subject = f"Order {order_id}: the kitchen at {url}"  # begins each error's sentence
        self.connection = HTTPConnection(urlsplit(url).netloc)
        # urllib.request.urlopen() uses proxies, follows redirects, and raises an exception for a
        # 404. An opener does only what its handlers do, and this opener has a single one.
        self.opener = urllib.request.OpenerDirector()
        handler = KeptConnection()
        handler.connection = self.connection
        self.opener.add_handler(handler)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def add_donut(self, flavor):
        """Hand a donut to the kitchen."""
        fields = {"order_id": self.order_id, "flavor": flavor}
        self.call("POST", "/kitchen/add_donuts", json.dumps(fields).encode())

    def get_donuts(self):
        """Return the donuts of the order, as Kitchen.get_donuts() does."""
        query = urlencode({"order_id": self.order_id})
        return self.call("GET", f"/kitchen/get_donuts?{query}")

    def call(self, method, path, body=None):
        """Return the JSON value of a good answer. Otherwise raise a Refusal: 502, 503 or 504."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            status, answer = trace_call(self.opener, request)
            if status == 200:
                return json.loads(answer)
        except TimeoutError as error:
            raise Refusal(504, f"{self.subject} did not answer in time: try later.") from error
        except (OSError, HTTPException, ValueError, RecursionError) as error:
            raise Refusal(502, f"{self.subject} is down or not a kitchen: {error!r}.") from error
        # This is how a kitchen says that it does not know the order.
        if status == 404 and method == "GET":
            return []
        # A 503 can also come from a proxy that cannot reach the kitchen.
        sentence = f"{self.subject} answered with {status}: try again later."
        raise Refusal(503 if status == 503 else 502, sentence)


class KeptConnection(urllib.request.HTTPHandler):
    """Sends all requests over one connection. With one for each, the shop is a third slower."""

    def http_open(self, request):
        self.connection.timeout = request.timeout
        headers = dict(request.header_items())
        self.connection.request(request.get_method(), request.selector, request.data, headers)
        return self.connection.getresponse()


##### BLOCK 7: the kitchen, and the context in its queue ###########################################

STATES = ("new_order", "received", "cooking", "ready")  # of a donut and of an order, in this order
MAX_DONUTS = 12  # in one order, because a box holds no more
MAX_WAITING = 10_000  # donuts in the queue
MAX_ORDERS = 10_000  # in the kitchen's memory
ORDER_ID_KEY = "microdonuts.order.id"  # the name of an attribute, and of an entry in the baggage


@dataclasses.dataclass
class Donut:
    order_id: str
    flavor: str
    ready_at: float  # when it will be ready, by time.monotonic()
    status: str = "new_order"  # one of STATES

    def as_dict(self):
        """Return what the kitchen's answers show of the donut, with `ready_in` in seconds."""
        return {
            "flavor": self.flavor,
            "order_id": self.order_id,
            "status": self.status,
            "ready_in": max(0, self.ready_at - time.monotonic()),
        }


class Kitchen:
    """Fries donuts in a thread of its own, one at a time, in the order of arrival.

    Frying is only waiting.
    What this class shows is how a context gets into another thread.
    """

    def __init__(self, fry_seconds):
        self.fry_seconds = fry_seconds
        self.orders = collections.OrderedDict()  # order id -> list of donuts, oldest order first
        self.waiting = queue.SimpleQueue()  # pairs of a donut and a context
        self.free_at = 0.0  # when the last waiting donut will be ready, by time.monotonic()
        self.lock = threading.Lock()  # guards orders and free_at, and keeps the queue in sequence
        # As a daemon, the fryer does not keep the program alive.
        threading.Thread(target=self.fry_forever, name="fryer", daemon=True).start()

    def add_donut(self, order_id, flavor):
        """Put a donut into the queue, together with the current context.

        Raise a Refusal if the kitchen or the order is full.
        """
        # Auto-instrumentation: opentelemetry-instrumentation-threading hands the context to a new
        # thread or to a pool, but not through a queue.

        # In this thread the SERVER span and the baggage of the request are current. In the fryer's
        # thread they are not, so the context has to go there with the donut.
        request_context = context.get_current()
        with self.lock:
            if self.waiting.qsize() >= MAX_WAITING:
                raise Refusal(503, "The kitchen is full: try again later.")
            donuts = self.orders.setdefault(order_id, [])
            if len(donuts) >= MAX_DONUTS:
                raise Refusal(400, f"An order has at most {MAX_DONUTS} donuts: begin another one.")
            # To bound the memory, forget the oldest order. Its donuts are still fried.
            if len(self.orders) > MAX_ORDERS:
                self.orders.popitem(last=False)

            # The donut is fried after all those before it, so we know now when it will be ready.
            starts_at = max(self.free_at, time.monotonic())
            self.free_at = starts_at + self.fry_seconds
            donut = Donut(order_id, flavor, ready_at=self.free_at)
            donuts.append(donut)
            self.waiting.put((donut, request_context))

    def fry_forever(self):
        """Fry one donut after the other, each in the context of the request that brought it.

        The span "fry" becomes a child of that request's SERVER span, which may have ended by now. A
        child may outlive its parent, because it needs nothing but the parent's SpanContext.
        """
        while True:
            donut, request_context = self.waiting.get()
            attributes = {"microdonuts.flavor": donut.flavor, ORDER_ID_KEY: donut.order_id}
            # Without request_context, "fry" would begin a trace: no span is current in this thread.
            span = tracer.start_span("fry", request_context, attributes=attributes)
            try:
                with active_span(span, request_context):
                    self.fry(donut)
            except Exception:
                # Forget the donut, and fry the next one. (Its order may be forgotten already.)
                traceback.print_exc()
                with self.lock, contextlib.suppress(KeyError, ValueError):
                    self.orders[donut.order_id].remove(donut)

    def fry(self, donut):
        """Take a donut through its states. Cooking takes the last 70 % of the time."""
        donut.status = "received"
        sleep_until(donut.ready_at - 0.7 * self.fry_seconds)
        donut.status = "cooking"
        sleep_until(donut.ready_at)
        donut.status = "ready"

    def get_donuts(self, order_id):
        """Return the donuts of an order as dicts, or [] if there is no such order."""
        with self.lock:
            return [donut.as_dict() for donut in self.orders.get(order_id, [])]

    def get_all_donuts(self):
        """Return the donuts of all orders in the same form."""
        with self.lock:
            return [donut.as_dict() for donuts in self.orders.values() for donut in donuts]


def sleep_until(moment):
    seconds = moment - time.monotonic()
    # Even sleep(0) lets other threads go first, and in a busy shop the fryer would hardly run.
    if seconds > 0:
        time.sleep(seconds)


##### BLOCK 8: W3C Trace Context, Level 2 (www.w3.org/TR/trace-context-2) ##########################

# traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
TRACEPARENT = re.compile(
    r"""
    (?! ff )    (?P<version>   [0-9a-f]{2}  ) -   # ff is invalid
    (?! 0{32} ) (?P<trace_id>  [0-9a-f]{32} ) -   # all zeros are invalid
    (?! 0{16} ) (?P<parent_id> [0-9a-f]{16} ) -   # the sender's span, which becomes the parent
                (?P<flags>     [0-9a-f]{2}  )
                (?P<more>      -.*          )?    # what a later version may add
    """,
    re.VERBOSE,
)
# The two flags that exist: the sender may have recorded its span, and the trace id is random.
SAMPLED = 0b01
RANDOM = 0b10


class W3CTraceContext(TextMapPropagator):
    """Writes the ids of the current span into headers, and reads the ids of a sender's span.

    OpenTelemetry's API has a propagator for this. Here it is written out, so that you see how a
    header is read. set_up_tracing() registers it, and propagate.inject() and propagate.extract()
    call it. A getter reads all values of a header, and a setter writes a header.
    """

    # Auto-instrumentation: TraceContextTextMapPropagator of opentelemetry-api. Some rules differ.

    fields = {"traceparent", "tracestate"}  # all headers that inject() may write

    def extract(self, carrier, context=None, getter=default_getter):
        """Return a copy of `context` in which the sender's span is current.

        A span that starts in the copy is a child of the sender's span. Without a valid traceparent,
        return `context` unchanged.
        """
        context = context or Context()
        values = getter.get(carrier, "traceparent") or []
        # Without a traceparent there is no sender. Several of them are as good as none.
        if len(values) != 1:
            return context
        match = TRACEPARENT.fullmatch(values[0].strip(" \t"))
        if match is None:
            return context
        # Only a later version may have more than four parts.
        if match["version"] == "00" and match["more"]:
            return context
        # Clear the flags that are not defined yet.
        flags = int(match["flags"], 16) & (SAMPLED | RANDOM)
        span_context = SpanContext(
            trace_id=int(match["trace_id"], 16),
            span_id=int(match["parent_id"], 16),
            is_remote=True,
            trace_flags=TraceFlags(flags),
            trace_state=W3CTraceState.from_header(getter.get(carrier, "tracestate")),
        )
        # The sender's span may be in another process. A NonRecordingSpan stands in for it: it has
        # the same ids and records nothing.
        return trace.set_span_in_context(NonRecordingSpan(span_context), context)

    def inject(self, carrier, context=None, setter=default_setter):
        """Write the current span's ids and flags, and its tracestate if there is one."""
        span_context = trace.get_current_span(context).get_span_context()
        # If no span is current, there is nothing to write.
        if not span_context.is_valid:
            return
        setter.set(carrier, "traceparent", format_traceparent(span_context))
        if span_context.trace_state:
            setter.set(carrier, "tracestate", span_context.trace_state.to_header())


def format_traceparent(ids):
    """Return the traceparent for a SpanContext, which holds the ids and the flags of a span."""
    return f"00-{ids.trace_id:032x}-{ids.span_id:016x}-{ids.trace_flags:02x}"


# tracestate: rojo=00f067aa0ba902b7,congo=t61rcWkgMzE
TRACESTATE_MEMBER = re.compile(
    r"""
    (?P<key>   [a-z0-9] [a-z0-9_*/@-]{0,255} )
    =
    (?P<value> [ -<>-~]{1,256} )   # printable ASCII without "="
    """,
    re.VERBOSE,
)


class W3CTraceState(dict):
    """What tracing systems keep in a trace for themselves: a key and a value each, newest first.

    It has only those methods of the API's TraceState that the SDK and its exporters call.
    """

    @classmethod
    def from_header(cls, values):
        """Return the members of all headers: none if one is malformed or there are over 32."""
        texts = [text.strip(" \t") for text in ",".join(values or []).split(",")]
        # An empty member is allowed.
        matches = [TRACESTATE_MEMBER.fullmatch(text) for text in texts if text]
        members = cls()
        if None in matches or len(matches) > 32:
            return members
        for match in matches:
            # Of two members with the same key, the first is the newer.
            members.setdefault(match["key"], match["value"])
        return members

    def to_header(self):
        return ",".join(f"{key}={value}" for key, value in self.items())

    def __repr__(self):
        """Return the text that the SDK writes into the JSON of a span."""
        return str([f"{{key={key}, value={value}}}" for key, value in self.items()])


##### BLOCK 9: W3C Baggage (www.w3.org/TR/baggage) #################################################

# baggage: microdonuts.order.id=3dff9a6c,customer=Am%C3%A9lie;trusted
BAGGAGE_MEMBER = re.compile(
    r"""
    [ \t]*+  (?P<key>   [!#$%&'*+.^_`|~0-9A-Za-z-]+ )
    [ \t]* = [ \t]*+
              (?P<value> (?: (?! [",;\\] ) [!-~] )* )   # printable ASCII except a space and these
    [ \t]*+  (?: ; .* )?                                # properties, such as "trusted"
    """,
    re.VERBOSE,
)
# These are sent as they are. A "+" is encoded, because some readers take it for a space.
BAGGAGE_SAFE = "!#$&'()*-./:<=>?@[]^_`{|}~"
MAX_BAGGAGE = 8_192  # bytes: every service has to pass on this much, in up to 64 members


class W3CBaggage(TextMapPropagator):
    """Writes baggage into a header and reads it. The API's baggage has no place for properties."""

    # Auto-instrumentation: W3CBaggagePropagator of opentelemetry-api. It writes a space as "+".

    fields = {"baggage"}

    def extract(self, carrier, context=None, getter=default_getter):
        """Return a copy of `context` with the members of the headers as baggage."""
        context = context or Context()
        header = whole_members(",".join(getter.get(carrier, "baggage") or []))
        members = {}
        for text in header.split(","):
            match = BAGGAGE_MEMBER.fullmatch(text)
            # Only a malformed member is left out.
            if match:
                members[match["key"]] = unquote(match["value"])
        # inject() writes the newest entry first, so set the members in reverse to keep their order.
        for key in reversed(members):
            context = baggage.set_baggage(key, members[key], context)
        return context

    def inject(self, carrier, context=None, setter=default_setter):
        """Write the baggage, whose keys have to be tokens: first what this service has added."""
        entries = reversed(baggage.get_all(context).items())
        members = [f"{key}={quote(str(value), BAGGAGE_SAFE)}" for key, value in entries]
        header = whole_members(",".join(members))
        if header:
            setter.set(carrier, "baggage", header)


def whole_members(header):
    """Return a header without the members that do not fit into MAX_BAGGAGE."""
    if len(header) > MAX_BAGGAGE:
        # One character more, because it may be the comma behind the last member that fits.
        header = header[: MAX_BAGGAGE + 1].rpartition(",")[0]
    return header


##### BLOCK 10: B3, the headers of Zipkin (github.com/openzipkin/b3-propagation) ###################

# b3: 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1
B3_HEADER = re.compile(
    r"""
    (?! 0+- )   (?P<trace_id> [0-9a-f]{32} | [0-9a-f]{16} ) -
    (?! 0{16} ) (?P<span_id>  [0-9a-f]{16} )
    (?: - (?P<state> [01d] )       # 0: not sampled, 1: sampled, d: sampled for debugging
        (?: - [0-9a-f]{16} )? )?   # the parent of the sender's span
    """,
    re.VERBOSE,
)


class B3(TextMapPropagator):
    """Writes the ids of the current span into the header b3, and reads it.

    OpenTelemetry asks to pass on the state "d" (debug). A SpanContext has no place for it, so "1"
    is sent. Without a state, the choice is left to the receiver, and is "1" here. A state without
    ids is not read. B3's other form, which has a header for each part, is left out.
    """

    # Auto-instrumentation: B3SingleFormat and B3MultiFormat of opentelemetry-propagator-b3.

    fields = {"b3"}

    def extract(self, carrier, context=None, getter=default_getter):
        """Return a copy of `context` in which the sender's span is current."""
        context = context or Context()
        values = getter.get(carrier, "b3") or [""]
        match = B3_HEADER.fullmatch(values[0].strip(" \t"))
        if match is None:
            return context
        span_context = SpanContext(
            trace_id=int(match["trace_id"], 16),
            span_id=int(match["span_id"], 16),
            is_remote=True,
            trace_flags=TraceFlags(match["state"] != "0"),
        )
        return trace.set_span_in_context(NonRecordingSpan(span_context), context)

    def inject(self, carrier, context=None, setter=default_setter):
        """Write the current span's ids, and whether it is sampled."""
        ids = trace.get_current_span(context).get_span_context()
        if ids.is_valid:
            state = ids.trace_flags.sampled
            setter.set(carrier, "b3", f"{ids.trace_id:032x}-{ids.span_id:016x}-{state:d}")


PROPAGATORS = {"tracecontext": W3CTraceContext(), "baggage": W3CBaggage(), "b3": B3()}
