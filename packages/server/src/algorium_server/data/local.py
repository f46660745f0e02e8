"""
Blobs in a directory of this machine.

    ROOT/incoming/<key>   being written, seen by nobody, locked by who writes it
    ROOT/ab/<key>         complete and flushed, with its name; never changed again

A blob is written, flushed and renamed into place before any row points to it. Readers hold an
open descriptor, so that a blob deleted under them stays whole until they are done.

All file work happens in a few threads of the store; `blob_files` is what they share with a task.
"""

import asyncio
import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from algorium_server.data.blob_files import IncomingBlob, OpenedBlob, Pieces, unlink
from algorium_server.data.blobs import BlobMissing, FoundBlob, StoredBlob
from algorium_server.data.connector import Region
from algorium_server.data.failures import check_disk, storage_failure
from algorium_server.domain.collections import is_in_row
from algorium_server.domain.errors import InternalError
from algorium_server.domain.limits import (
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
        blob = IncomingBlob(self._incoming / key, self._path(key))
        self._writing.add(key)
        # While threads are at work on one piece, the next one arrives.
        under_way: asyncio.Future[tuple[None, None]] | None = None
        try:
            pieces = Pieces()
            async for chunk in chunks:
                pieces.add(chunk)
                if pieces.size_bytes >= BLOB_WRITE_BYTES:
                    self.check_room()
                    if under_way is not None:
                        await under_way
                    under_way = self._take(blob, pieces)
                    pieces = Pieces()
            if under_way is not None:
                await under_way
            under_way = None
            await self._take(blob, pieces)
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
        opened = await self._run(OpenedBlob, self._path(key), size_bytes, start, end)
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

    def _take(self, blob: IncomingBlob, pieces: Pieces) -> "asyncio.Future[tuple[None, None]]":
        return asyncio.gather(self._run(blob.write, pieces), self._run(blob.digest, pieces))

    def _finish(self, blob: IncomingBlob, key: str) -> StoredBlob:
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

    def __init__(self, opened: OpenedBlob, store: LocalBlobs) -> None:
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


def _disregard(done: "asyncio.Future[tuple[None, None]]") -> None:
    """Let nobody complain about the failure of work that does not count any more."""
    if not done.cancelled():
        done.exception()


def _remove(root: Path, *paths: Path) -> None:
    if not is_held(root):
        unlink(*paths)


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
