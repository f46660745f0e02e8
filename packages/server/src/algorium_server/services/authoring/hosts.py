"""
Where the source of an algorithm is hosted: here, or by a provider.

The protocol is what services ask of a host; `internal` is the one that every server brings.

Source: wire specification, "SCM object", "Create, read, update, delete".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from algorium_server.build.source.repositories import Repositories, Signature
from algorium_server.domain.algorithms import INTERNAL_SCM, Algorithm
from algorium_server.domain.errors import UnknownScm
from algorium_server.domain.identity import Principal
from algorium_server.domain.scms import internal_object

INTERNAL: Final[Mapping[str, Any]] = internal_object(is_default=True)
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
            UnknownScm: There is no such host.
            ScmDisabled: It takes no new algorithms.
            ScmNeedsConnecting: The caller has not connected it.
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

    async def refresh(self, algorithm: Algorithm) -> None:
        """
        Bring what has been pushed elsewhere into the repository here, before it is built.

        Raises:
            AlgoriumError: The host refuses, or does not answer; the message has its words.
        """
        ...

    async def status(self, algorithm: Algorithm, *, is_manager: bool) -> Mapping[str, Any]:
        """
        Return how the connection to the host is: `scm_connection_status` and more.

        Args:
            algorithm: Which one; whoever asks may see it.
            is_manager: Whoever asks may change it, and see the deploy key and the webhook.
        """
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
            raise UnknownScm(f"there is no source host {wanted.scm_id[:80]!r}")
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

    async def refresh(self, _algorithm: Algorithm) -> None:
        """Do nothing: what was pushed is here."""

    async def status(
        self,
        _algorithm: Algorithm,
        *,
        is_manager: bool,  # noqa: ARG002 - the protocol's
    ) -> Mapping[str, Any]:
        """Return that it is here."""
        return {"scm_connection_status": "active"}

    def described(self, _algorithm: Algorithm) -> Mapping[str, Any]:
        """Return the internal host."""
        return {"scm": INTERNAL}


class Hosts:
    """
    The internal host and all others; satisfies `SourceHosts`.

    Args:
        internal: The one that every server brings.
        external: Those that administrators have added.
        default_id: Says which host new algorithms get that name none.
    """

    def __init__(
        self, internal: SourceHosts, external: SourceHosts, *, default_id: Callable[[], str]
    ) -> None:
        self._internal = internal
        self._external = external
        self._default_id = default_id

    async def choose(self, principal: Principal, wanted: WantedSource) -> str:
        """Return the id of the host for a new algorithm; see `SourceHosts`."""
        wanted = replace(wanted, scm_id=wanted.scm_id or self._default_id())
        host = self._internal if wanted.scm_id == INTERNAL_SCM else self._external
        return await host.choose(principal, wanted)

    async def begin(
        self,
        principal: Principal,
        algorithm: Algorithm,
        wanted: WantedSource,
        *,
        files: Mapping[str, bytes],
        author: Signature,
    ) -> None:
        """Make the repository of a new algorithm; see `SourceHosts`."""
        await self._of(algorithm).begin(principal, algorithm, wanted, files=files, author=author)

    async def end(self, algorithm: Algorithm) -> None:
        """Let go of a deleted algorithm; see `SourceHosts`."""
        await self._of(algorithm).end(algorithm)

    async def refresh(self, algorithm: Algorithm) -> None:
        """Bring what has been pushed elsewhere; see `SourceHosts`."""
        await self._of(algorithm).refresh(algorithm)

    async def status(self, algorithm: Algorithm, *, is_manager: bool) -> Mapping[str, Any]:
        """Return how the connection to the host is; see `SourceHosts`."""
        return await self._of(algorithm).status(algorithm, is_manager=is_manager)

    def described(self, algorithm: Algorithm) -> Mapping[str, Any]:
        """Return `source` of the algorithm object; see `SourceHosts`."""
        if algorithm.scm_id != INTERNAL_SCM:
            return self._external.described(algorithm)
        return {"scm": {**INTERNAL, "default": self._default_id() == INTERNAL_SCM}}

    def _of(self, algorithm: Algorithm) -> SourceHosts:
        return self._internal if algorithm.scm_id == INTERNAL_SCM else self._external
