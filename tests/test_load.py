"""Many orders at once. This takes minutes, and is run with `-m soak`."""

import collections
import contextlib
import json
import signal
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException

import pytest
from servers import ORDER

pytestmark = pytest.mark.soak
BODY = json.dumps(ORDER)


def buy(url, orders, counts):
    """Order on one connection while there are orders left, and count what comes of each."""
    connection = HTTPConnection(url.removeprefix("http://"), timeout=60)
    for _ in orders:
        try:
            connection.request("POST", "/order", BODY)
            answer = connection.getresponse()
            answer.read()
            counts[answer.status] += 1
        except (OSError, HTTPException) as error:
            counts[type(error).__name__] += 1
            connection.close()
    connection.close()


@contextlib.contextmanager
def crowd(url, connections, orders):
    """Have buyers share the orders, each with a connection and a thread. Yield {status: count}."""
    counts = collections.Counter()
    with ThreadPoolExecutor(connections) as buyers:
        for _ in range(connections):
            buyers.submit(buy, url, orders, counts)
        yield counts


def test_50_000_orders_on_256_connections_are_all_answered(run_shop, ask):
    shop = run_shop("--fry-seconds", "0", OTEL_TRACES_EXPORTER="none")
    with crowd(shop.url, 256, iter(range(50_000))) as counts:
        pass
    assert counts == {200: 50_000}
    assert len(ask(shop, "/traces").json) == 100
    assert ask(shop, "/order", BODY.encode()).status == 200
    assert shop.stop() == 0
    assert len(shop.err) == 1, shop.err


def test_a_kitchen_that_is_killed_costs_the_orders_that_it_had_and_no_more(run_shop, ask, until):
    quiet = {"OTEL_TRACES_EXPORTER": "none"}
    kitchen = run_shop("--fry-seconds", "0", **quiet)
    port = kitchen.url.rpartition(":")[2]
    shop = run_shop("--kitchen", kitchen.url, **quiet)
    orders = iter(range(10_000))
    with crowd(shop.url, 32, orders) as counts:
        until(lambda: counts[200] > 500, "the first 500 orders")
        kitchen.stop(signal.SIGKILL)
        until(lambda: counts[502] > 500, "502 for 500 orders")
        run_shop("--fry-seconds", "0", "--port", port, **quiet)
        before = counts[200]
        until(lambda: counts[200] > before + 500, "orders that are cooked again")
        # Now there are none left.
        list(orders)
    assert set(counts) == {200, 502}
    assert ask(shop, "/order", BODY.encode()).status == 200
    assert shop.stop() == 0
    assert len(shop.err) == 1, shop.err
