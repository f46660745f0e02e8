"""
Rows in memory that the gateways of one machine share, found by a name and locked in buckets.

    table = salt (16 bytes) | row | row | ...
    row   = digest of the name (16 bytes) | cell | cell | ...

A row belongs to a bucket of eight, and never moves. What its cells say, and when it is free for
another name, is the business of whoever makes the table. Names are often what strangers choose, so
the salt decides, with them, which bucket they have.

The locks are byte ranges of the table's file, held by the kernel for a process, so that none
outlives its holder. Nobody waits long for one: a gateway that was stopped while it held a lock
costs others refusals, not their lives.
"""

import fcntl
import mmap
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Final

ROWS_PER_BUCKET: Final = 8
_WORD: Final = 4
_DIGEST_WORDS: Final = 4
_SALT_WORDS: Final = 4
FIRST_CELL: Final = _SALT_WORDS + _DIGEST_WORDS
"""Where the cells of the first row begin."""
_PATIENCE_S: Final = 0.25
"""For a lock that is held for microseconds, by a process that may have to wait for a processor."""


class SharedRows:
    """
    Rows in memory that processes share.

    Args:
        descriptor: Of a file in memory, of which this process has no other descriptor.
        buckets: How many there are, the same for everybody.
        cells: How many a row has behind its digest, of 32 bits.
    """

    def __init__(self, descriptor: int, *, buckets: int, cells: int) -> None:
        self.buckets = buckets
        self.row_words = _DIGEST_WORDS + cells
        self._descriptor = descriptor
        rows = self.buckets * ROWS_PER_BUCKET
        size_bytes = (_SALT_WORDS + rows * self.row_words) * _WORD
        if os.fstat(descriptor).st_size < size_bytes:
            os.ftruncate(descriptor, size_bytes)
        self.words = memoryview(mmap.mmap(descriptor, size_bytes)).cast("I")

    def salt(self, secret: bytes) -> None:
        """Let 16 random bytes decide which bucket a name has; once, before it is shared."""
        self.words[:_SALT_WORDS] = memoryview(secret).cast("I")

    def place_of(self, name: str) -> tuple[int, bytes]:
        """Return the bucket of a name, and its digest."""
        return self.bucket_of(name, range(self.buckets)), self.digest_of(name)

    def bucket_of(self, name: str, among: range) -> int:
        """Return which of some buckets a name has."""
        return among[int.from_bytes(self.digest_of(name)[:8], "little") % len(among)]

    def digest_of(self, name: str) -> bytes:
        """Return what the row of a name is found by."""
        salt = self.words[:_SALT_WORDS].tobytes()
        return blake2b(name.encode(), digest_size=16, key=salt).digest()

    def rows_of(self, bucket: int) -> Iterator[int]:
        """Yield where the cells of each row of a bucket begin."""
        first = FIRST_CELL + bucket * ROWS_PER_BUCKET * self.row_words
        yield from range(first, first + ROWS_PER_BUCKET * self.row_words, self.row_words)

    def find(self, bucket: int, digest: bytes) -> int | None:
        """Return where the cells of a name begin, None if it has no row."""
        for cells in self.rows_of(bucket):
            if self.words[cells - _DIGEST_WORDS : cells].tobytes() == digest:
                return cells
        return None

    def name(self, cells: int, digest: bytes) -> None:
        """Make a row that of a name; its bucket must be locked, and the row be free."""
        self.words[cells - _DIGEST_WORDS : cells] = memoryview(digest).cast("I")

    @contextmanager
    def locked(self, bucket: int) -> Iterator[None]:
        """
        Keep others from deciding about the rows of a bucket.

        Raises:
            TimeoutError: Somebody has held the lock for too long.
        """
        give_up_at = 0.0
        while True:
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, bucket)
                break
            except (BlockingIOError, PermissionError):  # POSIX lets systems choose
                now = time.monotonic()
                give_up_at = give_up_at or now + _PATIENCE_S
                if now >= give_up_at:
                    raise TimeoutError from None
                os.sched_yield()
        try:
            yield
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, bucket)
