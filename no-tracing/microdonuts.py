"""MicroDonuts: a donut shop of two files, to learn from how a trace crosses from one service to another.

    python microdonuts.py            then order in a browser: http://127.0.0.1:8082/

The shop takes an order and asks the kitchen to fry it, over HTTP, even where both are one process. This is the shop
before tracing: each "# BLOCK" is a place where README.md's walkthrough adds some.
"""

import argparse
import collections
import contextlib
import gc
import json
import math
import pathlib
import re
import signal
import socket
import sys
import threading
import time
import uuid
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

gc.set_threshold(50_000)  # modules, spans and donuts stay on purpose: the default, 700, searches them too often

# BLOCK 0: OpenTelemetry's API and SDK

from kitchen import FRY_SECONDS, STATES, Kitchen, KitchenClient, Refusal, read_json

# BLOCK 1: the tracer provider, and where its spans go



# What the endpoints answer, and what they ask for

FLAVORS = ("glazed", "cinnamon", "old-fashioned", "chocolate", "sprinkles", "jelly")
MAX_DONUTS = 100  # in one order
MAX_BODY = 65_536  # bytes


# What goes back to the client; `error` is the exception behind a 500 that nobody foresaw.
Answer = collections.namedtuple("Answer", "status body headers error", defaults=[None])


def in_json(value, status=200, headers=None, error=None):
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})}, error)


def check_order_id(order_id):
    """An order id is printable text of 1 to 100 characters."""
    if not isinstance(order_id, str) or not 0 < len(order_id) <= 100 or not order_id.isprintable():
        raise Refusal(400, 'Say which order: "order_id" must be the text that the answer to the order gave.')
    return order_id


def check_donut(item, default_quantity=None):
    """(flavor, quantity) of one item of a basket."""
    if not isinstance(item, dict):
        raise Refusal(400, 'Each donut must be an object: {"flavor": "glazed", "quantity": 1}.')
    flavor, quantity = item.get("flavor"), item.get("quantity", default_quantity)
    if flavor not in FLAVORS:
        raise Refusal(400, f'Choose a "flavor" that we have: {", ".join(FLAVORS)}.')
    if type(quantity) is not int or not 1 <= quantity <= MAX_DONUTS:  # not isinstance: True is an int too
        raise Refusal(400, f'"quantity" must be a whole number from 1 to {MAX_DONUTS}.')
    return flavor, quantity


def check_basket(items):
    """The flavors of an order, one for each donut."""
    if not isinstance(items, list) or not items:
        raise Refusal(400, 'Order something: "donuts" must be a list, [{"flavor": "glazed", "quantity": 1}].')
    flavors = [flavor for flavor, quantity in map(check_donut, items) for _ in range(quantity)]
    if len(flavors) > MAX_DONUTS:
        raise Refusal(400, f"Order at most {MAX_DONUTS} donuts at a time.")
    return flavors


# The order endpoints: they hold the kitchen's client, and nothing of the kitchen

# BLOCK 2: the spans of an order and of a status check



def order(request, client):
    """POST /order {"donuts": [{"flavor", "quantity"}, ...]}: fry them, one kitchen call for each donut."""
    flavors = check_basket(request.fields.get("donuts"))
    order_id = str(uuid.uuid4())
    return in_json(place(order_id, flavors, client, request.deadline))


def place(order_id, flavors, client, deadline):
    taken = 0
    try:
        for flavor in flavors:
            client.add_donut(order_id, flavor, deadline)
            taken += 1
        return summary(order_id, client.get_donuts(order_id, deadline))
    except Refusal as refusal:
        sentence = f"Order {order_id} failed with {taken} of {len(flavors)} donuts taken. {refusal}"
        raise Refusal(max(502, refusal.status), sentence, refusal.headers) from refusal  # 404: the kitchen's mistake


def status(request, client):
    """POST /status {"order_id"}: how far an order is."""
    order_id = check_order_id(request.fields.get("order_id"))
    return in_json(summary(order_id, client.get_donuts(order_id, request.deadline)))


def summary(order_id, donuts):
    """An order is as far as its least advanced donut, and as far off as its last. Refusal 404 if it has none."""
    if not donuts:
        raise Refusal(404, "The kitchen knows no such order: check the order_id, or order again.")
    state = min((donut["status"] for donut in donuts), key=STATES.index)
    seconds = 0 if state == "ready" else math.ceil(max(donut["ready_in"] for donut in donuts))
    return {"order_id": order_id, "estimated_delivery_time": seconds, "state": state}


# The kitchen endpoints: they hold the kitchen, and nothing of the orders


def add_donuts(request, kitchen):
    """POST /kitchen/add_donuts {"order_id", "flavor", "quantity": 1}: how many donuts of that order there are now."""
    order_id = check_order_id(request.fields.get("order_id"))
    flavor, quantity = check_donut(request.fields, default_quantity=1)
    return in_json({"order_id": order_id, "donuts": kitchen.add(order_id, flavor, quantity)})


def get_donuts(request, kitchen):
    """GET /kitchen/get_donuts?order_id=: the donuts of one order, or all; kitchen.Kitchen.get tells their shape."""
    order_ids = parse_qs(request.query, keep_blank_values=True).get("order_id", [])
    if len(order_ids) > 1:
        raise Refusal(400, "Ask for one order at a time: give order_id once.")
    return in_json(kitchen.get(check_order_id(order_ids[0]) if order_ids else None))


# The page, and what it reads: none of this is traced

HERE = pathlib.Path(__file__).resolve().parent
CONTENT_TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".png": "image/png",
                 ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".py": "text/plain; charset=utf-8"}
FOLDER = HERE / "static" if (HERE / "static").is_dir() else HERE.parent / "static"
STATIC = {path.name: path for path in FOLDER.iterdir() if path.suffix in CONTENT_TYPES and not path.is_symlink()}
SOURCES = {name: HERE / name for name in ("microdonuts.py", "kitchen.py")}
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'")


def file(request, files):
    """GET /, /static/<name>, /source/<name>: one of the files found at the start; no path is made from a request."""
    name = request.path.rpartition("/")[2] or "index.html"
    if name not in files:
        raise Refusal(404, "There is no such file: start from the page, at /.")
    headers = {"Content-Type": CONTENT_TYPES[files[name].suffix], "Content-Security-Policy": POLICY,
               "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
    return Answer(200, files[name].read_bytes(), headers)


# BLOCK 3: the spans that the page reads


# The contents page: path, its method, the function that answers, and the one thing that function holds.
ROUTES = {
    "/order": ("POST", order, "client"),
    "/status": ("POST", status, "client"),
    "/kitchen/add_donuts": ("POST", add_donuts, "kitchen"),
    "/kitchen/get_donuts": ("GET", get_donuts, "kitchen"),
    "/": ("GET", file, "static"),
    "/static/": ("GET", file, "static"),
    "/source/": ("GET", file, "sources"),
}

# HTTP, as far as http.server leaves it to us. Sections are of RFC 9110 (semantics) and RFC 9112 (HTTP/1.1).

TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110 5.6.2
# RFC 9112 2.2, 3, 5: perhaps an empty line, the request line, the headers, an empty line; a line may end in LF alone.
HEAD = re.compile(rf"(?:\r?\n)?({TOKEN}) ([!-~]+) (HTTP/[0-9]\.[0-9])\r?\n((?:{TOKEN}:[^\r\n\0]*\r?\n)*)\r?\n")
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::([0-9]{0,5}))?")  # RFC 9110 7.2


class Handler(BaseHTTPRequestHandler):
    """One connection: reads requests off it, one after another, and answers each."""

    timeout = 10  # seconds without a byte from the client, or without it taking one

    def handle_one_request(self):
        """Read a request and answer it, whatever its method; http.server's own looks for a do_GET, a do_POST, ..."""
        self.command, self.close_connection, is_read = None, True, False
        with contextlib.suppress(OSError):  # it said nothing for too long, or is gone; only reading stands in here
            is_read = self.rfile.peek(1) and self.read_head()
        if is_read:
            self.respond()

    def read_head(self):
        """Whether request line and headers came; if not, the refusal has been sent, and there is no span for it."""
        head = line = ""
        try:
            while not head.endswith(("\r\n\r\n", "\n\n")):
                line = self.rfile.readline(MAX_BODY).decode("latin-1")
                head += line
                if not line or len(head) >= MAX_BODY:
                    return self.refuse(400 if not line else 414 if head == line else 431)
        except TimeoutError:
            return self.refuse(408)
        match = HEAD.fullmatch(head)
        if not match or match[3] < "HTTP/1" or match[3] > "HTTP/2":
            return self.refuse(505 if match else 400)
        self.command, self.target, self.request_version, lines = match.groups()
        self.headers = HTTPMessage()
        for name, value in re.findall(r"([^:]+):(.*)\n", lines):
            self.headers[name] = value.strip(" \t\r")  # adds: a repeated header stays repeated
        return True

    def refuse(self, status):
        self.write(in_json({"error": "This cannot be read as HTTP/1.1: check its first line and its headers."}, status))

    def respond(self):
        self.read_target()
        self.unread = "Content-Length" in self.headers or "Transfer-Encoding" in self.headers
        answer = self.serve()
        is_last = "close" in self.headers.get("Connection", "").lower() or self.request_version == "HTTP/1.0"
        self.close_connection = is_last or self.unread or self.server.closing
        self.write(answer)

    def read_target(self):
        """What was asked for, as it was sent: host, path, query, and the route that it matches."""
        absolute = re.fullmatch(r"(?i:http)://([^/?]*)(.*)", self.target)  # RFC 9112 3.2.2: it wins over Host
        hosts = self.headers.get_all("Host", [""])
        self.authority, target = absolute.groups() if absolute else (hosts[0] if len(hosts) == 1 else "", self.target)
        path, _, self.query = target.partition("?")
        self.path, folder = path or "/", path[:path.rfind("/") + 1]
        self.route = self.path if self.path in ROUTES else folder if folder in ROUTES and folder != "/" else None

    # BLOCK 4: the SERVER span, and what it extracts

    def serve(self):
        return self.answer()

    def answer(self):
        """The Answer to this request: the endpoint's, a refusal, or 500."""
        try:
            self.check()
            method, endpoint, holds = ROUTES[self.route]
            self.fields = self.json() if method == "POST" else {}
            self.deadline = time.monotonic() + KITCHEN_SECONDS
            with self.server.desk(self) if self.route in DESKS else contextlib.nullcontext():
                return endpoint(self, getattr(self.server, holds))
        except Refusal as refusal:
            return in_json({"error": str(refusal)}, refusal.status, refusal.headers)
        except Exception as error:
            self.server.handle_error(self.request, self.client_address)  # prints it
            return in_json({"error": "The shop made a mistake: look at its terminal."}, 500, error=error)

    def check(self):
        """What every endpoint asks of a request: a host, a path, a method, and an origin that is this server."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) > 1 or (hosts or self.request_version != "HTTP/1.0") and not host_and_port(self.authority):
            raise Refusal(400, "Send one Host header, with the name and port of this server.")  # RFC 9112 3.2
        if self.route is None:
            raise Refusal(404, f"There is nothing at this path: try {', '.join(ROUTES)}.")
        method = ROUTES[self.route][0]
        allowed = ("GET", "HEAD") if method == "GET" else (method,)
        if self.command not in allowed:
            raise Refusal(405, f"Use {' or '.join(allowed)} here.", {"Allow": ", ".join(allowed)})
        if method == "POST" and self.headers.get("Origin", f"http://{self.authority}") != f"http://{self.authority}":
            raise Refusal(403, "Order from the shop's own page: this request came from another site's.")

    def json(self):
        """The fields of the body, which is a JSON object whatever its Content-Type says."""
        try:
            fields = read_json(self.body().decode())
        except (ValueError, RecursionError):
            raise Refusal(400, "The body is not JSON: send an object, in UTF-8.") from None
        if not isinstance(fields, dict):
            raise Refusal(400, "The body must be a JSON object.")
        return fields

    def body(self):
        """The body, as long as Content-Length says it is (RFC 9112 6.2)."""
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or not lengths:
            raise Refusal(411, "Send a body with its Content-Length, not in chunks.")
        if len(lengths) > 1 or not re.fullmatch("[0-9]+", lengths[0]):
            raise Refusal(400, "Content-Length must be one whole number.")
        if len(lengths[0]) > 9 or int(lengths[0]) > MAX_BODY:
            raise Refusal(413, f"The body is too long: send at most {MAX_BODY} bytes.")
        try:
            data = self.rfile.read(int(lengths[0]))
        except OSError:
            raise Refusal(408, "The body stopped halfway: send all of it.") from None
        if len(data) < int(lengths[0]):
            raise Refusal(400, "The body is shorter than its Content-Length: send all of it.")
        self.unread = False
        return data

    def write(self, answer):
        """Send an answer in one piece: two small sends meet Nagle's algorithm and the delayed ACK, 40 ms."""
        headers = {"Date": self.date_time_string(), **answer.headers, "Content-Length": len(answer.body),
                   **({"Connection": "close"} if self.close_connection else {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {answer.status} {self.responses[answer.status][0]}\r\n{head}\r\n"
        try:
            self.wfile.write(head.encode("latin-1") + (b"" if self.command == "HEAD" else answer.body))
        except OSError as error:
            self.log_message("hung up before its answer, %d (%s)", answer.status, type(error).__name__)


def host_and_port(authority):
    """("127.0.0.1", 8082) of "127.0.0.1:8082"; port 80 if it has none, None if it is no authority at all."""
    match = HOST.fullmatch(authority)
    return (match[1].strip("[]"), int(match[2] or 80)) if match and int(match[2] or 80) < 65_536 else None


# The server, and main

KITCHEN_SECONDS = 10  # how long one order or status check may wait for the desk and the kitchen in all
DESKS = {"/order": 1, "/status": 512}  # how many are served at once: threads that all want the interpreter slow it


class Server(ThreadingHTTPServer):
    """A thread for each connection, and the one thing each endpoint holds: client, kitchen, or static.

    A pool of threads would not do: the shop calls itself, and an order could wait for a thread that waits for it.
    """

    request_queue_size = 1024  # with the default of 5, bursts of connections wait for seconds
    daemon_threads = False  # so that server_close waits for the answers, and the spans, of requests under way

    def __init__(self, arguments):
        super().__init__((arguments.host, arguments.port), Handler)
        self.url = "http://{}:{}".format(*self.server_address).replace("//0.0.0.0", "//127.0.0.1")
        self.kitchen, self.client = Kitchen(arguments.fry_seconds), KitchenClient(arguments.kitchen or self.url)
        self.static, self.sources = STATIC, SOURCES
        self.connections, self.closing = set(), False
        self.desks = {route: threading.Semaphore(places) for route, places in DESKS.items()}

    def process_request(self, request, client_address):
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        """RFC 9112 9.6: to close with bytes unread would reset the connection, and lose the answer with it."""
        until = time.monotonic() + 1
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_WR)
            request.settimeout(1)
            while request.recv(65_536) and time.monotonic() < until:
                pass
        self.connections.discard(request)
        super().shutdown_request(request)

    @contextlib.contextmanager
    def desk(self, request):
        """A place at the desk for an order or a status check, within its deadline, and none once the shop closes."""
        desk, later = self.desks[request.route], {"Retry-After": "10"}
        if not desk.acquire(timeout=max(0, request.deadline - time.monotonic())):
            raise Refusal(503, "Too many orders at once: try again later.", later)
        try:
            if self.closing:
                raise Refusal(503, "The shop is closing: order again when it is open.", later)
            yield
        finally:
            desk.release()

    def close(self):
        """Let nobody new to the desks, answer those who are there (they still call this server), then close all."""
        self.closing, until = True, time.monotonic() + KITCHEN_SECONDS
        for route, places in DESKS.items():
            for _ in range(places):
                self.desks[route].acquire(timeout=max(0, until - time.monotonic()))
            self.desks[route].release(places)
        self.shutdown()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)  # an idle one ends here; another can still be answered
        self.server_close()
        self.kitchen.close()


def kitchen_url(text):
    parts = urlsplit(text)
    if parts.scheme != "http" or not host_and_port(parts.netloc.rpartition("@")[2]) or parts.path.strip("/"):
        raise argparse.ArgumentTypeError(f"{text!r} is no kitchen: give a URL such as http://127.0.0.1:8083")
    return text


def stop(sentence):
    print(f"microdonuts: {sentence}", file=sys.stderr)
    raise SystemExit(2)


def read_arguments():
    parser = argparse.ArgumentParser(description="A donut shop to learn context propagation from.")
    parser.error = stop
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8082, help="port to listen on (%(default)s; 0: any)")
    parser.add_argument("--kitchen", type=kitchen_url, metavar="URL", help="the shop whose kitchen fries (itself)")
    parser.add_argument("--fry-seconds", type=float, default=FRY_SECONDS, metavar="SECONDS",
                        help="how long one donut takes (%(default)s)")
    arguments = parser.parse_args()
    if 0 <= arguments.fry_seconds < 1_000_000:
        return arguments
    stop("argument --fry-seconds: give a time from 0 on, such as 1.4")


def main():
    arguments = read_arguments()
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # in all threads: sigwait, below, takes the first
    try:
        # BLOCK 5: tracing begins
        server = Server(arguments)
    except (OSError, OverflowError) as error:
        stop(f"cannot listen on {arguments.host} port {arguments.port} ({error}): choose another --host or --port")
    except ValueError as error:
        stop(f"a setting cannot be used: {error}")
    threading.Thread(target=server.serve_forever, args=(0.1,)).start()
    print(f"MicroDonuts is open: {server.url}/ (Ctrl-C closes it)", file=sys.stderr)
    signal.sigwait(signals)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)  # a second one ends the program at once
    server.close()
    # BLOCK 6: tracing ends


if __name__ == "__main__":
    main()
