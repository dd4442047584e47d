"""README.md and docs/break-it.md: each change of a line does the damage that is shown below it."""

import shutil

import pytest

from documents import Terminal, apply_diff, fences
from servers import ROOT

README = fences(ROOT / "README.md")
COPY, START = next(fence.text for fence in README if "broken-shop" in fence.text).splitlines()
ORDER = next(fence.text for fence in README if fence.section == "Read the terminal")


def breaks():
    """Yield each diff with the commands below it, or else an order, and with what they show."""
    for path in (ROOT / "README.md", ROOT / "docs" / "break-it.md"):
        diff, commands = None, ORDER
        for fence in fences(path):
            if fence.language == "diff":
                diff, commands = fence.text, ORDER
            elif diff and fence.language == "sh":
                commands = fence.text
            elif diff:
                yield pytest.param(diff, commands, fence.text, id=f"{path.name} line {fence.line}")
                diff = None


@pytest.mark.parametrize(("diff", "commands", "shown"), list(breaks()))
def test_a_change_does_the_damage_that_is_shown(diff, commands, shown, run_shop, tmp_path):
    for name in ("microdonuts.py", "kitchen.py"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "static", tmp_path / "static")
    terminal = Terminal(run_shop, tmp_path)
    terminal.run(COPY)
    apply_diff(tmp_path / "broken-shop", diff)
    terminal.start(START)
    terminal.compare(commands, shown)
