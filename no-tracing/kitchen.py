"""The kitchen of MicroDonuts, and the way to reach it.

Kitchen takes donuts and fries them one at a time, in a thread of its own. KitchenClient is how the shop asks it for
anything: over HTTP with urllib, even where both are one process. This is the shop before tracing: each
"# BLOCK" heading marks a place where the walkthrough in README.md adds some.
"""

import base64
import collections
import dataclasses
import http.client
import json
import math
import queue
import select
import threading
import time
import urllib.parse
import urllib.request

# BLOCK 0: OpenTelemetry's API


# Shared by both halves: a refusal, and JSON to the letter


class Refusal(Exception):
    """An answer other than 200: its status, one sentence that says what to do, and headers to go with it."""

    def __init__(self, status, sentence, headers=None):
        super().__init__(sentence)
        self.status, self.headers = status, headers or {}


def read_json(data):
    """The value of some bytes of JSON (RFC 8259: UTF-8, without NaN and Infinity); ValueError for any others."""

    def refuse(constant):
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(data.decode(), parse_constant=refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


# BLOCK 1: what both halves write on their spans


# The kitchen

FLAVORS = ("glazed", "cinnamon", "old-fashioned", "chocolate", "sprinkles", "jelly")
STATES = ("new_order", "received", "cooking", "ready")
RECEIVED_SECONDS = 0.4  # in the fryer's hands, before it cooks; in a trace, the first part of each "fry"
FRY_SECONDS = 1.4  # one donut at a time: in a trace, the "fry" spans of an order are a staircase
MAX_WAITING = 1_000
MAX_REMEMBERED = 10_000


@dataclasses.dataclass(slots=True)
class Donut:
    """One donut; `number` counts all donuts of this kitchen from 1, in the order in which they are fried."""

    order_id: str
    flavor: str
    number: int
    status: str = "new_order"


class Kitchen:
    """Fries donuts, one at a time and in the order in which they came; its thread starts with it.

    At most MAX_WAITING donuts wait. MAX_REMEMBERED are remembered: beyond that the oldest ready ones are forgotten.
    """

    def __init__(self, fry_seconds=FRY_SECONDS):
        self.fry_seconds = fry_seconds
        self.donuts = collections.deque()  # all that are remembered, oldest first
        self.orders = {}  # order id -> deque of its donuts, oldest first
        self.added = self.started = 0  # numbers of the newest donut and of the one the fryer took last
        self.free_at = 0.0  # when the donut in the fryer will be ready (time.monotonic)
        self.lock = threading.Lock()
        self.queue = queue.SimpleQueue()
        self.closing = False
        self.fryer = threading.Thread(target=self.fry_all, name="fryer", daemon=True)
        self.fryer.start()

    def add(self, order_id, flavor, quantity):
        """Take `quantity` donuts, all or none: how many of the order there are now. Refusal 503 if too many wait."""
        with self.lock:
            if self.added - self.started + quantity > MAX_WAITING:
                seconds = math.ceil(quantity * self.fry_seconds) or 1
                raise Refusal(503, "The kitchen is full: try again later.", {"Retry-After": str(seconds)})
            order = self.orders.setdefault(order_id, collections.deque())
            for _ in range(quantity):
                self.added += 1
                order.append(Donut(order_id, flavor, self.added))
                self.donuts.append(order[-1])
                self.enqueue(order[-1])
            self.forget()
            return len(order)

    def forget(self):
        while len(self.donuts) > MAX_REMEMBERED:
            order_id = self.donuts.popleft().order_id
            self.orders[order_id].popleft()
            if not self.orders[order_id]:
                del self.orders[order_id]

    def get(self, order_id=None):
        """The donuts of one order (none if it is unknown), or all: [{flavor, order_id, status, ready_in}, ...].

        `ready_in` is in seconds: for a waiting donut, what the donuts before it take and what it takes itself.
        """
        with self.lock:
            now = time.monotonic()
            chosen = self.donuts if order_id is None else self.orders.get(order_id, ())
            return [{"flavor": donut.flavor, "order_id": donut.order_id, "status": donut.status,
                     "ready_in": round(self.ready_in(donut, now), 3)} for donut in chosen]

    def ready_in(self, donut, now):
        if donut.status == "ready":
            return 0.0
        return max(0.0, self.free_at - now) + max(0, donut.number - self.started) * self.fry_seconds

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
            self.started = donut.number
            self.free_at = time.monotonic() + self.fry_seconds
            donut.status = "received"
        time.sleep(received)
        donut.status = "cooking"
        time.sleep(self.fry_seconds - received)
        donut.status = "ready"


# The way to the kitchen

KITCHEN_SECONDS = 10  # how long one order or status check may wait for the kitchen in all
KEPT_SECONDS = 5  # less than a server's own patience with an idle connection (Handler.timeout in microdonuts.py)
MAX_ANSWER = 4 * 1024 * 1024  # bytes


class KeptConnections(urllib.request.HTTPHandler):
    """http:// for urllib on connections that are kept; urllib's own handler closes each after one answer.

    A connection that the other side has closed is noticed before it is used, so nothing is ever sent twice.
    """

    def __init__(self):
        super().__init__()
        self.idle = collections.deque()  # (time.monotonic() when it fell idle, HTTPConnection), newest last
        self.lock = threading.Lock()

    def http_open(self, request):
        connection = self.take() or http.client.HTTPConnection(request.host)
        try:
            connection.timeout = request.timeout
            if connection.sock is None:
                connection.connect()
            connection.sock.settimeout(request.timeout)
            # BLOCK 3: the peer that was really reached
            connection.request(request.get_method(), request.selector, request.data, dict(request.header_items()))
            response = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        response.connection = connection
        return response

    def take(self):
        """The connection that fell idle last, once those too old or closed are dropped; None if there is none."""
        with self.lock:
            while self.idle and not usable(*self.idle[0]):
                self.idle.popleft()[1].close()
            while self.idle:
                since, connection = self.idle.pop()
                if usable(since, connection):
                    return connection
                connection.close()

    def keep(self, response):
        """Keep the connection of a response that was read to its end, unless the other side will close it."""
        response.close()
        if response.will_close:
            return response.connection.close()
        with self.lock:
            self.idle.append((time.monotonic(), response.connection))


def usable(since, connection):
    """Whether an idle connection is young, and silent: one that was closed, or has bytes to read, is not."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return time.monotonic() - since < KEPT_SECONDS and not poll.poll(0)


class KitchenClient:
    """Asks the kitchen at `url` (http://host:port) for things. What it raises is a Refusal, 502, 503 or 504."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        userinfo, _, authority = parts.netloc.rpartition("@")
        self.url = f"http://{authority}{parts.path.rstrip('/')}"
        self.headers = {"Content-Type": "application/json"}
        if userinfo:
            credentials = base64.b64encode(urllib.parse.unquote_to_bytes(userinfo)).decode()
            self.headers["Authorization"] = f"Basic {credentials}"
        self.connections = KeptConnections()
        # An opener of one handler: no proxy, and no redirect, which would carry our headers to another host.
        self.opener = urllib.request.OpenerDirector()
        self.opener.add_handler(self.connections)

    def add_donut(self, order_id, flavor, deadline):
        """Have one donut fried; `deadline` is a time.monotonic()."""
        body = json.dumps({"order_id": order_id, "flavor": flavor}).encode()
        self.call("POST", "/kitchen/add_donuts", body, deadline)

    def get_donuts(self, order_id, deadline):
        """The donuts of an order, as Kitchen.get gives them."""
        query = urllib.parse.urlencode({"order_id": order_id})
        donuts = self.call("GET", f"/kitchen/get_donuts?{query}", None, deadline)
        if not isinstance(donuts, list) or not all(map(is_donut, donuts)):
            raise Refusal(502, f"{self} gave an answer that is no list of donuts: look at its terminal.")
        return donuts

    def call(self, method, path, body, deadline):
        """One HTTP request to the kitchen: the JSON value of its answer."""
        request = urllib.request.Request(self.url + path, body, self.headers, method=method)
        try:
            response, data = self.exchange(request, deadline)
        except (OSError, http.client.HTTPException) as error:
            raise self.no_answer(error) from error
        return self.value(response, data)

    # BLOCK 4: the CLIENT span, and what it injects

    def exchange(self, request, deadline):
        """Send a request and read its answer: (response, body)."""
        response = self.opener.open(request, timeout=max(0.001, deadline - time.monotonic()))
        return response, self.read(response, deadline)

    def read(self, response, deadline):
        """The body of a response, read to its end; its connection is then free for the next request."""
        data = b""
        while chunk := response.read1(65_536):
            data += chunk
            if len(data) > MAX_ANSWER:
                raise http.client.HTTPException("the answer is too long")
            if time.monotonic() > deadline:
                raise TimeoutError("the answer takes too long")
        if response.length:
            raise http.client.IncompleteRead(data, response.length)
        self.connections.keep(response)
        return data

    def value(self, response, data):
        if response.status == 503:
            headers = {"Retry-After": response.headers.get("Retry-After", "1")}
            raise Refusal(503, "The kitchen is full: try again later.", headers)
        if response.status != 200:
            raise Refusal(502, f"{self} answered {response.status}: look at its terminal.")
        try:
            return read_json(data)
        except ValueError:
            raise Refusal(502, f"{self} gave an answer that is not JSON: look at its terminal.") from None

    def no_answer(self, error):
        if isinstance(error, TimeoutError):
            return Refusal(504, f"{self} did not answer in time: see that it runs, then try again.")
        return Refusal(502, f"{self} gave no whole answer ({type(error).__name__}): see that it runs, then try again.")

    def __str__(self):
        return f"The kitchen at {self.url}"


def is_donut(item):
    return (isinstance(item, dict) and item.get("status") in STATES and type(item.get("ready_in")) in (int, float)
            and 0 <= item["ready_in"] < math.inf)


# BLOCK 5: what travels in the headers
