"""Sessions of people who signed in: rows in, values out."""

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.changes import ChangeKind
from algorium_server.domain.sessions import Session
from algorium_server.store import changes
from algorium_server.store.columns import of_row, row_of
from algorium_server.store.tables.sessions import group_syncs
from algorium_server.store.tables.sessions import sessions as table
from algorium_server.store.upserts import upsert


async def add_session(connection: AsyncConnection, session: Session, *, digest: str) -> None:
    """
    Add a session.

    Args:
        connection: Inside a transaction.
        session: Everything but the value of its cookie.
        digest: Hexadecimal SHA-256 of that.
    """
    await changes.note(connection, ChangeKind.SESSION, session.session_id)
    await connection.execute(insert(table).values(row_of(session) | {"digest": digest}))


async def sessions(
    connection: AsyncConnection,
    *,
    ids: Collection[str] | None = None,
    account_id: str | None = None,
) -> list[tuple[Session, str]]:
    """
    Return sessions with their digests, oldest first.

    Args:
        connection: Any.
        ids: Only these.
        account_id: Only those of this account.
    """
    statement = select(table)
    if ids is not None:
        statement = statement.where(table.c.session_id.in_(ids))
    if account_id is not None:
        statement = statement.where(table.c.account_id == account_id)
    result = await connection.execute(statement.order_by(table.c.created_at, table.c.session_id))
    return [(of_row(Session, row), row["digest"]) for row in result.mappings()]


async def remove_sessions(connection: AsyncConnection, ids: Collection[str]) -> None:
    """End sessions; those that have ended are fine."""
    for session_id in sorted(ids):
        await changes.note(connection, ChangeKind.SESSION, session_id)
    await connection.execute(delete(table).where(table.c.session_id.in_(ids)))


async def remove_sessions_of(connection: AsyncConnection, account_id: str) -> list[str]:
    """End all sessions of an account; return their ids."""
    # Noting comes first: whoever is about to add one waits, or has added it already.
    await changes.note(connection, ChangeKind.SESSION, account_id)
    ids = sorted(
        await connection.scalars(select(table.c.session_id).where(table.c.account_id == account_id))
    )
    if ids:
        await remove_sessions(connection, ids)
    return ids


async def remove_ended(
    connection: AsyncConnection, *, expired_before: datetime, idle_since: datetime
) -> list[str]:
    """Remove sessions that have ended by themselves; return their ids."""
    ids = sorted(
        await connection.scalars(
            select(table.c.session_id).where(
                or_(table.c.expires_at < expired_before, table.c.used_at < idle_since)
            )
        )
    )
    if ids:
        await remove_sessions(connection, ids)
    return ids


async def note_uses(connection: AsyncConnection, uses: Mapping[str, datetime]) -> None:
    """Note when sessions were used, so that no other gateway takes them for idle."""
    for session_id, used_at in sorted(uses.items()):
        await changes.note(connection, ChangeKind.SESSION, session_id)
        await connection.execute(
            update(table)
            .where(table.c.session_id == session_id, table.c.used_at < used_at)
            .values(used_at=used_at)
        )


async def take_groups(connection: AsyncConnection, account_id: str, *, issued_at: datetime) -> bool:
    """
    Note that a token decides about a user; return False if a newer one has decided already.

    Args:
        connection: Inside the transaction that does what the token says.
        account_id: Whose.
        issued_at: When the token was issued.
    """
    known = await connection.scalar(
        select(group_syncs.c.issued_at).where(group_syncs.c.account_id == account_id)
    )
    if known is not None and known > issued_at:
        return False
    await upsert(connection, group_syncs, {"account_id": account_id, "issued_at": issued_at})
    return True
