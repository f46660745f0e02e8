"""
Blobs in a bucket of an object store: S3, Google Cloud Storage, Azure Blob Storage.

    PREFIX/ab/<key>   complete; never changed again

An object appears whole, when its last byte is durable in the store, and only then its row is
committed. Credentials come from the environment variables that the providers' own tools read.

The age of an object says little: some stores count it from the beginning of its upload, and their
clocks are not ours. So what no row points to is deleted by the second sweep that finds it, an hour
after the first one.

What broken uploads leave in the store itself is invisible here; a rule of the bucket for incomplete
multipart uploads removes it.
"""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Set
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from algorium_server.data.blobs import BlobMissing, FoundBlob, StoredBlob
from algorium_server.data.checksums import Digests
from algorium_server.data.opening import retry_config
from algorium_server.data.storage_url import StorageUrl
from algorium_server.domain.collections import is_in_row
from algorium_server.domain.errors import AlgoriumError, InternalError, InvalidInput, Unavailable
from algorium_server.domain.limits import (
    BLOB_CHUNK_BYTES,
    BUCKET_COPY_BYTES_MAX,
    BUCKET_PART_BYTES,
    BUCKET_PARTS_AT_ONCE_MAX,
    BUCKET_SUSPECTS_MAX,
    SOURCE_CONNECT_S,
    SOURCE_STALL_S,
    SOURCE_TRANSFER_S_MAX,
    SOURCE_WORDS_CHARS_MAX,
)

if TYPE_CHECKING:
    from obstore.store import ObjectStore

T = TypeVar("T")

_KEY: Final = re.compile(r"[0-9a-f]{32}")


class BucketBlobs:
    """
    Blobs in a bucket.

    Args:
        place: Where.

    Raises:
        InvalidInput: The environment has no usable credentials, or nonsense.
    """

    def __init__(self, place: StorageUrl) -> None:
        self._store = _opened(place)
        self._suspects: set[str] = set()

    async def check(self) -> None:
        """
        Find out whether blobs can be written, read and deleted.

        Raises:
            Unavailable: They cannot; tells what the store says.
        """
        try:
            blob = await self.write(_once(b"algorium"))
            reader = await self.open(blob.key, size_bytes=blob.size_bytes)
            await reader.close()
            await self.delete(blob.key)
        except (AlgoriumError, BlobMissing) as error:
            said = getattr(error, "detail", "") or str(error)
            raise Unavailable(f"cannot use the object store of --storage: {said}") from error

    async def write(self, chunks: AsyncIterator[bytes]) -> StoredBlob:
        """Store the bytes of *chunks* durably under a fresh key; see `BlobStore.write`."""
        import obstore  # noqa: PLC0415 - for start-up time: storage is local by default

        key = uuid.uuid4().hex
        counted = _Counted(chunks)
        head = await counted.up_to(BUCKET_PART_BYTES)
        if counted.is_at_end:
            await _answer(obstore.put_async(self._store, _path(key), head, use_multipart=False))
        else:
            sending = obstore.put_async(
                self._store,
                _path(key),
                counted.starting_with(head),
                chunk_size=BUCKET_PART_BYTES,
                max_concurrency=BUCKET_PARTS_AT_ONCE_MAX,
            )
            try:
                await _answer(sending)
            except AlgoriumError:
                if counted.error is not None:  # which the store only hands on
                    raise counted.error from None
                raise
        digests = await counted.digests()
        return StoredBlob(
            key=key, size_bytes=counted.size_bytes, md5=digests.md5, checksum=digests.checksum
        )

    async def open(
        self, key: str, *, size_bytes: int, start: int = 0, end: int | None = None
    ) -> "BucketReader":
        """Open a blob for reading; see `BlobStore.open`."""
        import obstore  # noqa: PLC0415 - as in `write`

        behind = size_bytes if end is None else min(end, size_bytes)
        if start >= behind:  # stores refuse empty ranges
            found = await _answer(obstore.head_async(self._store, _path(key)))
            _check_size(key, found["size"], size_bytes)
            return BucketReader(None, 0)
        is_whole = (start, behind) == (0, size_bytes)
        options: Any = {} if is_whole else {"range": (start, behind)}
        result = await _answer(obstore.get_async(self._store, _path(key), options=options))
        _check_size(key, result.meta["size"], size_bytes)
        return BucketReader(result.stream(min_chunk_size=BLOB_CHUNK_BYTES), behind - start)

    async def duplicate(self, key: str) -> str:
        """Give the bytes of a blob a second key; see `BlobStore.duplicate`."""
        import obstore  # noqa: PLC0415 - as in `write`

        found = await _answer(obstore.head_async(self._store, _path(key)))
        if found["size"] <= BUCKET_COPY_BYTES_MAX:
            copy = uuid.uuid4().hex
            await _answer(obstore.copy_async(self._store, _path(key), _path(copy)))
            return copy
        reader = await self.open(key, size_bytes=found["size"])
        try:
            return (await self.write(reader.chunks())).key
        finally:
            await reader.close()

    async def adopt(self, path: Path) -> str:
        """Store the bytes of a finished file of this machine; see `BlobStore.adopt`."""
        import obstore  # noqa: PLC0415 - as in `write`

        key = uuid.uuid4().hex
        if not await asyncio.to_thread(path.is_file):
            raise BlobMissing(path.name)
        await _answer(
            obstore.put_async(
                self._store,
                _path(key),
                path,
                chunk_size=BUCKET_PART_BYTES,
                max_concurrency=BUCKET_PARTS_AT_ONCE_MAX,
            )
        )
        return key

    async def delete(self, *keys: str) -> None:
        """Delete blobs; see `BlobStore.delete`."""
        import obstore  # noqa: PLC0415 - as in `write`

        for key in keys:
            if not is_in_row(key):
                try:
                    await _answer(obstore.delete_async(self._store, _path(key)))
                except BlobMissing:
                    continue

    async def sweep(self, live: Set[str], *, before: datetime) -> int:  # noqa: ARG002 - see above
        """Delete what no row points to and the last sweep has found, too; see `BlobStore.sweep`."""
        suspects: set[str] = set()
        doomed: list[str] = []
        async for blob in self.found():
            if blob.key in live:
                continue
            if blob.key in self._suspects:
                doomed.append(blob.key)
            elif len(suspects) < BUCKET_SUSPECTS_MAX:
                suspects.add(blob.key)
        await self.delete(*doomed)
        self._suspects = suspects
        return len(doomed)

    async def found(self) -> AsyncIterator[FoundBlob]:
        """Yield every complete blob; see `BlobStore.found`."""
        import obstore  # noqa: PLC0415 - as in `write`

        try:
            async for page in obstore.list(self._store):
                for each in page:
                    key = each["path"].rpartition("/")[2]
                    if _KEY.fullmatch(key) and each["path"].endswith(_path(key)):
                        yield FoundBlob(
                            key=key, size_bytes=each["size"], modified_at=each["last_modified"]
                        )
        except obstore.exceptions.BaseError as error:
            raise _failure(error) from error

    def check_room(self) -> None:
        """Do nothing: object stores are never full."""

    def close(self) -> None:
        """Do nothing: connections end with the store."""


class BucketReader:
    """
    An open blob.

    Attributes:
        size_bytes: How many bytes `chunks` yields.
    """

    def __init__(self, stream: Any, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._stream = stream

    async def chunks(self) -> AsyncIterator[bytes]:
        """
        Read the bytes once, in pieces of bounded size.

        Raises:
            InternalError: The store fails, or the blob ends early.
        """
        left_bytes = self.size_bytes
        while left_bytes:
            try:
                piece = await _answer(anext(self._stream))
            except StopAsyncIteration:
                raise InternalError(
                    "storage failure: the file is damaged", detail="ends early"
                ) from None
            data = memoryview(piece)
            for start in range(0, len(data), BLOB_CHUNK_BYTES):
                chunk = bytes(data[start : start + BLOB_CHUNK_BYTES])
                left_bytes -= len(chunk)
                yield chunk

    async def close(self) -> None:
        """Let go of the connection; may be called again."""
        self._stream = None


class _Counted:
    """
    Chunks on their way, in large pieces, counted and digested.

    Attributes:
        size_bytes: Of what has passed.
        is_at_end: All has passed.
        error: What their source raised.
    """

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self.size_bytes = 0
        self.is_at_end = False
        self.error: BaseException | None = None
        self._chunks = chunks
        self._digests = Digests()
        # While a thread is at work on one piece, it is sent and the next one arrives.
        self._under_way: asyncio.Future[None] | None = None

    async def up_to(self, size_bytes: int) -> bytes:
        """Return at least so many bytes, fewer only at the end."""
        piece = bytearray()
        while len(piece) < size_bytes:
            try:
                piece += await anext(self._chunks)
            except StopAsyncIteration:
                self.is_at_end = True
                break
            except BaseException as error:
                self.error = error
                raise
        data = bytes(piece)
        self.size_bytes += len(data)
        if self._under_way is not None:
            await self._under_way
        loop = asyncio.get_running_loop()
        self._under_way = loop.run_in_executor(None, self._digests.update, data)
        return data

    async def digests(self) -> Digests:
        """Return the digests of what has passed."""
        if self._under_way is not None:
            await self._under_way
        return self._digests

    async def starting_with(self, head: bytes) -> AsyncIterator[bytes]:
        """Yield *head*, then all that follows."""
        yield head
        while not self.is_at_end:
            piece = await self.up_to(BUCKET_PART_BYTES)
            if piece:
                yield piece


def _opened(place: StorageUrl) -> "ObjectStore":
    from obstore.exceptions import BaseError  # noqa: PLC0415 - as in `write`
    from obstore.store import from_url  # noqa: PLC0415

    config: dict[str, Any] = {}
    if place.endpoint:
        config["base_url" if place.scheme == "gs" else "endpoint"] = place.endpoint
    if place.scheme == "s3":
        config["virtual_hosted_style_request"] = not place.has_path_style
        if place.region:
            config["region"] = place.region
    scheme = {"azure": "az"}.get(place.scheme, place.scheme)
    path = f"/{place.prefix}" if place.prefix else ""
    try:
        store: ObjectStore = from_url(
            f"{scheme}://{place.bucket}{path}",
            config=config,  # type: ignore[call-overload]  # one of three kinds
            client_options={
                "allow_http": place.is_plain,
                "connect_timeout": timedelta(seconds=SOURCE_CONNECT_S),
                "read_timeout": timedelta(seconds=SOURCE_STALL_S),
                "timeout": timedelta(seconds=SOURCE_TRANSFER_S_MAX),
            },
            retry_config=retry_config(),
        )
        return store
    except (BaseError, ValueError) as error:
        raise InvalidInput(f"cannot use --storage: {error}") from error


def _path(key: str) -> str:
    return f"{key[:2]}/{key}"


def _check_size(key: str, found_bytes: int, size_bytes: int) -> None:
    if found_bytes != size_bytes:
        detail = f"blob {key} has {found_bytes} bytes, its row says {size_bytes}"
        raise InternalError("storage failure: the file is damaged", detail=detail)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _answer(asked: Awaitable[T]) -> T:
    """Wait for the store, and put into our words what it does not like."""
    from obstore.exceptions import BaseError  # noqa: PLC0415 - as in `write`

    try:
        return await asked
    except FileNotFoundError as error:
        raise BlobMissing(str(error)) from error
    except BaseError as error:
        raise _failure(error) from error


def _failure(error: Exception) -> AlgoriumError:
    return Unavailable(
        "the server's storage does not answer, or refuses; nothing was changed",
        detail=str(error).partition("\n")[0][:SOURCE_WORDS_CHARS_MAX],
    )
