"""MicroDonuts: a donut shop in two files, before it is traced.

    python microdonuts.py            then order in a browser: http://127.0.0.1:8082/

The shop takes an order and asks the kitchen to fry the donuts. It does so over HTTP, although both
are one process by default. no-tracing/README.md is a walkthrough that traces this shop by hand. It
names places by the banners with BLOCKs in them. Some have nothing below them yet.
"""

import argparse
import collections
import json
import math
import mimetypes
import os
import pathlib
import re
import signal
import socketserver
import sys
import time
import traceback
import uuid
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from kitchen import MAX_DONUTS, STATES, Kitchen, KitchenClient, Refusal

##### BLOCK 1: the SERVER span #####################################################################


##### BLOCK 2: the endpoints #######################################################################

# An endpoint gets the request, which is a Handler, and the Shop (both in BLOCK 4). It returns a
# value, which is sent as JSON, or raises a Refusal, which is an HTTP status and a sentence. The
# kitchen's endpoints share nothing with the shop's, because the kitchen can be another process.

FLAVORS = ("glazed", "cinnamon", "old-fashioned", "chocolate", "sprinkles", "jelly")
UNKNOWN_ORDER = "The kitchen does not know this order: check the order_id."


def order(request, shop):
    """Place an order: POST /order {"donuts": [{"flavor": "glazed", "quantity": 2}, ...]}."""
    flavors = read_flavors(request.fields)  # one entry for each donut
    order_id = str(uuid.uuid4())

    with KitchenClient(shop.kitchen_url, order_id) as client:
        # One call for each donut. If a call fails, the earlier donuts are still fried.
        for flavor in flavors:
            client.add_donut(flavor)
        donuts = client.get_donuts()
        return order_summary(order_id, donuts)


def order_status(request, shop):
    """Report the progress of an order: POST /status {"order_id": "..."}."""
    order_id = read_order_id(request.fields)
    with KitchenClient(shop.kitchen_url, order_id) as client:
        donuts = client.get_donuts()
        if not donuts:
            raise Refusal(404, UNKNOWN_ORDER)
        return order_summary(order_id, donuts)


def order_summary(order_id, donuts):
    """Return the answer of both endpoints. An order has the state of its slowest donut."""
    try:
        seconds = max(math.ceil(donut["ready_in"]) for donut in donuts)
        # STATES is in the order of progress.
        progress = min(STATES.index(donut["status"]) for donut in donuts)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        # Any program can run at kitchen_url. Its answer is empty, or it is no list of donuts.
        raise Refusal(502, f"The kitchen sent no donuts of order {order_id}.") from error
    return {
        "order_id": order_id,
        "estimated_delivery_time": seconds,
        "state": STATES[progress],
        "donuts": donuts,
    }


def add_donuts(request, shop):
    """Take one donut: POST /kitchen/add_donuts {"order_id": "...", "flavor": "glazed"}."""
    order_id = read_order_id(request.fields)
    flavor = read_flavor(request.fields)
    shop.kitchen.add_donut(order_id, flavor)
    return {"order_id": order_id}


def get_donuts(request, shop):
    """List the donuts of an order, or of all orders: GET /kitchen/get_donuts?order_id=..."""
    fields = dict(parse_qsl(request.url.query, keep_blank_values=True))
    if "order_id" not in fields:
        return shop.kitchen.get_all_donuts()
    donuts = shop.kitchen.get_donuts(read_order_id(fields))
    if not donuts:
        raise Refusal(404, UNKNOWN_ORDER)
    return donuts


def read_flavors(fields):
    """Return a list with one flavor for each donut of an order."""
    items = fields.get("donuts")
    if not isinstance(items, list):
        raise Refusal(400, 'Send a list of "donuts": [{"flavor": "glazed", "quantity": 1}].')
    flavors = []
    for item in items:
        flavor = read_flavor(item)
        quantity = item.get("quantity")
        # To Python, True is an int.
        if type(quantity) is not int or not 1 <= quantity <= MAX_DONUTS:
            raise Refusal(400, f'Send a "quantity" that is a whole number from 1 to {MAX_DONUTS}.')
        flavors += [flavor] * quantity
    if not 1 <= len(flavors) <= MAX_DONUTS:
        raise Refusal(400, f"Order from 1 to {MAX_DONUTS} donuts: a box holds no more.")
    return flavors


def read_flavor(fields):
    flavor = isinstance(fields, dict) and fields.get("flavor")
    if flavor not in FLAVORS:
        raise Refusal(400, f'Choose a "flavor" that we have: {", ".join(FLAVORS)}.')
    return flavor


def read_order_id(fields):
    order_id = fields.get("order_id")
    if not isinstance(order_id, str) or not re.fullmatch("[ -~]{1,100}", order_id):
        raise Refusal(400, 'Send the "order_id" that the answer to the order had.')
    return order_id


##### BLOCK 3: where the spans go ##################################################################

##### BLOCK 4: HTTP, and main ######################################################################

HERE = pathlib.Path(__file__).parent
# A copy of this file, such as the one in no-tracing/, uses the page of the folder above.
STATIC = next(HERE.glob("static"), HERE.parent / "static")
FILES = {"/": STATIC / "index.html"}
FILES |= {f"/static/{path.name}": path for path in STATIC.glob("*")}
# Only Python's own list of types is used, because the system's can be wrong about .js.
CONTENT_TYPES = mimetypes.MimeTypes()
LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}")

# `body` is bytes.
Answer = collections.namedtuple("Answer", "status body headers")


def json_answer(status, value):
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def send_file(request, shop):
    """Answer GET / and GET /static/<name>."""
    path = FILES[request.url.path]
    content_type, _ = CONTENT_TYPES.guess_type(path.name)
    headers = {"Content-Type": content_type, "Content-Security-Policy": "default-src 'self'"}
    return Answer(200, path.read_bytes(), headers)


# path: (methods, endpoint)
READ = ["GET", "HEAD"]
ROUTES = {
    "/order": (["POST"], order),
    "/status": (["POST"], order_status),
    "/kitchen/add_donuts": (["POST"], add_donuts),
    "/kitchen/get_donuts": (READ, get_donuts),
}
ROUTES |= dict.fromkeys(FILES, (READ, send_file))


class Handler(BaseHTTPRequestHandler):
    """A connection and its current request. http.server calls do_GET() for each GET request."""

    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds to wait for the client
    # Send head and body in one piece and without delay.
    wbufsize = -1
    disable_nagle_algorithm = True
    # Answer in JSON, too, when http.server itself refuses a request.
    error_content_type = "application/json"
    error_message_format = '{"error": "%(explain)s"}'

    def do_GET(self):
        """Answer a request, whatever its method."""
        try:
            self.url = urlsplit(self.path)
            host = urlsplit(f"//{self.headers.get('Host', '')}")
            self.host = host.hostname
            self.port = self.host and (host.port or 80)
        except ValueError:
            return self.send_error(400)
        path = self.url.path
        self.route = path if path in ROUTES else None
        self.send(self.call_endpoint())

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET

    def call_endpoint(self):
        """Return the Answer of the endpoint. A Refusal or an exception becomes an Answer, too."""
        try:
            body = self.read_body()
            self.check_origin()
            if self.route is None:
                raise Refusal(404, "There is nothing at this path: start from the page, at /.")
            methods, endpoint = ROUTES[self.route]
            if self.command not in methods:
                raise Refusal(405, f"Use {methods[0]} for this path.")
            self.fields = read_fields(body)
            result = endpoint(self, self.server)
        except Refusal as refusal:
            return json_answer(refusal.status, {"error": str(refusal)})
        except (ConnectionError, TimeoutError):
            # The client has gone or is too slow, and http.server closes the connection.
            raise
        except Exception:
            traceback.print_exc()
            return json_answer(500, {"error": "The shop has failed: look at its terminal."})
        return result if isinstance(result, Answer) else json_answer(200, result)

    def read_body(self):
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not re.fullmatch("[0-9]{1,5}", length):
            # The rest would be read as if it were the next request.
            self.close_connection = True
            raise Refusal(400, "Send a body of at most 99999 bytes, with its Content-Length.")
        return self.rfile.read(int(length))

    def check_origin(self):
        """Refuse what another site makes a browser send."""
        # Another site can make its own name lead to this machine (DNS rebinding).
        if LOOPBACK.fullmatch(self.server.server_name) and not LOOPBACK.fullmatch(str(self.host)):
            raise Refusal(421, f"Use {self.server.url}/, or start with --host 0.0.0.0.")
        if self.command == "POST" and self.headers.get("Sec-Fetch-Site") == "cross-site":
            raise Refusal(403, "A page of another site sent this: use the shop's own page.")

    def send(self, answer):
        """Send an Answer. Raise OSError if the client has hung up."""
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        if answer.status == 405:
            self.send_header("Allow", ", ".join(ROUTES[self.route][0]))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    def handle_expect_100(self):
        super().handle_expect_100()
        # The client waits for this line before it sends the body.
        self.wfile.flush()
        return True

    def log_message(self, *arguments):
        """Say nothing."""


def read_fields(body):
    """Return the fields of a JSON object: {} if there is no body."""
    with suppress(ValueError, RecursionError):
        fields = json.loads(body or "{}")
        if isinstance(fields, dict):
            return fields
    raise Refusal(400, "Send a JSON object.")


class Shop(ThreadingHTTPServer):
    """The server, which has a thread for each connection, and all that the endpoints need."""

    # With the default, which is 5, a burst of connections would wait for seconds.
    request_queue_size = 1_024
    # On Windows, two shops could otherwise share a port.
    allow_reuse_address = os.name != "nt"

    def __init__(self, arguments):
        super().__init__((arguments.host, arguments.port), Handler)
        # 0.0.0.0 means all addresses. On Windows, it cannot be called.
        host = "127.0.0.1" if arguments.host == "0.0.0.0" else arguments.host
        self.url = f"http://{host}:{self.server_port}"
        self.kitchen = Kitchen(arguments.fry_seconds)
        self.kitchen_url = arguments.kitchen or self.url

    def server_bind(self):
        """Bind without asking DNS for the name of this machine, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address

    def handle_error(self, request, client_address):
        """Print an exception, but not one that is about a client who has hung up."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def kitchen_url(text):
    # For a ValueError, argparse would print the URL, which may hold a password.
    if not re.fullmatch(r"http://[\w.-]+(:[0-9]{1,5})?/?", text):
        raise argparse.ArgumentTypeError("use a host and a port, such as http://127.0.0.1:8083")
    # This raises ValueError if the port is too large.
    _ = urlsplit(text).port
    return text.rstrip("/")


def fry_seconds(text):
    seconds = float(text)
    if not 0 <= seconds <= 5:
        raise argparse.ArgumentTypeError("use a number from 0 to 5")
    return seconds


def main():
    parser = argparse.ArgumentParser(description="A donut shop.")
    parser.add_argument("--host", default="127.0.0.1", help="to listen on (%(default)s)")
    parser.add_argument("--port", default=8082, type=int, help="to listen on (%(default)s)")
    parser.add_argument("--kitchen", type=kitchen_url, metavar="URL", help="another shop")
    parser.add_argument(
        "--fry-seconds", default=1.4, type=fry_seconds, help="for a donut (%(default)s)"
    )
    arguments = parser.parse_args()
    try:
        shop = Shop(arguments)
    except (OSError, OverflowError) as error:
        parser.exit(2, f"microdonuts: cannot listen on this host and port: {error}\n")
    print(f"microdonuts: open at {shop.url}/ (Ctrl-C closes)", file=sys.stderr)
    # SIGTERM now does what Ctrl-C does: it raises KeyboardInterrupt.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with shop, suppress(KeyboardInterrupt):
        shop.serve_forever()
    # Give the answers in progress a moment, which a second Ctrl-C ends.
    with suppress(KeyboardInterrupt):
        time.sleep(0.5)


if __name__ == "__main__":
    main()
