"""docs/context.md: every row of its tables is run, and says what happens."""

import pickle
import re
import subprocess
import sys
from contextvars import copy_context

import pytest
from servers import DEADLINE, ROOT

TEXT = (ROOT / "docs" / "context.md").read_text()
SECTIONS = dict(re.findall(r"(?ms)^## (.+?)\n(.*?)(?=^## |\Z)", TEXT))
FENCES = "\n".join(re.findall(r"(?ms)^```python\n(.*?)^```", TEXT))

BEGIN = f"""
import asyncio, contextlib, contextvars, os, queue, subprocess, sys, threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from multiprocessing import get_context
from opentelemetry import context, propagate, trace
from opentelemetry.sdk.trace import TracerProvider

fork, spawn, forkserver = map(get_context, ("fork", "spawn", "forkserver"))
trace.set_tracer_provider(TracerProvider())
tracer = trace.get_tracer("ways")
if sys.argv[1:]:
    from opentelemetry.instrumentation.threading import ThreadingInstrumentor
    ThreadingInstrumentor().instrument()

look = "from opentelemetry import trace; print(trace.get_current_span().get_span_context().span_id)"

def work(*_):
    print(trace.get_current_span().get_span_context().span_id, flush=True)

async def coroutine():
    work()

{FENCES}
"""
# They print which span is current in FIRST, here, and where LINE takes the work. FIRST is a span
# only for the last table's workers, which START in it.
PROGRAMS = {
    "Tasks": """
async def read():
    while job := await jobs.get():
        if awaited := job():
            await awaited

async def main():
    global jobs
    jobs, loop = asyncio.Queue(), asyncio.get_running_loop()
    with FIRST:
        work()
        reader = START
    with tracer.start_as_current_span("here"):
        work()
        LINE
    await jobs.put(None)
    await reader
asyncio.run(main())
""",
    "Threads and pools": """
def read():
    while job := jobs.get():
        job()

jobs, pool = queue.SimpleQueue(), ThreadPoolExecutor(1)
pool.submit(str).result()  # starts its thread
with FIRST:
    work()
    START
gate = threading.Event()
with tracer.start_as_current_span("here"):
    work()
    future = pool.submit(gate.wait)
    LINE
gate.set()
jobs.put(None)
""",
    "Processes": """
if __name__ == "__main__":
    with FIRST:
        work()
        pool = START
        pool.submit(str).result()  # starts its process
    with tracer.start_as_current_span("here"):
        work()
        LINE
""",
}
PROGRAMS["Generators"] = PROGRAMS["Processes"]
STARTS = dict.fromkeys(PROGRAMS, "ThreadPoolExecutor()")
STARTS["Tasks"] = "asyncio.create_task(read())"
STARTS["Threads and pools"] = "threading.Thread(target=read).start()"
JOBS = {  # for one of those workers
    "create_task": ("Tasks", "jobs.put_nowait(work)"),
    "Thread(": ("Threads and pools", "jobs.put(work)"),
    "ProcessPool": ("Processes", "pool.submit(work).result()"),
}
ROWS = [
    (title, *map(str.strip, row.split("|")))
    for title, section in SECTIONS.items()
    for row in re.findall(r"(?m)^\|(.*`.*)\|$", section)
]


def still_current(folder, title, line, *arguments):
    """Return the table's word for what is current on the other side of a line."""
    first, start = "contextlib.nullcontext()", STARTS.get(title)
    if not start:
        first, start = 'tracer.start_as_current_span("first")', line
        title, line = next(JOBS[name] for name in JOBS if name in line)
    code = PROGRAMS[title].replace("FIRST", first).replace("LINE", line).replace("START", start)
    (folder / "program.py").write_text(BEGIN + code)
    command = [sys.executable, "-W", "ignore", folder / "program.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    first, here, *there = done.stdout.split()
    assert len(set(there)) == 1 and not done.stderr, (there, done.stderr)
    words = {first: "no: the first request's", here: "yes", "0": "no"}
    return words.get(there[0], "no: the generator's own")


@pytest.mark.parametrize("row", ROWS, ids=[row[1] for row in ROWS])
def test_a_row_says_what_happens(tmp_path, row):
    title, way, alone, with_package, mend = row
    [line] = re.findall("`(.+?)`", way)
    assert still_current(tmp_path, title, line) == alone
    if mended := re.match("`(.+)`$", mend):
        assert still_current(tmp_path, title, mended[1]) == ("yes" if title in STARTS else "no")
    pytest.importorskip("opentelemetry.instrumentation.threading")
    assert still_current(tmp_path, title, line, "with the package") == with_package


def test_a_copy_is_entered_once_at_a_time_and_cannot_be_pickled():
    copy = copy_context()
    with pytest.raises(RuntimeError, match="cannot enter context"):
        copy.run(copy.run, str)
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(copy.run)


CHILDREN = """
from multiprocessing import get_context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

def work(name):
    provider = TracerProvider()
    exporter = ConsoleSpanExporter(formatter=lambda span: f"{span.name}\\n")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    provider.get_tracer("children").start_span(name).end()
    if name.endswith("shutdown"):
        provider.shutdown()

if __name__ == "__main__":
    for start in ("fork", "forkserver", "spawn"):
        for end in ("exit", "shutdown"):
            get_context(start).Process(target=work, args=(f"{start} {end}",)).start()
"""


def test_a_child_exports_its_last_spans_at_shutdown_or_exit(tmp_path):
    (tmp_path / "program.py").write_text(CHILDREN)
    command = [sys.executable, tmp_path / "program.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    exported = {"fork shutdown", "forkserver shutdown", "spawn exit", "spawn shutdown"}
    later = {"fork exit", "forkserver exit"} if sys.version_info >= (3, 13) else set()
    assert (set(done.stdout.splitlines()), done.stderr) == (exported | later, "")
