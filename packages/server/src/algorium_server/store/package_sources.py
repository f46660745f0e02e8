"""Package sources: rows in, values out. Passwords come and go sealed."""

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.package_sources import StoredSources
from algorium_server.store.columns import of_row, row_of
from algorium_server.store.tables.connectors import package_sources as table
from algorium_server.store.upserts import upsert


async def put_sources(connection: AsyncConnection, stored: StoredSources) -> None:
    """Keep the package sources of an account, in place of those it had."""
    await upsert(connection, table, row_of(stored))


async def sources_of(connection: AsyncConnection, owner_id: str) -> StoredSources | None:
    """Return the package sources of an account, None if it has none of its own."""
    result = await connection.execute(select(table).where(table.c.owner_id == owner_id))
    row = result.mappings().first()
    return None if row is None else of_row(StoredSources, row)


async def remove_sources(connection: AsyncConnection, owner_id: str) -> bool:
    """Forget the package sources of an account; return whether it had any."""
    result = await connection.execute(delete(table).where(table.c.owner_id == owner_id))
    return result.rowcount > 0
