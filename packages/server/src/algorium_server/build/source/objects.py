"""
Commits, trees and files of a repository, read through git.

A pack of a few kilobytes can hold an object of gigabytes, and whoever pushes names the object. So
git, within its limits, says how long one is before anything of it is read; files are streamed.

Everything here blocks.
"""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from dulwich.objects import Commit, ObjectID, Tree

from algorium_server.build.source.git import git_environment, limited
from algorium_server.domain.errors import NotFound
from algorium_server.domain.limits import MIB, SOURCE_OBJECT_BYTES_MAX

_CHUNK_BYTES: Final = 1024 * 1024
_SHA: Final = re.compile(r"[0-9a-f]{40}")
_WORDS: Final = {b"commit": "commit", b"tree": "directory", b"blob": "file"}


class BadObject(Exception):
    """An object is missing, of another kind than it should be, or too large to be looked at."""


class Objects:
    """git, asked for one object after the other; `open_objects` makes it."""

    def __init__(self, asked: IO[bytes], told: IO[bytes]) -> None:
        self._asked = asked
        self._told = told

    def commit(self, sha: str) -> Commit:
        """
        Return a commit.

        Raises:
            NotFound: There is none of that name.
            BadObject: It is too large.
        """
        missing = NotFound(f"there is no commit {sha}")
        if not _SHA.fullmatch(sha):
            raise missing
        try:
            size_bytes = self.size_bytes(ObjectID(sha.encode()), kind=b"commit")
        except BadObject:
            raise missing from None
        return Commit.from_string(self._small(b"commit", size_bytes))

    def tree(self, object_id: ObjectID) -> Tree:
        """
        Return a tree.

        Raises:
            BadObject: There is none of that name, or it is too large.
        """
        return Tree.from_string(self._small(b"tree", self.size_bytes(object_id, kind=b"tree")))

    def size_bytes(self, object_id: ObjectID, *, kind: bytes) -> int:
        """
        Ask for an object, and return how long it is; it must be read next, or nothing any more.

        Raises:
            BadObject: There is none of that name and kind; nothing can be read any more.
        """
        self._asked.write(object_id + b"\n")
        self._asked.flush()
        words = self._told.readline().split()
        if len(words) != 3:
            raise BadObject(f"object {object_id.decode()} is missing")
        if words[1] != kind:
            raise BadObject(f"object {object_id.decode()} is not a {_WORDS[kind]}")
        return int(words[2])

    def chunks(self, size_bytes: int) -> Iterator[bytes]:
        """Yield what was asked for last."""
        left = size_bytes
        while left:
            chunk = self._told.read(min(left, _CHUNK_BYTES))
            if not chunk:
                raise BadObject("a file ends early")
            yield chunk
            left -= len(chunk)
        self._told.read(1)  # the line end that git adds

    def _small(self, kind: bytes, size_bytes: int) -> bytes:
        if size_bytes > SOURCE_OBJECT_BYTES_MAX:
            raise BadObject(f"a {_WORDS[kind]} is larger than {SOURCE_OBJECT_BYTES_MAX // MIB} MiB")
        return b"".join(self.chunks(size_bytes))


@contextmanager
def open_objects(path: Path) -> Iterator[Objects]:
    """Open the objects of a repository for as long as a block lasts."""
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
        yield Objects(process.stdin, process.stdout)
    finally:
        process.kill()
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.wait()
