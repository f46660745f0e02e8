"""Facts about the installation as a whole, by name: its id, what first start has done."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.store.schema import installation
from algorium_server.store.upserts import insert_unless_taken, upsert


async def fact(connection: AsyncConnection, key: str) -> str | None:
    """Return what is noted under *key*."""
    statement = select(installation.c.value).where(installation.c.key == key)
    value: str | None = await connection.scalar(statement)
    return value


async def set_fact(connection: AsyncConnection, key: str, *, value: str) -> None:
    """Note *value* under *key*, whatever was there."""
    await upsert(connection, installation, {"key": key, "value": value})


async def settle_fact(connection: AsyncConnection, key: str, *, proposal: str) -> str:
    """
    Note *proposal* under *key* unless something is there; return what is there then.

    Gateways that start together so agree on one instance id.
    """
    await insert_unless_taken(connection, installation, {"key": key, "value": proposal})
    value = await fact(connection, key)
    assert value is not None
    return value
