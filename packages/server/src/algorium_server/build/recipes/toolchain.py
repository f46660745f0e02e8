"""
The tools of the host that builds and slots use, and how to get the missing ones.

Slots see the base system only, so what runs in them must be there; what only builds need may lie
elsewhere and is mounted for them.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from algorium_server.build.confined import BuildFailed
from algorium_server.domain.environments import SYSTEM_PATH

_VISIBLE: Final = ("/usr/", "/bin/", "/lib")
"""Of the base system, what every sandbox sees."""
_LOOKUP_S: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """
    A program that building or running needs.

    Attributes:
        command: What it is called.
        package: What to install on Debian to have it.
        probe: A directory or file that shows that it is there, for what is no command: any of
            these.
        is_optional: Some projects do without it.
        is_for_builds: Slots do without it.
    """

    command: str
    package: str
    probe: tuple[str, ...] = ()
    is_optional: bool = False
    is_for_builds: bool = False


def find(tool: Tool) -> Path | None:
    """Return where a tool is, None if sandboxes would not find it."""
    if tool.probe:
        return next((Path(path) for path in tool.probe if os.path.exists(path)), None)
    found = shutil.which(tool.command, path=SYSTEM_PATH)
    if found and os.path.realpath(found).startswith(_VISIBLE):
        return Path(found)
    elsewhere = shutil.which(tool.command) if tool.is_for_builds else None
    return _behind_shims(Path(elsewhere)) if elsewhere else None


def missing(tools: Iterable[Tool]) -> list[Tool]:
    """Return those that are needed and not there."""
    return [tool for tool in tools if not tool.is_optional and find(tool) is None]


def require(tools: Iterable[Tool], command: str, *, why: str) -> str:
    """
    Return the path of an optional tool that this project needs.

    Raises:
        BuildFailed: It is not there; the text says how to get it.
    """
    tool = next(each for each in tools if each.command == command)
    path = find(tool)
    if path is None:
        raise BuildFailed(f"{why}, but {how_to_get([tool])}")
    return str(path)


def how_to_get(tools: Iterable[Tool]) -> str:
    """Say what is missing, and the command that brings it."""
    tools = tuple(tools)
    names = ", ".join(tool.command for tool in tools)
    packages = " ".join(dict.fromkeys(tool.package for tool in tools))
    verb = "is" if len(tools) == 1 else "are"
    return f"{names} {verb} not installed on this server: apt-get install {packages}"


@cache
def _behind_shims(path: Path) -> Path | None:
    """Return the real tool behind what rustup offers: that needs its home, which builds lack."""
    if path.resolve().name != "rustup":
        return path.resolve()
    try:
        said = subprocess.run(
            [path.resolve(), "which", path.name],
            capture_output=True,
            text=True,
            timeout=_LOOKUP_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return Path(said.stdout.strip())
