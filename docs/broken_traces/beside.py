"""The header is written before the CLIENT span has started.

Mended:
trace 3020ac34f707b44ef41b013286bb82cd
  INTERNAL order
    CLIENT GET
      SERVER GET /cakes
"""

from opentelemetry import context, propagate
from opentelemetry.trace import SpanKind
from tree import MENDED, draw_spans, tracer

draw_spans()
headers = {}
with tracer.start_as_current_span("order"):
    if not MENDED:
        propagate.inject(headers)
    with tracer.start_as_current_span("GET", kind=SpanKind.CLIENT):
        if MENDED:
            propagate.inject(headers)
caller = propagate.extract(headers, context.get_current())
tracer.start_span("GET /cakes", caller, SpanKind.SERVER).end()
