"""
Calls with an idempotency key, and their answers.

The primary key decides who is first, whichever gateway asks: there is one row for an account and
a key, and it is inserted once.
"""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.idempotency import KeptCall
from algorium_server.store.columns import of_row, row_of
from algorium_server.store.tables.work import kept_calls as table
from algorium_server.store.upserts import insert_unless_taken


class Held(NamedTuple):
    """What is kept for an account: how many calls, and how many bytes of answers."""

    calls: int
    size_bytes: int


async def add(connection: AsyncConnection, call: KeptCall) -> bool:
    """Add a call unless its key is taken; return whether it was added."""
    return await insert_unless_taken(connection, table, row_of(call))


async def find(connection: AsyncConnection, *, account_id: str, key_digest: str) -> KeptCall | None:
    """Return the call with a key."""
    result = await connection.execute(
        select(table).where(table.c.account_id == account_id, table.c.key_digest == key_digest)
    )
    row = result.mappings().first()
    return None if row is None else of_row(KeptCall, row)


async def held(connection: AsyncConnection, *, account_id: str) -> Held:
    """Count what is kept for an account."""
    result = await connection.execute(
        select(func.count(), func.coalesce(func.sum(table.c.kept_bytes), 0))
        .select_from(table)
        .where(table.c.account_id == account_id)
    )
    calls, size_bytes = result.one()
    return Held(int(calls), int(size_bytes))


async def answer(
    connection: AsyncConnection, call: KeptCall, *, now: datetime, outcome: bytes, body: bytes
) -> None:
    """Keep the answer of a call."""
    await connection.execute(
        update(table)
        .where(*_is(call))
        .values(ended_at=now, outcome=outcome, body=body, kept_bytes=len(outcome) + len(body))
    )


async def remove(connection: AsyncConnection, call: KeptCall) -> None:
    """Forget a call that has not run: its key is free again."""
    await connection.execute(delete(table).where(*_is(call), table.c.ended_at.is_(None)))


async def give_up(connection: AsyncConnection, call: KeptCall, *, now: datetime) -> None:
    """Note that nobody will tell how a call ended, unless somebody has."""
    await connection.execute(
        update(table).where(*_is(call), table.c.ended_at.is_(None)).values(lease_until=now)
    )


async def give_up_all(
    connection: AsyncConnection, *, now: datetime, gateway: str | None = None
) -> int:
    """Note the same of all calls of a gateway that is gone, or of all; return of how many."""
    is_open = [table.c.ended_at.is_(None), table.c.lease_until > now]
    if gateway is not None:
        is_open.append(table.c.gateway == gateway)
    result = await connection.execute(update(table).where(*is_open).values(lease_until=now))
    return result.rowcount


async def prune(connection: AsyncConnection, *, before: datetime, limit: int) -> int:
    """Delete calls that ended before a time, or are unknown since then; return how many."""
    # Two indexes rather than one condition with OR, which would go through all rows.
    count = 0
    for is_old in (
        table.c.ended_at < before,
        (table.c.lease_until < before) & table.c.ended_at.is_(None),
    ):
        found = await connection.execute(
            select(table.c.account_id, table.c.key_digest).where(is_old).limit(limit - count)
        )
        for account_id, key_digest in found.all():
            result = await connection.execute(
                delete(table).where(
                    table.c.account_id == account_id, table.c.key_digest == key_digest, is_old
                )
            )
            count += result.rowcount
    return count


def _is(call: KeptCall) -> tuple[ColumnElement[bool], ...]:
    return (
        table.c.account_id == call.account_id,
        table.c.key_digest == call.key_digest,
        table.c.call_id == call.call_id,
    )
