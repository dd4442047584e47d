"""README.md and docs/: commands print what is shown below them, and code is right."""

import itertools
import re
import subprocess
import sys
import tomllib
from argparse import ArgumentParser

import pytest

from documents import FENCE, Terminal, fences
from opentelemetry import environment_variables as api
from opentelemetry.sdk import environment_variables as sdk
from servers import ORDER, ROOT

import kitchen
import microdonuts

TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WALKTHROUGH = ROOT / "no-tracing/README.md"
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCES = {path: fences(path) for path in TEXTS}


def of_readme(section, language="sh"):
    """Return the texts of the fences of a section of README that are in a language."""
    found = [fence for fence in FENCES[TEXTS[0]] if fence.section == section]
    return [fence.text for fence in found if fence.language == language]


def sections():
    """Yield the fences of each section that has commands."""
    for path, found in FENCES.items():
        for section in dict.fromkeys(fence.section for fence in found):
            own = [fence for fence in found if fence.section == section]
            languages = {fence.language for fence in own}
            # test_break.py applies diffs, and test_strangers.py runs docs/compare.md.
            if "sh" in languages and "diff" not in languages and path.name != "compare.md":
                yield pytest.param(own, id=f"{path.name} {section}")


@pytest.mark.parametrize("found", list(sections()))
def test_commands_print_what_is_shown_below_them(found, run_shop):
    terminal = Terminal(run_shop)
    for fence, below in itertools.zip_longest(found, found[1:]):
        if fence.language == "sh" and below and below.language == "":
            terminal.compare(fence.text, below.text)
        elif fence.language == "sh":
            terminal.run(fence.text)


def code():
    """Yield each Python fence, but for README's two lines, which have a test of their own."""
    for path, found in FENCES.items():
        for fence in found:
            if fence.language == "python" and fence.section != "The whole idea":
                yield pytest.param(fence.text, id=f"{path.name} line {fence.line}")


def without_indent(text):
    return "\n".join(line.strip() for line in text.strip().splitlines())


@pytest.mark.parametrize("shown", list(code()))
def test_code_is_a_part_of_a_file_or_runs(shown):
    files = [*ROOT.glob("*.py"), *ROOT.glob("recipes/*.py")]
    sources = [without_indent(path.read_text(encoding="utf-8")) for path in files]
    if not any(without_indent(shown) in source for source in sources):
        # serve() stands for a program of the reader's own.
        command = [sys.executable, "-c", f"def serve(): ...\n\n\n{shown}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"no file has these lines, nor do they run:\n{done.stderr}"


[HEADER] = re.findall(r"(?m)^traceparent: (\S+)", README)


def test_the_header_of_the_whole_idea_crosses_on_the_terminal():
    [terminal] = of_readme("Read the terminal", "")
    ends = re.findall(r"(?m)^\| `.*\| `(\w{32})` \| `(\w{16})` \| `(\w{16})` \|$", README)
    _, trace_id, client_id, _ = HEADER.split("-")
    assert [ends[0][0], ends[0][1], ends[1][0], ends[1][2]] == [trace_id, client_id] * 2
    assert f"/#{trace_id}\n" in terminal
    for _, span_id, parent_id in ends:
        assert f" {span_id} {parent_id} {trace_id[:6]}\n" in terminal


def test_the_two_lines_of_the_whole_idea_write_and_read_the_header():
    _, trace_id, span_id, flags = HEADER.split("-")
    names = {"headers": {}, "trace_id": int(trace_id, 16), "span_id": int(span_id, 16)}
    names["flags"] = int(flags, 16)
    [lines] = of_readme("The whole idea", "python")
    exec(lines, names)
    assert names["headers"] == {"traceparent": HEADER}
    assert (names["trace_id"], names["parent_id"], names["flags"]) == (trace_id, span_id, flags)


def test_two_processes_are_two_services_on_one_trace_which_is_the_tree_of_an_order(run_shop, ask):
    terminal = Terminal(run_shop)
    [order], [tree] = of_readme("Read the terminal"), of_readme("Read the page", "")
    terminal.run(*of_readme("Two processes"))
    terminal.compare(order, tree)
    [[trace], [half]] = [ask(terminal.shops[port], "/traces").json for port in ("8082", "8083")]
    services = [each["first"]["resource"]["attributes"]["service.name"] for each in (trace, half)]
    assert services == ["microdonuts", "kitchen"]


SAMPLING = re.findall(r"(?m)^\| `(\w+)` \| (?:no .+|`(\d\d)`) \| (yes|no) \| `(\d\d)` \|$", README)


@pytest.mark.parametrize(("sampler", "flags", "is_recorded", "flags_on"), SAMPLING)
def test_the_table_of_samplers(sampler, flags, is_recorded, flags_on, run_shop, fake_kitchen, ask):
    kitchen = fake_kitchen()
    shop = run_shop("--kitchen", kitchen.url, OTEL_TRACES_SAMPLER=sampler)
    headers = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-{flags}"} if flags else {}
    ask(shop, "/order", ORDER, headers)
    sent = {request.headers["traceparent"].rpartition("-")[2] for request in kitchen.requests}
    recorded = "yes" if ask(shop, "/traces").json else "no"
    assert (recorded, sent) == (is_recorded, {flags_on})


def test_the_lines_of_the_endpoints_are_answered_and_the_last_is_refused(run_shop):
    [commands] = of_readme("The endpoints")
    *answers, last = Terminal(run_shop).run(commands.replace("\n", "; echo\n")).splitlines()
    hint = "the last line shows a refusal: put another one above it"
    assert ([each for each in answers if "error" in each], "error" in last) == ([], True), hint


def test_the_options_are_those_of_the_command_line(monkeypatch):
    parsers = []
    monkeypatch.setattr(ArgumentParser, "parse_args", lambda self: sys.exit(parsers.append(self)))
    with pytest.raises(SystemExit):
        microdonuts.main()
    options = {action.option_strings[-1]: action.default for action in parsers[0]._actions[1:]}
    shown = dict(re.findall(r"(?m)^- `(--[a-z-]+).*?(?:\(([\d.]+)\)|$)", README))
    assert shown == {name: str(value or "") for name, value in options.items()}


def test_the_propagators_are_those_of_the_kitchen():
    [shown] = re.findall(r"(?m)^- `OTEL_PROPAGATORS`:(.*)", README)
    assert set(re.findall(r"[`,](\w+)", shown)) == {*kitchen.PROPAGATORS, "none"}


def test_what_readme_installs_and_sets_exists():
    commands = "".join(fence.text for fence in FENCES[TEXTS[0]] if fence.language == "sh")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    packages = [".[dev]", *project["dependencies"], *project["optional-dependencies"]["otlp"]]
    assert set(re.findall(r"install -q '?([^\s']+)", commands)).difference(packages) == set()
    assert set(re.findall(r"([A-Z_]+)=", commands)).difference(dir(api), dir(sdk)) == set()


def anchors(path):
    """Return the anchors that GitHub makes of the headings of a document."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    headings = re.findall(r"(?m)^#+ (.+)", text)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", [*TEXTS, ROOT / "CONTRIBUTING.md", WALKTHROUGH])
def test_links_and_names_of_functions_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    files = [*ROOT.glob("*.py"), *ROOT.glob("[dr]*/**/*.py"), *TEXTS, WALKTHROUGH]
    code = "".join(file.read_text(encoding="utf-8") for file in files)
    names = re.findall(r"(?m)(?:`(?:[A-Z]\w+\.)?|^@@ .*?)(\w+)\(\)(?=`|$)", text)
    lost = [name for name in names if not re.search(rf"(def|class) {name}\b", code)]
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", FENCE.sub("", text)):
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == [], f"{path} has links, or names of functions, that lead nowhere"
