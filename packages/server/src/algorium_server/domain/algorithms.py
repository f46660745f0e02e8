"""
Algorithms, their builds and their published versions.

Source: wire specification, "Algorithm object", "Builds", "Versions and publishing".
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from algorium_server.domain.versions import SemanticVersion


class Callability(StrEnum):
    """Who may call a version."""

    PUBLIC = "public"
    PRIVATE = "private"


class SourceVisibility(StrEnum):
    """Who may see the source, and with it stack traces."""

    OPEN = "open"
    CLOSED = "closed"


class NetworkAccess(StrEnum):
    """What an algorithm may reach."""

    FULL = "full"
    ISOLATED = "isolated"


class BuildStatus(StrEnum):
    """States of a build; the values are the wire's."""

    IN_PROGRESS = "in-progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmSettings:
    """What an owner decides about an algorithm."""

    language: str = "python3"
    source_visibility: SourceVisibility = SourceVisibility.CLOSED
    license: str = "apl"
    network_access: NetworkAccess = NetworkAccess.ISOLATED
    is_pipeline_enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """An algorithm, by its owner and name."""

    algorithm_id: str
    owner_id: str
    name: str
    label: str = ""
    summary: str = ""
    tagline: str = ""
    settings: AlgorithmSettings = field(default_factory=AlgorithmSettings)
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """
    One attempt to make a commit runnable.

    Attributes:
        environment: Key of the environment it runs in (hash of the lock), empty until resolved.
        lock: The resolved requirements, exactly as installed.
        entry: Importable module of the entry point, such as `src.Hello`; empty until known.
        source_bytes: Of all files of the commit together; 0 until it is checked out.
        log: Everything the tools said, as one text.
    """

    build_id: str
    algorithm_id: str
    commit_sha: str
    status: BuildStatus
    environment: str = ""
    lock: str = ""
    entry: str = ""
    source_bytes: int = 0
    log: str = ""
    started_at: datetime
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """
    A published, immutable version of an algorithm.

    Attributes:
        network_access: Frozen at publication, like `is_pipeline_enabled`.
    """

    version_id: str
    algorithm_id: str
    build_id: str
    semantic_version: SemanticVersion
    commit_sha: str
    callability: Callability
    network_access: NetworkAccess
    is_pipeline_enabled: bool
    release_notes: str = ""
    sample_input: str = ""
    sample_output: str = ""
    published_at: datetime

    @property
    def is_public(self) -> bool:
        """Whether anyone may call it."""
        return self.callability is Callability.PUBLIC
