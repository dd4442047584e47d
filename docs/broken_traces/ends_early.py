"""The clock is set back while a span is open.

Mended:
bake took 0.0 s
"""

import time

import opentelemetry.sdk.trace
from opentelemetry import trace
from tree import MENDED, tracer

trace.set_tracer_provider(opentelemetry.sdk.trace.TracerProvider())
clock = iter([1_000_000_000, 600_000_000])  # it is set back by 0.4 s
opentelemetry.sdk.trace.time_ns = lambda: next(clock)
start, began = time.time_ns(), time.monotonic_ns()
span = tracer.start_span("bake", start_time=start if MENDED else None)
span.end(start + time.monotonic_ns() - began if MENDED else None)
print(f"{span.name} took {(span.end_time - span.start_time) / 1e9:.1f} s")
