"""A CLIENT span for a call of another service, with its attributes and its status.

Copy call(), for use in place of urlopen(). (For urllib, requests and httpx there are packages.)
A redirect gets the headers, baggage too. For unknown methods (`_OTHER`) see traced_http_server.py.

    python recipes/call_another_service.py http://127.0.0.1:8081/cakes
"""

import sys
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, StatusCode
from print_spans import print_spans  # for the last part alone

tracer = trace.get_tracer("call_another_service")


def call(request, timeout=10):
    """Send a urllib.request.Request. Return the status and the body of the answer."""
    url = urlsplit(request.full_url)
    method = request.get_method()
    attributes = {
        "http.request.method": method,
        "url.full": request.full_url,  # take out secrets: in its query, or user:password@
        "server.address": url.hostname,
        "server.port": url.port or (443 if url.scheme == "https" else 80),
    }
    span = tracer.start_span(method, kind=SpanKind.CLIENT, attributes=attributes)
    with trace.use_span(span, end_on_exit=True, set_status_on_exception=False):
        # Only now, because the current span becomes the parent of the other side's span.
        for field in propagate.get_global_textmap().fields:
            request.headers.pop(field, None)  # of a former call with this request
        propagate.inject(request.headers)
        try:
            try:
                response = urlopen(request, timeout=timeout)
            except HTTPError as answer:  # urllib raises an answer such as 404
                response = answer
            with response:
                span.set_attribute("http.response.status_code", response.status)
                # To a client, a 4xx is an error, too, and so is a redirect that leads in circles.
                if response.status >= 400 or "infinite loop" in response.reason:
                    span.set_attribute("error.type", str(response.status))
                    span.set_status(StatusCode.ERROR)
                return response.status, response.read()
        except Exception as error:
            is_wrapper = isinstance(error, URLError) and isinstance(error.reason, Exception)
            cause = type(error.reason if is_wrapper else error)
            name = f"{cause.__module__}.{cause.__qualname__}".removeprefix("builtins.")
            span.set_attribute("error.type", name)
            span.set_status(StatusCode.ERROR, str(error))
            raise


if __name__ == "__main__":
    print_spans()
    print(*call(Request(sys.argv[1])))
