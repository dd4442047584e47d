"""Prints the spans of a program as trees when it ends, as a backend would draw them."""

import sys

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

MENDED = sys.argv[1:] == ["mended"]
tracer = trace.get_tracer("broken traces")


class Tree(SpanExporter):
    def __init__(self):
        self.spans = []

    def export(self, spans):
        self.spans += spans

    def shutdown(self):
        """Print what there is: the provider calls it when the program ends."""
        self.spans.sort(key=lambda span: span.start_time)
        known = {span.context.span_id for span in self.spans}
        for trace_id in dict.fromkeys(span.context.trace_id for span in self.spans):
            print(f"trace {trace_id:032x}")
            for span in self.spans:
                if span.context.trace_id == trace_id and not span.parent:
                    self.draw(span, "  ")
                elif span.context.trace_id == trace_id and span.parent.span_id not in known:
                    print(f"  ? parent {span.parent.span_id:016x} was not found")
                    self.draw(span, "    ")

    def draw(self, span, indent):
        error = f" ERROR {span.status.description}" if span.status.description else ""
        attributes = "".join(f" {name}={value}" for name, value in span.attributes.items())
        print(f"{indent}{span.kind.name} {span.name}{attributes}{error}")
        for child in self.spans:
            if child.parent and child.parent.span_id == span.context.span_id:
                self.draw(child, indent + "  ")


def draw_spans(**options):
    provider = TracerProvider(**options)
    provider.add_span_processor(SimpleSpanProcessor(Tree()))
    trace.set_tracer_provider(provider)
