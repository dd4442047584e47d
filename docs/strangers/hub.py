"""A backend for tests/test_strangers.py, which remembers what the strangers send to it."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from servers import until

KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")


class Hub(ThreadingHTTPServer):
    """A backend that remembers each span as a dict. It reads OTLP, in its form protobuf."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.spans = []

    def of(self, kind, trace_id, count):
        """Return the spans of a kind and a trace, when there are so many."""

        def found():
            spans = self.spans.copy()
            return [each for each in spans if (each["kind"], each["trace"]) == (kind, trace_id)]

        until(lambda: len(found()) >= count, f"{count} {kind} spans of {trace_id} at the backend")
        return found()


class HubHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        # Node sends its body in chunks: a length in hexadecimal, and so many bytes.
        body = b""
        if length := self.headers["Content-Length"]:
            body = self.rfile.read(int(length))
        while not length and (size := int(self.rfile.readline(), 16)):
            body += self.rfile.read(size)
            self.rfile.readline()
        # Some also send metrics and logs, to other paths.
        if self.path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    self.server.spans.extend(map(as_dict, scope.spans))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        """Say nothing."""


def as_dict(span):
    attributes = {each.key: each.value.string_value for each in span.attributes}
    return {
        "trace": span.trace_id.hex(),
        "span": span.span_id.hex(),
        "parent": span.parent_span_id.hex(),
        "kind": KINDS[span.kind],
        "order": attributes.get("microdonuts.order.id"),
    }
