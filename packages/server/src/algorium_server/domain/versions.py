"""
Semantic versions: order them, and resolve what a caller wrote to one published version.

Source: wire specification, "Version resolution".
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeVar

_NUMBER = r"(0|[1-9][0-9]{0,8})"  # ASCII digits only; nine of them fit every column and client
_EXACT = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}")
_MINOR = re.compile(rf"{_NUMBER}\.{_NUMBER}(?:\.[*x])?")
_MAJOR = re.compile(rf"{_NUMBER}(?:\.\*)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, order=True)
class SemanticVersion:
    """A version `major.minor.revision`; compares as numbers."""

    major: int
    minor: int
    revision: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.revision}"

    @classmethod
    def parse(cls, text: str) -> "SemanticVersion":
        """
        Read `x.y.z`.

        Raises:
            ValueError: The text is not three dot-separated integers without leading zeros.
        """
        match = _EXACT.fullmatch(text)
        if match is None:
            raise ValueError(f"not a semantic version: {text!r}")
        return cls(int(match[1]), int(match[2]), int(match[3]))


class SpecKind(Enum):
    """What kind of version a caller asked for."""

    LATEST = "latest"
    LATEST_PRIVATE = "latestPrivate"
    EXACT = "exact"
    PARTIAL = "partial"
    COMMIT = "commit"
    VERSION_ID = "version id"


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionSpec:
    """
    What a caller wrote as the version of a reference.

    Attributes:
        kind: How to read the others.
        exact: For `EXACT`.
        prefix: For `PARTIAL`: `(major,)` or `(major, minor)`.
        text: For `COMMIT` the 40 hex digits, for `VERSION_ID` the UUID; both lower case.
    """

    kind: SpecKind
    exact: SemanticVersion | None = None
    prefix: tuple[int, ...] = ()
    text: str = ""

    @classmethod
    def parse(cls, text: str) -> "VersionSpec | None":
        """Read a version segment; None if it can never name a version."""
        if text in {"", "latest"}:
            return cls(kind=SpecKind.LATEST)
        if text == "latestPrivate":
            return cls(kind=SpecKind.LATEST_PRIVATE)
        if _EXACT.fullmatch(text):
            return cls(kind=SpecKind.EXACT, exact=SemanticVersion.parse(text))
        if match := _MINOR.fullmatch(text):
            return cls(kind=SpecKind.PARTIAL, prefix=(int(match[1]), int(match[2])))
        if match := _MAJOR.fullmatch(text):
            return cls(kind=SpecKind.PARTIAL, prefix=(int(match[1]),))
        lowered = text.lower()
        if _COMMIT.fullmatch(lowered):
            return cls(kind=SpecKind.COMMIT, text=lowered)
        if _UUID.fullmatch(lowered):
            return cls(kind=SpecKind.VERSION_ID, text=lowered)
        return None


class PublishedVersion(Protocol):
    """What resolution needs to know of a published version."""

    @property
    def version_id(self) -> str: ...  # noqa: D102 - protocol member
    @property
    def semantic_version(self) -> SemanticVersion: ...  # noqa: D102 - protocol member
    @property
    def is_public(self) -> bool: ...  # noqa: D102 - protocol member


V = TypeVar("V", bound=PublishedVersion)


def resolve(wanted: VersionSpec, published: Iterable[V], *, is_owner_like: bool) -> V | None:
    """
    Pick the published version that *wanted* means, None if there is none for this caller.

    Args:
        wanted: Any kind but `COMMIT`, which names a build and is looked up there.
        published: All published versions of one algorithm, in any order. Hundreds: scanned once.
        is_owner_like: The caller is the owner, a member of the owning organization, or sudo.

    Source: wire specification, "Version resolution".
    """
    candidates = [v for v in published if _may_match(wanted, v, is_owner_like=is_owner_like)]
    return max(candidates, key=lambda version: version.semantic_version, default=None)


def _may_match(wanted: VersionSpec, version: PublishedVersion, *, is_owner_like: bool) -> bool:
    semantic = version.semantic_version
    is_visible = version.is_public or is_owner_like
    match wanted.kind:
        case SpecKind.LATEST:
            return version.is_public
        case SpecKind.LATEST_PRIVATE:
            return is_owner_like and not version.is_public
        case SpecKind.EXACT:
            return is_visible and semantic == wanted.exact
        case SpecKind.PARTIAL:
            parts = (semantic.major, semantic.minor, semantic.revision)
            return version.is_public and parts[: len(wanted.prefix)] == wanted.prefix
        case SpecKind.VERSION_ID:
            return is_owner_like and version.version_id == wanted.text
        case SpecKind.COMMIT:
            return False


def successor(highest: SemanticVersion | None, version_type: str) -> SemanticVersion:
    """
    Compute the next version: `major`, `minor` or `revision` after the *highest* existing one.

    Raises:
        ValueError: *version_type* is none of the three.

    Source: wire specification, "Publish body".
    """
    now = highest or SemanticVersion(0, 0, 0)
    match version_type:
        case "major":
            return SemanticVersion(now.major + 1, 0, 0)
        case "minor":
            return SemanticVersion(now.major, now.minor + 1, 0)
        case "revision":
            return SemanticVersion(now.major, now.minor, now.revision + 1)
    raise ValueError(f"not a version type: {version_type!r}")
