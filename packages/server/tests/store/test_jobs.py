"""Jobs on both databases: a state machine, and claims that race."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
import rows
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, select

from algorium_server.domain.jobs import Job, JobState
from algorium_server.store import accounts, columns, jobs
from algorium_server.store.database import Database
from algorium_server.store.tables.work import jobs as jobs_table

JANE = rows.account("jane")
JOE = rows.account("joe")
LEASE_S = 30.0


@pytest.fixture
def owned(database: Database, runner: asyncio.Runner) -> Database:
    async def add_owners():
        async with database.transaction() as connection:
            await accounts.add_account(connection, JANE)
            await accounts.add_account(connection, JOE)

    runner.run(add_owners())
    return database


async def queue(database: Database, *queued: Job) -> None:
    async with database.transaction() as connection:
        for job in queued:
            await jobs.enqueue(connection, job)


async def claim(database: Database, *, now=rows.NOW, **options) -> Job | None:
    async with database.transaction() as connection:
        return await jobs.claim(connection, now=now, lease_s=LEASE_S, worker="w", **options)


def test_gateways_that_count_and_queue_at_once_do_not_exceed_a_limit(
    owned: Database, database_url: str, runner: asyncio.Runner
):
    async def queue_unless_full(database: Database) -> None:
        async with database.transaction() as connection:
            await jobs.hold(connection, account_id=JANE.account_id)
            if await jobs.count_unfinished(connection, account_id=JANE.account_id, kind="call") < 3:
                await asyncio.sleep(0)
                await jobs.enqueue(connection, rows.job(JANE.account_id))

    async def scenario() -> int:
        async with await Database.open(database_url) as another:
            await asyncio.gather(*(queue_unless_full(db) for db in (owned, another) * 5))
        async with owned.reading() as connection:
            return await jobs.count_unfinished(connection, account_id=JANE.account_id, kind="call")

    assert runner.run(scenario()) == 3


class Lifecycle(RuleBasedStateMachine):
    """
    Any sequence of calls, compared with a model after each.

    Claims are kept for ever, so that owners of outdated fences keep trying.
    """

    claims = Bundle("claims")

    def __init__(self, database: Database, runner: asyncio.Runner) -> None:
        super().__init__()
        self.database = database
        self.runner = runner
        self.now = rows.NOW
        self.model: dict[str, Job] = {}
        self.in_transaction(lambda connection: connection.execute(delete(jobs_table)))

    def in_transaction(self, work):
        async def scenario():
            async with self.database.transaction() as connection:
                return await work(connection)

        return self.runner.run(scenario())

    @rule(
        kind=st.sampled_from(["call", "build"]),
        delay_s=st.sampled_from([-5, 0, 5]),
        payload=st.binary(max_size=4),
    )
    def enqueue(self, kind: str, delay_s: int, payload: bytes) -> None:
        job = rows.job(
            JANE.account_id,
            kind=kind,
            payload=payload,
            due_at=self.now + timedelta(seconds=delay_s),
            created_at=self.now,
        )
        self.in_transaction(lambda connection: jobs.enqueue(connection, job))
        self.model[job.job_id] = job

    @rule(seconds=st.sampled_from([0.000001, 3, 29, 31]))
    def time_passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(target=claims, kinds=st.sampled_from([None, ["call"], ["build", "call"], []]))
    def claim(self, kinds: list[str] | None):
        due = [
            job
            for job in self.model.values()
            if job.state is JobState.QUEUED
            and job.due_at <= self.now
            and (kinds is None or job.kind in kinds)
        ]
        claimed = self.in_transaction(
            lambda connection: jobs.claim(
                connection, now=self.now, lease_s=LEASE_S, worker="w", kinds=kinds
            )
        )
        if not due:
            assert claimed is None
            return multiple()
        first = min(due, key=lambda job: (job.due_at, job.created_at, job.job_id))
        expected = replace(
            first,
            state=JobState.RUNNING,
            attempts=first.attempts + 1,
            fence=first.fence + 1,
            worker="w",
            lease_until=self.now + timedelta(seconds=LEASE_S),
        )
        assert claimed == expected
        self.model[first.job_id] = expected
        return claimed

    def changed(self, claimed: Job, work, **changes) -> None:
        current = self.model.get(claimed.job_id)
        is_ours = (
            current is not None
            and current.state is JobState.RUNNING
            and current.fence == claimed.fence
        )
        assert self.in_transaction(work) is is_ours
        if is_ours:
            self.model[claimed.job_id] = replace(current, **changes)

    @rule(job=claims)
    def heartbeat(self, job: Job) -> None:
        until = self.now + timedelta(seconds=LEASE_S)
        self.changed(
            job,
            lambda connection: jobs.heartbeat(connection, job, lease_until=until),
            lease_until=until,
        )

    @rule(job=claims)
    def finish(self, job: Job) -> None:
        self.changed(
            job,
            lambda connection: jobs.finish(connection, job, now=self.now),
            state=JobState.DONE,
            finished_at=self.now,
            lease_until=None,
            payload=b"",
            error="",
        )

    @rule(job=claims)
    def fail(self, job: Job) -> None:
        self.changed(
            job,
            lambda connection: jobs.fail(connection, job, now=self.now, error="why\0"),
            state=JobState.FAILED,
            finished_at=self.now,
            lease_until=None,
            error="why\0",
        )

    @rule(job=claims, delay_s=st.sampled_from([0, 5]))
    def release(self, job: Job, delay_s: int) -> None:
        due_at = self.now + timedelta(seconds=delay_s)
        self.changed(
            job,
            lambda connection: jobs.release(connection, job, due_at=due_at, error="later"),
            state=JobState.QUEUED,
            due_at=due_at,
            lease_until=None,
            error="later",
        )

    @rule(target=claims, job=claims)
    def change_hands(self, job: Job):
        """Make outdated fences common: released, and claimed by the next."""
        self.release(job, 0)
        return self.claim(None)

    @rule()
    def expire(self) -> None:
        late = [
            job
            for job in self.model.values()
            if job.state is JobState.RUNNING and job.lease_until < self.now
        ]

        async def expired_and_failed(connection) -> list[Job]:
            found = await jobs.expired(connection, self.now)
            for job in found:
                assert await jobs.fail(connection, job, now=self.now, error="lost")
            return found

        found = self.in_transaction(expired_and_failed)
        assert found == sorted(late, key=lambda job: (job.lease_until, job.job_id))
        for job in found:
            self.model[job.job_id] = replace(
                job,
                state=JobState.FAILED,
                finished_at=self.now,
                lease_until=None,
                error="lost",
            )

    @rule(age_s=st.sampled_from([0, 10]))
    def prune(self, age_s: int) -> None:
        before = self.now - timedelta(seconds=age_s)
        old = [
            job.job_id
            for job in self.model.values()
            if job.finished_at is not None and job.finished_at < before
        ]
        deleted = self.in_transaction(
            lambda connection: jobs.prune(connection, finished_before=before)
        )
        assert deleted == len(old)
        for job_id in old:
            del self.model[job_id]

    @invariant()
    def rows_are_the_model(self) -> None:
        async def everything(connection) -> dict[str, Job]:
            result = await connection.execute(select(jobs_table))
            return {row["job_id"]: columns.of_row(Job, row) for row in result.mappings()}

        assert self.in_transaction(everything) == self.model


@pytest.mark.slow
def test_the_life_of_jobs_follows_the_model(owned: Database, runner: asyncio.Runner):
    run_state_machine_as_test(
        lambda: Lifecycle(owned, runner),
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


def test_racing_claims_never_take_the_same_job(owned: Database, runner: asyncio.Runner):
    queued = [rows.job(JANE.account_id) for _ in range(40)]

    async def claim_until_empty() -> list[Job]:
        taken = []
        while (job := await claim(owned)) is not None:
            taken.append(job)
        return taken

    async def scenario():
        await queue(owned, *queued)
        taken = await asyncio.gather(*(claim_until_empty() for _ in range(8)))
        return [job for part in taken for job in part]

    taken = runner.run(scenario())

    assert sorted(job.job_id for job in taken) == [job.job_id for job in queued]
    assert {job.fence for job in taken} == {1}


# SQLite has one writer: there, claims follow each other.
@pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.postgresql)], indirect=True
)
def test_a_claim_in_progress_does_not_hold_up_others(owned: Database, runner: asyncio.Runner):
    queued = [rows.job(JANE.account_id) for _ in range(2)]

    async def scenario():
        await queue(owned, *queued)
        async with asyncio.timeout(10), owned.transaction() as connection:
            first = await jobs.claim(connection, now=rows.NOW, lease_s=LEASE_S, worker="slow")
            second = await claim(owned)
            third = await claim(owned)
        return first.job_id, second.job_id, third

    assert runner.run(scenario()) == (queued[0].job_id, queued[1].job_id, None)


@pytest.mark.parametrize(
    "change",
    [
        lambda connection, job: jobs.heartbeat(connection, job, lease_until=rows.NOW),
        lambda connection, job: jobs.finish(connection, job, now=rows.NOW),
        lambda connection, job: jobs.fail(connection, job, now=rows.NOW, error="mine"),
        lambda connection, job: jobs.release(connection, job, due_at=rows.NOW),
    ],
    ids=["heartbeat", "finish", "fail", "release"],
)
def test_an_outdated_fence_changes_nothing(owned: Database, runner: asyncio.Runner, change):
    async def scenario():
        await queue(owned, rows.job(JANE.account_id))
        outdated = await claim(owned)
        async with owned.transaction() as connection:
            await jobs.release(connection, outdated, due_at=rows.NOW)
        current = await claim(owned)
        async with owned.transaction() as connection:
            is_done = await change(connection, outdated)
        async with owned.reading() as connection:
            return is_done, current, await jobs.job(connection, current.job_id)

    is_done, current, kept = runner.run(scenario())

    assert not is_done
    assert kept == current


def test_a_claim_that_is_not_committed_never_was(owned: Database, runner: asyncio.Runner):
    job = rows.job(JANE.account_id)

    async def scenario():
        await queue(owned, job)
        async with owned.transaction() as connection:
            await jobs.claim(connection, now=rows.NOW, lease_s=LEASE_S, worker="w")
            await connection.rollback()
        async with owned.reading() as connection:
            return await jobs.job(connection, job.job_id)

    assert runner.run(scenario()) == job


def test_large_payloads_are_kept_whole(owned: Database, runner: asyncio.Runner):
    payload = bytes(range(256)) * 4096 * 10

    async def scenario():
        await queue(owned, rows.job(JANE.account_id, payload=payload))
        return await claim(owned)

    assert runner.run(scenario()).payload == payload


def test_unfinished_jobs_are_counted_for_their_account(owned: Database, runner: asyncio.Runner):
    async def scenario():
        await queue(owned, *(rows.job(JANE.account_id) for _ in range(3)))
        await queue(owned, rows.job(JOE.account_id, due_at=rows.NOW + timedelta(1)))
        done, _running = await claim(owned), await claim(owned)
        async with owned.transaction() as connection:
            await jobs.finish(connection, done, now=rows.NOW)
        async with owned.reading() as connection:
            return [
                await jobs.count_unfinished(connection, account_id=account.account_id, kind="call")
                for account in (JANE, JOE)
            ]

    assert runner.run(scenario()) == [2, 1]
