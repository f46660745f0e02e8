"""
Logs of builds, read while they are written, and afterwards just the same.

    HOME/logs/builds/BUILD_ID.log    while the build is in progress; for every gateway of the home

A place in the file is the same place in the log that the database keeps, so a reader goes on where
it was when the build ends, when the server is replaced, or when its connection breaks. Readers look
into the file by themselves: a slow one holds up nobody.

Source: wire specification, "Builds".
"""

import asyncio
import os
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from algorium_server.build.build_log import BuildLog
from algorium_server.domain.algorithms import BuildStatus
from algorium_server.domain.errors import BuildNotFound
from algorium_server.domain.limits import (
    BUILD_FOLLOW_BYTES_MAX,
    BUILD_FOLLOW_IDLE_S,
    BUILD_FOLLOWERS_MAX,
    BUILD_LOG_BYTES_MAX,
    BUILD_POLL_S,
)
from algorium_server.domain.quotas import busy
from algorium_server.services.directory import Directory
from algorium_server.store import algorithms as rows
from algorium_server.store.database import Database

_SUFFIX: Final = ".log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """
    Some of a log.

    Attributes:
        text: Whole lines where possible; empty says that nothing was said for a while.
        end_bytes: Where it ends, in bytes from the beginning of the log.
    """

    text: str
    end_bytes: int


class BuildLogs:
    """
    The logs of all builds of one home.

    Args:
        database: Where those of builds are that have ended.
        directory: Says which builds have ended.
        logs_dir: Where those of others are.
        log_bytes_max: Kept of one.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        logs_dir: Path,
        *,
        log_bytes_max: int = BUILD_LOG_BYTES_MAX,
    ) -> None:
        self._database = database
        self._directory = directory
        self._logs_dir = logs_dir
        self._log_bytes_max = log_bytes_max
        self._readers = 0

    def open(self, build_id: str) -> BuildLog:
        """Begin the log of a build, or go on where an earlier server had to stop."""
        return BuildLog(self._path(build_id), bytes_max=self._log_bytes_max)

    async def pieces(self, build_id: str, *, after_bytes: int = 0) -> AsyncIterator[Piece]:
        """
        Yield the log of a build until it ends, as it is said.

        Args:
            build_id: Which build; it may wait, run, or have ended long ago.
            after_bytes: Where to begin.

        Raises:
            BuildNotFound: There is none, or its algorithm was deleted meanwhile.
            TooManyRequests: Too many read already.
        """
        if self._readers >= BUILD_FOLLOWERS_MAX:
            raise busy(f"{BUILD_FOLLOWERS_MAX} readers follow builds already")
        self._readers += 1
        try:
            async for piece in self._pieces(build_id, after_bytes):
                yield piece
        finally:
            self._readers -= 1

    async def sweep(self, in_progress: Collection[str]) -> None:
        """Remove the files of builds that have ended, or are gone."""
        await asyncio.to_thread(_sweep, self._logs_dir, frozenset(in_progress))

    async def _pieces(self, build_id: str, at: int) -> AsyncIterator[Piece]:
        loop = asyncio.get_running_loop()
        heard_at = loop.time()
        while True:
            build = self._directory.build(build_id)
            if build is None:
                raise BuildNotFound
            has_ended = build.status is not BuildStatus.IN_PROGRESS
            data = await self._stored(build_id, at) if has_ended else self._fresh(build_id, at)
            if text := _whole(data, is_last=has_ended and len(data) < BUILD_FOLLOW_BYTES_MAX):
                at += len(text)
                heard_at = loop.time()
                yield Piece(text=text.decode("utf-8", "replace"), end_bytes=at)
                continue
            if has_ended:
                return
            if loop.time() - heard_at >= BUILD_FOLLOW_IDLE_S:
                heard_at = loop.time()
                yield Piece(text="", end_bytes=at)
            await asyncio.sleep(BUILD_POLL_S)

    def _fresh(self, build_id: str, at: int) -> bytes:
        """Read what the build has said since; it may not have begun, or just have ended."""
        try:
            descriptor = os.open(self._path(build_id), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            return os.pread(descriptor, BUILD_FOLLOW_BYTES_MAX, at)
        finally:
            os.close(descriptor)

    async def _stored(self, build_id: str, at: int) -> bytes:
        async with self._database.reading() as connection:
            return await rows.part_of_log(
                connection, build_id, after_bytes=at, bytes_max=BUILD_FOLLOW_BYTES_MAX
            )

    def _path(self, build_id: str) -> Path:
        return self._logs_dir / f"{build_id}{_SUFFIX}"


def _whole(data: bytes, *, is_last: bool) -> bytes:
    """Cut what was read behind its last line, or at least not in the middle of a character."""
    if is_last or not data:
        return data
    end = data.rfind(b"\n") + 1
    if not end and len(data) == BUILD_FOLLOW_BYTES_MAX:
        end = len(data) - 1
        while data[end] & 0xC0 == 0x80:
            end -= 1
    return data[:end]


def _sweep(logs_dir: Path, in_progress: frozenset[str]) -> None:
    with suppress(FileNotFoundError):
        for path in logs_dir.iterdir():
            if path.name.removesuffix(_SUFFIX) not in in_progress:
                path.unlink(missing_ok=True)
