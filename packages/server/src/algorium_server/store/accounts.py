"""Accounts, memberships and API keys: rows in, values out."""

from collections.abc import Collection

from sqlalchemy import delete, insert, or_, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.changes import ChangeKind, membership_subject
from algorium_server.domain.errors import AlreadyExists, StillInUse
from algorium_server.domain.identity import Account, AccountKind, ApiKey, KeyKind, Role
from algorium_server.store import changes
from algorium_server.store.columns import name_key, of_row, row_of
from algorium_server.store.tables.accounts import accounts as account_table
from algorium_server.store.tables.accounts import api_keys, taken_names
from algorium_server.store.tables.accounts import memberships as membership_table
from algorium_server.store.upserts import insert_unless_taken, upsert

_FIXED = frozenset({"account_id", "kind", "username", "created_at"})


async def add_account(connection: AsyncConnection, account: Account) -> None:
    """
    Add a user or an organization.

    Raises:
        AlreadyExists: Another account has the name, or had it, in whatever case.
    """
    await changes.note(connection, ChangeKind.ACCOUNT, account.account_id)
    key = name_key(account.username)
    taken = {"name_key": key, "account_id": account.account_id}
    if not await insert_unless_taken(connection, taken_names, taken):
        raise AlreadyExists(f"the account name {account.username!r} is taken")
    await connection.execute(insert(account_table).values(row_of(account) | {"username_key": key}))


async def update_account(connection: AsyncConnection, account: Account) -> bool:
    """Store an account anew, whose name stays; return whether there is one of that id."""
    await changes.note(connection, ChangeKind.ACCOUNT, account.account_id)
    table = account_table
    values = {name: value for name, value in row_of(account).items() if name not in _FIXED}
    result = await connection.execute(
        update(table).where(table.c.account_id == account.account_id).values(values)
    )
    return result.rowcount > 0


async def delete_account(connection: AsyncConnection, account_id: str) -> bool:
    """
    Delete an account that owns neither algorithms nor data; return whether there was one.

    Keys, memberships and connectors go with it. Its name stays taken.

    Raises:
        StillInUse: It owns some; the transaction is lost.
    """
    await changes.note(connection, ChangeKind.ACCOUNT, account_id)
    statement = delete(account_table).where(account_table.c.account_id == account_id)
    try:
        result = await connection.execute(statement)
    except IntegrityError as error:
        raise StillInUse("the account owns algorithms or data still") from error
    return result.rowcount > 0


async def lasting_admin_keys(connection: AsyncConnection) -> dict[str, str]:
    """Return ids of admin keys that can be used and do not end, each with its account's."""
    result = await connection.execute(
        select(api_keys.c.key_id, api_keys.c.account_id)
        .join(account_table, account_table.c.account_id == api_keys.c.account_id)
        .where(
            api_keys.c.kind == KeyKind.ADMIN,
            api_keys.c.expires_at.is_(None),
            account_table.c.is_admin.is_(True),
            account_table.c.is_disabled.is_(False),
        )
    )
    return {row.key_id: row.account_id for row in result}


async def hold_account(connection: AsyncConnection, account_id: str) -> Account | None:
    """Return an account as it is now, and will be for others until this transaction ends."""
    await changes.note(connection, ChangeKind.ACCOUNT, account_id)
    found = await accounts(connection, ids=[account_id])
    return found[0] if found else None


async def page_of_accounts(
    connection: AsyncConnection, kind: AccountKind, *, after: str, limit: int
) -> list[Account]:
    """
    Return accounts of one kind by name.

    Args:
        connection: Any.
        kind: Users or organizations.
        after: Only those behind the account of this name; empty for the first page.
        limit: So many at most.
    """
    table = account_table
    result = await connection.execute(
        select(table)
        .where(table.c.kind == kind, table.c.username_key > name_key(after))
        .order_by(table.c.username_key)
        .limit(limit)
    )
    return [of_row(Account, row) for row in result.mappings()]


async def accounts(
    connection: AsyncConnection, *, ids: Collection[str] | None = None
) -> list[Account]:
    """Return accounts, by name: all, or those of *ids* that exist."""
    statement = select(account_table)
    if ids is not None:
        statement = statement.where(account_table.c.account_id.in_(ids))
    result = await connection.execute(statement.order_by(account_table.c.username_key))
    return [of_row(Account, row) for row in result.mappings()]


async def add_key(connection: AsyncConnection, key: ApiKey, *, digest: str, mask: str = "") -> None:
    """
    Add an API key.

    Args:
        connection: Inside a transaction.
        key: Everything but the secret.
        digest: Hexadecimal SHA-256 of the secret.
        mask: What may be shown of the secret.
    """
    await changes.note(connection, ChangeKind.KEY, key.key_id)
    row = row_of(key) | {"digest": digest, "mask": mask}
    await connection.execute(insert(api_keys).values(row))


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


async def remove_membership(
    connection: AsyncConnection, *, organization_id: str, user_id: str
) -> bool:
    """End a membership; return whether there was one."""
    subject = membership_subject(organization_id=organization_id, user_id=user_id)
    await changes.note(connection, ChangeKind.MEMBERSHIP, subject)
    table = membership_table
    result = await connection.execute(
        delete(table).where(table.c.organization_id == organization_id, table.c.user_id == user_id)
    )
    return result.rowcount > 0


async def end_memberships(connection: AsyncConnection, account_id: str) -> list[tuple[str, str]]:
    """End all memberships of a user, or in an organization; return organizations and users."""
    table = membership_table
    theirs = or_(table.c.organization_id == account_id, table.c.user_id == account_id)
    result = await connection.execute(
        select(table.c.organization_id, table.c.user_id)
        .where(theirs)
        .order_by(table.c.organization_id, table.c.user_id)
    )
    ended = [(organization_id, user_id) for organization_id, user_id in result]
    for organization_id, user_id in ended:
        subject = membership_subject(organization_id=organization_id, user_id=user_id)
        await changes.note(connection, ChangeKind.MEMBERSHIP, subject)
    await connection.execute(delete(table).where(theirs))
    return ended


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


async def roles_of(connection: AsyncConnection, user_id: str) -> dict[str, Role]:
    """Return a user's role in each organization, by organization id."""
    table = membership_table
    result = await connection.execute(
        select(table.c.organization_id, table.c.role).where(table.c.user_id == user_id)
    )
    return {row.organization_id: row.role for row in result}
