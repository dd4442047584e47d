"""What tests start: a shop in a process of its own, and a kitchen that the test plays.

conftest.py loads this file, so that its fixtures are there for every test. It needs pytest alone.
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEADLINE = 20  # seconds after which whatever a test waits for has failed
ORDER = {"donuts": [{"flavor": "jelly", "quantity": 1}]}
TRACE_ID, CALLER_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{CALLER_ID}-01"


def until(condition, what="it"):
    """Return the first true value of condition(), or fail after DEADLINE seconds."""
    end = time.monotonic() + DEADLINE
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not happen within {DEADLINE} s"
        time.sleep(0.005)
    return value


def table(name):
    """Return the rows of tests/<name>.json."""
    return json.loads((ROOT / "tests" / f"{name}.json").read_text(encoding="utf-8"))


def rows(name, **chosen):
    """Run a test with each row of tests/<name>.json that has these values."""
    picked = [row for row in table(name) if row.items() >= chosen.items()]
    return pytest.mark.parametrize("row", picked, ids=[row["what"] for row in picked])


@pytest.fixture(scope="session", name="until")
def until_fixture():
    """until(condition, what): return the first true value of condition(), or fail after 20 s."""
    return until


def serve(server):
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


def close(server):
    server.shutdown()
    server.server_close()


@pytest.fixture
def run_shop():
    """run_shop(*arguments, folder=ROOT, **env): start microdonuts.py in a process of its own."""
    yield from started(Process, Process.stop)


@pytest.fixture
def fake_kitchen():
    """fake_kitchen(script): start a FakeKitchen."""
    yield from started(lambda *script: serve(FakeKitchen(*script)), close)


def started(make, end):
    """Yield a function that makes something, and end all that it has made after the test."""
    made = []

    def start(*arguments, **options):
        made.append(make(*arguments, **options))
        return made[-1]

    yield start
    for each in made:
        end(each)


class Process:
    """A shop in a process of its own, on a free port. `out` and `err` have the lines it wrote."""

    def __init__(self, *arguments, folder=ROOT, **env):
        port = () if "--port" in arguments else ("--port", "0")
        command = [sys.executable, "-u", str(folder / "microdonuts.py"), *port, *arguments]
        streams = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
        self.process = subprocess.Popen(command, env=os.environ | env, text=True, **streams)
        self.out, self.err = [], []
        pairs = [(self.process.stdout, self.out), (self.process.stderr, self.err)]
        self.readers = [threading.Thread(target=self.read, args=pair) for pair in pairs]
        for reader in self.readers:
            reader.start()
        until(lambda: self.banner() or self.process.poll() is not None, "the banner")

    @staticmethod
    def read(stream, lines):
        with stream:
            for line in stream:
                lines.append(line)

    def banner(self):
        return re.search(r"\bopen\b.*? (http://[^/\s]+)", "".join(self.err))

    @property
    def url(self):
        assert self.banner(), f"the shop has not started: {''.join(self.err)}"
        return self.banner()[1]

    def stop(self, number=signal.SIGTERM):
        """End it and return its exit status. Then `out` and `err` have all that it wrote."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(DEADLINE)
        finally:
            self.process.kill()
            for reader in self.readers:
                reader.join(DEADLINE)


class FakeKitchen(ThreadingHTTPServer):
    """A kitchen that the test plays. `requests` has the method, path, headers and body of each.

    script(path) returns the bytes to answer with, and `answer` makes such bytes. b"" hangs up, and
    None says nothing until the test has ended.
    """

    request_queue_size = 128

    def __init__(self, script=None):
        super().__init__(("127.0.0.1", 0), PlayedHandler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.script = script or self.cook
        self.requests = []
        self.is_over = threading.Event()

    @staticmethod
    def answer(value, status="200 OK", *header_lines):
        body = json.dumps(value).encode()
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *header_lines, "", ""]
        return "\r\n".join(head).encode("latin-1") + body

    def cook(self, path):
        if path.startswith("/kitchen/add_donuts"):
            return self.answer({"order_id": "o"})
        return self.answer([{"flavor": "jelly", "order_id": "o", "status": "ready", "ready_in": 0}])

    def shutdown(self):
        self.is_over.set()
        super().shutdown()

    def handle_error(self, request, client_address):
        """Say nothing: the shop may close a connection while this side still sends."""


class PlayedHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append(
            SimpleNamespace(method=self.command, path=self.path, headers=self.headers, body=body)
        )
        answer = self.server.script(self.path)
        if answer is None:
            self.server.is_over.wait(DEADLINE)
        self.wfile.write(answer or b"")
        self.close_connection = not answer or b"Connection: close" in answer

    do_POST = do_GET

    def log_message(self, *arguments):
        """Say nothing."""
