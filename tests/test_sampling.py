"""Sampling: what a sampler sees, and that recorded is not sampled."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from servers import ORDER, TRACEPARENT

import kitchen
import microdonuts

CALLER = {"traceparent": TRACEPARENT, "User-Agent": "Test/1.0"}


class Recorder(Sampler):
    """Has every span recorded and none sampled, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def should_sample(self, context, trace_id, name, kind, attributes, links, **more):
        self.asked.append((kind.name, name, set(attributes or ()), len(links or ())))
        return SamplingResult(Decision.RECORD_ONLY, attributes)

    def get_description(self):
        return "for a test"


@pytest.fixture
def sampler(monkeypatch):
    """The sampler of a tracer provider that this process uses during a test."""
    sampler = Recorder()
    sampler.store = microdonuts.SpanStore()
    provider = TracerProvider(sampler=sampler)
    provider.add_span_processor(sampler.store)
    for module in (microdonuts, kitchen):
        monkeypatch.setattr(module, "tracer", provider.get_tracer(module.__name__))
    return sampler


def test_what_a_sampler_sees(shop, ask, sampler):
    order_id = ask(shop, "/order", ORDER, CALLER).json["order_id"]
    server, order, client, *_ = sampler.asked
    url = {"url.scheme", "url.path", "server.address", "server.port"}
    peer = {"client.address", "network.peer.address", "network.peer.port"}
    request = {"http.request.method", "http.route", "network.protocol.version"}
    headers = {"user_agent.original", "http.request.header.traceparent"}
    assert server == ("SERVER", "POST /order", url | peer | request | headers, 0)
    assert order == ("INTERNAL", "order", {"microdonuts.order.id", "microdonuts.quantity"}, 0)
    known = {"http.request.method", "url.full", "server.address", "server.port"}
    assert client == ("CLIENT", "POST", known, 0)
    ask(shop, "/status", {"order_id": order_id})
    assert ("INTERNAL", "status", {"microdonuts.order.id"}, 1) in sampler.asked


def test_what_is_recorded_and_not_sampled_is_shown_and_says_so(front, fake, ask, sampler):
    ask(front, "/status", {"order_id": "o"}, CALLER)
    assert [span.name for span in sampler.store.spans] == ["POST /status", "status", "GET"]
    flags = fake.requests[0].headers["traceparent"].rpartition("-")[2]
    assert int(flags, 16) & 1 == 0
