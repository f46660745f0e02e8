"""
The worker: claims jobs, hands them to handlers, keeps their leases alive, records how they end.

One task claims (`_claim_loop`), one task per running job watches its handler (`_watch`). A job's
end is always written by its watcher, so a handler that is cancelled, lost or stubborn has one
place that decides about it:

| the handler                           | the job                                             |
|---------------------------------------|-----------------------------------------------------|
| returns                               | done                                                |
| raises `RetryLater` or `NotDelivered` | queued again, later; failed after too many attempts |
| raises anything else                  | failed, with the text                               |
| is cut off by a shutdown              | failed, unless idempotent or not delivered          |
| dies with its process                 | the same, at the next start or when the lease ends  |

What cannot be written because the database is away ends as in the last row: never run twice.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from algorium_server.domain.errors import AlgoriumError
from algorium_server.domain.jobs import Job, JobFailed, RetryLater
from algorium_server.domain.limits import (
    JOB_CANCEL_S,
    JOB_ERROR_CHARS_MAX,
    JOB_KEEP_S,
    JOB_LEASE_S,
    JOB_POLL_S,
    JOB_PRUNE_S,
    JOB_RETRY_S_FIRST,
    JOBS_CONCURRENT_MAX,
)
from algorium_server.jobs.retry import (
    Decision,
    GiveUp,
    Requeue,
    after_interruption,
    after_not_delivered,
)
from algorium_server.store import jobs as job_rows
from algorium_server.store.database import AsyncConnection, Database
from algorium_server.telemetry import logger

Handler = Callable[[Job], Awaitable[None]]
"""Does the work of one job; see the module for what its end means."""

OnGivenUp = Callable[[Job, GiveUp], None]
"""Told of each job that failed without its handler's own word on it, once that is written."""

_BY_RESTART: Final = "interrupted by a restart"
_BY_SHUTDOWN: Final = "interrupted by shutdown"
_BY_LOSS: Final = "interrupted: the server that ran it is gone"
_BY_ITSELF: Final = "interrupted: it was cancelled"
_BEATS_PER_LEASE: Final = 3
"""Two heartbeats may be lost or late before others take the worker for dead."""

_log = logger(__name__)


class JobWorker:
    """
    Runs durable jobs, a number of them at the same time.

    Lives in the event loop of its database. Start it once, stop it once.
    """

    def __init__(
        self,
        database: Database,
        handlers: Mapping[str, Handler],
        *,
        concurrency: int = JOBS_CONCURRENT_MAX,
        lease_s: float = JOB_LEASE_S,
        poll_s: float = JOB_POLL_S,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        on_given_up: OnGivenUp = lambda _job, _decision: None,
        name: str = "",
    ) -> None:
        """
        Make a worker that does nothing yet.

        Args:
            database: Where the jobs are.
            handlers: By kind; jobs of other kinds are left to other workers.
            concurrency: How many jobs run at the same time.
            poll_s: How soon work is noticed that other processes queue.
            lease_s: After this long without a sign of life others may decide about a job.
            clock: Returns the time, UTC-aware.
            on_given_up: Told of jobs that were interrupted, or tried too often.
            name: Of the worker, if nobody else has it on this database until this one is gone:
                what ran under it before is then known to be interrupted. By default host and pid.
        """
        self._on_given_up = on_given_up
        self._database = database
        self._handlers = dict(handlers)
        self._concurrency = concurrency
        self._lease_s = lease_s
        self._poll_s = poll_s
        self._clock = clock
        self._is_successor = bool(name)
        self._name = name or f"{socket.gethostname()}:{os.getpid()}"
        self._watchers: dict[asyncio.Task[None], Job] = {}
        self._at_work: set[asyncio.Task[None]] = set()
        self._wakened = asyncio.Event()
        self._is_stopping = False
        self._claimer: asyncio.Task[None] | None = None
        self._next_reap_at = self._next_prune_at = clock()

    async def start(self) -> None:
        """
        Settle what earlier processes left behind, then begin to claim.

        Raises:
            Unavailable: The database does not answer.
        """
        while await self._settle_orphans(_BY_RESTART, is_first=True):
            pass
        self._claimer = asyncio.create_task(self._claim_loop(), name="jobs")

    def wake(self) -> None:
        """Say that there is something to claim; without it a queued job waits for the next poll."""
        self._wakened.set()

    async def stop(self, grace_s: float, *, cancel_s: float = JOB_CANCEL_S) -> None:
        """
        Claim nothing more and end what runs.

        Args:
            grace_s: How long running handlers may go on; then they are cancelled.
            cancel_s: How long cancelled handlers may take to clean up.
        """
        self._is_stopping = True
        self.wake()
        if self._claimer is not None:
            await self._claimer
        await self._wait_for_watchers(grace_s)
        for handler in self._at_work:
            handler.cancel()
        await self._wait_for_watchers(cancel_s)
        # What is left belongs to handlers that ignore being cancelled: go on without them.
        for watcher in self._watchers:
            watcher.cancel()
        await self._wait_for_watchers(None)

    async def _claim_loop(self) -> None:
        while not self._is_stopping:
            self._wakened.clear()
            try:
                await self._keep_house()
                await self._claim_all()
            except Exception:
                _log.exception("jobs cannot be claimed now; trying again", after_s=self._poll_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wakened.wait(), self._poll_s)

    async def _claim_all(self) -> None:
        while len(self._watchers) < self._concurrency:
            now = self._clock()
            async with self._database.transaction() as connection:
                job = await job_rows.claim(
                    connection,
                    now=now,
                    lease_s=self._lease_s,
                    worker=self._name,
                    kinds=self._handlers,
                )
            if job is None:
                return
            if self._is_stopping:
                await self._record(job, Requeue(due_at=job.due_at, reason=_BY_SHUTDOWN))
                return
            watcher = asyncio.create_task(self._watch(job), name=f"job {job.job_id}")
            self._watchers[watcher] = job
            watcher.add_done_callback(self._forget)

    def _forget(self, watcher: asyncio.Task[None]) -> None:
        del self._watchers[watcher]
        self.wake()

    async def _watch(self, job: Job) -> None:
        handler = asyncio.create_task(self._handle(job), name=f"handler {job.job_id}")
        self._at_work.add(handler)
        handler.add_done_callback(self._at_work.discard)
        try:
            is_ours = await self._keep_alive(job, handler)
        except asyncio.CancelledError:
            _log.error("a job does not stop; going on without it", job=job.job_id, kind=job.kind)
            await self._record(job, after_interruption(job, _BY_SHUTDOWN, now=self._clock()))
            return
        if is_ours:
            await self._record(job, self._outcome(job, handler))
            return
        _log.error("a job was taken over; stopping it here", job=job.job_id, kind=job.kind)
        handler.cancel()
        await asyncio.wait({handler}, timeout=JOB_CANCEL_S)

    async def _handle(self, job: Job) -> None:
        await self._handlers[job.kind](job)

    async def _keep_alive(self, job: Job, handler: asyncio.Task[None]) -> bool:
        """Prolong the lease until the handler ends; return False once the job is not ours."""
        while True:
            await asyncio.wait({handler}, timeout=self._lease_s / _BEATS_PER_LEASE)
            if handler.done():
                return True
            lease_until = self._clock() + timedelta(seconds=self._lease_s)
            try:
                async with self._database.transaction() as connection:
                    if not await job_rows.heartbeat(connection, job, lease_until=lease_until):
                        return False
            except AlgoriumError:
                _log.exception("no heartbeat for a job; it goes on", job=job.job_id)

    def _outcome(self, job: Job, handler: asyncio.Task[None]) -> Decision | None:
        """Decide about a job whose handler has ended; None means that it is done."""
        now = self._clock()
        if handler.cancelled():
            reason = _BY_SHUTDOWN if self._is_stopping else _BY_ITSELF
            return after_interruption(job, reason, now=now)
        match handler.exception():
            case None:
                return None
            case RetryLater() as refusal:
                return after_not_delivered(job, refusal, now=now)
            case JobFailed() as failed:
                return GiveUp(reason=str(failed), is_reported=True)
            case error:
                _log.error("a job failed", job=job.job_id, kind=job.kind, exc_info=error)
                return GiveUp(reason=_text_of(error))

    async def _record(self, job: Job, decision: Decision | None) -> None:
        """
        Write how a run ended; while the database is away, keep trying for as long as the lease.

        What cannot be written stays "running" and is settled when its lease has ended.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._lease_s
        while True:
            try:
                async with self._database.transaction() as connection:
                    is_written = await _write(connection, job, decision, now=self._clock())
            except AlgoriumError:
                if self._is_stopping or loop.time() + JOB_RETRY_S_FIRST > until:
                    _log.exception("the end of a job is lost", job=job.job_id, kind=job.kind)
                    return
                _log.warning("the end of a job cannot be written now", job=job.job_id)
                await asyncio.sleep(JOB_RETRY_S_FIRST)
                continue
            if not is_written:
                _log.error("a job was taken over before it ended", job=job.job_id, kind=job.kind)
            elif isinstance(decision, GiveUp) and not decision.is_reported:
                self._on_given_up(job, decision)
            return

    async def _keep_house(self) -> None:
        now = self._clock()
        if now >= self._next_reap_at:
            self._next_reap_at = now + timedelta(seconds=JOB_POLL_S)
            await self._settle_orphans(_BY_LOSS)
        if now >= self._next_prune_at:
            self._next_prune_at = now + timedelta(seconds=JOB_PRUNE_S)
            async with self._database.transaction() as connection:
                finished_before = now - timedelta(seconds=JOB_KEEP_S)
                await job_rows.prune(connection, finished_before=finished_before)

    async def _settle_orphans(self, reason: str, *, is_first: bool = False) -> int:
        """
        Decide about jobs whose worker is gone; return how many there were.

        At the first look, every job that "runs" is an orphan on a database of our own, and those
        that run under our name are on any; among several servers only the end of the lease tells.
        A job watched here is none, however late its heartbeat. At the first look, kinds that are
        not ours are left to the workers that have them: they may run in this very process.
        """
        now = self._clock()
        kinds = self._handlers
        async with self._database.transaction() as connection:
            if is_first and self._database.is_exclusive:
                found = await job_rows.running(connection, kinds=kinds)
            elif is_first and self._is_successor:
                found = await job_rows.running(connection, worker=self._name, kinds=kinds)
            else:
                found = await job_rows.expired(connection, now)
            watched = {job.job_id for job in self._watchers.values()}
            orphans = [job for job in found if job.job_id not in watched]
            decisions = [after_interruption(job, reason, now=now) for job in orphans]
            for job, decision in zip(orphans, decisions, strict=True):
                _log.warning("a job has no worker", job=job.job_id, kind=job.kind, reason=reason)
                await _write(connection, job, decision, now=now)
        for job, decision in zip(orphans, decisions, strict=True):
            if isinstance(decision, GiveUp) and job.kind in self._handlers:
                self._on_given_up(job, decision)
        return len(orphans)

    async def _wait_for_watchers(self, timeout_s: float | None) -> None:
        if self._watchers:
            await asyncio.wait(set(self._watchers), timeout=timeout_s)


async def _write(
    connection: AsyncConnection, job: Job, decision: Decision | None, *, now: datetime
) -> bool:
    match decision:
        case None:
            return await job_rows.finish(connection, job, now=now)
        case Requeue(due_at=due_at, reason=reason):
            return await job_rows.release(connection, job, due_at=due_at, error=_cut(reason))
        case GiveUp(reason=reason):
            return await job_rows.fail(connection, job, now=now, error=_cut(reason))


def _text_of(error: BaseException) -> str:
    if isinstance(error, AlgoriumError):
        return error.message
    return f"{type(error).__name__}: {error}"


def _cut(text: str) -> str:
    return text[:JOB_ERROR_CHARS_MAX]
