"""
The Python that runs a project on its author's machine, with the project's requirements in it.

    --python PATH           that interpreter, or that environment's; nothing is installed into it
    .venv or venv           the project's own environment; nothing is installed into it either
    otherwise               `.algo/venv`, made and filled here: by uv if there is one, else by the
                            modules venv and pip; made anew when the requirements change
    --no-install            what `.algo/venv` has, or else the Python that runs `algo`

`.algo` ignores itself, so git never sees it. A half-made environment has no stamp and is made anew.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from algorium._local.locks import locked
from algorium._local.source import (
    PYPROJECT,
    REQUIREMENTS,
    UV_LOCK,
    Dependencies,
    NotHere,
    read_dependencies,
)

CACHE: Final = ".algo"
_OWN: Final = (".venv", "venv")
_STAMP: Final = "algo-stamp"
_VERSION: Final = re.compile(r"\d+(?:\.\d+){0,2}")
_NEEDS_PYTEST: Final = "pytest>=8,<10"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """
    What runs a project.

    Attributes:
        python: The interpreter.
        directory: Of the environment it belongs to, None if it is somebody else's interpreter.
    """

    python: Path
    directory: Path | None = None


class Installation:
    """
    Finds or makes the environment of one project.

    Args:
        root: Of the project.
        python: An interpreter, an environment, or a version of Python such as 3.12; or empty.
        installs: Whether anything may be installed.
        say: Takes lines about what is going on.
    """

    def __init__(self, root: Path, *, python: str, installs: bool, say: Say) -> None:
        self._root = root
        self._installs = installs
        self._say = say
        self._version = python if _VERSION.fullmatch(python) else ""
        self._named = "" if self._version else python
        self._uv = _find_uv()

    def provide(self) -> Environment:
        """
        Return the environment; install what is missing in it, if it is ours.

        Raises:
            NotHere: It cannot be had; the text says what the tool said.
        """
        if self._named:
            return _named(self._named)
        if not self._version:
            for name in _OWN:
                if (python := _python_in(self._root / name)) is not None:
                    return Environment(python=python, directory=self._root / name)
        directory = self._root / CACHE / "venv"
        if not self._installs:
            python = _python_in(directory)
            if python is None:
                return Environment(python=Path(sys.executable))
            return Environment(python=python, directory=directory)
        needed = read_dependencies(self._root)
        with locked(_lock_of(directory)):
            return self._filled(directory, needed)

    def provide_test_tools(self, environment: Environment) -> Path | None:
        """
        Return a directory to put behind the packages of *environment* for pytest.

        None if it has pytest itself, which the build prefers as well.

        Raises:
            NotHere: pytest cannot be had.
        """
        probe = [str(environment.python), "-c", "import pytest"]
        if _quiet(probe, cwd=self._root).returncode == 0:
            return None
        if not self._installs:
            raise NotHere(
                f"{environment.python} has no pytest", hint="Install it, or leave out --no-install."
            )
        directory = self._root / CACHE / "pytest"
        stamp = f"{_NEEDS_PYTEST} {environment.python} {_identity(environment.python)}"
        with locked(_lock_of(directory)):
            if not self._is_current(directory, stamp):
                shutil.rmtree(directory, ignore_errors=True)
                self._say("installing pytest")
                self._install(environment, "--target", str(directory), _NEEDS_PYTEST)
                _write_stamp(directory, stamp)
        return directory

    def _filled(self, directory: Path, needed: Dependencies) -> Environment:
        wish = self._wish(needed)
        stamp = f"{needed.digest} {wish}"
        python = _python_in(directory)
        if python is not None and self._is_current(directory, stamp):
            return Environment(python=python, directory=directory)
        if self._version and not self._uv:
            raise NotHere(
                f"Python {self._version} is uv's to find, and there is no uv",
                hint="Install uv, or name an interpreter by its path.",
            )
        self._say(
            f"installing what {needed.file} names into {CACHE}/venv"
            if needed.file
            else f"making {CACHE}/venv"
        )
        shutil.rmtree(directory, ignore_errors=True)
        self._create(directory, wish)
        python = _python_in(directory)
        if python is None:
            raise NotHere(f"{directory} has no Python in it", hint="Try again with --python PATH.")
        environment = Environment(python=python, directory=directory)
        self._fill(environment, needed)
        _write_stamp(directory, stamp)
        return environment

    def _create(self, directory: Path, wish: str) -> None:
        if self._uv:
            self._run([self._uv, "venv", "--quiet", "--python", wish, str(directory)])
            return
        self._run([sys.executable, "-m", "venv", str(directory)])

    def _fill(self, environment: Environment, needed: Dependencies) -> None:
        if needed.file == REQUIREMENTS:
            self._install(environment, "-r", str(self._root / REQUIREMENTS))
        elif needed.file == PYPROJECT:
            self._install(environment, *needed.requirements)
        elif needed.file == UV_LOCK:
            if not self._uv:
                raise NotHere(
                    f"{UV_LOCK} is for uv, and there is none",
                    hint="Install uv, or make an environment and name its Python with --python.",
                )
            exported = self._root / CACHE / "locked.txt"
            options = ["--frozen", "--no-emit-project", "--no-dev", "--quiet", "-o", str(exported)]
            self._run([self._uv, "export", *options])
            self._install(environment, "-r", str(exported))

    def _install(self, environment: Environment, *what: str) -> None:
        if self._uv:
            start = [self._uv, "pip", "install", "--quiet", "--python", str(environment.python)]
        else:
            start = [str(environment.python), "-m", "pip", "install", "--quiet"]
            start += ["--disable-pip-version-check"]
        self._run([*start, *what])

    def _wish(self, needed: Dependencies) -> str:
        return self._version or needed.demand or sys.executable

    def _run(self, command: Sequence[str]) -> None:
        done = _quiet(command, cwd=self._root)
        if done.returncode != 0:
            told = (done.stderr or done.stdout).strip().removeprefix("error: ")
            raise NotHere(
                told or f"{Path(command[0]).name} has failed",
                hint="Mend that; or name a Python with --python, or say --no-install.",
            )

    @staticmethod
    def _is_current(directory: Path, stamp: str) -> bool:
        try:
            return (directory / _STAMP).read_text("utf-8") == _hashed(stamp)
        except OSError:
            return False


def _lock_of(directory: Path) -> Path:
    """Make the cache that *directory* is in, and return what to lock for it."""
    cache = directory.parent
    cache.mkdir(exist_ok=True)
    ignored = cache / ".gitignore"
    if not ignored.exists():
        ignored.write_text("*\n", "utf-8")
    return cache / f"{directory.name}.lock"


def _named(text: str) -> Environment:
    path = Path(text)
    if path.is_dir():
        python = _python_in(path)
        if python is None:
            raise NotHere(f"{path} is no environment of Python", hint="Name its interpreter.")
        return Environment(python=python.absolute(), directory=path.absolute())
    found = shutil.which(text)
    if found is None:
        raise NotHere(
            f"there is no Python {text}", hint="Name an interpreter, an environment, or a version."
        )
    python = Path(found).absolute()
    is_environment = (python.parent.parent / "pyvenv.cfg").is_file()
    return Environment(python=python, directory=python.parent.parent if is_environment else None)


def _python_in(directory: Path) -> Path | None:
    for place in ("bin/python", "Scripts/python.exe"):
        if (python := directory / place).exists():
            return python
    return None


def _find_uv() -> str:
    """Find uv on the path, or beside the Python that runs us, as packages bring it."""
    beside = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
    return shutil.which("uv", path=beside) or ""


def _quiet(command: Sequence[str], *, cwd: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ}
    for name in ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"):
        environment.pop(name, None)
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
    )


def _identity(python: Path) -> str:
    """Return what changes when an interpreter is replaced by another one at the same place."""
    return str(python.resolve())


def _write_stamp(directory: Path, stamp: str) -> None:
    (directory / _STAMP).write_text(_hashed(stamp), "utf-8")


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
