"""An asynchronous generator yields inside a current span, and is closed elsewhere.

Mended:
trace 7d53d4e7c8c0a5161a7c0f7170cfbf6e
  INTERNAL rows
trace 89e9fc0cf3899a602c6b7156d12971e3
  INTERNAL bake
"""

import asyncio

from tree import MENDED, draw_spans, tracer


async def rows():
    if MENDED:
        span = tracer.start_span("rows", record_exception=False, set_status_on_exception=False)
    else:
        span = tracer.start_as_current_span("rows")
    with span:
        yield 1
        yield 2


async def first_row():
    async for _ in rows():
        break
    tracer.start_span("bake").end()


draw_spans()
asyncio.run(first_row())
