"""
One file of a blob, being written or being read by threads.

A thread cannot be cancelled, so what threads share with a cancelled task (a half-written file, a
descriptor) is guarded by a lock: cleaning up waits for the write or read that is still under way.
"""

import fcntl
import os
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from algorium_server.data.blobs import BlobMissing, StoredBlob
from algorium_server.data.checksums import Digests
from algorium_server.data.connector import Region
from algorium_server.domain.errors import InternalError
from algorium_server.domain.limits import BLOB_CHUNK_BYTES, BLOB_PIECE_BYTES_MIN
from algorium_server.durable import flush_directory


class Pieces:
    """
    Bytes on their way to the disk, as they came: to put long ones together would copy them.

    Attributes:
        size_bytes: Of all of them.
    """

    def __init__(self) -> None:
        self.size_bytes = 0
        self._pieces: list[bytes | bytearray] = []
        self._short: bytearray | None = None

    def __iter__(self) -> Iterator[bytes | bytearray]:
        return iter(self._pieces)

    def add(self, chunk: bytes) -> None:
        """Add what comes next."""
        self.size_bytes += len(chunk)
        if len(chunk) >= BLOB_PIECE_BYTES_MIN:
            self._pieces.append(chunk)
            self._short = None
        elif self._short is None or len(self._short) >= BLOB_PIECE_BYTES_MIN:
            self._short = bytearray(chunk)
            self._pieces.append(self._short)
        else:  # as objects of their own, short ones would take many times their room
            self._short += chunk


class IncomingBlob:
    """A blob being written, by one thread at a time."""

    def __init__(self, path: Path, final_path: Path) -> None:
        self._path = path
        self._final_path = final_path
        self._lock = threading.Lock()
        self._digest_lock = threading.Lock()
        self._descriptor = -1
        self._is_aborted = False
        self._size_bytes = 0
        self._digests = Digests()

    def write(self, pieces: Pieces) -> None:
        """Write some pieces behind the others; nothing any more once it is given up."""
        with self._lock:
            if self._is_aborted:
                return
            if self._descriptor < 0:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self._descriptor = os.open(self._path, flags, 0o600)
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for piece in pieces:
                self._digests.update_checksum(piece)
            self._size_bytes += pieces.size_bytes
            _write_all(self._descriptor, pieces)

    def digest(self, pieces: Pieces) -> None:
        """Take pieces in beside `write`, in another thread: MD5 takes longer than all of it."""
        with self._digest_lock:
            for piece in pieces:
                self._digests.update_md5(piece)

    def finish(self, key: str) -> StoredBlob:
        """Flush what was written, and give it its name."""
        with self._lock:
            # The age of garbage counts from now, not from the last byte of a slow client.
            os.utime(self._descriptor)
            os.fsync(self._descriptor)
            self._close()
            self._path.rename(self._final_path)
            flush_directory(self._final_path.parent)
        return StoredBlob(
            key=key,
            size_bytes=self._size_bytes,
            md5=self._digests.md5,
            checksum=self._digests.checksum,
        )

    def abort(self) -> None:
        """Give it up, whole or not; waits for the write that is under way."""
        with self._lock:
            self._is_aborted = True
            self._close()
            unlink(self._path, self._final_path)

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


class OpenedBlob:
    """
    A blob being read, by one thread at a time.

    Attributes:
        head: Its first bytes; of a small blob all, so that it costs one turn of a thread.
    """

    def __init__(self, path: Path, size_bytes: int, start: int, end: int | None) -> None:
        self._at = min(start, size_bytes)
        self._end = size_bytes if end is None else min(max(end, self._at), size_bytes)
        self.size_bytes = self._end - self._at
        self.is_closed = False
        self._lock = threading.Lock()
        try:
            self._file = path.open("rb", buffering=0)
        except FileNotFoundError as error:
            raise BlobMissing(path.name) from error
        found_bytes = os.fstat(self._file.fileno()).st_size
        if found_bytes != size_bytes:
            self.close()
            detail = f"blob {path.name} has {found_bytes} bytes, its row says {size_bytes}"
            raise InternalError("storage failure: the file is damaged", detail=detail)
        self._start = self._file.seek(self._at)
        self.head = self.read()
        if len(self.head) == self.size_bytes:
            self.close()

    def region(self) -> Region | None:
        """Return where the bytes lie; None if they were few enough to be read at once."""
        if self.is_closed:
            return None
        return Region(descriptor=self._file.fileno(), start=self._start)

    def read(self) -> bytes:
        """Return the next bytes, none at the end and once it is closed."""
        with self._lock:
            if self.is_closed:
                return b""
            chunk = self._file.read(min(BLOB_CHUNK_BYTES, self._end - self._at))
            self._at += len(chunk)
            return chunk

    def close(self) -> None:
        """Let go of the file; waits for the read that is under way."""
        with self._lock:
            self.is_closed = True
            self._file.close()


def _write_all(descriptor: int, pieces: Pieces) -> None:
    rest = deque(memoryview(piece) for piece in pieces if piece)
    while rest:
        written = os.writev(descriptor, rest)
        while rest and written >= len(rest[0]):
            written -= len(rest.popleft())
        if written:
            rest[0] = rest[0][written:]


def unlink(*paths: Path) -> None:
    """Delete files; those that are absent do not matter."""
    for path in paths:
        path.unlink(missing_ok=True)
