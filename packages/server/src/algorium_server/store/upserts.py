"""
Inserts that may find the row there already.

A plain insert would raise, and on PostgreSQL an error inside a transaction ends the whole of it;
`ON CONFLICT` leaves both databases usable, but each spells it in its own dialect.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection


async def insert_unless_taken(
    connection: AsyncConnection, table: Table, row: Mapping[str, Any]
) -> bool:
    """Insert *row*, unless one with the same key or unique name is there; return whether it did."""
    statement = _insert(table, is_sqlite=_is_sqlite(connection)).values(dict(row))
    result = await connection.execute(
        statement.on_conflict_do_nothing().returning(*table.primary_key.columns)
    )
    return result.first() is not None


async def insert_each_unless_taken(
    connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]
) -> int:
    """Insert *rows* but those with a key or unique name that is taken; return how many are new."""
    statement = _inserting_each(table, is_sqlite=_is_sqlite(connection))
    return len((await connection.execute(statement, rows)).all())


async def upsert(connection: AsyncConnection, table: Table, row: Mapping[str, Any]) -> None:
    """Insert *row*, or overwrite the one with the same primary key."""
    keys = list(table.primary_key.columns)
    rest = {name: value for name, value in row.items() if table.c[name] not in keys}
    await connection.execute(
        _insert(table, is_sqlite=_is_sqlite(connection))
        .values(dict(row))
        .on_conflict_do_update(index_elements=keys, set_=rest)
    )


@cache  # There are few tables, and putting the statement together takes as long as running it.
def _inserting_each(table: Table, *, is_sqlite: bool) -> Any:
    statement = _insert(table, is_sqlite=is_sqlite).on_conflict_do_nothing()
    return statement.returning(*table.primary_key.columns)


def _is_sqlite(connection: AsyncConnection) -> bool:
    return connection.dialect.name == "sqlite"


def _insert(table: Table, *, is_sqlite: bool) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(table) if is_sqlite else postgresql.insert(table)
