"""
Algorithms whose source is hosted elsewhere: what is asked of their hosts.

Source: wire specification, "Create, read, update, delete", "Algorithm SCM status".
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from algorium_server.build.providers.provider import Operation, ProviderApi
from algorium_server.build.source.fetching import Fetching
from algorium_server.build.source.remotes import FetchFailed
from algorium_server.build.source.repositories import Repositories, Signature
from algorium_server.domain.algorithms import Algorithm
from algorium_server.domain.errors import (
    AlgoriumError,
    InvalidInput,
    RepositoryNotCreated,
    ScmDisabled,
    ScmNeedsConnecting,
    ScmNotConnected,
    ScmRejectsCredentials,
    UnknownScm,
)
from algorium_server.domain.identity import Principal
from algorium_server.domain.scm_names import check_repository, check_word
from algorium_server.domain.scms import (
    LinkStatus,
    Scm,
    ScmCredentials,
    ScmLink,
    ScmProfile,
    link_members,
    scm_object,
)
from algorium_server.services.authoring.hosts import WantedSource
from algorium_server.services.directory import Directory
from algorium_server.services.source.mirroring import Mirroring, repository_of_link
from algorium_server.services.source.repository_setup import RepositorySetup, Undoing, default_owner
from algorium_server.services.source.scm_access import ScmAccess
from algorium_server.services.source.scm_connections import given_credentials
from algorium_server.services.source.scm_directory import ScmDirectory
from algorium_server.store import scms as rows
from algorium_server.store.database import Database

_MESSAGE: Final = "Begin with the template\n"
_NO_WEBHOOK: Final = (
    "the host has no webhook: pushes are found only by looking for them now and then. Give the "
    "server a --public-url that the host can reach, and add the webhook there"
)
_LONELY_S: Final = 3600.0
"""A link without an algorithm is left over after this; before, one may be in the making."""


class ExternalHosts:
    """
    All hosts but the internal one; satisfies `SourceHosts` for their algorithms.

    Args:
        database: Where links are kept.
        directory: Who owns what.
        scms: Hosts and links in memory.
        access: Talks to hosts.
        mirroring: Fetches, and knows how repositories are reached.
        fetching: Runs git.
        repositories: Where commits go.
        api: Base address of this server, for webhooks.
        clock: Says what time it is.
    """

    def __init__(
        self,
        *,
        database: Database,
        directory: Directory,
        scms: ScmDirectory,
        access: ScmAccess,
        mirroring: Mirroring,
        fetching: Fetching,
        repositories: Repositories,
        api: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._scms = scms
        self._access = access
        self._mirroring = mirroring
        self._fetching = fetching
        self._repositories = repositories
        self._api = api
        self._clock = clock

    async def choose(self, principal: Principal, wanted: WantedSource) -> str:
        """Return the id of the host, or say what is wrong with it; see `SourceHosts`."""
        scm = self._scms.scm(wanted.scm_id)
        if scm is None:
            raise UnknownScm(f"there is no source host {wanted.scm_id[:80]!r}")
        if not scm.is_enabled:
            raise ScmDisabled
        if wanted.credentials and not scm.provider.has_oauth:
            return scm.scm_id
        if await self._access.profile_of(principal.account.account_id, scm) is None:
            raise ScmNeedsConnecting(
                f"connect your account with {scm.name or scm.scm_id} first",
                hint=f"GET /v1/scms/{scm.scm_id}/oauth/start, or POST a token to token/connect.",
            )
        return scm.scm_id

    async def begin(
        self,
        principal: Principal,
        algorithm: Algorithm,
        wanted: WantedSource,
        *,
        files: Mapping[str, bytes],
        author: Signature,
    ) -> None:
        """Set up a repository, with a deploy key and a webhook; see `SourceHosts`."""
        scm = self._scms.scm(algorithm.scm_id)
        if scm is None:
            raise UnknownScm(f"there is no source host {algorithm.scm_id[:80]!r}")
        undoing = Undoing()
        try:
            setup = await self._setup(principal, algorithm, scm, wanted, undoing=undoing)
            link = await setup.run(
                files,
                author,
                message=wanted.commit_message or _MESSAGE,
                seal=partial(self._mirroring.sealed, algorithm.algorithm_id),
                now=self._clock(),
            )
            async with self._database.transaction() as connection:
                await rows.add_link(connection, link)
        except BaseException as error:
            # Also when whoever asked has gone: nobody else knows what was set up.
            await asyncio.shield(undoing.run())
            told = _not_created(scm, error)
            if told is error:
                raise
            raise told from error
        self._scms.put_link(link)

    async def end(self, algorithm: Algorithm) -> None:
        """Remove our webhook and deploy key, as far as the host lets us; see `SourceHosts`."""
        link = self._scms.link(algorithm.algorithm_id)
        if link is not None:
            await self._let_go(link)
        await self._repositories.remove(algorithm.owner_id, algorithm.algorithm_id)

    async def refresh(self, algorithm: Algorithm) -> None:
        """Fetch what was pushed there."""
        await self._mirroring.bring(algorithm)

    async def status(self, algorithm: Algorithm, *, is_manager: bool) -> Mapping[str, Any]:
        """Return how the connection is; see `SourceHosts`."""
        await self._mirroring.look(algorithm)
        link = self._scms.link(algorithm.algorithm_id)
        if link is None:
            return {"scm_connection_status": LinkStatus.PROVIDER_ERROR.value}
        members: dict[str, Any] = {"scm_connection_status": link.status.value}
        if is_manager:
            members["repository_public_deploy_key"] = link.public_key
            members["repository_webhook_secret"] = self._mirroring.secrets(link).webhook_secret
            members["repository_webhook_url"] = self._webhook_url(algorithm.algorithm_id)
            if problem := link.problem or ("" if link.webhook_id else _NO_WEBHOOK):
                members["scm_connection_problem"] = problem
        return members

    def described(self, algorithm: Algorithm) -> Mapping[str, Any]:
        """Return `source` of the algorithm object."""
        scm, link = self._scms.scm(algorithm.scm_id), self._scms.link(algorithm.algorithm_id)
        described = {"id": algorithm.scm_id} if scm is None else scm_object(scm)
        return {"scm": described, **(link_members(scm, link) if link is not None else {})}

    async def sweep(self) -> None:
        """Let go of what belongs to no algorithm: a crash came in between."""
        before = self._clock() - timedelta(seconds=_LONELY_S)
        async with self._database.reading() as connection:
            lonely = await rows.lonely_links(connection, created_before=before)
        for link in lonely:
            await self._let_go(link)

    async def _setup(
        self,
        principal: Principal,
        algorithm: Algorithm,
        scm: Scm,
        wanted: WantedSource,
        *,
        undoing: Undoing,
    ) -> RepositorySetup:
        account_id, credentials, profile = await self._who(principal, scm, wanted)
        owner = wanted.repository_owner or default_owner(scm, profile)
        name = wanted.existing_repository_name or wanted.repository_name or algorithm.name
        check_repository(owner, name)
        check_word(wanted.commit_message.replace("\n", " "), "initial_commit_message")
        return RepositorySetup(
            access=self._access,
            fetching=self._fetching,
            repositories=self._repositories,
            undoing=undoing,
            algorithm=algorithm,
            title=f"{self._directory.owner_name(algorithm)}/{algorithm.name}",
            scm=scm,
            account_id=account_id,
            credentials=credentials,
            owner=owner,
            name=name,
            is_existing=bool(wanted.existing_repository_name),
            webhook_url=self._webhook_url(algorithm.algorithm_id),
        )

    async def _who(
        self, principal: Principal, scm: Scm, wanted: WantedSource
    ) -> tuple[str, ScmCredentials, ScmProfile]:
        """Return whose connection is used, none if credentials came along, and who that is."""
        if wanted.credentials and not scm.provider.has_oauth:
            given = given_credentials(
                scm,
                token=wanted.credentials.get("secretToken", ""),
                username=wanted.credentials.get("username", ""),
                password=wanted.credentials.get("password", ""),
            )
            profile = await self._access.ask_with(given, scm, lambda api, c: api.profile(c))
            return "", replace(given, username=given.username or profile.username), profile
        account_id = principal.account.account_id
        credentials = await self._access.credentials(account_id, scm)
        stored = await self._access.profile_of(account_id, scm)
        if stored is None:
            raise ScmNotConnected  # ended in this very moment
        return account_id, credentials, stored

    async def _let_go(self, link: ScmLink) -> None:
        scm = self._scms.scm(link.scm_id)
        if scm is not None and link.account_id:
            repository = repository_of_link(link)
            undoing = Undoing()

            def at_host(
                operation: Callable[[ProviderApi, ScmCredentials], Operation[None]],
            ) -> Callable[[], Awaitable[None]]:
                return lambda: self._access.ask(link.account_id, scm, operation)

            if link.webhook_id:
                undoing.add(
                    at_host(lambda api, c: api.remove_webhook(c, repository, link.webhook_id))
                )
            if link.deploy_key_id:
                undoing.add(
                    at_host(lambda api, c: api.remove_deploy_key(c, repository, link.deploy_key_id))
                )
            await undoing.run()
        async with self._database.transaction() as connection:
            await rows.remove_link(connection, link.algorithm_id)
        self._scms.remove_link(link.algorithm_id)

    def _webhook_url(self, algorithm_id: str) -> str:
        return f"{self._api}/v1/algorithms/{algorithm_id}/scm/webhook"


def _not_created(scm: Scm, error: BaseException) -> BaseException:
    """Return what is told of a setup that failed."""
    if isinstance(error, (ScmNotConnected, ScmRejectsCredentials)):
        return ScmNeedsConnecting(error.message, hint=error.hint)
    if isinstance(error, FetchFailed):
        what = f"{scm.provider.label} and git do not get on: {error.reason}"
        return RepositoryNotCreated(what)
    if isinstance(error, AlgoriumError) and not isinstance(error, InvalidInput):
        return RepositoryNotCreated(error.message, hint=error.hint)
    return error
