"""
Source repositories: bare git, one per algorithm.

Author's commits arrive as a whole tree of files; checking one out writes plain files only. A
repository may also be pushed to from outside, so nothing in it is trusted: names, kinds and
sizes are checked before anything is written.

Source: wire specification, "Internal git hosting".
"""

import asyncio
import os
import re
import shutil
import stat
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, NoReturn

from dulwich.file import FileLocked
from dulwich.index import commit_tree
from dulwich.objects import Blob, Commit, ObjectID, Tree
from dulwich.refs import Ref
from dulwich.repo import Repo

from algorium_server.build.confined import BuildFailed
from algorium_server.domain.errors import InvalidInput, NotFound, Unavailable
from algorium_server.domain.limits import (
    SOURCE_BYTES_MAX,
    SOURCE_DIRECTORIES_DEEP_MAX,
    SOURCE_FILES_MAX,
)
from algorium_server.durable import flush_directory

BRANCH: Final = "master"
"""Old clients push it by name."""
_HEAD: Final = Ref(b"HEAD")
_BRANCH_REF: Final = Ref(b"refs/heads/" + BRANCH.encode())
_SHA: Final = re.compile(r"[0-9a-f]{40}")
_COMMIT_TRIES_MAX: Final = 5
_FILE_MODE: Final = 0o100644
_PROGRAM_MODE: Final = 0o100755


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Who commits, and when."""

    name: str
    email: str
    at: datetime

    def as_bytes(self) -> bytes:
        """Return git's form; characters that end a field there are dropped."""
        name, email = (_without(text, "<>\n\0") for text in (self.name, self.email))
        return f"{name} <{email}>".encode()


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


class Repositories:
    """
    The repositories below one directory: `OWNER_ID/ALGORITHM_ID.git`.

    dulwich blocks, so every method runs it in a thread.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._committing: defaultdict[Path, asyncio.Lock] = defaultdict(asyncio.Lock)

    def path(self, owner_id: str, algorithm_id: str) -> Path:
        """Return where a repository is, or would be."""
        return self._directory / owner_id / f"{algorithm_id}.git"

    async def create(self, owner_id: str, algorithm_id: str) -> None:
        """Create an empty repository; one that exists already is left as it is."""
        await asyncio.to_thread(_create, self.path(owner_id, algorithm_id))

    async def remove(self, owner_id: str, algorithm_id: str) -> None:
        """Remove a repository with all its history."""
        await asyncio.to_thread(shutil.rmtree, self.path(owner_id, algorithm_id), True)

    async def commit(
        self,
        owner_id: str,
        algorithm_id: str,
        files: Mapping[str, bytes],
        *,
        author: Signature,
        message: str,
    ) -> str:
        """
        Make *files* the newest state of the default branch.

        Args:
            owner_id: Whose repository.
            algorithm_id: Which one.
            files: The whole tree, by path with slashes; what is not in it is gone afterwards.
            author: Who commits.
            message: What changed, and why.

        Returns:
            The commit. If the tree is that of the newest one already, that one.

        Raises:
            NotFound: There is no such repository.
            InvalidInput: A path or a size is not acceptable.
        """
        path = self.path(owner_id, algorithm_id)
        async with self._committing[path]:
            return await asyncio.to_thread(_commit, path, files, author, message)

    async def head(self, owner_id: str, algorithm_id: str) -> str | None:
        """
        Return the newest commit of the default branch, None if there is none yet.

        Raises:
            NotFound: There is no such repository.
        """
        return await asyncio.to_thread(_head, self.path(owner_id, algorithm_id))

    async def check_out(
        self, owner_id: str, algorithm_id: str, commit_sha: str, target: Path
    ) -> Checkout:
        """
        Write the files of a commit into the new directory *target*; on errors nothing is left.

        Raises:
            NotFound: There is no such repository or commit.
            BuildFailed: The tree holds what is not checked out: links, submodules, odd names,
                or more than the limits allow.
        """
        repository = self.path(owner_id, algorithm_id)
        return await asyncio.to_thread(_check_out, repository, commit_sha, target)


def _create(path: Path) -> None:
    if (path / "HEAD").exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    with Repo.init_bare(half, mkdir=True, default_branch=BRANCH.encode()) as repository:
        # An acknowledged commit survives a power cut; git's push honours this setting as well.
        config = repository.get_config()
        config.set((b"core",), b"fsyncObjectFiles", b"true")
        config.set((b"core",), b"fsync", b"committed,reference")
        # History is not rewritten: builds and versions name commits.
        config.set((b"receive",), b"denyNonFastForwards", b"true")
        config.set((b"receive",), b"denyDeletes", b"true")
        config.set((b"receive",), b"fsckObjects", b"true")
        config.write_to_path()
    half.rename(path)
    flush_directory(path.parent)


def _open(path: Path) -> Repo:
    if not (path / "HEAD").exists():
        raise NotFound("the algorithm has no source repository")
    return Repo(str(path), bare=True)


def _head(path: Path) -> str | None:
    with _open(path) as repository:
        try:
            return repository.refs[_BRANCH_REF].decode()
        except KeyError:
            return None


def _commit(path: Path, files: Mapping[str, bytes], author: Signature, message: str) -> str:
    _check_files(files)
    with _open(path) as repository:
        blobs = [Blob.from_string(content) for content in files.values()]
        repository.object_store.add_objects([(blob, None) for blob in blobs])
        tree_id = commit_tree(
            repository.object_store,
            [(name.encode(), blob.id, _FILE_MODE) for name, blob in zip(files, blobs, strict=True)],
        )
        for _ in range(_COMMIT_TRIES_MAX):
            parent = repository.refs.as_dict().get(_BRANCH_REF)
            if parent is not None and _tree_id(repository, parent) == tree_id:
                return parent.decode()
            commit = _new_commit(tree_id, parent, author, message)
            repository.object_store.add_object(commit)
            if _move(repository, parent, commit.id):
                return commit.id.decode()
    raise Unavailable("the repository is being written by others; try again")


def _move(repository: Repo, parent: ObjectID | None, commit_id: ObjectID) -> bool:
    """Point the branch at a new commit, unless somebody's push came first."""
    try:
        if parent is None:
            return repository.refs.add_if_new(_BRANCH_REF, commit_id)
        return repository.refs.set_if_equals(_BRANCH_REF, parent, commit_id)
    except FileLocked:
        return False


def _new_commit(
    tree_id: ObjectID, parent: ObjectID | None, author: Signature, message: str
) -> Commit:
    commit = Commit()
    commit.tree = tree_id
    commit.parents = [] if parent is None else [parent]
    commit.author = commit.committer = author.as_bytes()
    commit.author_time = commit.commit_time = int(author.at.timestamp())
    commit.author_timezone = commit.commit_timezone = 0
    commit.encoding = b"UTF-8"
    commit.message = message.encode()
    return commit


def _tree_id(repository: Repo, commit_id: ObjectID) -> ObjectID:
    commit = repository[commit_id]
    assert isinstance(commit, Commit), "branches point at commits"
    return ObjectID(commit.tree)


def _check_files(files: Mapping[str, bytes]) -> None:
    if not files:
        raise InvalidInput("a commit needs at least one file")
    if len(files) > SOURCE_FILES_MAX:
        raise InvalidInput(f"a commit may hold {SOURCE_FILES_MAX} files at most")
    if sum(map(len, files.values())) > SOURCE_BYTES_MAX:
        raise InvalidInput(f"a commit may hold {SOURCE_BYTES_MAX} bytes at most")
    for name in files:
        try:
            parts = name.encode().split(b"/")
        except UnicodeEncodeError:
            parts = []
        is_fine = parts and all(map(_is_harmless, parts))
        if not is_fine or len(parts) > SOURCE_DIRECTORIES_DEEP_MAX:
            raise InvalidInput(f"{name!r} cannot be the path of a file in a repository")
        if any("/".join(name.split("/")[:i]) in files for i in range(1, len(parts))):
            raise InvalidInput(f"{name!r} lies in what is a file itself")


def _is_harmless(name: bytes) -> bool:
    return (
        name not in {b"", b".", b".."}
        and name.lower() != b".git"
        and b"/" not in name
        and b"\0" not in name
        and len(name) <= 255
    )


@dataclass(frozen=True, slots=True)
class _Entry:
    path: str
    is_program: bool
    blob: Blob


def _check_out(path: Path, commit_sha: str, target: Path) -> Checkout:
    with _open(path) as repository:
        commit = _commit_named(repository, commit_sha)
        target.mkdir(parents=True)
        try:
            checkout = _write_all(_entries(repository, commit.tree), target)
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
    os.sync()  # the database will say that this tree is complete, and must not be ahead of it
    return checkout


def _commit_named(repository: Repo, sha: str) -> Commit:
    found: object = None
    if _SHA.fullmatch(sha):
        with suppress(KeyError):
            found = repository.object_store[ObjectID(sha.encode())]
    if not isinstance(found, Commit):
        raise NotFound(f"there is no commit {sha}")
    return found


def _write_all(entries: Iterator[_Entry], target: Path) -> Checkout:
    names: list[str] = []
    size_bytes = 0
    for entry in entries:
        size_bytes += entry.blob.raw_length()
        if size_bytes > SOURCE_BYTES_MAX:
            raise BuildFailed(f"the source is larger than {SOURCE_BYTES_MAX} bytes")
        if len(names) >= SOURCE_FILES_MAX:
            raise BuildFailed(f"the source has more than {SOURCE_FILES_MAX} files")
        place = target / entry.path
        place.parent.mkdir(parents=True, exist_ok=True)
        # O_EXCL also refuses whatever a forged tree with doubled names has put there before.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            descriptor = os.open(place, flags, 0o755 if entry.is_program else 0o644)
        except OSError as error:
            raise BuildFailed(f"cannot write {entry.path!r}: {error.strerror}") from error
        with open(descriptor, "wb") as file:
            file.writelines(entry.blob.chunked)
        names.append(entry.path)
    return Checkout(files=tuple(sorted(names)), size_bytes=size_bytes)


def _entries(repository: Repo, top: ObjectID) -> Iterator[_Entry]:
    """Walk all files of a tree, refusing what must not be written."""
    visited = 0
    pending = [("", top, 1)]
    while pending:
        prefix, tree_id, depth = pending.pop()
        visited += 1
        # Trees may repeat inside one another: a few hundred bytes can name millions of files.
        if depth > SOURCE_DIRECTORIES_DEEP_MAX or visited > SOURCE_FILES_MAX:
            raise BuildFailed("the source has too many directories")
        tree = _object(repository, tree_id)
        if not isinstance(tree, Tree):
            raise BuildFailed(f"{prefix or 'the commit'!r} is damaged: not a directory")
        for item in tree.iteritems():
            assert item.path is not None
            assert item.mode is not None
            assert item.sha is not None
            if not _is_harmless(item.path):
                raise BuildFailed(f"{item.path!r} in {prefix!r} cannot be the name of a file")
            name = prefix + os.fsdecode(item.path)
            if stat.S_ISDIR(item.mode):
                pending.append((f"{name}/", item.sha, depth + 1))
            elif stat.S_ISREG(item.mode):
                blob = _object(repository, item.sha)
                if not isinstance(blob, Blob):
                    raise BuildFailed(f"{name!r} is damaged: not a file")
                yield _Entry(name, item.mode == _PROGRAM_MODE, blob)
            else:
                _refuse(name, item.mode)


def _object(repository: Repo, object_id: ObjectID) -> object:
    try:
        return repository.object_store[object_id]
    except KeyError:
        raise BuildFailed(
            f"the source is damaged: object {object_id.decode()} is missing"
        ) from None


def _refuse(name: str, mode: int) -> NoReturn:
    kind = "a symbolic link" if stat.S_ISLNK(mode) else "a submodule"
    raise BuildFailed(f"{name!r} is {kind}: only files and directories are built")


def _without(text: str, characters: str) -> str:
    return "".join(character for character in text if character not in characters).strip()
