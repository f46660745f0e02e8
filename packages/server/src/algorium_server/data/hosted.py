"""
Hosted data: a collection as a connector, made of rows in the store and blobs on disk.

An upload becomes a blob first and a row second; the row's commit is the moment it exists.
Within that commit the collection is looked up again and the caller's right checked again, since
both may have changed while the bytes arrived. Deleting goes the other way round: rows, then blobs.

Collections of call trees and of algorithms always exist for those who may use them. Their
rows appear with their first file.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Final

from algorium_server.data.blobs import (
    BlobMissing,
    BlobReader,
    BlobStore,
    ContentReader,
    StoredBlob,
    in_row,
    keep,
)
from algorium_server.data.clearing import delete_all, discard, expire
from algorium_server.data.commits import Commits, Put, check_condition, etag_of
from algorium_server.data.connector import Entry, OnDisk, Page, Path, Span
from algorium_server.data.owned import Owned
from algorium_server.data.pages import marker_after, name_of_marker
from algorium_server.data.room import check_move, room_for, within_room
from algorium_server.domain.collections import Collection, File
from algorium_server.domain.conditions import ALWAYS, Condition
from algorium_server.domain.errors import (
    AlreadyExists,
    ConditionFailed,
    InternalError,
    InvalidInput,
    NotAuthorized,
    OutOfSpace,
    PathNotFound,
)
from algorium_server.domain.limits import (
    LISTING_ENTRIES_MAX,
)
from algorium_server.domain.names import check_file_name
from algorium_server.store import files, puts, storage
from algorium_server.store.database import AsyncConnection, Database

_OPEN_ATTEMPTS: Final = 10
"""A file replaced this often between looking it up and opening it is not being read today."""
_MOVE_ATTEMPTS: Final = 10
"""Each further one needs another gateway to create a file at the new place in between."""

_WHOLE: Final = Span(start=0)
_BEFORE_COMMIT: Final = (PathNotFound, NotAuthorized, ConditionFailed, OutOfSpace)
"""Raised within the transaction: surely nothing was committed."""


class HostedFile:
    """One version of a hosted file, open for reading."""

    def __init__(self, row: File, blob: BlobReader) -> None:
        self.entry = _entry(row)
        self.size_bytes = blob.size_bytes
        self.region = blob.region if isinstance(blob, OnDisk) else None
        self.modified_at = row.modified_at
        self.chunks = blob.chunks
        self.close = blob.close


class HostedCollection:
    """
    A collection as a connector. Its root is the collection itself; below it are files only.

    Args:
        database: Where the rows are.
        blobs: Where the bytes are.
        commits: Makes uploads visible.
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
        commits: Commits,
        collection: Collection,
        check: Callable[[Collection], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._commits = commits
        self._collection = collection
        self._owned = Owned(collection, check=check, clock=clock)
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
        collection_id, after = self._collection.collection_id, name_of_marker(marker)
        rows = await self._database.read(
            lambda conn: files.files_of(
                conn, collection_id=collection_id, after=after, limit=LISTING_ENTRIES_MAX + 1
            )
        )
        shown = rows[:LISTING_ENTRIES_MAX]
        return Page(
            files=tuple(_entry(row) for row in shown),
            marker=marker_after(shown[-1].name) if len(rows) > len(shown) else "",
        )

    async def open(self, path: Path, *, span: Span | None = None) -> HostedFile:
        """Open a file for reading; see `Connector.open`."""
        part = span or _WHOLE
        blob = ""
        for _ in range(_OPEN_ATTEMPTS):
            row, content = await self._row_with_content(path)
            if content is not None:
                return HostedFile(row, ContentReader(content[part.start : part.end]))
            if row.blob == blob:
                break
            blob = row.blob
            try:
                opened = await self._blobs.open(
                    blob, size_bytes=row.size_bytes, start=part.start, end=part.end
                )
                return HostedFile(row, opened)
            except BlobMissing:  # replaced or deleted since the row was read: look again
                continue
        raise InternalError("storage failure: the file is damaged", detail=f"no blob {blob}")

    async def write(
        self,
        path: Path,
        chunks: AsyncIterator[bytes],
        *,
        condition: Condition = ALWAYS,
        size_bytes: int | None = None,
    ) -> Entry:
        """Store a file; see `Connector.write`."""
        name = _new_name(path)
        collection = self._collection
        quota = self._commits.quota_of(collection.owner_id)
        room_bytes = await room_for(
            self._database, quota, collection=collection, name=name, size_bytes=size_bytes or 0
        )
        if room_bytes is not None:
            chunks = within_room(
                self._database,
                quota,
                chunks,
                owner_id=collection.owner_id,
                room_bytes=room_bytes,
            )
        return await self.place(name, await keep(self._blobs, chunks), condition=condition)

    async def place(
        self,
        name: str,
        blob: StoredBlob,
        *,
        condition: Condition = ALWAYS,
        within: Callable[[AsyncConnection, Entry], Awaitable[None]] | None = None,
    ) -> Entry:
        """
        Make a file of a blob that is stored already; if that fails, the blob is gone.

        Args:
            name: Of the file.
            blob: Its bytes.
            condition: What must hold at its place.
            within: What else belongs into the transaction that makes it visible.

        Raises:
            PathNotFound: The collection is gone.
            ConditionFailed: *condition* does not hold.
        """
        put = Put(
            collection=self._collection,
            name=name,
            blob=blob,
            condition=condition,
            check=self._owned.check,
            within=None if within is None else lambda conn, row: within(conn, _entry(row)),
        )
        try:
            placed = await self._commits.put(put)
        except _BEFORE_COMMIT:
            # After any other failure the row may be there all the same: then the blob must stay,
            # and if it is not, the blob is swept.
            await discard(self._blobs, [blob.key])
            raise
        await discard(self._blobs, placed.replaced)
        return _entry(placed.file)

    async def create_directory(self, path: Path) -> None:
        """Refuse: below a collection there are files only; see `Connector.create_directory`."""
        if not path:
            raise AlreadyExists("directory already exists")
        raise InvalidInput("directories cannot be nested")

    async def copy_of(self, path: Path) -> StoredBlob:
        """
        Return a file's bytes once more, under a key of their own: a row must follow.

        Raises:
            PathNotFound: There is no such file.
        """
        for _ in range(_OPEN_ATTEMPTS):
            row, content = await self._row_with_content(path)
            if content is not None:
                return in_row(content)
            try:
                key = await self._blobs.duplicate(row.blob)
            except BlobMissing:  # replaced or deleted since the row was read: look again
                continue
            return StoredBlob(
                key=key, size_bytes=row.size_bytes, md5=row.md5, checksum=row.checksum
            )
        raise InternalError("storage failure: the file is damaged", detail=f"no blob {row.blob}")

    async def move_to(
        self, path: Path, target: "HostedCollection", name: str, *, condition: Condition = ALWAYS
    ) -> Entry:
        """
        Give a file another name, here or in another collection, in one transaction.

        Raises:
            PathNotFound: There is no such file, or one of the collections is gone.
            ConditionFailed: *condition* does not hold at the new place.
        """
        if len(path) != 1:
            raise PathNotFound
        name = check_file_name(name)
        for _ in range(_MOVE_ATTEMPTS):
            # Else somebody has just created a file at the new place: it may have to be replaced.
            with suppress(AlreadyExists):
                return await self._move(path[0], target, name, condition)
        raise InternalError(detail=f"{name!r} changes faster than it can be replaced")

    async def _move(
        self, old_name: str, target: "HostedCollection", name: str, condition: Condition
    ) -> Entry:
        async def work(connection: AsyncConnection) -> tuple[File, File | None]:
            source = await self._owned.current(connection)
            goal = await target._owned.current(connection, is_created=True)
            here, there = (source.collection_id, old_name), (goal.collection_id, name)
            # Everybody locks in the same order, or two moves could wait for each other.
            await puts.hold_collections(connection, [here[0], there[0]])
            rows = await puts.lock_files(connection, [here, there])
            row, overwritten = rows.get(here), rows.get(there)
            if row is None:
                raise PathNotFound
            check_condition(condition, overwritten)
            if here == there:
                return row, None
            await check_move(
                connection,
                self._commits.quota_of(goal.owner_id),
                source=source,
                goal=goal,
                moved=row,
                overwritten=overwritten,
            )
            moved = replace(row, collection_id=there[0], name=there[1], modified_at=self._clock())
            await files.move_file(connection, moved, overwritten=overwritten)
            return moved, overwritten

        moved, overwritten = await self._database.write(work)
        await discard(self._blobs, [overwritten.blob] if overwritten else [])
        return _entry(moved)

    async def delete(self, path: Path, *, is_forced: bool, condition: Condition = ALWAYS) -> int:
        """Delete a file, or the collection; see `Connector.delete`."""
        if not path:
            return await delete_all(self._database, self._blobs, self._owned, is_forced=is_forced)
        if len(path) > 1:
            raise PathNotFound

        async def work(connection: AsyncConnection) -> str:
            current = await self._owned.current(connection)
            place = {"collection_id": current.collection_id, "name": path[0]}
            row = await files.lock_file(connection, **place)
            check_condition(condition, row)
            if row is None:
                raise PathNotFound
            # Before the row goes: whoever adds one of this name waits for its end, maybe while
            # we would be waiting for the count that they hold.
            await storage.locked_use(connection, [current.owner_id])
            await files.delete_file(connection, **place)
            return row.blob

        await discard(self._blobs, [await self._database.write(work)])
        return 1

    async def expire(self, *, before: datetime) -> int:
        """Delete the files stored before *before*, then the collection if nothing is left."""
        return await expire(self._database, self._blobs, self._owned, before=before)

    async def _row(self, path: Path) -> File:
        if len(path) != 1:
            raise PathNotFound
        place = {"collection_id": self._collection.collection_id, "name": path[0]}
        row = await self._database.read(lambda conn: files.file(conn, **place))
        if row is None:
            raise PathNotFound
        return row

    async def _row_with_content(self, path: Path) -> tuple[File, bytes | None]:
        if len(path) != 1:
            raise PathNotFound
        place = {"collection_id": self._collection.collection_id, "name": path[0]}
        found = await self._database.read(lambda conn: files.file_with_content(conn, **place))
        if found is None:
            raise PathNotFound
        return found


def _new_name(path: Path) -> str:
    if len(path) != 1:
        raise InvalidInput("a collection holds files only, no directories")
    return check_file_name(path[0])


def _entry(row: File) -> Entry:
    return Entry(
        name=row.name,
        is_directory=False,
        size_bytes=row.size_bytes,
        modified_at=row.modified_at,
        etag=etag_of(row),
        md5=row.md5,
    )
