"""Container registries: rows in, values out."""

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.registries import Registry
from algorium_server.store.columns import is_storable, of_row, row_of
from algorium_server.store.tables.operations import registries as table


async def registries(connection: AsyncConnection) -> list[Registry]:
    """Return all registries, oldest first."""
    result = await connection.execute(
        select(table).order_by(table.c.created_at, table.c.registry_id)
    )
    return [of_row(Registry, row) for row in result.mappings()]


async def registry(connection: AsyncConnection, registry_id: str) -> Registry | None:
    """Return a registry."""
    if not is_storable(registry_id):
        return None
    result = await connection.execute(select(table).where(table.c.registry_id == registry_id))
    row = result.mappings().first()
    return None if row is None else of_row(Registry, row)


async def count(connection: AsyncConnection) -> int:
    """Return how many registries there are."""
    return int(await connection.scalar(select(func.count()).select_from(table)) or 0)


async def add(connection: AsyncConnection, made: Registry) -> None:
    """Add a registry."""
    await connection.execute(insert(table).values(row_of(made)))


async def change(connection: AsyncConnection, changed: Registry) -> bool:
    """Store a registry anew; return whether it is there."""
    result = await connection.execute(
        update(table).where(table.c.registry_id == changed.registry_id).values(row_of(changed))
    )
    return result.rowcount > 0


async def remove(connection: AsyncConnection, registry_id: str) -> bool:
    """Remove a registry; return whether it was there."""
    if not is_storable(registry_id):
        return False
    result = await connection.execute(delete(table).where(table.c.registry_id == registry_id))
    return result.rowcount > 0
