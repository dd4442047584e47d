"""no-tracing/: each step of the walkthrough fits the shop before it, and shows what it says."""

import re
import shutil
import sys

import pytest

pytest.register_assert_rewrite("documents")

from documents import Terminal, fences, path
from servers import ROOT, until

sys.path.append(str(ROOT / "no-tracing"))

import walk

README = ROOT / "no-tracing" / "README.md"
# What "Restart the shop, and order a donut" means.
RESTART, ORDER = [fence.text for fence in fences(README) if fence.section == "Before you begin"][-2:]
# The lines of steps 1 to 5: trace id, span id, parent's id, kind, name.
PLAIN = re.compile(r"(?m)^(\w{32}) (\w{16}) (\S{16}) ([A-Z]+) (.+)")


class PlainTerminal(Terminal):
    """Knows of spans what plain_line() prints of them."""

    def new_spans(self, count, known="", text=None):
        spans = {}
        for trace, span, parent, kind, name in PLAIN.findall(text or "".join(self.lines())):
            spans[span] = {"name": name, "kind": kind, "attributes": {}, "parent_id": parent}
            spans[span]["context"] = {"trace_id": trace}
            # The parent is the caller.
            if parent in known:
                spans[span]["name"] += f" {trace} {parent}"
        return spans if len(spans) >= count else None

    def lines(self):
        return self.shops["8082"].out

    def compare(self, commands, shown):
        if not PLAIN.match(shown):
            return super().compare(commands, shown)
        self.run(commands)
        expected = self.new_spans(0, commands, shown)
        spans = until(lambda: self.new_spans(len(expected), commands), f"a terminal like:\n{shown}")
        self.lines().clear()
        assert summary(spans) == summary(expected)


def summary(spans):
    traces = {span["context"]["trace_id"] for span in spans.values()}
    return len(traces), sorted(path(span, spans) for span in spans.values())


@pytest.mark.parametrize("step", range(1, 11))
def test_a_step_fits_and_shows_what_the_text_says(step, run_shop, tmp_path):
    for name in ("static", "no-tracing"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in walk.FILES:
        shutil.copy(ROOT / name, tmp_path)
    folder = tmp_path / "my-shop"
    folder.mkdir()
    walk.make(folder, step - 1)
    terminal = (PlainTerminal if step < 6 else Terminal)(run_shop, folder)
    commands, is_changed = "", False
    for fence in fences(README):
        if not fence.section.startswith(f"Step {step}:"):
            continue
        try:
            if fence.language == "diff":
                walk.apply(folder, fence.text)
                is_changed = True
            elif "walk.py copy" in fence.text:
                terminal.run(fence.text)
                is_changed = True
            elif fence.language == "sh":
                commands += fence.text
            else:
                if is_changed and "microdonuts.py" not in commands:
                    commands = RESTART + commands
                if commands and "curl" not in commands:
                    commands += ORDER
                terminal.compare(commands, fence.text)
                commands, is_changed = "", False
        except Exception as error:
            error.add_note(f"This is about no-tracing/README.md, line {fence.line}.")
            raise
    # Commands without anything below them print nothing.
    assert terminal.run(commands) == ""


@pytest.mark.parametrize("name", walk.FILES)
def test_no_tracing_is_the_finished_shop_without_the_steps(name, tmp_path):
    walk.take_back(tmp_path)
    expected, found = (folder / name for folder in (tmp_path, ROOT / "no-tracing"))
    assert found.read_text() == expected.read_text(), "run: python3 no-tracing/walk.py refresh"


def test_the_shop_of_no_tracing_needs_nothing_but_python(run_shop, ask, tmp_path):
    (tmp_path / "opentelemetry.py").write_text("raise ImportError('it is not there')")
    shop = run_shop(folder=ROOT / "no-tracing", PYTHONPATH=str(tmp_path))
    order = {"donuts": [{"flavor": "jelly", "quantity": 1}]}
    assert ask(shop, "/order", order).status == 200
    assert ask(shop, "/traces").status == 404
