"""Connectors: rows in, values out. Credentials come and go sealed."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.connectors import StorageProtocol, StoredConnector
from algorium_server.domain.errors import AlreadyExists, NotFound
from algorium_server.store.columns import is_storable, of_row, row_of
from algorium_server.store.tables.accounts import accounts
from algorium_server.store.tables.connectors import connectors as table
from algorium_server.store.upserts import insert_unless_taken


async def add_connector(connection: AsyncConnection, connector: StoredConnector) -> None:
    """
    Add a connector; if it is to be the default, no other one of its protocol is any more.

    Raises:
        AlreadyExists: The owner has one of that protocol with that label.
    """
    if connector.is_default:
        await _lock(connection, connector.owner_id)
        await _unset_default(connection, connector.owner_id, connector.protocol)
    if not await insert_unless_taken(connection, table, row_of(connector)):
        raise _taken(connector.protocol, connector.label)


async def change_connector(
    connection: AsyncConnection, connector: StoredConnector, *, revision: str
) -> bool:
    """
    Replace what is kept of a connector, if nobody else has changed it meanwhile.

    Args:
        connection: Inside a transaction.
        connector: As it is to be.
        revision: Which one it was.

    Returns:
        Whether it was that one still.

    Raises:
        AlreadyExists: The owner has another one of that protocol with that label.
    """
    is_it = (table.c.connector_id == connector.connector_id) & (table.c.revision == revision)
    if connector.is_default:
        await _lock(connection, connector.owner_id)
        # Before another default goes: it is to stay if this one does not take its place.
        found = await connection.execute(select(table.c.revision).where(is_it).with_for_update())
        if found.first() is None:
            return False
        await _unset_default(
            connection, connector.owner_id, connector.protocol, but=connector.connector_id
        )
    values: Mapping[str, Any] = row_of(connector)
    try:
        result = await connection.execute(update(table).where(is_it).values(dict(values)))
    except IntegrityError as error:
        raise _taken(connector.protocol, connector.label) from error
    return result.rowcount > 0


async def remove_connector(connection: AsyncConnection, connector_id: str) -> bool:
    """Remove a connector with its credentials; return whether there was one."""
    result = await connection.execute(delete(table).where(table.c.connector_id == connector_id))
    return result.rowcount > 0


async def connector(
    connection: AsyncConnection, *, owner_id: str, connector_id: str
) -> StoredConnector:
    """
    Return an account's connector by its id.

    Raises:
        NotFound: It has none of that id.
    """
    if not is_storable(connector_id):
        raise NotFound("connector not found")
    result = await connection.execute(
        select(table).where(table.c.owner_id == owner_id, table.c.connector_id == connector_id)
    )
    row = result.mappings().first()
    if row is None:
        raise NotFound("connector not found")
    return of_row(StoredConnector, row)


async def connector_named(
    connection: AsyncConnection, *, owner_id: str, protocol: StorageProtocol, label: str
) -> StoredConnector:
    """
    Return an account's connector as URIs name it.

    Args:
        connection: Any.
        owner_id: Whose.
        protocol: Which kind.
        label: Which one of them; empty for the default.

    Raises:
        NotFound: It has none of that name.
    """
    is_it = table.c.label == label if label else table.c.is_default.is_(True)
    result = await connection.execute(
        select(table).where(table.c.owner_id == owner_id, table.c.protocol == protocol, is_it)
    )
    row = result.mappings().first()
    if row is None:
        raise NotFound("connector not found")
    return of_row(StoredConnector, row)


async def connectors_of(
    connection: AsyncConnection, owner_id: str, *, limit: int, after: tuple[str, str] | None = None
) -> list[StoredConnector]:
    """
    Return an account's connectors, by protocol and label.

    Args:
        connection: Any.
        owner_id: Whose.
        limit: How many at most.
        after: Protocol and label of the last one of the page before.
    """
    statement = select(table).where(table.c.owner_id == owner_id)
    if after is not None:
        protocol, label = after
        is_behind = (table.c.protocol > protocol) | (
            (table.c.protocol == protocol) & (table.c.label > label)
        )
        statement = statement.where(is_behind)
    result = await connection.execute(
        statement.order_by(table.c.protocol, table.c.label).limit(limit)
    )
    return [of_row(StoredConnector, row) for row in result.mappings()]


async def count_connectors(connection: AsyncConnection, owner_id: str) -> int:
    """Return how many connectors an account has."""
    result = await connection.execute(
        select(func.count()).select_from(table).where(table.c.owner_id == owner_id)
    )
    return result.scalar_one()


async def _lock(connection: AsyncConnection, owner_id: str) -> None:
    # One default after the other: two that came at once would not see each other, and one would be
    # refused as if its label were taken.
    owner = select(accounts.c.account_id).where(accounts.c.account_id == owner_id)
    await connection.execute(owner.with_for_update(key_share=True))


async def _unset_default(
    connection: AsyncConnection, owner_id: str, protocol: StorageProtocol, *, but: str = ""
) -> None:
    # Another revision: a change that was made of what it was would make it the default again.
    await connection.execute(
        update(table)
        .where(
            table.c.owner_id == owner_id,
            table.c.protocol == protocol,
            table.c.is_default.is_(True),
            table.c.connector_id != but,
        )
        .values(is_default=False, revision=str(uuid4()))
    )


def _taken(protocol: StorageProtocol, label: str) -> AlreadyExists:
    return AlreadyExists(f"there is a connector {protocol}+{label} already")
