"""
Hosted data: a collection as a connector, made of rows in the store and blobs on disk.

An upload becomes a blob first and a row second; the row's commit is the moment it exists.
Within that commit the collection is looked up again and the caller's right checked again, since
both may have changed while the bytes arrived. Deleting goes the other way round: rows, then blobs.

Collections of call trees and of algorithms always exist for those who may use them. Their
rows appear with their first file.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import uuid4

from algorium_server.data.blobs import BlobMissing, BlobReader, BlobStore, StoredBlob
from algorium_server.data.connector import Entry, Page, Path
from algorium_server.data.pages import marker_after, name_of_marker
from algorium_server.domain.collections import Collection, CollectionKind, File
from algorium_server.domain.errors import (
    AlgoriumError,
    AlreadyExists,
    InternalError,
    InvalidInput,
    NotAuthorized,
    PartlyDeleted,
    PathNotFound,
)
from algorium_server.domain.limits import (
    DELETED_PER_STEP_FILES_MAX,
    DELETED_WHOLE_FILES_MAX,
    LISTING_ENTRIES_MAX,
)
from algorium_server.domain.names import check_file_name
from algorium_server.store import files
from algorium_server.store.database import AsyncConnection, Database
from algorium_server.telemetry import logger

_log = logger(__name__)

_OPEN_ATTEMPTS: Final = 10
"""A file replaced this often between looking it up and opening it is not being read today."""


class _Overtaken(Exception):
    """Somebody replaced a file between reading its row and deleting it."""


class HostedFile:
    """One version of a hosted file, open for reading."""

    def __init__(self, row: File, blob: BlobReader) -> None:
        self.size_bytes = row.size_bytes
        self.modified_at = row.modified_at
        self.chunks = blob.chunks
        self.close = blob.close


class HostedCollection:
    """
    A collection as a connector. Its root is the collection itself; below it are files only.

    Args:
        database: Where the rows are.
        blobs: Where the bytes are.
        collection: As it was found; a special collection may not have a row yet.
        check: Raises unless the caller may change the collection it is given. Called within the
            transaction of every change.
        clock: Tells the time of a change.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        *,
        collection: Collection,
        check: Callable[[Collection], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._collection = collection
        self._check = check
        self._clock = clock

    async def stat(self, path: Path) -> Entry:
        """Tell what is at *path*; see `Connector.stat`."""
        if not path:
            return Entry(name=self._collection.name, is_directory=True)
        return _entry(await self._row(path))

    async def page(self, path: Path, *, marker: str = "") -> Page:
        """List the files from *marker* on; see `Connector.page`."""
        if path:
            raise PathNotFound
        async with self._database.reading() as connection:
            rows = await files.files_of(
                connection,
                collection_id=self._collection.collection_id,
                after=name_of_marker(marker),
                limit=LISTING_ENTRIES_MAX + 1,
            )
        shown = rows[:LISTING_ENTRIES_MAX]
        return Page(
            files=tuple(_entry(row) for row in shown),
            marker=marker_after(shown[-1].name) if len(rows) > len(shown) else "",
        )

    async def open(self, path: Path) -> HostedFile:
        """Open a file for reading; see `Connector.open`."""
        blob = ""
        for _ in range(_OPEN_ATTEMPTS):
            row = await self._row(path)
            if row.blob == blob:
                break
            blob = row.blob
            try:
                return HostedFile(row, await self._blobs.open(blob, size_bytes=row.size_bytes))
            except BlobMissing:  # replaced or deleted since the row was read: look again
                continue
        raise InternalError("storage failure: the file is damaged", detail=f"no blob {blob}")

    async def write(self, path: Path, chunks: AsyncIterator[bytes]) -> None:
        """Store a file; see `Connector.write`."""
        if len(path) != 1:
            raise InvalidInput("a collection holds files only, no directories")
        name = check_file_name(path[0])
        blob = await self._blobs.write(chunks)
        try:
            replaced = await self._commit(name, blob)
        except (PathNotFound, NotAuthorized):
            # Raised before the commit. After any other failure the row may be there all the same:
            # then the blob must stay, and if it is not, the blob is swept.
            await self._discard([blob.key])
            raise
        if replaced is not None:
            await self._discard([replaced])

    async def delete(self, path: Path, *, is_forced: bool) -> int:
        """Delete a file, or the collection; see `Connector.delete`."""
        if not path:
            return await self._delete_all(is_forced=is_forced)
        if len(path) > 1:
            raise PathNotFound
        async with self._database.transaction() as connection:
            current = await self._current(connection)
            blob = await files.delete_file(
                connection, collection_id=current.collection_id, name=path[0]
            )
            if blob is None:
                raise PathNotFound
        await self._discard([blob])
        return 1

    async def expire(self, *, before: datetime) -> int:
        """Delete the files stored before *before*, then the collection if nothing is left."""
        expired, after = 0, ""
        while True:
            try:
                names, blobs = await self._expire_step(after, before)
            except _Overtaken:
                continue
            await self._discard(blobs)
            expired += len(blobs)
            if not names:
                return expired
            after = names[-1]

    async def _expire_step(self, after: str, before: datetime) -> tuple[list[str], list[str]]:
        # Returns the names that were looked at, and the blobs of those that are gone.
        async with self._database.transaction() as connection:
            current = await self._current(connection)
            await files.lock_collection(connection, current.collection_id)
            rows = await _some_files(connection, current, after=after)
            old = [row for row in rows if row.modified_at < before]
            blobs = await _delete_rows(connection, old)
            if blobs != [row.blob for row in old]:
                raise _Overtaken  # and roll back: it would have been a new version that is gone
            if not rows and not await _some_files(connection, current):
                await files.delete_collection(connection, current.collection_id)
            return [row.name for row in rows], blobs

    async def _row(self, path: Path) -> File:
        if len(path) != 1:
            raise PathNotFound
        async with self._database.reading() as connection:
            row = await files.file(
                connection, collection_id=self._collection.collection_id, name=path[0]
            )
        if row is None:
            raise PathNotFound
        return row

    async def _commit(self, name: str, blob: StoredBlob) -> str | None:
        # Returns the key of the blob that was replaced.
        async with self._database.transaction() as connection:
            current = await self._current(connection, is_created=True)
            row = File(
                file_id=str(uuid4()),
                collection_id=current.collection_id,
                name=name,
                size_bytes=blob.size_bytes,
                blob=blob.key,
                md5=blob.md5,
                blake2b=blob.blake2b,
                modified_at=self._clock(),
            )
            return await files.put_file(connection, row)

    async def _current(
        self, connection: AsyncConnection, *, is_created: bool = False
    ) -> Collection:
        found = await self._found(connection)
        if found is None and is_created and self._collection.kind is not CollectionKind.ACCOUNT:
            self._check(self._collection)
            with suppress(AlreadyExists):  # by another first upload
                await files.add_collection(
                    connection, replace(self._collection, created_at=self._clock())
                )
            found = await self._found(connection)
        if found is None:
            raise PathNotFound
        self._check(found)
        return found

    async def _found(self, connection: AsyncConnection) -> Collection | None:
        known = self._collection
        found = await files.special_collection(
            connection,
            kind=known.kind,
            owner_id=known.owner_id,
            algorithm_id=known.algorithm_id,
            name=known.name,
        )
        is_other = found is not None and found.collection_id != known.collection_id
        # Deleted and created anew, an account's collection may belong to new intentions. A special
        # one is the same for ever, whatever row it has.
        return None if is_other and known.kind is CollectionKind.ACCOUNT else found

    async def _delete_all(self, *, is_forced: bool) -> int:
        deleted, is_complete = 0, False
        try:
            while not is_complete:
                count, is_complete = await self._delete_step(is_forced=is_forced)
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

    async def _delete_step(self, *, is_forced: bool) -> tuple[int, bool]:
        # Returns how much is gone, and whether that was all of it.
        async with self._database.transaction() as connection:
            current = await self._current(connection)
            await files.lock_collection(connection, current.collection_id)
            rows = await _some_files(connection, current)
            if rows and not is_forced:
                raise InvalidInput("directory not empty")
            is_complete = (
                len(rows) < DELETED_PER_STEP_FILES_MAX
                or await files.count_files(connection, current.collection_id)
                <= DELETED_WHOLE_FILES_MAX
            )
            if is_complete:
                blobs = await files.delete_collection(connection, current.collection_id)
            else:
                blobs = await _delete_rows(connection, rows)
        await self._discard(blobs)
        return len(blobs) + is_complete, is_complete

    async def _discard(self, keys: Sequence[str]) -> None:
        # No row points to these any more. What cannot be deleted now is garbage, to be swept.
        try:
            await self._blobs.delete(*keys)
        except AlgoriumError as error:
            _log.warning("blobs stay until they are swept", blobs=len(keys), detail=error.detail)


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


def _entry(row: File) -> Entry:
    return Entry(
        name=row.name,
        is_directory=False,
        size_bytes=row.size_bytes,
        modified_at=row.modified_at,
    )
