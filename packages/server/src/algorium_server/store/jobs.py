"""
Durable jobs: queue, claim, lease, fence, finish.

A job is claimed by exactly one worker: on PostgreSQL competing claims skip each other's rows, on
SQLite there is one writer. Everything after the claim shows the claim's fence and reports False
when the job has changed hands.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.jobs import Job, JobState
from algorium_server.store.columns import of_row, row_of
from algorium_server.store.tables.accounts import accounts as account_table
from algorium_server.store.tables.work import jobs as job_table


async def enqueue(connection: AsyncConnection, job: Job) -> None:
    """Queue a new job; once the transaction is committed it is not forgotten."""
    await connection.execute(insert(job_table).values(row_of(job)))


async def claim(
    connection: AsyncConnection,
    *,
    now: datetime,
    lease_s: float,
    worker: str,
    kinds: Collection[str] | None = None,
) -> Job | None:
    """
    Take the job that has been due for longest, None if none is due.

    Of a queue, the next job is taken only when none of it is running. Two workers that race for
    one queue cannot both win: the index refuses the second, whose transaction fails.

    Args:
        connection: Inside a transaction of its own; the claim holds once that is committed.
        now: The time.
        lease_s: For how long the job is the worker's without a heartbeat.
        worker: Name of the claimer, for people.
        kinds: Kinds the worker has handlers for; None for all.
    """
    table = job_table
    due = select(table.c.job_id).where(table.c.state == JobState.QUEUED, table.c.due_at <= now)
    if kinds is not None:
        due = due.where(table.c.kind.in_(kinds))
    others = job_table.alias()
    is_next = ~exists().where(others.c.queue == table.c.queue, others.c.state == JobState.RUNNING)
    due = due.where(or_(table.c.queue.is_(None), is_next))
    job_id = await connection.scalar(
        due.order_by(table.c.due_at, table.c.created_at, table.c.job_id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if job_id is None:
        return None
    result = await connection.execute(
        update(table)
        .where(table.c.job_id == job_id)
        .values(
            state=JobState.RUNNING,
            attempts=table.c.attempts + 1,
            fence=table.c.fence + 1,
            worker=worker,
            lease_until=now + timedelta(seconds=lease_s),
        )
        .returning(table)
    )
    return of_row(Job, result.mappings().one())


async def heartbeat(connection: AsyncConnection, job: Job, *, lease_until: datetime) -> bool:
    """Prolong the lease; False if the job is no longer the claimer's."""
    return await _change(connection, job, lease_until=lease_until)


async def finish(connection: AsyncConnection, job: Job, *, now: datetime) -> bool:
    """Mark the job as done and drop its payload; False if it is no longer the claimer's."""
    return await _change(
        connection,
        job,
        state=JobState.DONE,
        finished_at=now,
        lease_until=None,
        payload=b"",
        error="",
    )


async def fail(connection: AsyncConnection, job: Job, *, now: datetime, error: str) -> bool:
    """Give the job up, payload kept for whoever looks; False if it is no longer the claimer's."""
    return await _change(
        connection, job, state=JobState.FAILED, finished_at=now, lease_until=None, error=error
    )


async def release(
    connection: AsyncConnection, job: Job, *, due_at: datetime, error: str = ""
) -> bool:
    """
    Put the job back into the queue; False if it is no longer the claimer's.

    Only for jobs that have had no effect yet, or may have it twice.
    """
    return await _change(
        connection, job, state=JobState.QUEUED, due_at=due_at, lease_until=None, error=error
    )


async def expired(connection: AsyncConnection, now: datetime, *, limit: int = 100) -> list[Job]:
    """
    Return running jobs whose lease has ended, and keep them from their workers meanwhile.

    Inside the same transaction `fail` or `release` them: a heartbeat cannot come in between.
    """
    table = job_table
    return await _running(connection, table.c.lease_until < now, limit=limit)


async def running(
    connection: AsyncConnection,
    *,
    worker: str | None = None,
    kinds: Collection[str] | None = None,
    limit: int = 100,
) -> list[Job]:
    """Return running jobs: of *worker* or whoever runs them, of *kinds* or all, leased or not."""
    conditions = [] if worker is None else [job_table.c.worker == worker]
    if kinds is not None:
        conditions.append(job_table.c.kind.in_(kinds))
    return await _running(connection, *conditions, limit=limit)


async def job(connection: AsyncConnection, job_id: str) -> Job | None:
    """Return a job in any state."""
    result = await connection.execute(select(job_table).where(job_table.c.job_id == job_id))
    row = result.mappings().first()
    return None if row is None else of_row(Job, row)


async def hold(connection: AsyncConnection, *, account_id: str) -> None:
    """Let nobody else who holds the account queue a job of it until this transaction ends."""
    # Rows that refer to the account may be written meanwhile. On SQLite there is one writer anyway.
    await connection.execute(
        select(account_table.c.account_id)
        .where(account_table.c.account_id == account_id)
        .with_for_update(key_share=True)
    )


async def unfinished(connection: AsyncConnection, *, kind: str) -> frozenset[str]:
    """Return the ids of all jobs of a kind that are queued or running."""
    table = job_table
    statement = select(table.c.job_id).where(
        table.c.kind == kind, table.c.state.in_([JobState.QUEUED, JobState.RUNNING])
    )
    return frozenset((await connection.scalars(statement)).all())


async def count_unfinished(connection: AsyncConnection, *, account_id: str, kind: str) -> int:
    """Return how many jobs of an account and a kind are queued or running."""
    table = job_table
    statement = select(func.count()).where(
        table.c.account_id == account_id,
        table.c.kind == kind,
        table.c.state.in_([JobState.QUEUED, JobState.RUNNING]),
    )
    return int(await connection.scalar(statement.select_from(table)) or 0)


async def prune(connection: AsyncConnection, *, finished_before: datetime) -> int:
    """Delete jobs that ended, well or badly, before a time; return how many."""
    result = await connection.execute(
        delete(job_table).where(job_table.c.finished_at < finished_before)
    )
    return result.rowcount


async def _running(connection: AsyncConnection, *conditions: Any, limit: int) -> list[Job]:
    table = job_table
    result = await connection.execute(
        select(table)
        .where(table.c.state == JobState.RUNNING, *conditions)
        .order_by(table.c.lease_until, table.c.job_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [of_row(Job, row) for row in result.mappings()]


async def _change(connection: AsyncConnection, job: Job, **changes: Any) -> bool:
    table = job_table
    result = await connection.execute(
        update(table)
        .where(
            table.c.job_id == job.job_id,
            table.c.state == JobState.RUNNING,
            table.c.fence == job.fence,
        )
        .values(changes)
    )
    return result.rowcount == 1
