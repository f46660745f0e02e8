"""
Whether a file still has the bytes that were stored.

Used by whoever looks through files: the scrubber of a running server, and `algorium fsck`.
"""

import asyncio

from algorium_server.data.blobs import BlobMissing, BlobReader, BlobStore
from algorium_server.data.checksums import Checksum, UnknownChecksum
from algorium_server.domain.collections import File, is_in_row
from algorium_server.domain.errors import InternalError
from algorium_server.store import damages
from algorium_server.store.database import Database


async def problem_of(
    blobs: BlobStore, file: File, content: bytes | None, *, reads: bool = True
) -> str:
    """
    Look at the bytes of a file, and say in words what is wrong with them; empty if nothing is.

    Args:
        blobs: Where they are, unless in the row.
        file: What was stored.
        content: The bytes, if they are in the row.
        reads: Read them all; else only their presence and their number count.

    Raises:
        Unavailable: The storage does not answer: that says nothing about the file.
    """
    if is_in_row(file.blob):
        return _problem_in_row(file, content)
    try:
        reader = await blobs.open(file.blob, size_bytes=file.size_bytes)
    except BlobMissing:
        return "its bytes are missing"
    except InternalError as error:
        return error.detail or error.message
    try:
        return await _problem_of_bytes(file, reader) if reads else ""
    finally:
        await reader.close()


async def is_current(database: Database, file: File) -> bool:
    """Whether nobody has replaced or deleted a file since it was read."""
    async with database.reading() as connection:
        return await damages.has_blob(connection, file.file_id, file.blob)


def _problem_in_row(file: File, content: bytes | None) -> str:
    if content is None:
        return "its bytes are missing"
    if len(content) != file.size_bytes:
        return f"it has {len(content)} bytes, {file.size_bytes} were stored"
    try:
        checksum = Checksum.like(file.checksum)
    except UnknownChecksum as unknown:
        return _not_compared(unknown)
    checksum.update(content)
    return _compared(file, checksum)


async def _problem_of_bytes(file: File, reader: BlobReader) -> str:
    try:
        checksum = Checksum.like(file.checksum)
        async for chunk in reader.chunks():
            await asyncio.to_thread(checksum.update, chunk)
    except UnknownChecksum as unknown:
        return _not_compared(unknown)
    except InternalError as error:
        return error.detail or error.message
    return _compared(file, checksum)


def _compared(file: File, checksum: Checksum) -> str:
    is_same = str(checksum) == file.checksum
    return "" if is_same else "its bytes have changed: the checksum is another"


def _not_compared(unknown: UnknownChecksum) -> str:
    return f"its bytes cannot be checked: no checksum of the kind {str(unknown)!r} is known"
