"""The three rules that say where a line belongs, and what has to be the same in two files."""

import ast
import re
import tomllib

import pytest
from documents import walk
from servers import ROOT

SOURCES = walk.load(ROOT)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_kitchen_needs_the_api_alone():
    others = r"(?m)^ *(?:from|import) opentelemetry\.(sdk|exporter|instrumentation)\b"
    found = {name: set(re.findall(others, text)) for name, text in SOURCES.items()}
    hint = "kitchen.py is a library, and leaves the choice of an SDK to microdonuts.py"
    assert found == {"microdonuts.py": {"sdk", "exporter"}, "kitchen.py": set()}, hint


CALLS = {"microdonuts.py": "extract", "kitchen.py": "inject"}


@pytest.mark.parametrize(("name", "here"), CALLS.items())
def test_extract_is_in_the_shop_and_inject_in_the_kitchen_near_the_top(name, here):
    calls = [node for node in ast.walk(ast.parse(SOURCES[name])) if isinstance(node, ast.Call)]
    lines = {ast.unparse(call.func): call.lineno for call in calls}
    assert {"propagate.extract", "propagate.inject"} & lines.keys() == {f"propagate.{here}"}
    assert lines[f"propagate.{here}"] <= 100, f"{here} must be within the first 100 lines of {name}"


def test_the_packages_in_microdonuts_py_are_those_of_pyproject_toml():
    comment = re.search(r"(?ms)^# /// script$(.*?)^# ///$", SOURCES["microdonuts.py"])
    assert comment, "microdonuts.py has no `# /// script` block"
    script = tomllib.loads(re.sub("(?m)^# ?", "", comment[1]))
    assert script["dependencies"] == PROJECT["dependencies"]
    assert script["requires-python"] == PROJECT["requires-python"]
