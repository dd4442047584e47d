"""A loop over a generator stops early.

Mended:
trace 9c15153252b939420e89fc665dbd2320
  INTERNAL rows
"""

from tree import MENDED, draw_spans, tracer


def rows():
    options = {"record_exception": False, "set_status_on_exception": False} if MENDED else {}
    with tracer.start_span("rows", **options):
        yield 1
        yield 2


draw_spans()
for _ in rows():
    break
