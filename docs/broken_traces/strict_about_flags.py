"""The receiver takes flags that it does not know for malformed.

Mended:
traceparent: 00-34670ce35c85d08bd93ef0107d5e328c-8502df07620ebadc-01
trace 34670ce35c85d08bd93ef0107d5e328c
  CLIENT GET
    SERVER GET /cakes
"""

import re

from opentelemetry import context, propagate
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import SpanKind
from tree import MENDED, draw_spans, tracer


class IdsWithoutFlag(RandomIdGenerator):
    def is_trace_id_random(self):
        return False


draw_spans(id_generator=IdsWithoutFlag() if MENDED else RandomIdGenerator())
headers = {}
with tracer.start_as_current_span("GET", kind=SpanKind.CLIENT):
    propagate.inject(headers)
print("traceparent:", headers["traceparent"])
# The other program takes flags above 2 for malformed, as OpenTelemetry Go did before 1.42.0.
if not re.fullmatch("00-.{32}-.{16}-0[0-2]", headers["traceparent"]):
    headers = {}
caller = propagate.extract(headers, context.get_current())
tracer.start_span("GET /cakes", caller, SpanKind.SERVER).end()
