"""Users beside their accounts: profiles, and addresses that are taken."""

import hashlib
from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.identity import Account
from algorium_server.domain.users import User, UserProfile, email_key
from algorium_server.store.columns import is_storable, of_row, row_of
from algorium_server.store.tables.accounts import taken_emails
from algorium_server.store.tables.accounts import user_profiles as table
from algorium_server.store.upserts import insert_unless_taken, upsert


async def with_profiles(connection: AsyncConnection, accounts: list[Account]) -> list[User]:
    """Return accounts with what else is known of them, in the same order."""
    ids = [account.account_id for account in accounts]
    result = await connection.execute(select(table).where(table.c.account_id.in_(ids)))
    known = {row["account_id"]: of_row(UserProfile, row) for row in result.mappings()}
    return [
        User(
            account=account,
            profile=known.get(account.account_id, UserProfile(account_id=account.account_id)),
        )
        for account in accounts
    ]


async def put_profile(connection: AsyncConnection, profile: UserProfile) -> None:
    """Store a profile, in place of the one there was."""
    await upsert(connection, table, row_of(profile))


async def user_of_external_id(connection: AsyncConnection, external_id: str) -> str | None:
    """Return the id of the account that the company's directory calls so."""
    if not is_storable(external_id):
        return None
    found: str | None = await connection.scalar(
        select(table.c.account_id).where(table.c.external_id == external_id)
    )
    return found


async def external_ids(
    connection: AsyncConnection, *, ids: Collection[str] | None = None
) -> list[tuple[str, str]]:
    """Return account ids and external ids of all who have one, or of those among *ids*."""
    query = select(table.c.account_id, table.c.external_id).where(table.c.external_id.is_not(None))
    if ids is not None:
        query = query.where(table.c.account_id.in_(ids))
    result = await connection.execute(query)
    return [(account_id, external_id) for account_id, external_id in result]


async def take_email(connection: AsyncConnection, email: str, *, account_id: str) -> bool:
    """Take an address for an account, for ever; return whether it can have it."""
    digest = hashlib.sha256(email_key(email).encode("utf-8", "surrogatepass")).hexdigest()
    row = {"digest": digest, "account_id": account_id}
    if await insert_unless_taken(connection, taken_emails, row):
        return True
    holder = await connection.scalar(
        select(taken_emails.c.account_id).where(taken_emails.c.digest == digest)
    )
    return bool(holder == account_id)
