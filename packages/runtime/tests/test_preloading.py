"""Modules are imported ahead, and those that spoil the process are found."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from algorium_runtime import guard, preloading

RUN = """
import json, sys
sys.path.insert(0, sys.argv[1])
from algorium_runtime import preloading
result = preloading.import_ahead(json.loads(sys.argv[2]), is_stepwise=sys.argv[3] == "stepwise")
print(json.dumps(result._asdict()))
"""
SOURCE = str(Path(preloading.__file__).parents[1])
MODULES = {
    "plain": "",
    "base": "",
    "user": "import base",
    "threads": "import threading, time\n"
    "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    "wrapper": "import threads",
    "opener": "file = open('/etc/hostname')",
    "joins": "import threading\nt = threading.Thread(target=len, args=('',))\nt.start(); t.join()",
    "broken": "raise SystemExit(3)",
    "grpc": "",
    "cloud": "import grpc",
    "handler": "import signal; signal.signal(signal.SIGUSR1, print)",
    "noisy": "print('hello')",
}


@pytest.fixture
def place(tmp_path):
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("import threads")
    (package / "part.py").write_text("")
    return tmp_path


def run(python: str, place: Path, names: list[str], how: str = "stepwise") -> dict:
    output = subprocess.check_output(
        [python, "-c", RUN, str(place), json.dumps(names), how],
        env={**os.environ, "PYTHONPATH": SOURCE, "PYTHONDONTWRITEBYTECODE": "1"},
        text=True,
    )
    found: dict = json.loads(output.splitlines()[-1])
    return found


def test_what_came_with_another_module_is_not_named_again(python, place):
    found = run(python, place, ["plain", "user", "base"])

    assert found == {"names": ["plain", "user"], "left_out": [], "fault": None}


def test_the_module_after_which_a_thread_runs_is_named(python, place):
    found = run(python, place, ["plain", "threads", "user"])

    assert found["fault"] == ["threads", guard.THREADS]
    assert "user" not in found["names"]


def test_threads_that_have_ended_are_no_matter(python, place):
    assert run(python, place, ["joins", "plain"])["fault"] is None


def test_what_imports_it_is_to_blame_as_well(python, place):
    assert run(python, place, ["plain", "wrapper"])["fault"] == ["wrapper", guard.THREADS]
    assert run(python, place, ["package", "package.part"])["fault"] == ["package", guard.THREADS]


def test_without_steps_only_the_end_counts(python, place):
    found = run(python, place, ["threads", "user"], "at once")

    assert found["fault"] == ["user", guard.THREADS]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("opener", "keeps a file open (/etc/hostname)"),
        ("handler", guard.SIGNALS),
        ("cloud", "imports grpc, which does not survive a fork"),
    ],
)
def test_other_faults_are_named_too(python, place, name, what):
    assert run(python, place, ["plain", name])["fault"] == [name, what]


def test_what_cannot_be_imported_or_must_not_be_is_left_out(python, place):
    found = run(python, place, ["broken", "grpc", "plain", "absent"])

    assert found["names"] == ["plain"]
    assert found["fault"] is None
    assert found["left_out"] == [
        ["broken", "cannot be imported alone: SystemExit"],
        ["grpc", guard.UNSAFE],
        ["absent", "cannot be imported alone: ModuleNotFoundError"],
    ]


def test_the_old_client_comes_before_its_kit(python, place):
    for name in ("Algorithmia", "adk", "aaa"):
        (place / f"{name}.py").write_text("")

    assert run(python, place, ["adk", "aaa", "Algorithmia"])["names"][0] == "Algorithmia"


def test_only_modules_of_the_environment_are_listed(tmp_path):
    program = (
        "import sys; before = set(sys.modules); sys.path.append(sys.argv[1]);"
        "import colorsys, mine, package, package.inner;"
        "from algorium_runtime import preloading; print(preloading.loaded_since(before))"
    )
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True
    )
    site = next((tmp_path / "env").glob("lib/python*/site-packages"))
    (site / "package").mkdir()
    (site / "package" / "__init__.py").write_text("")
    (site / "package" / "inner.py").write_text("")
    (site / "early.py").write_text("")
    (site / "early.pth").write_text("import early")
    (tmp_path / "mine.py").write_text("")
    output = subprocess.check_output(
        [str(tmp_path / "env/bin/python"), "-c", program, str(tmp_path)],
        env={"PYTHONPATH": SOURCE, "PYTHONDONTWRITEBYTECODE": "1"},
        text=True,
    )

    assert output == "['package', 'package.inner']\n"


def test_an_examination_answers_in_a_file_and_says_nothing(place):
    directory = place / "out"
    directory.mkdir()
    (directory / preloading.WANTED_FILE).write_text(json.dumps(["noisy", "plain"]))
    runtime = Path(preloading.__file__).parent
    done = subprocess.run(
        [sys.executable, "-u", str(runtime), "--examine", str(directory)],
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    examined = json.loads((directory / preloading.EXAMINED_FILE).read_text())
    assert examined["names"] == ["noisy", "plain"]
    assert examined["fault"] is None
    assert examined["memory_bytes"] > 1 << 20
