"""The fixtures of all tests: shops, their spans, requests, and a kitchen that the test plays.

Nothing is needed here but pytest, and what the shop itself needs.
"""

import argparse
import functools
import json
import os
from http.client import HTTPConnection
from types import SimpleNamespace

import pytest

pytest_plugins = ["servers"]  # until, run_shop and fake_kitchen are there
pytest.register_assert_rewrite("servers", "documents")

# What the reader has set for OpenTelemetry would change what the tests see.
for variable in [name for name in os.environ if name.startswith("OTEL_")]:
    del os.environ[variable]

import servers
from opentelemetry.sdk.trace import SpanProcessor

import microdonuts


class Reply(SimpleNamespace):
    """An answer: `status`, `headers` and `body`, which is bytes."""

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def trace_id(self):
        """The trace id of the SERVER span, which the answer names in Server-Timing."""
        return self.headers["Server-Timing"].split("-")[1]


@pytest.fixture(scope="session")
def ask():
    """ask(target, path, fields, headers, method): send one request, and return its Reply.

    The target is a Shop, a Process or a URL. Fields are sent as JSON, and bytes as they are.
    Headers are a dict, or pairs, in which a name can be repeated.
    """

    def ask(target, path, fields=None, headers=(), method=None):
        url = target if isinstance(target, str) else target.url
        body = fields
        if fields is not None and not isinstance(fields, bytes):
            body = json.dumps(fields).encode()
        pairs = list(headers.items() if isinstance(headers, dict) else headers)
        names = {name.lower() for name, _ in pairs}
        if body is not None and "content-length" not in names:
            pairs.append(("Content-Length", str(len(body))))
        method = method or ("GET" if body is None else "POST")
        connection = HTTPConnection(url.removeprefix("http://"), timeout=servers.DEADLINE)
        try:
            connection.putrequest(method, path, skip_host="host" in names)
            for name, value in pairs:
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return Reply(status=answer.status, headers=answer.headers, body=answer.read())
        finally:
            connection.close()

    return ask


class Spans(list, SpanProcessor):
    """The spans of this process that have ended since the test began, in the order of their ends.

    An answer is sent inside its SERVER span, which ends a moment after the answer has arrived. So
    `wait` and `of` wait until no span is open but "fry", which can come much later.
    """

    def __init__(self):
        self.open = set()

    def on_start(self, span, parent_context=None):
        if span.name != "fry":
            self.open.add(span.context.span_id)

    def on_end(self, span):
        self.append(span)
        self.open.discard(span.context.span_id)

    def wait(self, count, trace_id=None):
        """Return the spans in the order of their starts, when there are at least `count`."""

        def found():
            these = [span for span in self.copy() if trace_id in (None, span.context.trace_id)]
            return len(these) >= count and not self.open and [these]

        [these] = servers.until(found, f"the end of {count} spans of {trace_id or 'any trace'}")
        return sorted(these, key=lambda span: span.start_time)

    def of(self, trace, count):
        """Return the same of one trace, which is named by its id or by a Reply."""
        return self.wait(count, int(getattr(trace, "trace_id", trace), 16))


@pytest.fixture(scope="session")
def store():
    """The SpanStore of the only tracer provider of this process, for every shop in it."""
    return microdonuts.SpanStore()


@pytest.fixture(scope="session")
def provider(store):
    """The only tracer provider of this process, made as the program makes it."""
    os.environ["OTEL_TRACES_EXPORTER"] = "none"
    provider = microdonuts.set_up_tracing(store)
    del os.environ["OTEL_TRACES_EXPORTER"]
    provider.add_span_processor(SPANS)
    return provider


SPANS = Spans()


@pytest.fixture
def spans(provider):
    SPANS.wait(0)
    SPANS.clear()
    return SPANS


def new_shop(store, kitchen=None, fry_seconds=0, host="127.0.0.1"):
    arguments = argparse.Namespace(host=host, port=0, kitchen=kitchen, fry_seconds=fry_seconds)
    return servers.serve(microdonuts.Shop(arguments, store))


@pytest.fixture(scope="module")
def shop(provider, store):
    """A shop in this process, whose donuts take no time."""
    server = new_shop(store)
    yield server
    servers.close(server)


@pytest.fixture
def start_shop(provider, store):
    """start_shop(kitchen, fry_seconds, host): start another Shop in this process."""
    yield from servers.started(functools.partial(new_shop, store), servers.close)


@pytest.fixture(scope="module")
def front(provider, store):
    """A shop in this process, whose kitchen is `fake`."""
    fake = servers.serve(servers.FakeKitchen())
    front = new_shop(store, fake.url)
    front.fake = fake
    yield front
    servers.close(front)
    servers.close(fake)


@pytest.fixture
def fake(front):
    """The FakeKitchen that `front` calls, as if it were new."""
    front.fake.requests.clear()
    front.fake.script = front.fake.cook
    return front.fake


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Make a skip a failure where everything has to run, as in CI."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("REQUIRE_ALL") == "1":
        report.outcome = "failed"
        report.longrepr = f"REQUIRE_ALL=1 allows no skip: {report.longrepr[2]}"
    return report


pytest_make_collect_report = pytest_runtest_makereport  # for a file that is skipped as a whole
