"""
Restoring a backup into an empty home directory, and checking one without restoring it.

The file `restoring` is there from the first step to the last, and no server starts while it is: a
restore that was interrupted is known for what it is. Every byte is compared with the manifest.
Files are made first, in directories that are made here; links come when all files are there; modes
that forbid writing come last. Whatever a hostile archive names, nothing is written anywhere else.

Everything here blocks.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
from blake3 import blake3

from algorium_server.backup.archives import Reading, reading
from algorium_server.backup.contents import DATABASE_FILE
from algorium_server.backup.databases import check_sqlite, restore_postgresql
from algorium_server.backup.records import (
    Entry,
    Header,
    check_path,
    decode_header,
    entries,
    quoted,
    unquoted,
)
from algorium_server.backup.rooms import remove_tree
from algorium_server.backup.taking import DUMP_FILE, OnProgress
from algorium_server.domain.errors import InvalidInput, OutOfSpace, Unavailable
from algorium_server.domain.limits import BACKUP_CHUNK_BYTES
from algorium_server.durable import flush_directory, write_file
from algorium_server.home import RESTORING_FILE, check_whole
from algorium_server.store import migrations

_UNPACKED_MODE: Final = 0o700
_MAY_BE_THERE: Final = frozenset({"lock", "lost+found"})
_ENVIRONMENTS_DIR: Final = "envs"


class _Read(msgspec.Struct, array_like=True):
    """What was really read of a file."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """
    What came of it.

    Attributes:
        unusable: Environments whose interpreter is not on this host, with the path it should have.
    """

    header: Header
    files: int
    bytes: int
    unusable: tuple[tuple[str, str], ...] = ()


def verify(source: Path, *, on_progress: OnProgress = lambda _files, _bytes: None) -> Restored:
    """
    Read a backup to its end, and compare everything with its manifest.

    Raises:
        InvalidInput: It is none, it is not whole, or something in it is damaged.
        Unavailable: It cannot be read.
    """
    with reading(source) as read, tempfile.TemporaryDirectory(prefix="algorium-") as scratch:
        header = decode_header(read.header())
        kept = Path(scratch, DATABASE_FILE)

        def keep(path: str, file: BinaryIO) -> _Read:
            # SQLite knows best whether its file is well; all others are only read.
            with (kept if path == DATABASE_FILE else Path(os.devnull)).open("wb") as copy:
                return _copy(path, file, copy)

        with tempfile.TemporaryFile() as manifest:
            files, size = _read_all(read, keep, manifest, on_progress)
        if header.database == "sqlite":
            check_sqlite(kept)
    return Restored(header=header, files=files, bytes=size)


def restore(
    source: Path,
    home: Path,
    *,
    database_url: str = "",
    on_progress: OnProgress = lambda _files, _bytes: None,
) -> Restored:
    """
    Restore a backup; the home directory is locked by the caller.

    Args:
        source: The backup.
        home: Empty.
        database_url: Of an empty PostgreSQL database, if the backup is of one.
        on_progress: Told now and then how many files and bytes there are.

    Raises:
        InvalidInput: The backup is none, is not whole or is damaged, or the home is not empty.
            What was unpacked is removed again.
        Unavailable: Something cannot be read or written, or a newer release wrote the backup.
        OutOfSpace: The disk is full.
    """
    home = Path(os.path.realpath(home))
    _check_empty(home)
    with reading(source) as read:
        header = decode_header(read.header())
        _check_fits(header, database_url)
        with _unfinished(home):
            files, size = _unpack(read, home, on_progress)
            if header.database == "postgresql":
                restore_postgresql(database_url, home / DUMP_FILE)
                (home / DUMP_FILE).unlink()
            else:
                check_sqlite(home / DATABASE_FILE)
            os.sync()  # thousands of files, once; the marker must not go before they are there
    (home / RESTORING_FILE).unlink()
    flush_directory(home)
    return Restored(header=header, files=files, bytes=size, unusable=tuple(_unusable(home)))


def _check_empty(home: Path) -> None:
    check_whole(home)
    if set(os.listdir(home)) - _MAY_BE_THERE:
        raise InvalidInput(f"{home} is not empty: a backup is restored into an empty directory")


def _check_fits(header: Header, database_url: str) -> None:
    if header.schema > migrations.HEAD:
        raise Unavailable(
            f"the backup was made by Algorium {header.version} (schema {header.schema}, this"
            f" release knows {migrations.HEAD}): restore it with that release"
        )
    if header.database == "postgresql" and not database_url:
        raise InvalidInput(
            "the backup is of a PostgreSQL database: name an empty one with --database"
        )
    if header.database == "sqlite" and database_url:
        raise InvalidInput(
            "the backup is of an SQLite database, which is restored into the home directory:"
            " leave out --database"
        )


@contextmanager
def _unfinished(home: Path) -> Iterator[None]:
    """Say that a restore is under way; if it fails, remove what there is of it."""
    write_file(home / RESTORING_FILE, "a backup is being restored into this directory\n")
    try:
        yield
    except BaseException as error:
        for name in set(os.listdir(home)) - _MAY_BE_THERE - {RESTORING_FILE}:
            path = home / name
            remove_tree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        (home / RESTORING_FILE).unlink()
        if isinstance(error, FileExistsError | NotADirectoryError | IsADirectoryError):
            raise InvalidInput(f"the backup holds something twice: {error.filename}") from error
        if isinstance(error, OSError):
            if error.errno == errno.ENOSPC:
                raise OutOfSpace("there is no room for what is in the backup") from error
            raise Unavailable(f"cannot restore into {home}: {error}") from error
        raise


def _unpack(read: Reading, home: Path, on_progress: OnProgress) -> tuple[int, int]:
    def keep(path: str, file: BinaryIO) -> _Read:
        target = home / check_path(path)
        target.parent.mkdir(mode=_UNPACKED_MODE, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(target, flags, 0o600), "wb") as copy:
            return _copy(path, file, copy)

    with tempfile.TemporaryFile(dir=home) as manifest:
        files, size = _read_all(read, keep, manifest, on_progress)
        for kind in ("directory", "file", "link"):
            for entry in _again(manifest):
                if entry.kind == kind:
                    _finish(home, entry)
        # What is inside comes later in the list, and must be finished before.
        directories = [each for each in _again(manifest) if each.kind == "directory"]
        for entry in reversed(directories):
            (home / entry.path).chmod(entry.mode)
    return files, size


def _read_all(
    read: Reading,
    keep: Callable[[str, BinaryIO], _Read],
    manifest: BinaryIO,
    on_progress: OnProgress,
) -> tuple[int, int]:
    """Read all files, give them to *keep*, and copy the manifest once it agrees with them."""
    files, size = 0, 0
    with tempfile.TemporaryFile() as noted:
        for path, file in read.files():
            each = keep(path, file)
            noted.write(msgspec.json.encode(each) + b"\n")
            files, size = files + 1, size + each.size
            on_progress(files, size)
        noted.seek(0)
        with read.manifest() as stored:
            shutil.copyfileobj(stored, manifest)
        really = map(msgspec.json.Decoder(_Read).decode, noted)
        for entry in _again(manifest):
            if entry.kind == "file":
                _compare(entry, next(really, None))
        spare = next(really, None)
        if spare is not None:
            raise InvalidInput(f"the backup holds a file that it does not name: {spare.path!r}")
    return files, size


def _again(manifest: BinaryIO) -> Iterator[Entry]:
    manifest.seek(0)
    return entries(manifest)


def _copy(path: str, file: BinaryIO, copy: BinaryIO) -> _Read:
    digest, size = blake3(), 0
    while chunk := file.read(BACKUP_CHUNK_BYTES):
        digest.update(chunk)
        copy.write(chunk)
        size += len(chunk)
    return _Read(quoted(path), size, digest.hexdigest())


def _compare(entry: Entry, real: _Read | None) -> None:
    if real is None or unquoted(real.path) != entry.path:
        raise InvalidInput(f"the backup is not whole: {entry.path!r} is missing")
    # A file that was a link to the original has no digest: reading it was left to `fsck`.
    if real.size != entry.size or (entry.digest and real.digest != entry.digest):
        raise InvalidInput(f"the backup is damaged: {entry.path!r} is not what was copied")


def _finish(home: Path, entry: Entry) -> None:
    path = home / entry.path
    if entry.kind == "directory":
        path.mkdir(mode=_UNPACKED_MODE, parents=True, exist_ok=True)
    elif entry.kind == "file":
        path.chmod(entry.mode)
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))
    else:
        # Not through another link, which may lead anywhere.
        if os.path.realpath(path.parent) != str(path.parent):
            raise InvalidInput(f"the backup names a path that leads elsewhere: {entry.path!r}")
        path.symlink_to(entry.target)


def _unusable(home: Path) -> Iterator[tuple[str, str]]:
    """Yield environments that cannot run here: their interpreter is part of the host."""
    directory = home / _ENVIRONMENTS_DIR
    if not directory.is_dir():
        return
    for environment in sorted(directory.iterdir()):
        python = environment / "bin" / "python"
        if python.is_symlink() and not python.exists():
            yield environment.name, os.readlink(python)
