"""
Files down: transfers of one file from the server to this machine.

A large file comes in parts, side by side, all asked for by the entity tag of one version: if
another has taken its place meanwhile, the download begins again, so two are never mixed. What
arrived before it was cut off waits beside the new file (`_landing.py`).
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Final

from algorium import _data_flow
from algorium._errors import (
    ConditionFailed,
    ConnectionLost,
    ContentMismatch,
    RangeNotSatisfiable,
    ResponseTimeout,
)
from algorium._file_headers import FileStat, Part, check_md5, extent_of, stat_of
from algorium._landing import Landing
from algorium._messages import Response
from algorium._progress import Meter
from algorium._retry import pause_after
from algorium._steps import Fetch, Local, Sink, Together, Transfer
from algorium.wire.uris import DataUri

DOWNLOAD_PART_BYTES: Final = 8 * 1024 * 1024
"""A file of this size comes with one request; the first part of a larger one goes ahead alone."""

_VERSIONS_MAX: Final = 5
"""How often a download begins again because the file has changed meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadWish:
    """
    How to download a file.

    Attributes:
        verify: Compare with the digest that the server tells, if it does.
        keeps_time: The local file gets the time of the one on the server.
        retries_max: How often to go on after a cut without a byte having come in between.
        may_name_directory: The path may be an existing directory to put the file into.
    """

    verify: bool = True
    keeps_time: bool = False
    may_name_directory: bool = True
    retries_max: int = 2
    meter: Meter = field(default_factory=Meter)


class _Changed(Exception):
    """The file on the server is not the one any more that this download began with."""


def download(uri: DataUri, path: Path, wish: DownloadWish) -> Transfer[tuple[Path, FileStat]]:
    """
    Write a local file from one on the server; return its path, and which version it is.

    Args:
        uri: The file on the server.
        path: The new file, or an existing directory to put it into under its own name.
        wish: How.

    Raises:
        PathNotFound: There is no such file on the server.
        ContentMismatch: What arrived is not what the server has.
        OSError: The local file cannot be written.
    """
    name = uri.name if wish.may_name_directory else ""
    landing: Landing = yield Local(lambda: Landing(path, name=name))
    for _ in range(_VERSIONS_MAX):
        try:
            return (yield from _Download(uri, landing, wish).run())
        except _Changed:
            continue
    raise ConditionFailed(
        f"{uri} changed each time while it was downloaded, {_VERSIONS_MAX} times.",
        hint="Try again when nobody writes it.",
    )


class _Download:
    """One attempt at one version of a file."""

    def __init__(self, uri: DataUri, landing: Landing, wish: DownloadWish) -> None:
        self._uri = uri
        self._landing = landing
        self._wish = wish
        self._stat = FileStat()
        self._is_whole = False
        self._first_end = 0
        self._received = 0
        self._came_bytes = 0  # to be taken back from the meter if it was in vain
        self._counting = threading.Lock()

    def run(self) -> Transfer[tuple[Path, FileStat]]:
        keep = False
        try:
            yield from self._first()
            if not self._is_whole:
                yield from self._others()
            yield from self._verified()
            modified_at = self._stat.modified_at if self._wish.keeps_time else None
            seconds = None if modified_at is None else modified_at.timestamp()
            path: Path = yield Local(lambda: self._landing.commit(modified_at_s=seconds))
        except (_Changed, ContentMismatch):
            self._wish.meter.add(-self._came_bytes)
            raise
        except BaseException:  # cut off, or given up: the next attempt goes on from here
            keep = True
            raise
        finally:
            self._landing.abandon(keep=keep)
        self._wish.meter.finish_file()
        return path, self._stat

    def _first(self) -> Transfer[None]:
        """Fetch the first part, or all of it from a server or a source that has no parts."""
        part = Part(start=0, end=DOWNLOAD_PART_BYTES)
        try:
            yield Fetch(_data_flow.get(self._uri, is_streamed=True, part=part), self._begin)
        except RangeNotSatisfiable:  # an empty file has no first part
            pass
        except (ConnectionLost, ResponseTimeout):
            if not (self._landing.is_open and self._is_one_version):
                raise
        if not self._landing.is_open:  # or the part is of no version that has a name
            yield Fetch(_data_flow.get(self._uri, is_streamed=True), self._begin_whole)
        elif not self._is_whole:
            yield from self._piece(0, self._received, self._first_end)

    @property
    def _is_one_version(self) -> bool:
        """Whether further parts of the same version can be asked for."""
        return bool(self._stat.etag) and not self._stat.etag.startswith("W/") and not self._is_whole

    @property
    def _is_verified(self) -> bool:
        return self._wish.verify and bool(self._stat.md5)

    def _begin(self, response: Response) -> Sink:
        extent = extent_of(response)
        if extent is None:
            return self._begin_whole(response)
        if extent.start != 0:
            raise ContentMismatch(f"{self._uri}: the server sent another part than was asked for.")
        self._stat = stat_of(response.headers)
        is_all = extent.end == extent.total_bytes
        if not is_all and not self._is_one_version:
            return _discard
        self._first_end = min(extent.total_bytes, DOWNLOAD_PART_BYTES)
        # Only what a digest vouches for at the end is gone on with later.
        can_resume = self._is_verified and not is_all
        self._landing.open(
            total_bytes=extent.total_bytes,
            piece_bytes=DOWNLOAD_PART_BYTES,
            version=f"{self._uri}\n{self._stat.etag}\n{self._stat.md5}" if can_resume else "",
            is_hashed=self._is_verified,
        )
        self._wish.meter.expect(extent.total_bytes)

        def sink(piece: bytes) -> None:
            if self._received + len(piece) > extent.end:
                raise ContentMismatch(f"{self._uri}: the server sent more than it announced.")
            self._landing.write_at(self._received, piece)
            self._received += len(piece)
            self._count(len(piece))

        return sink

    def _begin_whole(self, response: Response) -> Sink:
        self._is_whole = True
        self._stat = stat_of(response.headers)
        self._landing.open(is_hashed=self._is_verified)
        if self._stat.size_bytes is not None:
            self._wish.meter.expect(self._stat.size_bytes)

        def sink(piece: bytes) -> None:
            self._landing.append(piece)
            self._count(len(piece))

        return sink

    def _count(self, size_bytes: int) -> None:
        with self._counting:
            self._came_bytes += size_bytes
        self._wish.meter.add(size_bytes)

    def _others(self) -> Transfer[None]:
        """Fetch all parts but the first."""
        self._count(self._landing.done_bytes - self._first_end)
        # One by one: a server may claim any size, and a list of all pieces would take memory for it
        # before a byte has come.
        missing = self._landing.missing()
        if (one := next(missing, None)) is not None:
            yield Together(self._piece(*piece) for piece in chain([one], missing))

    def _piece(self, number: int, position: int, end: int) -> Transfer[None]:
        failures = 0
        while position < end:
            came = _Cursor(position)
            try:
                part = Part(start=position, end=end, etag=self._stat.etag)
                yield Fetch(
                    _data_flow.get(self._uri, is_streamed=True, part=part), self._beginner(came)
                )
            except RangeNotSatisfiable as error:  # it has become shorter
                raise _Changed from error
            except (ConnectionLost, ResponseTimeout):
                failures = 0 if came.position > position else failures + 1
                if failures > self._wish.retries_max:
                    raise
                yield pause_after(failures)
            else:
                if came.position == position:
                    raise ContentMismatch(f"{self._uri}: the server sent an empty part.")
            position = came.position
        yield Local(lambda: self._landing.finish(number))

    def _beginner(self, cursor: "_Cursor") -> Callable[[Response], Sink]:
        def begin(response: Response) -> Sink:
            extent = extent_of(response)
            told = stat_of(response.headers)
            if extent is None or (told.etag or self._stat.etag) != self._stat.etag:
                raise _Changed
            if extent.start != cursor.position or extent.total_bytes != self._landing.total_bytes:
                raise ContentMismatch(
                    f"{self._uri}: the server sent another part than was asked for."
                )
            return cursor.sink(extent.end, self._landing, self._count)

        return begin

    def _verified(self) -> Transfer[None]:
        if not self._is_verified:
            return
        md5: str = yield Local(self._landing.md5)
        if md5 == self._stat.md5:
            return
        if self._landing.is_continued:  # what an earlier attempt left is damaged: do without it
            raise _Changed
        check_md5(self._uri, self._stat.md5, md5)


class _Cursor:
    """Where in the file the next bytes go, up to the end of what was announced."""

    def __init__(self, position: int) -> None:
        self.position = position

    def sink(self, end: int, landing: Landing, count: Callable[[int], None]) -> Sink:
        """Return what takes the bytes; more than were announced would overwrite the next part."""

        def sink(piece: bytes) -> None:
            if self.position + len(piece) > end:
                raise ContentMismatch("The server sent more than it announced.")
            landing.write_at(self.position, piece)
            self.position += len(piece)
            count(len(piece))

        return sink


def _discard(piece: bytes) -> None:
    """Take bytes that are of no use."""
