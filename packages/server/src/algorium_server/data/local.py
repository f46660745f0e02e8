"""
Blobs in a directory of this machine.

    ROOT/incoming/<key>   being written, seen by nobody, locked by who writes it
    ROOT/ab/<key>         complete and flushed, with its name; never changed again

A blob is written, flushed and renamed into place before any row points to it. Readers hold an
open descriptor, so that a blob deleted under them stays whole until they are done.

All file work happens in a few threads of the store. A thread cannot be cancelled, so what
threads share with a cancelled task (a half-written file, a descriptor) is guarded by a lock:
cleaning up waits for the write or read that is still under way.
"""

import asyncio
import errno
import fcntl
import os
import shutil
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from algorium_server.data.blobs import BlobMissing, FoundBlob, StoredBlob
from algorium_server.data.checksums import Digests
from algorium_server.data.connector import Region
from algorium_server.data.failures import check_disk, storage_failure
from algorium_server.domain.collections import is_in_row
from algorium_server.domain.errors import InternalError
from algorium_server.domain.limits import (
    BLOB_CHUNK_BYTES,
    BLOB_THREADS_MAX,
    BLOB_WRITE_BYTES,
)
from algorium_server.durable import flush_directory
from algorium_server.holding import is_held

T = TypeVar("T")

_NO_LINKS: Final = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP})


class LocalBlobs:
    """
    Blobs below one directory.

    Args:
        root: Created if absent, readable for this user only.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"
        self._writing: set[str] = set()
        self._threads = ThreadPoolExecutor(BLOB_THREADS_MAX, thread_name_prefix="blobs")
        self._shards: set[Path] = set()
        self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        flush_directory(root.parent)

    async def write(self, chunks: AsyncIterator[bytes]) -> StoredBlob:
        """
        Store the bytes of *chunks* durably under a fresh key.

        However it ends before that, by an error out of *chunks* as well as by cancellation,
        nothing is left behind.

        Raises:
            OutOfSpace: The disk is full.
            InternalError: The disk fails.
        """
        key = uuid.uuid4().hex
        blob = _Incoming(self._incoming / key, self._path(key))
        self._writing.add(key)
        # While threads are at work on one piece, the next one arrives.
        under_way: asyncio.Future[tuple[None, None]] | None = None
        try:
            buffer = bytearray()
            async for chunk in chunks:
                buffer += chunk
                if len(buffer) >= BLOB_WRITE_BYTES:
                    self.check_room()
                    if under_way is not None:
                        await under_way
                    under_way = self._take(blob, buffer)
                    buffer = bytearray()
            if under_way is not None:
                await under_way
            under_way = None
            await self._take(blob, buffer)
            return await self._run(self._finish, blob, key)
        except BaseException:
            if under_way is not None:
                under_way.add_done_callback(_disregard)
            await asyncio.shield(self._run(blob.abort))
            raise
        finally:
            self._writing.discard(key)

    async def open(
        self, key: str, *, size_bytes: int, start: int = 0, end: int | None = None
    ) -> "LocalReader":
        """
        Open a blob for reading.

        Args:
            key: Which.
            size_bytes: How long it must be, as a whole.
            start: First byte to read.
            end: Behind the last byte to read; None for the end of the blob.

        Raises:
            BlobMissing: There is none.
            InternalError: It is not as long as it must be, or the disk fails.
        """
        opened = await self._run(_Opened, self._path(key), size_bytes, start, end)
        return LocalReader(opened, self)

    async def duplicate(self, key: str) -> str:
        """
        Give the bytes of a blob a second, fresh key, and return it: durable like a new blob.

        Blobs never change, so on disk both keys name the same bytes.

        Raises:
            BlobMissing: There is none of this key.
            OutOfSpace: The disk is full.
            InternalError: The disk fails.
        """
        return await self._run(self._link, self._path(key))

    async def adopt(self, path: Path) -> str:
        """
        Store the bytes of a finished, flushed file, and return their key; see `BlobStore.adopt`.

        Raises:
            BlobMissing: There is no such file.
            OutOfSpace: The disk is full.
            InternalError: The disk fails.
        """
        return await self._run(self._link, path)

    async def delete(self, *keys: str) -> None:
        """
        Delete blobs; those that are absent do not matter.

        Their rows are gone already. While a backup is copying they become garbage instead.

        Raises:
            InternalError: The disk fails.
        """
        paths = [self._path(key) for key in keys if not is_in_row(key)]
        if paths:
            await self._run(_remove, self._root, *paths)

    async def sweep(self, live: Set[str], *, before: datetime) -> int:
        """
        Delete what no row points to: blobs and half-written files of crashed processes.

        Args:
            live: Keys that rows point to.
            before: Only what was last written before is deleted: the row of a younger blob may be
                about to be committed, maybe by another process. What is still being written
                stays, however slowly it arrives.

        Returns:
            How many files are gone.
        """
        limit_s = before.timestamp()
        swept = 0
        for directory in await self._run(_directories, self._root):
            # The keys of our own uploads are looked up late: some last longer than any grace.
            # Those of other processes are locked until they are whole.
            swept += await self._run(_sweep, directory, live, self._writing, limit_s)
        return swept

    async def found(self) -> AsyncIterator[FoundBlob]:
        """Yield every complete blob; see `BlobStore.found`."""
        for directory in await self._run(_directories, self._root):
            if directory != self._incoming:
                for blob in await self._run(_blobs_in, directory):
                    yield blob

    def check_room(self) -> None:
        """Refuse to store anything when the disk is nearly full; see `BlobStore.check_room`."""
        check_disk(self._root)

    def close(self) -> None:
        """Wait for the file work under way and end the threads."""
        self._threads.shutdown()

    def _path(self, key: str) -> Path:
        return self._root / key[:2] / key

    def _take(self, blob: "_Incoming", data: bytearray) -> "asyncio.Future[tuple[None, None]]":
        return asyncio.gather(self._run(blob.write, data), self._run(blob.digest, data))

    def _finish(self, blob: "_Incoming", key: str) -> StoredBlob:
        self._make_shard(self._path(key).parent)
        return blob.finish(key)

    def _make_shard(self, shard: Path) -> None:
        if shard not in self._shards:
            shard.mkdir(mode=0o700, exist_ok=True)
            flush_directory(self._root)  # or a crash could lose the shard with its first blobs
            self._shards.add(shard)

    def _link(self, source: Path) -> str:
        key = uuid.uuid4().hex
        target = self._path(key)
        self._make_shard(target.parent)
        try:
            os.utime(source)  # the age of garbage counts from now
            target.hardlink_to(source)
        except FileNotFoundError as error:
            raise BlobMissing(source.name) from error
        except OSError as error:
            # Another file system, one without links, or as many links as it can have.
            if error.errno not in _NO_LINKS:
                raise
            self._copy(source, key)
        flush_directory(target.parent)
        return key

    def _copy(self, source: Path, key: str) -> None:
        half = self._incoming / key
        self._writing.add(key)
        try:
            shutil.copyfile(source, half)
            half.chmod(0o600)
            with half.open("rb") as copied:
                os.fsync(copied.fileno())
            half.rename(self._path(key))
        finally:
            half.unlink(missing_ok=True)
            self._writing.discard(key)

    async def _run(self, work: Callable[..., T], *args: object) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
        except OSError as error:
            raise storage_failure(error) from error


class LocalReader:
    """
    An open blob.

    Attributes:
        size_bytes: How many bytes `chunks` yields.
    """

    def __init__(self, opened: "_Opened", store: LocalBlobs) -> None:
        self.size_bytes = opened.size_bytes
        self._opened = opened
        self._run = store._run

    @property
    def region(self) -> Region | None:
        """Where the bytes lie; None if they were few enough to be read at once."""
        return self._opened.region()

    async def chunks(self) -> AsyncIterator[bytes]:
        """
        Read the bytes once, in pieces of at most `BLOB_CHUNK_BYTES`.

        Raises:
            InternalError: The disk fails, or the blob ends early.
        """
        chunk = self._opened.head
        self._opened.head = b""
        remaining = self.size_bytes
        while remaining:
            if not chunk:
                raise InternalError("storage failure: the file is damaged", detail="ends early")
            remaining -= len(chunk)
            yield chunk
            chunk = await self._run(self._opened.read) if remaining else b""

    async def close(self) -> None:
        """Let go of the file; may be called again."""
        if not self._opened.is_closed:
            await asyncio.shield(self._run(self._opened.close))


class _Incoming:
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

    def write(self, data: bytearray) -> None:
        with self._lock:
            if self._is_aborted:
                return
            if self._descriptor < 0:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self._descriptor = os.open(self._path, flags, 0o600)
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._digests.update_checksum(data)
            self._size_bytes += len(data)
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def digest(self, data: bytearray) -> None:
        # Beside `write`, in another thread: MD5 takes longer than everything there.
        with self._digest_lock:
            self._digests.update_md5(data)

    def finish(self, key: str) -> StoredBlob:
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
        with self._lock:
            self._is_aborted = True
            self._close()
            _unlink(self._path, self._final_path)

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


class _Opened:
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
        if self.is_closed:
            return None
        return Region(descriptor=self._file.fileno(), start=self._start)

    def read(self) -> bytes:
        with self._lock:
            if self.is_closed:
                return b""
            chunk = self._file.read(min(BLOB_CHUNK_BYTES, self._end - self._at))
            self._at += len(chunk)
            return chunk

    def close(self) -> None:
        with self._lock:
            self.is_closed = True
            self._file.close()


def _disregard(done: "asyncio.Future[tuple[None, None]]") -> None:
    """Let nobody complain about the failure of work that does not count any more."""
    if not done.cancelled():
        done.exception()


def _remove(root: Path, *paths: Path) -> None:
    if not is_held(root):
        _unlink(*paths)


def _unlink(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _directories(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.is_dir()]


def _blobs_in(directory: Path) -> list[FoundBlob]:
    found = []
    with os.scandir(directory) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # deleted by someone else meanwhile
                status = entry.stat(follow_symlinks=False)
                modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
                found.append(
                    FoundBlob(key=entry.name, size_bytes=status.st_size, modified_at=modified_at)
                )
    return found


def _sweep(directory: Path, live: Set[str], writing: Set[str], limit_s: float) -> int:
    swept = 0
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name in live or entry.name in writing:
                continue
            with suppress(FileNotFoundError):  # deleted by someone else meanwhile
                is_old = entry.stat(follow_symlinks=False).st_mtime < limit_s
                if is_old and not _is_locked(entry.path):
                    os.unlink(entry.path)
                    swept += 1
    return swept


def _is_locked(path: str) -> bool:
    """Whether somebody writes the file at *path*; the kernel ends the lock of who is gone."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
