"""How far a transfer is, for whoever wants to watch."""

import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from algorium._messages import Replayable


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """
    How far a transfer is.

    Attributes:
        bytes_done: What is through; goes back when something has to be sent again.
        bytes_total: What there is to transfer, None while that is not known.
        files_done: Files that are through; also those of which nothing had to be transferred.
        files_total: Files there are.
    """

    bytes_done: int
    bytes_total: int | None
    files_done: int
    files_total: int


ProgressCallback: TypeAlias = Callable[[Progress], object]


class Meter:
    """Counts, from any thread, and tells a callback each time: one call after the other."""

    def __init__(self, callback: ProgressCallback | None = None) -> None:
        self._callback = callback
        self._lock = threading.Lock()
        self._bytes_done = 0
        self._bytes_total: int | None = None
        self._files_done = 0
        self._files_total = 1
        self._is_fixed = False

    @property
    def is_watched(self) -> bool:
        """Whether somebody is told."""
        return self._callback is not None

    def expect(self, bytes_total: int) -> None:
        """Say how many bytes there are, unless `expect_files` has."""
        with self._lock:
            if not self._is_fixed:
                self._bytes_total = bytes_total
            self._tell()

    def expect_files(self, count: int, bytes_total: int) -> None:
        """Say how many files there are, and how many bytes they have together."""
        with self._lock:
            self._is_fixed = True
            self._files_total, self._bytes_total = count, bytes_total
            self._tell()

    def add(self, count_bytes: int) -> None:
        """Count bytes; negative ones have to be transferred again."""
        with self._lock:
            self._bytes_done += count_bytes
            self._tell()

    def finish_file(self) -> None:
        """Count a file that is through."""
        with self._lock:
            self._files_done += 1
            self._tell()

    def _tell(self) -> None:
        if self._callback is not None:
            self._callback(
                Progress(
                    bytes_done=self._bytes_done,
                    bytes_total=self._bytes_total,
                    files_done=self._files_done,
                    files_total=self._files_total,
                )
            )


def counted(pieces: Iterable[bytes], meter: Meter) -> Iterator[bytes]:
    """Count pieces as they are taken."""
    for piece in pieces:
        yield piece
        meter.add(len(piece))


async def counted_async(pieces: AsyncIterable[bytes], meter: Meter) -> AsyncIterator[bytes]:
    """Count pieces as they are taken."""
    async for piece in pieces:
        yield piece
        meter.add(len(piece))


@dataclass(slots=True)
class Counted:
    """A body whose bytes are counted while they are sent; sent again, they are counted anew."""

    body: Replayable
    meter: Meter
    sent_bytes: int = field(default=0, init=False)

    @property
    def size_bytes(self) -> int:
        """How many bytes the body has."""
        return self.body.size_bytes

    def pieces(self) -> Iterator[bytes]:
        """Read from the start."""
        if self.sent_bytes:
            self.meter.add(-self.sent_bytes)
            self.sent_bytes = 0
        for piece in self.body.pieces():
            yield piece
            self.sent_bytes += len(piece)
            self.meter.add(len(piece))
