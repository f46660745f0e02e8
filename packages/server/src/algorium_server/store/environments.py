"""Which environments administrators have switched off."""

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.store.tables.installation import disabled_environments as table
from algorium_server.store.upserts import insert_unless_taken


async def disabled(connection: AsyncConnection) -> frozenset[str]:
    """Return the specifications that are switched off."""
    return frozenset(await connection.scalars(select(table.c.specification_id)))


async def disable(connection: AsyncConnection, specification_id: str, *, now: datetime) -> None:
    """Switch one off; one that is off stays so."""
    row = {"specification_id": specification_id, "disabled_at": now}
    await insert_unless_taken(connection, table, row)


async def enable(connection: AsyncConnection, specification_id: str) -> None:
    """Switch one on again."""
    await connection.execute(delete(table).where(table.c.specification_id == specification_id))
