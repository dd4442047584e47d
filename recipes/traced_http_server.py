"""A SERVER span for each request of your own http.server, which no package makes.

Copy all but the last part and its import. Make TracedRequests, which owns self.span and self.token,
the first base class of your handler, and set a tracer provider before you serve. A span is named
after the HTTP method, because only your code knows the route: do_GET() below says it. A method
without a do_ gets no span, and http.server answers it with 501. wsgiref's handler has no do_: for
it there is opentelemetry-instrumentation-wsgi. http.server catches a TimeoutError: no error.

    python recipes/traced_http_server.py 8081
    python recipes/call_another_service.py http://127.0.0.1:8081/cakes   # they are on one trace
"""

import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry import context, propagate, trace
from opentelemetry.trace import SpanKind, StatusCode
from print_spans import print_spans  # for the last part alone

METHODS = "GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH QUERY".split()
tracer = trace.get_tracer("traced_http_server")  # names the code that makes the spans


class TracedRequests:
    span, token = trace.INVALID_SPAN, None  # between two requests

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except Exception as error:
            name = f"{type(error).__module__}.{type(error).__qualname__}"
            self.span.set_attribute("error.type", name.removeprefix("builtins."))
            self.span.set_status(StatusCode.ERROR, str(error))
            self.span.record_exception(error)
            raise
        finally:
            self.span.end()
            # The next request of this connection must not get into this trace.
            if self.token:
                context.detach(self.token)
            self.span, self.token = trace.INVALID_SPAN, None

    def parse_request(self):
        """Start the span. http.server has read the headers here, and calls do_GET() after this."""
        is_parsed = super().parse_request()
        if is_parsed and hasattr(self, f"do_{self.command}"):
            # Joined: the API reads one line of traceparent and of baggage (MicroDonuts reads all).
            carrier = {name.lower(): ",".join(self.headers.get_all(name)) for name in self.headers}
            method = self.command if self.command in METHODS else "_OTHER"
            # A target can be a whole URL. There is no url.query, because it can hold secrets.
            path = re.sub("(?i)^https?://[^/?]*", "", self.path).partition("?")[0] or "/"
            attributes = {"http.request.method": method, "url.path": path, "url.scheme": "http"}
            if method == "_OTHER":
                attributes["http.request.method_original"] = self.command
            name = "HTTP" if method == "_OTHER" else method
            self.token = context.attach(self.start_span(name, carrier, attributes))
            self.span = trace.get_current_span()
        return is_parsed

    def start_span(self, name, carrier, attributes):
        """Return a context with a new span and the caller's baggage. (edge.py trusts no caller.)"""
        caller = propagate.extract(carrier, context.get_current())
        span = tracer.start_span(name, caller, kind=SpanKind.SERVER, attributes=attributes)
        return trace.set_span_in_context(span, caller)

    def send_response(self, code, message=None):
        super().send_response(code, message)
        self.span.set_attribute("http.response.status_code", int(code))
        if code >= 500:  # a 4xx is the caller's error, not the server's
            self.span.set_attribute("error.type", str(int(code)))
            self.span.set_status(StatusCode.ERROR)


if __name__ == "__main__":

    class Handler(TracedRequests, BaseHTTPRequestHandler):
        def do_GET(self):
            self.span.update_name("GET /cakes")
            self.span.set_attribute("http.route", "/cakes")
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"one cake\n")

    print_spans()
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    print(f"open at http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()
