"""The receiver looks for `traceparent`, and the header is called `Traceparent`.

Mended:
trace 63c32fbbcae5a337dac8873046fa8054
  CLIENT GET
    SERVER GET /cakes
"""

from opentelemetry import context, propagate
from opentelemetry.trace import SpanKind
from tree import MENDED, draw_spans, tracer

draw_spans()
headers = {}
with tracer.start_as_current_span("GET", kind=SpanKind.CLIENT):
    propagate.inject(headers)
received = {name.title(): value for name, value in headers.items()}  # as urllib sends them
if MENDED:
    received = {name.lower(): value for name, value in received.items()}
caller = propagate.extract(received, context.get_current())
tracer.start_span("GET /cakes", caller, SpanKind.SERVER).end()
