"""recipes/: each program, run as it is, prints the lines that tests/recipes.json has for it."""

import os
import re
import subprocess
import sys
import threading
from http.client import HTTPConnection

import pytest
from documents import numbered
from servers import DEADLINE, ORDER, ROOT, rows, started, table

# The ids of the traceparent that is sent in tests/recipes.json.
KNOWN = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "0" * 32, "0" * 16)
PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}

# Programs that use a recipe, for what the recipe's own last part does not show.
PROGRAMS = {
    "a handler of your own": """
import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from opentelemetry import baggage
from traced_http_server import TracedRequests, print_spans

class Handler(TracedRequests, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.span.set_attribute("customer", str(baggage.get_baggage("customer")))
        self.send_response(json.loads(self.path[-3:]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_BREW = do_GET

print_spans()
server = HTTPServer(("127.0.0.1", 0), Handler)
print(f"http://127.0.0.1:{server.server_port}")
server.serve_forever()
""",
    "the handler of wsgiref": """
from wsgiref.simple_server import WSGIRequestHandler, demo_app, make_server
from traced_http_server import TracedRequests, print_spans
print_spans()
handler = type("Handler", (TracedRequests, WSGIRequestHandler), {})
server = make_server("127.0.0.1", 0, demo_app, handler_class=handler)
print(f"http://127.0.0.1:{server.server_port}")
server.handle_request()
print("no span above", "0" * 32)
""",
    "work that fails": """
import json
from contextlib import suppress
from message_queue import print_spans, process, trace, tracer
print_spans()
with suppress(ValueError), tracer.start_as_current_span("push"):
    process([{"body": "cake", "headers": None}], lambda bodies: json.loads(bodies[0]))
print(f"now current: {trace.get_current_span().get_span_context().trace_id:032x}")
""",
    # A shell drops the variables whose names it cannot write.
    "a child behind a shell": """
import subprocess, sys
from child_process import environment_for_child, print_spans, trace, variable
print_spans()
print(variable("1.tracestate"))
with trace.get_tracer("me").start_as_current_span("parent"):
    shell = f"env | grep -iE '^(TRACE[PS]|BAGG|X.B3)'; {sys.executable} child_process.py child"
    subprocess.run(["sh", "-c", shell], env=environment_for_child())
""",
}


class Program(subprocess.Popen):
    """A recipe, or one of the programs above. `text` is what it has printed so far."""

    def __init__(self, command, **env):
        arguments = ["-c", PROGRAMS[command]] if command in PROGRAMS else command.split()
        arguments = [sys.executable, "-u", *arguments]
        super().__init__(arguments, cwd=ROOT / "recipes", env=os.environ | env, **PIPES)
        self.text = ""
        self.killer = threading.Timer(DEADLINE, self.kill)
        self.killer.start()

    def read(self, pattern, count):
        """Return what matches a pattern, as soon as the program has printed it `count` times."""
        while len(found := re.findall(pattern, self.text)) < count:
            line = self.stdout.readline()
            assert line, f"{pattern} was not printed {count} times: {self.text}"
            self.text += line
        return found

    def url(self):
        return self.read(r"http://[\d.]+:\d+", 1)[0]

    def lines(self, count):
        """Return the lines with ids or errors. Each id that was not sent becomes a number."""
        pattern = r".*(?:\b\w{32}\b|SPANID|TRACESTATE|BAGGAGE|ended span|JSONDecodeError:).*"
        lines = "\n".join(self.read(pattern, count))
        lines = re.sub(r"(127.0.0.1:|'server.port': )\d+", r"\1<port>", lines)
        return numbered(lines, KNOWN).splitlines()

    def end(self):
        self.killer.cancel()
        self.kill()
        self.communicate()


@pytest.fixture
def start():
    """start(command, **env): start a Program, which is killed after the test."""
    yield from started(Program, Program.end)


ROWS = table("recipes")


@pytest.mark.parametrize("title", [title for title in ROWS if "command" in ROWS[title]])
def test_a_recipe_prints_what_it_should(start, title):
    row = ROWS[title]
    if "needs" in row:
        pytest.importorskip(*row["needs"])
    program = start(row["command"], **row.get("env", {}))
    if "requests" in row:
        kept = HTTPConnection(program.url().removeprefix("http://"), timeout=DEADLINE)
    for method, target, status, *headers in row.get("requests", []):
        kept.putrequest(method, target)
        for header in headers:
            kept.putheader(*header)
        kept.endheaders(b"x" * int(dict(headers).get("Content-Length", 0)))
        if status:
            answer = kept.getresponse()
            assert answer.status == status
            assert row.get("body", "").encode() in answer.read()
    assert program.lines(len(row["lines"])) == row["lines"]


@rows("failed_calls")
def test_a_call_that_fails_says_why(start, fake_kitchen, row):
    url = row.get("url") or fake_kitchen(lambda path: row["answer"].encode()).url
    [line] = start(f"call_another_service.py {url}").lines(1)
    assert " ERROR trace" in line and f"'error.type': '{row['what']}'" in line


def test_a_call_makes_one_trace_with_the_server_that_it_reaches(start):
    server = start("traced_http_server.py 0")
    client = start(f"call_another_service.py {server.url()}/cakes")
    server.text += "".join(client.read("(?m)^CLIENT .*\n", 1))
    assert server.lines(2) == ROWS["a call and its server"]["lines"]


@pytest.mark.parametrize("propagators", ["tracecontext,baggage", "b3", "b3,baggage"])
def test_a_kitchen_in_flask_is_on_one_trace_with_the_shop(start, run_shop, ask, propagators):
    pytest.importorskip("opentelemetry.instrumentation.flask")
    env = {"OTEL_PROPAGATORS": propagators, "OTEL_SEMCONV_STABILITY_OPT_IN": "http"}
    kitchen = start("flask_kitchen.py 0", **env)
    shop = run_shop("--kitchen", kitchen.url(), OTEL_PROPAGATORS=propagators)
    reply = ask(shop, "/order", ORDER)
    assert (reply.status, reply.json.get("state")) == (200, "ready"), reply.json
    assert ask(shop, "/status", {"order_id": "nobody"}).status == 404
    pattern = "SERVER (?:POST|GET) .*?_donuts UNSET .* parent=(\\w+) .*"
    parents = kitchen.read(pattern, 2)[:2]
    spans = ask(shop, f"/traces/{reply.trace_id}?here").json["spans"]
    clients = [span["context"]["span_id"] for span in spans if span["kind"].endswith("CLIENT")]
    assert [f"0x{parent}" for parent in parents] == clients
    order_ids = re.findall("'microdonuts.order.id': '(.*?)'", kitchen.text)
    assert order_ids == ([reply.json["order_id"]] if "baggage" in propagators else [])
    assert "'http.request.method': 'POST'" in kitchen.text
