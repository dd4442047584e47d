"""The argument `context` gives one span its parent, and makes no baggage current.

Mended:
trace 77c260a629e3e5907bb4f62b595fa2ff
  SERVER GET /cakes customer=alice
"""

from opentelemetry import baggage, context, propagate
from opentelemetry.trace import SpanKind
from tree import MENDED, draw_spans, tracer

draw_spans()
headers = {"baggage": "customer=alice"}
caller = propagate.extract(headers, context.get_current())
token = context.attach(caller if MENDED else context.get_current())
with tracer.start_as_current_span("GET /cakes", context=caller, kind=SpanKind.SERVER) as span:
    span.set_attribute("customer", str(baggage.get_baggage("customer")))
context.detach(token)
