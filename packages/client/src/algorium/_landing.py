"""Local files that appear whole or not at all, and that an interrupted download goes on with."""

import contextlib
import errno
import hashlib
import io
import os
import re
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

try:
    import fcntl
except ImportError:  # not on Windows; there nobody goes on with another's file
    fcntl = None  # type: ignore[assignment]

_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_READ_BYTES: Final = 1024 * 1024
_NAME_BYTES_MAX: Final = 180
"""Of a file's own name in the name of its part file: file systems stop at 255."""


class Landing:
    """
    A local file in the making: bytes go into a part file beside it, which gets its name at the end.

    Opened with a *version*, the part file outlives this process: a ledger beside it says which
    pieces are there, and the next `Landing` of that version begins with them. Two processes do not
    share one; the second begins a file of its own.

    Args:
        path: The new file, or an existing directory to put it into as *name*.
        name: See *path*; empty if it cannot be a directory.
    """

    def __init__(self, path: str | os.PathLike[str], *, name: str) -> None:
        self.path = Path(path)
        if name and self.path.is_dir():
            self.path /= name
        self.is_open = False
        self.total_bytes = 0
        self._piece_bytes = 0
        self._part = self._ledger = self.path
        # Unbuffered: several threads write it, and what they wrote is read back to be hashed.
        self._file: io.FileIO | None = None
        self._log: IO[str] | None = None
        self._done: set[int] = set()
        self._is_continued = False
        self._is_hashed = True
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._hashed_pieces = 0
        self._hashing = threading.Lock()
        # Nobody writes while it is closed: another file may have the same descriptor by then.
        self._writing = threading.Lock()

    def open(
        self,
        *,
        total_bytes: int = 0,
        piece_bytes: int = 0,
        version: str = "",
        is_hashed: bool = True,
    ) -> None:
        """
        Make the part file, or find the one that was begun.

        Args:
            total_bytes: Size of the file, if it comes in pieces.
            piece_bytes: Size of each of them but the last.
            version: Tells which bytes belong together; empty if that cannot be known.
            is_hashed: Whether the digest will be asked for.

        Raises:
            OSError: It cannot be written.
        """
        self.close()
        self.total_bytes, self._piece_bytes = total_bytes, piece_bytes
        self._is_hashed = is_hashed
        self._done = set()
        self._restart_hash()
        self._is_continued = bool(version and self._continue(version)) and bool(self._done)
        if self._log is None:
            self._name_part(secrets.token_hex(6))
            self._file = self._part.open("x+b", buffering=0)
        with contextlib.suppress(OSError):  # who may not read the old file may not read the new one
            self._part.chmod(self.path.stat().st_mode & 0o777)
        self.is_open = True

    def _continue(self, version: str) -> bool:
        told = f"{version}\n{self.total_bytes}\n{self._piece_bytes}"
        self._name_part(hashlib.sha256(told.encode()).hexdigest()[:16])
        if fcntl is None:
            return False
        try:
            self._file = os.fdopen(_own(self._part), "r+b", buffering=0)
            if not (_locked(self._file.fileno()) and _is_same(self._file.fileno(), self._part)):
                self._file.close()
                return False
            self._log = os.fdopen(_own(self._ledger), "r+", encoding="ascii", errors="replace")
        except _NotOurs:
            self.close()
            return False
        lines = self._log.read().split("\n")
        # A last line that was cut off would make another number of what is written after it.
        self._log.seek(0)
        self._log.truncate(sum(len(line) + 1 for line in lines[:-1]))
        self._log.seek(0, os.SEEK_END)
        size = self._part.stat().st_size
        self._done = {
            number
            for number in (int(line) for line in lines[:-1] if _NUMBER.fullmatch(line))
            if number < self.pieces_count and self._extent(number)[1] <= size
        }
        return True

    def _name_part(self, tag: str) -> None:
        # Cut between characters, and without what is no text: it need not be read again.
        stem = os.fsencode(self.path.name)[:_NAME_BYTES_MAX].decode(errors="ignore")
        # In the same directory, hence on the same disk: only there a rename is one step.
        self._part = self.path.with_name(f".{stem}.{tag}.part")
        self._ledger = self.path.with_name(f".{stem}.{tag}.pieces")

    @property
    def pieces_count(self) -> int:
        """How many pieces the file has."""
        return -(-self.total_bytes // self._piece_bytes) if self._piece_bytes else 0

    @property
    def is_resumable(self) -> bool:
        """Whether what is there will be found again."""
        return self._log is not None

    @property
    def is_continued(self) -> bool:
        """Whether it began with pieces that an earlier process left."""
        return self._is_continued

    def missing(self) -> Iterator[tuple[int, int, int]]:
        """Yield number, start and end of each piece that is not there."""
        for number in range(self.pieces_count):
            if number not in self._done:
                yield number, *self._extent(number)

    @property
    def done_bytes(self) -> int:
        """Size of the pieces that are there."""
        return sum(end - start for start, end in map(self._extent, self._done))

    def _extent(self, number: int) -> tuple[int, int]:
        start = number * self._piece_bytes
        return start, min(start + self._piece_bytes, self.total_bytes)

    def append(self, piece: bytes) -> None:
        """Write what comes next, when the file comes in one stream."""
        assert self._file is not None
        _write(self._file, piece)
        if self._is_hashed:
            self._md5.update(piece)
        self.total_bytes += len(piece)

    def write_at(self, start: int, piece: bytes) -> None:
        """
        Write somewhere; from any thread.

        Raises:
            ValueError: It is closed: the download was given up.
        """
        with self._writing:
            if self._file is None:
                raise ValueError("the file is closed")
            self._file.seek(start)
            _write(self._file, piece)

    def finish(self, number: int) -> None:
        """Take note that a piece is there, and hash what can be hashed by now."""
        with self._writing:
            self._done.add(number)
            if self._log is not None:
                self._log.write(f"{number}\n")
                self._log.flush()
        # Whoever hashes already takes this along.
        if self._is_hashed and self._hashing.acquire(blocking=False):
            try:
                self._hash_on()
            finally:
                self._hashing.release()

    def md5(self) -> str:
        """Return the digest of the whole file, all of which must be there."""
        with self._hashing:
            self._hash_on()
        return self._md5.hexdigest()

    def _hash_on(self) -> None:
        while self._hashed_pieces in self._done:
            start, end = self._extent(self._hashed_pieces)
            while start < end:
                piece = self._read_at(start, min(_READ_BYTES, end - start))
                if not piece:
                    raise OSError(f"{self._part} was changed by somebody else")
                self._md5.update(piece)
                start += len(piece)
            self._hashed_pieces += 1

    def _read_at(self, start: int, size_bytes: int) -> bytes:
        with self._writing:
            if self._file is None:
                raise ValueError("the file is closed")
            self._file.seek(start)
            return self._file.read(size_bytes)

    def _restart_hash(self) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._hashed_pieces = 0

    def commit(self, *, modified_at_s: float | None = None) -> Path:
        """
        Give the file its name, and return it.

        Args:
            modified_at_s: When it was changed, in seconds since 1970; None for now.
        """
        assert self._file is not None
        if modified_at_s is not None:
            os.utime(self._part, (modified_at_s, modified_at_s))
        if fcntl is None:
            self.close()  # Windows renames no open file
        self._part.replace(self.path)  # behind the lock, so that nobody goes on with it
        self.close()
        self._ledger.unlink(missing_ok=True)
        self.is_open = False
        return self.path

    def abandon(self, *, keep: bool = False) -> None:
        """Close, and remove what is not finished unless it is to be gone on with."""
        if not self.is_open:
            self.close()
            return
        keep = keep and self.is_resumable and bool(self._done)
        if not keep:
            # Before closing: behind the lock nobody else has it.
            for path in (self._part, self._ledger):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
        self.close()
        self.is_open = False

    def close(self) -> None:
        """Close the part file."""
        with self._writing:
            for file in (self._file, self._log):
                if file is not None:
                    file.close()
            self._file = self._log = None


class _NotOurs(Exception):
    """Somebody else's file, or a link, has the name; they might change it behind our back."""


def _own(path: Path) -> int:
    """Open a file of this user's for reading and writing, or make it."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EACCES, errno.EISDIR}:
            raise _NotOurs from error
        raise
    if os.fstat(handle).st_uid != os.geteuid():
        os.close(handle)
        raise _NotOurs
    return handle


def _write(file: io.FileIO, piece: bytes) -> None:
    left = memoryview(piece)
    while left:
        left = left[file.write(left) :]


def _is_same(handle: int, path: Path) -> bool:
    """Tell whether *path* still leads to this open file: another process may have renamed it."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _locked(handle: int) -> bool:
    """Lock a file until it is closed; False if another process, or another `Landing`, has it."""
    lock: Any = fcntl
    try:
        lock.flock(handle, lock.LOCK_EX | lock.LOCK_NB)
    except OSError:
        return False
    return True
