"""python kitchen.py FRAMEWORK PORT: a kitchen in a framework that a package traces.

Each SERVER span gets the order id that came as baggage, in an attribute of that name.
py_zipkin prints its spans, as Zipkin's JSON. The others send theirs to OTLP.
"""

import json
import sys
import wsgiref.simple_server

FRAMEWORK, PORT = sys.argv[1], int(sys.argv[2])
KEY = "microdonuts.order.id"


def answer(path, body):
    """Note the order id that came as baggage, and answer as a kitchen does."""
    from opentelemetry import baggage, trace

    trace.get_current_span().set_attribute(KEY, str(baggage.get_baggage(KEY)))
    if path == "/kitchen/add_donuts":
        return {"order_id": json.loads(body)["order_id"]}
    return [{"order_id": "x", "flavor": "jelly", "status": "ready", "ready_in": 0}]


def set_up():
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def serve_wsgi(app):
    server = wsgiref.simple_server.make_server("127.0.0.1", PORT, app)
    server.RequestHandlerClass.log_message = lambda *_: None
    server.serve_forever()


def fastapi():
    import uvicorn
    from fastapi import FastAPI, Request
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    app = FastAPI()

    @app.api_route("/kitchen/{name}", methods=["GET", "POST"])
    async def kitchen(request: Request):
        return answer(request.url.path, await request.body())

    FastAPIInstrumentor.instrument_app(app, exclude_spans=["receive", "send"])
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")


def flask():
    from flask import Flask, request
    from opentelemetry.instrumentation.flask import FlaskInstrumentor

    app = Flask("kitchen")
    FlaskInstrumentor().instrument_app(app)

    @app.route("/kitchen/<name>", methods=["GET", "POST"])
    def kitchen(name):
        return answer(request.path, request.data)

    serve_wsgi(app)


def django():
    import django.core.wsgi
    from django.conf import settings
    from django.http import JsonResponse
    from django.urls import path
    from opentelemetry.instrumentation.django import DjangoInstrumentor

    def kitchen(request, name):
        return JsonResponse(answer(request.path, request.body), safe=False)

    settings.configure(ROOT_URLCONF="__main__", ALLOWED_HOSTS=["*"], DEBUG=False)
    globals()["urlpatterns"] = [path("kitchen/<name>", kitchen)]
    DjangoInstrumentor().instrument()
    serve_wsgi(django.core.wsgi.get_wsgi_application())


def falcon():
    from opentelemetry.instrumentation.falcon import FalconInstrumentor

    FalconInstrumentor().instrument()
    import falcon

    class Kitchen:
        def on_get(self, request, response, name):
            response.media = answer(request.path, request.bounded_stream.read())

        on_post = on_get

    app = falcon.App()
    app.add_route("/kitchen/{name}", Kitchen())
    serve_wsgi(app)


def tornado():
    import asyncio

    from opentelemetry.instrumentation.tornado import TornadoInstrumentor

    TornadoInstrumentor().instrument()
    import tornado.web

    class Kitchen(tornado.web.RequestHandler):
        def get(self):
            self.finish(json.dumps(answer(self.request.path, self.request.body)))

        post = get

    async def serve():
        tornado.web.Application([("/kitchen/.+", Kitchen)]).listen(PORT, "127.0.0.1")
        await asyncio.Event().wait()

    asyncio.run(serve())


def aiohttp():
    from opentelemetry.instrumentation.aiohttp_server import AioHttpServerInstrumentor

    AioHttpServerInstrumentor().instrument()
    from aiohttp import web

    async def kitchen(request):
        return web.json_response(answer(request.path, await request.read()))

    app = web.Application()
    app.router.add_route("*", "/kitchen/{name}", kitchen)
    web.run_app(app, host="127.0.0.1", port=PORT, print=None)


def py_zipkin():
    from py_zipkin.request_helpers import extract_zipkin_attrs_from_headers
    from py_zipkin.zipkin import zipkin_server_span

    def app(environ, start_response):
        names = (
            "X-B3-TraceId",
            "X-B3-SpanId",
            "X-B3-ParentSpanId",
            "X-B3-Sampled",
            "X-B3-Flags",
            "b3",
        )
        headers = {name: environ.get(f"HTTP_{name.upper().replace('-', '_')}") for name in names}
        attributes = extract_zipkin_attrs_from_headers(headers)
        with zipkin_server_span(
            "kitchen", environ["REQUEST_METHOD"], zipkin_attrs=attributes, transport_handler=print
        ):
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(answer(environ["PATH_INFO"], body)).encode()]

    serve_wsgi(app)


set_up()
globals()[FRAMEWORK]()
