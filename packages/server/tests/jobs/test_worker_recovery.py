"""The worker on both databases when processes die, hang, stop, or the database is away."""

import asyncio
import io
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import rows
from job_workers import (
    PATIENCE_S,
    Clock,
    Gate,
    add_owner,
    claim,
    new_job,
    queue,
    read,
    wait_for,
    wait_for_state,
    wait_until,
    working,
)

from algorium_server import telemetry
from algorium_server.domain.jobs import Job, JobState, NotDelivered
from algorium_server.jobs.retry import GiveUp
from algorium_server.jobs.worker import JobWorker
from algorium_server.store import jobs
from algorium_server.store.database import Database, sqlite_url


@pytest.fixture
def owned(database: Database, runner: asyncio.Runner) -> Database:
    runner.run(add_owner(database))
    return database


def test_what_a_dead_process_left_running_is_never_run_again(
    owned: Database, runner: asyncio.Runner
):
    left, queued = new_job(), new_job(due_at=rows.NOW + timedelta(seconds=1))

    async def scenario():
        gate = Gate()
        gate.may_go_on.set()
        await queue(owned, left, queued)
        await claim(owned)
        options = {"on_given_up": lambda job, decision: told.append((job.job_id, decision))}
        clock = Clock(rows.NOW + timedelta(seconds=31))
        async with working(owned, gate, clock=clock, **options):
            await wait_for_state(owned, queued, JobState.DONE)
        return await read(owned, left), [job.job_id for job in gate.seen]

    told: list[tuple[str, GiveUp]] = []
    failed, seen = runner.run(scenario())

    assert (failed.state, failed.error) == (JobState.FAILED, "interrupted by a restart")
    assert failed.finished_at is not None
    assert seen == [queued.job_id]
    assert told == [(left.job_id, GiveUp(reason="interrupted by a restart"))]


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


def test_what_ran_under_the_name_of_a_worker_was_interrupted_when_it_comes_back(
    database_url: str, runner: asyncio.Runner
):
    """One of several gateways dies: its successor has its name, the others go on."""
    mine, of_another = new_job(), new_job(due_at=rows.NOW + timedelta(seconds=1))

    async def scenario():
        async with await Database.open(database_url, is_shared=True) as shared:
            await add_owner(shared)
            await queue(shared, mine, of_another)
            for worker in ("gateway 0", "gateway 1"):
                async with shared.transaction() as connection:
                    now = rows.NOW + timedelta(seconds=2)
                    await jobs.claim(connection, now=now, lease_s=30, worker=worker)
            async with working(shared, Gate(), name="gateway 0"):
                return [(await read(shared, job)).state for job in (mine, of_another)]

    assert runner.run(scenario()) == [JobState.FAILED, JobState.RUNNING]


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
            await add_owner(database)
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
def test_the_end_of_a_job_is_written_when_the_database_is_back(postgres, runner: asyncio.Runner):
    log = io.StringIO()
    telemetry.configure("info", "json", file=log)
    url = postgres.new_database()
    name = url.rpartition("/")[2].partition("?")[0]
    job = new_job()

    async def scenario():
        gate = Gate()
        async with await Database.open(url) as database:
            await add_owner(database)
            await queue(database, job)
            async with working(database, gate):
                await wait_for(gate.began)
                await asyncio.to_thread(close_for_everybody)
                gate.may_go_on.set()
                await wait_until(has_failed_once)
                await asyncio.to_thread(open_again)
                return await wait_for_state(database, job, JobState.DONE)

    async def has_failed_once() -> bool:
        return "cannot be written now" in log.getvalue()

    def close_for_everybody() -> None:
        postgres.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        postgres.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )

    def open_again() -> None:
        postgres.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    assert runner.run(scenario()).attempts == 1
