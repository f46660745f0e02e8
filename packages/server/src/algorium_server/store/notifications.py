"""Notifications: rows in, values out."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.notifications import Notification, WantedNotifications
from algorium_server.store.columns import is_storable, of_row, row_of
from algorium_server.store.tables.accounts import accounts, memberships
from algorium_server.store.tables.operations import notifications as table


async def concerned(connection: AsyncConnection, owner_id: str) -> list[str]:
    """Return the users whom something about an owner's algorithm concerns: itself, or members."""
    members = select(memberships.c.user_id).where(memberships.c.organization_id == owner_id)
    result = await connection.scalars(members.order_by(memberships.c.user_id))
    found = list(result.all())
    if found:
        return found
    is_user = select(accounts.c.account_id).where(
        accounts.c.account_id == owner_id, accounts.c.kind == "user"
    )
    return [owner_id] if await connection.scalar(is_user) is not None else []


async def add(connection: AsyncConnection, made: Sequence[Notification]) -> None:
    """Add notifications."""
    if made:
        await connection.execute(insert(table), [row_of(each) for each in made])


async def newest(
    connection: AsyncConnection, account_id: str, wanted: WantedNotifications
) -> list[Notification]:
    """Return notifications of an account, newest first."""
    statement = select(table).where(
        table.c.account_id == account_id, table.c.kind.in_(sorted(wanted.kinds))
    )
    if wanted.since is not None:
        statement = statement.where(table.c.created_at > wanted.since)
    order = (table.c.created_at.desc(), table.c.notification_id.desc())
    result = await connection.execute(statement.order_by(*order).limit(wanted.limit))
    return [of_row(Notification, row) for row in result.mappings()]


async def mark_read(
    connection: AsyncConnection, account_id: str, *, ids: Collection[str] | None, at: datetime
) -> int:
    """Mark notifications of an account as read: all, or those of *ids*; return how many were."""
    statement = update(table).where(table.c.account_id == account_id, table.c.read_at.is_(None))
    if ids is not None:
        known = [each for each in ids if is_storable(each)]
        statement = statement.where(table.c.notification_id.in_(known))
    result = await connection.execute(statement.values(read_at=at))
    return result.rowcount


async def prune(connection: AsyncConnection, *, before: datetime) -> int:
    """Delete notifications from before a time; return how many."""
    result = await connection.execute(delete(table).where(table.c.created_at < before))
    return result.rowcount
