"""
Many files at once: what uploads that share a transaction read and write, statement by statement.

A batch of any size takes the same few statements. Rows are locked in the order that
`store/storage.py` gives, so that nobody waits in a circle.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import bindparam, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.collections import Collection, CollectionKind, File
from algorium_server.domain.errors import PathNotFound
from algorium_server.store.columns import name_key, of_row, row_of
from algorium_server.store.tables.files import collections as collection_table
from algorium_server.store.tables.files import files as table
from algorium_server.store.upserts import insert_each_unless_taken

Place = tuple[str, str]
"""Collection id and file name."""

Named = tuple[str, str]
"""Owner's id and name key of a collection."""

_NAMED: Final = select(collection_table).where(
    collection_table.c.kind == CollectionKind.ACCOUNT,
    collection_table.c.algorithm_id.is_(None),
    tuple_(collection_table.c.owner_id, collection_table.c.name_key).in_(
        bindparam("names", expanding=True)
    ),
)
_OLD: Final = "old_file_id"
_REPLACE: Final = (
    update(table)
    .where(table.c.file_id == bindparam(_OLD))
    .values({column.name: bindparam(column.name) for column in table.columns})
)
_COLUMNS: Final = [column for column in table.columns if column.name != "content"]


async def collections_named(
    connection: AsyncConnection, names: Iterable[Named]
) -> dict[Named, Collection]:
    """Return accounts' collections by owner and name key."""
    result = await connection.execute(_NAMED, {"names": sorted(set(names))})
    found = [of_row(Collection, row) for row in result.mappings()]
    return {(each.owner_id, name_key(each.name)): each for each in found}


async def hold_collections(
    connection: AsyncConnection, collection_ids: Iterable[str]
) -> dict[str, Collection]:
    """Return collections by id; nobody deletes them until the transaction ends."""
    result = await connection.execute(
        select(collection_table)
        .where(collection_table.c.collection_id.in_(sorted(set(collection_ids))))
        .order_by(collection_table.c.collection_id)
        .with_for_update(read=True, key_share=True)
    )
    found = [of_row(Collection, row) for row in result.mappings()]
    return {collection.collection_id: collection for collection in found}


async def lock_files(connection: AsyncConnection, places: Iterable[Place]) -> dict[Place, File]:
    """Return the files at *places*; nobody else changes them until the transaction ends."""
    result = await connection.execute(
        select(*_COLUMNS)
        .where(tuple_(table.c.collection_id, table.c.name).in_(sorted(set(places))))
        .order_by(table.c.collection_id, table.c.name)
        .with_for_update()
    )
    found = [of_row(File, row) for row in result.mappings()]
    return {(file.collection_id, file.name): file for file in found}


async def add_files(
    connection: AsyncConnection, files: Sequence[tuple[File, bytes | None]]
) -> bool:
    """
    Add files, each with its content unless a blob has it, where there are none of their names.

    Returns:
        False if somebody else has added one of them meanwhile; give the transaction up then.

    Raises:
        PathNotFound: A collection is gone; the transaction must be given up.
    """
    rows = [row_of(file) | {"content": content} for file, content in files]
    rows.sort(key=lambda row: (row["collection_id"], row["name"]))
    try:
        return await insert_each_unless_taken(connection, table, rows) == len(rows)
    except IntegrityError as error:
        raise PathNotFound from error


async def replace_files(
    connection: AsyncConnection, files: Sequence[tuple[str, File, bytes | None]]
) -> None:
    """Replace files, each given by the id of the old one, which has been locked."""
    rows = [
        row_of(file) | {"content": content, _OLD: old_file_id}
        for old_file_id, file, content in files
    ]
    await connection.execute(_REPLACE, rows)
