"""The worker on both databases, with handlers that succeed, fail, hang and die."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import rows

from algorium_server.domain.errors import TooManyRequests
from algorium_server.domain.jobs import Job, JobState, NotDelivered, RetryLater
from algorium_server.domain.limits import JOB_ATTEMPTS_MAX, JOB_KEEP_S, JOB_POLL_S
from algorium_server.jobs.worker import JobWorker
from algorium_server.store import accounts, jobs
from algorium_server.store.database import Database, sqlite_url

JANE = rows.account("jane")
PATIENCE_S = 20.0


@pytest.fixture
def owned(database: Database, runner: asyncio.Runner) -> Database:
    async def add_owner():
        async with database.transaction() as connection:
            await accounts.add_account(connection, JANE)

    runner.run(add_owner())
    return database


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


def test_a_queued_job_runs_and_is_done(owned: Database, runner: asyncio.Runner):
    job, seen = new_job(), []

    async def handler(job: Job) -> None:
        seen.append((job.job_id, job.payload, job.state, job.attempts))

    async def scenario():
        await queue(owned, job)
        async with working(owned, handler):
            return await wait_for_state(owned, job, JobState.DONE)

    done = runner.run(scenario())

    assert seen == [(job.job_id, b"payload", JobState.RUNNING, 1)]
    assert (done.payload, done.error, done.lease_until) == (b"", "", None)
    assert done.finished_at == rows.NOW


def test_a_woken_worker_does_not_wait_for_its_next_look(owned: Database, runner: asyncio.Runner):
    first, second, clock = new_job(), new_job(due_at=rows.NOW + timedelta(seconds=1)), Clock()

    async def scenario():
        gate = Gate()
        gate.may_go_on.set()
        await queue(owned, first, second)
        async with working(owned, gate, clock=clock) as worker:
            await wait_for_state(owned, first, JobState.DONE)
            gate.began.clear()
            clock.advance(1)
            worker.wake()
            await asyncio.wait_for(gate.began.wait(), JOB_POLL_S / 2)

    runner.run(scenario())


def test_only_so_many_jobs_run_at_the_same_time(owned: Database, runner: asyncio.Runner):
    queued = [new_job() for _ in range(7)]

    async def scenario():
        gate = Gate()
        await queue(owned, *queued)
        async with working(owned, gate, concurrency=3) as worker:

            async def has_begun_three() -> bool:
                return len(gate.seen) >= 3

            await wait_until(has_begun_three)
            worker.wake()
            left = await claim(owned)
            begun = len(gate.seen)
            gate.may_go_on.set()
            for job in queued:
                if job.job_id != left.job_id:
                    await wait_for_state(owned, job, JobState.DONE)
        return begun

    assert runner.run(scenario()) == 3


def test_failures_are_kept_with_their_text_and_stop_nothing(
    owned: Database, runner: asyncio.Runner
):
    queued = [new_job(payload=text) for text in (b"crash", b"refuse", b"cancel", b"work")]

    async def handler(job: Job) -> None:
        match job.payload:
            case b"crash":
                raise ZeroDivisionError("1/0 " + "x" * 10_000)
            case b"refuse":
                raise TooManyRequests("80 calls at most", detail="secret")
            case b"cancel":
                raise asyncio.CancelledError

    async def scenario():
        await queue(owned, *queued)
        async with working(owned, handler):
            await wait_for_state(owned, queued[-1], JobState.DONE)
            return [await wait_for_state(owned, job, JobState.FAILED) for job in queued[:-1]]

    crashed, refused, cancelled = runner.run(scenario())

    assert crashed.error.startswith("ZeroDivisionError: 1/0 xxx")
    assert len(crashed.error) == 4096
    assert refused.error == "80 calls at most"
    assert cancelled.error == "interrupted: it was cancelled"
    assert crashed.payload == b"crash"


def test_what_was_not_delivered_is_tried_again_later(owned: Database, runner: asyncio.Runner):
    job, clock, attempts = new_job(), Clock(), []

    async def handler(job: Job) -> None:
        attempts.append(job.attempts)
        if job.attempts == 1:
            raise NotDelivered("no slot is free")

    async def scenario():
        await queue(owned, job)
        async with working(owned, handler, clock=clock) as worker:
            await wait_until(lambda: has_error(owned, job))
            waiting = await read(owned, job)
            clock.advance(1.5)
            worker.wake()
            return waiting, await wait_for_state(owned, job, JobState.DONE)

    waiting, done = runner.run(scenario())

    assert (waiting.state, waiting.error) == (JobState.QUEUED, "no slot is free")
    assert waiting.due_at == rows.NOW + timedelta(seconds=1)
    assert attempts == [1, 2]
    assert (done.fence, done.error) == (2, "")


async def has_error(database: Database, job: Job) -> bool:
    return bool((await read(database, job)).error)


def test_a_job_that_is_never_delivered_fails_in_the_end(owned: Database, runner: asyncio.Runner):
    job = new_job()

    async def handler(job: Job) -> None:
        raise RetryLater("full", after_s=0)

    async def scenario():
        await queue(owned, job)
        async with working(owned, handler):
            return await wait_for_state(owned, job, JobState.FAILED)

    failed = runner.run(scenario())

    assert failed.attempts == JOB_ATTEMPTS_MAX
    assert failed.error == f"gave up after {JOB_ATTEMPTS_MAX} attempts: full"


def test_jobs_of_other_kinds_are_left_alone(owned: Database, runner: asyncio.Runner):
    other, ours = new_job(kind="build"), new_job()

    async def scenario():
        gate = Gate()
        gate.may_go_on.set()
        await queue(owned, other, ours)
        async with working(owned, gate):
            await wait_for_state(owned, ours, JobState.DONE)
        return await read(owned, other)

    assert runner.run(scenario()) == other


def test_what_a_dead_process_left_running_is_never_run_again(
    owned: Database, runner: asyncio.Runner
):
    left, queued = new_job(), new_job(due_at=rows.NOW + timedelta(seconds=1))

    async def scenario():
        gate = Gate()
        gate.may_go_on.set()
        await queue(owned, left, queued)
        await claim(owned)
        async with working(owned, gate, clock=Clock(rows.NOW + timedelta(seconds=31))):
            await wait_for_state(owned, queued, JobState.DONE)
        return await read(owned, left), [job.job_id for job in gate.seen]

    failed, seen = runner.run(scenario())

    assert (failed.state, failed.error) == (JobState.FAILED, "interrupted by a restart")
    assert failed.finished_at is not None
    assert seen == [queued.job_id]


def test_only_a_database_of_its_own_makes_leases_of_others_void(
    owned: Database, runner: asyncio.Runner
):
    job = new_job()

    async def scenario():
        await queue(owned, job)
        await claim(owned)
        async with working(owned, Gate()):
            pass
        return (await read(owned, job)).state

    # The lease lasts: on PostgreSQL another server may well be at work.
    expected = JobState.FAILED if owned.is_exclusive else JobState.RUNNING
    assert runner.run(scenario()) is expected


def test_an_idempotent_job_survives_its_process(owned: Database, runner: asyncio.Runner):
    job, clock = new_job(is_idempotent=True), Clock(rows.NOW + timedelta(seconds=31))

    async def scenario():
        gate = Gate()
        gate.may_go_on.set()
        await queue(owned, job)
        await claim(owned)
        async with working(owned, gate, clock=clock) as worker:
            clock.advance(5)
            worker.wake()
            return await wait_for_state(owned, job, JobState.DONE)

    assert runner.run(scenario()).attempts == 2


def test_a_job_whose_lease_ends_is_given_up_while_others_run(
    owned: Database, runner: asyncio.Runner
):
    lost, clock = new_job(), Clock()

    async def scenario():
        async with working(owned, Gate(), clock=clock) as worker:
            await queue(owned, replace(lost, kind="of another server"))
            await claim(owned)
            clock.advance(31)
            worker.wake()
            return await wait_for_state(owned, lost, JobState.FAILED)

    assert runner.run(scenario()).error == "interrupted: the server that ran it is gone"


def test_heartbeats_keep_a_long_job(owned: Database, runner: asyncio.Runner):
    job = new_job(due_at=datetime.now(UTC))

    def real_time() -> datetime:
        return datetime.now(UTC)

    async def scenario():
        gate = Gate()
        await queue(owned, job)
        async with working(owned, gate, lease_s=0.3, clock=real_time):
            await wait_for(gate.began)
            first = gate.seen[0].lease_until

            async def outlives_its_first_lease() -> bool:
                return datetime.now(UTC) > first and (await read(owned, job)).lease_until > first

            await wait_until(outlives_its_first_lease)
            gate.may_go_on.set()
            return await wait_for_state(owned, job, JobState.DONE)

    assert runner.run(scenario()).attempts == 1


def test_a_job_taken_over_by_others_is_stopped_here(owned: Database, runner: asyncio.Runner):
    job = new_job()
    was_cancelled = asyncio.Event()

    async def handler(job: Job) -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            was_cancelled.set()

    began = asyncio.Event()

    async def scenario():
        await queue(owned, job)
        async with working(owned, handler, lease_s=0.1):
            await wait_for(began)
            async with owned.transaction() as connection:
                claimed = await jobs.job(connection, job.job_id)
                await jobs.fail(connection, claimed, now=rows.NOW, error="taken")
            await wait_for(was_cancelled)
        return await read(owned, job)

    assert runner.run(scenario()).error == "taken"


# A second server on the same SQLite file would take the first one's jobs for orphans.
@pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.postgresql)], indirect=True
)
def test_two_workers_run_every_job_once(owned: Database, runner: asyncio.Runner):
    queued = [new_job() for _ in range(40)]
    seen = []

    async def handler(job: Job) -> None:
        seen.append(job.job_id)
        await asyncio.sleep(0)

    async def scenario():
        await queue(owned, *queued)
        async with working(owned, handler, concurrency=4), working(owned, handler, concurrency=4):
            for job in queued:
                await wait_for_state(owned, job, JobState.DONE)

    runner.run(scenario())

    assert sorted(seen) == [job.job_id for job in queued]


def test_stopping_waits_for_what_ends_in_time(owned: Database, runner: asyncio.Runner):
    job, late = new_job(), new_job()

    async def scenario():
        gate = Gate()
        await queue(owned, job)
        worker = JobWorker(owned, {"call": gate}, concurrency=1, clock=Clock())
        await worker.start()
        await wait_for(gate.began)
        await queue(owned, late)
        stopping = asyncio.create_task(worker.stop(PATIENCE_S))
        await asyncio.sleep(0)
        gate.may_go_on.set()
        await stopping
        return (await read(owned, job)).state, await read(owned, late)

    assert runner.run(scenario()) == (JobState.DONE, late)


@pytest.mark.parametrize(
    ("payload", "is_idempotent", "state", "error"),
    [
        (b"stops", False, JobState.FAILED, "interrupted by shutdown"),
        (b"stubborn", False, JobState.FAILED, "interrupted by shutdown"),
        (b"stops", True, JobState.QUEUED, "interrupted by shutdown"),
        (b"queued", False, JobState.QUEUED, "the call was still waiting"),
        (b"finishes", False, JobState.DONE, ""),
    ],
)
def test_stopping_cuts_off_what_takes_too_long(
    owned: Database, runner: asyncio.Runner, payload, is_idempotent, state, error
):
    job = new_job(payload=payload, is_idempotent=is_idempotent)

    async def scenario():
        began, may_end = asyncio.Event(), asyncio.Event()

        async def handler(job: Job) -> None:
            began.set()
            while not may_end.is_set():
                try:
                    await may_end.wait()
                except asyncio.CancelledError:
                    match job.payload:
                        case b"queued":
                            raise NotDelivered("the call was still waiting") from None
                        case b"finishes":
                            return
                        case b"stops":
                            raise

        await queue(owned, job)
        worker = JobWorker(owned, {"call": handler}, clock=Clock())
        await worker.start()
        await wait_for(began)
        await worker.stop(0.01, cancel_s=0.1)
        may_end.set()
        return await read(owned, job)

    ended = runner.run(scenario())

    assert (ended.state, ended.error) == (state, error)


def test_old_finished_jobs_are_deleted(owned: Database, runner: asyncio.Runner):
    old, recent, clock = new_job(), new_job(), Clock()

    async def is_gone(job: Job) -> bool:
        async with owned.reading() as connection:
            return await jobs.job(connection, job.job_id) is None

    async def scenario():
        gate = Gate()
        gate.may_go_on.set()
        async with working(owned, gate, clock=clock) as worker:
            for job in (old, recent):
                await queue(owned, job)
                worker.wake()
                await wait_for_state(owned, job, JobState.DONE)
                clock.advance(JOB_KEEP_S / 2 + 1)
            worker.wake()
            await wait_until(lambda: is_gone(old))
            return await read(owned, recent)

    assert runner.run(scenario()).state is JobState.DONE


_DYING_SERVER = """
import asyncio, sys
from datetime import UTC, datetime
from algorium_server.jobs.worker import JobWorker
from algorium_server.store.database import Database

async def handler(job):
    print("running", flush=True)
    await asyncio.Event().wait()

async def main():
    database = await Database.open(sys.argv[1])
    worker = JobWorker(database, {"call": handler}, concurrency=1)
    await worker.start()
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_killed_server_loses_no_queued_job_and_repeats_none(sqlite_file: Path):
    running, queued = new_job(), new_job(due_at=rows.NOW + timedelta(seconds=1))
    url = sqlite_url(sqlite_file)

    async def before():
        async with await Database.open(url) as database:
            async with database.transaction() as connection:
                await accounts.add_account(connection, JANE)
            await queue(database, running, queued)

    async def after():
        async with await Database.open(url) as database:
            gate = Gate()
            gate.may_go_on.set()
            async with working(database, gate, clock=lambda: datetime.now(UTC)):
                await wait_for_state(database, queued, JobState.DONE)
            return await read(database, running), [job.job_id for job in gate.seen]

    asyncio.run(before())
    with subprocess.Popen(
        [sys.executable, "-c", _DYING_SERVER, url], stdout=subprocess.PIPE, text=True
    ) as server:
        said = server.stdout.readline()
        os.kill(server.pid, signal.SIGKILL)
    interrupted, seen = asyncio.run(after())

    assert said == "running\n"
    assert (interrupted.state, interrupted.error) == (JobState.FAILED, "interrupted by a restart")
    assert seen == [queued.job_id]


@pytest.mark.slow
@pytest.mark.postgresql
def test_the_end_of_a_job_is_written_when_the_database_is_back(
    postgres, runner: asyncio.Runner, caplog: pytest.LogCaptureFixture
):
    url = postgres.new_database()
    name = url.rpartition("/")[2].partition("?")[0]
    job = new_job()

    async def scenario():
        gate = Gate()
        async with await Database.open(url) as database:
            async with database.transaction() as connection:
                await accounts.add_account(connection, JANE)
            await queue(database, job)
            async with working(database, gate):
                await wait_for(gate.began)
                await asyncio.to_thread(close_for_everybody)
                gate.may_go_on.set()
                await wait_until(has_failed_once)
                await asyncio.to_thread(open_again)
                return await wait_for_state(database, job, JobState.DONE)

    async def has_failed_once() -> bool:
        return "cannot be written now" in caplog.text

    def close_for_everybody() -> None:
        postgres.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        postgres.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )

    def open_again() -> None:
        postgres.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    assert runner.run(scenario()).attempts == 1
