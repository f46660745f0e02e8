"""
Source as it is at a commit: its files listed, one of them read, all of them in an archive.

Asked of git itself, which knows sizes without unpacking, within the limits of `ask_git`: anybody
can push a tree that names more than there is room for.
"""

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from algorium_server.build.source.git import ask_git, git_environment, git_process
from algorium_server.domain.errors import NotFound, PathNotFound, TooLarge, Unavailable
from algorium_server.domain.limits import MIB, SOURCE_FILE_BYTES_MAX, SOURCE_FILES_MAX

_SHA: Final = re.compile(r"[0-9a-fA-F]{7,40}")
_NAME: Final = re.compile(r"(?!.*\.\.)(?!.*//)(?!.*@\{)[A-Za-z0-9_][A-Za-z0-9_./@+-]{0,254}")
_CHUNK_BYTES: Final = 64 * 1024
_LITERAL: Final = {"GIT_LITERAL_PATHSPECS": "1"}


class EntryKind(StrEnum):
    """What stands in a tree."""

    FILE = "file"
    PROGRAM = "program"
    LINK = "link"
    SUBMODULE = "submodule"


_KINDS: Final = {
    "100644": EntryKind.FILE,
    "100664": EntryKind.FILE,
    "100755": EntryKind.PROGRAM,
    "120000": EntryKind.LINK,
    "160000": EntryKind.SUBMODULE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceEntry:
    """
    A file of a commit.

    Attributes:
        path: From the top, with slashes.
        size_bytes: Of its content; 0 for submodules.
        object_id: Changes with the content, and with nothing else.
    """

    path: str
    kind: EntryKind
    size_bytes: int
    object_id: str


async def find_commit(repository: Path, name: str) -> str:
    """
    Return the commit that a branch, a tag, or the beginning of its own name means.

    Raises:
        NotFound: None.
    """
    candidates = []
    if _NAME.fullmatch(name):
        candidates = [f"refs/heads/{name}", f"refs/tags/{name}"]
    if _SHA.fullmatch(name):
        candidates.append(name.lower())
    for candidate in candidates:
        status, told = await ask_git(
            repository, "rev-parse", "--verify", "--quiet", "--end-of-options",
            f"{candidate}^{{commit}}",
        )  # fmt: skip
        if status == 0:
            return told.decode().strip()
    raise NotFound(f"there is no commit, branch or tag {name!r}")


async def list_files(repository: Path, commit_sha: str) -> list[SourceEntry]:
    """
    Return all files of a commit, by path.

    Raises:
        NotFound: There is no such commit.
        TooLarge: There are too many.
        Unavailable: They cannot be listed in time.
    """
    status, told = await ask_git(repository, "ls-tree", "-r", "-l", "-z", "--full-tree", commit_sha)
    if status != 0:
        raise NotFound(f"there is no commit {commit_sha}")
    entries = [_entry(line) for line in told.split(b"\0") if line]
    if len(entries) > SOURCE_FILES_MAX:
        raise TooLarge(f"the commit has more than {SOURCE_FILES_MAX} files")
    return sorted(entries, key=lambda entry: entry.path)


async def find_file(repository: Path, commit_sha: str, path: str) -> SourceEntry:
    """
    Return what stands at a path of a commit.

    Raises:
        PathNotFound: Nothing, or a directory.
    """
    if not path or "\0" in path or path.startswith("/") or path.endswith("/"):
        raise PathNotFound
    status, told = await ask_git(
        repository, "ls-tree", "-l", "-z", "--full-tree", commit_sha, "--", path,
        environment=_LITERAL,
    )  # fmt: skip
    lines = [line for line in told.split(b"\0") if line]
    if status != 0 or len(lines) != 1 or b" tree " in lines[0].partition(b"\t")[0]:
        raise PathNotFound(f"there is no file {path!r} in {commit_sha}")
    return _entry(lines[0])


async def read_file(repository: Path, entry: SourceEntry) -> bytes:
    """
    Return the content of a file; of a link, where it points to.

    Raises:
        TooLarge: It is larger than can be had this way.
        PathNotFound: It is a submodule: its content is not here.
    """
    if entry.kind is EntryKind.SUBMODULE:
        raise PathNotFound(f"{entry.path!r} is a submodule: its content is not here")
    if entry.size_bytes > SOURCE_FILE_BYTES_MAX:
        raise TooLarge(
            f"{entry.path!r} is larger than {SOURCE_FILE_BYTES_MAX // MIB} MiB: clone it with git"
        )
    status, content = await ask_git(repository, "cat-file", "blob", entry.object_id)
    if status != 0:
        raise Unavailable("the repository is damaged")
    return content


async def archive(repository: Path, commit_sha: str, *, prefix: str) -> AsyncGenerator[bytes, None]:
    """
    Yield all files of a commit as a `tar.gz`.

    Args:
        repository: Which one.
        commit_sha: Which commit; it exists, and its files could be listed.
        prefix: Directory in which they lie.
    """
    arguments = ("archive", "--format=tar.gz", f"--prefix={prefix}/", commit_sha)
    async with git_process(
        "--git-dir", ".", *arguments, environment=git_environment(), cwd=repository
    ) as process:
        assert process.stdout is not None
        while chunk := await process.stdout.read(_CHUNK_BYTES):
            yield chunk
        if await process.wait() != 0:
            raise Unavailable("the archive could not be made")  # breaks the answer off


def _entry(line: bytes) -> SourceEntry:
    head, _, path = line.partition(b"\t")
    mode, _, object_id, size = head.decode().split()
    return SourceEntry(
        path=path.decode("utf-8", "replace"),
        kind=_KINDS.get(mode, EntryKind.FILE),
        size_bytes=int(size) if size.isdigit() else 0,
        object_id=object_id,
    )
