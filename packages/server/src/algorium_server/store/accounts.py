"""Accounts, memberships and API keys: rows in, values out."""

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.errors import AlreadyExists
from algorium_server.domain.identity import Account, ApiKey, Role
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
    row = row_of(account) | {"username_key": name_key(account.username)}
    if not await insert_unless_taken(connection, account_table, row):
        raise AlreadyExists(f"the account name {account.username!r} is taken")


async def accounts(connection: AsyncConnection) -> list[Account]:
    """Return all accounts, by name."""
    result = await connection.execute(select(account_table).order_by(account_table.c.username_key))
    return [of_row(Account, row) for row in result.mappings()]


async def add_key(connection: AsyncConnection, key: ApiKey, *, digest: str) -> None:
    """
    Add an API key.

    Args:
        connection: Inside a transaction.
        key: Everything but the secret.
        digest: Hexadecimal SHA-256 of the secret.
    """
    await connection.execute(insert(api_keys).values(row_of(key) | {"digest": digest}))


async def keys(connection: AsyncConnection) -> list[tuple[ApiKey, str]]:
    """Return all keys with their digests, oldest first."""
    result = await connection.execute(
        select(api_keys).order_by(api_keys.c.created_at, api_keys.c.key_id)
    )
    return [(of_row(ApiKey, row), row["digest"]) for row in result.mappings()]


async def set_membership(
    connection: AsyncConnection, *, organization_id: str, user_id: str, role: Role
) -> None:
    """Make a user a member of an organization, or change the role."""
    await upsert(
        connection,
        membership_table,
        {"organization_id": organization_id, "user_id": user_id, "role": role},
    )


async def memberships(connection: AsyncConnection) -> list[tuple[str, str, Role]]:
    """Return all memberships as organization id, user id, role."""
    table = membership_table
    result = await connection.execute(
        select(table.c.organization_id, table.c.user_id, table.c.role).order_by(
            table.c.organization_id, table.c.user_id
        )
    )
    return [(organization_id, user_id, role) for organization_id, user_id, role in result]
