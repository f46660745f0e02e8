"""
The blocks of a page of the documentation, and a reader who types them.

Blocks of `sh` and `console` go to one shell for the whole page, blocks of `python` to one
interpreter beside it, in the order of the page: what one block sets, the next ones have. The
interpreter works where the shell is, with the variables that the shell has exported.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

TYPED = frozenset({"sh", "console", "python"})
SHOWN = frozenset(
    {"text", "json", "toml", "yaml", "html", "js", "java", "r", "ruby", "rust", "go", "csharp"}
    | {"scala", "php", "swift", "nginx", "ini", "http"}
)
"""Languages of blocks that are there to be looked at: answers, files, other programs."""

_FENCE = re.compile(r"^( *)```(\S*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)

_INTERPRETER = r"""
import os, sys, traceback
import algorium.compat
algorium.compat.install()  # authors' modules say `import Algorithmia`
place = sys.argv[1]
names = {"__name__": "__main__"}
while True:
    with open(place + "/to") as told:
        number = told.read().strip()
    with open(place + "/env", "rb") as lines:
        pairs = [line.decode().partition("=") for line in lines.read().split(b"\0") if line]
    os.environ.clear()
    os.environ.update({name: value for name, _, value in pairs})
    with open(place + "/cwd") as line:
        os.chdir(line.read().rstrip("\n"))
    path = f"{place}/{number}.py"
    try:
        with open(path) as source:
            exec(compile(source.read(), path, "exec"), names)
        status = 0
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    with open(place + "/from", "w") as answer:
        answer.write(f"{status}\n")
"""

_PROLOGUE = r"""
set -eu
_python() {
    env -0 > "$_PLACE/env"
    pwd > "$_PLACE/cwd"
    echo "$1" > "$_PLACE/to"
    read -r _status < "$_PLACE/from"
    [ "$_status" = 0 ]
}
"""


class Block(NamedTuple):
    """A fenced block: where it begins, what it says it is, and what is in it."""

    line: int
    language: str
    text: str


def blocks_of(text: str) -> list[Block]:
    """Return the fenced blocks of a page in Markdown, in order."""
    return [
        Block(
            line=text.count("\n", 0, found.start()) + 1,
            language=found[2],
            text=re.sub(rf"^{found[1]}", "", found[3], flags=re.MULTILINE),
        )
        for found in _FENCE.finditer(text)
    ]


def commands_of(console: str) -> str:
    r"""Return what is typed in a block that also shows answers: behind `$`, and behind `\`."""
    typed: list[str] = []
    goes_on = False
    for line in console.splitlines():
        if goes_on or line.startswith("$ "):
            typed.append(line if goes_on else line[2:])
            goes_on = line.endswith("\\")
    return "\n".join(typed) + "\n"


def type_all(
    blocks: list[Block], place: Path, *, environment: Mapping[str, str], timeout_s: float
) -> str:
    """
    Type the blocks of a page, and return all that was printed.

    Args:
        blocks: Those to type; others are left out.
        place: An empty directory: `work` in it is where the page begins.
        environment: Variables of shell and interpreter, and no others.
        timeout_s: For the whole page.

    Raises:
        AssertionError: A block failed; the text tells its line and what was printed.
    """
    work = place / "work"
    work.mkdir()
    os.mkfifo(place / "to")
    os.mkfifo(place / "from")
    script = [_PROLOGUE]
    for number, block in enumerate(blocks):
        if block.language not in TYPED:
            continue
        script.append(f"echo {block.line} > '{place}/at'")
        if block.language == "python":
            (place / f"{number}.py").write_text(block.text, encoding="utf-8")
            script.append(f"_python {number}")
        else:
            text = commands_of(block.text) if block.language == "console" else block.text
            (place / f"{number}.sh").write_text(text, encoding="utf-8")
            script.append(f". '{place}/{number}.sh' </dev/null")
    (place / "page.sh").write_text("\n".join(script) + "\n", encoding="utf-8")
    (place / "interpreter.py").write_text(_INTERPRETER, encoding="utf-8")

    printed = place / "printed"
    variables = {**environment, "_PLACE": str(place)}
    with printed.open("ab") as output:
        interpreter = subprocess.Popen(
            [sys.executable, str(place / "interpreter.py"), str(place)],
            env=variables,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            status = subprocess.run(
                ["sh", str(place / "page.sh")],
                env=variables,
                cwd=work,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                check=False,
            ).returncode
        finally:
            interpreter.kill()
            interpreter.wait()
    told = printed.read_text(encoding="utf-8", errors="replace")
    at = (place / "at").read_text().strip()
    assert status == 0, f"the block at line {at} ended with {status}:\n{told[-4000:]}"
    return told
