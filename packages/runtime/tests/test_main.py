import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from algorium_runtime import frames

RUNTIME = Path(frames.__file__).parent
Start = Callable[..., Any]
Run = Callable[..., "subprocess.CompletedProcess[str]"]

SHADOWS = {f"{name}.py": "raise SystemExit('shadowed')" for name in ("socket", "json", "values")}


@pytest.fixture
def check(tmp_path: Path) -> Run:
    """Run `--check src.Hello` on a project with this entry."""

    def run(source: str, *, python: str = sys.executable) -> "subprocess.CompletedProcess[str]":
        (tmp_path / "src").mkdir()
        (tmp_path / "src" / "Hello.py").write_text(source)
        return subprocess.run(
            [python, "-u", str(RUNTIME), "--check", "src.Hello"],
            cwd=tmp_path,
            check=False,
            capture_output=True,
            text=True,
            timeout=20,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )

    return run


def test_check_accepts_a_module_with_apply_and_loads_nothing(check: Run, python: str) -> None:
    done = check(
        "print('imported')\ndef load(): raise OSError\ndef apply(input): return input",
        python=python,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "imported\n", "")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def aply(input): return 1", "src.Hello defines no function apply(input)\n"),
        ("import sys; sys.exit(0)", "ended the process while it was imported: SystemExit(0)\n"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'\n"),
        ("def apply(input) return 1", "SyntaxError: "),
        ("import threading; threading.Thread(target=1 / 0).start()", "ZeroDivisionError"),
    ],
)
def test_check_says_why_a_module_cannot_be_called(
    check: Run, python: str, source: str, reason: str
) -> None:
    done = check(source, python=python)

    assert done.returncode == 1
    assert reason in done.stderr
    assert "algorium_runtime" not in done.stderr


@pytest.mark.slow
def test_check_ends_although_a_thread_lives_on(check: Run) -> None:
    done = check(
        "import threading\nthreading.Thread(target=threading.Event().wait).start()\n"
        "def apply(input): return 1"
    )

    assert done.returncode == 0


@pytest.mark.parametrize(
    "arguments", [[], ["a", "b"], ["--check"], ["--chekc", "src.Hello"], ["-h"]]
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(RUNTIME), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )

    assert done.returncode == 2
    assert done.stderr.startswith("usage: python -u PATH/algorium_runtime")


def test_serving_by_hand_names_the_way_out() -> None:
    done = subprocess.run(
        [sys.executable, str(RUNTIME), "src.Hello"],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )

    assert done.returncode == 1
    assert "descriptor 3 is no socket" in done.stderr
    assert "--check" in done.stderr


def test_it_also_starts_as_a_module(start: Start, python: str) -> None:
    worker = start(
        "import sys\ndef apply(input): return [sys.path.count(''), sys.path[-1]]",
        python=python,
        arguments=["-m", "algorium_runtime", "src.Hello"],
        env={"PYTHONPATH": str(RUNTIME.parent)},
    ).ready()

    count, last = worker.call(1)
    assert count == 0
    assert last.endswith("project")


@pytest.mark.parametrize("option", ["-I", "-S", "-E", "-B"])
def test_it_starts_under_stricter_interpreter_options(start: Start, option: str) -> None:
    worker = start(
        "def apply(input): return input",
        arguments=[option, "-u", str(RUNTIME), "src.Hello"],
        files=SHADOWS,
    ).ready()

    assert worker.call(1) == 1


def test_every_module_compiles_on_the_oldest_python(python: str) -> None:
    sources = [str(path) for path in RUNTIME.glob("*.py")]
    program = "import sys\nfor p in sys.argv[1:]: compile(open(p).read(), p, 'exec')"

    subprocess.run([python, "-c", program, *sources], check=True, timeout=20)
