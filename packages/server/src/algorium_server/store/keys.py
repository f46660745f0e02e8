"""API keys as their owners see them: lists, last uses, ends."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.changes import ChangeKind
from algorium_server.domain.identity import ApiKey
from algorium_server.domain.keys import ListedKey
from algorium_server.store import changes
from algorium_server.store.columns import is_storable, of_row
from algorium_server.store.tables.accounts import api_keys as table
from algorium_server.store.tables.accounts import key_uses
from algorium_server.store.upserts import upsert


async def keys_of(
    connection: AsyncConnection, account_id: str, *, key_id: str | None = None
) -> list[ListedKey]:
    """
    Return keys of an account, oldest first.

    Args:
        connection: Any.
        account_id: Whose.
        key_id: Only this one.
    """
    if key_id is not None and not is_storable(key_id):
        return []
    statement = (
        select(table, key_uses.c.used_at)
        .outerjoin(key_uses, key_uses.c.key_id == table.c.key_id)
        .where(table.c.account_id == account_id)
        .order_by(table.c.created_at, table.c.key_id)
    )
    if key_id is not None:
        statement = statement.where(table.c.key_id == key_id)
    result = await connection.execute(statement)
    return [_listed(of_row(ApiKey, row), row["mask"], row["used_at"]) for row in result.mappings()]


async def count_keys(connection: AsyncConnection, account_id: str) -> int:
    """Return how many keys an account has."""
    statement = select(func.count()).select_from(table).where(table.c.account_id == account_id)
    return int(await connection.scalar(statement) or 0)


async def is_digest_known(connection: AsyncConnection, digest: str) -> bool:
    """Whether some key has this value."""
    statement = select(table.c.key_id).where(table.c.digest == digest)
    return await connection.scalar(statement) is not None


async def expire_key(connection: AsyncConnection, key_id: str, *, expires_at: datetime) -> None:
    """Let a key end at a time."""
    await changes.note(connection, ChangeKind.KEY, key_id)
    await connection.execute(
        update(table).where(table.c.key_id == key_id).values(expires_at=expires_at)
    )


async def remove_ended_keys_of(
    connection: AsyncConnection, account_id: str, *, before: datetime
) -> None:
    """Remove keys of an account that ended before a time: nobody can use them any more."""
    theirs = (table.c.account_id == account_id, table.c.expires_at < before)
    for key_id in sorted(await connection.scalars(select(table.c.key_id).where(*theirs))):
        await changes.note(connection, ChangeKind.KEY, key_id)
    await connection.execute(delete(table).where(*theirs))


async def remove_keys_of(connection: AsyncConnection, account_id: str) -> list[str]:
    """Remove all keys of an account; return their ids."""
    ids = sorted(
        await connection.scalars(select(table.c.key_id).where(table.c.account_id == account_id))
    )
    for key_id in ids:
        await changes.note(connection, ChangeKind.KEY, key_id)
    await connection.execute(delete(table).where(table.c.account_id == account_id))
    return ids


async def note_uses(connection: AsyncConnection, uses: Mapping[str, datetime]) -> None:
    """Note when keys were used last; keys that are gone meanwhile are left out."""
    known = await connection.scalars(
        select(table.c.key_id).where(table.c.key_id.in_(list(uses))).order_by(table.c.key_id)
    )
    for key_id in known.all():  # in order: gateways that note the same keys do not block another
        await upsert(connection, key_uses, {"key_id": key_id, "used_at": uses[key_id]})


def _listed(key: ApiKey, mask: str, used_at: datetime | None) -> ListedKey:
    return (
        ListedKey(key=key, mask=mask, used_at=used_at)
        if mask
        else ListedKey(key=key, used_at=used_at)
    )
