"""One trace through a message queue: a dict in each message takes the place of HTTP headers.

Copy send() and process(), with your broker in place of the list. (For Kafka, RabbitMQ, SQS and
Celery there are packages.) The attributes follow the messaging conventions (status: Development).
If send() can fail, set error.type on its span: `with` records the exception and the status.

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
    """Work on one message, or on a batch of them, in a span that is linked to their senders."""
    # Kafka hands over the values as bytes: decode them, because propagators read text.
    carriers = [dict(message.get("headers") or {}) for message in messages]
    senders = [propagate.extract(carrier, context.Context()) for carrier in carriers]
    # A span has only one parent, so it has links to its senders and to what is current here. One
    # message is in its sender's trace, whatever is current. A batch has links, and no baggage.
    related = [trace.get_current_span(each) for each in (*senders, context.get_current())]
    links = [trace.Link(each.get_span_context()) for each in related]
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
