"""What accounts stored day by day, and prices: what reports are made of beside usage."""

from collections.abc import Collection, Mapping

from sqlalchemy import delete, func, literal, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.governance import Rate, Stored
from algorium_server.store.tables.accounts import accounts, memberships
from algorium_server.store.tables.algorithms import algorithms
from algorium_server.store.tables.files import storage_use
from algorium_server.store.tables.operations import cost_rates, storage_days
from algorium_server.store.upserts import upsert


async def note_storage(connection: AsyncConnection, day: int) -> None:
    """Note what every account stores, as that of a day, in place of what was noted for it."""
    is_sqlite = connection.dialect.name == "sqlite"
    insert = sqlite.insert(storage_days) if is_sqlite else postgresql.insert(storage_days)
    now = (
        select(
            literal(day),
            storage_use.c.account_id,
            accounts.c.username,
            storage_use.c.bytes,
            storage_use.c.files,
        )
        .join(accounts, accounts.c.account_id == storage_use.c.account_id)
        # SQLite cannot tell a join from an upsert without it.
        .where(literal(1) == literal(1))
        # Two that note at once lock the rows in the same order.
        .order_by(storage_use.c.account_id)
    )
    noting = insert.from_select(["day", "account_id", "account", "bytes", "files"], now)
    await connection.execute(
        noting.on_conflict_do_update(
            index_elements=list(storage_days.primary_key.columns),
            set_={"bytes": noting.excluded.bytes, "files": noting.excluded.files},
        )
    )


async def stored_on(
    connection: AsyncConnection,
    first: int,
    last: int,
    *,
    account_ids: Collection[str] | None,
    limit: int,
) -> list[Stored]:
    """Return what accounts stored on each day from *first* to *last*, by day and name."""
    table = storage_days
    statement = select(table).where(table.c.day >= first, table.c.day <= last)
    if account_ids is not None:
        statement = statement.where(table.c.account_id.in_(account_ids))
    result = await connection.execute(statement.order_by(table.c.day, table.c.account).limit(limit))
    return [Stored(day=row.day, account=row.account, bytes=int(row.bytes)) for row in result]


async def prune_storage(connection: AsyncConnection, *, before: int) -> None:
    """Forget the days before one."""
    await connection.execute(delete(storage_days).where(storage_days.c.day < before))


async def member_counts(connection: AsyncConnection) -> dict[str, int]:
    """Return how many members organizations have, by id; those without are absent."""
    result = await connection.execute(
        select(memberships.c.organization_id, func.count()).group_by(memberships.c.organization_id)
    )
    return {organization_id: int(count) for organization_id, count in result}


async def algorithm_counts(connection: AsyncConnection) -> dict[str, int]:
    """Return how many algorithms accounts own, by id; those without are absent."""
    result = await connection.execute(
        select(algorithms.c.owner_id, func.count()).group_by(algorithms.c.owner_id)
    )
    return {owner_id: int(count) for owner_id, count in result}


async def rates(connection: AsyncConnection) -> dict[Rate, float]:
    """Return the prices that are set."""
    result = await connection.execute(select(cost_rates))
    known = set(Rate)
    return {Rate(row.name): row.value for row in result if row.name in known}


async def set_rates(connection: AsyncConnection, values: Mapping[Rate, float]) -> None:
    """Set prices; others stay."""
    for name, value in sorted(values.items()):
        await upsert(connection, cost_rates, {"name": name.value, "value": value})
