"""The browser of the page's tests: the Chromium or Chrome of this system, or Playwright's own."""

import shutil
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
# The browser must not load anything by itself while a test runs.
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type, browser_type_launch_args):
    if not CHROMIUM and not Path(browser_type.executable_path).exists():
        pytest.skip("needs Chromium: apt install chromium, or playwright install chromium")
    return browser_type_launch_args | {"executable_path": CHROMIUM, "args": FLAGS}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args):
    size = {"width": 1366, "height": 768}
    return browser_context_args | {"bypass_csp": True, "viewport": size}  # axe is put into the page


@pytest.fixture
def page(page):
    """A page. An exception in it, or an error on its console, fails the test."""
    page.set_default_timeout(10_000)
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    yield page
    # The browser reports an answer that is a refusal, too.
    assert [problem for problem in problems if "Failed to load resource" not in problem] == []


@pytest.fixture
def order(page):
    """order(shop, *flavors): open the shop's page, fill the box, and click on Order."""

    def order(shop, *flavors):
        page.goto(shop.url)
        for flavor in flavors:
            page.locator("#menu").get_by_role("button", name=f"Add one {flavor}").click()
        page.get_by_role("button", name="Order", exact=True).click()

    return order
