"""The kitchen of MicroDonuts, and the way to reach it.

Kitchen fries donuts, one at a time, in a thread of its own. KitchenClient asks it for them over HTTP, even where both
are one process. This is the shop before tracing: each "# BLOCK" is a place where README.md's walkthrough adds some.
"""

import base64
import collections
import contextlib
import json
import queue
import re
import select
import socket
import threading
import time
import types
import urllib.parse
import urllib.request
from http.client import HTTPConnection, HTTPException, IncompleteRead

# BLOCK 0: OpenTelemetry's API


class Refusal(Exception):
    """An answer other than 200: its status, one sentence that says what to do, and headers to go with it."""

    def __init__(self, status, sentence, headers=None):
        super().__init__(sentence)
        self.status, self.headers = status, headers or {}


# The value of a JSON text (RFC 8259: no NaN, no Infinity; int refuses them). Raises ValueError or RecursionError.
read_json = json.JSONDecoder(parse_constant=int).decode


# BLOCK 1: what both halves write on their spans


# The kitchen

STATES = ("new_order", "received", "cooking", "ready")
FRY_SECONDS = 1.4  # one donut at a time: in a trace, the "fry" spans of an order are a staircase
RECEIVED_SECONDS = 0.4  # of these, in the fryer's hands before it cooks
MAX_WAITING = 1_000
MAX_REMEMBERED = 10_000


class Kitchen:
    """Fries donuts, one at a time and in the order in which they came; its thread starts with it. At most MAX_WAITING
    donuts wait. MAX_REMEMBERED are remembered: beyond that the oldest ones, which are ready, are forgotten."""

    def __init__(self, fry_seconds=FRY_SECONDS):
        self.fry_seconds = fry_seconds
        self.donuts = collections.deque()  # all that are remembered, oldest first
        self.orders = collections.defaultdict(collections.deque)  # the same by order id
        self.added = self.started = 0  # numbers of the newest donut and of the one the fryer took last ...
        self.free_at = 0.0  # ... which will be ready at this time.monotonic()
        self.lock = threading.Lock()
        self.queue, self.closing = queue.SimpleQueue(), False
        self.fryer = threading.Thread(target=self.fry_all, daemon=True)
        self.fryer.start()

    def add(self, order_id, flavor, quantity):
        """Take `quantity` donuts, all or none: how many of the order there are now. Refusal 503 if too many wait."""
        with self.lock:
            if self.added - self.started + quantity > MAX_WAITING:
                raise Refusal(503, "The kitchen is full: try again later.", {"Retry-After": "10"})
            for _ in range(quantity):
                self.added += 1
                donut = types.SimpleNamespace(order_id=order_id, flavor=flavor, status=STATES[0], number=self.added)
                self.donuts.append(donut)
                self.orders[order_id].append(donut)
                self.enqueue(donut)
            while len(self.donuts) > MAX_REMEMBERED:
                oldest = self.donuts.popleft().order_id
                self.orders[oldest].popleft()
                if not self.orders[oldest]:
                    del self.orders[oldest]
            return len(self.orders[order_id])

    def get(self, order_id=None):
        """The donuts of one order (none if it is unknown), or all: [{flavor, order_id, status, ready_in}, ...].
        `ready_in` is in seconds: for a waiting donut, what those before it take and what it takes itself."""
        with self.lock:
            now = time.monotonic()
            chosen = self.donuts if order_id is None else self.orders.get(order_id, ())
            return [{"flavor": donut.flavor, "order_id": donut.order_id, "status": donut.status,
                     "ready_in": round(self.ready_in(donut, now), 3)} for donut in chosen]

    def ready_in(self, donut, now):
        if donut.status == "ready":
            return 0.0
        return max(0.0, self.free_at - now) + (donut.number - self.started) * self.fry_seconds

    def close(self):
        """Finish the donut in the fryer, and no other."""
        self.closing = True
        self.queue.put(None)
        self.fryer.join()

    # BLOCK 2: the donut's way through the queue into the other thread

    def enqueue(self, donut):
        self.queue.put(donut)

    def fry_all(self):
        while (donut := self.queue.get()) and not self.closing:
            self.fry(donut)

    def fry(self, donut):
        received = min(RECEIVED_SECONDS, self.fry_seconds)
        with self.lock:
            donut.status, self.started = "received", donut.number
            self.free_at = time.monotonic() + self.fry_seconds
        for status, seconds in (("cooking", received), ("ready", self.fry_seconds - received)):
            if seconds:  # a sleep of 0 would still hand the interpreter to every other thread first
                time.sleep(seconds)
            donut.status = status


# The way to the kitchen

class Socket(socket.socket):
    """Reads until `deadline`, a time.monotonic(); a timeout alone begins anew with each byte that drips in."""

    def recv_into(self, *arguments):
        self.settimeout(max(0.001, self.deadline - time.monotonic()))
        return super().recv_into(*arguments)


class KeptConnections(urllib.request.HTTPHandler):
    """http:// for urllib on connections that are kept; urllib's own handler closes each after one answer."""

    def __init__(self):
        super().__init__()
        self.idle = collections.deque()  # of HTTPConnections, the one used last at the right

    def http_open(self, request):
        deadline = time.monotonic() + request.timeout
        connection = request.connection = self.take() or HTTPConnection(request.host, timeout=request.timeout)
        if not connection.sock:
            connection.connect()
            connection.sock = Socket(fileno=connection.sock.detach())
        connection.sock.settimeout(request.timeout)
        connection.sock.deadline = deadline
        connection.request(request.get_method(), request.selector, request.data, dict(request.header_items()))
        # BLOCK 3: the peer that was really reached
        return connection.getresponse()

    def take(self):
        """An idle connection with nothing to read: one that the kitchen has closed is noticed before it is used. Nor is
        one that the kitchen may just be about to close: half of Handler.timeout, in microdonuts.py, is old enough."""
        with contextlib.suppress(IndexError):
            while True:
                connection, poll = self.idle.pop(), select.poll()
                poll.register(connection.sock, select.POLLIN)
                if time.monotonic() - connection.idle_since < 5 and not poll.poll(0):
                    return connection
                connection.close()

    def read(self, connection, response):
        """The body of a response; its connection is then kept for another request, unless the kitchen will close it."""
        with response:
            data = b"".join(iter(lambda: response.read1(65_536), b""))  # not read(): it trusts any Content-Length
        if response.length:
            raise IncompleteRead(data, response.length)
        if not response.will_close:
            connection.idle_since = time.monotonic()
            self.idle.append(connection)
        return data


class KitchenClient:
    """Asks the kitchen at `url` (http://host:port) for things. What it raises is a Refusal, 502, 503 or 504."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        userinfo, at, authority = parts.netloc.rpartition("@")
        self.url, self.host, self.port = f"http://{authority}", parts.hostname, parts.port or 80
        credentials = f"Basic {base64.b64encode(urllib.parse.unquote_to_bytes(userinfo)).decode()}"  # RFC 7617 2
        self.headers = {"Content-Type": "application/json", **({"Authorization": credentials} if at else {})}
        self.connections = KeptConnections()
        # An opener of one handler: no proxy, and no redirect, which would carry our headers to another host.
        self.opener = urllib.request.OpenerDirector()
        self.opener.add_handler(self.connections)

    def add_donut(self, order_id, flavor, deadline):
        """Have one donut fried; `deadline` is a time.monotonic()."""
        self.call("POST", "/kitchen/add_donuts", json.dumps({"order_id": order_id, "flavor": flavor}), deadline)

    def get_donuts(self, order_id, deadline):
        """The donuts of an order, as Kitchen.get gives them."""
        donuts = self.call("GET", f"/kitchen/get_donuts?order_id={urllib.parse.quote(order_id)}", None, deadline)
        if not isinstance(donuts, list) or not all(map(is_donut, donuts)):
            raise Refusal(502, f"The kitchen at {self.url} gave no list of donuts: look at its terminal.")
        return donuts

    def call(self, method, path, body, deadline):
        """One HTTP request to the kitchen: the JSON value of its answer."""
        request = urllib.request.Request(self.url + path, body and body.encode(), self.headers, method=method)
        try:
            response, data = self.exchange(request, deadline)
        except (OSError, HTTPException, UnicodeError) as error:
            request.connection.close()
            is_late, what = isinstance(error, TimeoutError), f"gave no whole answer ({type(error).__name__})"
            sentence = f"The kitchen at {self.url} {'took too long' if is_late else what}: see that it runs."
            raise Refusal(504 if is_late else 502, sentence) from error
        if response.status == 503:
            wait = re.fullmatch("[0-9]+", response.headers.get("Retry-After", ""))  # RFC 9110 10.2.3: or a date
            raise Refusal(503, "The kitchen is full: try again later.", {"Retry-After": wait[0] if wait else "10"})
        try:
            return read_json(data.decode() if response.status == 200 else "")
        except (ValueError, RecursionError):
            sentence = f"The kitchen at {self.url} answered {response.status}, nothing of use: look at its terminal."
            raise Refusal(502, sentence) from None

    # BLOCK 4: the CLIENT span, and what it injects

    def exchange(self, request, deadline):
        """Send a request and read its answer: (response, body)."""
        response = self.opener.open(request, timeout=max(0.001, deadline - time.monotonic()))
        return response, self.connections.read(request.connection, response)


def is_donut(item):
    return (isinstance(item, dict) and item.get("status") in STATES and type(item.get("ready_in")) in (int, float)
            and 0 <= item["ready_in"] < float("inf"))


# BLOCK 5: what travels in the headers
