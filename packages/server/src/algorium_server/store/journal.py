"""
A journal of batches on their way to the database: files that only grow, until they are removed.

Writing a batch costs one `write` and no flush. It then survives the death of this process, not a
power cut; whoever needs that flushes what the batches are brought to.

**Form.** A *segment* is a file of frames, each a head and a batch:

    magic "AJR1" | length u32 | CRC-32 of length and batch u32 | batch        (little-endian)

A crash can only hurt the end of a segment. Reading stops at the first frame that is cut short, or
whose length or checksum is wrong, and keeps all before it.

**Owners.** Several processes keep their segments in one directory. A segment is locked by whoever
writes or reads it until it is removed, and the kernel ends the lock with the process: what can be
locked has no owner any more and may be adopted. A lock on the directory makes creating and locking
one step for others.

Everything here blocks. One object is used by one thread at a time.
"""

import fcntl
import os
import struct
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_HEAD: Final = struct.Struct("<4sII")
_MAGIC: Final = b"AJR1"
_SUFFIX: Final = ".journal"
_REJECTED_SUFFIX: Final = ".rejected"
_LOCK: Final = "lock"
_BATCH_BYTES_MAX: Final = 16 * 1024 * 1024
"""A length beyond it is garbage."""


def frame(batch: bytes) -> bytes:
    """Return *batch* as it stands in a segment."""
    if len(batch) > _BATCH_BYTES_MAX:
        raise ValueError(f"a batch of {len(batch)} bytes is too large for a journal")
    return _HEAD.pack(_MAGIC, len(batch), _checksum(batch)) + batch


def batches(data: bytes | memoryview) -> Iterator[tuple[bytes, int]]:
    """Yield whole batches, each with the offset of its end, up to the first frame that is not."""
    view = memoryview(data)
    at = 0
    while len(view) - at >= _HEAD.size:
        magic, length, checksum = _HEAD.unpack_from(view, at)
        start = at + _HEAD.size
        if magic != _MAGIC or length > min(_BATCH_BYTES_MAX, len(view) - start):
            return
        batch = bytes(view[start : start + length])
        if _checksum(batch) != checksum:
            return
        at = start + length
        yield batch, at


def _checksum(batch: bytes) -> int:
    return zlib.crc32(batch, zlib.crc32(len(batch).to_bytes(4, "little")))


class Segment:
    """
    One file of a journal, locked.

    Attributes:
        size_bytes: Of its whole frames.
        torn_bytes: Behind them, after a crash in the middle of a write.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.size_bytes = self.torn_bytes = 0
        self._descriptor = descriptor

    def append(self, batch: bytes) -> None:
        """
        Add a batch: all of it, or nothing.

        Raises:
            OSError: The disk does not take it.
        """
        data = memoryview(frame(batch))
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._descriptor, data[written:], self.size_bytes + written)
        except OSError:
            # what is left behind the last whole frame is overwritten by the next one
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.size_bytes)
            raise
        self.size_bytes += len(data)

    def read(self) -> list[bytes]:
        """Return its batches; afterwards the sizes tell how much of it was whole."""
        file_bytes = os.fstat(self._descriptor).st_size
        found = list(batches(os.pread(self._descriptor, file_bytes, 0)))
        self.size_bytes = found[-1][1] if found else 0
        self.torn_bytes = file_bytes - self.size_bytes
        return [batch for batch, _ in found]

    def remove(self) -> None:
        """Remove it, and give up the lock."""
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def reject(self) -> Path:
        """Keep it under a name that no journal reads again; return that name."""
        kept = self.path.with_suffix(_REJECTED_SUFFIX)
        self.path.rename(kept)
        os.close(self._descriptor)
        return kept

    def release(self) -> None:
        """Leave it to whoever adopts it."""
        os.close(self._descriptor)


class Journal:
    """
    The segments of one process, and those it adopts.

    Args:
        directory: Where they are; created if need be, shared by the processes of one home.
        segment_bytes_max: A segment that has grown so large is sealed.
    """

    def __init__(self, directory: Path, *, segment_bytes_max: int) -> None:
        self._directory = directory
        self._segment_bytes_max = segment_bytes_max
        self._current: Segment | None = None
        self._sealed: list[Segment] = []

    @property
    def size_bytes(self) -> int:
        """Of all that is written and not removed, as far as this process owns it."""
        current = [] if self._current is None else [self._current]
        return sum(segment.size_bytes for segment in (*self._sealed, *current))

    def append(self, batch: bytes) -> None:
        """
        Write a batch; once this returns it survives the end of this process.

        Raises:
            OSError: The disk does not take it; nothing of it is kept.
        """
        if self._current is None:
            self._current = self._new_segment()
        self._current.append(batch)
        if self._current.size_bytes >= self._segment_bytes_max:
            self._seal()

    def sealed(self) -> tuple[Segment, ...]:
        """End the segment that is being written, and return all that can be read, oldest first."""
        self._seal()
        return tuple(self._sealed)

    def adopt(self) -> int:
        """Take over the segments of processes that are gone; return how many."""
        adopted = []
        with self._locked_directory():
            for path in self._directory.glob(f"*{_SUFFIX}"):
                segment = _adopted(path)
                if segment is not None:
                    adopted.append(segment)
        adopted.sort(key=lambda segment: segment.path.stat().st_mtime_ns)
        self._sealed[:0] = adopted  # they are older than anything of ours
        return len(adopted)

    def remove(self, segment: Segment) -> None:
        """Forget a segment whose batches are where they belong."""
        self._sealed.remove(segment)
        segment.remove()

    def reject(self, segment: Segment) -> Path:
        """Put a segment aside that nobody can use; return where it is kept."""
        self._sealed.remove(segment)
        return segment.reject()

    def close(self) -> None:
        """Leave what is not removed to the next process; idempotent."""
        self._seal()
        for segment in self._sealed:
            segment.release()
        self._sealed.clear()

    def _seal(self) -> None:
        current, self._current = self._current, None
        if current is None:
            return
        if current.size_bytes:
            self._sealed.append(current)
        else:
            current.remove()

    def _new_segment(self) -> Segment:
        path = self._directory / f"{uuid.uuid4().hex}{_SUFFIX}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with self._locked_directory():
            descriptor = os.open(path, flags, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return Segment(path, descriptor)

    @contextmanager
    def _locked_directory(self) -> Iterator[None]:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _adopted(path: Path) -> Segment | None:
    """Lock the segment at *path*, unless it has an owner or is gone; no name is ever used again."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    segment = Segment(path, descriptor)
    segment.size_bytes = os.fstat(descriptor).st_size
    if not path.exists():  # its owner removed it while we opened it
        os.close(descriptor)
        return None
    return segment
