"""The panel "Send a header of your own": what it sends, and what it says came of that."""

import re

import pytest

import microdonuts

pytest.importorskip("playwright", reason="needs pip install '.[dev]'")
from playwright.sync_api import expect

HTML = microdonuts.FILES["/"].read_text()
READY = re.findall(r'<li data-outcome="(\w+), ([\w ]+)">\s*<button type="button">(.*?)<', HTML)
VALID = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def send(page):
    """send(shop, header, ...): predict, send a ready experiment or headers, return the verdict."""

    def send(shop, ready=None, trace="same", recording="recorded", **headers):
        page.goto(shop.url)
        page.get_by_text("Send a header of your own").click()
        if ready:
            page.get_by_role("button", name=ready, exact=True).click()
            expect(page.locator("#header-fields .failed, [aria-invalid]")).to_have_count(0)
            expect(page.locator("#header-fields")).not_to_contain_text("null")
            expect(page.locator("#hint")).not_to_be_empty()
        for name, value in headers.items():
            page.get_by_label(name, exact=True).fill(value)
        page.locator(f"input[value='{trace}']").check()
        page.locator(f"input[value='{recording}']").check()
        page.get_by_role("button", name="Send", exact=True).click()
        expect(page.locator("#verdict")).to_be_in_viewport()
        return page.locator("#verdict").inner_text()

    return send


@pytest.mark.parametrize(("trace", "recording", "name"), READY, ids=[name for *_, name in READY])
def test_each_ready_experiment_turns_out_as_it_says(page, shop, send, trace, recording, name):
    verdict = send(shop, name, trace, recording)
    why = page.locator(f"#experiments li:has-text('{name}') .why").first.text_content()
    assert verdict.startswith(f"Right. It is {'the same' if trace == 'same' else 'a new'} trace.")
    assert " ".join(why.split()) in verdict
    expect(page.locator("#outcome")).to_have_attribute("data-right", "true")


def test_a_wrong_prediction_and_what_cannot_be_seen(page, shop, send):
    assert send(shop, "not sampled", "new", "recorded").startswith(
        "Wrong about the trace and the recording. It is the same trace. It was not recorded, so"
        " nothing can be seen of what went on to the kitchen."
    )
    expect(page.locator("#trace-note")).to_contain_text("not recorded")
    expect(page.locator("#outcome")).to_have_attribute("data-right", "false")
    assert send(shop, "upper case", "same").startswith("Wrong about the trace. It is a new trace.")
    expect(page.locator("[aria-invalid]")).to_have_count(1)
    expect(page.locator("#rows [aria-current]")).to_contain_text("SERVER")


def test_what_went_on_is_read_from_the_spans(page, shop, send):
    verdict = send(shop, traceparent=VALID, tracestate="a=1,a=2", baggage="a=1,b c=2")
    assert "The kitchen was sent the tracestate “a=1”." in verdict
    assert re.search("The kitchen was sent the baggage “[^ ]*a=1[^ ]*”.$", verdict.strip())
    verdict = send(shop, traceparent=VALID, tracestate="A=1")
    assert verdict.strip().endswith("The kitchen was sent no tracestate.")
    expect(page.locator("[aria-invalid]")).to_have_count(0)


def test_faults_are_marked_while_one_types_and_what_cannot_be_sent_is_not(page, shop, send):
    send(shop, traceparent=VALID.upper(), trace="new")
    field = page.get_by_label("traceparent", exact=True)
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.locator(".decoded .failed").first).to_contain_text("lower-case hex digits")
    expect(page.get_by_label("b3", exact=True)).to_be_hidden()
    expect(page.locator("#experiment-command")).to_contain_text(f"traceparent: {VALID.upper()}")
    page.get_by_role("button", name="Change the header").click()
    expect(page.locator("#send-traceparent:focus")).to_be_in_viewport(ratio=1)
    field.fill("€")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#experiment-error")).to_have_text(re.compile("^Change traceparent"))


def test_a_shop_with_other_settings(page, run_shop, send):
    b3 = run_shop(OTEL_PROPAGATORS="b3")
    assert send(b3, "your own trace").startswith("Right.")
    page.get_by_role("button", name="Change the header").click()
    expect(page.locator("#send-b3:focus")).to_have_value(re.compile("^[0-9a-f]{32}-.*-1$"))
    expect(page.locator("[data-name=traceparent] .note")).to_contain_text("does not read it")
    always = run_shop(OTEL_TRACES_SAMPLER="always_on")
    assert "OTEL_TRACES_SAMPLER is set" in send(always, "not sampled")
