"""docs/broken-traces.md: each program shows its symptom, and not any more when it is mended."""

import ast
import re
import subprocess
import sys

import pytest
from documents import numbered
from servers import DEADLINE, ROOT

TEXT = (ROOT / "docs" / "broken-traces.md").read_text()
PROGRAMS = ROOT / "docs" / "broken_traces"
# The symptom's title, what one sees, and the name of the program.
SYMPTOMS = re.findall(r"(?ms)^## ([^\n]+)\n\n```\n(.*?)^```\n(?:(?!^## ).)*?\(`(\w+\.py)`\)", TEXT)
# The first version of the API or the SDK that can have the symptom.
SINCE = {"strict_about_flags.py": "1.42", "no_context.py": "1.33"}


def printed(program, *arguments):
    command = [sys.executable, "-u", program, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return numbered(subprocess.run(command, timeout=DEADLINE, **pipes).stdout.strip())


@pytest.mark.parametrize(("title", "seen", "name"), SYMPTOMS, ids=[row[0] for row in SYMPTOMS])
def test_a_symptom_is_seen_and_mended(title, seen, name):
    pytest.importorskip("opentelemetry.version", SINCE.get(name))
    shown = printed(PROGRAMS / name)
    pattern = ".*".join(re.escape(part) for part in numbered(seen.strip()).split("..."))
    # An equal text shows the difference where it is not equal.
    assert re.fullmatch(pattern, shown, re.DOTALL) or shown == numbered(seen.strip())
    docstring = ast.get_docstring(ast.parse((PROGRAMS / name).read_text()))
    assert printed(PROGRAMS / name, "mended") == numbered(docstring.partition("Mended:\n")[2])


def test_each_program_has_a_symptom_and_the_list_at_the_top_has_them_all():
    names = {path.name for path in PROGRAMS.glob("*.py")} - {"tree.py"}
    assert sorted(name for _, _, name in SYMPTOMS) == sorted(names)
    assert re.findall(r"(?m)^- \[(.+)\]", TEXT) == [title for title, _, _ in SYMPTOMS]
