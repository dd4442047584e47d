"""no-tracing/: each step of the walkthrough fits the shop before it, and shows what it says."""

import re
import sys

import pytest

pytest.register_assert_rewrite("documents")

from documents import Terminal, fences, path
from servers import ROOT, until

sys.path.append(str(ROOT / "no-tracing"))

import walk

README = fences(ROOT / "no-tracing" / "README.md")
RESTART, ORDER = [fence.text for fence in README if fence.section == "Before you begin"][-2:]
# The lines of steps 1 to 5.
PLAIN = re.compile(r"(?m)^(\w{32}) (\w{16}) (\S{16}) ([A-Z]+) (.+)")


def spans_of(text):
    """Return {id: span} of plain lines, in the form of documents.py."""
    found = {}
    for trace_id, span_id, parent_id, kind, name in PLAIN.findall(text):
        found[span_id] = {"name": name, "kind": kind, "attributes": {}, "parent_id": parent_id}
        found[span_id]["context"] = {"trace_id": trace_id}
    return found


def summary(spans, known):
    """Return the number of traces, and each span's path, with its parent if commands name it."""
    found = [(known.count(x["parent_id"]), *path(x, spans)) for x in spans.values()]
    return len({span["context"]["trace_id"] for span in spans.values()}), sorted(found)


class PlainTerminal(Terminal):
    def new_spans(self, count):
        spans = spans_of("".join(self.shops["8082"].out))
        return spans if len(spans) >= count else None

    def compare(self, commands, shown):
        if not PLAIN.match(shown):
            return super().compare(commands, shown)
        self.run(commands)
        expected = spans_of(shown)
        spans = until(lambda: self.new_spans(len(expected)), f"a terminal like this:\n{shown}")
        assert summary(spans, commands) == summary(expected, commands)
        self.shops["8082"].out.clear()


@pytest.mark.parametrize("step", range(1, 11))
def test_a_step_fits_and_shows_what_the_text_says(step, run_shop, tmp_path):
    for name in ("static", "no-tracing", *walk.FILES):
        (tmp_path / name).symlink_to(ROOT / name)
    folder = tmp_path / "my-shop"
    folder.mkdir()
    walk.save(folder, walk.walk(walk.load(walk.HERE), 1, step - 1))
    terminal = (PlainTerminal if step < 6 else Terminal)(run_shop, folder)
    commands = ""
    for fence in [each for each in README if each.section.startswith(f"Step {step}:")]:
        try:
            if fence.language == "diff":
                walk.apply(folder, fence.text)
                commands = RESTART + ORDER
            elif "walk.py copy" in fence.text:
                terminal.run(fence.text)
                commands = RESTART + ORDER
            elif fence.language == "sh":
                commands = commands.replace(ORDER, "") + fence.text
            else:
                terminal.compare(commands, fence.text)
                commands = ""
        except BaseException as error:
            error.add_note(f"This is about no-tracing/README.md, line {fence.line}.")
            raise
    # Commands without anything below them print nothing.
    assert terminal.run(commands) == ""


@pytest.mark.parametrize("name", walk.FILES)
def test_no_tracing_is_the_finished_shop_without_the_steps(name):
    expected = walk.walk(walk.load(ROOT), 1, 10, backwards=True)[name]
    assert walk.load(walk.HERE)[name] == expected, "run: python3 no-tracing/walk.py refresh"
