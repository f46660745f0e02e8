"""
Builds: asked for now, done by whoever has the duties, one after the other for each algorithm.

A build that was asked for is two rows, written in one transaction: the build, in progress from then
on, and a job in the queue of its algorithm. A server that dies takes neither along. The next one
finds the job and builds the commit again from the start: what a build makes is found by its id, so
twice is as good as once.

    request ──> waits ──> begins ──> succeeded
                  │          │  └──> failed
                  └─ cancel ─┴─────> failed, cancelled

Source: wire specification, "Compile", "Builds"; of the runtime, "Triggers, records, logs".
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from algorium_server.build.build_log import BuildLog
from algorium_server.build.builder import Builder
from algorium_server.build.source.repositories import Repositories
from algorium_server.domain.algorithms import Algorithm, Build, BuildStatus, BuildTrigger
from algorium_server.domain.errors import (
    AlgoriumError,
    BudgetExceeded,
    BuildNotFound,
    InvalidInput,
    NotFound,
)
from algorium_server.domain.jobs import Job, JobFailed, RetryLater
from algorium_server.domain.limits import BUILD_POLL_S
from algorium_server.domain.quotas import DEFAULT_QUOTAS, Quotas
from algorium_server.jobs.retry import GiveUp
from algorium_server.services.authoring.build_logs import BuildLogs
from algorium_server.services.authoring.build_quotas import BuildQuotas
from algorium_server.services.directory import Directory
from algorium_server.store import algorithms as rows
from algorium_server.store import jobs as job_rows
from algorium_server.store.database import Database
from algorium_server.telemetry import logger

JOB_KIND: Final = "build"

_log = logger(__name__)


class Builds:
    """
    Use cases of builds. Whether somebody may ask for them is decided by the caller.

    Args:
        database: Where rows are.
        directory: Told of everything new.
        builder: Builds commits.
        repositories: Where source is.
        logs: What builds say; beside their trees if not given.
        wake: Tells whoever builds that something waits, if that is this process.
        quotas_of: Says what an account may use.
        clock: Says what time it is.
    """

    def __init__(
        self,
        *,
        database: Database,
        directory: Directory,
        builder: Builder,
        repositories: Repositories,
        logs: BuildLogs | None = None,
        wake: Callable[[], None] = lambda: None,
        quotas_of: Callable[[str], Quotas] = lambda _account_id: DEFAULT_QUOTAS,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._builder = builder
        self._repositories = repositories
        self.logs = logs or BuildLogs(database, directory, builder.logs_dir)
        self._wake = wake
        self._quotas = BuildQuotas(quotas_of, kind=JOB_KIND, clock=clock)
        self._clock = clock
        self._giving_up: set[asyncio.Task[None]] = set()

    async def request(
        self,
        algorithm: Algorithm,
        commit_sha: str = "",
        *,
        requested_by: str = "",
        trigger: BuildTrigger = BuildTrigger.COMPILE,
    ) -> Build:
        """
        Ask for a build of a commit; return at once.

        A build of that commit that has not ended is joined: clients repeat what seems to fail.

        Args:
            algorithm: What to build.
            commit_sha: Which commit; the newest one of the default branch if empty.
            requested_by: Id of the account that asks.
            trigger: Why.

        Raises:
            InvalidInput: There is no commit yet.
            TooManyRequests: Enough builds of its owner are waiting.
            BudgetExceeded: The owner has used up its build minutes of this month.
        """
        commit_sha = await self._commit(algorithm, commit_sha)
        async with self._database.transaction() as connection:
            await rows.hold_algorithm(connection, algorithm.algorithm_id)
            build = await rows.build_in_progress(connection, algorithm.algorithm_id, commit_sha)
            if build is None:
                await self._quotas.check_request(connection, algorithm.owner_id)
                build = self._new(algorithm, commit_sha, requested_by, trigger)
                job = Job.new(
                    build.build_id,
                    JOB_KIND,
                    account_id=algorithm.owner_id,
                    payload=b"",
                    queue=f"build {algorithm.algorithm_id}",
                    now=build.started_at,
                    is_idempotent=True,
                )
                await rows.add_build(connection, build)
                await job_rows.enqueue(connection, job)
        self._directory.put_build(build)
        self._wake()
        return build

    async def build_now(
        self,
        algorithm: Algorithm,
        commit_sha: str = "",
        *,
        trigger: BuildTrigger = BuildTrigger.COMPILE,
        on_step: Callable[[str], None] | None = None,
    ) -> Build:
        """
        Build a commit here and now, past the queue; for the server's own algorithms.

        Returns:
            The build with its log, succeeded or failed.

        Raises:
            InvalidInput: There is no commit yet.
            Unavailable: This host offers no confinement.
        """
        commit_sha = await self._commit(algorithm, commit_sha)
        build = self._new(algorithm, commit_sha, "", trigger)
        async with self._database.transaction() as connection:
            await rows.add_build(connection, build)
        self._directory.put_build(build)
        try:
            return await self._perform(build, algorithm, on_step)
        except asyncio.CancelledError:
            log = self.logs.open(build.build_id)
            failed = self._failed(build, "it was interrupted", log)
            await asyncio.shield(self._finish(failed, log))
            raise

    async def run(self, job: Job) -> None:
        """
        Do what was asked for: the handler of these jobs.

        Raises:
            JobFailed: The build came to nothing that can be shown in its log.
            RetryLater: Its algorithm is so new that it is not known here yet.
        """
        async with self._database.reading() as connection:
            build = await rows.build(connection, job.job_id)
        if build is None or build.status is not BuildStatus.IN_PROGRESS:
            return  # its algorithm is gone, or it was cancelled while it waited
        algorithm = self._directory.algorithm_by_id(build.algorithm_id)
        if algorithm is None:
            raise RetryLater("its algorithm is not known here yet")
        self._directory.put_build(build)  # another gateway may have been asked for it
        try:
            await self._check_still(build, algorithm)
            await self._perform(build, algorithm, None)
        except AlgoriumError as error:
            raise JobFailed(error.message) from error

    async def _check_still(self, build: Build, algorithm: Algorithm) -> None:
        """Let a build fail that waited while others used up the budget."""
        try:
            async with self._database.reading() as connection:
                await self._quotas.check_budget(connection, algorithm.owner_id)
        except BudgetExceeded as error:
            log = self.logs.open(build.build_id)
            await self._finish(self._failed(build, error.message, log), log)
            raise

    def given_up(self, job: Job, decision: GiveUp) -> None:
        """Let a build fail that was interrupted too often, or met a fault of ours."""
        _log.error("a build was given up", build=job.job_id, reason=decision.reason)
        failing = asyncio.get_running_loop().create_task(self._fail(job.job_id, decision.reason))
        self._giving_up.add(failing)
        failing.add_done_callback(self._giving_up.discard)

    async def _fail(self, build_id: str, reason: str) -> None:
        async with self._database.reading() as connection:
            build = await rows.build(connection, build_id)
        if build is not None and build.status is BuildStatus.IN_PROGRESS:
            log = self.logs.open(build_id)
            await self._finish(self._failed(build, reason, log), log)

    async def cancel(self, algorithm: Algorithm, build_id: str, *, by: str) -> Build:
        """
        End a build that has not ended; one that has is left as it is.

        Args:
            algorithm: Whose build it is.
            build_id: Which one.
            by: Name of who wants it, for the log.

        Returns:
            The build as it is now: it may take a moment to end.

        Raises:
            BuildNotFound: The algorithm has no such build.
        """
        failure = f"cancelled by {by}"
        async with self._database.transaction() as connection:
            build = await rows.build(connection, build_id, is_held=True)
            if build is None or build.algorithm_id != algorithm.algorithm_id:
                raise BuildNotFound
            if build.status is not BuildStatus.IN_PROGRESS:
                return build
            build = replace(build, failure=failure)
            if build.began_at is None:
                build = self._failed(build, failure, BuildLog())
            await rows.update_build(connection, build)
        self._directory.put_build(build)
        return build

    async def wait(self, build_id: str) -> Build:
        """
        Return a build with its log once it has ended.

        Raises:
            BuildNotFound: There is none, or its algorithm is gone meanwhile.
        """
        while (build := self._directory.build(build_id)) is not None:
            if build.status is not BuildStatus.IN_PROGRESS:
                return await self.build(build_id)
            await asyncio.sleep(BUILD_POLL_S)
        raise BuildNotFound

    async def build(self, build_id: str) -> Build:
        """
        Return a build with its log.

        Raises:
            BuildNotFound: There is none.
        """
        async with self._database.reading() as connection:
            build = await rows.build(connection, build_id)
        if build is None:
            raise BuildNotFound
        return build

    async def follow(self, build_id: str) -> AsyncIterator[str]:
        """
        Yield what a build says, from its first line to its last, as it says it.

        Pieces are whole lines where possible. See `logs` for where to begin, and for silence.

        Raises:
            BuildNotFound: There is none, or its algorithm is gone meanwhile.
            TooManyRequests: Too many read already.
        """
        async for piece in self.logs.pieces(build_id):
            if piece.text:
                yield piece.text

    async def recover(self) -> None:
        """
        Tidy up after a server that did not stop by itself: before the first build of this one.

        Builds whose job is still there go on. Others have failed. What they left is removed.
        """
        async with self._database.transaction() as connection:
            builds = await rows.builds(connection)
            waiting = await job_rows.unfinished(connection, kind=JOB_KIND)
            interrupted = [
                self._failed(build, "the server stopped meanwhile", self.logs.open(build.build_id))
                for build in builds
                if build.status is BuildStatus.IN_PROGRESS and build.build_id not in waiting
            ]
            for build in interrupted:
                await rows.update_build(connection, build)
        for build in interrupted:
            self._directory.put_build(build)
        await self.logs.sweep(waiting)
        await self._builder.sweep([b.build_id for b in builds if b.status is BuildStatus.SUCCEEDED])

    async def _commit(self, algorithm: Algorithm, commit_sha: str) -> str:
        if commit_sha:
            return commit_sha
        head = await self._repositories.head(algorithm.owner_id, algorithm.algorithm_id)
        if head is None:
            raise InvalidInput(f"{algorithm.name} has no source yet: commit some first")
        return head

    def _new(
        self, algorithm: Algorithm, commit_sha: str, requested_by: str, trigger: BuildTrigger
    ) -> Build:
        return Build(
            build_id=str(uuid.uuid4()),
            algorithm_id=algorithm.algorithm_id,
            commit_sha=commit_sha,
            status=BuildStatus.IN_PROGRESS,
            trigger=trigger,
            requested_by=requested_by,
            started_at=self._clock(),
        )

    async def _perform(
        self, build: Build, algorithm: Algorithm, on_step: Callable[[str], None] | None
    ) -> Build:
        async with self._database.transaction() as connection:
            stored = await rows.build(connection, build.build_id, is_held=True)
            if stored is None or stored.status is not BuildStatus.IN_PROGRESS:
                return build  # cancelled meanwhile
            was_cancelled = bool(stored.failure)
            build = replace(stored, began_at=self._clock())
            await rows.update_build(connection, build)
        self._directory.put_build(build)
        log = self.logs.open(build.build_id)
        if was_cancelled:  # but its server was gone before it ended
            return await self._finish(self._failed(build, build.failure, log), log)
        building = asyncio.ensure_future(
            self._builder.build(build, algorithm=algorithm, log=log, on_step=on_step)
        )
        try:
            while not (await asyncio.wait({building}, timeout=BUILD_POLL_S))[0]:
                known = self._directory.build(build.build_id)
                if known is None or known.failure:  # deleted, or cancelled
                    building.cancel()
                    await asyncio.wait({building})
                    reason = known.failure if known is not None else "its algorithm was deleted"
                    return await self._finish(self._failed(build, reason, log), log, algorithm)
            built = building.result()
        except asyncio.CancelledError:
            # The server stops. In the queue, the build stays in progress: the next server does it.
            building.cancel()
            await asyncio.wait({building})
            log.close()
            raise
        except Exception as error:
            # Nobody may find it "in progress" for ever.
            reason = error.message if isinstance(error, AlgoriumError) else "an internal error"
            await asyncio.shield(self._finish(self._failed(build, reason, log), log, algorithm))
            raise
        built = replace(built, log=log.finish(), finished_at=self._clock())
        return await self._finish(built, log, algorithm)

    def _failed(self, build: Build, reason: str, log: BuildLog) -> Build:
        log.say(f"Build failed: {reason}")
        return replace(
            build,
            status=BuildStatus.FAILED,
            failure=reason,
            log=log.finish(),
            finished_at=self._clock(),
        )

    async def _finish(self, build: Build, log: BuildLog, charged: Algorithm | None = None) -> Build:
        """Record the end of a build, and its time with the owner of *charged*."""
        try:
            async with self._database.transaction() as connection:
                await rows.update_build(connection, build)
                if charged is not None:
                    await self._quotas.charge(connection, build, charged.owner_id)
        except NotFound:  # its algorithm was deleted meanwhile
            async with self._database.transaction() as connection:
                if charged is not None:
                    await self._quotas.charge(connection, build, charged.owner_id)
            log.remove()
            await self._builder.remove([build.build_id])
            return build
        self._directory.put_build(build)
        log.remove()  # whoever follows finds the rest in the database
        return build
