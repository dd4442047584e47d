"""The name of a tracer is not that of the service.

Mended:
service.name: bakery
"""

import os

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from tree import MENDED

if MENDED:
    os.environ["OTEL_SERVICE_NAME"] = "bakery"
trace.set_tracer_provider(TracerProvider())
with trace.get_tracer("bakery").start_as_current_span("bake") as span:
    print("service.name:", span.resource.attributes["service.name"].partition(":")[0])
