"""
Blobs: bytes under fresh, never-reused keys. Rows elsewhere say what they are.

A blob is complete and durable before any row points to it, and deleted after the last row that
did is gone. A crash in between leaves garbage, which `sweep` removes, never a row without its
bytes.

Files up to `FILE_IN_ROW_BYTES_MAX` need no blob: their bytes are part of their row, and become
durable with it. Their keys look different (`is_in_row`), for they still tell versions apart.

Source: design, "Bytes and rows"; decisions 0003 and 0015.
"""

import uuid
from collections.abc import AsyncIterator, Set
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from algorium_server.data.checksums import Digests
from algorium_server.domain.collections import IN_ROW_PREFIX
from algorium_server.domain.limits import FILE_IN_ROW_BYTES_MAX


class BlobMissing(Exception):
    """No blob has this key: it was deleted, and so was the row that named it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBlob:
    """
    Bytes that wait for their row.

    Attributes:
        md5: Hexadecimal.
        checksum: See `File`.
        content: The bytes themselves if they are to be part of the row; None if they are durable
            already.
    """

    key: str
    size_bytes: int
    md5: str
    checksum: str
    content: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundBlob:
    """A blob as the storage itself tells of it."""

    key: str
    size_bytes: int
    modified_at: datetime


class BlobReader(Protocol):
    """An open blob, whole until it is closed, even if it is deleted meanwhile."""

    @property
    def size_bytes(self) -> int:
        """How many bytes `chunks` yields."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """
        Read the bytes once, in pieces of bounded size.

        Raises:
            InternalError: The storage fails, or the blob ends early.
        """
        ...

    async def close(self) -> None:
        """Let go of the blob; may be called at any time, and again."""
        ...


class BlobStore(Protocol):
    """
    Where blobs are kept.

    Every method may raise `InternalError` or `Unavailable` if the storage fails.
    """

    async def write(self, chunks: AsyncIterator[bytes]) -> StoredBlob:
        """
        Store the bytes of *chunks* durably under a fresh key.

        However it ends before that, by an error out of *chunks* as well as by cancellation,
        nothing is left behind.

        Raises:
            OutOfSpace: The storage is full.
        """
        ...

    async def open(
        self, key: str, *, size_bytes: int, start: int = 0, end: int | None = None
    ) -> BlobReader:
        """
        Open a blob for reading.

        Args:
            key: Which.
            size_bytes: How long it must be.
            start: First byte to read.
            end: Behind the last byte to read; None for the end of the blob.

        Raises:
            BlobMissing: There is none.
            InternalError: It is not as long as it must be.
        """
        ...

    async def duplicate(self, key: str) -> str:
        """
        Give the bytes of a blob a second, fresh key, and return it: durable like a new blob.

        Raises:
            BlobMissing: There is none of this key.
            OutOfSpace: The storage is full.
        """
        ...

    async def adopt(self, path: Path) -> str:
        """
        Store the bytes of a finished, flushed file of this machine; return their fresh key.

        The file keeps its name; whoever had it removes it and writes to it no more. Nothing is
        copied where both lie on one file system.

        Raises:
            BlobMissing: There is no such file.
            OutOfSpace: The storage is full.
        """
        ...

    async def delete(self, *keys: str) -> None:
        """Delete blobs; those that are absent, or in rows, do not matter."""
        ...

    async def sweep(self, live: Set[str], *, before: datetime) -> int:
        """
        Delete what no row points to, and return how much that was.

        Args:
            live: Keys that rows point to.
            before: Only what was last written before is deleted: the row of a younger blob may be
                about to be committed, maybe by another process. What is still being written
                stays, however slowly it arrives.
        """
        ...

    def found(self) -> AsyncIterator[FoundBlob]:
        """Yield every complete blob, in no particular order."""
        ...

    def check_room(self) -> None:
        """
        Refuse to store anything when little more than what deleting takes is left.

        Raises:
            OutOfSpace: So it is.
        """
        ...

    def close(self) -> None:
        """Wait for the work under way and let go of everything."""
        ...


async def keep(store: BlobStore, chunks: AsyncIterator[bytes]) -> StoredBlob:
    """
    Make the bytes of *chunks* ready for their row: part of it if they are few, else a blob.

    Raises:
        OutOfSpace: The storage is full; as all other errors, it leaves nothing behind.
    """
    store.check_room()
    head = bytearray()
    async for chunk in chunks:
        head += chunk
        if len(head) > FILE_IN_ROW_BYTES_MAX:
            return await store.write(_chained(bytes(head), chunks))
    return in_row(bytes(head))


def in_row(content: bytes) -> StoredBlob:
    """Make a few bytes ready to be part of a row."""
    digests = Digests()
    digests.update(content)
    return StoredBlob(
        key=f"{IN_ROW_PREFIX}{uuid.uuid4().hex}",
        size_bytes=len(content),
        md5=digests.md5,
        checksum=digests.checksum,
        content=content,
    )


class ContentReader:
    """
    Bytes out of a row, read like a blob.

    Attributes:
        size_bytes: How many.
    """

    def __init__(self, content: bytes) -> None:
        self.size_bytes = len(content)
        self._content = content

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield them all, in one piece."""
        if self._content:
            yield self._content

    async def close(self) -> None:
        """Do nothing: nothing is held."""


async def _chained(head: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for chunk in rest:
        yield chunk
