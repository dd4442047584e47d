"""Log lines that name the trace and the span in which they were written.

Call add_trace_ids() before the first line is logged, and put %(trace_id)s and %(span_id)s into your
format. Outside of spans they are zeros. The thread that logs looks them up, so a QueueListener has
them, too. From then on, `extra` must not have these names. (The package says otelTraceID.)

    python recipes/log_with_trace_id.py
"""

import logging

from opentelemetry import trace
from print_spans import print_spans  # for the last part alone


def add_trace_ids():
    make_record = logging.getLogRecordFactory()

    def make_record_with_ids(*args, **kwargs):
        record = make_record(*args, **kwargs)
        current = trace.get_current_span().get_span_context()
        record.trace_id = trace.format_trace_id(current.trace_id)
        record.span_id = trace.format_span_id(current.span_id)
        return record

    logging.setLogRecordFactory(make_record_with_ids)


if __name__ == "__main__":
    print_spans()
    add_trace_ids()
    logging.basicConfig(format="%(trace_id)s %(span_id)s %(message)s", level="INFO")
    logging.info("the bakery opens")
    with trace.get_tracer("log_with_trace_id").start_as_current_span("bake"):
        logging.info("the oven is hot")
