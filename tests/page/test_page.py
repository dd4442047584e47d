"""The page as a visitor sees it: the menu, the box, one screen, and every kind of shop."""

import re

import pytest
from servers import table

import microdonuts

pytest.importorskip("playwright", reason="needs pip install '.[dev]'")
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

ROOT = microdonuts.FILES["/"].parent.parent
HTML = microdonuts.FILES["/"].read_text()
DRAWINGS = microdonuts.FILES["/static/drawings.svg"].read_text()
CARDS = re.findall(r'<li data-flavor="(.*?)">.*?drawings\.svg#([\w-]+)', HTML, re.DOTALL)

# Whether an element is on the screen, from its top to its bottom, and nothing cuts or covers it.
IS_SEEN = """element => {
  const {left, top, bottom} = element.getBoundingClientRect();
  const ends = [top + 2, bottom - 2].map(y => document.elementFromPoint(left + 25, y));
  return ends.every(end => element.contains(end));
}"""
# What has to be on one screen after an order.
STORY = table("one_screen")
# Which row is selected, and where the page, its scrolling parts, and its rows are.
PLACES = """() => [
  document.querySelector("#rows [data-selected]").dataset.key,
  scrollY, ...["grid", "beside", "code"].map(id => document.getElementById(id).scrollTop),
  ...[...document.querySelectorAll("#order, #span-title, #rows [data-key]")].map(
    element => [element.dataset.key, element.getBoundingClientRect().top]
  ),
].filter(place => !/wait/.test(place))"""


@pytest.mark.parametrize("flavor", microdonuts.FLAVORS)
def test_each_flavor_has_a_card_and_a_drawing(flavor):
    drawing = dict(CARDS).get(flavor)
    assert drawing, f'Add a card <li data-flavor="{flavor}"> to the menu in static/index.html.'
    assert drawing == flavor, f"The card of {flavor} in static/index.html shows {drawing}."
    is_drawn = f'<symbol id="{flavor}"' in DRAWINGS
    assert is_drawn, f'Add the drawing <symbol id="{flavor}"> to static/drawings.svg.'


def test_each_card_is_a_flavor():
    unknown = [flavor for flavor, _ in CARDS if flavor not in microdonuts.FLAVORS]
    assert not unknown, f"Add {unknown} to FLAVORS in microdonuts.py, or mend static/index.html."


def test_an_order_by_clicking_from_the_menu_to_ready(page, order, start_shop):
    order(start_shop(fry_seconds=0.2), "glazed", "jelly")
    expect(page.get_by_role("region", name="Your order")).to_match_aria_snapshot("""
        - timer: Ready!
        - status: Your donuts are ready, and still warm.
        - list "Donuts of this order":
          - listitem: glazed ready
          - listitem: jelly ready
        - button "Order again"
        - progressbar "Fried so far"
        """)
    expect(page.locator("#recent a").first).to_contain_text("· 200 · 10 spans")
    page.get_by_role("button", name="Order again").click()
    expect(page.get_by_role("heading", name="Today’s donuts")).to_be_focused()
    for name in ("Add one glazed", "Add one glazed", "Add one jelly", "Remove one jelly"):
        page.get_by_role("button", name=name).first.click()
    expect(page.locator("#lines li:visible")).to_have_text(["glazed − 2 +"])
    expect(page.locator("#cart-title:focus ~ #total")).to_have_text("2 donuts in all")


@pytest.mark.parametrize("height", [625, 768])
def test_one_screen_tells_the_whole_story(page, order, start_shop, height):
    page.set_viewport_size({"width": 1366, "height": height})
    order(start_shop(fry_seconds=1), *[flavor for flavor, _ in CARDS][:6] * 2)
    expect(page.locator("#code .crossing")).to_be_visible()
    seen = [what for what, place in STORY.items() if page.locator(place).first.evaluate(IS_SEEN)]
    assert seen == list(STORY)
    assert page.locator("#order").bounding_box()["height"] <= 150
    assert page.evaluate("scrollY") == 0


@pytest.mark.parametrize("is_own_choice", [False, True])
def test_nothing_jumps_while_the_trace_grows(page, order, start_shop, is_own_choice):
    order(start_shop(fry_seconds=0.7), "glazed", "jelly", "jelly")
    if is_own_choice:
        page.get_by_role("button", name="SERVER GET").click()
    expect(page.locator("#code .crossing")).to_be_visible()
    for scrolled in ("beside", "grid"):
        page.evaluate(f"document.getElementById('{scrolled}').scrollTop = 30")
    before = page.evaluate(PLACES)
    expect(page.locator("#countdown")).to_have_text("Ready!")
    expect(page.locator("#rows").get_by_role("button", name="INTERNAL fry")).to_have_count(3)
    assert page.evaluate("performance.getEntriesByName(`${location.origin}/status`).length") < 7
    after = page.evaluate(PLACES)
    assert [place for place in before if place not in after] == []
    bars = page.locator("#rows li", has_text="fry").locator(".bar")
    assert min(bar.bounding_box()["width"] for bar in bars.all()) > 40
    bars.first.click()
    expect(page.locator("#span-does")).to_have_text("goes on after its parent has answered")


def test_a_narrow_page_goes_to_the_trace_and_opens_details_below_a_row(page, order, start_shop):
    page.set_viewport_size({"width": 390, "height": 844})
    order(start_shop(fry_seconds=0.7), "glazed", "jelly")
    expect(page.locator("#order-title")).to_be_focused()
    expect(page.locator("#countdown")).not_to_be_in_viewport()
    expect(page.locator("#rows button").first).to_be_in_viewport(ratio=1)
    expect(page.locator("#span")).to_be_hidden()
    for name in ("SERVER POST /order", "→ CLIENT POST", "SERVER GET"):
        row = page.locator("#rows").get_by_role("button", name=name).first
        row.scroll_into_view_if_needed()
        before = row.bounding_box()["y"]
        row.evaluate("element => element.click()")
        assert row.bounding_box()["y"] == pytest.approx(before, abs=1)
        expect(page.locator("#rows [data-type=hop], #span:visible")).to_have_count(4)
    expect(page.locator("li:has(> [aria-current]) + li > #span h3")).to_contain_text("SERVER GET")
    expect(page.locator("#countdown")).to_have_text("Ready!")
    expect(page.locator("#rows button", has_text="fry")).to_have_count(2)
    assert row.bounding_box()["y"] == pytest.approx(before, abs=1)
    row.click()
    expect(page.locator("#span")).to_be_hidden()


def test_the_sentence_of_a_failure_is_shown_with_its_trace(page, order, start_shop):
    order(start_shop(kitchen="http://127.0.0.1:1"), "glazed")
    expect(page.locator("#countdown")).to_have_text("Failed")
    expect(page.locator("#error")).to_contain_text("http://127.0.0.1:1")
    expect(page.locator("#rows [aria-current] .failed")).to_have_text("ConnectionRefusedError")
    expect(page.locator("#recent a").first).to_contain_text("· 502 · 3 spanserror")
    page.get_by_role("button", name="Order again").click()
    expect(page.locator("#total")).to_have_text("1 donut in all")


def test_a_box_that_is_empty_or_too_full_stays_open(page, order, shop):
    order(shop)
    expect(page.locator("#error")).to_contain_text("Your box is empty")
    order(shop, *["jelly"] * 7, *["glazed"] * 6)
    expect(page.locator("#error")).to_contain_text("12")
    expect(page.get_by_role("button", name="Order", exact=True)).to_be_focused()


def test_a_shop_without_tracing_sells_donuts_and_says_where_to_begin(page, order, run_shop):
    process = run_shop("--fry-seconds", "0.1", folder=ROOT / "no-tracing")
    order(process, "glazed")
    expect(page.locator("#countdown")).to_have_text("Ready!")
    expect(page.locator("#trace-note")).to_contain_text("no Server-Timing header")
    expect(page.locator("#untraced")).to_contain_text("no-tracing/README.md")
    process.stop()
    page.get_by_role("button", name="Order again").click()
    page.get_by_role("button", name="Add one jelly").click()
    page.get_by_role("button", name="Order", exact=True).click()
    expect(page.locator("#error")).to_contain_text("The shop does not answer")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1366])
def test_the_page_fits_and_axe_finds_nothing(page, order, shop, width, scheme):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    order(shop, "glazed", "sprinkles")
    page.locator("#rows").get_by_role("button", name="→ CLIENT GET").click()
    expect(page.locator("#code [data-marked]")).to_be_visible()
    page.get_by_text("Send a header of your own").click()
    page.get_by_role("button", name="upper case").click()
    expect(page.locator("#countdown")).to_have_text("Ready!")
    assert [each["id"] for each in Axe().run(page).response["violations"]] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
