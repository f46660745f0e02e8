"""
From a commit to files: what a build works on.

A repository may have been pushed to by anybody, so nothing in it is trusted: names, kinds and sizes
are checked before anything is written, and trees that name more than there is are not followed to
their end. Content streams from git into the files, however large they are.

Everything here blocks.
"""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, NoReturn

from dulwich.objects import ObjectID, Tree
from dulwich.repo import Repo

from algorium_server.build.commits import (
    PROGRAM_MODE,
    commit_named,
    is_harmless,
    open_repository,
)
from algorium_server.build.confined import BuildFailed
from algorium_server.build.git import git_environment, limited
from algorium_server.domain.limits import (
    SOURCE_BYTES_MAX,
    SOURCE_DIRECTORIES_DEEP_MAX,
    SOURCE_FILES_MAX,
)

_CHUNK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """
    What was checked out.

    Attributes:
        files: Paths relative to the top, with slashes, sorted.
        size_bytes: Of all files together.
    """

    files: tuple[str, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Entry:
    path: str
    is_program: bool
    object_id: ObjectID


def check_out(path: Path, commit_sha: str, target: Path) -> Checkout:
    """Write the files of a commit; see `Repositories.check_out`."""
    with open_repository(path) as repository:
        commit = commit_named(repository, commit_sha)
        target.mkdir(parents=True)
        try:
            entries = list(_entries(repository, commit.tree))
            with _blobs(path) as blobs:
                checkout = _write_all(entries, blobs, target)
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
    os.sync()  # the database will say that this tree is complete, and must not be ahead of it
    return checkout


class _Blobs:
    """git, asked for one object after the other."""

    def __init__(self, asked: IO[bytes], told: IO[bytes]) -> None:
        self._asked = asked
        self._told = told

    def size_bytes(self, entry: _Entry) -> int:
        """Ask for a file, and return how long it is."""
        self._asked.write(entry.object_id + b"\n")
        self._asked.flush()
        words = self._told.readline().split()
        if len(words) != 3:
            raise _missing(entry.object_id)
        if words[1] != b"blob":
            raise BuildFailed(f"{entry.path!r} is damaged: not a file")
        return int(words[2])

    def write(self, file: IO[bytes], size_bytes: int) -> None:
        """Write what was asked for last."""
        left = size_bytes
        while left:
            chunk = self._told.read(min(left, _CHUNK_BYTES))
            if not chunk:
                raise BuildFailed("the source is damaged: a file ends early")
            file.write(chunk)
            left -= len(chunk)
        self._told.read(1)  # the line end that git adds


@contextmanager
def _blobs(path: Path) -> Iterator[_Blobs]:
    process = subprocess.Popen(
        limited(("git", "--git-dir", ".", "cat-file", "--batch")),
        cwd=path,
        env=git_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield _Blobs(process.stdin, process.stdout)
    finally:
        process.kill()
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.wait()


def _write_all(entries: Sequence[_Entry], blobs: _Blobs, target: Path) -> Checkout:
    names: list[str] = []
    total_bytes = 0
    for entry in entries:
        size_bytes = blobs.size_bytes(entry)
        total_bytes += size_bytes
        if total_bytes > SOURCE_BYTES_MAX:
            raise BuildFailed(f"the source is larger than {SOURCE_BYTES_MAX} bytes")
        place = target / entry.path
        place.parent.mkdir(parents=True, exist_ok=True)
        # O_EXCL also refuses whatever a forged tree with doubled names has put there before.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            descriptor = os.open(place, flags, 0o755 if entry.is_program else 0o644)
        except OSError as error:
            raise BuildFailed(f"cannot write {entry.path!r}: {error.strerror}") from error
        with open(descriptor, "wb") as file:
            blobs.write(file, size_bytes)
        names.append(entry.path)
    return Checkout(files=tuple(sorted(names)), size_bytes=total_bytes)


def _entries(repository: Repo, top: ObjectID) -> Iterator[_Entry]:
    """Walk all files of a tree, refusing what must not be written."""
    visited = files = 0
    seen: dict[ObjectID, Tree] = {}
    pending = [("", top, 1)]
    while pending:
        prefix, tree_id, depth = pending.pop()
        visited += 1
        # Trees may repeat inside one another: a few hundred bytes can name millions of files.
        if depth > SOURCE_DIRECTORIES_DEEP_MAX or visited > SOURCE_FILES_MAX:
            raise BuildFailed("the source has too many directories")
        tree = seen.get(tree_id) or _object(repository, tree_id)
        if not isinstance(tree, Tree):
            raise BuildFailed(f"{prefix or 'the commit'!r} is damaged: not a directory")
        seen[tree_id] = tree
        for item in tree.iteritems():
            assert item.path is not None
            assert item.mode is not None
            assert item.sha is not None
            if not is_harmless(item.path):
                raise BuildFailed(f"{item.path!r} in {prefix!r} cannot be the name of a file")
            name = prefix + os.fsdecode(item.path)
            if stat.S_ISDIR(item.mode):
                pending.append((f"{name}/", item.sha, depth + 1))
            elif stat.S_ISREG(item.mode):
                files += 1
                if files > SOURCE_FILES_MAX:
                    raise BuildFailed(f"the source has more than {SOURCE_FILES_MAX} files")
                yield _Entry(name, item.mode == PROGRAM_MODE, item.sha)
            else:
                _refuse(name, item.mode)


def _object(repository: Repo, object_id: ObjectID) -> object:
    try:
        return repository.object_store[object_id]
    except KeyError:
        raise _missing(object_id) from None


def _missing(object_id: ObjectID) -> BuildFailed:
    return BuildFailed(f"the source is damaged: object {object_id.decode()} is missing")


def _refuse(name: str, mode: int) -> NoReturn:
    kind = "a symbolic link" if stat.S_ISLNK(mode) else "a submodule"
    raise BuildFailed(f"{name!r} is {kind}: only files and directories are built")
