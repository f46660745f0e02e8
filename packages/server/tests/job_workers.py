"""Workers under test: a clock to advance, a handler to hold, and waiting for what they do."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import rows

from algorium_server.domain.jobs import Job, JobState
from algorium_server.jobs.worker import JobWorker
from algorium_server.store import accounts, jobs
from algorium_server.store.database import Database

JANE = rows.account("jane")
PATIENCE_S = 60.0


async def add_owner(database: Database) -> None:
    async with database.transaction() as connection:
        await accounts.add_account(connection, JANE)


@dataclass
class Clock:
    """Time that passes when told to."""

    now: datetime = rows.NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Gate:
    """A handler that says when it began and goes on when it may."""

    began: asyncio.Event = field(default_factory=asyncio.Event)
    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)
    seen: list[Job] = field(default_factory=list)

    async def __call__(self, job: Job) -> None:
        self.seen.append(job)
        self.began.set()
        await self.may_go_on.wait()


def new_job(**fields) -> Job:
    return rows.job(JANE.account_id, **fields)


async def queue(database: Database, *queued: Job) -> None:
    async with database.transaction() as connection:
        for job in queued:
            await jobs.enqueue(connection, job)


async def claim(database: Database, *, now: datetime = rows.NOW) -> Job | None:
    async with database.transaction() as connection:
        return await jobs.claim(connection, now=now, lease_s=30, worker="other")


async def read(database: Database, job: Job) -> Job:
    async with database.reading() as connection:
        found = await jobs.job(connection, job.job_id)
    assert found is not None
    return found


async def wait_until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(0.01)


async def wait_for_state(database: Database, job: Job, state: JobState) -> Job:
    async def is_there() -> bool:
        return (await read(database, job)).state is state

    await wait_until(is_there)
    return await read(database, job)


async def wait_for(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), PATIENCE_S)


@asynccontextmanager
async def working(database: Database, handler, **options):
    worker = JobWorker(database, {"call": handler}, **({"clock": Clock()} | options))
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop(0, cancel_s=0.1)


async def has_error(database: Database, job: Job) -> bool:
    return bool((await read(database, job)).error)
