"""No tracer provider is set.

Mended:
TracerProvider is recording: True
trace c285208f934377ac36f372b54f45b92e
  INTERNAL bake
"""

from opentelemetry import trace
from tree import MENDED, draw_spans, tracer

if MENDED:
    draw_spans()
with tracer.start_as_current_span("bake") as span:
    print(type(trace.get_tracer_provider()).__name__, "is recording:", span.is_recording())
