"""
The first call of a version that has no slot, against the bare import of the same packages.

The version needs numpy and scikit-learn, which takes a package registry. Aims: with a zygote below
60 ms, without one below 1.5 times the bare import.

    .venv/bin/python bench/cold.py --rounds 10
"""

import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rig import Server, call, in_turn, options_of, parsed, serving, show

from algorium_server.settings import Settings

IMPORTS = "import numpy, sklearn.linear_model"
SOURCE = f"""
import os
{IMPORTS}
def apply(input):
    if input == "leave":
        os._exit(0)
    return sklearn.__version__
"""
REQUIREMENTS = "numpy\nscikit-learn\n"
HAS_ZYGOTES = any(option.flag == "--zygotes" for option in Settings.table())


def main() -> int:
    """Run the benchmark."""
    options = parsed(options_of(__doc__, rounds=10))
    modes = {"zygote": ("--zygotes", "on"), "cold": ("--zygotes", "off")}
    if not HAS_ZYGOTES:
        modes = {"cold": ()}
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        scratch = Path(place)
        servers = {
            name: stack.enter_context(
                serving(
                    scratch, {"bench/Cold": SOURCE}, *more, name=name, requirements=REQUIREMENTS
                )
            )
            for name, more in modes.items()
        }
        python = _python(next(iter(servers.values())))
        contestants: dict[str, Any] = {"bare import": lambda: _timed_import(python)}
        for name, server in servers.items():
            contestants[name] = lambda server=server: _timed_first_call(server)
        for each in contestants.values():
            each()
        found = in_turn(contestants, rounds=options.rounds)
    bare = statistics.median(found["bare import"])
    results = [
        {
            "what": name,
            "ms": round(statistics.median(times) * 1000, 1),
            "worst_ms": round(max(times) * 1000, 1),
            "of_bare_import": round(statistics.median(times) / bare, 3),
        }
        for name, times in found.items()
    ]
    return show(results, options)


def _timed_import(python: Path) -> float:
    began = time.monotonic()
    subprocess.run([str(python), "-c", IMPORTS], check=True)
    return time.monotonic() - began


def _timed_first_call(server: Server) -> float:
    """Let the slot leave, then time the call that finds none."""
    call(server.target("bench/Cold", b'"leave"'))
    began = time.monotonic()
    call(server.target("bench/Cold", b'"stay"'))
    return time.monotonic() - began


def _python(server: Server) -> Path:
    """Return the interpreter of the environment that has the packages."""
    found = server.home.glob("envs/*/lib/python*/site-packages/sklearn")
    return next(found).parents[3] / "bin" / "python"


if __name__ == "__main__":
    sys.exit(main())
