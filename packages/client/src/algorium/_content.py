"""What can be written into a file, made ready to be sent: bytes, or pieces of them."""

import io
import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

Content: TypeAlias = bytes | bytearray | memoryview | str | IO[bytes] | Iterable[bytes]
AsyncContent: TypeAlias = Content | AsyncIterable[bytes]

CHUNK_BYTES: Final = 256 * 1024
"""Large enough to be cheap per byte, small enough that many uploads fit in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSpan:
    """
    A part of a local file, to be sent from the disk, again if need be.

    Attributes:
        start: First byte.
        size_bytes: How many.
    """

    path: Path
    start: int
    size_bytes: int

    def pieces(self) -> Iterator[bytes]:
        """
        Read from the start of the part.

        Raises:
            OSError: It cannot be read, or has become shorter.
        """
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.start)
            left = self.size_bytes
            while left:
                piece = file.read(min(left, CHUNK_BYTES))
                if not piece:
                    raise OSError(f"{self.path} has become shorter while it was read")
                left -= len(piece)
                yield piece


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes in memory, sent in pieces so that progress can be seen."""

    content: bytes | memoryview

    @property
    def size_bytes(self) -> int:
        """How many."""
        return len(self.content)

    def pieces(self) -> Iterator[bytes]:
        """Cut them up."""
        for start in range(0, len(self.content), CHUNK_BYTES):
            yield bytes(self.content[start : start + CHUNK_BYTES])


def sync_body(content: Content) -> tuple[bytes | Iterable[bytes], int | None]:
    """
    Return a body to send and, where only reading would tell, its length.

    Raises:
        TypeError: *content* is no kind of bytes.
    """
    if isinstance(content, str):
        return content.encode(), None
    if isinstance(content, bytes | bytearray | memoryview):
        return bytes(content), None
    if _is_file(content):
        left_bytes = _remaining_bytes(content)
        return _file_chunks(content, left_bytes), left_bytes
    if isinstance(content, Iterable) and not isinstance(content, dict):
        return _checked(content), None
    raise TypeError(f"cannot write a {type(content).__name__} into a file; pass bytes or text")


def async_body(content: AsyncContent) -> tuple[bytes | AsyncIterable[bytes], int | None]:
    """
    As `sync_body`, for sending from an `asyncio` loop; files are read in a thread.

    Raises:
        TypeError: *content* is no kind of bytes.
    """
    if isinstance(content, AsyncIterable):
        return content, None
    body, body_bytes = sync_body(content)
    return (body if isinstance(body, bytes) else in_thread(iter(body))), body_bytes


def _is_file(content: Any) -> bool:
    if isinstance(content, io.TextIOBase):
        raise TypeError("the file is open in text mode; open it in binary mode")
    return hasattr(content, "read")


def _file_chunks(file: Any, left_bytes: int | None) -> Iterator[bytes]:
    if left_bytes is None:
        yield from _checked(iter(lambda: file.read(CHUNK_BYTES), b""))
        return
    while left_bytes > 0:  # what is added meanwhile was not announced
        for chunk in _checked([file.read(min(left_bytes, CHUNK_BYTES))]):
            if not chunk:
                raise OSError("the file has become shorter while it was read")
            left_bytes -= len(chunk)
            yield chunk


def _checked(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        if not isinstance(chunk, bytes | bytearray | memoryview):
            raise TypeError(f"pieces of a file must be bytes, not {type(chunk).__name__}")
        yield bytes(chunk)


async def in_thread(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Take pieces in a thread, so that reading them does not stop the loop."""
    import asyncio  # noqa: PLC0415 - whoever is here has it; others need not wait for it

    while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
        yield chunk


def _remaining_bytes(file: Any) -> int | None:
    """Return how many bytes are left to read; None where that cannot be known, as for a pipe."""
    try:
        position: int = file.tell()
        end: int = file.seek(0, os.SEEK_END)
        file.seek(position)
    except (AttributeError, OSError, ValueError):
        return None
    return max(end - position, 0)
