"""The kitchen of MicroDonuts, the client that calls it, and the headers that the two exchange.

A trace crosses two boundaries in this file:

    between two services    exchange writes the context into the headers of a request.
                            trace_request, in microdonuts.py, reads it from there.
    between two threads     Kitchen.enqueue puts the context into a queue, beside a donut.
                            Kitchen.fry_all, in the fryer's thread, takes both out.

Read BLOCKs 7 to 10. BLOCKs 11 and 12 are for looking things up, and BLOCK 13 can be skipped.

This file imports OpenTelemetry's API and never its SDK, as a library should. The API alone records
nothing: the application, which is microdonuts.py, chooses an SDK and decides where the spans go.
"""

import collections
import contextlib
import dataclasses
import json
import queue
import random
import re
import socket
import threading
import time
import traceback
import urllib.parse
import urllib.request
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead

from opentelemetry import baggage, context, propagate, trace
from opentelemetry.context import Context, create_key, get_value, set_value
from opentelemetry.propagators.textmap import Getter, TextMapPropagator
from opentelemetry.propagators.textmap import default_getter, default_setter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState
from opentelemetry.trace import SpanKind, StatusCode

tracer = trace.get_tracer("kitchen", schema_url="https://opentelemetry.io/schemas/1.44.0")

###############################################################################
# BLOCK 7: the shape of every span
###############################################################################

# Every span of this program is made in these two steps, sometimes in a single line:
#
#     span = tracer.start_span("name", attributes={...})
#     with use_span(span):
#         ...
#
# start_span makes a span whose parent is the current span, and starts its clock. Inside the block
# the new span is the current one, so it is the parent of spans that start there. After the block,
# use_span ends it. Which span is current differs between threads, and between asyncio tasks.


@contextlib.contextmanager
def use_span(span):
    """Make a span current in a `with` block, then restore the previous span and end this one.

    An exception that leaves the block is noted on the span, and raised again.
    """
    # trace.use_span could note exceptions by itself. But it would record an exception again on each
    # span around this one, and it would count any Refusal as an error, even a 404. note_failure
    # (BLOCK 11) records an exception once, and looks at the status of a Refusal.
    with trace.use_span(
        span, end_on_exit=True, record_exception=False, set_status_on_exception=False
    ):
        try:
            yield span
        except Exception as error:
            note_failure(span, error)
            raise


@contextlib.contextmanager
def use_context(new_context):
    """Make a context the current one inside a `with` block, and restore the previous one after."""
    token = context.attach(new_context)
    try:
        yield
    finally:
        context.detach(token)


###############################################################################
# BLOCK 8: the CLIENT span
###############################################################################


def exchange(client, request, deadline):
    """Send a request to the kitchen, in a CLIENT span. Return the response and its body.

    Every call to the kitchen's endpoints comes through here. The client is a KitchenClient (BLOCK
    13). urllib sends the request through client.opener. client.handler, which is a part of the
    opener, keeps the connection open and reads the response.
    Raise OSError if there is no response in time, and other exceptions if it cannot be read (see
    KitchenClient.call).
    """
    attributes = {
        "http.request.method": request.method,
        "url.full": redact(request.full_url),
        "server.address": client.host,
        "server.port": client.port,
    }
    span = tracer.start_span(request.method, kind=SpanKind.CLIENT, attributes=attributes)
    with use_span(span):
        # Write the current context into the headers. This has to happen inside the CLIENT span,
        # because the current span becomes the parent of the kitchen's SERVER span. The other half
        # is propagate.extract, in trace_request of microdonuts.py.
        propagate.inject(request.headers)
        span.set_attributes(header_attributes(request.headers))
        client.handler.deadline = deadline  # when to stop waiting for the response
        response = client.opener.open(request)  # does not raise for a 4xx or 5xx
        describe_response(span, response)
        body = client.handler.read_body(response)
    return response, body
    # Auto-instrumentation: opentelemetry-instrumentation-urllib wraps OpenerDirector.open. Its span
    # ends when open returns, before the body has been read, and it has no server.address,
    # server.port or network.peer.address.


def describe_response(span, response):
    """Write on a CLIENT span what the status line says ("HTTP spans", HTTP client span)."""
    version = f"{response.version // 10}.{response.version % 10}"  # 11 means 1.1
    attributes = {"http.response.status_code": response.status, "network.protocol.version": version}
    span.set_attributes(attributes)
    if response.status >= 400:
        # To a client every 4xx and 5xx is an error. To a server only a 5xx is (describe_answer, in
        # microdonuts.py).
        span.set_attribute("error.type", str(response.status))
        span.set_status(StatusCode.ERROR)


###############################################################################
# BLOCK 9: W3C Trace Context
###############################################################################

# A span that sends a request puts the id of its trace and its own id into traceparent. A tracestate
# has what tracing systems add for themselves (BLOCK 12):
#
#     traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
#     tracestate: rojo=00f067aa0ba902b7,congo=t61rcWkgMzE
#
# The numbers in the comments below are sections of W3C Trace Context Level 2.

TRACEPARENT = re.compile(
    r"""
    (?P<version>   [0-9a-f]{2}  ) -
    (?P<trace_id>  [0-9a-f]{32} ) -
    (?P<parent_id> [0-9a-f]{16} ) -   # the id of the span that has sent the request
    (?P<flags>     [0-9a-f]{2}  )     # bit 0 is sampled (3.2.2.5.1), bit 1 is random (3.2.2.5.2)
    (?P<later>     -.*          )?    # what a later version may add
    """,
    re.VERBOSE,
)


class W3CTraceContext(TextMapPropagator):
    """Writes the current span into traceparent and tracestate, and reads these headers.

    set_up_tracing (BLOCK 4) registers it, so that propagate.inject and propagate.extract call it.
    """

    fields = {"traceparent", "tracestate"}  # the headers that inject writes

    def extract(self, carrier, context=None, getter=default_getter):
        """Return `context` with the sender's span as its current span.

        Without a valid traceparent, return `context` as it is. If no span is current in it, the
        receiver begins a new trace.
        """
        context = context or Context()  # an empty one
        values = getter.get(carrier, "traceparent") or []
        if len(values) != 1:
            return context  # there is none, or more than one: nobody knows which of them is right
        match = TRACEPARENT.fullmatch(values[0].strip(" \t"))
        if match is None:
            return context  # not the form above (3.2.2); its tracestate is not read, either (3.3)
        if match["version"] == "ff":
            return context  # invalid (3.2.2.1)
        if match["version"] == "00" and match["later"]:
            return context  # only a later version may have more than four fields (3.2.2.2, 3.2.4)
        sender = SpanContext(
            trace_id=int(match["trace_id"], 16),
            span_id=int(match["parent_id"], 16),
            is_remote=True,
            # 3.2.2.5 and 3.2.2.5.3: bits other than sampled and random are not passed on.
            trace_flags=TraceFlags(int(match["flags"], 16) & 0b11),
            trace_state=W3CTraceState.from_header(getter.get(carrier, "tracestate") or []),
        )
        if not sender.is_valid:
            return context  # an id that is all zeros (3.2.2.3 and 3.2.2.4)
        # The sender's span is in another process. A NonRecordingSpan with its ids takes its place.
        return trace.set_span_in_context(NonRecordingSpan(sender), context)

    def inject(self, carrier, context=None, setter=default_setter):
        """Write the current span into the headers."""
        span_context = trace.get_current_span(context).get_span_context()
        if not span_context.is_valid:
            return  # no span is current
        setter.set(carrier, "traceparent", format_traceparent(span_context))
        if len(span_context.trace_state) > 0:  # an empty tracestate is not sent (3.3.2)
            setter.set(carrier, "tracestate", span_context.trace_state.to_header())
        # Auto-instrumentation: the packages for HTTP call propagate.inject and extract, too. Both
        # use TraceContextTextMapPropagator of opentelemetry-api if nobody registers another one.


def format_traceparent(span_context):
    """Return the traceparent of a span. Its version is 00, whatever was received (3.2.4)."""
    trace_id = f"{span_context.trace_id:032x}"
    span_id = f"{span_context.span_id:016x}"
    flags = f"{span_context.trace_flags:02x}"
    return f"00-{trace_id}-{span_id}-{flags}"


class HeaderGetter(Getter):
    """Reads the headers of http.server, an email.message.Message, for a propagator.

    From these headers, the default_getter would read only the first of each name. But two
    traceparents are invalid, so extract has to see both, and a tracestate may come in several
    headers. A name is found whatever its case (3.2.1).
    """

    def get(self, carrier, key):
        return carrier.get_all(key)  # the values of all headers of this name, or None

    def keys(self, carrier):  # every Getter has this method
        return carrier.keys()


###############################################################################
# BLOCK 10: the kitchen
###############################################################################

STATES = ("new_order", "received", "cooking", "ready")
FRY_SECONDS = 1.4  # to fry one donut, while the next one waits
RECEIVED_SECONDS = 0.4  # the first part of FRY_SECONDS, in which the donut is "received"
MAX_WAITING = 1_000


@dataclasses.dataclass(eq=False)  # donuts with equal fields are not the same donut
class Donut:
    order_id: str
    flavor: str
    status: str  # one of STATES
    ready_at: float  # when it will be ready, a value of time.monotonic()


class Kitchen:
    """Fries donuts in a thread of its own, one at a time, in the order in which they came.

    MAX_WAITING donuts may wait. Any more are refused.
    """

    def __init__(self, fry_seconds=FRY_SECONDS):
        self.fry_seconds = fry_seconds
        self.shelf = Shelf()  # keeps the newest donuts, also those that are ready (BLOCK 13)
        self.lock = threading.Lock()  # so that add_donuts plans one donut after the other
        self.last_ready_at = 0.0  # when the newest donut will be ready
        self.queue = queue.SimpleQueue()
        self.is_closing = False
        self.fryer = threading.Thread(target=self.fry_all, name="fryer", daemon=True)
        self.fryer.start()

    def enqueue(self, donut):
        """Hand a donut to the fryer, together with the context of the request that brought it."""
        self.queue.put((donut, context.get_current()))
        # Auto-instrumentation: opentelemetry-instrumentation-threading hands the context of whoever
        # calls Thread.start, Timer.start or ThreadPoolExecutor.submit to the thread that then runs.
        # It does nothing for a queue.

    def fry_all(self):
        """Fry one donut after the other, each in its request's context, until the kitchen closes.

        The span "fry" is a child of the request's span, so that it is in the trace of the order. No
        request waits for it, so it could also be in a trace of its own, with a link to the request.
        Between two services, the spans at the ends of a queue are a PRODUCER and a CONSUMER.
        """
        while True:
            donut, request_context = self.queue.get()
            if self.is_closing:
                return
            try:
                # This thread's own context has no span. In request_context, the SERVER span of
                # add_donuts is current, so it becomes the parent of "fry", even if it has ended
                # by now. The baggage is there, too.
                with use_context(request_context):
                    attributes = {"microdonuts.flavor": donut.flavor, **order_attributes()}
                    with use_span(tracer.start_span("fry", attributes=attributes)):
                        self.fry(donut)
            except Exception:
                # use_span has noted it on the span. Forget the donut, and fry the next one.
                traceback.print_exc()
                self.shelf.forget(donut)

    def fry(self, donut):
        """Take a donut from "new_order" to "ready"."""
        self.shelf.set_status(donut, "received")
        pause(min(RECEIVED_SECONDS, self.fry_seconds))
        self.shelf.set_status(donut, "cooking")
        pause(donut.ready_at - time.monotonic())
        self.shelf.set_status(donut, "ready")

    def add_donuts(self, order_id, flavor, quantity):
        """Accept `quantity` donuts. Return how many donuts the order has now.

        Raise Refusal(503), and accept none, if more than MAX_WAITING donuts would then wait.
        """
        with self.lock:
            if self.queue.qsize() + quantity > MAX_WAITING:
                raise Refusal(503, KITCHEN_IS_FULL)
            for _ in range(quantity):
                # The page asks at once when a donut will be ready, so that is planned here.
                free_at = max(self.last_ready_at, time.monotonic())
                self.last_ready_at = free_at + self.fry_seconds
                donut = Donut(order_id, flavor, "new_order", self.last_ready_at)
                count = self.shelf.add(donut)
                self.enqueue(donut)
            return count

    def close(self):
        """Let the fryer finish its donut. Those that still wait are lost."""
        self.is_closing = True
        self.queue.put((None, None))  # wakes the fryer if the queue is empty
        self.fryer.join()


###############################################################################
# BLOCK 11: what is written on spans
###############################################################################

ORDER_ID_KEY = "microdonuts.order.id"  # the name of an attribute, and of a baggage entry

B3_HEADERS = ("x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags")
PROPAGATION_HEADERS = ("traceparent", "tracestate", "baggage", "b3", *B3_HEADERS)

# HTTP spans, notes on url.full and url.query: the values of these keys are replaced. (v1.44.0 no
# longer names AWSAccessKeyId and Signature, but these are secrets all the same.)
SECRET = re.compile(
    r"""
    (?<! [^?&] )  # at the beginning of a query, or after "?" or "&"
    (?P<key>
        AWSAccessKeyId | Signature | sig
        | X-Amz-Signature | X-Amz-Credential | X-Amz-Security-Token
        | X-Goog-Signature
    )
    = [^&]*
    """,
    re.VERBOSE,
)


def redact(url):
    """Return a URL or a query with REDACTED for its secret values, and all else as it was."""
    return SECRET.sub(r"\g<key>=REDACTED", url)


def header_attributes(headers):
    """Return the propagation headers as attributes, "http.request.header.<name>": [value, ...].

    The convention makes header attributes opt-in, because headers can hold secrets. Here these
    headers are the subject.
    """
    attributes = {}
    for name, value in headers.items():
        if name.lower() in PROPAGATION_HEADERS:
            attribute = f"http.request.header.{name.lower()}"
            attributes.setdefault(attribute, []).append(value.strip(" \t"))
    return attributes


def order_attributes():
    """Return the order id of the current baggage as an attribute, or {} if there is none.

    Baggage travels with a trace, but is not written on spans automatically. It can come from a
    stranger, so it is held to the same rule as an order id in a request's body.
    """
    order_id = baggage.get_baggage(ORDER_ID_KEY)
    return {ORDER_ID_KEY: order_id} if is_order_id(order_id) else {}
    # Auto-instrumentation: BaggageSpanProcessor of opentelemetry-processor-baggage copies baggage
    # onto spans as they start. It has to be added by hand, with a predicate that chooses the keys.


class Refusal(Exception):
    """An answer other than 200 that this program gives on purpose.

    It has an HTTP status, one sentence that says what to do, and headers to send along.
    """

    def __init__(self, status, sentence):
        super().__init__(sentence)
        self.status = status
        self.headers = {"Retry-After": "10"} if status == 503 else {}


def note_failure(span, error):
    """Mark a span as failed, unless the exception is a Refusal below 500 ("Recording errors")."""
    if isinstance(error, Refusal):
        if error.status < 500:
            return  # the caller's mistake
        error_type = str(error.status)
    else:
        error_class = type(error)
        full_name = f"{error_class.__module__}.{error_class.__qualname__}"
        error_type = full_name.removeprefix("builtins.")
        # The exception becomes an event of the innermost span that it leaves, and of no other.
        # Newer conventions use a log record for it, but this program has no logs.
        if not hasattr(error, "is_recorded"):
            error.is_recorded = True
            span.record_exception(error)
    span.set_attribute("error.type", error_type)
    span.set_status(StatusCode.ERROR, str(error))


###############################################################################
# BLOCK 12: tracestate, W3C Baggage and B3
###############################################################################

# tracestate: rojo=00f067aa0ba902b7,congo=t61rcWkgMzE
#
# Sections are those of W3C Trace Context Level 2.

TRACESTATE_MEMBER = re.compile(
    r"""
    (?P<key>   [a-z0-9] [a-z0-9_*/@-]{0,255} )       # 3.3.2.2.1
    =
    (?P<value> [\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}  # 3.3.2.2.2: printable, but no "," and no "=",
               [\x21-\x2b\x2d-\x3c\x3e-\x7e] )       #            and no space at the end
    """,
    re.VERBOSE,
)
MAX_MEMBERS = 32  # 3.3.2.1


class W3CTraceState(TraceState):
    """The members of a tracestate, the newest first.

    TraceState of the API does not know the keys that are new in Level 2, such as "1a", and discards
    a tracestate that has one. This class therefore keeps the members in a dict of its own.
    """

    def __init__(self, entries=None):
        """Take the well-formed (key, value) pairs, or none at all if there are too many."""
        self.members = {}
        if entries and len(entries) <= MAX_MEMBERS:
            for key, value in entries:
                if TRACESTATE_MEMBER.fullmatch(f"{key}={value}"):
                    # 3.3.3: a key may occur once. Of a repeated key the leftmost is the newest.
                    self.members.setdefault(key, value)

    @classmethod
    def from_header(cls, header_list):
        """Return the members of all tracestate lines, or none at all if one is malformed."""
        texts = [text.strip(" \t") for text in ",".join(header_list).split(",")]
        # 3.3.2: empty members are allowed.
        matches = [TRACESTATE_MEMBER.fullmatch(text) for text in texts if text]
        if None in matches:
            return cls()
        return cls([match.groups() for match in matches])

    def to_header(self):
        return ",".join(f"{key}={value}" for key, value in self.members.items())

    def __getitem__(self, key):
        return self.members[key]

    def __iter__(self):
        return iter(self.members)

    def __len__(self):
        return len(self.members)

    __contains__ = Mapping.__contains__

    def __repr__(self):  # in the words of the base class, because the SDK's JSON of a span has it
        return str([f"{{key={key}, value={value}}}" for key, value in self.members.items()])

    # Nothing above calls the methods below. They are here because a TraceState has them.

    keys = Mapping.keys
    values = Mapping.values
    items = Mapping.items

    def add(self, key, value):
        """Return a copy with a new member, or this one if the key is there already."""
        return self if key in self.members else self.update(key, value)

    def update(self, key, value):
        """Return a copy in which a member is new or changed, and therefore the first."""
        changed = W3CTraceState([(key, value), *self.delete(key).items()])
        return changed if key in changed else self  # it is malformed, or one too many

    def delete(self, key):
        """Return a copy without a member."""
        return W3CTraceState([entry for entry in self.members.items() if entry[0] != key])


# baggage: userId=Am%C3%A9lie;trusted, serverNode=DF%2028
#
# The header has two members. The first has the value "Amélie", and a property, "trusted", which the
# API's baggage cannot hold. The rules are those of W3C Baggage (commit 9af80f4), Baggage
# HTTP Header Format.

BAGGAGE_KEY = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # "key": a token
# "value": printable, but no space and none of " , ; \
BAGGAGE_VALUE = r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"
BAGGAGE_MEMBER = re.compile(
    rf"""
    (?P<key> {BAGGAGE_KEY.pattern} )
    [ \t]* = [ \t]*+                  # *+ gives nothing back: many spaces would take very long
    (?P<value> {BAGGAGE_VALUE} )
    (?: [ \t]* ; [ \t]*               # "property"
        {BAGGAGE_KEY.pattern}
        (?: [ \t]* = [ \t]*+ {BAGGAGE_VALUE} )?
    )*
    """,
    re.VERBOSE,
)
PERCENT_ENCODED = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
MAX_BAGGAGE_BYTES = 8_192  # "Limits"
RECEIVED_MEMBERS = create_key("received-baggage-members")


class W3CBaggage(TextMapPropagator):
    """Writes the current baggage into the header baggage, and reads it."""

    fields = {"baggage"}

    def extract(self, carrier, context=None, getter=default_getter):
        """Return `context` with the members of the header as its baggage; skip malformed ones."""
        context = context or Context()
        received = {}
        header = ",".join(getter.get(carrier, "baggage") or [])
        if len(header) > MAX_BAGGAGE_BYTES:
            header = header[: MAX_BAGGAGE_BYTES + 1].rpartition(",")[0]  # whole members only
        for text in header.split(","):
            if "=" not in text:  # much faster, if a stranger sends thousands of commas
                continue
            match = BAGGAGE_MEMBER.fullmatch(text.strip(" \t"))
            if match is None:
                continue
            key = match["key"]
            value = PERCENT_ENCODED.sub(unquote, match["value"])
            context = baggage.set_baggage(key, value, context)
            _, members = received.get(key, (None, []))  # a key may be repeated
            members.append(match.group())
            received[key] = (value, members)
        # The members are kept as they came, because the API's baggage has no properties.
        return set_value(RECEIVED_MEMBERS, received, context)

    def inject(self, carrier, context=None, setter=default_setter):
        """Write the current baggage: our own members, then those received, as far as they fit."""
        received = get_value(RECEIVED_MEMBERS, context) or {}
        members = []
        for key, value in baggage.get_all(context).items():
            received_value, received_members = received.get(key, (None, []))
            if value == received_value:
                members += received_members
            elif BAGGAGE_KEY.fullmatch(key):  # a key that is no token cannot be sent
                members.insert(0, f"{key}={urllib.parse.quote(str(value))}")
        header = ""
        for member in members:
            if len(header) + len(member) <= MAX_BAGGAGE_BYTES:
                header += f"{member},"
        if header:
            setter.set(carrier, "baggage", header.removesuffix(","))
        # Auto-instrumentation: W3CBaggagePropagator of opentelemetry-api writes a space as "+",
        # which W3C Baggage reads as a plus sign, takes properties for a part of the value, keeps
        # only the last of repeated members, and logs a malformed member as it came.


def unquote(match):
    """Return the text of percent-encoded octets. "value": U+FFFD for what is not UTF-8."""
    return urllib.parse.unquote(match.group())


# Zipkin's B3: one header, or several.
#
#     b3: 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1
#
#     X-B3-TraceId: 4bf92f3577b34da6a3ce929d0e0e4736
#     X-B3-SpanId: 00f067aa0ba902b7
#     X-B3-Sampled: 1
#
# The rules are those of github.com/openzipkin/b3-propagation.

B3_TRACE_ID = r"(?!0+\b)(?:[0-9a-f]{16}|[0-9a-f]{32})"  # not all zeros
B3_SPAN_ID = r"(?!0+\b)[0-9a-f]{16}"  # not all zeros
B3_SINGLE = re.compile(
    rf"""
    (?P<trace_id> {B3_TRACE_ID} ) -
    (?P<span_id>  {B3_SPAN_ID} )
    (?: - (?P<state> [01d] ) (?: - [0-9a-f]{{16}} )? )?  # the sampling state, the sender's parent
    """,
    re.VERBOSE,
)
B3_DEBUG = create_key("b3-debug")  # in a context: the id of a trace that shall be debugged


class B3(TextMapPropagator):
    """Writes the current span into one header, or into several, and reads both forms."""

    def __init__(self, is_single):
        self.is_single = is_single

    @property
    def fields(self):
        return {"b3"} if self.is_single else {"x-b3-traceid", "x-b3-spanid", "x-b3-sampled"}

    def extract(self, carrier, context=None, getter=default_getter):
        """Return `context` with the sender's span, or with its sampling decision alone."""
        context = context or Context()
        parent = trace.get_current_span(context).get_span_context()
        trace_id, span_id, state = self.read(carrier, getter)
        if re.fullmatch(B3_TRACE_ID, trace_id) and re.fullmatch(B3_SPAN_ID, span_id):
            trace_id = int(trace_id, 16)
            span_id = int(span_id, 16)
        elif trace_id or span_id or not state:
            return context  # malformed, or nothing was sent
        else:
            # A decision can be sent without ids: accept ("1"), deny ("0") or debug ("d"). A
            # ParentBased sampler only asks a parent, so one is invented, unless another propagator
            # has read one before.
            trace_id = parent.trace_id or random.getrandbits(128)
            span_id = parent.span_id or random.getrandbits(64)
        if state == "d":
            context = set_value(B3_DEBUG, trace_id, context)
        # Without a state, the decision is deferred to us. A SpanContext cannot express that, so it
        # is taken for "accept", which a ParentBased sampler follows.
        flags = TraceFlags.DEFAULT if state == "0" else TraceFlags.SAMPLED
        trace_state = None
        if parent.trace_id == trace_id:
            # What B3 cannot express is kept if another propagator has read it: the random flag and
            # the tracestate (W3C Trace Context, 3.2.2.5.2 and 3.5).
            flags |= parent.trace_flags & 0b10
            trace_state = parent.trace_state
        sender = SpanContext(trace_id, span_id, True, TraceFlags(flags), trace_state)
        return trace.set_span_in_context(NonRecordingSpan(sender), context)

    def read(self, carrier, getter):
        """Return the trace id, the span id and the state (0, 1 or d), each "" if it is absent."""

        def first(name):
            lines = getter.get(carrier, name) or [""]
            return lines[0].split(",")[0].strip(" \t")

        single = first("b3")
        if single in ("0", "1", "d"):
            return "", "", single
        match = B3_SINGLE.fullmatch(single)
        if match:
            return match.groups("")
        # Before there was a specification, some senders wrote true and false.
        states = {"1": "1", "true": "1", "0": "0", "false": "0"}
        state = "d" if first("x-b3-flags") == "1" else states.get(first("x-b3-sampled"), "")
        return first("x-b3-traceid"), first("x-b3-spanid"), state

    def inject(self, carrier, context=None, setter=default_setter):
        """Write the current span into the header, or headers, of this form."""
        current = trace.get_current_span(context).get_span_context()
        if not current.is_valid:
            return
        trace_id = trace.format_trace_id(current.trace_id)
        span_id = trace.format_span_id(current.span_id)
        state = "1" if current.trace_flags.sampled else "0"
        if get_value(B3_DEBUG, context) == current.trace_id:
            state = "d"
        if self.is_single:
            setter.set(carrier, "b3", f"{trace_id}-{span_id}-{state}")
            return
        setter.set(carrier, "x-b3-traceid", trace_id)
        setter.set(carrier, "x-b3-spanid", span_id)
        if state == "d":
            setter.set(carrier, "x-b3-flags", "1")  # implies "accept", so x-b3-sampled is not sent
        else:
            setter.set(carrier, "x-b3-sampled", state)
        # Auto-instrumentation: B3SingleFormat and B3MultiFormat of opentelemetry-propagator-b3 read
        # upper-case ids, too, turn debug into accept, and lose a decision that was sent alone.


PROPAGATORS = {
    "tracecontext": W3CTraceContext(),
    "baggage": W3CBaggage(),
    "b3": B3(is_single=True),
    "b3multi": B3(is_single=False),
}

###############################################################################
# BLOCK 13: the client, and the shelf. Skip it: only the peer's address is about tracing.
###############################################################################

MAX_REMEMBERED = 10_000
MAX_ANSWER = 2_097_152  # bytes; 10,000 donuts of one order have 1,810,000
MAX_IDLE_SECONDS = 5  # well below Handler.timeout in microdonuts.py
KITCHEN_IS_FULL = "The kitchen is full: try again later."


class Shelf:
    """Keeps the newest MAX_REMEMBERED donuts, for those who ask how far an order is.

    The oldest donut is forgotten first. It is ready by then, because at most MAX_WAITING wait.
    """

    def __init__(self):
        self.donuts = collections.deque()  # the oldest first
        self.donuts_by_order = {}  # order id: a list of its donuts
        self.lock = threading.RLock()  # reentrant, because add has it and calls forget

    def add(self, donut):
        """Remember a donut. Return how many donuts its order has now."""
        with self.lock:
            self.donuts.append(donut)
            siblings = self.donuts_by_order.setdefault(donut.order_id, [])
            siblings.append(donut)
            if len(self.donuts) > MAX_REMEMBERED:
                self.forget(self.donuts[0])
            return len(siblings)

    def forget(self, donut):
        with self.lock:
            self.donuts.remove(donut)
            siblings = self.donuts_by_order[donut.order_id]
            siblings.remove(donut)
            if not siblings:
                del self.donuts_by_order[donut.order_id]

    def set_status(self, donut, status):
        with self.lock:  # so that nothing changes while get_donuts makes its list
            donut.status = status

    def get_donuts(self, order_id=None):
        """Return the donuts of an order, or all, the oldest first; [] if the order is unknown.

        A donut is {"flavor", "order_id", "status", "ready_in"}, with `ready_in` in seconds.
        """
        with self.lock:
            now = time.monotonic()
            chosen = self.donuts if order_id is None else self.donuts_by_order.get(order_id, [])
            return [
                {
                    "flavor": donut.flavor,
                    "order_id": donut.order_id,
                    "status": donut.status,
                    "ready_in": round(max(0.0, donut.ready_at - now), 3),
                }
                for donut in chosen
            ]


class KitchenClient:
    """Calls the kitchen at `url`, which has the form "http://host:port".

    Each call has a deadline, which is a value of time.monotonic(). A call that fails raises a
    Refusal: 502 if the kitchen cannot be reached or answers nonsense, 503 if it is full, and 504 if
    it has not answered by the deadline.
    """

    def __init__(self, url):
        self.url = url
        parts = urllib.parse.urlsplit(url)
        self.host = parts.hostname
        self.port = parts.port or 80
        self.handler = KeptConnection()
        # An opener with this handler alone knows no proxies. It follows no redirects, which would
        # take our headers to another host, and it returns a 404 or 500 like any other answer.
        self.opener = urllib.request.OpenerDirector()
        self.opener.add_handler(self.handler)
        self.opener.addheaders.append(("Accept-Encoding", "identity"))  # nothing compressed

    def add_donut(self, order_id, flavor, deadline):
        """Hand one donut of an order to the kitchen."""
        body = json.dumps({"order_id": order_id, "flavor": flavor}).encode()
        if not self.call("POST", "/kitchen/add_donuts", deadline, body):
            raise self.kitchen_refusal(502, "did not accept a donut")

    def get_donuts(self, order_id, deadline):
        """Return the donuts of an order as Shelf.get_donuts does: [] if the order is unknown."""
        path = f"/kitchen/get_donuts?order_id={urllib.parse.quote(order_id, safe='')}"
        donuts = self.call("GET", path, deadline)
        if not isinstance(donuts, list) or not all(map(is_donut, donuts)):
            raise self.kitchen_refusal(502, "sent no list of donuts")
        return donuts

    def call(self, method, path, deadline, body=None):
        """Make one request, and return the JSON value of the answer, or [] for a 404."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            response, data = exchange(self, request, deadline)
            if response.status == 200:
                return json.loads(data)
        except (
            OSError,  # no connection, a broken one, or no answer in time
            HTTPException,  # an answer that is cut short, or that is not HTTP
            ValueError,  # a host name that cannot exist, or numbers or JSON that cannot be read
            OverflowError,  # a chunk that is longer than any memory
            TypeError,  # a malformed Content-Type
            RecursionError,  # JSON that is nested too deeply
        ) as error:
            self.handler.close()
            if isinstance(error, TimeoutError):
                raise self.kitchen_refusal(504, "took too long") from error
            problem = f"gave no usable answer ({type(error).__name__})"
            raise self.kitchen_refusal(502, problem) from error
        if response.status == 404:
            return []
        if response.status == 503:
            raise Refusal(503, KITCHEN_IS_FULL)
        raise self.kitchen_refusal(502, f"answered with {response.status}")

    def kitchen_refusal(self, status, problem):
        sentence = f"The kitchen at {self.url} {problem}: start it, or look at its terminal."
        return Refusal(status, sentence)


class KeptConnection(urllib.request.HTTPHandler):
    """Keeps a connection open from one request to the next, which urllib itself does not.

    Only one thread at a time may use it, and has to set the deadline, a value of time.monotonic().
    """

    sock = None

    def http_open(self, request):
        """Send a request and return its response, of which only the head has been read."""
        if not self.is_usable():
            self.close()
            connection = HTTPConnection(request.host, timeout=seconds_until(self.deadline))
            connection.connect()
            # A DeadlineSocket takes over the file descriptor of the socket that has connected.
            self.sock = DeadlineSocket(fileno=connection.sock.detach())
        self.sent_at = time.monotonic()
        self.sock.deadline = self.deadline
        self.sock.settimeout(seconds_until(self.deadline))
        # The request is sent in one piece. http.client would send its body in a second one.
        head = f"{request.get_method()} {request.selector} HTTP/1.1\r\n"
        for name, value in request.header_items():
            head += f"{name}: {value}\r\n"
        self.sock.sendall(f"{head}\r\n".encode("latin-1") + (request.data or b""))
        address, port = self.sock.getpeername()[:2]
        peer = {"network.peer.address": address, "network.peer.port": port}
        trace.get_current_span().set_attributes(peer)
        response = HTTPResponse(self.sock)
        response.begin()
        while response.status < 200:  # an interim answer (RFC 9110 15.2); begin skips 100 alone
            response.headers = None  # otherwise begin would do nothing
            response.begin()
        return response

    def read_body(self, response):
        """Return the body of a response, and keep its connection unless the kitchen closes it."""
        with response:
            if len(response.headers.get_all("Content-Length", [])) > 1:
                raise HTTPException("more than one Content-Length")  # RFC 9112 6.3
            body = response.read(MAX_ANSWER)
            if response.length or len(body) == MAX_ANSWER:  # it is cut short, or too long
                raise IncompleteRead(body)
        if response.will_close:
            self.close()
        return body

    def is_usable(self):
        """Tell whether the kept connection is open, with nothing to be read from it."""
        # The kitchen closes a connection that was idle for too long. It could do so at the very
        # moment in which it is sent a request, so a connection is given up before that.
        if self.sock is None or time.monotonic() > self.sent_at + MAX_IDLE_SECONDS:
            return False
        try:
            self.sock.settimeout(0)
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False  # it is closed or broken, or the kitchen has sent what nobody asked for

    def close(self):
        if self.sock:
            self.sock.close()
            self.sock = None  # a response that nobody has read may keep it open for a while


class DeadlineSocket(socket.socket):
    """Reads until its deadline.

    A plain timeout begins anew with every byte, so that a slow answer could take for ever.
    """

    def recv_into(self, *arguments):
        self.settimeout(seconds_until(self.deadline))
        return super().recv_into(*arguments)


def seconds_until(deadline):
    """Return how long to wait at most. Raise TimeoutError if the deadline has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("the deadline has passed")
    return seconds


def is_order_id(value):
    """Tell whether a value is printable text of 1 to 100 characters."""
    return isinstance(value, str) and 0 < len(value) <= 100 and value.isprintable()


def is_donut(item):
    """Tell whether an item of an answer has the form that Shelf.get_donuts gives a donut."""
    return (
        isinstance(item, dict)
        and isinstance(item.get("flavor"), str)
        and item.get("status") in STATES
        and type(item.get("ready_in")) in (int, float)
        and 0 <= item["ready_in"] < 1e9
    )


def pause(seconds):
    if seconds > 0:  # even a sleep of 0 seconds would wait for other threads
        time.sleep(seconds)
