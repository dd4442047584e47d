"""An asynchronous generator yields inside a current span, and is closed elsewhere.

Mended:
trace 7d53d4e7c8c0a5161a7c0f7170cfbf6e
  INTERNAL rows
trace 89e9fc0cf3899a602c6b7156d12971e3
  INTERNAL bake
"""

import asyncio

from opentelemetry.trace import StatusCode
from tree import MENDED, draw_spans, tracer


async def rows():
    with tracer.start_as_current_span("rows"):
        yield 1
        yield 2


async def mended_rows():
    span = tracer.start_span("rows")
    try:
        yield 1
        yield 2
    except Exception as error:
        span.record_exception(error)
        span.set_status(StatusCode.ERROR, str(error))
        raise
    finally:
        span.end()


async def first_row():
    async for _ in mended_rows() if MENDED else rows():
        break
    tracer.start_span("bake").end()


draw_spans()
asyncio.run(first_row())
