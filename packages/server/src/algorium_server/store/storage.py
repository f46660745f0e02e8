"""
What accounts store, counted in a row for each of them: exact, for it changes with the files.

Whoever changes several things locks them in this order, so that nobody waits in a circle:
collections, files, use; each sorted by its key.
"""

from collections.abc import Iterable, Mapping

from sqlalchemy import bindparam, func, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.storage import StorageUse
from algorium_server.store.tables.files import collections as collection_table
from algorium_server.store.tables.files import files as file_table
from algorium_server.store.tables.files import storage_use as table
from algorium_server.store.upserts import insert_unless_taken, upsert

_CHANGE = (
    update(table)
    .where(table.c.account_id == bindparam("the_account"))
    .values(
        bytes=table.c.bytes + bindparam("more_bytes"),
        files=table.c.files + bindparam("more_files"),
    )
)
_LOCK = (
    select(table)
    .where(table.c.account_id.in_(bindparam("accounts", expanding=True)))
    .order_by(table.c.account_id)
    .with_for_update()
)


async def use_of(connection: AsyncConnection, account_id: str) -> StorageUse:
    """Return what an account stores."""
    row = (
        await connection.execute(
            select(table.c.bytes, table.c.files).where(table.c.account_id == account_id)
        )
    ).first()
    return StorageUse() if row is None else StorageUse(bytes=row.bytes, files=row.files)


async def locked_use(
    connection: AsyncConnection, account_ids: Iterable[str]
) -> dict[str, StorageUse]:
    """Return what accounts store; nobody else can change it until the transaction ends."""
    wanted = sorted(set(account_ids))
    found = await _locked(connection, wanted)
    missing = [account_id for account_id in wanted if account_id not in found]
    if not missing:
        return found
    for account_id in missing:
        await insert_unless_taken(
            connection, table, {"account_id": account_id, "bytes": 0, "files": 0}
        )
    return await _locked(connection, wanted)


async def change_use(connection: AsyncConnection, changes: Mapping[str, StorageUse]) -> None:
    """Add to what accounts store; each has been locked by `locked_use`."""
    rows = [
        {"the_account": account_id, "more_bytes": more.bytes, "more_files": more.files}
        for account_id, more in sorted(changes.items())
        if more
    ]
    if rows:
        await connection.execute(_CHANGE, rows)


async def count_change(
    connection: AsyncConnection, *, collection_id: str, more: StorageUse
) -> None:
    """Add to what the owner of a collection stores."""
    if not more:
        return
    is_sqlite = connection.dialect.name == "sqlite"
    insert = sqlite.insert(table) if is_sqlite else postgresql.insert(table)
    owner = select(collection_table.c.owner_id, literal(more.bytes), literal(more.files)).where(
        collection_table.c.collection_id == collection_id
    )
    adding = insert.from_select(["account_id", "bytes", "files"], owner)
    await connection.execute(
        adding.on_conflict_do_update(
            index_elements=[table.c.account_id],
            set_={
                "bytes": table.c.bytes + adding.excluded.bytes,
                "files": table.c.files + adding.excluded.files,
            },
        )
    )


async def counted_use(connection: AsyncConnection) -> dict[str, StorageUse]:
    """Count what accounts store anew, from the rows of their files; accounts without are absent."""
    owner = collection_table.c.owner_id
    counted = await connection.execute(
        select(
            owner,
            func.coalesce(func.sum(file_table.c.size_bytes), 0).label("size_bytes"),
            func.count().label("number"),
        )
        .join_from(file_table, collection_table)
        .group_by(owner)
    )
    return {
        row.owner_id: StorageUse(bytes=int(row.size_bytes), files=row.number) for row in counted
    }


async def noted_use(connection: AsyncConnection) -> dict[str, StorageUse]:
    """Return what the rows say that accounts store."""
    rows = await connection.execute(select(table))
    return {row.account_id: StorageUse(bytes=row.bytes, files=row.files) for row in rows}


async def set_use(connection: AsyncConnection, account_id: str, use: StorageUse) -> None:
    """Correct what the row says that an account stores."""
    await upsert(
        connection, table, {"account_id": account_id, "bytes": use.bytes, "files": use.files}
    )


async def _locked(connection: AsyncConnection, account_ids: list[str]) -> dict[str, StorageUse]:
    rows = await connection.execute(_LOCK, {"accounts": account_ids})
    return {row.account_id: StorageUse(bytes=row.bytes, files=row.files) for row in rows}
