"""The three rules that say where a line belongs, and what has to be the same in two files."""

import ast
import re
import tomllib

import pytest
from servers import ROOT

SOURCES = {
    name: (ROOT / name).read_text(encoding="utf-8") for name in ("microdonuts.py", "kitchen.py")
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def imports(name):
    """Return the modules of OpenTelemetry that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(SOURCES[name])):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
    return {module for module in found if module.startswith("opentelemetry")}


def test_the_kitchen_needs_the_api_alone():
    sdk = {module for module in imports("kitchen.py") if not is_api(module)}
    assert sdk == set(), (
        "kitchen.py is a library, and leaves the choice of an SDK to microdonuts.py"
    )
    assert {module for module in imports("microdonuts.py") if "sdk" in module} != set()


def is_api(module):
    return not re.match(r"opentelemetry\.(sdk|exporter|instrumentation)", module)


@pytest.mark.parametrize(
    ("name", "here", "elsewhere"),
    [
        ("microdonuts.py", "propagate.extract", "propagate.inject"),
        ("kitchen.py", "propagate.inject", "propagate.extract"),
    ],
)
def test_extract_is_in_the_shop_and_inject_in_the_kitchen_near_the_top(name, here, elsewhere):
    calls = [node for node in ast.walk(ast.parse(SOURCES[name])) if isinstance(node, ast.Call)]
    lines = {ast.unparse(call.func): call.lineno for call in calls}
    assert elsewhere not in lines
    assert lines[here] <= 100, f"{here} must be within the first 100 lines of {name}"


def test_the_packages_in_microdonuts_py_are_those_of_pyproject_toml():
    comment = re.search(r"(?ms)^# /// script$(.*?)^# ///$", SOURCES["microdonuts.py"])
    assert comment, "microdonuts.py has no `# /// script` block"
    script = tomllib.loads(re.sub("(?m)^# ?", "", comment[1]))
    assert script["dependencies"] == PROJECT["dependencies"]
    assert script["requires-python"] == PROJECT["requires-python"]
