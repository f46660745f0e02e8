"""Whole directories up, down and across: transfers of everything below one place to another."""

import contextlib
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from algorium import _data_flow
from algorium._content import FileSpan
from algorium._copies import copy
from algorium._downloads import DownloadWish, download
from algorium._errors import InvalidInput, InvalidRequest, PathNotFound
from algorium._file_headers import FileStat
from algorium._steps import Local, Together, Transfer
from algorium._trees import (
    Names,
    Place,
    Tree,
    TreeFile,
    deepest_first,
    inside,
    is_surely_same,
    scan,
)
from algorium._uploads import UploadWish, upload
from algorium.wire.uris import DataUri

_MADE_FOR: Final = frozenset({"data"})
"""Sources whose directories must exist before a file goes into them. Others know none, or make
them on their own; there only empty ones are made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorWish:
    """
    How to bring a directory to another place.

    Attributes:
        skip_same: Leave out files that are there already.
        checksum: Compare digests of all files of the same size, not only where times leave doubt.
        delete: Delete what the source does not have.
        moves: Delete from the source, on the server, what has arrived.
        dry_run: Change nothing, and tell what would be.
        download: How files come down; its meter counts all of them, up or down.
    """

    skip_same: bool = True
    checksum: bool = False
    delete: bool = False
    moves: bool = False
    dry_run: bool = False
    download: DownloadWish = field(default_factory=DownloadWish)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReport:
    """
    What was done to a directory, or would be.

    Attributes:
        copied: Files that were copied: paths below the directory, sorted.
        deleted: Files and directories that were deleted, sorted.
        unchanged_count: Files that were there already.
        copied_bytes: Size of all that was copied.
    """

    copied: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    unchanged_count: int = 0
    copied_bytes: int = 0


def mirror(source: Place, target: Place, wish: MirrorWish) -> Transfer[SyncReport]:
    """
    Bring everything below *source* to *target*; at most one of the two is local.

    The first error ends it. What is through by then stays, so that doing it again goes on.

    Raises:
        PathNotFound, FileNotFoundError: There is no directory *source*.
        AlreadyExists: What is a file in one place is a directory in the other.
    """
    _check_apart(source, target, wish)
    theirs = yield from scan(source)
    if not theirs.exists:
        raise _no_directory(source)
    ours = yield from scan(target)
    theirs.check_against(ours)
    if wish.delete and ours.files and not theirs.files:
        raise InvalidInput(
            f"{source} is empty, so everything in {target} would be deleted.",
            hint="Is it the right one? If that is what you want, delete the directory itself.",
        )
    ahead_s = 0.0
    if isinstance(source, Path) and ours.files and wish.skip_same:
        ahead_s = yield from _server_ahead_s()
    return (yield from _Mirror(source, target, theirs, ours, wish, ahead_s=ahead_s).run())


def _server_ahead_s() -> Transfer[float]:
    """
    Return by how much at most the server's clock is ahead of ours.

    With a clock that is minutes ahead, a file that is changed within these minutes would seem to be
    older than its copy.
    """
    before_s: float = yield Local(time.time)  # not after: the answer may have been on its way long
    told: datetime | None = yield _data_flow.clock()
    if told is None:
        return 0.0
    return max(told.timestamp() + 1 - before_s, 0.0)  # it tells whole seconds


class _Mirror:
    """Brings one tree to another place."""

    def __init__(
        self,
        source: Place,
        target: Place,
        theirs: Tree,
        ours: Tree,
        wish: MirrorWish,
        *,
        ahead_s: float,
    ) -> None:
        self._source, self._target = source, target
        self._theirs, self._ours = theirs, ours
        self._wish, self._meter = wish, wish.download.meter
        self._ahead_s = ahead_s
        self._copied: list[Names] = []  # appended to from several threads, which lists allow
        self._deleted: list[Names] = []

    def run(self) -> Transfer[SyncReport]:
        self._meter.expect_files(len(self._theirs.files), self._theirs.size_bytes)
        if not self._wish.dry_run:
            yield from self._make_directories()
        if self._theirs.files:
            yield Together(self._files())
        if self._wish.delete:
            yield Together(self._deletions())
            yield from self._delete_directories()
        if self._wish.moves:
            yield from self._leave()
        return SyncReport(
            copied=tuple(sorted("/".join(names) for names in self._copied)),
            deleted=tuple(sorted("/".join(names) for names in self._deleted)),
            unchanged_count=len(self._theirs.files) - len(self._copied),
            copied_bytes=sum(self._theirs.files[names].size_bytes for names in self._copied),
        )

    def _make_directories(self) -> Transfer[None]:
        missing = self._theirs.directories - self._ours.directories
        if not self._ours.exists:
            missing.add(())
        if isinstance(self._target, DataUri) and self._target.protocol not in _MADE_FOR:
            full = {names[:-1] for names in (*self._theirs.files, *self._theirs.directories)}
            missing -= full | {()}
        for names in reversed(list(deepest_first(missing))):
            place = inside(self._target, names)
            if isinstance(place, Path):
                yield Local(partial(place.mkdir, parents=True, exist_ok=True))
            elif place.segments:
                yield _data_flow.create(place, None, exist_ok=True)

    def _files(self) -> Iterator[Transfer[None]]:
        for names in sorted(self._theirs.files):
            yield self._file(names)

    def _file(self, names: Names) -> Transfer[None]:
        file = self._theirs.files[names]
        there = self._ours.files.get(names)
        if (
            there is not None
            and self._wish.skip_same
            and (yield from self._is_same(names, file, there))
        ):
            self._meter.add(file.size_bytes)
            self._meter.finish_file()
            return
        self._copied.append(names)
        if self._wish.dry_run:
            return
        source, target = inside(self._source, names), inside(self._target, names)
        if isinstance(source, Path):
            assert isinstance(target, DataUri)
            yield from upload(source, target, UploadWish(meter=self._meter))
        elif isinstance(target, Path):
            yield from download(
                source,
                target,
                replace(self._wish.download, keeps_time=True, may_name_directory=False),
            )
        else:
            yield from copy(source, target, is_move=self._wish.moves)
            self._meter.add(file.size_bytes)
            self._meter.finish_file()

    def _is_same(self, names: Names, file: TreeFile, there: TreeFile) -> Transfer[bool]:
        if file.size_bytes != there.size_bytes:
            return False
        is_surely = is_surely_same(
            file, there, is_download=isinstance(self._target, Path), ahead_s=self._ahead_s
        )
        if is_surely and not self._wish.checksum:
            return True
        source = yield from _digest(inside(self._source, names), file.size_bytes)
        target = yield from _digest(inside(self._target, names), there.size_bytes)
        if source and target:
            return source == target
        # Some sources know no digests. A file that came from there has its time to this second.
        return not self._wish.checksum and file.modified_s == there.modified_s is not None

    def _deletions(self) -> Iterator[Transfer[None]]:
        for names in sorted(self._ours.files.keys() - self._theirs.files.keys()):
            yield self._delete(names)

    def _delete(self, names: Names) -> Transfer[None]:
        self._deleted.append(names)
        if self._wish.dry_run:
            return
        place = inside(self._target, names)
        if isinstance(place, Path):
            yield Local(partial(place.unlink, missing_ok=True))
            return
        with contextlib.suppress(PathNotFound):
            yield _data_flow.delete(place)

    def _leave(self) -> Transfer[None]:
        """Delete the directories that everything was moved out of."""
        for names in deepest_first(self._theirs.directories | {()}):
            place = inside(self._source, names)
            assert isinstance(place, DataUri)
            # Not if somebody has put something into it meanwhile.
            with contextlib.suppress(PathNotFound, InvalidInput, InvalidRequest):
                yield _data_flow.delete(place, force=False)

    def _delete_directories(self) -> Transfer[None]:
        for names in deepest_first(self._ours.directories - self._theirs.directories):
            place = inside(self._target, names)
            if isinstance(place, Path):
                if not self._wish.dry_run:
                    yield Local(place.rmdir)
            elif not self._wish.dry_run:
                # Where directories are but a way to write names, it went with its last file.
                with contextlib.suppress(PathNotFound):
                    yield _data_flow.delete(place, force=False)
            self._deleted.append(names)


def _digest(place: Place, size_bytes: int) -> Transfer[str]:
    """Return the MD5 of a file, empty where that is not known or not of the file that was seen."""
    if isinstance(place, Path):
        span = FileSpan(path=place, start=0, size_bytes=size_bytes)
        md5: str = yield Local(lambda: _md5(span))
        return md5
    try:
        told: tuple[FileStat, bool] = yield _data_flow.stat(place)
    except PathNotFound:
        return ""
    return told[0].md5 if told[0].size_bytes == size_bytes else ""


def _md5(span: FileSpan) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for piece in span.pieces():
        digest.update(piece)
    return digest.hexdigest()


def _check_apart(source: Place, target: Place, wish: MirrorWish) -> None:
    """
    Refuse what would delete what is to be kept.

    Raises:
        ValueError: One is in the other, or the target holds a home directory.
    """
    if source == target:
        raise ValueError(f"{source} cannot be brought to itself")
    if not (wish.delete or wish.moves):
        return
    if isinstance(source, DataUri) and isinstance(target, DataUri):
        shorter, longer = sorted((source, target), key=lambda uri: len(uri.segments))
        if shorter == longer.at(longer.segments[: len(shorter.segments)]):
            raise ValueError(f"{longer} is within {shorter}: it would be moved or deleted, too")
    if isinstance(target, Path) and Path.home().resolve().is_relative_to(target.resolve()):
        raise ValueError(f"{target.resolve()} holds your home directory: nothing is deleted there")


def _no_directory(place: Place) -> Exception:
    if isinstance(place, Path):
        return FileNotFoundError(f"{place} is no directory")
    return PathNotFound(f"there is no directory {place}")
