"""The exercises of no-tracing/README.md: each can be solved, and your solution is right."""

import os
import re

import pytest
from documents import walk
from servers import ROOT, table, until

ORDER = {"donuts": [{"flavor": "jelly", "quantity": 2}]}


def traces_of(shop, ask, count):
    """Return {trace id: its spans} when `count` spans have ended, with a line for each."""
    until(lambda: len(shop.out) >= count, f"the end of {count} spans")
    ids = [trace["trace_id"] for trace in ask(shop, "/traces").json]
    return {each: ask(shop, f"/traces/{each}").json["spans"] for each in ids}


def check_jaeger(folder, run_shop, ask, fake_kitchen):
    kitchen = fake_kitchen()
    shop = run_shop("--kitchen", kitchen.url, folder=folder, OTEL_PROPAGATORS="jaeger")
    fields = ask(shop, "/traces").headers["Propagation-Fields"]
    assert fields == "uber-trace-id", 'PROPAGATORS has "jaeger", with {"uber-trace-id"} as fields'
    # A row has the header, and what it tells: the trace, the parent, and whether it is sampled.
    for row in table("jaeger"):
        kitchen.requests.clear()
        header = row["sent"]
        reply = ask(shop, "/order", ORDER, {"uber-trace-id": header})
        trace_id, parent_id, sampled = row["told"] or (reply.trace_id, None, "1")
        sent = [request.headers["uber-trace-id"] for request in kitchen.requests]
        ids = [re.sub(":[0-9a-f]{16}:", ":<span id>:", each or "nothing") for each in sent]
        assert ids == [f"{trace_id}:<span id>:0:{sampled}"] * 3, f"sent after {header}"
        if sampled == "1":
            spans = ask(shop, f"/traces/{trace_id}").json["spans"]
            server = [span for span in spans if span["name"] == "POST /order"][-1]
            assert server["parent_id"] == parent_id, f"the parent after {header}"
            found = server["attributes"].get("http.request.header.uber-trace-id")
            assert found == [header], "PROPAGATION_HEADERS has uber-trace-id"


def check_baggage(folder, run_shop, ask, fake_kitchen):
    shop = run_shop("--fry-seconds", "0", folder=folder)
    reply = ask(shop, "/order", ORDER, {"baggage": "tenant=acme,http.route=%2Fevil"})
    for span in traces_of(shop, ask, 10)[reply.trace_id]:
        attributes = span["attributes"]
        # A span may start in a context that is not the current one: parent_context.
        found = {name: attributes.get(f"baggage.{name}") for name in ("tenant", "http.route")}
        expected = {"tenant": "acme", "http.route": "/evil"}
        assert found == expected, f"baggage.<name> on the span {span['name']}"
        assert attributes.get("http.route") != "/evil", f"http.route of {span['name']}"


def check_fry(folder, run_shop, ask, fake_kitchen):
    shop = run_shop("--fry-seconds", "0", folder=folder)
    order = ask(shop, "/order", ORDER).trace_id
    traces = traces_of(shop, ask, 10)
    assert sorted(map(len, traces.values())) == [1, 1, 8], "two traces of fry, and one of the order"
    requests = [span for span in traces.pop(order) if span["name"] == "POST /kitchen/add_donuts"]
    fries = [span for [span] in traces.values()]
    assert [(span["name"], span["parent_id"]) for span in fries] == [("fry", None)] * 2
    links = {link["context"]["span_id"] for span in fries for link in span["links"]}
    assert links == {span["context"]["span_id"] for span in requests}, "a link to each request"
    flavors = [span["attributes"].get("microdonuts.flavor") for span in fries]
    assert flavors == ["jelly", "jelly"], "the attributes of fry"


CHECKS = {"jaeger": check_jaeger, "baggage": check_baggage, "fry": check_fry}


@pytest.mark.exercise
@pytest.mark.parametrize("name", CHECKS)
def test_your_solution(name, run_shop, ask, fake_kitchen):
    CHECKS[name](ROOT / os.environ.get("SHOP", "my-shop"), run_shop, ask, fake_kitchen)


@pytest.mark.parametrize("name", CHECKS)
def test_only_its_diff_solves_an_exercise(name, run_shop, ask, fake_kitchen, tmp_path):
    (tmp_path / "static").symlink_to(ROOT / "static")
    folder = tmp_path / "my-shop"
    folder.mkdir()
    walk.save(folder, walk.load(ROOT))
    with pytest.raises(AssertionError):
        CHECKS[name](folder, run_shop, ask, fake_kitchen)
    # Its own solution comes first. Those of the others must not matter.
    for each in sorted(CHECKS, key=name.__ne__):
        walk.apply(folder, (ROOT / "tests" / "solutions" / f"{each}.diff").read_text())
        CHECKS[name](folder, run_shop, ask, fake_kitchen)
