import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from algorium_runtime import frames

RUNTIME = str(Path(frames.__file__).parent)
Start = Callable[..., Any]


def test_modules_of_the_project_are_found_both_ways(start: Start, python: str) -> None:
    worker = start(
        """
        from .near import A
        from src.near import B
        from far import C
        def apply(input): return [A, B, C, open("data.txt").read()]
        """,
        python=python,
        files={"src/near.py": "A = 1\nB = 2", "far.py": "C = 3", "data.txt": "relative"},
    ).ready()

    assert worker.call(None) == [1, 2, 3, "relative"]


def test_the_project_shadows_nothing_and_the_runtime_leaves_no_trace(
    start: Start, python: str
) -> None:
    worker = start(
        f"""
        import os, sys, json, types, inspect, traceback, socket, values
        def apply(input):
            return {{
                "ours": [p for p in sys.path if p.endswith("algorium_runtime") or p == ""],
                "first": sys.path[0] == {os.path.dirname(RUNTIME)!r},
                "last": sys.path[-1] == os.getcwd(),
                "argv": len(sys.argv),
                "values": values.NAME,
            }}
        """,
        python=python,
        files={
            **{
                f"{name}.py": "raise SystemExit('shadowed')"
                for name in ("json", "types", "inspect", "traceback", "socket", "os", "frames")
            },
            "values.py": "NAME = 'the project'",
        },
    ).ready()

    assert worker.call(None) == {
        "ours": [],
        "first": False,
        "last": True,
        "argv": 1,
        "values": "the project",
    }


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def load(): return 5\ndef apply(input): return input", 1),
        ("def load(): return 5\ndef apply(input, state): return state", 5),
        ("def load(): return 0\ndef apply(input, state): return state", 0),
        ("def load(): return None\ndef apply(input, state='none'): return state", "none"),
        ("def load(): return 5\ndef apply(input, *, state=2): return state", 2),
        ("def load(): return 5\ndef apply(input, a, b=3): return b", None),
        ("def load(path): raise OSError\ndef apply(input): return input", 1),
        ("from json import load\ndef apply(input): return input", 1),
        ("load = 7\ndef apply(input): return input", 1),
        ("class A:\n  def __call__(self, input): return 9\napply = A()", 9),
        ("apply = type", None),
        (
            "import functools\ndef logged(f):\n  @functools.wraps(f)\n"
            "  def g(*args): return f(*args)\n  return g\n"
            "def load(): return 5\n@logged\ndef apply(input, state): return state",
            5,
        ),
    ],
)
def test_load_and_apply_are_called_as_they_are_written(
    start: Start, python: str, source: str, expected: object
) -> None:
    worker = start(source, python=python).ready()

    if expected is None:
        assert worker.fail(1)["message"]
    else:
        assert worker.call(1) == expected


@pytest.mark.parametrize(
    ("source", "message", "in_trace"),
    [
        ("raise ValueError('no model')", "no model", 'Hello.py", line 1'),
        ("def load(): raise OSError('gone')\ndef apply(x): pass", "gone", "in load"),
        ("def apply(x) return 1", "", "Hello.py"),
        ("import no_such_module", "No module named 'no_such_module'", 'Hello.py", line 1'),
        ("x = 1", "src.Hello defines no function apply(input)", "apply(input)"),
        ("apply = 1", "src.Hello defines no function apply(input)", "apply(input)"),
        ("def f(): f()\nf()", "maximum recursion depth exceeded", "in f"),
    ],
)
def test_a_failure_to_load_is_reported(
    start: Start, python: str, source: str, message: str, in_trace: str
) -> None:
    failure = start(source, python=python).load_error()

    assert message in failure["message"]
    assert failure["error_type"] is None
    assert in_trace in failure["stacktrace"]
    assert "runner.py" not in failure["stacktrace"]
    assert "importlib" not in failure["stacktrace"]


def test_a_failure_to_load_keeps_its_type_and_its_output(start: Start) -> None:
    worker = start(
        """
        print("fetching the model")
        class Missing(Exception):
            error_type = "InitializationError"
        def load(): raise Missing("no model")
        def apply(input): return input
        """
    )

    assert worker.load_error()["error_type"] == "InitializationError"
    assert worker.stdout() == "fetching the model\n"


def test_a_missing_entry_is_reported(start: Start) -> None:
    worker = start("", arguments=["-u", RUNTIME, "src.Other"])

    assert worker.load_error()["message"] == "No module named 'src.Other'"


def test_leaving_the_process_while_loading_is_an_exit(start: Start, python: str) -> None:
    worker = start("import sys; sys.exit(7)", python=python)

    assert worker.read() is None
    assert worker.wait() == 7
