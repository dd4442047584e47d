"""MicroDonuts: a donut shop of two files, to learn from how a trace crosses from one service to another.

    python microdonuts.py            then order in a browser: http://127.0.0.1:8082/

This is the shop before tracing: it needs Python alone. Each "# BLOCK" heading marks a place where the walkthrough in
README.md adds some. kitchen.py, beside this file, fries the donuts.
"""

import argparse
import contextlib
import json
import math
import pathlib
import re
import signal
import socket
import socketserver
import sys
import threading
import time
import traceback
import uuid
from email.errors import FirstHeaderLineIsContinuationDefect, MissingHeaderBodySeparatorDefect
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

# BLOCK 0: OpenTelemetry's API and SDK

from kitchen import FLAVORS, FRY_SECONDS, KITCHEN_SECONDS, STATES, Kitchen, KitchenClient, Refusal, read_json

HERE = pathlib.Path(__file__).resolve().parent
STATIC = HERE / "static" if (HERE / "static").is_dir() else HERE.parent / "static"

# BLOCK 1: the tracer provider, and where its spans go


# What the endpoints answer, and what they ask for

MAX_DONUTS = 100  # in one order
MAX_BODY = 65_536  # bytes


class Answer(NamedTuple):
    """What goes back to the client; `error` is the exception behind a 500 that nobody foresaw."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: dict = {}
    error: Exception | None = None


def in_json(value, status=200, headers=None, error=None):
    return Answer(status, json.dumps(value).encode() + b"\n", headers=headers or {}, error=error)


def check_order_id(fields):
    """The order_id among the fields of a body or query: printable text of 1 to 100 characters."""
    order_id = fields.get("order_id")
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
    if type(quantity) is not int or quantity < 1:  # type, not isinstance: True is an int too
        raise Refusal(400, '"quantity" must be a whole number from 1.')
    if quantity > MAX_DONUTS:
        raise Refusal(400, f"Order at most {MAX_DONUTS} donuts at a time.")
    return flavor, quantity


def check_basket(fields):
    """The flavors of an order, one for each donut."""
    items = fields.get("donuts")
    if not isinstance(items, list) or not items:
        raise Refusal(400, 'Order something: "donuts" must be a list, [{"flavor": "glazed", "quantity": 1}].')
    basket = [check_donut(item) for item in items]
    if sum(quantity for _, quantity in basket) > MAX_DONUTS:
        raise Refusal(400, f"Order at most {MAX_DONUTS} donuts at a time.")
    return [flavor for flavor, quantity in basket for _ in range(quantity)]


# The order endpoints: they hold the kitchen's client, and nothing of the kitchen

# BLOCK 2: the spans of an order and of a status check


def order(request, client):
    """POST /order {"donuts": [{"flavor", "quantity"}, ...]}: fry them, one kitchen call for each donut."""
    flavors = check_basket(request.json())
    order_id = str(uuid.uuid4())
    return in_json(place(order_id, flavors, client))


def place(order_id, flavors, client):
    deadline = time.monotonic() + KITCHEN_SECONDS
    taken = 0
    try:
        for flavor in flavors:
            client.add_donut(order_id, flavor, deadline)
            taken += 1
        return summary(order_id, client.get_donuts(order_id, deadline))
    except Refusal as refusal:
        sentence = f"Order {order_id} failed, with {taken} of {len(flavors)} donuts taken: {refusal}"
        raise Refusal(refusal.status, sentence, refusal.headers) from refusal


def status(request, client):
    """POST /status {"order_id"}: how far an order is."""
    order_id = check_order_id(request.json())
    return in_json(look_up(order_id, client))


def look_up(order_id, client):
    donuts = client.get_donuts(order_id, time.monotonic() + KITCHEN_SECONDS)
    if not donuts:
        raise Refusal(404, "No such order here: check the order_id, or order again.")
    return summary(order_id, donuts)


def summary(order_id, donuts):
    """An order is as far as its least advanced donut, and as far off as its last."""
    if not donuts:
        raise Refusal(502, "The kitchen forgot the order at once: look at its terminal.")
    state = min((donut["status"] for donut in donuts), key=STATES.index)
    seconds = 0 if state == "ready" else math.ceil(max(donut["ready_in"] for donut in donuts))
    return {"order_id": order_id, "estimated_delivery_time": seconds, "state": state}


# The kitchen endpoints: they hold the kitchen, and nothing of the orders


def add_donuts(request, kitchen):
    """POST /kitchen/add_donuts {"order_id", "flavor", "quantity": 1}: how many donuts of that order there are now."""
    fields = request.json()
    order_id = check_order_id(fields)
    flavor, quantity = check_donut(fields, default_quantity=1)
    return in_json({"order_id": order_id, "donuts": kitchen.add(order_id, flavor, quantity)})


def get_donuts(request, kitchen):
    """GET /kitchen/get_donuts?order_id=: the donuts of one order, or all; kitchen.Kitchen.get tells their shape."""
    fields = parse_qs(request.query, keep_blank_values=True)
    if "order_id" not in fields:
        return in_json(kitchen.get())
    if len(fields["order_id"]) > 1:
        raise Refusal(400, "Ask for one order at a time: give order_id once.")
    return in_json(kitchen.get(check_order_id({"order_id": fields["order_id"][0]})))


# The page, which is not traced

CONTENT_TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".png": "image/png",
                 ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
                               "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
                               "require-trusted-types-for 'script'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def static(request, folder):
    """GET / and /static/name: a file of static/, which has no folders and whose links are not followed."""
    file = folder / (request.path.removeprefix("/static/").removeprefix("/") or "index.html")
    if not re.fullmatch(r"[a-z0-9_-]+\.[a-z]+", file.name) or file.parent != folder or file.is_symlink() \
            or file.suffix not in CONTENT_TYPES or not file.is_file():
        raise Refusal(404, "There is no such file: see what index.html asks for.")
    return Answer(200, file.read_bytes(), CONTENT_TYPES[file.suffix], PAGE_HEADERS)


# The contents page: path, its method, the function that answers, and the one thing that function holds.
ROUTES = {
    "/order": ("POST", order, "client"),
    "/status": ("POST", status, "client"),
    "/kitchen/add_donuts": ("POST", add_donuts, "kitchen"),
    "/kitchen/get_donuts": ("GET", get_donuts, "kitchen"),
    "/": ("GET", static, "static"),
    "/static/": ("GET", static, "static"),
}
WITH_NAMES = ("/static/",)  # routes below which each path has a name of its own

# HTTP, as far as http.server leaves it to us. Sections are of RFC 9110 (semantics) and RFC 9112 (HTTP/1.1).

REQUEST_LINE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [!-~]+ HTTP/[0-9]\.[0-9]")  # RFC 9112 3
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::([0-9]{0,5}))?")  # RFC 9110 7.2
LINGER_SECONDS = 2
SENTENCES = {
    400: "This is not an HTTP/1.1 request: check its first line and its headers.",
    408: "The request stopped halfway: send all of it.",
    414: "The address is too long: shorten it.",
    431: "The headers are too long or too many: send fewer.",
    505: "This server speaks HTTP/1.1: use that.",
}


def host_and_port(authority):
    """("127.0.0.1", 8082) of "127.0.0.1:8082"; port 80 if it has none, None if it is no authority at all."""
    match = HOST.fullmatch(authority)
    return match and (match[1].strip("[]").lower(), int(match[2] or 80))


class Handler(BaseHTTPRequestHandler):
    """One connection: reads requests off it, one after another, and answers each."""

    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds without a byte from the client, or without it taking one
    disable_nagle_algorithm = True

    def handle_one_request(self):
        """Read a request and answer it, whatever its method: http.server's own looks for do_GET, do_POST, ..."""
        self.command, self.headers, self.unread = None, {}, True
        try:
            ready = self.rfile.peek(1) and self.read_head()
        except OSError:  # the client said nothing for too long, or is gone; only reading stands in this try
            ready = False
        if ready:
            self.respond()
        else:
            self.close_connection = True

    def read_head(self):
        """Whether a request line and headers came that can be answered; if not, the refusal has been sent."""
        try:
            line = self.rfile.readline(MAX_BODY)
            if line in (b"\r\n", b"\n"):  # RFC 9112 2.2: an empty line before the request is ignored
                line = self.rfile.readline(MAX_BODY)
            self.raw_requestline = line
            if len(line) == MAX_BODY:
                return self.send_error(414)
            if not REQUEST_LINE.fullmatch(line.decode("latin-1").rstrip("\r\n")):
                return self.send_error(400)
            return self.parse_request() and (self.headers_are_whole() or self.send_error(400))
        except TimeoutError:
            return self.send_error(408)

    def headers_are_whole(self):
        """RFC 9112 5.1, 5.2 and RFC 9110 5.5: no line without a colon, none folded, no control character in it."""
        bad = (FirstHeaderLineIsContinuationDefect, MissingHeaderBodySeparatorDefect)
        return not (any(isinstance(defect, bad) for defect in self.headers.defects)
                    or any(re.search(r"[\0\r\n]", value) for value in self.headers.values()))

    def handle_expect_100(self):
        """http.server would ask for the body here; body() does, once it wants it."""
        return True

    def send_error(self, code, message=None, explain=None):
        """The refusal of what could not be parsed, http.server's and ours."""
        self.unread = True
        self.write(in_json({"error": SENTENCES[code]}, code))

    def read_target(self):
        """The path and query as sent, the host that was asked for, and whether a body follows."""
        target = self.requestline.split(" ")[1]  # self.path is not as sent: http.server folds leading slashes
        absolute = re.fullmatch(r"(?i:http)://([^/?]*)(.*)", target)  # RFC 9112 3.2.2: it wins over Host
        hosts = self.headers.get_all("Host", [])
        authority, target = absolute.groups() if absolute else (hosts[0] if len(hosts) == 1 else "", target)
        self.host = host_and_port(authority)
        self.path, _, self.query = target.partition("?")
        folder = self.path[:self.path.rfind("/") + 1]
        self.route = folder if folder in WITH_NAMES else self.path if self.path in ROUTES else None
        self.unread = "Transfer-Encoding" in self.headers or self.headers.get("Content-Length", "0") != "0"

    # BLOCK 3: the SERVER span, and what it extracts

    def respond(self):
        self.read_target()
        self.write(self.answer())

    def answer(self):
        """The Answer to this request: the endpoint's, a refusal, or 500."""
        try:
            self.check()
            _, endpoint, needs = ROUTES[self.route]
            with self.server.under_way(self.route, needs):
                return endpoint(self, getattr(self.server, needs))
        except Refusal as refusal:
            return in_json({"error": str(refusal)}, refusal.status, refusal.headers)
        except Exception as error:
            traceback.print_exc()
            return in_json({"error": "The shop made a mistake: look at its terminal."}, 500, error=error)

    def check(self):
        """What every endpoint asks of a request: a host, a path, a method, and an origin that is this server."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) > 1 or not hosts and self.request_version >= "HTTP/1.1" or hosts and not self.host:
            raise Refusal(400, "Send one Host header, with the name and port of this server.")  # RFC 9112 3.2
        if self.route is None:
            raise Refusal(404, f"There is nothing at this path: try {', '.join(ROUTES)}.")
        method = ROUTES[self.route][0]
        allowed = ("GET", "HEAD") if method == "GET" else (method,)
        if self.command not in allowed:
            raise Refusal(405, f"Use {' or '.join(allowed)} here.", {"Allow": ", ".join(allowed)})
        origin = self.headers.get("Origin")
        if method == "POST" and origin is not None and not self.is_own(origin):
            raise Refusal(403, "Order from the shop's own page: this request came from another site's.")

    def is_own(self, origin):
        scheme, _, authority = origin.partition("://")
        return scheme == "http" and self.host is not None and host_and_port(authority) == self.host

    def json(self):
        """The fields of the body, which is a JSON object whatever its Content-Type says."""
        try:
            fields = read_json(self.body())
        except ValueError:
            raise Refusal(400, "The body is not JSON: send an object, in UTF-8.") from None
        if not isinstance(fields, dict):
            raise Refusal(400, "The body must be a JSON object.")
        return fields

    def body(self):
        """The body, as long as Content-Length says it is (RFC 9112 6.2)."""
        length = self.body_length()
        try:
            if self.headers.get("Expect", "").lower() == "100-continue":
                self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            data = self.rfile.read(length)
        except TimeoutError:
            raise Refusal(408, SENTENCES[408]) from None
        except OSError:
            data = b""
        if len(data) < length:
            raise Refusal(400, "The body is shorter than its Content-Length: send all of it.")
        self.unread = False
        return data

    def body_length(self):
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or not lengths:
            raise Refusal(411, "Send a body with its Content-Length, not in chunks.")
        if len(lengths) > 1 or not re.fullmatch("[0-9]+", lengths[0]):
            raise Refusal(400, "Content-Length must be one whole number.")
        digits = lengths[0].lstrip("0") or "0"
        if len(digits) > len(str(MAX_BODY)) or int(digits) > MAX_BODY:
            raise Refusal(413, f"The body is too long: send at most {MAX_BODY} bytes.")
        return int(digits)

    def write(self, answer):
        """Send an answer in one piece: two small sends meet Nagle's algorithm and the delayed ACK, 40 ms."""
        self.close_connection = self.is_last()
        lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}", f"Date: {self.date_time_string()}",
                 f"Content-Type: {answer.content_type}", f"Content-Length: {len(answer.body)}",
                 *(f"{name}: {value}" for name, value in answer.headers.items()),
                 *(["Connection: close"] if self.close_connection else []), "\r\n"]
        try:
            self.wfile.write("\r\n".join(lines).encode("latin-1") + (b"" if self.command == "HEAD" else answer.body))
            if self.unread:
                self.linger()
        except OSError as error:
            self.close_connection = True
            self.log_error("hung up before its answer, %d (%s)", answer.status, type(error).__name__)

    def is_last(self):
        """Whether this request is the last one that this connection carries (RFC 9112 9.3)."""
        options = self.headers.get("Connection", "").lower().replace(" ", "").split(",")
        return self.unread or self.server.closing or "close" in options or self.request_version < "HTTP/1.1"

    def linger(self):
        """RFC 9112 9.6: to close with bytes unread would reset the connection, and lose the answer with it."""
        until = time.monotonic() + LINGER_SECONDS
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(LINGER_SECONDS)
        with contextlib.suppress(OSError):
            while self.connection.recv(65_536) and time.monotonic() < until:
                pass


# The server, and main


class Server(ThreadingHTTPServer):
    """A thread for each connection, and the one thing each endpoint holds: client, kitchen, or static.

    A pool of threads would not do: the shop calls itself, and an order could wait for a thread that waits for it.
    """

    request_queue_size = 1024  # with the default of 5, bursts of connections wait for seconds
    daemon_threads = False  # closing waits for the answers, and the spans, of those under way

    def __init__(self, host, port, kitchen_url, fry_seconds):
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)
        self.url = own_url(*self.server_address[:2])
        self.static = STATIC
        self.kitchen = Kitchen(fry_seconds)
        self.client = KitchenClient(kitchen_url or self.url)
        self.connections = set()
        self.closing, self.orders_under_way, self.changed = False, 0, threading.Condition()

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own also looks up the host's name, which can take long

    def process_request(self, request, client_address):
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.connections.discard(request)
        super().shutdown_request(request)

    @contextlib.contextmanager
    def under_way(self, route, needs):
        """Counts the requests that call the kitchen, for close(); Refusal 503 for an order after that."""
        calls_kitchen = needs == "client"
        with self.changed:
            if self.closing and route == "/order":
                raise Refusal(503, "The shop is closing: order again when it is open.", {"Retry-After": "10"})
            self.orders_under_way += calls_kitchen
        try:
            yield
        finally:
            with self.changed:
                self.orders_under_way -= calls_kitchen
                self.changed.notify_all()

    def close(self):
        """Take no new order, answer those under way (they still call this server), then close all."""
        with self.changed:
            self.closing = True
            self.changed.wait_for(lambda: not self.orders_under_way, KITCHEN_SECONDS)
        self.shutdown()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)  # an idle one ends here; another can still be answered
        self.server_close()
        self.kitchen.close()


def own_url(host, port):
    """Where this server reaches itself: the loopback address if it listens on all."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def port_number(text):
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give a number from 0 to 65535")
    return int(text)


def seconds(text):
    value = float(text) if re.fullmatch(r"[0-9]{1,6}(\.[0-9]*)?", text) else None
    if value is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give seconds, such as 1.4")
    return value


def kitchen_url(text):
    with contextlib.suppress(ValueError):
        parts = urlsplit(text)
        authority = parts.netloc.rpartition("@")[2]
        if parts.scheme == "http" and host_and_port(authority) and not parts.query and not parts.fragment:
            authority.encode("idna")
            return text
    raise argparse.ArgumentTypeError(f"{text!r} is no kitchen's URL: give one such as http://127.0.0.1:8083")


def stop(sentence):
    print(f"microdonuts: {sentence}", file=sys.stderr)
    raise SystemExit(2)


def read_arguments():
    parser = argparse.ArgumentParser(description="A donut shop to learn context propagation from.")
    parser.error = stop
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=port_number, default=8082, help="port to listen on (%(default)s; 0: any)")
    parser.add_argument("--kitchen", type=kitchen_url, metavar="URL", help="the shop whose kitchen fries (itself)")
    parser.add_argument("--fry-seconds", type=seconds, default=FRY_SECONDS, metavar="SECONDS",
                        help="how long one donut takes (%(default)s)")
    return parser.parse_args()


def main():
    arguments = read_arguments()
    # BLOCK 4: tracing begins
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # in all threads: sigwait, below, takes the first
    try:
        server = Server(arguments.host, arguments.port, arguments.kitchen, arguments.fry_seconds)
    except OSError as error:
        stop(f"cannot listen on {arguments.host} port {arguments.port} ({error.strerror}): choose another --port")
    threading.Thread(target=server.serve_forever, args=(0.1,)).start()
    print(f"MicroDonuts is open: {server.url}/ (Ctrl-C closes it)", file=sys.stderr)
    signal.sigwait(signals)
    for number in signals:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)  # a second one ends the program at once
    server.close()
    # BLOCK 5: tracing ends


if __name__ == "__main__":
    main()
