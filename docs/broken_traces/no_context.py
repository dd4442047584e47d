"""Without propagators, extract returns what it was given: None.

Mended:
trace 7e21b14815bca6bb96ecab19c4b9a4e9
  INTERNAL bake
"""

import os

os.environ["OTEL_PROPAGATORS"] = "none"
from opentelemetry import context, propagate
from tree import MENDED, draw_spans, tracer

draw_spans()
context.attach(propagate.extract({}, context.get_current()) if MENDED else propagate.extract({}))
tracer.start_span("bake").end()
