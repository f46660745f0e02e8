"""Accounts, memberships and API keys: rows in, values out."""

from collections.abc import Collection

from sqlalchemy import delete, insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.changes import ChangeKind, membership_subject
from algorium_server.domain.errors import AlreadyExists
from algorium_server.domain.identity import Account, ApiKey, Role
from algorium_server.store import changes
from algorium_server.store.schema import accounts as account_table
from algorium_server.store.schema import api_keys, name_key, of_row, row_of
from algorium_server.store.schema import memberships as membership_table
from algorium_server.store.upserts import insert_unless_taken, upsert


async def add_account(connection: AsyncConnection, account: Account) -> None:
    """
    Add a user or an organization.

    Raises:
        AlreadyExists: Another account has the name, in whatever case.
    """
    await changes.note(connection, ChangeKind.ACCOUNT, account.account_id)
    row = row_of(account) | {"username_key": name_key(account.username)}
    if not await insert_unless_taken(connection, account_table, row):
        raise AlreadyExists(f"the account name {account.username!r} is taken")


async def accounts(
    connection: AsyncConnection, *, ids: Collection[str] | None = None
) -> list[Account]:
    """Return accounts, by name: all, or those of *ids* that exist."""
    statement = select(account_table)
    if ids is not None:
        statement = statement.where(account_table.c.account_id.in_(ids))
    result = await connection.execute(statement.order_by(account_table.c.username_key))
    return [of_row(Account, row) for row in result.mappings()]


async def add_key(connection: AsyncConnection, key: ApiKey, *, digest: str) -> None:
    """
    Add an API key.

    Args:
        connection: Inside a transaction.
        key: Everything but the secret.
        digest: Hexadecimal SHA-256 of the secret.
    """
    await changes.note(connection, ChangeKind.KEY, key.key_id)
    await connection.execute(insert(api_keys).values(row_of(key) | {"digest": digest}))


async def remove_key(connection: AsyncConnection, key_id: str) -> bool:
    """Remove an API key, so that nobody can use it any more; return whether there was one."""
    await changes.note(connection, ChangeKind.KEY, key_id)
    result = await connection.execute(delete(api_keys).where(api_keys.c.key_id == key_id))
    return result.rowcount > 0


async def keys(
    connection: AsyncConnection, *, ids: Collection[str] | None = None
) -> list[tuple[ApiKey, str]]:
    """Return keys with their digests, oldest first: all, or those of *ids* that exist."""
    statement = select(api_keys)
    if ids is not None:
        statement = statement.where(api_keys.c.key_id.in_(ids))
    result = await connection.execute(statement.order_by(api_keys.c.created_at, api_keys.c.key_id))
    return [(of_row(ApiKey, row), row["digest"]) for row in result.mappings()]


async def set_membership(
    connection: AsyncConnection, *, organization_id: str, user_id: str, role: Role
) -> None:
    """Make a user a member of an organization, or change the role."""
    subject = membership_subject(organization_id=organization_id, user_id=user_id)
    await changes.note(connection, ChangeKind.MEMBERSHIP, subject)
    await upsert(
        connection,
        membership_table,
        {"organization_id": organization_id, "user_id": user_id, "role": role},
    )


async def memberships(
    connection: AsyncConnection, *, ids: Collection[tuple[str, str]] | None = None
) -> list[tuple[str, str, Role]]:
    """
    Return memberships as organization id, user id, role.

    Args:
        connection: Any.
        ids: Only those of these organizations and users that exist; None for all.
    """
    table = membership_table
    statement = select(table.c.organization_id, table.c.user_id, table.c.role)
    if ids is not None:
        statement = statement.where(tuple_(table.c.organization_id, table.c.user_id).in_(ids))
    result = await connection.execute(statement.order_by(table.c.organization_id, table.c.user_id))
    return [(organization_id, user_id, role) for organization_id, user_id, role in result]
