"""Invites, features, and entries for the front end."""

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.installation import FEATURES, ConfigEntry, Invite
from algorium_server.store.columns import is_storable, of_row, row_of
from algorium_server.store.tables.installation import config_entries, features, invites
from algorium_server.store.upserts import insert_unless_taken, upsert


async def all_invites(connection: AsyncConnection) -> list[Invite]:
    """Return all invites, oldest first."""
    result = await connection.execute(
        select(invites).order_by(invites.c.created_at, invites.c.code)
    )
    return [of_row(Invite, row) for row in result.mappings()]


async def invite(connection: AsyncConnection, code: str) -> Invite | None:
    """Return the invite with a code."""
    if not is_storable(code):
        return None
    result = await connection.execute(select(invites).where(invites.c.code == code))
    row = result.mappings().one_or_none()
    return None if row is None else of_row(Invite, row)


async def count_invites(connection: AsyncConnection) -> int:
    """Return how many invites there are."""
    return int(await connection.scalar(select(func.count()).select_from(invites)) or 0)


async def add_invite(connection: AsyncConnection, invite: Invite) -> bool:
    """Add an invite; return whether its code was free."""
    return await insert_unless_taken(connection, invites, row_of(invite))


async def remove_invite(connection: AsyncConnection, code: str) -> bool:
    """Remove an invite; return whether there was one."""
    if not is_storable(code):
        return False
    result = await connection.execute(delete(invites).where(invites.c.code == code))
    return result.rowcount > 0


async def features_of(connection: AsyncConnection, account_id: str) -> dict[str, bool]:
    """Return which features are on or off for an account, or for everybody, whose id is empty."""
    result = await connection.execute(
        select(features.c.name, features.c.is_enabled).where(features.c.account_id == account_id)
    )
    return {row.name: row.is_enabled for row in result}


async def is_enabled(connection: AsyncConnection, name: str, *, account_id: str) -> bool:
    """Whether a feature is on for an account: as said of it, else in general, else by default."""
    found = await features_of(connection, "") | await features_of(connection, account_id)
    return found.get(name, FEATURES[name])


async def set_feature(
    connection: AsyncConnection, name: str, *, account_id: str, is_enabled: bool
) -> None:
    """Switch a feature on or off for an account, or for everybody."""
    row = {"name": name, "account_id": account_id, "is_enabled": is_enabled}
    await upsert(connection, features, row)


async def remove_features_of(connection: AsyncConnection, account_id: str) -> None:
    """Forget what was said of an account."""
    await connection.execute(delete(features).where(features.c.account_id == account_id))


async def page_of_entries(
    connection: AsyncConnection, *, after: str, limit: int
) -> list[ConfigEntry]:
    """Return entries for the front end behind the one called *after*, by name."""
    table = config_entries
    result = await connection.execute(
        select(table).where(table.c.keyname > after).order_by(table.c.keyname).limit(limit)
    )
    return [of_row(ConfigEntry, row) for row in result.mappings()]


async def entry(connection: AsyncConnection, keyname: str) -> ConfigEntry | None:
    """Return an entry for the front end."""
    if not is_storable(keyname):
        return None
    table = config_entries
    result = await connection.execute(select(table).where(table.c.keyname == keyname))
    row = result.mappings().first()
    return None if row is None else of_row(ConfigEntry, row)


async def count_entries(connection: AsyncConnection) -> int:
    """Return how many entries there are."""
    return int(await connection.scalar(select(func.count()).select_from(config_entries)) or 0)


async def put_entry(connection: AsyncConnection, found: ConfigEntry) -> None:
    """Store an entry, in place of the one there was."""
    await upsert(connection, config_entries, row_of(found))


async def remove_entry(connection: AsyncConnection, keyname: str) -> bool:
    """Remove an entry; return whether there was one."""
    if not is_storable(keyname):
        return False
    table = config_entries
    result = await connection.execute(delete(table).where(table.c.keyname == keyname))
    return result.rowcount > 0
