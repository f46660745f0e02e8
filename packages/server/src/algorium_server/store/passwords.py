"""Passwords: their hashes, one for each account that has one."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.store.tables.accounts import passwords as table
from algorium_server.store.upserts import upsert


async def set_password(
    connection: AsyncConnection, account_id: str, *, encoded: str, changed_at: datetime
) -> None:
    """
    Keep the hash of an account's password, instead of the one before.

    Args:
        connection: Inside a transaction.
        account_id: Whose.
        encoded: The hash with its parameters and salt, in the usual text form.
        changed_at: Since when.
    """
    await upsert(
        connection,
        table,
        {"account_id": account_id, "encoded": encoded, "changed_at": changed_at},
    )


async def password(connection: AsyncConnection, account_id: str) -> str | None:
    """Return the hash of an account's password, None if it has none."""
    result = await connection.execute(
        select(table.c.encoded).where(table.c.account_id == account_id)
    )
    found: str | None = result.scalar_one_or_none()
    return found
