"""
What a directory holds, read as the server's build reads it: entry, language, dependencies.

Only projects in Python run here; what else there is gets a reason and a way.

Source: wire specification of the runtime, "Files per language".
"""

import hashlib
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from algorium.wire.refs import AlgorithmRef

REQUIREMENTS: Final = "requirements.txt"
PYPROJECT: Final = "pyproject.toml"
UV_LOCK: Final = "uv.lock"
CONDA: Final = ("environment.yml", "environment.yaml", "requirements.yml")

_MODULE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\.py")
_NOT_ENTRIES: Final = frozenset({"__init__", "__main__", "conftest", "setup"})
_OF_A_KIT: Final = (b"PIPE_INIT_COMPLETE", b"/tmp/algoout")
"""Whatever speaks the old text protocol by itself says the one and names the other."""
_INCLUDES: Final = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)[\s=]+(\S+)", re.MULTILINE)
_INCLUDES_MAX: Final = 50
_PYTHON_LANGUAGES: Final = ("python", "anaconda")


class NotHere(Exception):
    """
    The project cannot run on this machine.

    Attributes:
        hint: What to do instead.
    """

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """
    A project in Python, ready to be run.

    Attributes:
        root: Its directory.
        ref: Which algorithm it is, without a version.
        entry: The module with `apply`, such as `src.Hello`.
    """

    root: Path
    ref: AlgorithmRef
    entry: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """
    What a project asks for.

    Attributes:
        file: The file that decides; empty if there is none.
        requirements: What it asks for line by line, where pip cannot read *file* itself.
        demand: Which versions of Python, as a specifier; empty for any.
        digest: Another one for other dependencies.
    """

    file: str = ""
    requirements: tuple[str, ...] = ()
    demand: str = ""
    digest: str = ""


def read_source(root: Path, ref: AlgorithmRef, *, language: str) -> Source:
    """
    Find out what to run in a project.

    Args:
        root: Its directory.
        ref: Which algorithm it is.
        language: As its configuration says, or empty.

    Raises:
        NotHere: It is in another language, or has no entry.
    """
    if language and not language.lower().startswith(_PYTHON_LANGUAGES):
        raise NotHere(
            f"the project is in {language}, and only Python runs here",
            hint="`algo push` builds it on the server; `algo test --remote` tests it there.",
        )
    directory = root / "src"
    names = [path.name for path in directory.glob("*.py")] if directory.is_dir() else []
    entry = find_entry(names, ref.name)
    if any(_brings_kit(directory / name) for name in names):
        raise NotHere(
            "the project brings a development kit of its own, which only the server can serve",
            hint="Use the packages algorithmia and algorithmia-adk, or a plain apply(input).",
        )
    return Source(root=root, ref=AlgorithmRef(owner=ref.owner, name=ref.name), entry=entry)


def find_entry(names: Iterable[str], name: str) -> str:
    """
    Return the module to import, such as `src.Hello`.

    `src/NAME.py` comes first, then `src/Algorithm.py`, then the only other module in `src/`.

    Args:
        names: Of the files in `src/`.
        name: What the algorithm calls itself.

    Raises:
        NotHere: None of the three is there; the text names them.
    """
    modules = {match[1] for each in names if (match := _MODULE.fullmatch(each))}
    for candidate in (name, "Algorithm"):
        if candidate in modules:
            return f"src.{candidate}"
    others = sorted(m for m in modules if m not in _NOT_ENTRIES and not is_test(m))
    if len(others) == 1:
        return f"src.{others[0]}"
    found = f"there are {len(others)}: {', '.join(others)}" if others else "there is none"
    raise NotHere(
        f"no entry point: expected src/{name}.py, src/Algorithm.py, or a single module in src/ "
        f"({found})",
        hint=f"Put a function apply(input) into src/{name}.py.",
    )


def is_test(module: str) -> bool:
    """Whether pytest looks into a module of this name."""
    return module.startswith("test_") or module.endswith("_test")


def has_tests(root: Path) -> bool:
    """Whether there are tests below `src/` that pytest would find."""
    return any(is_test(path.stem) for path in (root / "src").rglob("*.py"))


def read_dependencies(root: Path) -> Dependencies:
    """
    Read what a project depends on: the first file that says something decides.

    Raises:
        NotHere: A file is not what its name says, or asks for what only conda installs.
    """
    project = _project(root)
    demand = project.get("requires-python", "")
    demand = demand if isinstance(demand, str) else ""
    if _says(root / REQUIREMENTS):
        digest = _digest(_included(root / REQUIREMENTS), demand)
        return Dependencies(file=REQUIREMENTS, demand=demand, digest=digest)
    if project and _says(root / UV_LOCK):
        digest = _digest([root / UV_LOCK, root / PYPROJECT], demand)
        return Dependencies(file=UV_LOCK, demand=demand, digest=digest)
    listed = project.get("dependencies")
    if listed:
        if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
            raise NotHere(
                f"dependencies in {PYPROJECT} must be a list of texts", hint="Correct that."
            )
        digest = _digest([root / PYPROJECT], demand)
        return Dependencies(
            file=PYPROJECT, requirements=tuple(listed), demand=demand, digest=digest
        )
    for name in CONDA:
        if _says(root / name):
            raise NotHere(
                f"{name} is for conda, which is not asked here",
                hint=f"List the packages in {REQUIREMENTS}, or make the environment yourself and"
                " name its Python with --python.",
            )
    return Dependencies(demand=demand)


def dependency_files(root: Path) -> list[Path]:
    """Return the files whose change means other dependencies."""
    return [*_included(root / REQUIREMENTS), root / UV_LOCK, root / PYPROJECT]


def _project(root: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads((root / PYPROJECT).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise NotHere(f"{PYPROJECT} cannot be read: {error}", hint="Correct that.") from error
    project = content.get("project", {})
    return project if isinstance(project, dict) else {}


def _says(path: Path) -> bool:
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    return any(line.strip() and not line.lstrip().startswith("#") for line in lines)


def _included(path: Path) -> list[Path]:
    """Return a file of requirements and all that it includes."""
    found: list[Path] = []
    waiting = [path]
    while waiting and len(found) < _INCLUDES_MAX:
        each = waiting.pop()
        if each in found or not each.is_file():
            continue
        found.append(each)
        text = each.read_text("utf-8", "replace")
        waiting += [each.parent / name for name in _INCLUDES.findall(text)]
    return found


def _digest(paths: Iterable[Path], *more: str) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes() + b"\0")
    for text in more:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()


def _brings_kit(path: Path) -> bool:
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return all(word in content for word in _OF_A_KIT)
