"""A thread starts with an empty context.

Mended:
trace 38b5671a39b73c3dbbd67e04980c7422
  SERVER GET /cakes
    INTERNAL bake
"""

import threading
from contextvars import copy_context

from opentelemetry.trace import SpanKind
from tree import MENDED, draw_spans, tracer


def bake():
    tracer.start_span("bake").end()


draw_spans()
with tracer.start_as_current_span("GET /cakes", kind=SpanKind.SERVER):
    thread = threading.Thread(target=bake)
    if MENDED:
        thread = threading.Thread(target=copy_context().run, args=(bake,))
    thread.start()
    thread.join()
