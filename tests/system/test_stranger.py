"""
A stranger follows the tutorial: packages built and installed, then line by line in terminals.

What stands behind `$` in the page's console blocks is typed, and what stands below must appear;
`...` stands for anything. Programs written in the page go into the files that it names.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pytest
from waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/guides/tutorial.md"
UV = Path(sys.executable).with_name("uv")
PROMPT = "stranger> "
WAIT_S = 120

pytestmark = [pytest.mark.slow, pytest.mark.network]


@dataclass(frozen=True)
class Step:
    """A command, and the lines that must follow it."""

    command: str
    expected: str


def steps() -> list[Step]:
    found = []
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for block in blocks:
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            found.append(Step(command, expected))
    return found


def program(name: str) -> str:
    """Return the program that the page has for a file."""
    text = PAGE.read_text(encoding="utf-8")
    match = re.search(rf"into `{re.escape(name)}`:\n\n```python\n(.*?)```", text, re.DOTALL)
    assert match, name
    return match[1]


def pattern(expected: str) -> re.Pattern[str]:
    lines = [re.escape(line).replace(r"\.\.\.", ".*") for line in expected.splitlines()]
    return re.compile(r"\s*\r?\n".join(lines), re.DOTALL)


def environment(home: Path, programs: Path) -> dict[str, str]:
    """A stranger's variables: what reaches package indexes here, and nothing that knows us."""
    ours = ("ALGORI", "PYTHON", "PYTEST", "VIRTUAL_ENV", "XDG_")
    found = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    cache = subprocess.run([UV, "cache", "dir"], capture_output=True, text=True, check=True)
    return found | {
        "HOME": str(home),
        "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
        "PS1": PROMPT,
        "ENV": "",
        "TERM": "xterm",
        "NO_COLOR": "1",
        "LANG": "C.UTF-8",
        "UV_CACHE_DIR": cache.stdout.strip(),
    }


class Terminal:
    """A shell in a terminal of a stranger's machine."""

    def __init__(self, home: Path, programs: Path) -> None:
        self.shell = pexpect.spawn(
            "/bin/sh",
            ["-i"],
            cwd=str(home),
            env=environment(home, programs),
            encoding="utf-8",
            codec_errors="replace",
            timeout=WAIT_S,
            echo=False,
            dimensions=(60, 200),
        )
        self.shell.expect_exact(PROMPT)

    def type(self, command: str) -> str:
        """Type a command, and return all that it says until its end."""
        self.shell.sendline(command)
        self.shell.expect_exact(PROMPT)
        return str(self.shell.before)

    def begin(self, command: str, until: str) -> str:
        """Type a command that does not end by itself."""
        self.shell.sendline(command)
        self.shell.expect_exact(until)
        return str(self.shell.before) + until + str(self.shell.readline())

    def interrupt(self) -> None:
        self.shell.sendintr()
        self.shell.expect_exact(PROMPT)

    def close(self) -> None:
        self.shell.close(force=True)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels of the three packages, in an environment with nothing else."""
    directory = tmp_path_factory.mktemp("install")
    wheels, environment = directory / "dist", directory / "environment"
    for command in (
        [UV, "build", "--wheel", "--all-packages", "--out-dir", wheels, "--quiet"],
        [UV, "venv", "--quiet", "--python", sys.executable, environment],
    ):
        subprocess.run(command, cwd=ROOT, check=True, timeout=WAIT_S)
    built = sorted(wheels.glob("*.whl"))
    assert [each.name.partition("-")[0] for each in built] == [
        "algorium",
        "algorium_runtime",
        "algorium_server",
    ]
    named = [f"{each}[cli]" if each.name.startswith("algorium-") else str(each) for each in built]
    python = environment / "bin/python"
    install = [UV, "pip", "install", "--quiet", "--python", python, *named]
    subprocess.run(install, cwd=directory, check=True, timeout=WAIT_S)
    return environment / "bin"


@pytest.fixture
def terminals(tmp_path: Path, programs: Path) -> Iterator[list[Terminal]]:
    home = tmp_path / "home"
    home.mkdir()
    opened = [Terminal(home, programs) for _ in range(3)]
    yield opened
    for each in opened:
        each.close()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_stranger_succeeds_with_what_the_tutorial_says(
    tmp_path: Path, terminals: list[Terminal]
) -> None:
    home = tmp_path / "home"
    project = home / "Greeter"
    source, test = project / "src/Greeter.py", project / "src/Greeter_test.py"
    for_server, desk, for_dev = terminals
    api = dev = ""
    key = ""

    def here(text: str) -> str:
        return text.replace("http://127.0.0.1:8080", api).replace("http://127.0.0.1:8765", dev)

    for step in steps():
        expected = step.expected
        match step.command:
            case "algorium serve":
                told = for_server.begin("algorium serve --port 0", "ready http://127.0.0.1:")
                api = re.search(r"ready (\S+)", told)[1]  # type: ignore[index]
                credentials = (home / ".algorium/credentials.json").read_text()
                key = re.search(r'"api_key": *"([^"]+)"', credentials)[1]  # type: ignore[index]
            case "algo auth":
                desk.shell.sendline("algo auth")
                desk.shell.expect_exact("API address [http://127.0.0.1:8080]: ")
                desk.shell.sendline(api)
                desk.shell.expect_exact("API key: ")
                desk.shell.sendline(key)
                desk.shell.expect_exact(PROMPT)
                told, expected = str(desk.shell.before), expected.splitlines()[-1]
                assert key not in told
                assert (home / ".algorithmia/config").stat().st_mode & 0o777 == 0o600
            case "algo dev":
                source.write_text(program("src/Greeter.py"))
                test.write_text(program("src/Greeter_test.py"))
                for_dev.type("cd Greeter")
                told = for_dev.begin("algo dev --port 0", "ready http://127.0.0.1:")
                dev = re.search(r"ready (http://[^/]+)/", told)[1]  # type: ignore[index]
            case command:
                told = desk.type(here(command))
        assert pattern(here(expected)).search(told), f"{step.command}\n{told}\n---\n{expected}"
        if step.command.startswith("algo run admin/Greeter -d") and "Hello" in expected:
            for_dev.shell.expect_exact("| greeting Jane")
            source.write_text(source.read_text().replace("Hello", "Good morning"))
            for_dev.shell.expect_exact("loaded again")
        if "failed in" in expected:
            for_dev.interrupt()
            test.write_text(test.read_text().replace("Hello", "Good morning"))

    assert "greeting Jane" in desk.type(
        "algo run admin/Greeter/0.1.0 -d Jane --debug; algo cat data://.my/people/1.txt"
    )
    for_server.interrupt()
    wait_until(lambda: not (home / ".algorium/endpoint.json").exists(), timeout_s=30)
