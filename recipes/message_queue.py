"""One trace through a message queue: a dict in each message takes the place of HTTP headers.

Copy send() and process(), with your broker in place of the list. (For Kafka, RabbitMQ, SQS and
Celery there are packages.) The attributes follow the messaging conventions (status: Development).
If send() can fail, say so on its span as process() does.

    python recipes/message_queue.py
"""

from opentelemetry import context, propagate, trace
from opentelemetry.trace import SpanKind, StatusCode
from print_spans import print_spans  # for the last part alone

tracer = trace.get_tracer("message_queue")
QUEUE = {"messaging.system": "my-broker", "messaging.destination.name": "cakes"}
SEND = QUEUE | {"messaging.operation.name": "send", "messaging.operation.type": "send"}
PROCESS = QUEUE | {"messaging.operation.name": "process", "messaging.operation.type": "process"}


def send(queue, body):
    with tracer.start_as_current_span("send cakes", kind=SpanKind.PRODUCER, attributes=SEND):
        headers = {}
        propagate.inject(headers)
        queue.append({"headers": headers, "body": body})


def process(messages, work):
    """Work on one message, or on a batch of them. Each has a link to the span that sent it."""
    # Kafka hands over the values as bytes: decode them, because propagators read text.
    carriers = [dict(message.get("headers") or {}) for message in messages]
    senders = [propagate.extract(carrier, context.Context()) for carrier in carriers]
    spans = [trace.get_current_span(sender).get_span_context() for sender in senders]
    links = [trace.Link(span) for span in spans if span.is_valid]
    # The conventions ask for links, because a span has one parent only. A single message has both,
    # and is in its sender's trace, whatever is current. A batch has links, and nobody's baggage.
    parent = senders[0] if len(senders) == 1 else context.Context()
    span = tracer.start_span("process cakes", parent, SpanKind.CONSUMER, PROCESS, links)
    if len(messages) > 1:
        span.set_attribute("messaging.batch.message_count", len(messages))
    token = context.attach(trace.set_span_in_context(span, parent))  # and the sender's baggage
    try:
        work([message["body"] for message in messages])
    except Exception as error:
        span.record_exception(error)
        name = f"{type(error).__module__}.{type(error).__qualname__}"
        span.set_attribute("error.type", name.removeprefix("builtins."))
        span.set_status(StatusCode.ERROR, str(error))
        raise
    finally:
        context.detach(token)
        span.end()


if __name__ == "__main__":
    print_spans()
    queue = [{"body": "from before there was tracing"}]
    for cake in ("sponge", "marble", "cherry"):
        send(queue, cake)
    for messages in (queue[:1], queue[1:2], queue[2:]):
        process(messages, print)
