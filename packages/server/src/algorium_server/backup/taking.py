"""
Taking a backup of a home directory, while a server runs on it or not.

    1. What must not be newer than the database is copied: the journal of usage, checkpoints.
    2. The home directory is held (`holding`): from now on bytes that rows point to stay.
    3. The database is copied as it is at one moment.
    4. Everything else is copied (`contents`): what the rows of that moment need is there.

What was acknowledged before the backup began is in it. What comes meanwhile may be in it, too: a
commit whose build is not, a blob without a row; nothing that a crash could not leave as well.

Everything here blocks.
"""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO, Final

from blake3 import blake3

from algorium_server.backup.archives import Writing, writing
from algorium_server.backup.contents import (
    BACKUPS_DIR,
    BLOBS_DIR,
    DATABASE_FILE,
    Source,
    contents,
    early_contents,
)
from algorium_server.backup.databases import copy_sqlite, dump_postgresql, missing_blobs
from algorium_server.backup.records import (
    FORMAT,
    HEADER_NAME,
    Entry,
    Header,
    Sum,
    encode_line,
)
from algorium_server.backup.rooms import room_beside
from algorium_server.domain.errors import InvalidInput, OutOfSpace, Unavailable
from algorium_server.holding import held
from algorium_server.store.engines import sqlite_path

DUMP_FILE: Final = "algorium.pgdump"
WITHOUT_KEYS: Final = (
    "keys: secrets of algorithms, credentials of connectors, of source hosts and of package"
    " indexes cannot be opened"
)
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """
    What is to be backed up.

    Attributes:
        home: The home directory.
        database_url: Where the database is.
        schema: Revision of a PostgreSQL database; of SQLite it is read with the copy.
        bucket: Where larger files are, if not in the home directory.
        has_keys: With the keys that open secrets.
        is_linking: Let files that never change be links, where that is possible.
    """

    home: Path
    database_url: str
    schema: str = ""
    bucket: str = ""
    has_keys: bool = True
    is_linking: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """
    What came of it.

    Attributes:
        missing: Blobs that rows name and that were not there before either; the first of them.
    """

    target: Path
    header: Header
    files: int
    bytes: int
    missing: tuple[str, ...] = ()
    missing_count: int = 0


def take(
    wanted: Wanted,
    target: Path,
    *,
    now: datetime,
    on_progress: OnProgress = lambda _files, _bytes: None,
) -> Taken:
    """
    Take a backup.

    Args:
        wanted: Of what.
        target: The archive or directory to be made; see `archives`.
        now: The time.
        on_progress: Told now and then how many files and bytes are copied.

    Raises:
        InvalidInput: The target exists, or cannot be one.
        Unavailable: Something cannot be read or written, or another backup is running.
        OutOfSpace: The disk is full.
    """
    target = target.absolute()
    _check_outside(target, wanted.home)
    with writing(target) as written:
        try:
            return _Taking(wanted, target, written, on_progress).run(now)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise OutOfSpace("there is no room for the backup") from error
            raise Unavailable(f"the backup failed: {error}") from error


def _check_outside(target: Path, home: Path) -> None:
    """Refuse what would be part of the next backup."""
    home = home.resolve()
    parent = target.parent.resolve()
    if parent.is_relative_to(home) and not parent.is_relative_to(home / BACKUPS_DIR):
        raise InvalidInput(f"{target} is in the home directory: keep backups elsewhere")


@dataclass(slots=True)
class _Taking:
    wanted: Wanted
    target: Path
    written: Writing
    on_progress: OnProgress
    count: int = 0
    entries: int = 0
    bytes: int = 0
    digest: blake3 = field(default_factory=blake3)
    blobs: set[str] = field(default_factory=set)

    def run(self, now: datetime) -> Taken:
        # Beside the target: there must be room for all of it there anyway.
        with (
            room_beside(self.target.parent) as scratch,
            tempfile.TemporaryFile(dir=scratch) as manifest,
        ):
            early = list(_set_aside(early_contents(self.wanted.home), scratch / "early"))
            with held(self.wanted.home):
                copy, header = self._copy_database(scratch, now)
                self.written.add_text(HEADER_NAME, encode_line(header))
                self._add(Source(copy.name, copy), manifest)
                for source in early:
                    self._add(source, manifest)
                for source in contents(
                    self.wanted.home,
                    has_keys=self.wanted.has_keys,
                    has_blobs=not self.wanted.bucket,
                ):
                    self._add(source, manifest)
            last = Sum(entries=self.entries, bytes=self.bytes, digest=self.digest.hexdigest())
            manifest.write(encode_line(last))
            manifest.seek(0)
            self.written.add_manifest(manifest)
            missing: list[str] = []
            if header.database == "sqlite" and not self.wanted.bucket:
                missing = missing_blobs(copy, self.blobs)
        return Taken(
            target=self.target,
            header=header,
            files=self.count,
            bytes=self.bytes,
            missing=tuple(missing[:10]),
            missing_count=len(missing),
        )

    def _copy_database(self, scratch: Path, now: datetime) -> tuple[Path, Header]:
        source = sqlite_path(self.wanted.database_url)
        schema = self.wanted.schema
        if source is not None:
            copy = scratch / DATABASE_FILE
            schema = copy_sqlite(source, copy)
        else:
            copy = scratch / DUMP_FILE
            dump_postgresql(self.wanted.database_url, copy)
        header = Header(
            format=FORMAT,
            version=version("algorium-server"),
            schema=schema,
            made_at=now.isoformat(),
            database="sqlite" if source is not None else "postgresql",
            left_out=() if self.wanted.has_keys else (WITHOUT_KEYS,),
            storage=self.wanted.bucket,
        )
        return copy, header

    def _add(self, source: Source, manifest: BinaryIO) -> None:
        entry = self._copied(source)
        if entry is None:
            return
        line = encode_line(entry)
        manifest.write(line)
        self.digest.update(line)
        self.entries += 1
        self.bytes += entry.size
        if entry.kind == "file":
            self.count += 1
            if source.path.startswith(f"{BLOBS_DIR}/"):
                self.blobs.add(source.path.rpartition("/")[2])
        self.on_progress(self.count, self.bytes)

    def _copied(self, source: Source) -> Entry | None:
        """Copy something, and return its line; None if it is gone."""
        path = source.path
        try:
            status = source.file.lstat()
            if stat.S_ISDIR(status.st_mode):
                mode = status.st_mode & 0o777
                self.written.add_directory(path, mode)
                return Entry(path=path, kind="directory", mode=mode)
            if stat.S_ISLNK(status.st_mode):
                link = os.readlink(source.file)
                self.written.add_link(path, link)
                return Entry(path=path, kind="link", target=link)
            descriptor = os.open(source.file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            digest = ""
            if not self._linked(source):
                digested = _Digesting(file)
                self.written.add_file(path, digested, status)  # type: ignore[arg-type] # reads only
                digest = digested.digest.hexdigest()
        return Entry(
            path=path,
            mode=status.st_mode & 0o777,
            mtime_ns=status.st_mtime_ns,
            size=status.st_size,
            digest=digest,
        )

    def _linked(self, source: Source) -> bool:
        is_wanted = self.wanted.is_linking and source.is_immutable
        return is_wanted and self.written.link_file(source.path, source.file)


class _Digesting:
    """A file whose bytes are digested while they are read."""

    def __init__(self, file: BinaryIO) -> None:
        self.digest = blake3()
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """Read some bytes."""
        data = self._file.read(size)
        self.digest.update(data)
        return data


def _set_aside(sources: Iterable[Source], aside: Path) -> Iterable[Source]:
    """Copy what may be gone soon, and yield the copies."""
    aside.mkdir()
    for number, source in enumerate(sources):
        copy = aside / str(number)
        try:
            if source.file.is_dir():
                copy.mkdir()
                shutil.copystat(source.file, copy)
            else:
                shutil.copy2(source.file, copy)
        except FileNotFoundError:
            continue
        yield Source(source.path, copy)
