"""
Algorithms, builds and versions as JSON: the one place that knows what their objects look like.

What does not apply is left out, never null: clients tell one from the other.

Source: wire specification, "Algorithm object", "Builds".
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import BaseModel

from algorium_server.build.source.history import HistoryEntry
from algorium_server.domain.algorithms import (
    Algorithm,
    AlgorithmSettings,
    Build,
    BuildStatus,
    Version,
)
from algorium_server.services.authoring.hosts import SourceHosts
from algorium_server.services.authoring.views import View, callability_of

RESOURCE_TYPE: Final = "algorithm"
BUILD_RESOURCE_TYPE: Final = "algorithm_build"


class DetailsObject(BaseModel):
    """Texts about an algorithm."""

    label: str
    summary: str
    tagline: str


class ScalingObject(BaseModel):
    """How slots are started."""

    isolation: str
    slots_min: int
    slots_max: int
    memory_bytes: int


class SettingsObject(BaseModel):
    """Settings, of a version those that it was published with."""

    algorithm_callability: str
    source_visibility: str
    language: str
    environment: str
    package_set: str | None = None
    license: str
    royalty_microcredits: int
    network_access: str
    pipeline_enabled: bool
    insights_enabled: bool
    algorithm_environment: str | None = None
    publish_gate: str
    rewriting_enabled: bool
    scaling: ScalingObject


class VersionInfoObject(BaseModel):
    """Which version; `semantic_version` only of what is published."""

    semantic_version: str | None = None
    git_hash: str
    version_uuid: str | None = None
    release_notes: str | None = None
    sample_input: str | None = None
    sample_output: str | None = None
    published_at: str | None = None


class BuildVersionInfo(BaseModel):
    """As which version a build is published."""

    semantic_version: str


class BuildObject(BaseModel):
    """A build; `began_at` is missing while it waits for others, `failure` unless it failed."""

    build_id: str
    status: str
    commit_sha: str
    started_at: str
    began_at: str | None = None
    finished_at: str | None = None
    failure: str | None = None
    trigger: str
    resource_type: str = BUILD_RESOURCE_TYPE
    version_info: BuildVersionInfo | None = None


class CompilationObject(BaseModel):
    """How a build went; `output` is its log, for those who may read it."""

    successful: bool
    output: str


class AlgorithmObject(BaseModel):
    """An algorithm, with one of its builds or versions if there is any."""

    id: str
    name: str
    details: DetailsObject
    settings: SettingsObject
    version_info: VersionInfoObject | None = None
    build: BuildObject | None = None
    compilation: CompilationObject | None = None
    source: dict[str, Any]
    self_link: str | None = None
    resource_type: str = RESOURCE_TYPE
    warnings: list[str] | None = None


class AlgorithmPage(BaseModel):
    """A page of versions."""

    marker: str | None
    next_link: str | None
    results: list[AlgorithmObject]


class BuildPage(BaseModel):
    """A page of builds."""

    marker: str | None
    next_link: str | None
    results: list[BuildObject]


class BuildLogObject(BaseModel):
    """What a build said."""

    logs: str


class CommitObject(BaseModel):
    """A commit."""

    id: str
    short_message: str
    message: str
    author: str


class CommitList(BaseModel):
    """Commits, newest first."""

    commits: list[CommitObject]


class AlgorithmName(BaseModel):
    """An algorithm in a list of somebody's."""

    id: str
    algoname: str
    username: str


class AlgorithmObjects:
    """
    Makes the objects.

    Args:
        hosts: Describes where source is.
        api: Base address, for links.
    """

    def __init__(self, hosts: SourceHosts, api: str) -> None:
        self._hosts = hosts
        self._api = api

    def algorithm(self, view: View, *, warnings: Sequence[str] = ()) -> dict[str, Any]:
        """Return an algorithm as somebody sees it."""
        algorithm, build = view.algorithm, view.build
        made = AlgorithmObject(
            id=algorithm.algorithm_id,
            name=algorithm.name,
            details=DetailsObject(
                label=algorithm.label, summary=algorithm.summary, tagline=algorithm.tagline
            ),
            settings=_settings(view),
            source=dict(self._hosts.described(algorithm)),
            warnings=list(warnings) or None,
        )
        if build is not None:
            made.version_info = _version_info(algorithm, build, view.version)
            made.build = build_object(build, view.version)
            made.self_link = self._link(view.owner, algorithm, build)
            if build.status is not BuildStatus.IN_PROGRESS:
                made.compilation = CompilationObject(
                    successful=build.status is BuildStatus.SUCCEEDED,
                    output=build.log if view.shows_log else "",
                )
        return made.model_dump(exclude_none=True)

    def _link(self, owner: str, algorithm: Algorithm, build: Build) -> str:
        path = f"/v1/algorithms/{owner}/{algorithm.name}/versions/{build.commit_sha}"
        return f"{self._api}{path}"


def build_object(build: Build, version: Version | None) -> BuildObject:
    """Return a build, and as what it is published."""
    return BuildObject(
        build_id=build.build_id,
        status=build.status,
        commit_sha=build.commit_sha,
        started_at=timestamp(build.started_at),
        began_at=timestamp(build.began_at) if build.began_at else None,
        finished_at=timestamp(build.finished_at) if build.finished_at else None,
        failure=build.failure or None,
        trigger=build.trigger,
        version_info=(
            BuildVersionInfo(semantic_version=str(version.semantic_version)) if version else None
        ),
    )


def commit_object(commit: HistoryEntry) -> CommitObject:
    """Return a commit."""
    return CommitObject(
        id=commit.commit_sha,
        short_message=commit.subject,
        message=commit.message,
        author=commit.author,
    )


def timestamp(moment: datetime) -> str:
    """Return a time as clients parse it: UTC, milliseconds, `Z`."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _settings(view: View) -> SettingsObject:
    settings: AlgorithmSettings = view.algorithm.settings
    version = view.version
    frozen = version or settings
    scaling = frozen.scaling
    return SettingsObject(
        algorithm_callability=callability_of(view),
        source_visibility=settings.source_visibility,
        language=settings.language,
        environment=settings.machine_type,
        package_set=settings.package_set or None,
        license=settings.license,
        royalty_microcredits=settings.royalty_microcredits,
        network_access=frozen.network_access,
        pipeline_enabled=frozen.is_pipeline_enabled,
        insights_enabled=frozen.is_insights_enabled,
        algorithm_environment=settings.environment_id or None,
        publish_gate=settings.publish_gate,
        rewriting_enabled=settings.allows_rewriting,
        scaling=ScalingObject(
            isolation=scaling.isolation,
            slots_min=scaling.slots_min,
            slots_max=scaling.slots_max,
            memory_bytes=scaling.memory_bytes,
        ),
    )


def _version_info(algorithm: Algorithm, build: Build, version: Version | None) -> VersionInfoObject:
    if version is None:
        return VersionInfoObject(
            git_hash=build.commit_sha, sample_input=algorithm.sample_input or None
        )
    return VersionInfoObject(
        semantic_version=str(version.semantic_version),
        git_hash=version.commit_sha,
        version_uuid=version.version_id,
        release_notes=version.release_notes,
        sample_input=version.sample_input,
        sample_output=version.sample_output,
        published_at=timestamp(version.published_at),
    )
