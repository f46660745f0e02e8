"""The connection that insights go through: a row at most."""

from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.insights import InsightsConnection
from algorium_server.store.columns import of_row, row_of
from algorium_server.store.tables.operations import insights_connections as table
from algorium_server.store.upserts import upsert

_PLACE: Final = 1


async def connection_of(connection: AsyncConnection) -> InsightsConnection | None:
    """Return the connection, if there is one."""
    result = await connection.execute(select(table).where(table.c.place == _PLACE))
    row = result.mappings().first()
    return None if row is None else of_row(InsightsConnection, row)


async def put(connection: AsyncConnection, made: InsightsConnection) -> None:
    """Store a connection, in place of the one there was."""
    await upsert(connection, table, {"place": _PLACE, **row_of(made)})


async def remove(connection: AsyncConnection) -> None:
    """Remove the connection, if there is one."""
    await connection.execute(delete(table))
