"""
Source that is hosted elsewhere, brought here: after a webhook, before a build, and now and then.

    webhook ──> job ──┐                       ┌─> a commit that is new: a build
    poll ─ is new? ───┴──> fetch ─────────────┤
    compile ─────────────> fetch              └─> the status of the link

What is fetched becomes the default branch of our own bare repository; from there on it is built
like any other source. A webhook's job outlives the server. Where webhooks get lost, the poll finds
out: it asks every repository for its newest commit, which takes some hundred bytes.

Source: wire specification, "Algorithm SCM status", "Webhook from the SCM host".
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.build.providers.calling import api_of
from algorium_server.build.providers.provider import RemoteRepository
from algorium_server.build.source.fetching import Fetching, RemoteHead
from algorium_server.build.source.remotes import FetchFailed, Remote
from algorium_server.build.source.repositories import Repositories
from algorium_server.domain.algorithms import Algorithm, BuildTrigger
from algorium_server.domain.errors import (
    AlgoriumError,
    ScmFailed,
    ScmForbids,
    ScmNotConnected,
    ScmNotFound,
    ScmUnreachable,
    TooManyRequests,
    Unavailable,
)
from algorium_server.domain.jobs import Job, JobFailed, RetryLater
from algorium_server.domain.limits import (
    SCM_FETCHES_MAX,
    SCM_STATUS_FRESH_S,
)
from algorium_server.domain.scms import (
    LinkSecrets,
    LinkStatus,
    Scm,
    ScmLink,
    ssh_clone_url,
    web_clone_url,
)
from algorium_server.sealing import Seal
from algorium_server.services.authoring.builds import Builds
from algorium_server.services.directory import Directory
from algorium_server.services.source.scm_access import ScmAccess
from algorium_server.services.source.scm_directory import ScmDirectory
from algorium_server.store import jobs as job_rows
from algorium_server.store import scms as rows
from algorium_server.store.database import Database
from algorium_server.telemetry import logger

T = TypeVar("T")

JOB_KIND: Final = "fetch"

_SEALED_AS: Final = "link"
_LFS: Final = "files kept in Git LFS arrive as pointers: put them into the Data API"

_log = logger(__name__)


class _Order(msgspec.Struct):
    """What a job is to do."""

    algorithm_id: str
    trigger: str


class Mirroring:
    """
    Brings commits from elsewhere.

    Args:
        database: Where links and jobs are.
        directory: Which algorithms there are.
        scms: Hosts and links in memory.
        access: Talks to hosts in the name of accounts.
        fetching: Runs git.
        repositories: Where commits go.
        builds: Builds them.
        seal: Opens the secrets of links.
        wake: Tells whoever fetches that something waits, if that is this process.
        clock: Says what time it is.
    """

    def __init__(
        self,
        *,
        database: Database,
        directory: Directory,
        scms: ScmDirectory,
        access: ScmAccess,
        fetching: Fetching,
        repositories: Repositories,
        builds: Builds,
        seal: Seal,
        wake: Callable[[], None] = lambda: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._scms = scms
        self._access = access
        self._fetching = fetching
        self._repositories = repositories
        self._builds = builds
        self._seal = seal
        self._wake = wake
        self._clock = clock
        self._looked_at: dict[str, float] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._looks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        # A look is short, a fetch may be long: neither is to wait for the other.
        self._room = asyncio.Semaphore(SCM_FETCHES_MAX)
        self._room_to_look = asyncio.Semaphore(SCM_FETCHES_MAX)

    # Secrets of links

    def sealed(self, algorithm_id: str, kept: LinkSecrets) -> bytes:
        """Return the secrets of a link, sealed."""
        return self._seal.seal(msgspec.json.encode(kept), owner=algorithm_id, name=_SEALED_AS)

    def secrets(self, link: ScmLink) -> LinkSecrets:
        """Return the secrets of a link."""
        text = self._seal.unseal(link.sealed, owner=link.algorithm_id, name=_SEALED_AS)
        return msgspec.json.decode(text, type=LinkSecrets)

    # Fetching

    async def bring(self, algorithm: Algorithm) -> str:
        """
        Fetch the newest commit of an algorithm's default branch elsewhere, and return it.

        Raises:
            ScmForbids: The host does not let us in.
            ScmFailed: It fails, or does not answer.
        """

        async def fetch(remote: Remote, link: ScmLink) -> str:
            # Not every host tells when the default branch becomes another one: it is asked.
            head = await self._fetching.head(remote)
            if head is None:
                raise FetchFailed("the repository has no commit yet")
            branch = head.branch or link.branch
            await self._note(algorithm.algorithm_id, branch=branch)
            return await self._fetching.fetch(path, remote, branch=branch, newest=head.sha)

        path = self._repositories.path(algorithm.owner_id, algorithm.algorithm_id)
        # Two fetches into one repository would get in each other's way.
        turn = self._turns.setdefault(algorithm.algorithm_id, asyncio.Lock())
        async with turn, self._room:
            await self._repositories.create(algorithm.owner_id, algorithm.algorithm_id)
            sha = await self._reach(algorithm.algorithm_id, fetch)
            has_pointers = await self._fetching.has_pointers(path, sha)
        await self._note(
            algorithm.algorithm_id, status=LinkStatus.ACTIVE, problem=_LFS if has_pointers else ""
        )
        return sha

    async def enqueue(
        self, connection: AsyncConnection, algorithm: Algorithm, trigger: BuildTrigger
    ) -> None:
        """
        Have the newest commit fetched and built, soon and even if this server dies.

        Call `wake` after the commit of the transaction.
        """
        queue = f"{JOB_KIND} {algorithm.algorithm_id}"
        now = self._clock()
        # What waits will find what is new as well.
        if await rows.hasten(connection, queue, now=now):
            return
        order = _Order(algorithm_id=algorithm.algorithm_id, trigger=trigger.value)
        job = Job.new(
            str(uuid.uuid4()),
            JOB_KIND,
            account_id=algorithm.owner_id,
            payload=msgspec.json.encode(order),
            queue=queue,
            now=now,
            is_idempotent=True,
        )
        await job_rows.enqueue(connection, job)

    def wake(self) -> None:
        """Tell whoever fetches that something waits."""
        self._wake()

    async def run(self, job: Job) -> None:
        """
        Do what was asked for: the handler of these jobs.

        Raises:
            JobFailed: The host does not let us in; trying again changes nothing.
            RetryLater: It does not answer now.
        """
        order = msgspec.json.decode(job.payload, type=_Order)
        algorithm = self._directory.algorithm_by_id(order.algorithm_id)
        if algorithm is None:
            return
        try:
            sha = await self.bring(algorithm)
            await self._build(algorithm, sha, BuildTrigger(order.trigger))
        except AlgoriumError as error:
            if self._directory.algorithm_by_id(algorithm.algorithm_id) is None:
                return  # deleted meanwhile
            raise _outcome(error) from error

    async def look(self, algorithm: Algorithm) -> None:
        """Find out how the connection is, unless that was found a moment ago; never raises."""
        # Who asks while another one's look is under way gets to know what that finds.
        async with self._looks.setdefault(algorithm.algorithm_id, asyncio.Lock()):
            looked_at = self._looked_at.get(algorithm.algorithm_id, 0.0)
            if looked_at and monotonic() - looked_at < SCM_STATUS_FRESH_S:
                return
            try:
                await self.head(algorithm)
            except AlgoriumError as error:
                _log.info(
                    "a repository cannot be reached",
                    algorithm=algorithm.algorithm_id,
                    reason=error.message,
                )

    async def head(self, algorithm: Algorithm) -> RemoteHead | None:
        """
        Ask for the newest commit of an algorithm's default branch elsewhere, and note that branch.

        Raises:
            ScmForbids: The host does not let us in.
            ScmFailed: It fails, or does not answer.
        """

        async def look(remote: Remote, _link: ScmLink) -> RemoteHead | None:
            return await self._fetching.head(remote)

        async with self._room_to_look:
            head = await self._reach(algorithm.algorithm_id, look)
        if head is not None and head.branch:
            await self._note(algorithm.algorithm_id, branch=head.branch)
        return head

    # How repositories are reached

    async def remote(self, scm: Scm, link: ScmLink) -> Remote:
        """
        Return how git gets to a repository.

        Raises:
            ScmNotConnected: It takes a connection, and whoever made the link has none any more.
            AlgoriumError: The connection's token has ended, and there is no other.
        """
        if scm.urls.has_ssh:
            return Remote(
                url=ssh_clone_url(scm, link.owner, link.name),
                known_hosts=scm.scm_id,
                private_key=self.secrets(link).private_key,
            )
        credentials = await self._access.credentials(link.account_id, scm)
        return Remote(
            url=web_clone_url(scm, link.owner, link.name),
            known_hosts=scm.scm_id,
            login=api_of(scm).git_login(credentials),
        )

    async def _reach(self, algorithm_id: str, work: Callable[[Remote, ScmLink], Awaitable[T]]) -> T:
        """Do something with a repository; if it is not where it was, look for it and try again."""
        link = self._scms.link(algorithm_id)
        scm = self._scms.scm(link.scm_id) if link is not None else None
        if link is None or scm is None:
            raise ScmNotFound("the algorithm's source host is not known any more")
        try:
            result = await self._try(scm, link, work)
        except FetchFailed as failure:
            found = await self._found_again(scm, link, failure)
            if found is None:
                raise await self._failed(scm, link, failure) from failure
            try:
                result = await self._try(scm, found, work)
            except FetchFailed as again:
                raise await self._failed(scm, found, again) from again
        self._looked_at[algorithm_id] = monotonic()
        if link.status is not LinkStatus.ACTIVE:
            await self._note(algorithm_id, status=LinkStatus.ACTIVE, problem="")
        return result

    async def _try(
        self, scm: Scm, link: ScmLink, work: Callable[[Remote, ScmLink], Awaitable[T]]
    ) -> T:
        try:
            remote = await self.remote(scm, link)
        except ScmNotConnected as error:
            reason = "whoever connected the repository has ended that: connect the host again"
            raise FetchFailed(reason, is_refused=True) from error
        except (ScmFailed, ScmUnreachable, Unavailable) as error:
            raise FetchFailed(error.message) from error
        except AlgoriumError as error:
            raise FetchFailed(error.message, is_refused=True) from error
        return await work(remote, link)

    async def _found_again(self, scm: Scm, link: ScmLink, failure: FetchFailed) -> ScmLink | None:
        """Return where a repository is now, None if that is where it was."""
        changed: dict[str, Any] = {}
        if link.account_id:
            try:
                now = await self._access.ask(
                    link.account_id,
                    scm,
                    lambda api, c: api.repository_now(c, repository_of_link(link)),
                )
                changed = {
                    "owner": now.owner,
                    "name": now.name,
                    "branch": now.branch or link.branch,
                }
            except AlgoriumError:
                changed = {}
        elif not failure.is_refused:
            try:
                head = await self._fetching.head(await self.remote(scm, link))
                changed = {"branch": head.branch} if head is not None and head.branch else {}
            except (FetchFailed, AlgoriumError):
                changed = {}
        if all(getattr(link, name) == value for name, value in changed.items()):
            return None
        await self._note(link.algorithm_id, **changed)
        return replace(link, **changed)

    async def _failed(self, scm: Scm, link: ScmLink, failure: FetchFailed) -> AlgoriumError:
        self._looked_at[link.algorithm_id] = monotonic()
        where = f"{scm.provider.label}, {link.owner}/{link.name}: {failure.reason}"
        if not failure.is_refused:
            await self._note(
                link.algorithm_id, status=LinkStatus.PROVIDER_ERROR, problem=failure.reason
            )
            return ScmFailed(where)
        await self._note(
            link.algorithm_id, status=LinkStatus.DEPLOY_KEY_ERROR, problem=failure.reason
        )
        return ScmForbids(
            where,
            hint="Let the algorithm's deploy key read the repository; scm/status shows it.",
        )

    async def _note(self, algorithm_id: str, **values: Any) -> None:
        """Store what is known of a link now, if it is anything new."""
        link = self._scms.link(algorithm_id)
        if link is None or all(getattr(link, name) == value for name, value in values.items()):
            return
        async with self._database.transaction() as connection:
            await rows.update_link(connection, algorithm_id, **values)
        link = self._scms.link(algorithm_id)
        if link is not None:
            self._scms.put_link(replace(link, **values))

    async def _build(self, algorithm: Algorithm, sha: str, trigger: BuildTrigger) -> None:
        async with self._database.reading() as connection:
            is_known = await rows.has_build(connection, algorithm.algorithm_id, sha)
        link = self._scms.link(algorithm.algorithm_id)
        is_first = link is not None and link.head_sha == sha  # what it was created with
        if not is_known and not is_first:
            await self._builds.request(algorithm, sha, trigger=trigger)
        await self._note(algorithm.algorithm_id, head_sha=sha)


def _outcome(error: AlgoriumError) -> Exception:
    """Return what a job ends with: try again where the host or we were not able to, now."""
    if isinstance(error, (ScmFailed, ScmUnreachable, TooManyRequests, Unavailable)):
        return RetryLater(error.message)
    return JobFailed(error.message)


def repository_of_link(link: ScmLink) -> RemoteRepository:
    """Return a link's repository as providers know it."""
    return RemoteRepository(
        repository_id=link.repository_id, owner=link.owner, name=link.name, branch=link.branch
    )
