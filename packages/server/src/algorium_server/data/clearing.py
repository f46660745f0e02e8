"""
Deleting many files of a collection: step by step, for one transaction must not grow with them.

Rows go first, blobs second: what a crash leaves in between is garbage, to be swept.
"""

from collections.abc import Sequence
from datetime import datetime

from algorium_server.data.blobs import BlobStore
from algorium_server.data.owned import Owned
from algorium_server.domain.collections import Collection, File
from algorium_server.domain.errors import AlgoriumError, InvalidInput, PartlyDeleted
from algorium_server.domain.limits import DELETED_PER_STEP_FILES_MAX, DELETED_WHOLE_FILES_MAX
from algorium_server.store import files
from algorium_server.store.database import AsyncConnection, Database
from algorium_server.telemetry import logger

_log = logger(__name__)


class _Overtaken(Exception):
    """Somebody replaced a file between reading its row and deleting it."""


async def delete_all(database: Database, blobs: BlobStore, owned: Owned, *, is_forced: bool) -> int:
    """
    Delete a collection; return how many files and collections are gone.

    Args:
        database: Where the rows are.
        blobs: Where the bytes are.
        owned: The collection.
        is_forced: Delete it with the files in it.

    Raises:
        InvalidInput: It is not empty.
        PartlyDeleted: Some files are gone, others could not be deleted.
    """
    deleted, is_complete = 0, False
    try:
        while not is_complete:
            count, is_complete = await _delete_step(database, blobs, owned, is_forced=is_forced)
            deleted += count
    except Exception as error:
        if not deleted:
            raise
        raise PartlyDeleted(
            "the directory could not be deleted completely",
            fields={"deleted": deleted},
            detail=repr(error),
        ) from error
    return deleted


async def expire(database: Database, blobs: BlobStore, owned: Owned, *, before: datetime) -> int:
    """Delete the files stored before *before*, then the collection if nothing is left."""
    expired, after = 0, ""
    while True:
        try:
            names, keys = await _expire_step(database, owned, after, before)
        except _Overtaken:
            continue
        await discard(blobs, keys)
        expired += len(keys)
        if not names:
            return expired
        after = names[-1]


async def discard(blobs: BlobStore, keys: Sequence[str]) -> None:
    """Delete blobs that no row points to any more; never raises for what storage refuses."""
    if not keys:
        return
    try:
        await blobs.delete(*keys)
    except AlgoriumError as error:  # what cannot be deleted now is garbage
        _log.warning("blobs stay until they are swept", blobs=len(keys), detail=error.detail)


async def _delete_step(
    database: Database, blobs: BlobStore, owned: Owned, *, is_forced: bool
) -> tuple[int, bool]:
    # Returns how much is gone, and whether that was all of it.
    async with database.transaction() as connection:
        current = await owned.current(connection)
        await files.lock_collection(connection, current.collection_id)
        rows = await _some_files(connection, current)
        if rows and not is_forced:
            raise InvalidInput("directory not empty")
        is_complete = (
            len(rows) < DELETED_PER_STEP_FILES_MAX
            or await files.count_files(connection, current.collection_id) <= DELETED_WHOLE_FILES_MAX
        )
        if is_complete:
            keys = await files.delete_collection(connection, current.collection_id)
        else:
            keys = await _delete_rows(connection, rows)
    await discard(blobs, keys)
    return len(keys) + is_complete, is_complete


async def _expire_step(
    database: Database, owned: Owned, after: str, before: datetime
) -> tuple[list[str], list[str]]:
    # Returns the names that were looked at, and the blobs of those that are gone.
    async with database.transaction() as connection:
        current = await owned.current(connection)
        await files.lock_collection(connection, current.collection_id)
        rows = await _some_files(connection, current, after=after)
        old = [row for row in rows if row.modified_at < before]
        keys = await _delete_rows(connection, old)
        if keys != [row.blob for row in old]:
            raise _Overtaken  # and roll back: it would have been a new version that is gone
        if not rows and not await _some_files(connection, current):
            await files.delete_collection(connection, current.collection_id)
        return [row.name for row in rows], keys


async def _some_files(
    connection: AsyncConnection, collection: Collection, *, after: str = ""
) -> list[File]:
    return await files.files_of(
        connection,
        collection_id=collection.collection_id,
        after=after,
        limit=DELETED_PER_STEP_FILES_MAX,
    )


async def _delete_rows(connection: AsyncConnection, rows: list[File]) -> list[str]:
    # Returns what was deleted. On PostgreSQL others may have replaced or deleted some meanwhile.
    blobs = [
        await files.delete_file(connection, collection_id=row.collection_id, name=row.name)
        for row in rows
    ]
    return [blob for blob in blobs if blob is not None]
