"""Runs the commands of a document as a reader would, and compares what they show with the document.

A section is what a reader does in one sitting: its commands run one after the other. Below each is
what it prints, what the shop's terminal shows after it, or the tree of the spans that came of it.
"""

import collections
import json
import re
import subprocess
import sys
import urllib.request

from servers import ROOT, until

sys.path.append(str(ROOT / "no-tracing"))

import walk

Fence = collections.namedtuple("Fence", "language text section line")
FENCE = re.compile(r"(?ms)^```(\w*)\n(.*?)^```$")

# A test installs nothing, runs no tests, and has no Docker.
NOT_RUN = re.compile(r"\bpip install\b|-m (venv|pytest)\b|^docker |^uv ")
# OTEL_SERVICE_NAME=kitchen .venv/bin/python broken-shop/microdonuts.py --port 8083
START = re.compile(r"((?:[A-Z_]+=\S+ )*)\S*python3? (|\S+/)microdonuts\.py(.*)")
PORT = re.compile(r"\b808\d\b")
ID = re.compile(r"\b(?:[0-9a-f]{32}|[0-9a-f]{16}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b")
LINE = re.compile(r"(?m)^(?P<label>(?:->|<-|  ) [A-Z]+ .+?) +[\d.]+ms +\S+ (?P<id>[0-9a-f]{16}) ")
TREE = re.compile(r"(\d+) traces?, (\d+) spans?\n")


def fences(path):
    """Return the fences of a document, each with the heading that it is below, and its line."""
    text = path.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        before = text[: match.start()]
        headings = re.findall(r"(?m)^#+ (.+)", FENCE.sub("", before))
        found.append(Fence(match[1], match[2], headings[-1], before.count("\n") + 1))
    return found


def apply_diff(folder, diff):
    """Change a file as walk.py does. Here each hunk names the function in which it is."""
    name, hunks = re.fullmatch(r"(?s)--- (\S+)\n\+\+\+ \1\n(.*)", diff).groups()
    for function in re.findall(r"(?m)^@@ .*?(\w+)\(\)$", hunks):
        assert f"def {function}(" in (folder / name).read_text(encoding="utf-8")
    walk.apply(folder, diff)


class Terminal:
    """Runs commands in a folder. A port that they name stands for a free one."""

    def __init__(self, run_shop, folder=ROOT):
        self.run_shop = run_shop
        self.folder = folder
        self.shops = {}  # the port in the document: the process
        self.compared = set()  # the ids of traces

    def start(self, line="python microdonuts.py"):
        """Start the shop of a command line, in place of the one on its port."""
        variables, place, arguments = START.fullmatch(line.strip()).groups()
        [port] = re.findall(r"--port (\d+)", arguments) or ["8082"]
        arguments = "--fry-seconds 0" + re.sub(r"--port \d+", "", arguments)
        variables = dict(re.findall(r"([A-Z_]+)=(\S+)", variables))
        if port in self.shops:
            self.shops.pop(port).stop()
        arguments = self.here(arguments).split()
        self.shops[port] = self.run_shop(*arguments, folder=self.folder / place, **variables)

    def here(self, text):
        """Return a text with the ports and the Python of this test in place of the document's."""
        for port in PORT.findall(text):
            if port not in self.shops:
                assert port == "8082", f"no command above starts a shop on {port}:\n{text}"
                self.start()
        text = re.sub(r"(\.\./)?\.venv/bin/python|\bpython3\b", sys.executable, text)
        return PORT.sub(lambda match: self.shops[match[0]].url.rpartition(":")[2], text)

    def run(self, commands):
        """Return what the commands print."""
        script = 'curl() { command curl -sS --max-time 20 "$@"; }\n'
        for line in commands.replace("\\\n", "").splitlines():
            if START.fullmatch(line.strip()):
                self.start(line)
            elif not NOT_RUN.search(line):
                script += f"{self.here(line)}\n"
        bash = ["bash", "-c", script]
        done = subprocess.run(bash, cwd=self.folder, capture_output=True, text=True)
        assert done.stderr == "", f"{commands}\nsays:\n{done.stderr}"
        return done.stdout.replace("\r", "")

    def compare(self, commands, shown):
        """Run commands, and assert that they show what the document shows."""
        printed = self.run(commands)
        if TREE.match(shown):
            traces, count = map(int, TREE.match(shown).groups())
            spans = until(lambda: self.new_spans(count), f"a tree like this:\n{shown}")
            trace_ids = {span["context"]["trace_id"] for span in spans.values()}
            assert sorted(path(span, spans) for span in spans.values()) == paths(shown)
            assert len(trace_ids) == traces
            self.compared |= trace_ids
        elif LINE.match(shown):
            lines = self.shops["8082"].out
            until(lambda: len(lines) >= shown.count("\n"), f"a terminal like this:\n{shown}")
            assert without_ids("".join(lines)) == without_ids(shown)
            lines.clear()
        else:
            known = self.here(commands)
            assert masked(printed.strip(), known) == masked(self.here(shown).strip(), known)

    def new_spans(self, count):
        """Return {id: span} of the spans that the shops have now, if `count` of them have ended."""
        spans = {}
        for shop in self.shops.values():
            for trace in read_json(f"{shop.url}/traces"):
                found = read_json(f"{shop.url}/traces/{trace['trace_id']}")["spans"]
                if trace["trace_id"] not in self.compared and all(x["end_time"] for x in found):
                    spans |= {span["context"]["span_id"]: span for span in found}
        return spans if len(spans) >= count else None


def read_json(url):
    with urllib.request.urlopen(url, timeout=20) as response:
        return json.load(response)


def numbered(text, known=()):
    """Return a text with a number for each id that is not known, so that it can be compared."""
    ids = dict.fromkeys(re.findall(r"\b(?:[0-9a-f]{16}){1,2}\b", text))
    for number, each in enumerate(each for each in ids if each not in known):
        text = text.replace(each, f"<{number}>")
    return re.sub("-0[13]$", "-<flags>", text, flags=re.MULTILINE)


def masked(text, known):
    """Return a text without the ids that are not known."""
    return ID.sub(lambda match: match[0] if match[0] in known else f"<{len(match[0])}>", text)


def without_ids(text):
    """Return the lines of a terminal without times, and with the names of spans for their ids."""
    owners = {match["id"]: match["label"] for match in LINE.finditer(text)}
    text = ID.sub(lambda match: owners.get(match[0], "?"), text)
    return sorted(re.sub(r"(?m) +[\d.]+ms|\b[0-9a-f]{6}$", " ", text).splitlines())


def path(span, spans):
    """Return the labels of a span and of all that are above it, the root's first."""
    label = f"{span['name']} {span['kind'].removeprefix('SpanKind.')}"
    # The trees show where the order id has arrived, because baggage can be lost, too.
    if "microdonuts.order.id" in span["attributes"]:
        label += " microdonuts.order.id"
    above = spans.get(span["parent_id"])
    return (*path(above, spans), label) if above else (label,)


def paths(tree):
    """Return the same for each line of a drawing."""
    found, above = [], {}
    for line in tree.splitlines()[1:]:
        depth = (len(line) - len(line.lstrip())) // 2
        above[depth] = line.strip()
        found.append(tuple(above[number] for number in range(depth + 1)))
    return sorted(found)
