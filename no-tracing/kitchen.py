"""The kitchen of MicroDonuts, and the client that calls it.

This is the kitchen before it is traced: see README.md, in this folder.
"""

import collections
import dataclasses
import json
import queue
import socket
import threading
import time
import traceback
import urllib.parse
import urllib.request
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead

###############################################################################
# BLOCK 7: the shape of every span
###############################################################################

###############################################################################
# BLOCK 8: the CLIENT span
###############################################################################


def exchange(client, request, deadline):
    """Send a request to the kitchen. Return the response and its body.

    Every call to the kitchen's endpoints comes through here. The client is a KitchenClient (BLOCK
    13). urllib sends the request through client.opener. client.handler, which is a part of the
    opener, keeps the connection open and reads the response.
    """
    client.handler.deadline = deadline  # when to stop waiting for the response
    response = client.opener.open(request)  # does not raise for a 4xx or 5xx
    body = client.handler.read_body(response)
    return response, body


###############################################################################
# BLOCK 9: W3C Trace Context
###############################################################################

###############################################################################
# BLOCK 10: the kitchen
###############################################################################

STATES = ("new_order", "received", "cooking", "ready")
FRY_SECONDS = 1.4  # to fry one donut, while the next one waits
RECEIVED_SECONDS = 0.4  # the first part of FRY_SECONDS, in which the donut is "received"
MAX_WAITING = 1_000


@dataclasses.dataclass(eq=False)  # donuts with equal fields are not the same donut
class Donut:
    order_id: str
    flavor: str
    status: str  # one of STATES
    ready_at: float  # when it will be ready, a value of time.monotonic()


class Kitchen:
    """Fries donuts in a thread of its own, one at a time, in the order in which they came.

    MAX_WAITING donuts may wait. Any more are refused.
    """

    def __init__(self, fry_seconds=FRY_SECONDS):
        self.fry_seconds = fry_seconds
        self.shelf = Shelf()  # keeps the newest donuts, also those that are ready (BLOCK 13)
        self.lock = threading.Lock()  # so that add_donuts plans one donut after the other
        self.last_ready_at = 0.0  # when the newest donut will be ready
        self.queue = queue.SimpleQueue()
        self.is_closing = False
        self.fryer = threading.Thread(target=self.fry_all, name="fryer", daemon=True)
        self.fryer.start()

    def enqueue(self, donut):
        """Hand a donut to the fryer."""
        self.queue.put(donut)

    def fry_all(self):
        """Fry one donut after the other, until the kitchen closes."""
        while True:
            donut = self.queue.get()
            if self.is_closing:
                return
            try:
                self.fry(donut)
            except Exception:
                # Forget the donut, and fry the next one.
                traceback.print_exc()
                self.shelf.forget(donut)

    def fry(self, donut):
        """Take a donut from "new_order" to "ready"."""
        self.shelf.set_status(donut, "received")
        pause(min(RECEIVED_SECONDS, self.fry_seconds))
        self.shelf.set_status(donut, "cooking")
        pause(donut.ready_at - time.monotonic())
        self.shelf.set_status(donut, "ready")

    def add_donuts(self, order_id, flavor, quantity):
        """Accept `quantity` donuts. Return how many donuts the order has now.

        Raise Refusal(503), and accept none, if more than MAX_WAITING donuts would then wait.
        """
        with self.lock:
            if self.queue.qsize() + quantity > MAX_WAITING:
                raise Refusal(503, KITCHEN_IS_FULL)
            for _ in range(quantity):
                # The page asks at once when a donut will be ready, so that is planned here.
                free_at = max(self.last_ready_at, time.monotonic())
                self.last_ready_at = free_at + self.fry_seconds
                donut = Donut(order_id, flavor, "new_order", self.last_ready_at)
                count = self.shelf.add(donut)
                self.enqueue(donut)
            return count

    def close(self):
        """Let the fryer finish its donut. Those that still wait are lost."""
        self.is_closing = True
        self.queue.put(None)  # wakes the fryer if the queue is empty
        self.fryer.join()


###############################################################################
# BLOCK 11: what is written on spans
###############################################################################


class Refusal(Exception):
    """An answer other than 200 that this program gives on purpose.

    It has an HTTP status, one sentence that says what to do, and headers to send along.
    """

    def __init__(self, status, sentence):
        super().__init__(sentence)
        self.status = status
        self.headers = {"Retry-After": "10"} if status == 503 else {}


###############################################################################
# BLOCK 12: tracestate, W3C Baggage and B3
###############################################################################

###############################################################################
# BLOCK 13: the client, and the shelf. Skip it: only the peer's address is about tracing.
###############################################################################

MAX_REMEMBERED = 10_000
MAX_ANSWER = 2_097_152  # bytes; 10,000 donuts of one order have 1,810,000
MAX_IDLE_SECONDS = 5  # well below Handler.timeout in microdonuts.py
KITCHEN_IS_FULL = "The kitchen is full: try again later."


class Shelf:
    """Keeps the newest MAX_REMEMBERED donuts, for those who ask how far an order is.

    The oldest donut is forgotten first. It is ready by then, because at most MAX_WAITING wait.
    """

    def __init__(self):
        self.donuts = collections.deque()  # the oldest first
        self.donuts_by_order = {}  # order id: a list of its donuts
        self.lock = threading.RLock()  # reentrant, because add has it and calls forget

    def add(self, donut):
        """Remember a donut. Return how many donuts its order has now."""
        with self.lock:
            self.donuts.append(donut)
            siblings = self.donuts_by_order.setdefault(donut.order_id, [])
            siblings.append(donut)
            if len(self.donuts) > MAX_REMEMBERED:
                self.forget(self.donuts[0])
            return len(siblings)

    def forget(self, donut):
        with self.lock:
            self.donuts.remove(donut)
            siblings = self.donuts_by_order[donut.order_id]
            siblings.remove(donut)
            if not siblings:
                del self.donuts_by_order[donut.order_id]

    def set_status(self, donut, status):
        with self.lock:  # so that nothing changes while get_donuts makes its list
            donut.status = status

    def get_donuts(self, order_id=None):
        """Return the donuts of an order, or all, the oldest first; [] if the order is unknown.

        A donut is {"flavor", "order_id", "status", "ready_in"}, with `ready_in` in seconds.
        """
        with self.lock:
            now = time.monotonic()
            chosen = self.donuts if order_id is None else self.donuts_by_order.get(order_id, [])
            return [
                {
                    "flavor": donut.flavor,
                    "order_id": donut.order_id,
                    "status": donut.status,
                    "ready_in": round(max(0.0, donut.ready_at - now), 3),
                }
                for donut in chosen
            ]


class KitchenClient:
    """Calls the kitchen at `url`, which has the form "http://host:port".

    Each call has a deadline, which is a value of time.monotonic(). A call that fails raises a
    Refusal: 502 if the kitchen cannot be reached or answers nonsense, 503 if it is full, and 504 if
    it has not answered by the deadline.
    """

    def __init__(self, url):
        self.url = url
        parts = urllib.parse.urlsplit(url)
        self.host = parts.hostname
        self.port = parts.port or 80
        self.handler = KeptConnection()
        # An opener with this handler alone knows no proxies. It follows no redirects, which would
        # take our headers to another host, and it returns a 404 or 500 like any other answer.
        self.opener = urllib.request.OpenerDirector()
        self.opener.add_handler(self.handler)
        self.opener.addheaders.append(("Accept-Encoding", "identity"))  # nothing compressed

    def add_donut(self, order_id, flavor, deadline):
        """Hand one donut of an order to the kitchen."""
        body = json.dumps({"order_id": order_id, "flavor": flavor}).encode()
        if not self.call("POST", "/kitchen/add_donuts", deadline, body):
            raise self.kitchen_refusal(502, "did not accept a donut")

    def get_donuts(self, order_id, deadline):
        """Return the donuts of an order as Shelf.get_donuts does: [] if the order is unknown."""
        path = f"/kitchen/get_donuts?order_id={urllib.parse.quote(order_id, safe='')}"
        donuts = self.call("GET", path, deadline)
        if not isinstance(donuts, list) or not all(map(is_donut, donuts)):
            raise self.kitchen_refusal(502, "sent no list of donuts")
        return donuts

    def call(self, method, path, deadline, body=None):
        """Make one request, and return the JSON value of the answer, or [] for a 404."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            response, data = exchange(self, request, deadline)
            if response.status == 200:
                return json.loads(data)
        except (
            OSError,  # no connection, a broken one, or no answer in time
            HTTPException,  # an answer that is cut short, or that is not HTTP
            ValueError,  # a host name that cannot exist, or numbers or JSON that cannot be read
            OverflowError,  # a chunk that is longer than any memory
            TypeError,  # a malformed Content-Type
            RecursionError,  # JSON that is nested too deeply
        ) as error:
            self.handler.close()
            if isinstance(error, TimeoutError):
                raise self.kitchen_refusal(504, "took too long") from error
            problem = f"gave no usable answer ({type(error).__name__})"
            raise self.kitchen_refusal(502, problem) from error
        if response.status == 404:
            return []
        if response.status == 503:
            raise Refusal(503, KITCHEN_IS_FULL)
        raise self.kitchen_refusal(502, f"answered with {response.status}")

    def kitchen_refusal(self, status, problem):
        sentence = f"The kitchen at {self.url} {problem}: start it, or look at its terminal."
        return Refusal(status, sentence)


class KeptConnection(urllib.request.HTTPHandler):
    """Keeps a connection open from one request to the next, which urllib itself does not.

    Only one thread at a time may use it, and has to set the deadline, a value of time.monotonic().
    """

    sock = None

    def http_open(self, request):
        """Send a request and return its response, of which only the head has been read."""
        if not self.is_usable():
            self.close()
            connection = HTTPConnection(request.host, timeout=seconds_until(self.deadline))
            connection.connect()
            # A DeadlineSocket takes over the file descriptor of the socket that has connected.
            self.sock = DeadlineSocket(fileno=connection.sock.detach())
        self.sent_at = time.monotonic()
        self.sock.deadline = self.deadline
        self.sock.settimeout(seconds_until(self.deadline))
        # The request is sent in one piece. http.client would send its body in a second one.
        head = f"{request.get_method()} {request.selector} HTTP/1.1\r\n"
        for name, value in request.header_items():
            head += f"{name}: {value}\r\n"
        self.sock.sendall(f"{head}\r\n".encode("latin-1") + (request.data or b""))
        response = HTTPResponse(self.sock)
        response.begin()
        while response.status < 200:  # an interim answer (RFC 9110 15.2); begin skips 100 alone
            response.headers = None  # otherwise begin would do nothing
            response.begin()
        return response

    def read_body(self, response):
        """Return the body of a response, and keep its connection unless the kitchen closes it."""
        with response:
            if len(response.headers.get_all("Content-Length", [])) > 1:
                raise HTTPException("more than one Content-Length")  # RFC 9112 6.3
            body = response.read(MAX_ANSWER)
            if response.length or len(body) == MAX_ANSWER:  # it is cut short, or too long
                raise IncompleteRead(body)
        if response.will_close:
            self.close()
        return body

    def is_usable(self):
        """Tell whether the kept connection is open, with nothing to be read from it."""
        # The kitchen closes a connection that was idle for too long. It could do so at the very
        # moment in which it is sent a request, so a connection is given up before that.
        if self.sock is None or time.monotonic() > self.sent_at + MAX_IDLE_SECONDS:
            return False
        try:
            self.sock.settimeout(0)
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False  # it is closed or broken, or the kitchen has sent what nobody asked for

    def close(self):
        if self.sock:
            self.sock.close()
            self.sock = None  # a response that nobody has read may keep it open for a while


class DeadlineSocket(socket.socket):
    """Reads until its deadline.

    A plain timeout begins anew with every byte, so that a slow answer could take for ever.
    """

    def recv_into(self, *arguments):
        self.settimeout(seconds_until(self.deadline))
        return super().recv_into(*arguments)


def seconds_until(deadline):
    """Return how long to wait at most. Raise TimeoutError if the deadline has passed."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("the deadline has passed")
    return seconds


def is_order_id(value):
    """Tell whether a value is printable text of 1 to 100 characters."""
    return isinstance(value, str) and 0 < len(value) <= 100 and value.isprintable()


def is_donut(item):
    """Tell whether an item of an answer has the form that Shelf.get_donuts gives a donut."""
    return (
        isinstance(item, dict)
        and isinstance(item.get("flavor"), str)
        and item.get("status") in STATES
        and type(item.get("ready_in")) in (int, float)
        and 0 <= item["ready_in"] < 1e9
    )


def pause(seconds):
    if seconds > 0:  # even a sleep of 0 seconds would wait for other threads
        time.sleep(seconds)
