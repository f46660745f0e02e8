"""
Builds for their authors: their logs live, their locks, their end before the end.

Source: wire specification, "Builds".
"""

from collections.abc import AsyncIterator

from algorium.wire.refs import AlgorithmRef
from algorium_server.domain.algorithms import Algorithm, Build, Version
from algorium_server.domain.authorship import Act
from algorium_server.domain.errors import BuildNotFound
from algorium_server.domain.identity import Principal
from algorium_server.services.authoring.authors import Authors
from algorium_server.services.authoring.build_logs import Piece
from algorium_server.services.authoring.builds import Builds
from algorium_server.services.directory import Directory


class AuthorBuilds:
    """
    Use cases of authors that concern one build.

    Every method raises `NoSuchAlgorithm`, `NotAuthorized` and `BuildNotFound`.

    Args:
        directory: Which builds there are.
        authors: Says who may do what.
        builds: Does it.
    """

    def __init__(self, directory: Directory, authors: Authors, builds: Builds) -> None:
        self._directory = directory
        self._authors = authors
        self._builds = builds

    def check_log(self, principal: Principal, ref: AlgorithmRef, build_id: str) -> None:
        """Do nothing if the caller may read what a build says."""
        self._algorithm(principal, ref, build_id, Act.READ_LOGS)

    def log(self, build_id: str, *, after_bytes: int = 0) -> AsyncIterator[Piece]:
        """Return what a build says, as it says it; for callers for whom `check_log` did nothing."""
        return self._builds.logs.pieces(build_id, after_bytes=after_bytes)

    def shown(self, build_id: str) -> tuple[Build, Version | None]:
        """Return a build without its log, and as what it is published."""
        build = self._directory.build(build_id)
        if build is None:
            raise BuildNotFound
        versions = self._directory.versions_of(build.algorithm_id)
        return build, next((v for v in versions if v.build_id == build_id), None)

    async def cancel(
        self, principal: Principal, ref: AlgorithmRef, build_id: str
    ) -> tuple[Build, Version | None]:
        """
        End a build; one that has ended stays as it is.

        Returns:
            The build as it is now; one that runs may take a moment to end.
        """
        algorithm = self._algorithm(principal, ref, build_id, Act.CHANGE)
        await self._builds.cancel(algorithm, build_id, by=principal.account.username)
        return self.shown(build_id)

    async def lock(self, principal: Principal, ref: AlgorithmRef, build_id: str) -> str:
        """Return exactly what a build has installed, in the form of a `requirements.txt`."""
        self._algorithm(principal, ref, build_id, Act.READ_LOGS)
        return (await self._builds.build(build_id)).lock

    def _algorithm(
        self, principal: Principal, ref: AlgorithmRef, build_id: str, act: Act
    ) -> Algorithm:
        algorithm = self._authors.algorithm(principal, ref, act)
        build = self._directory.build(build_id)
        if build is None or build.algorithm_id != algorithm.algorithm_id:
            raise BuildNotFound
        return algorithm
