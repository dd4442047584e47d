"""Many orders at once. This takes minutes, and is run with `-m load`."""

import collections
import json
import signal
import threading
from http.client import HTTPConnection, HTTPException

import pytest

pytestmark = pytest.mark.load
BODY = json.dumps({"donuts": [{"flavor": "jelly", "quantity": 1}]})


def buy(url, orders, counts, is_over):
    """Order on one connection until nobody may any more, and count what comes of it."""
    connection = HTTPConnection(url.removeprefix("http://"), timeout=60)
    while not is_over.is_set() and next(orders, None) is not None:
        try:
            connection.request("POST", "/order", BODY)
            answer = connection.getresponse()
            answer.read()
            counts[answer.status] += 1
        except (OSError, HTTPException) as error:
            counts[type(error).__name__] += 1
            connection.close()
    connection.close()


class Crowd:
    """Buyers, each with a connection and a thread, which share a number of orders."""

    def __init__(self, url, count, connections):
        self.counts, self.is_over = collections.Counter(), threading.Event()
        orders = iter(range(count))  # the next() of a range is atomic
        arguments = (url, orders, self.counts, self.is_over)
        self.buyers = [threading.Thread(target=buy, args=arguments) for _ in range(connections)]
        for buyer in self.buyers:
            buyer.start()

    def leave(self):
        for buyer in self.buyers:
            buyer.join()
        return self.counts


def test_50_000_orders_on_256_connections_are_all_answered(run_shop, ask):
    shop = run_shop("--fry-seconds", "0", OTEL_TRACES_EXPORTER="none")
    assert Crowd(shop.url, 50_000, 256).leave() == {200: 50_000}
    assert len(ask(shop, "/traces").json) == 100
    assert ask(shop, "/order", BODY.encode()).status == 200
    assert shop.stop() == 0
    assert len(shop.err) == 1, shop.err


def test_a_kitchen_that_is_killed_costs_the_orders_that_it_had_and_no_more(run_shop, ask, until):
    quiet = {"OTEL_TRACES_EXPORTER": "none"}
    kitchen = run_shop("--fry-seconds", "0", **quiet)
    port = kitchen.url.rpartition(":")[2]
    shop = run_shop("--kitchen", kitchen.url, **quiet)
    crowd = Crowd(shop.url, 10_000, 32)
    until(lambda: crowd.counts[200] > 500, "the first 500 orders")
    kitchen.stop(signal.SIGKILL)
    until(lambda: crowd.counts[502] > 500, "502 for 500 orders")
    run_shop("--fry-seconds", "0", "--port", port, **quiet)
    before = crowd.counts[200]
    until(lambda: crowd.counts[200] > before + 500, "orders that are cooked again")
    crowd.is_over.set()
    counts = crowd.leave()
    assert set(counts) == {200, 502}
    assert ask(shop, "/order", BODY.encode()).status == 200
    assert shop.stop() == 0
    assert len(shop.err) == 1, shop.err
