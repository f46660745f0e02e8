"""
Parts of uploads, on their way to be one file: each is written at its own place in it.

    ROOT/<upload id>   the file as far as it has arrived, with holes

A part that arrives takes a lock on its bytes of the file, and whoever finishes the file one on all
of it: locks of the open file, which the kernel ends with whoever held them, in this process or in
another one. A part that is sent anew takes its place from the attempt before, whose connection may
have been dead for a while; one that is being recorded is waited for.

Once a file is finished or given up its name goes. An attempt that opened it before then looks
whether the name still leads to what it has locked, for otherwise it may be writing into somebody's
finished file.

What has arrived is flushed before anybody is told so.
"""

import asyncio
import ctypes
import fcntl
import hashlib
import os
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from algorium_server.data.checksums import Digests
from algorium_server.data.failures import check_disk, storage_failure
from algorium_server.domain.errors import AlreadyExists, InternalError, NotFound
from algorium_server.domain.limits import (
    BLOB_THREADS_MAX,
    BLOB_WRITE_BYTES,
    UPLOAD_PART_WAIT_S,
)
from algorium_server.durable import flush_directory
from algorium_server.telemetry import logger

T = TypeVar("T")
_Run = Callable[..., Awaitable[Any]]

_LOCK: Final = struct.Struct("hhqqi4x")
"""The kernel's `struct flock` on 64-bit Linux."""
_LOOK_EVERY_S: Final = 0.02
_FALLOC_FL_KEEP_SIZE: Final = 0x01
_FALLOC_FL_PUNCH_HOLE: Final = 0x02
_libc = ctypes.CDLL(None, use_errno=True)
_log = logger(__name__)


class PartFiles:
    """
    The files of unfinished uploads, below one directory.

    Args:
        root: Created if absent, readable for this user only.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._threads = ThreadPoolExecutor(BLOB_THREADS_MAX, thread_name_prefix="parts")
        self._arriving: dict[tuple[str, int], ArrivingPart] = {}
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        flush_directory(root.parent)

    async def create(self, upload_id: str) -> None:
        """
        Make room for an upload.

        Raises:
            OutOfSpace: The disk is full.
            InternalError: The disk fails.
        """
        await self._run(_create, self._root / upload_id)

    @asynccontextmanager
    async def arriving(
        self, upload_id: str, *, start: int, size_bytes: int
    ) -> AsyncIterator["ArrivingPart"]:
        """
        Let a part arrive; its bytes of the file belong to nobody else until the block ends.

        Args:
            upload_id: Which upload.
            start: Where the part begins in the file.
            size_bytes: How long it may become.

        Raises:
            NotFound: There is no such upload.
            AlreadyExists: The part is being recorded, or the file finished, by somebody else.
            OutOfSpace: The disk is nearly full.
        """
        check_disk(self._root)
        place = upload_id, start
        before = self._arriving.get(place)
        if before is not None:
            await self._run(before.held.give_way)
        held = await self._run(_Held, self._root / upload_id)
        # An empty part locks a byte: of no bytes the kernel understands all there are.
        length = max(size_bytes, 1)
        part = ArrivingPart(held, start=start, size_bytes_max=length, run=self._run)
        self._arriving[place] = part
        try:
            await self._lock(held, start=start, size_bytes=length)
            yield part
        finally:
            if self._arriving.get(place) is part:
                del self._arriving[place]
            await asyncio.shield(self._run(held.close))

    @asynccontextmanager
    async def whole(self, upload_id: str) -> AsyncIterator["WholeFile"]:
        """
        Hold all of an upload's file: no part of it arrives until the block ends.

        Raises:
            NotFound: There is no such upload.
            AlreadyExists: Parts are arriving.
        """
        held = await self._run(_Held, self._root / upload_id)
        try:
            await self._lock(held, start=0, size_bytes=0)
            yield WholeFile(held, run=self._run)
        finally:
            await asyncio.shield(self._run(held.close))

    async def remove(self, *upload_ids: str) -> None:
        """
        Delete the files of uploads; those that are absent do not matter.

        Raises:
            InternalError: The disk fails.
        """
        await self._run(_unlink, [self._root / upload_id for upload_id in upload_ids])

    async def sweep(self, live: Set[str], *, before: datetime) -> int:
        """Delete the files of no upload that were last written before *before*; count them."""
        return await self._run(_sweep, self._root, live, before.timestamp())

    def close(self) -> None:
        """Wait for the file work under way and end the threads."""
        self._threads.shutdown()

    async def _lock(self, held: "_Held", *, start: int, size_bytes: int) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + UPLOAD_PART_WAIT_S
        while not await self._run(held.try_to_lock, start, size_bytes):
            if loop.time() > until:
                raise AlreadyExists("another request is writing there; try again")
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _run(self, work: Callable[..., T], *args: object) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
        except OSError as error:
            raise storage_failure(error) from error


class ArrivingPart:
    """
    A part that arrives.

    Attributes:
        held: The file, with the part's bytes locked.
        size_bytes: How much has arrived.
    """

    def __init__(self, held: "_Held", *, start: int, size_bytes_max: int, run: _Run) -> None:
        self.held = held
        self.size_bytes = 0
        self._size_bytes_max = size_bytes_max
        self._start = start
        self._run = run
        self._md5 = hashlib.md5(usedforsecurity=False)

    async def write(self, chunks: AsyncIterator[bytes]) -> str:
        """
        Write the part, flush it and return its MD5; from then on nobody takes its place.

        What *chunks* raises is raised, and the part forgotten.

        Raises:
            AlreadyExists: Another attempt has taken its place.
            OutOfSpace: The disk is full.
            InternalError: The disk fails.
        """
        await self.forget()  # an attempt before may have been longer
        try:
            buffer = bytearray()
            async for chunk in chunks:
                buffer += chunk
                if len(buffer) >= BLOB_WRITE_BYTES:
                    await self._run(self._write, buffer)
                    buffer = bytearray()
            await self._run(self._write, buffer)
            await self._run(self.held.settle)
        except BaseException:
            await asyncio.shield(self.forget())
            raise
        return self._md5.hexdigest()

    async def forget(self) -> None:
        """
        Give the space back of a part that is not recorded: nobody's quota counts it.

        What a crash leaves goes with the upload.
        """
        await self._run(self.held.clear, self._start, self._size_bytes_max)

    def _write(self, data: bytearray) -> None:
        self._md5.update(data)
        self.held.write(data, self._start + self.size_bytes)
        self.size_bytes += len(data)


class WholeFile:
    """The file of an upload, while no part of it arrives."""

    def __init__(self, held: "_Held", *, run: _Run) -> None:
        self._held = held
        self._run = run

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self._held.path

    async def finish(self, size_bytes: int) -> Digests:
        """
        Cut the file at its end, flush it, and return the digests of its bytes.

        Raises:
            InternalError: The disk fails, or the file is shorter.
        """
        await self._run(self._held.cut, size_bytes)
        digests = Digests()
        await self._run(self._held.pass_to, digests.update, size_bytes)
        return digests

    async def chunks(self, size_bytes: int) -> AsyncIterator[bytes]:
        """Read the bytes, in pieces of bounded size."""
        at = 0
        while at < size_bytes:
            chunk: bytes = await self._run(self._held.read, at, size_bytes)
            at += len(chunk)
            yield chunk


class _Held:
    """
    An open file of an upload, used by one thread at a time; what it has locked ends with it.

    Attributes:
        path: Its name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._guard = threading.Lock()
        self._is_settled = False
        try:
            self._file = path.open("r+b", buffering=0)
        except FileNotFoundError as error:
            raise NotFound("upload not found") from error

    def try_to_lock(self, start: int, size_bytes: int) -> bool:
        """Lock a part of the file, all from *start* on if it is 0 bytes; tell whether it worked."""
        with self._guard:
            self._check_open()
            wanted = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, size_bytes, 0)
            try:
                fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, wanted)
            except (BlockingIOError, PermissionError):  # POSIX allows both
                return False
            mine = os.fstat(self._file.fileno())
            try:
                named = self.path.stat()
            except FileNotFoundError as error:
                raise NotFound("upload not found") from error
            if (mine.st_dev, mine.st_ino) != (named.st_dev, named.st_ino):
                raise NotFound("upload not found")
            return True

    def write(self, data: bytearray, at: int) -> None:
        with self._guard:
            self._check_open()
            rest = memoryview(data)
            while rest:
                written = os.pwrite(self._file.fileno(), rest, at)
                rest, at = rest[written:], at + written

    def clear(self, start: int, size_bytes: int) -> None:
        """Make a hole of a part of the file, unless another attempt has it now."""
        with self._guard:
            if not self._file.closed:
                _punch_hole(self._file.fileno(), start, size_bytes)

    def settle(self) -> None:
        with self._guard:
            self._check_open()
            os.fdatasync(self._file.fileno())
            self._is_settled = True

    def cut(self, size_bytes: int) -> None:
        with self._guard:
            self._check_open()
            os.ftruncate(self._file.fileno(), size_bytes)
            os.fsync(self._file.fileno())

    def pass_to(self, take: Callable[[bytes], None], size_bytes: int) -> None:
        """Read the bytes, piece after piece, for *take*."""
        at = 0
        while at < size_bytes:
            chunk = self.read(at, size_bytes)
            take(chunk)
            at += len(chunk)

    def read(self, at: int, size_bytes: int) -> bytes:
        """Read some bytes from *at* on, none behind *size_bytes*."""
        chunk = os.pread(self._file.fileno(), min(BLOB_WRITE_BYTES, size_bytes - at), at)
        if not chunk:
            raise InternalError("storage failure: the upload is damaged", detail="ends early")
        return chunk

    def give_way(self) -> None:
        """Let another attempt have the place, unless this one is about to be recorded."""
        with self._guard:
            if not self._is_settled:
                self._file.close()

    def close(self) -> None:
        with self._guard:
            self._file.close()

    def _check_open(self) -> None:
        if self._file.closed:
            raise AlreadyExists("another upload of this part has begun")


def _punch_hole(descriptor: int, start: int, size_bytes: int) -> None:
    # Python has no name for it. A file system that cannot do it keeps the bytes as they are.
    mode = _FALLOC_FL_KEEP_SIZE | _FALLOC_FL_PUNCH_HOLE
    if _libc.fallocate(descriptor, mode, ctypes.c_int64(start), ctypes.c_int64(size_bytes)):
        code = ctypes.get_errno()
        _log.warning("a refused part keeps its space", detail=os.strerror(code))


def _create(path: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    os.close(os.open(path, flags, 0o600))
    flush_directory(path.parent)


def _unlink(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _sweep(root: Path, live: Set[str], limit_s: float) -> int:
    swept = 0
    with os.scandir(root) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # deleted by someone else meanwhile
                is_old = entry.stat(follow_symlinks=False).st_mtime < limit_s
                if is_old and entry.name not in live:
                    os.unlink(entry.path)
                    swept += 1
    return swept
