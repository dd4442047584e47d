"""The trace on the page: its rows, addresses and links, and what strangers may put into it."""

import re
import subprocess
import uuid

import pytest
from documents import numbered
from servers import table

pytest.importorskip("playwright", reason="needs pip install '.[dev]'")
from playwright.sync_api import expect

SAMPLE = {"donuts": [{"flavor": "glazed", "quantity": 1}]}
PARENT_ID = "00f067aa0ba902b7"


@pytest.fixture
def show(page, shop):
    """show(reply, row): open the trace of an answer on the page, and select a row."""

    def show(reply, row):
        page.goto(f"{shop.url}/#{reply.trace_id}")
        page.reload()
        page.locator("#rows").get_by_role("button", name=row).first.click()

    return show


@pytest.fixture
def alter(page, shop, ask):
    """alter(change): show what change(spans) makes of the trace of an order."""

    def alter(change):
        reply = ask(shop, "/order", SAMPLE)
        spans = ask(shop, f"/traces/{reply.trace_id}").json["spans"]
        answer = {"spans": change(spans), "missing": None}
        page.route("**/traces/*", lambda route: route.fulfill(json=answer))
        page.goto(f"{shop.url}/#{reply.trace_id}")

    return alter


def test_the_trace_of_an_order_is_drawn_as_the_tree_it_is(page, order, shop):
    order(shop, "glazed")
    expect(page.locator("#rows li:not([data-open], [data-type=wait])")).to_have_count(9)
    rows = page.locator("#rows > li").evaluate_all("rows => rows.map(row => row.outerHTML)")
    # Without what differs each time: the places of bars, times, the order id, and the flags.
    drawn = re.sub(r' style=".*?"|[\d.]+ .?s(?=<)|[\w-]{36}|(?<=>)0[13](?=<)', "", "\n".join(rows))
    assert numbered(drawn).replace('"', "'").splitlines() == table("drawn_order")


@pytest.mark.parametrize(("row", "call"), [("→ CLIENT", "inject"), ("← SERVER", "extract")])
def test_a_span_shows_its_header_and_the_lines_of_code(page, shop, ask, show, row, call):
    show(ask(shop, "/order", SAMPLE), row)
    expect(page.locator("#code [data-marked]")).to_contain_text("tracer.start_span(")
    expect(page.locator("#code .crossing")).to_contain_text(f"propagate.{call}(")
    expect(page.locator("#code .crossing b")).to_contain_text("the headers")
    sender = page.locator("#wire .sender-id").inner_text()
    expect(page.locator("#parts .sender-id")).to_have_text(sender)
    expect(page.locator(f"#rows [data-span='{sender}'] button")).to_contain_text("CLIENT")
    expect(page.locator("#parts .means")).to_have_count(5)
    expect(page.locator("#parts .bit code")).to_have_text(["·······1", "······1·", "000000··"])
    expect(page.locator("#attributes")).to_contain_text("http.request.header.traceparent")


def test_an_address_opens_what_it_names_and_back_leads_back(page, shop, ask):
    reply = ask(shop, "/order", SAMPLE)
    page.route("**/traces", lambda route: route.abort())  # what the list of traces has is kept
    page.goto(f"{shop.url}/#{reply.trace_id}")
    selected = page.locator("#rows [aria-current]")
    expect(selected).to_contain_text("CLIENT")
    page.locator("#rows").get_by_role("button", name="INTERNAL order").click()
    expect(page).to_have_url(re.compile(f"#{reply.trace_id}/[0-9a-f]{{16}}$"))
    page.reload()
    expect(page.locator("#rows [aria-current]:focus")).to_contain_text("order")
    page.locator("#facts a").click()
    expect(selected).to_contain_text("/order")
    expect(page.locator("#code .crossing b")).to_be_hidden()
    page.go_back()
    expect(selected).to_contain_text("INTERNAL")
    page.go_back()
    expect(selected).to_contain_text("CLIENT")
    page.goto(f"{shop.url}/#{'f' * 32}")
    expect(page.locator("#trace-note")).to_contain_text("not recorded")
    expect(page.locator("#rows")).to_be_hidden()
    expect(page.get_by_role("button", name="Look again")).to_be_visible()


def test_a_status_check_links_to_its_order_which_asks_for_no_other_trace(page, shop, ask, show):
    placed = ask(shop, "/order", SAMPLE)
    check = ask(shop, "/status", {"order_id": placed.json["order_id"]})
    show(check, "INTERNAL status")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_role("link", name=f"of trace {placed.trace_id}").click()
    expect(page.locator("#span-title")).to_have_text("INTERNAL order")
    assert [url for url in asked if "/traces/" in url] == [f"{shop.url}/traces/{placed.trace_id}"]


def test_the_rows_by_keyboard_alone(page, shop, ask, show):
    show(ask(shop, "/order", SAMPLE), "INTERNAL order")
    buttons = page.locator("#rows button")
    keys = {"Home": 0, "ArrowUp": 0, "ArrowDown": 1, "End": 6, "ArrowLeft": 6, "Control+Home": 6}
    for key, index in keys.items():
        page.keyboard.press(key)
        expect(buttons.nth(index)).to_be_focused()
        expect(buttons.nth(index)).to_have_attribute("aria-current", "true")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#span-title")).to_have_text("CLIENT GET")


def test_what_a_header_carries_is_text_and_never_markup(page, shop, ask, show):
    evil = "<img src=x onerror=document.title='hacked'>"
    headers = dict.fromkeys(("User-Agent", "baggage", "tracestate", "traceparent"), evil)
    show(ask(shop, "/kitchen/get_donuts", headers=headers), "SERVER")
    expect(page.locator("#attributes")).to_contain_text(evil)
    expect(page.locator("#wire")).to_contain_text(evil)
    expect(page.locator("#code .crossing b")).to_be_visible()
    expect(page.locator("#trace img")).to_have_count(0)
    expect(page).not_to_have_title("hacked")


def test_headers_that_came_in_are_shown_and_can_be_sent_again(page, shop, ask, show):
    traceparent = f"00-{uuid.uuid4().hex}-{PARENT_ID}-01"
    headers = {"traceparent": traceparent, "baggage": "it's=a%20b"}
    show(ask(shop, "/order", SAMPLE, headers), "SERVER POST /order")
    expect(page.locator("#rows .note").first).to_contain_text(f"parent {PARENT_ID} is not here")
    expect(page.locator("#wire [data-label]")).to_have_count(4)
    command = page.locator("#repeat code").inner_text()
    subprocess.run(["sh", "-c", command], capture_output=True, check=True)
    page.reload()
    came_in = page.locator("#rows li").filter(has_text="↳ came in").filter(has_text="it's=a%20b")
    expect(came_in).to_have_count(2)


def test_recent_traces_lead_to_their_traces(page, shop, ask):
    placed = ask(shop, "/order", SAMPLE)
    check = ask(shop, "/status", {"order_id": placed.json["order_id"]})
    page.goto(shop.url)
    expect(page.locator(f"#recent a[href='#{placed.trace_id}']")).to_contain_text("· 200 · 7 spans")
    expect(page.locator("#trace")).to_be_hidden()
    page.locator("#recent summary", has_text="POST /status").click()
    page.locator(f"#recent a[href='#{check.trace_id}']").click()
    expect(page.locator("#trace-id")).to_have_text(check.trace_id)
    expect(page.locator(f"#recent [href='#{check.trace_id}'][aria-current=true]")).to_be_visible()


def test_two_processes_are_two_services(page, order, run_shop):
    kitchen = run_shop("--fry-seconds", "0.1", OTEL_SERVICE_NAME="kitchen")
    order(run_shop("--kitchen", kitchen.url), "glazed")
    services = page.get_by_role("list", name="Services in this trace").get_by_role("listitem")
    expect(services).to_have_text(["microdonuts", "kitchen"])
    expect(page.locator("#rows [data-service='0']")).to_have_count(4)
    expect(page.locator("#rows [data-service='1']")).to_have_count(3)
    kitchen.stop()
    page.reload()
    expect(page.locator("#trace-note")).to_contain_text(kitchen.url)
    expect(page.locator("#rows .way")).to_have_text(["↳ injected"] * 2)


def test_a_clock_that_was_set_back_and_a_circle_of_parents_are_shown(page, alter):
    start = {"start_time": "2026-11-22T21:29:20Z", "end_time": "2026-11-22T21:29:20.007Z"}
    end = start | {"end_time": "2020-01-01T00:00:00.000000Z"}
    alter(lambda all: [all[0] | start | {"parent_id": all[1]["context"]["span_id"]}, all[1] | end])
    expect(page.locator("#rows button", has_text="each other’s")).to_contain_text("/order")
    expect(page.locator("#rows button", has_text="the clock was set back")).to_contain_text("0 µs")
    expect(page.locator("#ticks .tick")).to_have_text(["0", "5 ms"])


def test_what_limits_have_dropped_is_said_and_no_command_is_made_of_it(page, alter):
    alter(lambda spans: [spans[0] | {"attributes": {}}])
    expect(page.locator("#span-note")).to_contain_text("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT")
    expect(page.locator("#repeat")).to_be_empty()
    expect(page.locator("#span")).not_to_contain_text("undefined")
