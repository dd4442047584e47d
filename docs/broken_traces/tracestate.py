"""A 33rd member of tracestate.

Mended:
32 members were sent, 32 have arrived
"""

from opentelemetry import propagate, trace
from opentelemetry.trace import TraceState
from tree import MENDED

received = TraceState([(f"vendor{number}", "1") for number in range(32)])
if MENDED:
    sent = TraceState([("mine", "1"), *list(received.items())[:31]]).to_header()
else:
    sent = f"mine=1,{received.to_header()}"
traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
caller = propagate.extract({"traceparent": traceparent, "tracestate": sent})
arrived = trace.get_current_span(caller).get_span_context().trace_state
print(f"{sent.count('=')} members were sent, {len(arrived)} have arrived")
