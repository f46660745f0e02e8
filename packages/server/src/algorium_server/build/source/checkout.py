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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from dulwich.objects import ObjectID, Tree

from algorium_server.build.confined import BuildFailed
from algorium_server.build.source.commits import PROGRAM_MODE, check_repository, is_harmless
from algorium_server.build.source.objects import BadObject, Objects, open_objects
from algorium_server.domain.limits import (
    SOURCE_BYTES_MAX,
    SOURCE_DIRECTORIES_DEEP_MAX,
    SOURCE_FILES_MAX,
)


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
    check_repository(path)
    with open_objects(path) as objects:
        try:
            commit = objects.commit(commit_sha)
            target.mkdir(parents=True)
            checkout = _write_all(list(_entries(objects, commit.tree)), objects, target)
        except BaseException as error:
            shutil.rmtree(target, ignore_errors=True)
            if isinstance(error, BadObject):
                raise BuildFailed(f"the source is damaged: {error}") from error
            raise
    os.sync()  # the database will say that this tree is complete, and must not be ahead of it
    return checkout


def _write_all(entries: Sequence[_Entry], objects: Objects, target: Path) -> Checkout:
    names: list[str] = []
    total_bytes = 0
    for entry in entries:
        size_bytes = objects.size_bytes(entry.object_id, kind=b"blob")
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
            file.writelines(objects.chunks(size_bytes))
        names.append(entry.path)
    return Checkout(files=tuple(sorted(names)), size_bytes=total_bytes)


def _entries(objects: Objects, top: ObjectID) -> Iterator[_Entry]:
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
        tree = seen.get(tree_id) or objects.tree(tree_id)
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


def _refuse(name: str, mode: int) -> NoReturn:
    kind = "a symbolic link" if stat.S_ISLNK(mode) else "a submodule"
    raise BuildFailed(f"{name!r} is {kind}: only files and directories are built")
