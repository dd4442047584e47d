"""A second tracer provider is set.

Mended:
trace 0e45a5f285877c584a9c80079ec1fbe8
  INTERNAL bake
"""

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from tree import MENDED, draw_spans, tracer

if not MENDED:
    trace.set_tracer_provider(TracerProvider())  # for example a library, when it is imported
draw_spans()
tracer.start_span("bake").end()
