"""The worker on both databases: claims, runs, retries and records."""

import asyncio
from datetime import timedelta

import pytest
import rows
from job_workers import (
    Clock,
    Gate,
    add_owner,
    claim,
    has_error,
    new_job,
    queue,
    read,
    wait_for_state,
    wait_until,
    working,
)

from algorium_server.domain.errors import TooManyRequests
from algorium_server.domain.jobs import Job, JobFailed, JobState, NotDelivered, RetryLater
from algorium_server.domain.limits import JOB_ATTEMPTS_MAX, JOB_KEEP_S, JOB_POLL_S
from algorium_server.jobs.retry import GiveUp
from algorium_server.store import jobs
from algorium_server.store.database import Database


@pytest.fixture
def owned(database: Database, runner: asyncio.Runner) -> Database:
    runner.run(add_owner(database))
    return database


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


def test_whoever_must_know_is_told_of_jobs_that_say_nothing_themselves(
    owned: Database, runner: asyncio.Runner
):
    failed, crashed, undelivered, done = queued = [new_job(payload=b"%d" % n) for n in range(4)]
    told: dict[str, GiveUp] = {}

    async def handler(job: Job) -> None:
        if job.job_id == failed.job_id:
            raise JobFailed("told already")
        if job.job_id == crashed.job_id:
            raise ZeroDivisionError
        if job.job_id == undelivered.job_id:
            raise RetryLater("full", after_s=0)

    async def scenario():
        await queue(owned, *queued)
        options = {"on_given_up": lambda job, decision: told.update({job.job_id: decision})}
        async with working(owned, handler, **options):
            for job in queued:
                await wait_for_state(owned, job, JobState.DONE if job is done else JobState.FAILED)

    runner.run(scenario())

    assert {job_id: decision.may_have_run for job_id, decision in told.items()} == {
        crashed.job_id: True,
        undelivered.job_id: False,
    }


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
