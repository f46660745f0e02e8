"""
Many files at once: what uploads that share a transaction read and write, statement by statement.

A batch of any size takes the same few statements for each collection in it. Rows are locked in the
order that `store/storage.py` gives, so that nobody waits in a circle.

Where rows are found by two columns, one of them is given as a single value: SQLite goes through a
whole table rather than look up a list of pairs in its index.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

from sqlalchemy import bindparam, select, update
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
    collection_table.c.owner_id == bindparam("owner"),
    collection_table.c.kind == CollectionKind.ACCOUNT,
    collection_table.c.algorithm_id.is_(None),
    collection_table.c.name_key.in_(bindparam("names", expanding=True)),
)
_HOLD: Final = (
    select(collection_table)
    .where(collection_table.c.collection_id.in_(bindparam("ids", expanding=True)))
    .order_by(collection_table.c.collection_id)
    .with_for_update(read=True, key_share=True)
)
_OLD: Final = "old_file_id"
_REPLACE: Final = (
    update(table)
    .where(table.c.file_id == bindparam(_OLD))
    .values({column.name: bindparam(column.name) for column in table.columns})
)
_LOCK: Final = (
    select(*(column for column in table.columns if column.name != "content"))
    .where(
        table.c.collection_id == bindparam("collection"),
        table.c.name.in_(bindparam("names", expanding=True)),
    )
    .order_by(table.c.name)
    .with_for_update()
)


async def collections_named(
    connection: AsyncConnection, names: Iterable[Named]
) -> dict[Named, Collection]:
    """Return accounts' collections by owner and name key."""
    found: list[Collection] = []
    for owner_id, theirs in _by_first(names):
        result = await connection.execute(_NAMED, {"owner": owner_id, "names": theirs})
        found += [of_row(Collection, row) for row in result.mappings()]
    return {(each.owner_id, name_key(each.name)): each for each in found}


async def hold_collections(
    connection: AsyncConnection, collection_ids: Iterable[str]
) -> dict[str, Collection]:
    """Return collections by id; nobody deletes them until the transaction ends."""
    result = await connection.execute(_HOLD, {"ids": sorted(set(collection_ids))})
    found = [of_row(Collection, row) for row in result.mappings()]
    return {collection.collection_id: collection for collection in found}


async def lock_files(connection: AsyncConnection, places: Iterable[Place]) -> dict[Place, File]:
    """Return the files at *places*; nobody else changes them until the transaction ends."""
    found: list[File] = []
    for collection_id, names in _by_first(places):
        result = await connection.execute(_LOCK, {"collection": collection_id, "names": names})
        found += [of_row(File, row) for row in result.mappings()]
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


def _by_first(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Yield each first value of *pairs* with the second ones that come with it, all in order."""
    for first, group in groupby(sorted(set(pairs)), key=itemgetter(0)):
        yield first, [second for _, second in group]
