"""
A cache of model files on this machine's disk: fetched once, then read by every slot.

    ROOT/files/…           the bytes, under fresh keys like those of all other blobs
    ROOT/entries/NAME      which blob has what, as JSON; its time says when it was read last

An entry is written after its file is whole, and goes before its file does: what a crash leaves is a
file without an entry, which the next sweep removes. A file that is read while it is evicted stays
readable until it is closed. Several processes may share a cache; they may then fetch a file each,
and one of the two is swept.

The checksum of a file is compared when a process reads it for the first time.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from algorium_server.data.blobs import BlobMissing
from algorium_server.data.checksums import Checksum, UnknownChecksum
from algorium_server.data.connector import Entry, OpenFile, Region
from algorium_server.data.local import LocalBlobs, LocalReader
from algorium_server.domain.errors import InternalError
from algorium_server.durable import write_file

_SWEEP_GRACE: Final = timedelta(hours=1)


class _Kept(msgspec.Struct, frozen=True):
    """What an entry says."""

    blob: str
    size_bytes: int
    md5: str
    checksum: str


@dataclass(slots=True)
class CachedFile:
    """A cached file, open for reading; satisfies `OpenFile`."""

    entry: Entry
    reader: LocalReader

    @property
    def size_bytes(self) -> int:
        """How many bytes `chunks` yields."""
        return self.reader.size_bytes

    @property
    def region(self) -> Region | None:
        """Where the bytes lie."""
        return self.reader.region

    @property
    def modified_at(self) -> datetime | None:
        """When the source stored it."""
        return self.entry.modified_at

    def chunks(self) -> AsyncIterator[bytes]:
        """Read the bytes once."""
        return self.reader.chunks()

    async def close(self) -> None:
        """Let go of the file."""
        await self.reader.close()


class ModelCache:
    """
    Model files by name, bounded in size; what was read longest ago makes room.

    Args:
        root: Created if absent.
        bytes_max: Of all files together.
    """

    def __init__(self, root: Path, *, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._entries = root / "entries"
        self._entries.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._blobs = LocalBlobs(root / "files")
        self._verified: set[str] = set()
        self._making_room = asyncio.Lock()
        self._coming_bytes = 0

    async def open(self, name: str, entry: Entry) -> CachedFile | None:
        """
        Open a file, None if it is not here, or not what it was; whoever gets it closes it.

        Args:
            name: Under which it was added.
            entry: What the source says of it.
        """
        path = self._path(name)
        kept = await asyncio.to_thread(_read, path)
        if kept is None:
            return None
        try:
            if kept.blob not in self._verified:
                await self._verify(kept)
                self._verified.add(kept.blob)
            reader = await self._blobs.open(kept.blob, size_bytes=kept.size_bytes)
        except (BlobMissing, InternalError):
            await asyncio.to_thread(path.unlink, True)
            return None
        with suppress(OSError):
            await asyncio.to_thread(os.utime, path)
        return CachedFile(entry, reader)

    async def add(self, name: str, file: OpenFile, *, md5: str) -> bool:
        """
        Fetch a file; return whether it is here now.

        It is not if there is no room beside what is being fetched, or its MD5 is another one.

        Raises:
            AlgoriumError: The source or the disk fails.
        """
        if self._coming_bytes + file.size_bytes > self.bytes_max:
            return False
        self._coming_bytes += file.size_bytes
        try:
            async with self._making_room:
                await self._blobs.delete(*await asyncio.to_thread(self._evict, self._coming_bytes))
            return await self._fetch(name, file, md5=md5)
        finally:
            self._coming_bytes -= file.size_bytes

    async def _fetch(self, name: str, file: OpenFile, *, md5: str) -> bool:
        stored = await self._blobs.write(file.chunks())
        if stored.md5 != md5 or stored.size_bytes != file.size_bytes:
            await self._blobs.delete(stored.key)
            return False
        kept = _Kept(stored.key, stored.size_bytes, stored.md5, stored.checksum)
        await asyncio.to_thread(write_file, self._path(name), msgspec.json.encode(kept).decode())
        self._verified.add(stored.key)
        return True

    async def sweep(self) -> None:
        """Remove files that no entry names: what was evicted, and what crashes have left."""
        kept = await asyncio.to_thread(self._all)
        live = {each.blob for _, each in kept}
        await self._blobs.sweep(live, before=datetime.now(UTC) - _SWEEP_GRACE)

    def close(self) -> None:
        """Wait for the file work under way."""
        self._blobs.close()

    async def _verify(self, kept: _Kept) -> None:
        """Raise if a file is not what was stored."""
        try:
            checksum = Checksum.like(kept.checksum)
        except UnknownChecksum as error:
            raise InternalError("an older cache entry", detail=kept.checksum) from error
        reader = await self._blobs.open(kept.blob, size_bytes=kept.size_bytes)
        try:
            async for piece in reader.chunks():
                await asyncio.to_thread(checksum.update, piece)
        finally:
            await reader.close()
        if str(checksum) != kept.checksum:
            raise InternalError("a cached file is damaged", detail=kept.blob)

    def _evict(self, needed_bytes: int) -> list[str]:
        """Remove entries, read longest ago first, until there is room; return their blobs."""
        evicted: list[str] = []
        kept = self._all()
        total_bytes = sum(each.size_bytes for _, each in kept)
        for path, each in sorted(kept, key=lambda pair: _read_at(pair[0])):
            if total_bytes + needed_bytes <= self.bytes_max:
                break
            path.unlink(missing_ok=True)
            evicted.append(each.blob)
            self._verified.discard(each.blob)
            total_bytes -= each.size_bytes
        return evicted

    def _all(self) -> list[tuple[Path, _Kept]]:
        paths = (path for path in self._entries.iterdir() if not path.name.startswith("."))
        found = ((path, _read(path)) for path in paths)
        return [(path, kept) for path, kept in found if kept is not None]

    def _path(self, name: str) -> Path:
        return self._entries / hashlib.sha256(name.encode()).hexdigest()


def _read(path: Path) -> _Kept | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Kept)
    except (OSError, msgspec.DecodeError):
        return None


def _read_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
