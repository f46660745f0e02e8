"""
Whatever is sealed, in whichever table: rows with a column `sealed`.

A table that gets such a column is found here without a word. What its seals are bound to, only
`services/resealing.py` knows, and a test demands that it does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Table, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.store.engines import is_postgresql, postgresql_engine
from algorium_server.store.schema import metadata

_OTHERS: Final = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = current_setting('application_name') AND pid <> pg_backend_pid()"
)
TABLES: Final = tuple(table.name for table in metadata.sorted_tables if "sealed" in table.c)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedRow:
    """
    Something sealed.

    Attributes:
        key: Values of the row's primary key, in the order of its columns.
        ids: Its ids, by the names of their columns.
        sealed: The seal; never empty.
    """

    key: tuple[Any, ...]
    ids: Mapping[str, str]
    sealed: bytes


async def page(
    connection: AsyncConnection, name: str, *, after: Sequence[Any] | None, limit: int
) -> list[SealedRow]:
    """
    Return the sealed things of a table, in the order of its primary key.

    Args:
        connection: Any.
        name: Of the table, one of `TABLES`.
        after: Key of the row that they come behind; None for the first ones.
        limit: How many at most.
    """
    table = metadata.tables[name]
    key = tuple(table.primary_key.columns)
    ids = [column for column in table.c if column.name.endswith("_id")]
    others = [column for column in key if column not in ids]
    query = select(*ids, *others, table.c.sealed).where(table.c.sealed != b"")
    if after is not None:
        query = query.where(tuple_(*key) > tuple_(*after))
    result = await connection.execute(query.order_by(*key).limit(limit))
    return [
        SealedRow(
            key=tuple(row[column.name] for column in key),
            ids={column.name: row[column.name] for column in ids},
            sealed=bytes(row["sealed"]),
        )
        for row in result.mappings()
    ]


async def replace(connection: AsyncConnection, name: str, row: SealedRow, *, sealed: bytes) -> bool:
    """
    Seal something anew; return whether it was still as it was read.

    Args:
        connection: Inside a transaction that writes.
        name: Of the table.
        row: As it was read.
        sealed: The new seal.
    """
    table = metadata.tables[name]
    done = await connection.execute(
        update(table).where(*_is(table, row), table.c.sealed == row.sealed).values(sealed=sealed)
    )
    return done.rowcount == 1


async def other_programs(url: str) -> int:
    """
    Return how many connections of ours others have to a PostgreSQL database; 0 for SQLite.

    Raises:
        Unavailable: It cannot be reached.
    """
    if not is_postgresql(url):
        return 0
    engine = postgresql_engine(url)
    try:
        async with engine.connect() as connection:
            return int(await connection.scalar(_OTHERS) or 0)
    finally:
        await engine.dispose()


def _is(table: Table, row: SealedRow) -> list[Any]:
    return [
        column == value for column, value in zip(table.primary_key.columns, row.key, strict=True)
    ]
