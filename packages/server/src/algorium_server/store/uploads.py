"""Resumable uploads and their parts: rows in, values out."""

from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.uploads import BegunUpload, UploadPart, UploadResult
from algorium_server.store.columns import is_storable, of_row, row_of
from algorium_server.store.tables.files import upload_parts as part_table
from algorium_server.store.tables.files import uploads as table
from algorium_server.store.upserts import upsert


async def add_upload(connection: AsyncConnection, upload: BegunUpload) -> None:
    """Add an upload that begins."""
    await connection.execute(table.insert().values(row_of(upload)))


async def upload(
    connection: AsyncConnection, upload_id: str, *, is_locked: bool = False
) -> BegunUpload | None:
    """
    Return an upload by its id.

    Args:
        connection: Any; one that writes if it is to be locked.
        upload_id: Which.
        is_locked: Nobody else changes it or its parts until the transaction ends.
    """
    if not is_storable(upload_id):
        return None
    statement = select(table).where(table.c.upload_id == upload_id)
    if is_locked:
        statement = statement.with_for_update()
    row = (await connection.execute(statement)).mappings().first()
    return None if row is None else of_row(BegunUpload, row)


async def uploads_of(
    connection: AsyncConnection, *, account_id: str, algorithm_id: str
) -> list[BegunUpload]:
    """Return what somebody has begun and not finished, oldest first."""
    result = await connection.execute(
        select(table)
        .where(
            table.c.account_id == account_id,
            table.c.algorithm_id == algorithm_id,
            table.c.result.is_(None),
        )
        .order_by(table.c.created_at, table.c.upload_id)
    )
    return [of_row(BegunUpload, row) for row in result.mappings()]


async def count_uploads(connection: AsyncConnection, account_id: str) -> int:
    """Return how many unfinished uploads an account has."""
    statement = select(func.count()).where(
        table.c.account_id == account_id, table.c.result.is_(None)
    )
    return int(await connection.scalar(statement.select_from(table)) or 0)


async def bytes_of_parts(
    connection: AsyncConnection, owner_id: str, *, upload_id: str = "", but_number: int = 0
) -> int:
    """
    Return how many bytes wait in parts of uploads that fill an account's storage.

    Args:
        connection: Any.
        owner_id: The account.
        upload_id: The upload of one part that does not count, for it comes anew; empty for none.
        but_number: The number of that part.
    """
    is_other = (part_table.c.upload_id != upload_id) | (part_table.c.number != but_number)
    statement = (
        select(func.sum(part_table.c.size_bytes))
        .join(table, table.c.upload_id == part_table.c.upload_id)
        .where(table.c.owner_id == owner_id, is_other)
    )
    return int(await connection.scalar(statement) or 0)


async def finish_upload(
    connection: AsyncConnection, upload_id: str, *, result: UploadResult, expires_at: datetime
) -> None:
    """Note what became of an upload; its parts are forgotten."""
    await connection.execute(
        update(table)
        .where(table.c.upload_id == upload_id)
        .values(result=result, expires_at=expires_at)
    )
    await connection.execute(delete(part_table).where(part_table.c.upload_id == upload_id))


async def delete_upload(connection: AsyncConnection, upload_id: str) -> None:
    """Delete an upload and its parts."""
    await connection.execute(delete(part_table).where(part_table.c.upload_id == upload_id))
    await connection.execute(delete(table).where(table.c.upload_id == upload_id))


async def expired_uploads(connection: AsyncConnection, *, now: datetime, limit: int) -> list[str]:
    """Return the ids of uploads whose time is over, at most *limit*."""
    statement = select(table.c.upload_id).where(table.c.expires_at <= now).limit(limit)
    return list(await connection.scalars(statement))


async def unfinished_ids(connection: AsyncConnection) -> set[str]:
    """Return the ids of all uploads that are not finished."""
    return set(await connection.scalars(select(table.c.upload_id).where(table.c.result.is_(None))))


async def put_part(connection: AsyncConnection, part: UploadPart) -> None:
    """Note that a part has arrived, or arrived anew."""
    await upsert(connection, part_table, row_of(part))


async def delete_part(connection: AsyncConnection, upload_id: str, number: int) -> None:
    """Forget a part, if there is one."""
    await connection.execute(
        delete(part_table).where(part_table.c.upload_id == upload_id, part_table.c.number == number)
    )


async def parts_of(connection: AsyncConnection, upload_id: str) -> list[UploadPart]:
    """Return the parts that have arrived, by number."""
    result = await connection.execute(
        select(part_table).where(part_table.c.upload_id == upload_id).order_by(part_table.c.number)
    )
    return [of_row(UploadPart, row) for row in result.mappings()]
