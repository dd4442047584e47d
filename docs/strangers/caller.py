"""python caller.py LIBRARY URL: order a donut with a library that a package traces.

ddtrace and py_zipkin print their spans, as TRACE SPAN PARENT. The others send theirs to OTLP.
"""

import asyncio
import importlib
import sys

LIBRARY, URL = sys.argv[1:]
ORDER = {"donuts": [{"flavor": "jelly", "quantity": 1}]}


def show(trace_id, span_id, parent_id):
    print("SPAN", f"{int(trace_id):032x}", f"{int(span_id):016x}", f"{int(parent_id or 0):016x}")


def with_opentelemetry():
    from opentelemetry import baggage, context, trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    module, instrumentor = {
        "requests": ("requests", "RequestsInstrumentor"),
        "httpx": ("httpx", "HTTPXClientInstrumentor"),
        "aiohttp": ("aiohttp_client", "AioHttpClientInstrumentor"),
    }[LIBRARY]
    package = importlib.import_module(f"opentelemetry.instrumentation.{module}")
    getattr(package, instrumentor)().instrument()
    context.attach(baggage.set_baggage("customer", "Amélie"))
    if LIBRARY == "aiohttp":
        asyncio.run(with_aiohttp())
    else:
        importlib.import_module(LIBRARY).post(URL, json=ORDER).raise_for_status()


async def with_aiohttp():
    import aiohttp

    async with aiohttp.ClientSession() as session:
        (await session.post(URL, json=ORDER)).raise_for_status()


def with_ddtrace():
    import requests
    from ddtrace import patch
    from ddtrace.trace import TraceFilter, tracer

    class Show(TraceFilter):
        def process_trace(self, trace):
            for span in trace:
                show(span.trace_id, span.span_id, span.parent_id)

    tracer.configure(trace_processors=[Show()])
    patch(requests=True)
    requests.post(URL, json=ORDER).raise_for_status()


def with_py_zipkin():
    import requests
    from py_zipkin.request_helpers import create_http_headers
    from py_zipkin.zipkin import create_attrs_for_span, zipkin_client_span

    attributes = create_attrs_for_span(sample_rate=100)
    with zipkin_client_span(
        "caller", "POST", zipkin_attrs=attributes, transport_handler=lambda body: None
    ) as span:
        ids = span.zipkin_attrs
        show(int(ids.trace_id, 16), int(ids.span_id, 16), None)
        requests.post(URL, json=ORDER, headers=create_http_headers()).raise_for_status()


named = {"ddtrace": with_ddtrace, "py_zipkin": with_py_zipkin}
named.get(LIBRARY, with_opentelemetry)()
