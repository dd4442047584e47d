"""no-tracing/: each step of the walkthrough fits the shop before it, and shows what it says."""

import difflib
import re
import subprocess
import sys

import pytest

import documents
from documents import Terminal, fences, walk
from servers import ROOT

README = fences(ROOT / "no-tracing" / "README.md")
RESTART, ORDER = [fence.text for fence in README if fence.section == "Before you begin"][-2:]
# The lines of steps 1 to 5.
PLAIN = re.compile(r"(?m)^(\w{32}) (?P<id>\w{16}) (\S{16}) (?P<label>[A-Z]+ .+)")
REFRESH = """Run: python3 no-tracing/walk.py refresh. (First, a line about tracing goes into the
step of no-tracing/README.md that changes its function. Attributes are set in steps 8 and 9.)"""


class PlainTerminal(Terminal):
    """The terminal of steps 1 to 5, in which no span can be read from the shop."""

    def new_spans(self, count):
        spans = {}
        for trace_id, span_id, parent_id, label in PLAIN.findall("".join(self.shops["8082"].out)):
            kind, _, name = label.partition(" ")
            spans[span_id] = {"name": name, "kind": kind, "attributes": {}, "parent_id": parent_id}
            spans[span_id]["context"] = {"trace_id": trace_id}
        return spans if len(spans) >= count else None


def paste(folder, diff):
    """Make the changes of a diff as a reader does who pastes it, and presses Enter."""
    assert re.findall(r"(?m)^--- (.+)", diff) == re.findall(r"(?m)^\+\+\+ (.+)", diff)
    command = [sys.executable, walk.__file__, "paste"]
    done = subprocess.run(command, cwd=folder, input=f"{diff}\n", capture_output=True, text=True)
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize("step", range(1, 11))
def test_a_step_fits_and_shows_what_the_text_says(step, run_shop, tmp_path, monkeypatch):
    for name in ("static", "no-tracing", *walk.FILES):
        (tmp_path / name).symlink_to(ROOT / name)
    folder = tmp_path / "my-shop"
    folder.mkdir()
    walk.save(folder, walk.walk(walk.load(walk.HERE), 1, step - 1))
    terminal = Terminal(run_shop, folder)
    if step < 6:
        monkeypatch.setattr(documents, "LINE", PLAIN)
        terminal = PlainTerminal(run_shop, folder)
    commands = ""
    for fence in [each for each in README if each.section.startswith(f"Step {step}:")]:
        try:
            if fence.language == "diff":
                paste(folder, fence.text)
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
    # These are left in step 10: they compare the shop with the finished one, and print nothing.
    assert terminal.run(commands) == "", REFRESH


@pytest.mark.parametrize("name", walk.FILES)
def test_no_tracing_is_the_finished_shop_without_the_steps(name):
    expected = walk.walk(walk.load(ROOT), 1, 10, backwards=True)[name].splitlines()
    found = walk.load(walk.HERE)[name].splitlines()
    stale = list(difflib.unified_diff(found, expected, n=0, lineterm=""))
    assert stale == [], REFRESH


def test_the_shop_of_no_tracing_needs_nothing_but_python(run_shop, ask, tmp_path):
    (tmp_path / "opentelemetry.py").write_text("raise ImportError('It is not installed.')")
    shop = run_shop(folder=ROOT / "no-tracing", PYTHONPATH=str(tmp_path))
    reply = ask(shop, "/order", {"donuts": [{"flavor": "jelly", "quantity": 1}]})
    assert (reply.status, reply.headers["Server-Timing"]) == (200, None)
    assert ask(shop, "/traces").status == 404
