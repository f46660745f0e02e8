"""
A repository elsewhere being set up for an algorithm, step by step.

The host knows no transactions. Each step notes how it is taken back; if a later one fails, that is
done in reverse, as far as the host lets us. A repository that was there before is never deleted.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

from algorium_server.build.providers.calling import api_of
from algorium_server.build.providers.provider import Operation, ProviderApi, RemoteRepository
from algorium_server.build.source.fetching import Fetching, new_deploy_key
from algorium_server.build.source.remotes import Remote
from algorium_server.build.source.repositories import Repositories, Signature
from algorium_server.domain.algorithms import Algorithm
from algorium_server.domain.errors import AlgoriumError, ScmLacks, ScmRejects
from algorium_server.domain.limits import SCM_CLEANUP_S_MAX
from algorium_server.domain.scms import (
    LinkSecrets,
    Provider,
    Scm,
    ScmCredentials,
    ScmLink,
    ScmProfile,
    web_clone_url,
)
from algorium_server.services.source.scm_access import ScmAccess
from algorium_server.telemetry import logger

T = TypeVar("T")

_BRANCH: Final = "main"
"""Of a new repository, where the host has no opinion."""

_log = logger(__name__)


@dataclass(slots=True)
class Undoing:
    """How steps are taken back, newest first; what cannot be is logged."""

    steps: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    def add(self, step: Callable[[], Awaitable[None]]) -> None:
        """Note how the step just taken is taken back."""
        self.steps.append(step)

    async def run(self) -> None:
        """Take all steps back."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SCM_CLEANUP_S_MAX):
                for step in reversed(self.steps):
                    try:
                        await step()
                    except AlgoriumError as error:
                        _log.warning("something is left at a source host", reason=error.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositorySetup:
    """
    What one setup needs.

    Attributes:
        access: Talks to the host.
        fetching: Runs git.
        repositories: Where commits are kept here.
        undoing: Told how steps are taken back.
        algorithm: Whose repository it becomes.
        title: The algorithm's name with its owner's.
        scm: The host.
        account_id: Whose connection is used; empty if *credentials* were given for once.
        credentials: What is shown to the host.
        owner: Of the repository, there.
        name: Of the repository.
        is_existing: It is there already.
        webhook_url: Where the host sends messages.
    """

    access: ScmAccess
    fetching: Fetching
    repositories: Repositories
    undoing: Undoing
    algorithm: Algorithm
    title: str
    scm: Scm
    account_id: str
    credentials: ScmCredentials
    owner: str
    name: str
    is_existing: bool
    webhook_url: str

    async def run(
        self,
        files: Mapping[str, bytes],
        author: Signature,
        *,
        message: str,
        seal: Callable[[LinkSecrets], bytes],
        now: datetime,
    ) -> ScmLink:
        """
        Set everything up; return the link, to be stored.

        Args:
            files: The first commit, unless there is one.
            author: Who makes it.
            message: Its message.
            seal: Seals what belongs to the link.
            now: The time.

        Raises:
            FetchFailed: The host does not take the commit, or does not give its own.
            AlgoriumError: It refuses another step, fails, or does not answer.
        """
        algorithm = self.algorithm
        repository = await self._repository()
        await self.repositories.create(algorithm.owner_id, algorithm.algorithm_id)
        self.undoing.add(
            lambda: self.repositories.remove(algorithm.owner_id, algorithm.algorithm_id)
        )
        branch, sha = await self._source(repository, files, author, message)
        private_key, public_key = new_deploy_key()
        kept = LinkSecrets(private_key=private_key, webhook_secret=secrets.token_urlsafe(32))
        key_id = await self._add_key(repository, public_key) if self.scm.urls.has_ssh else ""
        webhook_id = await self._add_webhook(repository, kept.webhook_secret)
        return ScmLink(
            algorithm_id=algorithm.algorithm_id,
            scm_id=self.scm.scm_id,
            account_id=self.account_id,
            repository_id=repository.repository_id,
            owner=repository.owner,
            name=repository.name,
            branch=branch,
            head_sha=sha,
            deploy_key_id=key_id,
            webhook_id=webhook_id,
            public_key=public_key if key_id else "",
            sealed=seal(kept),
            created_at=now,
        )

    async def _repository(self) -> RemoteRepository:
        if self.is_existing:
            return await self._ask(
                lambda api, c: api.repository(c, owner=self.owner, name=self.name)
            )
        made = await self._ask(
            lambda api, c: api.create_repository(
                c,
                owner=self.owner,
                name=self.name,
                description=f"Source of the algorithm {self.title}",
            )
        )
        self.undoing.add(lambda: self._ask(lambda api, c: api.remove_repository(c, made)))
        return made

    async def _source(
        self,
        repository: RemoteRepository,
        files: Mapping[str, bytes],
        author: Signature,
        message: str,
    ) -> tuple[str, str]:
        """Take what is there, or begin with *files*; return branch and commit."""
        owner_id, algorithm_id = self.algorithm.owner_id, self.algorithm.algorithm_id
        path = self.repositories.path(owner_id, algorithm_id)
        remote = Remote(
            url=web_clone_url(self.scm, repository.owner, repository.name),
            known_hosts=self.scm.scm_id,
            login=api_of(self.scm).git_login(self.credentials),
        )
        head = await self.fetching.head(remote) if self.is_existing else None
        if head is not None:
            branch = head.branch or repository.branch or _BRANCH
            return branch, await self.fetching.fetch(path, remote, branch=branch)
        sha = await self.repositories.commit(
            owner_id, algorithm_id, files, author=author, message=message
        )
        branch = repository.branch or _BRANCH
        await self.fetching.push(path, remote, branch=branch)
        return branch, sha

    async def _add_key(self, repository: RemoteRepository, public_key: str) -> str:
        key_id = await self._ask(
            lambda api, c: api.add_deploy_key(
                c, repository, title=f"Algorium {self.title}", public_key=public_key
            )
        )
        self.undoing.add(
            lambda: self._ask(lambda api, c: api.remove_deploy_key(c, repository, key_id))
        )
        return key_id

    async def _add_webhook(self, repository: RemoteRepository, secret: str) -> str:
        try:
            webhook_id = await self._ask(
                lambda api, c: api.add_webhook(c, repository, url=self.webhook_url, secret=secret)
            )
        except ScmRejects as error:
            if isinstance(error, ScmLacks):
                raise
            # Usually it cannot reach this server, and says so. Pushes are found by looking.
            _log.warning("a source host takes no webhook", url=self.webhook_url, why=error.message)
            return ""
        self.undoing.add(
            lambda: self._ask(lambda api, c: api.remove_webhook(c, repository, webhook_id))
        )
        return webhook_id

    async def _ask(self, operation: Callable[[ProviderApi, ScmCredentials], Operation[T]]) -> T:
        if self.account_id:
            return await self.access.ask(self.account_id, self.scm, operation)
        return await self.access.ask_with(self.credentials, self.scm, operation)


def default_owner(scm: Scm, profile: ScmProfile) -> str:
    """Return to whom a new repository belongs at a host, if nobody says."""
    if scm.provider is Provider.BITBUCKET_SERVER:
        return scm.client_id
    if scm.provider is Provider.BITBUCKET_CLOUD:
        # Repositories are in workspaces; the user's own is usually called like the user.
        names = [one.name for one in profile.organizations]
        owned = [one.name for one in profile.organizations if one.access_level == "OWNER"]
        if names and profile.username not in names:
            return (owned or names)[0]
    return profile.username
