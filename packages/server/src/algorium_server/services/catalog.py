"""
The catalog of demo algorithms: what `catalog.toml` in the examples directory says there is.

    [[algorithm]]
    owner = "demo"
    name = "Hello"
    language = "python3"         if not given
    network_access = "isolated"  the same; "full" where the host can give it
    scaling = {slots_min = 1}    the same; see `domain.algorithms.Scaling`
    is_late = true               the server is ready before it is built; false if not given
    ...
    [[algorithm.version]]        in ascending order
    version = "0.1.0"
    source = "demo/Hello@0.1.0"  directory of the project, relative to the catalog
    ...
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from algorium.wire.refs import AlgorithmRef
from algorium_server.domain.algorithms import (
    AlgorithmSettings,
    NetworkAccess,
    Scaling,
    SourceVisibility,
)
from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.versions import SemanticVersion

CATALOG: Final = "catalog.toml"
_CACHES: Final = frozenset({"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache"})


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoVersion:
    """A version to publish; `source` is the directory of its project."""

    semantic_version: SemanticVersion
    source: Path
    release_notes: str
    sample_input: str
    sample_output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoAlgorithm:
    """
    An algorithm to publish, with its versions in ascending order.

    Attributes:
        is_late: It takes its time to build: the server does not wait for it.
    """

    owner: str
    name: str
    summary: str
    tagline: str
    settings: AlgorithmSettings
    versions: tuple[DemoVersion, ...]
    is_late: bool = False

    @property
    def ref(self) -> AlgorithmRef:
        """What it will be called by."""
        return AlgorithmRef(owner=self.owner, name=self.name)


def read_catalog(examples_dir: Path) -> tuple[DemoAlgorithm, ...]:
    """
    Read the catalog.

    Raises:
        InvalidInput: There is none, or it does not say what it should.
    """
    path = examples_dir / CATALOG
    try:
        entries = tomllib.loads(path.read_text("utf-8"))["algorithm"]
        return tuple(_algorithm(entry, examples_dir) for entry in entries)
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from error
    except KeyError as error:
        raise InvalidInput(f"{path}: {error} is missing") from error
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{path}: {error}") from error


def read_project(directory: Path) -> dict[str, bytes]:
    """
    Return the files of a project by their paths with slashes, without what tools left there.

    Raises:
        InvalidInput: There is a symbolic link: it might lead out of the project.
    """
    for path in directory.rglob("*"):
        if path.is_symlink():
            raise InvalidInput(f"{path} is a symbolic link; projects hold files only")
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not _CACHES.intersection(path.relative_to(directory).parts)
    }


def _algorithm(entry: dict[str, Any], examples_dir: Path) -> DemoAlgorithm:
    return DemoAlgorithm(
        owner=entry["owner"],
        name=entry["name"],
        summary=entry["summary"],
        tagline=entry["tagline"],
        settings=AlgorithmSettings(
            language=entry.get("language", AlgorithmSettings().language),
            source_visibility=SourceVisibility.OPEN,
            license=entry["license"],
            network_access=NetworkAccess(entry.get("network_access", NetworkAccess.ISOLATED)),
            scaling=msgspec.convert(entry.get("scaling", {}), Scaling),
        ),
        versions=tuple(_version(version, examples_dir) for version in entry["version"]),
        is_late=bool(entry.get("is_late", False)),
    )


def _version(entry: dict[str, Any], examples_dir: Path) -> DemoVersion:
    return DemoVersion(
        semantic_version=SemanticVersion.parse(entry["version"]),
        source=examples_dir / entry["source"],
        release_notes=entry["release_notes"],
        sample_input=entry["sample_input"],
        sample_output=entry["sample_output"],
    )
