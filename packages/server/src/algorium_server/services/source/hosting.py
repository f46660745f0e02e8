"""
Git hosting: who may clone and push, and how many at a time. What a push means is in `pushing`.

Source: wire specification, "Internal git hosting".
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from enum import StrEnum

from algorium.wire.refs import AlgorithmRef, RefSyntaxError
from algorium_server.build.source.git_serving import GitAnswer, GitRequest, GitServer
from algorium_server.build.source.repositories import Repositories
from algorium_server.domain import authorship
from algorium_server.domain.access import Refused
from algorium_server.domain.algorithms import INTERNAL_SCM, Algorithm
from algorium_server.domain.authorship import Act
from algorium_server.domain.errors import (
    NotAuthorized,
    NotFound,
    SourceNotHostedHere,
    Unavailable,
)
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import GIT_PROCESSES_MAX, GIT_PROCESSES_PER_ACCOUNT_MAX
from algorium_server.domain.quotas import busy
from algorium_server.services.authoring.authors import Authors
from algorium_server.services.directory import Directory
from algorium_server.services.source.pushing import Pushing


class GitService(StrEnum):
    """What git asks a repository for; the values are git's."""

    FETCH = "git-upload-pack"
    PUSH = "git-receive-pack"


class GitPlaces:
    """Places for whatever keeps a git process for as long as its client likes to read."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    @contextmanager
    def taken(self, account_id: str) -> Iterator[None]:
        """
        Take a place for as long as a block lasts.

        Raises:
            TooManyRequests: The account has its share.
            Unavailable: There is none left.
        """
        if self._taken[account_id] >= GIT_PROCESSES_PER_ACCOUNT_MAX:
            raise busy(
                f"An account has {GIT_PROCESSES_PER_ACCOUNT_MAX} clones, pushes and archives"
                " under way at most; try again when one has ended."
            )
        if self._taken.total() >= GIT_PROCESSES_MAX:
            raise Unavailable(
                "The server is busy with other clones, pushes and archives; try again."
            )
        self._taken[account_id] += 1
        try:
            yield
        finally:
            self._taken[account_id] -= 1
            if not self._taken[account_id]:
                del self._taken[account_id]


class Hosting:
    """
    Use cases of git.

    Args:
        directory: Who and what there is.
        authors: Says who may do what.
        repositories: Where source is.
        server: Speaks git.
        pushing: Judges pushes, and has them built.
        places: Says how many are served at a time.
    """

    def __init__(
        self,
        *,
        directory: Directory,
        authors: Authors,
        repositories: Repositories,
        server: GitServer,
        pushing: Pushing,
        places: GitPlaces,
    ) -> None:
        self._directory = directory
        self._authors = authors
        self._repositories = repositories
        self._server = server
        self._pushing = pushing
        self._places = places
        self._renewed: set[str] = set()

    def algorithm(
        self, principal: Principal, *, owner: str, name: str, service: GitService
    ) -> Algorithm:
        """
        Return the algorithm whose repository is asked for, if the caller may have it.

        Raises:
            NotFound: There is none, or the caller may not know of it.
            NotAuthorized: The caller may not do this; says why.
            SourceNotHostedHere: It is pushed to where it is hosted.
        """
        missing = NotFound(f"There is no repository {owner}/{name}, or it is not yours to see.")
        try:
            found = self._directory.algorithm(AlgorithmRef(owner=owner, name=name))
        except RefSyntaxError:
            raise missing from None
        if found is None:
            raise missing
        act = Act.CHANGE if service is GitService.PUSH else Act.READ_SOURCE
        is_public = self._authors.is_public(found)
        verdict = authorship.may(principal, act, found, is_public=is_public)
        if isinstance(verdict, Refused):
            if not self._authors.may(principal, Act.SEE, found):
                raise missing
            wanted = "push to" if act is Act.CHANGE else "clone"
            raise NotAuthorized(
                f"{principal.account.username} may not {wanted} {owner}/{name}: {verdict.reason}."
            )
        if service is GitService.PUSH and found.scm_id != INTERNAL_SCM:
            raise SourceNotHostedHere(
                f"The source of {owner}/{name} is hosted elsewhere: push it there."
            )
        return found

    @asynccontextmanager
    async def serve(
        self,
        principal: Principal,
        algorithm: Algorithm,
        service: GitService,
        body: AsyncIterator[bytes],
        *,
        method: str,
        path: str,
        query: str,
        variables: Mapping[str, str],
    ) -> AsyncIterator[GitAnswer]:
        """
        Serve one request of git; what is under way when the block is left is ended.

        Args:
            principal: Who asks.
            algorithm: As `algorithm` returned it.
            service: What for.
            body: Of the request.
            method: Of the request.
            path: Behind the repository's address.
            query: Of the request.
            variables: What CGI says of it beside.

        Raises:
            NotFound: The repository is gone.
            TooManyRequests: The account has too many clones and pushes under way.
            Unavailable: The server has.
        """
        request = GitRequest(
            repository=self._repositories.path(algorithm.owner_id, algorithm.algorithm_id),
            method=method,
            path=path,
            query=query,
            user=principal.account.username,
            variables=variables,
        )
        if not (request.repository / "HEAD").exists():
            raise NotFound(f"{algorithm.name} has no source repository.")
        if algorithm.algorithm_id not in self._renewed:
            await self._repositories.renew(algorithm.owner_id, algorithm.algorithm_id)
            self._renewed.add(algorithm.algorithm_id)
        with self._places.taken(principal.account.account_id):
            if service is GitService.FETCH or method != "POST":
                async with self._server.serve(request, body) as answer:
                    yield answer
                return
            push = self._pushing.begin(principal, algorithm, request.repository)
            try:
                async with self._server.serve(request, body, push.answer) as answer:
                    yield answer
            finally:
                await asyncio.shield(push.end())
