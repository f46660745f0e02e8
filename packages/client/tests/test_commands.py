"""What holds for every command of `algo`: the tree of commands is walked."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from algorium._cli import program
from algorium.cli import app, main

RUN = "import sys; from algorium.cli import main; sys.exit(main())"
SHOW_NOTHING = {
    "cat",  # files as they are
    "clone",
    "completion",
    "help",
    "init",
    "mkdir",
    "recycle",
    "rm",
    "rmdir",
    "template",
}
"""Commands without data of their own: what they print is a path, a file or nothing."""
CHANGES = ("delete", "set-", "add-", "create-", "remove-")
OLD_RUN = [
    *("--data", "-d", "--text", "-t", "--json", "-j", "--binary", "-b", "--data-file", "-D"),
    *("--text-file", "-T", "--json-file", "-J", "--binary-file", "-B", "--timeout", "--debug"),
    *("--output", "-o", "--profile", "--json-data", "--text-data", "--binary-data"),
    *("--response-body", "--silence"),
]
"""Of `algo run` of the two old command lines."""


def commands(group: App = app, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name in group:
        if name.startswith("-"):
            continue
        found = group[name]
        if name in found.alias:
            continue
        below = list(commands(found, (*path, name)))
        yield from below
        if not below:
            yield (*path, name)


ALL = sorted(commands())
NAMES = [" ".join(path) for path in ALL]


def help_of(path: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> str:
    assert main([*path, "--help"]) == 0
    return capfd.readouterr().out


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("path", ALL, ids=NAMES)
def test_every_command_explains_itself_and_has_what_all_have(
    path: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    text = help_of(path, capfd)

    assert text.startswith(f"Usage: algo {' '.join(path)}")
    assert max(map(len, text.splitlines())) <= 80
    assert text.split("\n\n")[1][0].isupper(), "says what it does"
    assert "\x1b" not in text
    assert all(option in text for option in ("--profile", "--api-address", "--debug"))
    has_json = re.search(r"--json\b", text) is not None
    assert has_json or path[-1] in SHOW_NOTHING or path[-1].startswith(CHANGES)


@pytest.mark.parametrize("path", ALL, ids=NAMES)
def test_an_unknown_option_is_wrong_usage_and_tells_where_to_look(
    path: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*path, "--no-such-option"]) == 2
    error = capfd.readouterr().err
    assert error.startswith("error: ")
    assert re.search(r"hint: `algo.* --help` shows how to use it\.$", error.rstrip())
    assert "Traceback" not in error


def test_run_has_all_options_of_the_old_command_lines(capfd: pytest.CaptureFixture[str]) -> None:
    text = help_of(("run",), capfd)

    assert [option for option in OLD_RUN if not re.search(rf"(?<![\w-]){option}\b", text)] == []


def test_a_fault_of_ours_has_a_stack_trace_with_debug_only(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(program, "connection", break_down)  # as a fault in it would
    assert main(["open", "demo/Hello"]) == 1
    told = capfd.readouterr().err
    assert "algo itself has failed: RuntimeError: unforeseen" in told
    assert "Traceback" not in told
    assert main(["open", "demo/Hello", "--debug"]) == 1
    assert "Traceback" in capfd.readouterr().err


def test_completion_knows_the_commands(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "fish"]) == 0
    script = capfd.readouterr().out
    assert all(name in script for name in ("publish", "environments", "auth"))


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="there is no bash")
def test_bash_completes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    main(["completion", "bash"])
    script = tmp_path / "algo.bash"
    script.write_text(capfd.readouterr().out)
    line = (
        f"source {script}; COMP_WORDS=(algo pub); COMP_CWORD=1; COMP_LINE='algo pub'; COMP_POINT=8;"
        ' _algo; echo "${COMPREPLY[*]}"'
    )

    done = subprocess.run(
        ["/bin/bash", "-c", line], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == "publish"


def test_help_is_a_command_too(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["help"]) == 0
    assert "Commands" in capfd.readouterr().out
    assert main(["help", "cp"]) == 0
    assert capfd.readouterr().out.startswith("Usage: algo cp")
    assert main(["help", "nonsense"]) == 2


@pytest.mark.parametrize("forbids", [False, True], ids=["colour", "no-colour"])
def test_colours_are_for_terminals_that_want_them(forbids: bool, home: Path) -> None:
    reader, writer = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TERM": "xterm"}
    if forbids:
        environment["NO_COLOR"] = "1"
    with subprocess.Popen(
        [sys.executable, "-c", RUN, "ls", "ftp://x"], env=environment, stderr=writer
    ) as process:
        process.wait(60)
    os.close(writer)
    told = os.read(reader, 10_000).decode()
    os.close(reader)

    assert told.startswith("error:" if forbids else "\x1b[1;31merror:\x1b[0m")
