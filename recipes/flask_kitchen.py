"""A kitchen for MicroDonuts in Flask, which a package traces: nothing in it is traced by hand.

It needs a virtual environment of its own, because the package chooses the version of the SDK, and
the shop a second terminal. Without the variable, the package writes old names (http.method).

    pip install flask opentelemetry-sdk opentelemetry-instrumentation-flask
    OTEL_SEMCONV_STABILITY_OPT_IN=http python recipes/flask_kitchen.py 8083
    python microdonuts.py --kitchen http://127.0.0.1:8083
"""

import sys

from flask import Flask, request
from opentelemetry import baggage, trace
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from print_spans import print_spans

app = Flask("kitchen")
FlaskInstrumentor().instrument_app(app)
donuts = []


@app.post("/kitchen/add_donuts")
def add_donuts():
    # The package reads the baggage, and writes none of it on spans.
    if order_id := baggage.get_baggage("microdonuts.order.id"):
        trace.get_current_span().set_attribute("microdonuts.order.id", order_id)
    donuts.append(request.json | {"status": "ready", "ready_in": 0})
    return {"order_id": request.json["order_id"]}


@app.get("/kitchen/get_donuts")
def get_donuts():
    found = [donut for donut in donuts if donut["order_id"] == request.args["order_id"]]
    return found, 200 if found else 404


print_spans()
app.run(port=int(sys.argv[1]))
