"""A child process that goes on with its parent's trace: the environment carries the context.

Copy all but the last part. The child calls continue_trace() first. The names are those of the
specification "Environment Variables as Context Propagation Carriers"; a shell keeps such names.

    python recipes/child_process.py parent
"""

import os
import re
import subprocess
import sys

from opentelemetry import context, propagate, trace
from opentelemetry.propagators.textmap import DefaultGetter
from print_spans import print_spans  # for the last part alone


def variable(field):
    name = re.sub("[^A-Za-z0-9_]", "_", field).upper()
    return name if re.match("[A-Z_]", name) else f"_{name}"


class EnvironmentGetter(DefaultGetter):
    def get(self, carrier, key):
        return super().get(carrier, variable(key))


def continue_trace():
    """Make the parent's context current, for good. Other threads have to be handed a copy of it."""
    context.attach(propagate.extract(os.environ, context.get_current(), EnvironmentGetter()))


def environment_for_child():
    """Return the environment of this process, with the current context in it."""
    carrier = {}
    propagate.inject(carrier)
    # Those of this process have to go: inject writes no tracestate and no baggage if there is none.
    stale = {variable(field) for field in propagate.get_global_textmap().fields}
    environment = {name: value for name, value in os.environ.items() if name not in stale}
    return environment | {variable(field): value for field, value in carrier.items()}


if __name__ == "__main__":
    print_spans()
    continue_trace()
    with trace.get_tracer("child_process").start_as_current_span(sys.argv[1]):
        if sys.argv[1] == "parent":
            command = [sys.executable, __file__, "child"]
            subprocess.run(command, env=environment_for_child(), check=True)
