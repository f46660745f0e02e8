"""
From source to something that can be called: compiled, then published.

Source: wire specification, "Compile", "Versions and publishing".
"""

import re
from dataclasses import replace
from typing import Final

from algorium.wire.refs import AlgorithmRef
from algorium_server.build.source.history import has_commit
from algorium_server.build.source.repositories import Repositories
from algorium_server.domain.algorithms import Algorithm, Build, Callability
from algorium_server.domain.authorship import Act
from algorium_server.domain.errors import (
    AlgorithmNotFound,
    BuildNotFound,
    InvalidInput,
    NoSuchAlgorithm,
)
from algorium_server.domain.identity import Principal
from algorium_server.domain.wishes import WantedVersion, changed_settings, changed_texts
from algorium_server.services.authoring.algorithms import Algorithms
from algorium_server.services.authoring.authors import Authors
from algorium_server.services.authoring.builds import Builds
from algorium_server.services.authoring.hosts import SourceHosts
from algorium_server.services.authoring.publishing import Publishing
from algorium_server.services.authoring.views import View, Views
from algorium_server.services.directory import Directory

_SHA: Final = re.compile(r"[0-9a-f]{40}")


class Releases:
    """
    Use cases of those who make something of their source.

    Args:
        directory: What there is.
        authors: Says who may do what.
        algorithms: Changes settings.
        builds: Builds commits.
        publishing: Publishes builds.
        repositories: Where source is.
        hosts: Where it may also be.
        views: Shows what came of it.
    """

    def __init__(
        self,
        *,
        directory: Directory,
        authors: Authors,
        algorithms: Algorithms,
        builds: Builds,
        publishing: Publishing,
        repositories: Repositories,
        hosts: SourceHosts,
        views: Views,
    ) -> None:
        self._directory = directory
        self._authors = authors
        self._algorithms = algorithms
        self._builds = builds
        self._publishing = publishing
        self._repositories = repositories
        self._hosts = hosts
        self._views = views

    async def compile(
        self,
        principal: Principal,
        ref: AlgorithmRef,
        commit_sha: str = "",
        *,
        waits: bool = True,
    ) -> View:
        """
        Build a commit.

        The build is in the queue from then on: it goes on when whoever asked has gone.

        Args:
            principal: Who asks.
            ref: Which algorithm.
            commit_sha: The newest one of the default branch if empty.
            waits: Return when the build has ended, well or not, and not at once.

        Raises:
            NoSuchAlgorithm: There is none, or not any more.
            NotAuthorized: The caller may not change it.
            InvalidInput: There is no such commit, or none at all.
        """
        algorithm = self._authors.algorithm(principal, ref, Act.CHANGE)
        await self._hosts.refresh(algorithm)
        commit_sha = commit_sha.lower()
        if commit_sha:
            path = self._repositories.path(algorithm.owner_id, algorithm.algorithm_id)
            if not await has_commit(path, commit_sha):
                raise InvalidInput(
                    f"there is no commit {commit_sha[:100]!r}: commitSha needs all 40 digits"
                )
        build = await self._builds.request(
            algorithm, commit_sha, requested_by=principal.account.account_id
        )
        if waits:
            try:
                build = await self._builds.wait(build.build_id)
            except BuildNotFound as error:
                raise NoSuchAlgorithm from error  # deleted meanwhile
        return await self._views.of_build(principal, algorithm, build)

    async def publish(
        self, principal: Principal, ref: AlgorithmRef, wanted: WantedVersion
    ) -> tuple[View, tuple[str, ...]]:
        """
        Publish a build; the settings that come along are changed once it is published.

        Returns:
            The version, and what its publisher should know.

        Raises:
            NoSuchAlgorithm: There is none.
            NotAuthorized: The caller may not publish it, or not for all.
            VersionAlreadyPublished: There is no build that is not published.
            InvalidInput: A rule of versions is broken, or a value is wrong.
        """
        algorithm = self._authors.algorithm(principal, ref, Act.CHANGE)
        callability = wanted.settings.callability or self._callability(algorithm)
        if callability is Callability.PUBLIC:
            self._authors.check(principal, Act.PUBLISH_PUBLICLY, algorithm)
        settings = replace(wanted.settings, callability=callability)
        changed = _changed(algorithm, replace(wanted, settings=settings))
        try:
            publication = await self._publishing.publish(
                changed,
                publisher_id=principal.account.account_id,
                publisher=principal,
                build=self._build(algorithm, wanted.git_hash),
                callability=callability,
                version_type=wanted.version_type,
                semantic_version=wanted.semantic_version,
                release_notes=wanted.release_notes,
                sample_input=wanted.sample_input or algorithm.sample_input,
                sample_output=wanted.sample_output,
                is_insights_enabled=changed.settings.is_insights_enabled,
            )
        except AlgorithmNotFound as error:
            raise NoSuchAlgorithm from error  # deleted meanwhile
        algorithm = await self._algorithms.change(
            algorithm, lambda now: _changed(now, replace(wanted, settings=settings)), by=principal
        )
        view = await self._views.of_version(principal, algorithm, publication.version)
        return view, publication.warnings

    def _callability(self, algorithm: Algorithm) -> Callability:
        """Return who may call the newest version; without any, what the settings say."""
        versions = self._directory.versions_of(algorithm.algorithm_id)
        newest = max(versions, key=lambda each: each.semantic_version, default=None)
        return newest.callability if newest is not None else algorithm.settings.callability

    def _build(self, algorithm: Algorithm, commit_sha: str) -> Build | None:
        if not commit_sha:
            return None
        commit_sha = commit_sha.lower()
        build = None
        if _SHA.fullmatch(commit_sha):
            build = self._directory.newest_build_of_commit(algorithm.algorithm_id, commit_sha)
        if build is None:
            raise InvalidInput(
                f"git_hash {commit_sha[:100]!r} has no successful build: compile it first"
            )
        return build


def _changed(algorithm: Algorithm, wanted: WantedVersion) -> Algorithm:
    return replace(
        changed_texts(algorithm, wanted.details),
        settings=changed_settings(algorithm.settings, wanted.settings),
    )
