"""
Failed calls: written in bulk, read newest first, a bounded number of each algorithm.

They refer to no other row, so they may be written after their algorithm has been deleted.
"""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.call_errors import CallError
from algorium_server.store.tables.records import call_errors as table
from algorium_server.store.upserts import insert_each_unless_taken

_NEWEST_FIRST = table.c.created_us.desc(), table.c.request_id.desc()


async def add(connection: AsyncConnection, errors: Sequence[CallError]) -> None:
    """Insert failed calls, except those that are there already."""
    if errors:
        rows = [msgspec.structs.asdict(error) for error in errors]
        await insert_each_unless_taken(connection, table, rows)


async def of_algorithm(
    connection: AsyncConnection, algorithm_id: str, *, since_us: int, limit: int
) -> list[CallError]:
    """Return failed calls of an algorithm, newest first."""
    return await _newest(connection, table.c.algorithm_id == algorithm_id, since_us, limit)


async def of_account(
    connection: AsyncConnection, account_id: str, *, since_us: int, limit: int
) -> list[CallError]:
    """
    Return failed calls of an account's algorithms, and those that it made, newest first.

    Args:
        connection: To read from.
        account_id: User or organization.
        since_us: None that are older, in microseconds since 1970 UTC.
        limit: How many at most.
    """
    # Two questions, each answered by an index; "one or the other" would be answered by none.
    owned = await _newest(connection, table.c.owner_id == account_id, since_us, limit)
    is_made = (table.c.account_id == account_id) & table.c.is_nested.is_(False)
    made = await _newest(connection, is_made, since_us, limit)
    both = {(error.created_us, error.request_id): error for error in (*owned, *made)}
    newest = sorted(both.values(), key=attrgetter("created_us", "request_id"), reverse=True)
    return newest[:limit]


async def trim(connection: AsyncConnection, algorithm_ids: Iterable[str], *, keep: int) -> None:
    """Delete all but the newest failed calls of these algorithms."""
    # In one order everywhere, so that two gateways do not wait for each other.
    for algorithm_id in sorted(algorithm_ids):
        mine = table.c.algorithm_id == algorithm_id
        beyond = (
            select(table.c.created_us, table.c.request_id)
            .where(mine)
            .order_by(*_NEWEST_FIRST)
            .offset(keep)
            .limit(1)
        )
        last = (await connection.execute(beyond)).first()
        if last is not None:
            key = tuple_(table.c.created_us, table.c.request_id)
            await connection.execute(delete(table).where(mine, key <= tuple_(*last)))


async def prune(connection: AsyncConnection, *, before_us: int, limit: int) -> int:
    """Delete the oldest of the failed calls from before a moment; return how many."""
    key = table.c.created_us, table.c.request_id
    old = select(*key).where(table.c.created_us < before_us).order_by(*key).limit(limit)
    result = await connection.execute(delete(table).where(tuple_(*key).in_(old)))
    return result.rowcount


async def _newest(
    connection: AsyncConnection, condition: ColumnElement[bool], since_us: int, limit: int
) -> list[CallError]:
    statement = select(table).where(condition, table.c.created_us >= since_us)
    result = await connection.execute(statement.order_by(*_NEWEST_FIRST).limit(limit))
    return [_error_of(row) for row in result.mappings()]


def _error_of(row: Any) -> CallError:
    return CallError(**row)
