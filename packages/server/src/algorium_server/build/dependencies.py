"""
What a project in Python depends on, as it says itself.

The first of these files that says something decides, and the log names the others:

    requirements.txt    as pip reads it, with everything it includes
    uv.lock             beside a pyproject.toml: exactly these versions, with their digests
    pyproject.toml      `[project] dependencies`
    environment.yml     what pip is to install; packages of conda itself need micromamba

`requires-python` of a `pyproject.toml` counts in any case.

Files are foreign: bounded, and whatever cannot be read fails the build with the reader's words.

Source: wire specification of the runtime, "Files per language".
"""

import os
import re
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]  # it has no types of its own
from packaging.requirements import InvalidRequirement, Requirement

from algorium_server.build.confined import BuildFailed
from algorium_server.domain.limits import CONDA_FILE_BYTES_MAX, DEPENDENCY_FILE_BYTES_MAX

REQUIREMENTS: Final = "requirements.txt"
PYPROJECT: Final = "pyproject.toml"
UV_LOCK: Final = "uv.lock"
CONDA: Final = ("environment.yml", "environment.yaml", "requirements.yml")
"""The last is what older projects call it."""
_CONDA_PYTHON: Final = re.compile(r"python\s*(?P<version>[=<>!~][^#]*)?")
_PART_OF_EVERY_ENVIRONMENT: Final = frozenset({"pip", "setuptools", "wheel"})
_SHOWN_MAX: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """
    What a project asks for.

    Attributes:
        file: The file that decides; empty if there is none.
        requirements: What it says, in the form of a `requirements.txt`; empty for that file itself
            and for a lock, which uv reads.
        demand: Which versions of Python it needs, as a specifier; empty for any.
        notes: For the author.
    """

    file: str = ""
    requirements: str = ""
    demand: str = ""
    notes: tuple[str, ...] = ()


def find(tree: Path) -> Dependencies:
    """
    Read what the project in *tree* depends on.

    Raises:
        BuildFailed: A file is not what its name says, or asks for what this server cannot do.
    """
    project = _project(tree)
    demand = project.get("requires-python", "")
    if not isinstance(demand, str):
        raise BuildFailed(f"requires-python in {PYPROJECT} must be a text")
    present = [name for name in (REQUIREMENTS, UV_LOCK, PYPROJECT, *CONDA) if _says(tree, name)]
    if PYPROJECT in present and not _depends(project):
        present.remove(PYPROJECT)
    if UV_LOCK in present and not project:
        present.remove(UV_LOCK)  # it says nothing without the file that it was made from
    if not present:
        return Dependencies(demand=demand)
    file, *others = present
    part_of = {PYPROJECT} if file == UV_LOCK else set()
    notes = [
        f"Dependencies come from {file}; {name} is not read"
        for name in others
        if name not in part_of
    ]
    requirements = ""
    if file == PYPROJECT:
        requirements = _of_project(project)
    elif file in CONDA:
        requirements, python = _of_conda(tree, file)
        demand = ",".join(filter(None, (demand, python)))
    return Dependencies(file=file, requirements=requirements, demand=demand, notes=tuple(notes))


def _project(tree: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(_text(tree / PYPROJECT))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BuildFailed(f"{PYPROJECT} is not TOML: {error}") from error
    project = content.get("project", {})
    if not isinstance(project, dict):
        raise BuildFailed(f"[project] in {PYPROJECT} must be a table")
    return project


def _depends(project: dict[str, Any]) -> bool:
    dynamic = project.get("dynamic", [])
    return bool(project.get("dependencies")) or (
        isinstance(dynamic, list) and "dependencies" in dynamic
    )


def _of_project(project: dict[str, Any]) -> str:
    dependencies = project.get("dependencies")
    if dependencies is None:
        raise BuildFailed(
            f"the dependencies in {PYPROJECT} are dynamic: list them there, or in {REQUIREMENTS}"
        )
    return _lines(dependencies, where=f"dependencies in {PYPROJECT}")


def _of_conda(tree: Path, name: str) -> tuple[str, str]:
    """Return what pip is to install, and which Python."""
    try:
        text = _text(tree / name, bytes_max=CONDA_FILE_BYTES_MAX)
        content = yaml.load(text, Loader=_PlainLoader)  # noqa: S506 - a safe one with less in it
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise BuildFailed(f"{name} is not YAML: {error}") from error
    listed = content.get("dependencies") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise BuildFailed(f"{name} must have a list of dependencies")
    requirements, python, packages = "", "", []
    for each in listed:
        if isinstance(each, dict) and list(each) == ["pip"]:
            requirements += _lines(each["pip"], where=f"pip in {name}")
        elif not isinstance(each, str):
            raise BuildFailed(f"{name} depends on a {type(each).__name__}, which names no package")
        elif match := _CONDA_PYTHON.fullmatch(each.strip()):
            python = _demand_of_conda(match["version"] or "")
        elif re.split(r"[\s=<>!~]", each.strip())[0] not in _PART_OF_EVERY_ENVIRONMENT:
            packages.append(each)
    if packages:
        shown = ", ".join(packages[:_SHOWN_MAX]) + (", ..." if len(packages) > _SHOWN_MAX else "")
        raise BuildFailed(
            f"{name} asks conda for {shown}, which this server cannot install: list what is on the"
            f" Python package index below `pip:`, or in {REQUIREMENTS}"
        )
    return requirements, python


def _demand_of_conda(version: str) -> str:
    """Translate what conda means by `=3.9`, `3.9.*` or `>=3.8,<3.10`."""
    version = version.replace(" ", "")
    match = re.fullmatch(r"=(\d+(?:\.\d+)*)(\.\*)?(=.*)?", version)
    return f"=={match[1]}.*" if match else version


def _lines(listed: object, *, where: str) -> str:
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise BuildFailed(f"{where} must be a list of texts")
    for each in listed:
        try:
            Requirement(each)
        except InvalidRequirement as error:
            raise BuildFailed(f"{where}: {each!r} is no requirement: {error}") from error
    return "".join(f"{each}\n" for each in listed)


def _says(tree: Path, name: str) -> bool:
    lines = _text(tree / name).splitlines()
    return any(line.strip() and not line.lstrip().startswith("#") for line in lines)


class _PlainLoader(yaml.SafeLoader):  # type: ignore[misc]  # its library has no types
    """Reads YAML without aliases, a few lines of which can stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases, *such, are not supported")
        return super().compose_node(parent, index)


def _text(path: Path, *, bytes_max: int = DEPENDENCY_FILE_BYTES_MAX) -> str:
    """Read a file of the project; empty if it is not there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        return ""
    with open(descriptor, "rb") as file:
        if status.st_size > bytes_max:
            raise BuildFailed(f"{path.name} is larger than {bytes_max} bytes")
        return file.read(bytes_max).decode("utf-8", "replace")
