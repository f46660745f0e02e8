"""
Object stores as connectors: s3, gs and azureblob, through obstore.

Files are objects, and directories are what their keys have in common. An empty directory is a mark,
see `levels`.

A write is one request, or parts that the store puts together at the end: readers see the old bytes
or the new.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

import obstore

from algorium_server.data.connector import Entry, Page, Path, Span
from algorium_server.data.feeding import Feed
from algorium_server.data.leveled import Levels
from algorium_server.data.levels import ObjectService, Store
from algorium_server.data.pages import page_of_folders
from algorium_server.data.removal import Removal
from algorium_server.domain.conditions import ALWAYS, Condition
from algorium_server.domain.connectors import is_bucket
from algorium_server.domain.errors import (
    AlgoriumError,
    AlreadyExists,
    ConditionFailed,
    InternalError,
    InvalidInput,
    PathNotFound,
    TooLarge,
)
from algorium_server.domain.limits import (
    BLOB_CHUNK_BYTES,
    LISTING_ENTRIES_MAX,
    SOURCE_BUCKETS_OPEN_MAX,
    SOURCE_CONDITION_BYTES_MAX,
    SOURCE_KEY_BYTES_MAX,
    SOURCE_PART_BYTES,
    SOURCE_PARTS_AT_ONCE_MAX,
    SOURCE_PARTS_MAX,
    SOURCE_UNKNOWN_PART_BYTES,
    SOURCE_WHOLE_BYTES_MAX,
)


class Objects:
    """
    A store of objects as a connector.

    Args:
        service: The store, with the credentials of the connector.
        entries_max: How many entries a page of a listing has at most.
    """

    def __init__(self, service: ObjectService, *, entries_max: int = LISTING_ENTRIES_MAX) -> None:
        self._service = service
        self._levels = Levels(service, entries_max=entries_max)
        self._stores: dict[str, Store] = {}

    async def stat(self, path: Path) -> Entry:
        """Tell what is at *path*; see `Connector.stat`."""
        if not path:
            return Entry(name="", is_directory=True)
        bucket, key = self._place(path)
        if key:
            with suppress(PathNotFound):
                return await self._file(bucket, key, path[-1])
        if not await self._is_directory(bucket, key):
            raise PathNotFound
        return Entry(name=path[-1], is_directory=True)

    async def page(self, path: Path, *, marker: str = "") -> Page:
        """List a directory; see `Connector.page`."""
        if self._service.has_buckets and not path:
            return page_of_folders(await self._service.buckets(), marker=marker)
        bucket, key = self._place(path)
        prefix = f"{key}/" if key else ""
        return await self._levels.page(bucket, prefix, marker=marker)

    async def open(self, path: Path, *, span: Span | None = None) -> "OpenObject":
        """Open a file for reading; see `Connector.open`."""
        bucket, key = self._place(path)
        if not key:
            raise PathNotFound
        store = await self._store(bucket)
        options: Any = {}
        if span is not None and span.end is not None and span.end <= span.start:
            return await self._nothing_of(bucket, key, path[-1])
        if span is not None:
            bounds = {"offset": span.start} if span.end is None else (span.start, span.end)
            options["range"] = bounds
        try:
            found = await obstore.get_async(store, key, options=options)
        except Exception as error:
            if span is not None and span.start and not isinstance(error, FileNotFoundError):
                # A part that begins behind the end is an error to stores, and nothing to us.
                nothing = await self._nothing_of(bucket, key, path[-1])
                if span.start >= nothing.entry.size_bytes:
                    return nothing
            raise self._service.reason(error) from None
        start, end = found.range
        entry = self._entry(path[-1], found.meta)
        return OpenObject(entry, found, self._service, size_bytes=end - start)

    async def write(
        self,
        path: Path,
        chunks: AsyncIterator[bytes],
        *,
        condition: Condition = ALWAYS,
        size_bytes: int | None = None,
    ) -> Entry:
        """
        Store a file; see `Connector.write`.

        Raises:
            TooLarge: It is longer than what can be stored under a condition.
        """
        bucket, key = self._place(path)
        if not key:
            raise InvalidInput("a file needs a bucket and a name")
        if len(key.encode("utf-8", "surrogatepass")) > SOURCE_KEY_BYTES_MAX:
            raise InvalidInput(f"names are limited to {SOURCE_KEY_BYTES_MAX} bytes here")
        mode = await self._mode(bucket, key, path[-1], condition)
        whole_max = SOURCE_CONDITION_BYTES_MAX if mode != "overwrite" else SOURCE_WHOLE_BYTES_MAX
        store = await self._store(bucket)
        digest = hashlib.md5(usedforsecurity=False)
        begun = bytearray()
        async for chunk in chunks:
            digest.update(chunk)
            begun += chunk
            if len(begun) > whole_max:
                break
        else:
            stored = await self._put(store, key, bytes(begun), mode)
            return self._written(path[-1], stored, len(begun), digest.hexdigest())
        if mode != "overwrite":
            raise TooLarge(
                f"files stored under a condition are limited to {SOURCE_CONDITION_BYTES_MAX} bytes"
                " on this source"
            )
        feed = Feed(bytes(begun), chunks, digest)
        del begun
        stored = await self._put_parts(store, key, feed, size_bytes)
        return self._written(path[-1], stored, feed.size_bytes, digest.hexdigest())

    async def create_directory(self, path: Path) -> None:
        """Create a directory; see `Connector.create_directory`."""
        bucket, key = self._place(path)
        if not key:
            raise InvalidInput("buckets are created where they are, not through a connector")
        try:
            await self.stat(path)
        except PathNotFound:
            await self._service.put_mark(bucket, f"{key}/")
            return
        raise AlreadyExists("directory already exists")

    async def delete(self, path: Path, *, is_forced: bool, condition: Condition = ALWAYS) -> int:
        """
        Delete a file or directory; see `Connector.delete`.

        The condition is checked right before: stores have no conditional deletion.
        """
        bucket, key = self._place(path)
        if not key:
            raise InvalidInput("buckets are deleted where they are, not through a connector")
        entry = await self.stat(path)
        if not entry.is_directory:
            if not _holds(condition, entry):
                raise ConditionFailed
            await self._delete_object(bucket, key)
            return 1
        if not is_forced:
            # Two: the mark itself may be the first.
            level = await self._service.level(bucket, f"{key}/", limit=2)
            if level.files or level.folders:
                raise InvalidInput("directory not empty")
            await self._service.delete_mark(bucket, f"{key}/")
            return 1
        removal = Removal(self._service, bucket, partial(self._delete_object, bucket))
        return await removal.run(f"{key}/")

    async def close(self) -> None:
        """Let go of all connections once they are not used any more."""
        self._stores.clear()
        await self._service.close()

    def _place(self, path: Path) -> tuple[str, str]:
        if not self._service.has_buckets:
            return "", "/".join(path)
        if not path or not is_bucket(path[0]):
            raise PathNotFound
        return path[0], "/".join(path[1:])

    async def _store(self, bucket: str) -> Store:
        store = self._stores.get(bucket)
        if store is None:
            if len(self._stores) >= SOURCE_BUCKETS_OPEN_MAX:
                self._stores.pop(next(iter(self._stores)))
            try:
                store = self._stores[bucket] = await self._service.store(bucket)
            except AlgoriumError:
                raise
            except Exception as error:
                raise self._service.reason(error) from None
        return store

    async def _file(self, bucket: str, key: str, name: str) -> Entry:
        store = await self._store(bucket)
        try:
            return self._entry(name, await obstore.head_async(store, key))
        except Exception as error:
            raise self._service.reason(error) from None

    async def _nothing_of(self, bucket: str, key: str, name: str) -> "OpenObject":
        entry = await self._file(bucket, key, name)
        return OpenObject(entry, None, self._service, size_bytes=0)

    def _entry(self, name: str, meta: Any) -> Entry:
        moment: datetime | None = meta.get("last_modified")
        return Entry(
            name=name,
            is_directory=False,
            size_bytes=meta["size"],
            modified_at=moment,
            etag=self._service.etag_of(meta),
        )

    def _written(self, name: str, stored: Any, size_bytes: int, md5: str) -> Entry:
        return Entry(
            name=name,
            is_directory=False,
            size_bytes=size_bytes,
            etag=self._service.etag_of(stored),
            md5=md5,
        )

    async def _is_directory(self, bucket: str, key: str) -> bool:
        if not key:
            await self._service.level(bucket, "", limit=1)  # raises if there is no such bucket
            return True
        return not (await self._service.level(bucket, f"{key}/", limit=1)).is_empty

    async def _mode(self, bucket: str, key: str, name: str, condition: Condition) -> Any:
        if condition.is_new:
            return "create"
        if condition.etags is None:
            return "overwrite"
        try:
            current = await self._file(bucket, key, name)
        except PathNotFound:
            raise ConditionFailed from None
        if not _holds(condition, current):
            raise ConditionFailed
        return self._service.version_of(current.etag)

    async def _put(self, store: Store, key: str, whole: bytes, mode: Any) -> Any:
        try:
            return await obstore.put_async(store, key, whole, mode=mode, use_multipart=False)
        except Exception as error:
            raise self._service.reason(error) from None

    async def _put_parts(self, store: Store, key: str, feed: Feed, size_bytes: int | None) -> Any:
        part_bytes = SOURCE_UNKNOWN_PART_BYTES
        if size_bytes is not None:
            part_bytes = max(SOURCE_PART_BYTES, -(-size_bytes // SOURCE_PARTS_MAX))
        putting = asyncio.ensure_future(
            obstore.put_async(
                store,
                key,
                feed,
                use_multipart=True,
                chunk_size=part_bytes,
                max_concurrency=SOURCE_PARTS_AT_ONCE_MAX,
            )
        )
        try:
            return await asyncio.shield(putting)
        except asyncio.CancelledError:
            # The library must see the end of it, or the parts that are there stay for ever.
            feed.stop()
            with suppress(Exception):
                await putting
            raise
        except Exception as error:
            # What went wrong with the bytes themselves is told as it is.
            raise feed.failure or self._service.reason(error) from None

    async def _delete_object(self, bucket: str, key: str) -> None:
        store = await self._store(bucket)
        try:
            await obstore.delete_async(store, key)
        except FileNotFoundError:
            return
        except Exception as error:
            raise self._service.reason(error) from None


class OpenObject:
    """
    One version of an object, open for reading; see `OpenFile`.

    Args:
        entry: The whole object.
        found: What obstore opened; None if no byte is wanted.
        service: Tells why reading fails.
        size_bytes: How many bytes are wanted.
    """

    def __init__(
        self, entry: Entry, found: Any, service: ObjectService, *, size_bytes: int
    ) -> None:
        self.entry = entry
        self.size_bytes = size_bytes
        self.modified_at = entry.modified_at
        self._found = found
        self._service = service

    async def chunks(self) -> AsyncIterator[bytes]:
        """Read the bytes; see `OpenFile.chunks`."""
        remaining_bytes = self.size_bytes
        if self._found is None:
            return
        stream = self._found.stream(min_chunk_size=BLOB_CHUNK_BYTES)
        try:
            async for chunk in stream:
                remaining_bytes -= len(chunk)
                yield bytes(chunk)
        except Exception as error:
            raise self._service.reason(error) from None
        if remaining_bytes:
            raise InternalError("the file ended early", detail=f"{remaining_bytes} bytes missing")

    async def close(self) -> None:
        """Let go of the object; the connection ends with the last reference to it."""
        self._found = None


def _holds(condition: Condition, entry: Entry) -> bool:
    return not condition.is_new and (condition.etags is None or entry.etag in condition.etags)
