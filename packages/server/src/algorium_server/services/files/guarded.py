"""
A connected source as far as its connector opens it, kept open for as long as it is used.

What is outside the path of the connector is refused, listings included, and so is every change
unless it is writeable.

Source: wire specification, "Connectors".
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from algorium_server.data.connector import Connector, Entry, OpenFile, Page, Path, Span
from algorium_server.domain.conditions import ALWAYS, Condition
from algorium_server.domain.connectors import StoredConnector
from algorium_server.domain.errors import NotAuthorized
from algorium_server.domain.limits import SOURCE_SMALL_BYTES_MAX


class Source(Connector, Protocol):
    """A source with connections of its own."""

    async def close(self) -> None:
        """Let go of all connections once they are not used any more."""
        ...


@dataclass(slots=True, kw_only=True)
class Opened:
    """
    A source with its connections.

    Attributes:
        until_s: Monotonic seconds; then it is opened anew.
        room: For long uploads to all sources.
        own_room: For those of one account among them.
        users: Operations under way, and files being read.
        is_retired: It goes with the last of them.
    """

    source: Source
    until_s: float
    room: asyncio.Semaphore
    own_room: asyncio.Semaphore
    users: int = 0
    is_retired: bool = False

    @asynccontextmanager
    async def uploading(self, size_bytes: int | None) -> AsyncIterator[None]:
        """Wait until an upload may be read; a long one holds several of its parts in memory."""
        if size_bytes is not None and size_bytes <= SOURCE_SMALL_BYTES_MAX:
            yield
            return
        async with self.own_room, self.room:
            yield

    async def retire(self) -> None:
        """Close it as soon as nobody uses it any more."""
        self.is_retired = True
        if not self.users:
            await self.source.close()

    async def release(self) -> None:
        """Stop using it."""
        self.users -= 1
        if self.is_retired and not self.users:
            await self.source.close()


class Guarded:
    """
    A source as far as a connector opens it; see `Connector` for what its methods do.

    Args:
        stored: The connector.
        hold: Returns its source, to be released.
    """

    def __init__(self, stored: StoredConnector, hold: Callable[[], Awaitable[Opened]]) -> None:
        self._stored = stored
        self._hold = hold

    async def stat(self, path: Path) -> Entry:
        """Tell what is at *path*."""
        self._check(path, is_directory=True)
        async with self._using() as source:
            entry = await source.stat(path)
        if not entry.is_directory:
            self._check(path)
        return entry

    async def page(self, path: Path, *, marker: str = "") -> Page:
        """List a directory: what of it is open."""
        self._check(path, is_directory=True)
        async with self._using() as source:
            page = await source.page(path, marker=marker)
        opens = self._stored.opens
        return Page(
            folders=tuple(
                name for name in page.folders if opens(_joined(path, name), is_directory=True)
            ),
            files=tuple(entry for entry in page.files if opens(_joined(path, entry.name))),
            marker=page.marker,
        )

    async def open(self, path: Path, *, span: Span | None = None) -> OpenFile:
        """Open a file for reading."""
        self._check(path)
        opened = await self._hold()
        try:
            return HeldFile(await opened.source.open(path, span=span), opened)
        except BaseException:
            await opened.release()
            raise

    async def write(
        self,
        path: Path,
        chunks: AsyncIterator[bytes],
        *,
        condition: Condition = ALWAYS,
        size_bytes: int | None = None,
    ) -> Entry:
        """Store a file, or replace it."""
        self._check(path, is_change=True)
        opened = await self._hold()
        try:
            async with opened.uploading(size_bytes):
                return await opened.source.write(
                    path, chunks, condition=condition, size_bytes=size_bytes
                )
        finally:
            await opened.release()

    async def create_directory(self, path: Path) -> None:
        """Create a directory."""
        self._check(path, is_directory=True, is_change=True)
        async with self._using() as source:
            await source.create_directory(path)

    async def delete(self, path: Path, *, is_forced: bool, condition: Condition = ALWAYS) -> int:
        """Delete a file, or a directory with what is in it."""
        self._check(path, is_directory=True, is_change=True)
        stored, text = self._stored, "/".join(path)
        opens_all_below = stored.path.endswith("*") and stored.opens(text, is_directory=True)
        async with self._using() as source:
            if not (opens_all_below and stored.opens(text)):
                entry = await source.stat(path)
                self._check(path, is_directory=entry.is_directory)
                if entry.is_directory and is_forced and not opens_all_below:
                    raise NotAuthorized(
                        "the connector opens only some of what is in this directory"
                    )
            return await source.delete(path, is_forced=is_forced, condition=condition)

    @asynccontextmanager
    async def _using(self) -> AsyncIterator[Source]:
        opened = await self._hold()
        try:
            yield opened.source
        finally:
            await opened.release()

    def _check(self, path: Path, *, is_directory: bool = False, is_change: bool = False) -> None:
        stored = self._stored
        if is_change and not stored.is_writeable:
            raise NotAuthorized("the connector is read-only")
        if not stored.opens("/".join(path), is_directory=is_directory):
            raise NotAuthorized(f"the connector opens {stored.path} only")


class HeldFile:
    """
    An open file that keeps its source open; see `OpenFile`.

    Args:
        file: The file.
        opened: Its source, in use.
    """

    def __init__(self, file: OpenFile, opened: Opened) -> None:
        self.entry = file.entry
        self.size_bytes = file.size_bytes
        self.modified_at = file.modified_at
        self.chunks = file.chunks
        self._file = file
        self._opened: Opened | None = opened

    async def close(self) -> None:
        """Let go of the file and its source; idempotent."""
        opened, self._opened = self._opened, None
        if opened is None:
            return
        try:
            await self._file.close()
        finally:
            await opened.release()


def _joined(path: Path, name: str) -> str:
    return "/".join((*path, name))
