"""HTTP: what the shop refuses and how, what the page reads, and the connections to both sides."""

import http.client
import json
import re
import socket
import struct
import threading

import pytest
from servers import ORDER, TRACE_ID, TRACEPARENT, rows

BODY = json.dumps(ORDER).encode()
LISTING = "/kitchen/get_donuts"


def send(shop, *lines):
    """Send these lines as they are, and return all that comes until the connection is closed."""
    with socket.create_connection(("127.0.0.1", shop.server_port), 20) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        connection.shutdown(socket.SHUT_WR)
        got = b""
        while chunk := connection.recv(65_536):
            got += chunk
    return got


def read(got):
    """Return the status and the JSON of an answer that came as bytes."""
    head, _, body = got.partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1\.1 \d{3} ", head), got[:200]
    return int(got.split(b" ")[1]), json.loads(body)


# ---------------------------------------------------------------- refusals

HOST = "Host: localhost"


@rows("refused")
def test_what_is_refused_is_json(shop, ask, row):
    got, answer = read(send(shop, *row["lines"]))
    assert (got, list(answer)) == (row["status"], ["error"])
    assert ask(shop, LISTING).status == 200, "it still serves"


def test_what_is_too_long_is_refused_by_http_server(shop):
    long = "a" * 70_000
    assert read(send(shop, f"GET /{long} HTTP/1.1", HOST))[0] == 414
    assert read(send(shop, "GET / HTTP/1.1", HOST, f"A: {long}"))[0] == 431


@pytest.mark.parametrize("body", [b'{"a": "\xff"}', b'{"a":' * 6_000], ids=["no UTF-8", "too deep"])
def test_a_body_that_cannot_be_read_is_400(shop, ask, body):
    reply = ask(shop, "/order", body)
    assert (reply.status, list(reply.json)) == (400, ["error"])


def test_a_405_says_what_is_allowed(shop, ask):
    for path, allowed in (("/order", "POST"), (LISTING, "GET"), ("/", "GET"), ("/traces", "GET")):
        reply = ask(shop, path, method="DELETE")
        assert (path, reply.status, reply.headers["Allow"].split(", ")[0]) == (path, 405, allowed)


def test_head_is_get_without_the_body(shop, ask):
    for path in ("/", LISTING, "/static/style.css"):
        whole, head = ask(shop, path), ask(shop, path, method="HEAD")
        assert (path, head.status, head.body) == (path, 200, b"")
        assert head.headers["Content-Type"] == whole.headers["Content-Type"]
        assert head.headers["Content-Length"] == str(len(whole.body))


def test_100_continue_is_sent_at_once(shop):
    lines = ["POST /order HTTP/1.1", HOST, f"Content-Length: {len(BODY)}", "Expect: 100-continue"]
    with socket.create_connection(("127.0.0.1", shop.server_port), timeout=5) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        assert connection.recv(1_000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(BODY)
        assert connection.recv(1_000).startswith(b"HTTP/1.1 200 ")


@rows("server_spans")
def test_a_server_span_has_the_name_of_its_route_and_the_address_in_host(shop, spans, row):
    headers = [f"Host: {row['host']}", f"traceparent: {TRACEPARENT}"]
    got = send(shop, f"{row['request']} HTTP/1.1", *headers)
    [span] = spans.of(TRACE_ID, 1)
    assert (int(got[9:12]), span.name) == (row["status"], row["name"])
    assert {key: span.attributes.get(key) for key in row["attributes"]} == row["attributes"]
    if row["status"] == 421:
        assert b"--host 0.0.0.0" in got, "say how to open the shop to other machines"


def test_a_shop_on_every_address_takes_every_host_and_calls_itself_by_127_0_0_1(start_shop, ask):
    everywhere = start_shop(host="0.0.0.0")
    assert everywhere.url == f"http://127.0.0.1:{everywhere.server_port}"
    assert ask(everywhere, "/order", ORDER, {"Host": "donuts.example"}).status == 200


@rows("sites")
def test_only_a_page_of_another_site_may_not_order(shop, ask, row):
    # The type is not looked at.
    headers = row["headers"] | {"Content-Type": "application/x-www-form-urlencoded"}
    assert ask(shop, "/order", ORDER, headers).status == row["status"]


# ---------------------------------------------------------------- what the page reads


def test_the_page_and_what_it_reads_are_not_traced(shop, spans, ask):
    for path in ("/", "/source/kitchen.py", "/static/style.css", "/traces", f"/traces/{'0' * 32}"):
        reply = ask(shop, path)
        assert (path, reply.status, reply.headers["Server-Timing"]) == (path, 200, None)
    assert [span.name for span in spans if span.name != "fry"] == []


def test_files_have_a_type_that_a_browser_takes_and_a_policy(shop, ask):
    kinds = {"/": "html", "/static/style.css": "css", "/static/main.js": "javascript"}
    for path, kind in kinds.items():
        reply = ask(shop, path)
        assert reply.headers.get_content_subtype() == kind
        assert "default-src 'self'" in reply.headers["Content-Security-Policy"]


def test_the_traces_are_listed_and_shown(shop, spans, ask):
    reply = ask(shop, "/order", ORDER)
    found = spans.of(reply, 7)
    listed = ask(shop, "/traces")
    assert listed.headers["Propagation-Fields"] == "baggage, traceparent, tracestate"
    summary = {"trace_id": reply.trace_id, "spans": 7, "first": json.loads(found[0].to_json())}
    assert listed.json[0].items() >= summary.items()
    shown = ask(shop, f"/traces/{reply.trace_id}").json
    ours = [json.loads(span.to_json()) for span in found]
    assert sorted(shown["spans"], key=str) == sorted(ours, key=str)
    assert shown["missing"] is None
    unknown = ask(shop, f"/traces/{'0' * 32}").json
    assert (unknown["spans"], type(unknown["missing"])) == ([], str)


def test_at_most_100_traces_are_listed_the_newest_first(shop, ask):
    ids = [ask(shop, "/nowhere").trace_id for _ in range(101)]
    assert [entry["trace_id"] for entry in ask(shop, "/traces").json] == ids[:0:-1]


def test_two_processes_are_one_trace_and_each_span_is_shown_once(run_shop, ask, until):
    back = run_shop("--fry-seconds", "0", OTEL_SERVICE_NAME="kitchen")
    front = run_shop("--kitchen", back.url)
    reply = ask(front, "/order", ORDER)
    path = f"/traces/{reply.trace_id}"
    spans = until(lambda: len(found := ask(front, path).json["spans"]) >= 7 and found, "7 spans")
    services = [span["resource"]["attributes"]["service.name"] for span in spans]
    assert sorted(services) == ["kitchen"] * 3 + ["microdonuts"] * 4
    back.stop()
    shown = ask(front, path).json
    assert len(shown["spans"]) == 4
    assert back.url in shown["missing"]


def test_a_kitchen_that_is_the_shop_by_another_name_shows_each_span_once(run_shop, ask, until):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    url = f"http://localhost:{port}"
    shop = run_shop("--port", port, "--kitchen", url, "--fry-seconds", "0")
    path = f"/traces/{ask(shop, '/order', ORDER).trace_id}"
    spans = until(lambda: len(found := ask(shop, path).json["spans"]) >= 7 and found, "7 spans")
    assert len({span["context"]["span_id"] for span in spans}) == len(spans) == 7


@rows("no_traces")
def test_a_kitchen_that_shows_no_traces_is_a_sentence(front, fake, ask, row):
    path = f"/traces/{ask(front, '/status', {'order_id': 'o'}).trace_id}"
    fake.script = lambda path: row["answer"].encode()
    shown = ask(front, path).json
    assert len(shown["spans"]) == 3
    assert fake.url in str(shown["missing"])


# ---------------------------------------------------------------- spans, and connections


def test_a_connection_is_kept_and_an_answer_comes_in_one_piece(shop):
    with socket.create_connection(("127.0.0.1", shop.server_port), timeout=20) as connection:
        for _ in range(3):
            connection.sendall(f"GET /nowhere HTTP/1.1\r\n{HOST}\r\n\r\n".encode())
            head, _, body = connection.recv(1_000_000).partition(b"\r\n\r\n")
            assert re.search(rb"Content-Length: (\d+)", head)[1] == str(len(body)).encode()


def test_a_call_of_the_kitchen_uses_one_connection_for_each_order(shop, spans, ask):
    ports = set()
    for _ in range(2):
        found = spans.of(ask(shop, "/order", ORDER), 7)
        calls = [span for span in found if span.parent and span.parent.is_remote]
        [port] = {span.attributes["network.peer.port"] for span in calls}
        ports.add(port)
    assert len(ports) == 2


def test_no_proxy_is_between_shop_and_kitchen(run_shop, ask):
    proxy = dict.fromkeys(("http_proxy", "HTTP_PROXY"), "http://127.0.0.1:1")
    assert ask(run_shop(**proxy), "/order", ORDER).status == 200


def test_no_header_follows_a_redirect_to_another_host(front, fake, fake_kitchen, ask):
    other = fake_kitchen()
    fake.script = lambda path: fake.answer({}, "307 Go", f"Location: {other.url}{path}")
    assert ask(front, "/order", ORDER).status == 502
    assert (len(fake.requests), other.requests) == (1, [])


def test_an_answer_that_nobody_takes_is_an_error_of_the_server(front, fake, spans, until, capfd):
    is_gone = threading.Event()
    fake.script = lambda path: is_gone.wait(20) and fake.cook(path)
    connection = http.client.HTTPConnection("127.0.0.1", front.server_port)
    connection.request("POST", "/status", b'{"order_id": "o"}')
    until(lambda: fake.requests, "the call of the kitchen")
    # With this option, to close the connection resets it.
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    is_gone.set()
    found = {span.name: span for span in spans.wait(3)}
    server = found["POST /status"]
    assert server.attributes["error.type"] in ("ConnectionResetError", "BrokenPipeError")
    assert "http.response.status_code" not in server.attributes, "not a byte was sent"
    statuses = {name: span.status.status_code.name for name, span in found.items()}
    assert statuses == {"POST /status": "ERROR", "status": "UNSET", "GET": "UNSET"}
    assert "Traceback" not in capfd.readouterr().err


def test_the_start_never_asks_dns(start_shop, monkeypatch):
    # To call None would raise a TypeError.
    for name in ("getfqdn", "gethostbyaddr", "gethostbyname"):
        monkeypatch.setattr(socket, name, None)
    start_shop(host="0.0.0.0")
