"""A context that is not detached is still current in the next request.

Mended:
trace d9edef12d340d64918d0797a7771dcee
  SERVER GET /cakes
trace 3429b80a603a9615065716e7668de768
  SERVER GET /cookies
"""

from opentelemetry import context, propagate, trace
from opentelemetry.trace import SpanKind
from tree import MENDED, draw_spans, tracer


def answer(path, headers):
    caller = propagate.extract(headers, context.get_current())
    span = tracer.start_span(f"GET {path}", caller, SpanKind.SERVER)
    token = context.attach(trace.set_span_in_context(span, caller))
    span.end()
    if MENDED:
        context.detach(token)


draw_spans()
answer("/cakes", {})
answer("/cookies", {})  # on the same connection, and so in the same thread
