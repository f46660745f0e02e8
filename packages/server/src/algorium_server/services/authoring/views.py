"""
What people see of an algorithm: itself, its builds, its versions.

The owner, members of the owning organization and administrators see every build, published or
not. Everybody else sees what is published for all.

Source: wire specification, "Algorithm object", "Builds", "Versions and publishing".
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from algorium.wire.refs import AlgorithmRef
from algorium_server.build.source.history import HistoryEntry, history
from algorium_server.build.source.repositories import Repositories
from algorium_server.domain.access import is_cluster_admin, is_owner_like
from algorium_server.domain.algorithms import Algorithm, Build, BuildStatus, Callability, Version
from algorium_server.domain.authorship import Act
from algorium_server.domain.errors import (
    BuildLogNotFound,
    BuildNotFound,
    UserNotFound,
    VersionNotFound,
)
from algorium_server.domain.identity import Account, Principal
from algorium_server.services.authoring.authors import Authors
from algorium_server.services.directory import Directory
from algorium_server.store import algorithms as rows
from algorium_server.store.database import Database

Position = tuple[datetime, str]
"""Where an entry stands in a list, newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """
    An algorithm as somebody sees it.

    Attributes:
        owner: Username of its owner.
        build: The build that is shown; None before the first one.
        version: As what that build is published; None if it is not.
        shows_log: Whether `build` has its log, and whoever asks may read it.
    """

    algorithm: Algorithm
    owner: str
    build: Build | None = None
    version: Version | None = None
    shows_log: bool = False

    @property
    def position(self) -> Position:
        """Where it stands among others of its algorithm."""
        assert self.build is not None, "lists hold builds"
        if self.version is not None:
            return self.version.published_at, self.version.version_id
        return self.build.finished_at or self.build.started_at, self.build.build_id


class Views:
    """
    Use cases of those who look.

    Args:
        database: Where logs are.
        directory: Where everything else is.
        authors: Says who may see what.
        repositories: Where source is.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        authors: Authors,
        repositories: Repositories,
    ) -> None:
        self._database = database
        self._directory = directory
        self._authors = authors
        self._repositories = repositories

    async def algorithm(self, principal: Principal, ref: AlgorithmRef) -> View:
        """
        Return an algorithm with its newest build, or its newest public version for strangers.

        Raises:
            NoSuchAlgorithm: There is none.
            NotAuthorized: It is private.
        """
        algorithm = self._authors.algorithm(principal, ref, Act.SEE)
        if _sees_all(principal, algorithm):
            builds = self._directory.builds_of(algorithm.algorithm_id)
            newest = max(builds, key=_age, default=None)
            return await self.of_build(principal, algorithm, newest)
        versions = (v for v in self._versions(algorithm) if v.is_public)
        version = max(versions, key=lambda each: each.semantic_version)
        return await self.of_version(principal, algorithm, version)

    async def of_build(
        self, principal: Principal, algorithm: Algorithm, build: Build | None
    ) -> View:
        """Return an algorithm with one of its builds, published or not."""
        if build is None:
            return View(algorithm=algorithm, owner=self._directory.owner_name(algorithm))
        versions = self._versions(algorithm)
        version = next((v for v in versions if v.build_id == build.build_id), None)
        shows_log = self._authors.may(principal, Act.READ_LOGS, algorithm)
        if shows_log and build.status is not BuildStatus.IN_PROGRESS:
            build = await self._with_log(build)
        return self._view(algorithm, build, version, shows_log=shows_log)

    async def of_version(
        self, principal: Principal, algorithm: Algorithm, version: Version
    ) -> View:
        """Return an algorithm with one of its versions."""
        build = self._directory.build(version.build_id)
        assert build is not None, "builds with versions stay"
        return await self.of_build(principal, algorithm, build)

    async def version(self, principal: Principal, ref: AlgorithmRef, name: str) -> View:
        """
        Return a version by its number, its id or its commit; a commit also names a build.

        Raises:
            NoSuchAlgorithm: There is no such algorithm.
            NotAuthorized: It is private.
            VersionNotFound: It has no such version, or not for this caller.
        """
        algorithm = self._authors.algorithm(principal, ref, Act.SEE)
        sees_all = _sees_all(principal, algorithm)
        versions = [v for v in self._versions(algorithm) if sees_all or v.is_public]
        if (version := _named(versions, name.lower())) is not None:
            return await self.of_version(principal, algorithm, version)
        build = self._directory.newest_build_of_commit(algorithm.algorithm_id, name.lower())
        if build is not None and sees_all:
            return await self.of_build(principal, algorithm, build)
        partial = AlgorithmRef(algorithm_id=algorithm.algorithm_id, version=name)
        resolved = self._directory.resolve(partial, principal, is_sudo=sees_all)
        if resolved is None or resolved.version is None:
            raise VersionNotFound(f"there is no version {name[:100]!r}")
        return await self.of_version(principal, algorithm, resolved.version)

    def versions(
        self,
        principal: Principal,
        ref: AlgorithmRef,
        *,
        is_published: bool | None = None,
        is_callable: bool | None = None,
        limit: int,
        after: Position | None = None,
    ) -> list[View]:
        """
        Return versions, and successful builds that are not published, newest first.

        Args:
            principal: Who asks.
            ref: Of which algorithm.
            is_published: Only versions, or only what is none.
            is_callable: Only what anyone may call, or only what is private.
            limit: So many at most.
            after: Position of the last entry of the page before.

        Raises:
            NoSuchAlgorithm: There is no such algorithm.
            NotAuthorized: It is private.
        """
        algorithm = self._authors.algorithm(principal, ref, Act.SEE)
        found: Iterable[View] = self._all(algorithm)
        if not _sees_all(principal, algorithm):
            found = (v for v in found if v.version is not None and v.version.is_public)
        if is_published is not None:
            found = (v for v in found if (v.version is not None) is is_published)
        if is_callable is not None:
            found = (v for v in found if (callability_of(v) is Callability.PUBLIC) is is_callable)
        if after is not None:
            found = (v for v in found if v.position < after)
        return sorted(found, key=lambda view: view.position, reverse=True)[:limit]

    async def builds(
        self,
        principal: Principal,
        ref: AlgorithmRef,
        *,
        limit: int,
        before: Position | None = None,
    ) -> list[tuple[Build, Version | None]]:
        """
        Return builds, newest first, each with the version that it became.

        Args:
            principal: Who asks.
            ref: Of which algorithm.
            limit: So many at most.
            before: Start and id of the last build of the page before.

        Raises:
            NoSuchAlgorithm: There is no such algorithm.
            NotAuthorized: Its builds are not for this caller.
        """
        algorithm = self._authors.algorithm(principal, ref, Act.READ_LOGS)
        async with self._database.reading() as connection:
            builds = await rows.page_of_builds(
                connection, algorithm.algorithm_id, limit=limit, before=before
            )
        versions = {v.build_id: v for v in self._versions(algorithm)}
        return [(build, versions.get(build.build_id)) for build in builds]

    def build(
        self, principal: Principal, ref: AlgorithmRef, build_id: str
    ) -> tuple[Build, Version | None]:
        """
        Return a build without its log, and the version that it became.

        Raises:
            NoSuchAlgorithm: There is no such algorithm.
            NotAuthorized: Its builds are not for this caller.
            BuildNotFound: It has no such build.
        """
        algorithm = self._authors.algorithm(principal, ref, Act.READ_LOGS)
        build = self._directory.build(build_id.lower())
        if build is None or build.algorithm_id != algorithm.algorithm_id:
            raise BuildNotFound(f"{algorithm.name} has no build {build_id[:100]!r}")
        versions = self._versions(algorithm)
        return build, next((v for v in versions if v.build_id == build.build_id), None)

    async def build_log(self, principal: Principal, ref: AlgorithmRef, build_id: str) -> str:
        """
        Return what a build said.

        Raises:
            NoSuchAlgorithm: There is no such algorithm.
            NotAuthorized: Its builds are not for this caller.
            BuildLogNotFound: It has no such build, or it has not ended.
        """
        try:
            build, _ = self.build(principal, ref, build_id)
        except BuildNotFound as error:
            raise BuildLogNotFound(error.message) from error
        if build.status is BuildStatus.IN_PROGRESS:
            raise BuildLogNotFound("the build has not ended: its log can be followed meanwhile")
        return (await self._with_log(build)).log

    async def commits(
        self, principal: Principal, ref: AlgorithmRef, *, since: str = "", until: str = ""
    ) -> list[HistoryEntry]:
        """
        Return commits, newest first; see `build.history`.

        Raises:
            NoSuchAlgorithm: There is no such algorithm.
            NotAuthorized: Its source is not for this caller.
            NotFound: There is no such commit.
        """
        algorithm = self._authors.algorithm(principal, ref, Act.READ_SOURCE)
        place = algorithm.owner_id, algorithm.algorithm_id
        until = until or await self._repositories.head(*place) or ""
        if not until:
            return []
        return await history(self._repositories.path(*place), until=until, since=since)

    def of_account(self, principal: Principal, name: str) -> tuple[Account, list[Algorithm]]:
        """
        Return the algorithms of an account that the caller may see, by name.

        Args:
            principal: Who asks.
            name: Of the account, or its id.

        Raises:
            UserNotFound: There is no such account.
        """
        account = self._directory.account(name.lower()) or self._directory.account_named(name)
        if account is None:
            raise UserNotFound(f"there is no user {name[:100]!r}")
        algorithms = [
            each
            for each in self._directory.algorithms_of(account.account_id)
            if self._authors.may(principal, Act.SEE, each)
        ]
        return account, sorted(algorithms, key=lambda each: each.name.lower())

    def _versions(self, algorithm: Algorithm) -> Sequence[Version]:
        return self._directory.versions_of(algorithm.algorithm_id)

    def _all(self, algorithm: Algorithm) -> list[View]:
        versions = {version.build_id: version for version in self._versions(algorithm)}
        return [
            self._view(algorithm, build, versions.get(build.build_id))
            for build in self._directory.builds_of(algorithm.algorithm_id)
            if build.status is BuildStatus.SUCCEEDED
        ]

    def _view(
        self,
        algorithm: Algorithm,
        build: Build,
        version: Version | None,
        *,
        shows_log: bool = False,
    ) -> View:
        return View(
            algorithm=algorithm,
            owner=self._directory.owner_name(algorithm),
            build=build,
            version=version,
            shows_log=shows_log,
        )

    async def _with_log(self, build: Build) -> Build:
        async with self._database.reading() as connection:
            stored = await rows.build(connection, build.build_id)
        return replace(build, log=stored.log) if stored is not None else build


def callability_of(view: View) -> Callability:
    """Return who may call what is shown: what is not published is private."""
    if view.version is not None:
        return view.version.callability
    return Callability.PRIVATE if view.build is not None else view.algorithm.settings.callability


def _sees_all(principal: Principal, algorithm: Algorithm) -> bool:
    return is_owner_like(principal, algorithm.owner_id) or is_cluster_admin(principal)


def _age(build: Build) -> Position:
    return build.started_at, build.build_id


def _named(versions: Iterable[Version], name: str) -> Version | None:
    """Return the version with this id, or the newest one of this commit."""
    named = [v for v in versions if name in {v.version_id, v.commit_sha}]
    return max(named, key=lambda each: each.semantic_version, default=None)
