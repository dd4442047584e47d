"""A loop over a generator stops early. Mended, a second loop has a failure that is one.

Mended:
trace 9c15153252b939420e89fc665dbd2320
  INTERNAL rows
trace 5f0c2a54d1b8e39f6b7d0c1e2a3f4b5c
  INTERNAL rows ERROR the oven is cold
"""

from contextlib import suppress

from opentelemetry.trace import StatusCode
from tree import MENDED, draw_spans, tracer


def rows():
    with tracer.start_span("rows"):
        yield 1
        raise RuntimeError("the oven is cold")


def mended_rows():
    span = tracer.start_span("rows")
    try:
        yield 1
        raise RuntimeError("the oven is cold")
    except Exception as error:
        span.record_exception(error)
        span.set_status(StatusCode.ERROR, str(error))
        raise
    finally:
        span.end()


draw_spans()
for _ in mended_rows() if MENDED else rows():
    break
if MENDED:
    with suppress(RuntimeError):
        list(mended_rows())
