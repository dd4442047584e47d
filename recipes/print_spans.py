"""Prints each span as one line: the recipes call it to show what they do.

Your program sets a provider of its own, as docs/at-work.md does, and does not need this file. This
provider is not for production, because whoever ends a span waits until it is printed.
"""

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor


def print_spans():
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=one_line)))
    trace.set_tracer_provider(provider)


def one_line(span):
    """SERVER GET /cakes UNSET trace=<id> span=<id> parent=<id> links=[<id>] {attributes} events"""
    ids = f"trace={span.context.trace_id:032x} span={span.context.span_id:016x}"
    parent = trace.format_span_id(span.parent.span_id) if span.parent else None
    links = ",".join(trace.format_span_id(link.context.span_id) for link in span.links)
    what = f"{span.kind.name} {span.name} {span.status.status_code.name}"
    events = "".join(f" {event.name}" for event in span.events)
    return f"{what} {ids} parent={parent} links=[{links}] {dict(span.attributes)}{events}\n"
