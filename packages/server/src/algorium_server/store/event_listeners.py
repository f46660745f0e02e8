"""Event listeners: rows in, values out."""

from datetime import datetime

from sqlalchemy import delete, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.event_listeners import EventListener
from algorium_server.store.columns import is_storable, of_row, row_of
from algorium_server.store.tables.operations import event_listeners as table


async def listeners_of(
    connection: AsyncConnection,
    account_id: str,
    *,
    limit: int,
    after: tuple[datetime, str] | None = None,
) -> list[EventListener]:
    """
    Return listeners of an account, oldest first.

    Args:
        connection: Any.
        account_id: Whose.
        limit: So many at most.
        after: Time and id of the last one of the page before.
    """
    statement = select(table).where(table.c.account_id == account_id)
    key = (table.c.created_at, table.c.listener_id)
    if after is not None:
        statement = statement.where(tuple_(*key) > tuple_(*after))
    result = await connection.execute(statement.order_by(*key).limit(limit))
    return [of_row(EventListener, row) for row in result.mappings()]


async def listener(
    connection: AsyncConnection, *, account_id: str, listener_id: str
) -> EventListener | None:
    """Return a listener of an account."""
    if not is_storable(listener_id):
        return None
    result = await connection.execute(
        select(table).where(table.c.listener_id == listener_id, table.c.account_id == account_id)
    )
    row = result.mappings().first()
    return None if row is None else of_row(EventListener, row)


async def count_of(connection: AsyncConnection, account_id: str) -> int:
    """Return how many listeners an account has."""
    statement = select(func.count()).where(table.c.account_id == account_id)
    return int(await connection.scalar(statement) or 0)


async def add(connection: AsyncConnection, made: EventListener) -> None:
    """Add a listener."""
    await connection.execute(insert(table).values(row_of(made)))


async def change(connection: AsyncConnection, changed: EventListener) -> bool:
    """Store a listener anew; return whether it is there."""
    result = await connection.execute(
        update(table).where(table.c.listener_id == changed.listener_id).values(row_of(changed))
    )
    return result.rowcount > 0


async def remove(connection: AsyncConnection, *, account_id: str, listener_id: str) -> bool:
    """Remove a listener of an account; return whether it was there."""
    if not is_storable(listener_id):
        return False
    result = await connection.execute(
        delete(table).where(table.c.listener_id == listener_id, table.c.account_id == account_id)
    )
    return result.rowcount > 0
