"""
The Python interpreters of this host: which there are, and which one a project gets.

There is always the server's own. Others are what uv finds (`uv python list`: on the path, and what
uv itself has installed) and what pyenv keeps. Each is started once to see that it works, and to
learn where it really lies: what the path names is often only a link, or a script.

What decides, in this order:

    the environment or the set of packages that the owner chose: `Python 3.9`, `python39`
    `requires-python` of the project's `pyproject.toml`
    the server's own

The first is a wish: the old service's versions are gone from most hosts, so a project gets the
server's own Python instead, and is told. The second is a demand, and fails the build if nothing
meets it.

Source: runtime design, "Environments".
"""

import json
import os
import re
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import msgspec
import uv
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from algorium_server.build.confined import BuildFailed
from algorium_server.domain.limits import INTERPRETER_TRIAL_S, INTERPRETERS_MAX

OLDEST: Final = (3, 8)
"""What the runtime needs."""
_BASE_SYSTEM: Final = "/usr"
_WISH: Final = re.compile(r"\bpython[-_ ]?3(?:\.?(?P<minor>\d{1,2}))?(?!\d)", re.IGNORECASE)
_TELL: Final = """\
import json, sys, sysconfig
print(json.dumps({
    "version": "%d.%d.%d" % sys.version_info[:3],
    "implementation": sys.implementation.name,
    "level": sys.version_info[3],
    "prefix": sys.base_prefix,
    "executable": getattr(sys, "_base_executable", None) or sys.executable,
    "build": sys.version + " " + sysconfig.get_platform(),
}))
"""
_PATTERNS: Final = ("versions/*/bin/python3",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """
    A Python that environments are made for.

    Attributes:
        executable: Not one inside of a virtual environment.
        identity: Differs whenever environments made for one may not work with the other.
        version: Such as `3.11.7`.
        prefix: Directory that holds all of it.
    """

    executable: Path
    identity: str
    version: str = ".".join(map(str, sys.version_info[:3]))
    prefix: Path = Path(sys.base_prefix)

    @classmethod
    def of_this_process(cls) -> Self:
        """Return the base interpreter of the running process."""
        executable = getattr(sys, "_base_executable", None) or sys.executable
        return cls(
            executable=Path(executable),
            identity=f"{sys.version} {sysconfig.get_platform()} {executable}",
        )

    @property
    def minor(self) -> tuple[int, int]:
        """The version as far as packages depend on it."""
        return _minor(self.version)

    @property
    def mounts(self) -> tuple[Path, ...]:
        """What a sandbox must see of it beside the base system."""
        prefix = self.prefix.as_posix()
        if prefix == _BASE_SYSTEM or prefix.startswith(f"{_BASE_SYSTEM}/"):
            return ()
        return (self.prefix,)


class Interpreters:
    """
    The interpreters that builds can have.

    Args:
        own: The one that projects get if nothing else is said; the server's own if not given.
        others: Found elsewhere; None looks for them when they are first asked for.
    """

    def __init__(
        self, own: Interpreter | None = None, others: Sequence[Interpreter] | None = None
    ) -> None:
        self.own = own or Interpreter.of_this_process()
        self._others = others

    def all(self) -> tuple[Interpreter, ...]:
        """Return one for each version, newest first. Blocks for a second when first asked."""
        others = known_interpreters() if self._others is None else self._others
        return _one_each((self.own, *others))

    def choose(self, *, wish: str = "", demand: str = "") -> tuple[Interpreter, str]:
        """
        Return the interpreter for a project, and a warning, empty if there is nothing to say.

        Args:
            wish: Name of an environment or of a set of packages; whatever names no version of
                Python is no wish.
            demand: `requires-python` of the project.

        Raises:
            BuildFailed: There is none of the kind; the text names those that there are.
        """
        minor = wished_minor(wish)
        if minor is None and not demand:
            return self.own, ""
        demanded = _specifiers(demand)
        fitting = [each for each in self.all() if demanded.contains(each.version)]
        if not fitting:
            raise BuildFailed(
                f"the project requires Python {demand}, and this server has {self._names()}"
            )
        for each in fitting:
            if each.minor == minor:
                return each, ""
        chosen = self.own if self.own in fitting else fitting[0]
        if minor is None:
            return chosen, ""
        wanted = f"Python {minor[0]}.{minor[1]}"
        if minor > max(each.minor for each in self.all()):
            raise BuildFailed(f"there is no {wanted} on this server, only {self._names()}")
        return chosen, (
            f"{wanted} was asked for; this server has {self._names()}, and {chosen.version} is used"
        )

    def _names(self) -> str:
        return ", ".join(each.version for each in self.all())


def wished_minor(wish: str) -> tuple[int, int] | None:
    """Return the version that a name such as `python39` or `Python 3.9` has in it, if any."""
    match = _WISH.search(wish)
    return (3, int(match["minor"])) if match and match["minor"] else None


_finding = threading.Lock()
_found: list[tuple[Interpreter, ...]] = []


def known_interpreters() -> tuple[Interpreter, ...]:
    """
    Return the interpreters of this host that work, newest first, one for each minor version.

    The server's own is always among them. Blocks for a second the first time; then remembered:
    what is installed later counts from the next start of the server on.
    """
    with _finding:
        if not _found:
            own = Interpreter.of_this_process()
            _found.append(_one_each((own, *find_interpreters(_candidates()))))
        return _found[0]


def find_interpreters(executables: Iterable[str]) -> Iterator[Interpreter]:
    """Try executables out, several at a time; yield those that can run algorithms."""
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for found in pool.map(_try, list(dict.fromkeys(executables))[:INTERPRETERS_MAX]):
            if found is not None and found.minor >= OLDEST:
                yield found


def _one_each(found: Iterable[Interpreter]) -> tuple[Interpreter, ...]:
    """Keep the first of each minor version."""
    by_minor: dict[tuple[int, int], Interpreter] = {}
    for each in found:
        by_minor.setdefault(each.minor, each)
    return tuple(by_minor[minor] for minor in sorted(by_minor, reverse=True))


def _candidates() -> Iterator[str]:
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    # The shims of pyenv on the path run one version only, slowly: the real ones come first.
    for pattern in _PATTERNS:
        yield from sorted(map(str, root.glob(pattern)), reverse=True)
    arguments = ("python", "list", "--only-installed", "--output-format", "json")
    path = os.pathsep.join(
        part for part in os.environ.get("PATH", "").split(os.pathsep) if "/shims" not in part
    )
    with suppress(OSError, subprocess.SubprocessError, ValueError):
        listed = subprocess.run(
            [uv.find_uv_bin(), *arguments, "--no-config", "--offline"],
            capture_output=True,
            check=True,
            timeout=INTERPRETER_TRIAL_S,
            env={**os.environ, "PATH": path},
        )
        yield from (each["path"] for each in json.loads(listed.stdout) if each["path"])


class _Told(msgspec.Struct):
    version: str
    implementation: str
    level: str
    prefix: str
    executable: str
    build: str


def _try(executable: str) -> Interpreter | None:
    """Start an interpreter and ask it who it is; None if it does not work, or is no release."""
    try:
        ran = subprocess.run(
            [executable, "-I", "-S", "-c", _TELL],
            capture_output=True,
            check=True,
            timeout=INTERPRETER_TRIAL_S,
            stdin=subprocess.DEVNULL,
        )
        told = msgspec.json.decode(ran.stdout, type=_Told)
        real = Path(told.executable).resolve(strict=True)
        prefix = Path(told.prefix).resolve(strict=True)
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError):
        return None
    if told.implementation != "cpython" or told.level != "final":
        return None
    return Interpreter(
        executable=real,
        identity=f"{told.build} {real}",
        version=told.version,
        prefix=prefix,
    )


def _specifiers(demand: str) -> SpecifierSet:
    try:
        return SpecifierSet(demand)
    except InvalidSpecifier:
        raise BuildFailed(f"requires-python is not a version specifier: {demand!r}") from None


def _minor(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)
