"""Reservations of warm slots: rows in, values out; gateways are told of every change."""

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.changes import ChangeKind
from algorium_server.domain.reservations import Reservation
from algorium_server.store import changes
from algorium_server.store.columns import of_row, row_of
from algorium_server.store.tables.accounts import accounts as account_table
from algorium_server.store.tables.algorithms import algorithms as algorithm_table
from algorium_server.store.tables.quotas import reservations as table


async def all_reservations(connection: AsyncConnection) -> list[Reservation]:
    """Return all reservations, oldest first."""
    result = await connection.execute(
        select(table).order_by(table.c.created_at, table.c.reservation_id)
    )
    return [of_row(Reservation, row) for row in result.mappings()]


async def count(connection: AsyncConnection) -> int:
    """Return how many reservations there are."""
    return int(await connection.scalar(select(func.count()).select_from(table)) or 0)


async def add(connection: AsyncConnection, reservation: Reservation) -> bool:
    """Add a reservation; return whether its algorithm and its account are still there."""
    await changes.note(connection, ChangeKind.RESERVATION, reservation.reservation_id)
    for held, wanted in (
        (account_table.c.account_id, reservation.account_id),
        (algorithm_table.c.algorithm_id, reservation.algorithm_id),
    ):
        # Kept from being deleted until the row that refers to them is there.
        statement = select(held).where(held == wanted).with_for_update(read=True, key_share=True)
        if await connection.scalar(statement) is None:
            return False
    await connection.execute(insert(table).values(row_of(reservation)))
    return True


async def remove(connection: AsyncConnection, reservation_id: str) -> bool:
    """Remove a reservation; return whether there was one."""
    await changes.note(connection, ChangeKind.RESERVATION, reservation_id)
    result = await connection.execute(delete(table).where(table.c.reservation_id == reservation_id))
    return result.rowcount > 0
