"""
Where the source of an algorithm is hosted: here, or by a provider.

The protocol is what services ask of a host; `internal` is the one that every server brings.

Source: wire specification, "SCM object", "Create, read, update, delete".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from algorium_server.build.repositories import Repositories, Signature
from algorium_server.domain.algorithms import INTERNAL_SCM, Algorithm
from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.identity import Principal

INTERNAL: Final[Mapping[str, Any]] = {
    "id": INTERNAL_SCM,
    "provider": INTERNAL_SCM,
    "name": "",
    "default": True,
    "enabled": True,
}
"""The internal host as an object of the API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedSource:
    """
    What the creator of an algorithm says of its source.

    Attributes:
        scm_id: Which host; empty for the default one.
        repository_owner: User or organization at the host; empty for who connected it.
        repository_name: Empty for the algorithm's name.
        existing_repository_name: Take this repository as it is, instead of a new one.
        commit_message: Of the first commit.
        credentials: For hosts without OAuth: `username` and `password`, or `secretToken`.
    """

    scm_id: str = ""
    repository_owner: str = ""
    repository_name: str = ""
    existing_repository_name: str = ""
    commit_message: str = ""
    credentials: Mapping[str, str] | None = None


class SourceHosts(Protocol):
    """What services ask of all hosts together."""

    async def choose(self, principal: Principal, wanted: WantedSource) -> str:
        """
        Return the id of the host for a new algorithm.

        Raises:
            ScmNotFound: There is no such host.
            ScmDisabled: It takes no new algorithms.
            ScmNotConnected: The caller has not connected it.
        """
        ...

    async def begin(
        self,
        principal: Principal,
        algorithm: Algorithm,
        wanted: WantedSource,
        *,
        files: Mapping[str, bytes],
        author: Signature,
    ) -> None:
        """
        Make the repository of a new algorithm, with *files* as its first commit.

        Raises:
            RepositoryNotCreated: The host refused; nothing is left of it here.
        """
        ...

    async def end(self, algorithm: Algorithm) -> None:
        """Let go of a deleted algorithm: what is hosted elsewhere stays as it is."""
        ...

    def described(self, algorithm: Algorithm) -> Mapping[str, Any]:
        """Return `source` of the algorithm object: `scm`, and where the repository is."""
        ...


class InternalHosts:
    """The internal host alone; satisfies `SourceHosts`."""

    def __init__(self, repositories: Repositories) -> None:
        self._repositories = repositories

    async def choose(self, _principal: Principal, wanted: WantedSource) -> str:
        """Return the internal host."""
        if wanted.scm_id not in {"", INTERNAL_SCM}:
            raise InvalidInput(f"there is no source host {wanted.scm_id!r}")
        return INTERNAL_SCM

    async def begin(
        self,
        _principal: Principal,
        algorithm: Algorithm,
        wanted: WantedSource,
        *,
        files: Mapping[str, bytes],
        author: Signature,
    ) -> None:
        """Make a bare repository here, and commit into it."""
        await self._repositories.create(algorithm.owner_id, algorithm.algorithm_id)
        await self._repositories.commit(
            algorithm.owner_id,
            algorithm.algorithm_id,
            files,
            author=author,
            message=wanted.commit_message or "Begin with the template\n",
        )

    async def end(self, algorithm: Algorithm) -> None:
        """Remove the repository."""
        await self._repositories.remove(algorithm.owner_id, algorithm.algorithm_id)

    def described(self, _algorithm: Algorithm) -> Mapping[str, Any]:
        """Return the internal host."""
        return {"scm": INTERNAL}
