"""A sampler that does not ask what the caller does.

Mended:
"""

from opentelemetry import context, propagate
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, DEFAULT_ON
from opentelemetry.trace import SpanKind
from tree import MENDED, draw_spans, tracer

draw_spans(sampler=DEFAULT_ON if MENDED else ALWAYS_ON)
headers = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}
caller = propagate.extract(headers, context.get_current())
tracer.start_span("GET /cakes", caller, SpanKind.SERVER).end()
