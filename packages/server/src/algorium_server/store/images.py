"""The favicon and the logo."""

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.images import ImageName, StoredImage
from algorium_server.store.columns import of_row, row_of
from algorium_server.store.tables.installation import images as table
from algorium_server.store.upserts import upsert


async def image(connection: AsyncConnection, name: ImageName) -> StoredImage | None:
    """Return an image."""
    result = await connection.execute(select(table).where(table.c.name == name))
    row = result.mappings().first()
    return None if row is None else of_row(StoredImage, row)


async def put_image(connection: AsyncConnection, made: StoredImage) -> None:
    """Store an image, in place of the one there was."""
    await upsert(connection, table, row_of(made))


async def remove_image(connection: AsyncConnection, name: ImageName) -> None:
    """Remove an image, if there is one."""
    await connection.execute(delete(table).where(table.c.name == name))
