"""
Every file, one page after the other, and what was found wrong with them.

Whoever looks through all files does so for hours, while they are replaced and deleted; so damage
is named by its blob, which is never used again.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.collections import File
from algorium_server.store.columns import of_row, row_of
from algorium_server.store.tables.files import collections as collection_table
from algorium_server.store.tables.files import damages as table
from algorium_server.store.tables.files import files as file_table
from algorium_server.store.tables.files import scrubbing
from algorium_server.store.upserts import insert_unless_taken, upsert

_ROUND: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """
    A file whose bytes are not what was stored.

    Attributes:
        problem: In words.
    """

    blob: str
    file_id: str
    problem: str
    found_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """
    A look at all files.

    Attributes:
        after: Id of the last file that was looked at.
        finished_at: None while it is under way.
    """

    after: str
    began_at: datetime
    finished_at: datetime | None = None


async def files_after(
    connection: AsyncConnection, file_id: str, *, limit: int
) -> list[tuple[File, bytes | None]]:
    """Return files in the order of their ids, each with its bytes if they are in its row."""
    result = await connection.execute(
        select(file_table)
        .where(file_table.c.file_id > file_id)
        .order_by(file_table.c.file_id)
        .limit(limit)
    )
    return [(of_row(File, row), row["content"]) for row in result.mappings()]


async def has_blob(connection: AsyncConnection, file_id: str, blob: str) -> bool:
    """Whether a file still has this blob; its id goes when it is replaced."""
    statement = select(file_table.c.file_id).where(
        file_table.c.file_id == file_id, file_table.c.blob == blob
    )
    return (await connection.execute(statement)).first() is not None


async def shown_name(connection: AsyncConnection, file_id: str) -> str:
    """Return collection id and name of a file, for people."""
    statement = (
        select(collection_table.c.name, collection_table.c.kind, file_table.c.name.label("file"))
        .join_from(file_table, collection_table)
        .where(file_table.c.file_id == file_id)
    )
    row = (await connection.execute(statement)).first()
    return "" if row is None else f"{row.kind}:{row.name}/{row.file}"


async def total(connection: AsyncConnection) -> tuple[int, int]:
    """Return how many files there are, and how many bytes they have together."""
    statement = select(
        func.count().label("number"),
        func.coalesce(func.sum(file_table.c.size_bytes), 0).label("size_bytes"),
    ).select_from(file_table)
    row = (await connection.execute(statement)).one()
    return row.number, int(row.size_bytes)


async def add_damage(connection: AsyncConnection, damage: Damage) -> bool:
    """Note damage; return whether it was not known."""
    return await insert_unless_taken(connection, table, row_of(damage))


async def damages(connection: AsyncConnection, *, limit: int) -> list[Damage]:
    """Return damage that was found, latest first."""
    result = await connection.execute(select(table).order_by(table.c.found_at.desc()).limit(limit))
    return [of_row(Damage, row) for row in result.mappings()]


async def forget_damage(connection: AsyncConnection) -> None:
    """Forget damage of files that have been replaced or deleted."""
    held = select(file_table.c.file_id).where(
        file_table.c.file_id == table.c.file_id, file_table.c.blob == table.c.blob
    )
    await connection.execute(delete(table).where(~held.exists()))


async def last_round(connection: AsyncConnection) -> Round | None:
    """Return the look at all files that is under way, or was the last one."""
    row = (await connection.execute(select(scrubbing))).mappings().first()
    return None if row is None else of_row(Round, row)


async def set_round(connection: AsyncConnection, state: Round) -> None:
    """Note how far a look at all files has come."""
    await upsert(connection, scrubbing, row_of(state) | {"number": _ROUND})
