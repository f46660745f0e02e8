"""
Inserts that may find the row there already.

A plain insert would raise, and on PostgreSQL an error inside a transaction ends the whole of it;
`ON CONFLICT` leaves both databases usable, but each spells it in its own dialect.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection


async def insert_unless_taken(
    connection: AsyncConnection, table: Table, row: Mapping[str, Any]
) -> bool:
    """Insert *row*, unless one with the same key or unique name is there; return whether it did."""
    statement = _insert(connection, table).values(dict(row)).on_conflict_do_nothing()
    result = await connection.execute(statement.returning(*table.primary_key.columns))
    return result.first() is not None


async def insert_each_unless_taken(
    connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]
) -> int:
    """Insert *rows* but those with a key or unique name that is taken; return how many are new."""
    statement = _insert(connection, table).on_conflict_do_nothing()
    result = await connection.execute(statement.returning(*table.primary_key.columns), rows)
    return len(result.all())


async def upsert(connection: AsyncConnection, table: Table, row: Mapping[str, Any]) -> None:
    """Insert *row*, or overwrite the one with the same primary key."""
    keys = list(table.primary_key.columns)
    rest = {name: value for name, value in row.items() if table.c[name] not in keys}
    await connection.execute(
        _insert(connection, table)
        .values(dict(row))
        .on_conflict_do_update(index_elements=keys, set_=rest)
    )


def _insert(connection: AsyncConnection, table: Table) -> sqlite.Insert | postgresql.Insert:
    is_sqlite = connection.dialect.name == "sqlite"
    return sqlite.insert(table) if is_sqlite else postgresql.insert(table)
