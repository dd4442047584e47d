"""The kitchen of MicroDonuts, and the calls that reach it, before they are traced."""

import collections
import contextlib
import dataclasses
import json
import queue
import threading
import time
import traceback
import urllib.request
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlencode, urlsplit

##### BLOCK 5: the CLIENT span, and the shape of every span ########################################


class Refusal(Exception):
    """An answer other than 200, given on purpose: an HTTP status, and a sentence for the client."""

    def __init__(self, status, sentence):
        super().__init__(sentence)
        self.status = status


##### BLOCK 6: the calls to the kitchen ############################################################


class KitchenClient:
    """Calls the kitchen about one order, over one connection. A `with` block closes it."""

    def __init__(self, url, order_id):
        self.url = url
        self.order_id = order_id
        self.subject = f"Order {order_id}: the kitchen at {url}"  # begins each error's sentence
        self.connection = HTTPConnection(urlsplit(url).netloc)
        # urllib.request.urlopen() uses proxies, follows redirects, and raises an exception for a
        # 404. An opener does only what its handlers do, and this opener has a single one.
        self.opener = urllib.request.OpenerDirector()
        handler = KeptConnection()
        handler.connection = self.connection
        self.opener.add_handler(handler)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def add_donut(self, flavor):
        """Hand a donut to the kitchen."""
        fields = {"order_id": self.order_id, "flavor": flavor}
        self.call("POST", "/kitchen/add_donuts", json.dumps(fields).encode())

    def get_donuts(self):
        """Return the donuts of the order, as Kitchen.get_donuts() does."""
        query = urlencode({"order_id": self.order_id})
        return self.call("GET", f"/kitchen/get_donuts?{query}")

    def call(self, method, path, body=None):
        """Return the JSON value of a good answer. Otherwise raise a Refusal: 502, 503 or 504."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            # After 10 seconds in which nothing comes, this raises TimeoutError.
            with self.opener.open(request, timeout=10) as response:
                status, answer = response.status, response.read()
            if status == 200:
                return json.loads(answer)
        except TimeoutError as error:
            raise Refusal(504, f"{self.subject} did not answer in time: try later.") from error
        except (OSError, HTTPException, ValueError, RecursionError) as error:
            raise Refusal(502, f"{self.subject} is down or not a kitchen: {error!r}.") from error
        # This is how a kitchen says that it does not know the order.
        if status == 404 and method == "GET":
            return []
        # A 503 can also come from a proxy that cannot reach the kitchen.
        sentence = f"{self.subject} answered with {status}: try again later."
        raise Refusal(503 if status == 503 else 502, sentence)


class KeptConnection(urllib.request.HTTPHandler):
    """Sends all requests over one connection. With one for each, the shop is a third slower."""

    def http_open(self, request):
        self.connection.timeout = request.timeout
        headers = dict(request.header_items())
        self.connection.request(request.get_method(), request.selector, request.data, headers)
        return self.connection.getresponse()


##### BLOCK 7: the kitchen, and the context in its queue ###########################################

STATES = ("new_order", "received", "cooking", "ready")  # of a donut and of an order, in this order
MAX_DONUTS = 12  # in one order, because a box holds no more
MAX_WAITING = 10_000  # donuts in the queue
MAX_ORDERS = 10_000  # in the kitchen's memory


@dataclasses.dataclass
class Donut:
    order_id: str
    flavor: str
    ready_at: float  # when it will be ready, by time.monotonic()
    status: str = "new_order"  # one of STATES

    def as_dict(self):
        """Return what the kitchen's answers show of the donut, with `ready_in` in seconds."""
        return {
            "flavor": self.flavor,
            "order_id": self.order_id,
            "status": self.status,
            "ready_in": max(0, self.ready_at - time.monotonic()),
        }


class Kitchen:
    """Fries donuts in a thread of its own, one at a time, in the order of arrival.

    Frying is only waiting.
    """

    def __init__(self, fry_seconds):
        self.fry_seconds = fry_seconds
        self.orders = collections.OrderedDict()  # order id -> list of donuts, oldest order first
        self.waiting = queue.SimpleQueue()  # of donuts
        self.free_at = 0.0  # when the last waiting donut will be ready, by time.monotonic()
        self.lock = threading.Lock()  # guards orders and free_at, and keeps the queue in sequence
        # As a daemon, the fryer does not keep the program alive.
        threading.Thread(target=self.fry_forever, name="fryer", daemon=True).start()

    def add_donut(self, order_id, flavor):
        """Put a donut into the queue.

        Raise a Refusal if the kitchen or the order is full.
        """
        with self.lock:
            if self.waiting.qsize() >= MAX_WAITING:
                raise Refusal(503, "The kitchen is full: try again later.")
            donuts = self.orders.setdefault(order_id, [])
            if len(donuts) >= MAX_DONUTS:
                raise Refusal(400, f"An order has at most {MAX_DONUTS} donuts: begin another one.")
            # To bound the memory, forget the oldest order. Its donuts are still fried.
            if len(self.orders) > MAX_ORDERS:
                self.orders.popitem(last=False)

            # The donut is fried after all those before it, so we know now when it will be ready.
            starts_at = max(self.free_at, time.monotonic())
            self.free_at = starts_at + self.fry_seconds
            donut = Donut(order_id, flavor, ready_at=self.free_at)
            donuts.append(donut)
            self.waiting.put(donut)

    def fry_forever(self):
        """Fry one donut after the other."""
        while True:
            donut = self.waiting.get()
            try:
                self.fry(donut)
            except Exception:
                # Forget the donut, and fry the next one. (Its order may be forgotten already.)
                traceback.print_exc()
                with self.lock, contextlib.suppress(KeyError, ValueError):
                    self.orders[donut.order_id].remove(donut)

    def fry(self, donut):
        """Take a donut through its states. Cooking takes the last 70 % of the time."""
        donut.status = "received"
        sleep_until(donut.ready_at - 0.7 * self.fry_seconds)
        donut.status = "cooking"
        sleep_until(donut.ready_at)
        donut.status = "ready"

    def get_donuts(self, order_id):
        """Return the donuts of an order as dicts, or [] if there is no such order."""
        with self.lock:
            return [donut.as_dict() for donut in self.orders.get(order_id, [])]

    def get_all_donuts(self):
        """Return the donuts of all orders in the same form."""
        with self.lock:
            return [donut.as_dict() for donuts in self.orders.values() for donut in donuts]


def sleep_until(moment):
    seconds = moment - time.monotonic()
    # Even sleep(0) lets other threads go first, and in a busy shop the fryer would hardly run.
    if seconds > 0:
        time.sleep(seconds)


##### BLOCK 8: W3C Trace Context, Level 2 (www.w3.org/TR/trace-context-2) ##########################

##### BLOCK 9: W3C Baggage (www.w3.org/TR/baggage) #################################################

# These are sent as they are. A "+" is encoded, because some readers take it for a space.
BAGGAGE_SAFE = "!#$&'()*-./:<=>?@[]^_`{|}~"
##### BLOCK 10: B3, the headers of Zipkin (github.com/openzipkin/b3-propagation) ###################
