"""SIGTERM ends a program before its last spans are exported.

Mended:
baked
trace ec4871636005624693d3c8383d8f2f04
  INTERNAL bake
exported: bake
"""

import os
import signal
import sys

from opentelemetry import trace
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter
from tree import MENDED, draw_spans, tracer

if MENDED:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
draw_spans()
exporter = ConsoleSpanExporter(formatter=lambda span: f"exported: {span.name}\n")
trace.get_tracer_provider().add_span_processor(BatchSpanProcessor(exporter))
tracer.start_span("bake").end()
print("baked", flush=True)
os.kill(os.getpid(), signal.SIGTERM)  # as Docker and Kubernetes end a program
