"""
Limits of accounts, and what builds have used: rows in, values out.

Whatever changes limits is noted as a change, in the same transaction, for gateways keep them in
memory.
"""

from collections.abc import Collection, Mapping

from sqlalchemy import delete, func, insert, literal, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.changes import ChangeKind
from algorium_server.domain.quotas import QuotaName
from algorium_server.store import changes
from algorium_server.store.columns import name_key
from algorium_server.store.tables.accounts import accounts as account_table
from algorium_server.store.tables.quotas import build_use as use_table
from algorium_server.store.tables.quotas import quotas as table
from algorium_server.store.tables.records import usage as usage_table


async def all_limits(connection: AsyncConnection) -> dict[str, dict[QuotaName, int | None]]:
    """Return the limits of all accounts that have some of their own, by account id."""
    found: dict[str, dict[QuotaName, int | None]] = {}
    for row in await connection.execute(select(table)):
        found.setdefault(row.account_id, {})[row.name] = row.value
    return found


async def hold(connection: AsyncConnection, account_id: str) -> bool:
    """
    Let nobody else change an account's limits until the transaction ends; note that they change.

    Returns:
        Whether there is such an account.
    """
    await changes.note(connection, ChangeKind.QUOTA, account_id)
    found = await connection.scalar(
        select(account_table.c.account_id)
        .where(account_table.c.account_id == account_id)
        .with_for_update(key_share=True)
    )
    return found is not None


async def limits(connection: AsyncConnection, account_id: str) -> dict[QuotaName, int | None]:
    """Return an account's own limits."""
    rows = await connection.execute(select(table).where(table.c.account_id == account_id))
    return {row.name: row.value for row in rows}


async def set_limits(
    connection: AsyncConnection, account_id: str, wanted: Mapping[QuotaName, int | None]
) -> None:
    """Make these an account's own limits, and no others; it is held."""
    await connection.execute(delete(table).where(table.c.account_id == account_id))
    rows = [
        {"account_id": account_id, "name": name, "value": value} for name, value in wanted.items()
    ]
    if rows:
        await connection.execute(insert(table), rows)


async def accounts_with_limits(connection: AsyncConnection, *, after: str, limit: int) -> list[str]:
    """Return ids of accounts that have limits of their own, by name, behind the one of a name."""
    names = account_table.c.username_key
    rows = await connection.scalars(
        select(account_table.c.account_id)
        .where(
            names > name_key(after),
            account_table.c.account_id.in_(select(table.c.account_id).distinct()),
        )
        .order_by(names)
        .limit(limit)
    )
    return list(rows)


async def build_seconds(connection: AsyncConnection, account_id: str, month: str) -> float:
    """Return how long builds of an account took that ended in a month."""
    found = await connection.scalar(
        select(use_table.c.seconds).where(
            use_table.c.account_id == account_id, use_table.c.month == month
        )
    )
    return float(found or 0.0)


async def add_build_seconds(
    connection: AsyncConnection, account_id: str, month: str, seconds: float
) -> None:
    """Add the time of a build that has ended; an account that is gone owes nothing."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    adding = dialect.insert(use_table).from_select(
        ["account_id", "month", "seconds"],
        select(
            account_table.c.account_id,
            literal(month, use_table.c.month.type),
            literal(seconds, use_table.c.seconds.type),
        ).where(account_table.c.account_id == account_id),
    )
    await connection.execute(
        adding.on_conflict_do_update(
            index_elements=[use_table.c.account_id, use_table.c.month],
            set_={"seconds": use_table.c.seconds + adding.excluded.seconds},
        )
    )


async def compute_seconds(
    connection: AsyncConnection, *, since_us: int, account_ids: Collection[str] | None = None
) -> dict[str, float]:
    """
    Return how long the calls of accounts ran that began after a moment; those without are absent.

    Args:
        connection: To read from.
        since_us: The moment, in microseconds since 1970 UTC.
        account_ids: Whose; None for everybody's.
    """
    columns = usage_table.c
    statement = (
        select(columns.account_id, func.sum(columns.run_s))
        .where(columns.started_us >= since_us)
        .group_by(columns.account_id)
    )
    if account_ids is not None:
        statement = statement.where(columns.account_id.in_(account_ids))
    return {
        account_id: float(seconds) for account_id, seconds in await connection.execute(statement)
    }
