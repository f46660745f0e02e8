"""
What may be published, and as which version.

Source: wire specification, "Versions and publishing".
"""

from collections.abc import Iterable
from typing import Final

from algorium_server.domain.algorithms import (
    Algorithm,
    Build,
    BuildStatus,
    Callability,
    Signature,
    Version,
)
from algorium_server.domain.errors import InvalidInput, VersionAlreadyPublished
from algorium_server.domain.schemas import input_warnings, output_warnings
from algorium_server.domain.versions import SemanticVersion, successor

_VERSION_TYPES: Final = {"": "minor", "default": "minor", "patch": "revision"}
"""Older spellings."""


def next_version(
    published: Iterable[Version],
    *,
    callability: Callability,
    version_type: str = "",
    semantic_version: str = "",
) -> SemanticVersion:
    """
    Decide which version comes next.

    Args:
        published: All versions of the algorithm.
        callability: Of the new one.
        version_type: `major`, `minor` (also `default` and empty) or `revision` (also `patch`).
        semantic_version: `x.y.z`, instead of a type.

    Raises:
        InvalidInput: It would not be the highest one, would change who may call without a new
            major version, or cannot be read.

    Source: wire specification, "Publish body".
    """
    highest = max(published, key=lambda version: version.semantic_version, default=None)
    before = highest.semantic_version if highest is not None else None
    try:
        if semantic_version:
            wanted = SemanticVersion.parse(semantic_version)
        else:
            wanted = successor(before, _VERSION_TYPES.get(version_type, version_type))
    except ValueError as error:
        raise InvalidInput(str(error)) from error
    if highest is None or before is None:
        return wanted
    if wanted <= before:
        raise InvalidInput(f"version {wanted} is not higher than the published {before}")
    if highest.callability is not callability and wanted.major == before.major:
        raise InvalidInput(
            f"only a new major version may change from {highest.callability} to {callability}"
        )
    return wanted


def comparable(
    published: Iterable[Version], *, callability: Callability, wanted: SemanticVersion
) -> Version | None:
    """
    Return the version that callers of the new one come from, None if nobody promised them anything.

    A new major version may break. Who can call the new version only sees versions that are as
    public.

    Args:
        published: All versions of the algorithm.
        callability: Of the new version.
        wanted: Its number.
    """
    known = [
        version
        for version in published
        if version.is_public or callability is not Callability.PUBLIC
    ]
    before = max(known, key=lambda version: version.semantic_version, default=None)
    if before is None or wanted.major > before.semantic_version.major:
        return None
    return before


def breaks(before: Version, old: Signature, new: Signature) -> tuple[str, ...]:
    """Return what callers of the version *before* may trip over, in a sentence each."""
    lines = (
        *input_warnings(old.input_schema, new.input_schema),
        *output_warnings(old.output_schema, new.output_schema),
    )
    return tuple(f"since version {before.semantic_version}: {line}" for line in lines)


def newest_successful(builds: Iterable[Build]) -> Build:
    """
    Return the build that is published when nobody says which.

    Raises:
        VersionAlreadyPublished: There is no successful one.
    """
    succeeded = [build for build in builds if build.status is BuildStatus.SUCCEEDED]
    if not succeeded:
        raise VersionAlreadyPublished("there is no successful build to publish: compile first")
    return max(succeeded, key=lambda build: build.finished_at or build.started_at)


def check_publishable(algorithm: Algorithm, build: Build, published: Iterable[Version]) -> None:
    """
    Raise if *build* cannot become a version.

    Raises:
        InvalidInput: It is another algorithm's, or has not succeeded.
        VersionAlreadyPublished: It is a version already; rules count builds, not commits.
    """
    if build.algorithm_id != algorithm.algorithm_id or build.status is not BuildStatus.SUCCEEDED:
        raise InvalidInput(f"{build.commit_sha} is not a successful build of {algorithm.name}")
    for version in published:
        if version.build_id == build.build_id:
            raise VersionAlreadyPublished(
                f"this build is version {version.semantic_version} already, compile again first"
            )
