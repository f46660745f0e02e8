"""Which collection an algorithm calls `data://.algo/default`."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.collections import Collection
from algorium_server.store.columns import is_storable, of_row
from algorium_server.store.tables.files import collections as collection_table
from algorium_server.store.tables.files import default_collections as table
from algorium_server.store.upserts import upsert


async def set_default(
    connection: AsyncConnection, *, algorithm_id: str, collection_id: str
) -> None:
    """Give an algorithm a collection, in place of the one it had."""
    await upsert(connection, table, {"algorithm_id": algorithm_id, "collection_id": collection_id})


async def default_of(connection: AsyncConnection, algorithm_id: str) -> Collection | None:
    """Return the collection of an algorithm, None if it has none."""
    result = await connection.execute(
        select(collection_table)
        .join(table, table.c.collection_id == collection_table.c.collection_id)
        .where(table.c.algorithm_id == algorithm_id)
    )
    row = result.mappings().first()
    return None if row is None else of_row(Collection, row)


async def collection_of_id(connection: AsyncConnection, collection_id: str) -> Collection | None:
    """Return a collection by its id."""
    if not is_storable(collection_id):
        return None
    result = await connection.execute(
        select(collection_table).where(collection_table.c.collection_id == collection_id)
    )
    row = result.mappings().first()
    return None if row is None else of_row(Collection, row)
