"""The server that strangers reach: it lets none of them into its traces.

By its headers a caller chooses the trace of a request, whether it is recorded, and the baggage that
goes on to every service behind yours. Copy EdgeRequests beside TracedRequests, and use it instead.
A request begins a new trace, for which your own sampler decides, with a link to the claimed parent.

    python recipes/edge.py 8081
"""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from print_spans import print_spans  # for the last part alone
from traced_http_server import TracedRequests, tracer


class EdgeRequests(TracedRequests):
    def start_span(self, name, carrier, attributes):
        claim = trace.get_current_span(propagate.extract(carrier, Context())).get_span_context()
        links = [trace.Link(claim)] if claim.is_valid else []
        span = tracer.start_span(name, Context(), trace.SpanKind.SERVER, attributes, links)
        return trace.set_span_in_context(span, Context())


if __name__ == "__main__":

    class Handler(EdgeRequests, BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

    print_spans()
    server = HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    print(f"open at http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()
