"""
Large bodies outside the process's own memory.

The bodies of a few dozen calls at their limits would be most of a small machine's memory, held for
as long as the slowest client takes to read. Above a size they are kept in anonymous files that
the kernel holds: read a piece at a time, gone with the last descriptor, and counted, so that there
is an end to them.

Writing to such a file never waits for a disk, which is why these calls may be made in an event
loop.
"""

import os
import tempfile
from typing import Final

from algorium_server.domain.errors import Unavailable
from algorium_server.domain.limits import SPOOLED_BYTES_MAX

_PIECE_BYTES: Final = 1024 * 1024


class Spool:
    """
    One body: written from front to back, then read.

    Its length is what was written so far. It is freed by `close`, or when nobody refers to it.
    """

    def __init__(self, reserved_bytes: int) -> None:
        self._reserved_bytes = reserved_bytes
        self._size_bytes = 0
        self._fd = _anonymous_file()
        _count(reserved_bytes)

    @classmethod
    def reserve(cls, size_bytes: int) -> "Spool":
        """
        Make room for a body from outside.

        Raises:
            Unavailable: There are too many large bodies already.
        """
        if _reserved_bytes + size_bytes > SPOOLED_BYTES_MAX:
            raise Unavailable(
                "The server holds too many large inputs and results now.",
                hint="Try again in a moment, or pass large data by its data URI.",
            )
        return cls(size_bytes)

    @classmethod
    def of(cls, content: bytes) -> "Spool":
        """Keep bytes that are in memory now."""
        spool = cls(len(content))
        spool.append(content)
        return spool

    def __len__(self) -> int:
        return self._size_bytes

    def append(self, data: "bytes | memoryview") -> None:
        """Write more."""
        with memoryview(data) as rest:
            at = 0
            while at < len(rest):
                at += os.pwrite(self._fd, rest[at:], self._size_bytes + at)
            self._size_bytes += len(rest)

    def read(self, offset: int, length: int) -> bytes:
        """Return up to *length* bytes from *offset* on; fewer at the end, none once closed."""
        if self._fd < 0:
            return b""
        return os.pread(self._fd, length, offset)

    def content(self) -> bytes:
        """Return everything; for those who cannot do with less."""
        pieces = []
        at = 0
        while piece := self.read(at, _PIECE_BYTES):
            pieces.append(piece)
            at += len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Free it; idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            _count(-self._reserved_bytes)

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            self.close()


_reserved_bytes = 0
"""Of all spools of this process."""


def _count(size_bytes: int) -> None:
    global _reserved_bytes  # noqa: PLW0603 - memory is one for the whole process
    _reserved_bytes += size_bytes


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("algorium-body", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
