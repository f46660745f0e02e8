"""
Commits made here: a whole tree of files, or changes to the newest one.

Branches are moved only from where they were when the commit was made of it: whatever others bring
meanwhile, by git or through the API, is kept, and the commit is made anew on top of it.

Everything here blocks.
"""

import errno
import os
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from dulwich.file import FileLocked
from dulwich.index import commit_tree
from dulwich.object_store import BaseObjectStore
from dulwich.objects import Blob, Commit, ObjectID, Tree
from dulwich.refs import Ref
from dulwich.repo import Repo

from algorium_server.build.source.objects import BadObject, Objects, open_objects
from algorium_server.domain.errors import ConditionFailed, InvalidInput, NotFound, Unavailable
from algorium_server.domain.limits import (
    REPOSITORY_LOCK_S,
    SOURCE_BYTES_MAX,
    SOURCE_DIRECTORIES_DEEP_MAX,
    SOURCE_FILES_MAX,
)
from algorium_server.domain.pushes import BRANCH_REF

PROGRAM_MODE: Final = 0o100755
_FILE_MODE: Final = 0o100644
_DIRECTORY_MODE: Final = 0o040000
_BRANCH_REF: Final = Ref(BRANCH_REF.encode())
_COMMIT_TRIES_MAX: Final = 5
_CANNOT_EXIST: Final = {errno.ENOTDIR, errno.ENAMETOOLONG}
"""Of names that people push: below a branch, or too long. git says so in its own words."""
_LOCKED_S: Final = 0.02
"""Before the second attempt; doubles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Who commits, and when."""

    name: str
    email: str
    at: datetime

    def as_bytes(self) -> bytes:
        """Return git's form; characters that end a field there are dropped."""
        name, email = (_without(text, "<>\n\0") for text in (self.name, self.email))
        return f"{name} <{email}>".encode("utf-8", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """
    What is to become of one file.

    Attributes:
        content: Its bytes; None deletes it.
        is_program: Whether it can be run; None leaves that as it is.
    """

    path: str
    content: bytes | None
    is_program: bool | None = None


def check_repository(path: Path) -> None:
    """
    Raise if there is no repository.

    Raises:
        NotFound: There is none.
    """
    if not (path / "HEAD").exists():
        raise NotFound("the algorithm has no source repository")


def open_repository(path: Path) -> Repo:
    """
    Open a bare repository; what others have pushed is read through `open_objects`.

    Raises:
        NotFound: There is none.
    """
    check_repository(path)
    repository = Repo(str(path), bare=True)
    repository.object_store.fsync_object_files = True  # what is acknowledged survives a power cut
    return repository


def head_of(path: Path) -> str | None:
    """Return the newest commit of the default branch, None if there is none yet."""
    with open_repository(path) as repository:
        found = _head(repository)
        return None if found is None else found.decode()


def commit_files(path: Path, files: Mapping[str, bytes], author: Signature, message: str) -> str:
    """Make *files* the whole tree; see `Repositories.commit`."""
    _check_files(files)
    return _undisturbed(lambda: _commit_files(path, files, author, message))


def _commit_files(path: Path, files: Mapping[str, bytes], author: Signature, message: str) -> str:
    with open_repository(path) as repository, open_objects(path) as objects:
        blobs = [Blob.from_string(content) for content in files.values()]
        repository.object_store.add_objects([(blob, None) for blob in blobs])
        tree_id = commit_tree(
            repository.object_store,
            [(name.encode(), blob.id, _FILE_MODE) for name, blob in zip(files, blobs, strict=True)],
        )
        return _commit(repository, objects, lambda _: tree_id, author, message)


def commit_changes(
    path: Path,
    changes: Sequence[FileChange],
    *,
    parent: str,
    author: Signature,
    message: str,
) -> str:
    """Change some files of the newest commit; see `Repositories.change`."""
    placed = [(_parts_of(change.path), change) for change in changes]
    if len({parts for parts, _ in placed}) < len(placed):
        raise InvalidInput("a commit changes each file once")
    return _undisturbed(lambda: _commit_changes(path, placed, parent, author, message))


def _commit_changes(
    path: Path, placed: Sequence["_Placed"], parent: str, author: Signature, message: str
) -> str:
    deletions = [(parts, change) for parts, change in placed if change.content is None]
    additions = [(parts, change) for parts, change in placed if change.content is not None]
    with open_repository(path) as repository, open_objects(path) as objects:
        store = repository.object_store

        def tree_on(head: ObjectID | None) -> ObjectID:
            if parent and (head or b"").decode() != parent:
                raise ConditionFailed(
                    "somebody else has committed meanwhile: the newest commit is"
                    f" {(head or b'none').decode()}",
                    fields={"head": (head or b"").decode()},
                )
            tree_id = None if head is None else _tree_id(objects, head)
            for each in (deletions, additions):  # a directory may take the place of a file
                tree_id = _edited(store, objects, tree_id, each) if each else tree_id
            if tree_id is None:
                raise InvalidInput("a commit needs at least one file")
            return tree_id

        return _commit(repository, objects, tree_on, author, message)


def remove_stale_lock(path: Path, *, age_s: float = REPOSITORY_LOCK_S) -> bool:
    """Remove a lock whose holder must have died; return whether it is gone."""
    try:
        if time.time() - path.stat().st_mtime < age_s:
            return False
        path.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in _CANNOT_EXIST:
            raise
    return True


def is_harmless(name: bytes) -> bool:
    """Whether a name may be that of a file or directory in a tree."""
    return (
        name not in {b"", b".", b".."}
        and name.lower() != b".git"
        and b"/" not in name
        and b"\0" not in name
        and len(name) <= 255
    )


def _undisturbed(work: Callable[[], str]) -> str:
    """Do *work*; again if another process writes the same at this moment, or died doing so."""
    for attempt in range(_COMMIT_TRIES_MAX):
        try:
            return work()
        except BadObject as error:
            raise InvalidInput(f"nothing can be committed here: {error}; push with git") from error
        except FileLocked as error:
            if not remove_stale_lock(Path(os.fsdecode(error.lockfilename))):
                time.sleep(_LOCKED_S * 2**attempt)
    raise Unavailable("the repository is being written by others; try again")


def _commit(
    repository: Repo,
    objects: Objects,
    tree_on: Callable[[ObjectID | None], ObjectID],
    author: Signature,
    message: str,
) -> str:
    for _ in range(_COMMIT_TRIES_MAX):
        parent = _head(repository)
        tree_id = tree_on(parent)
        if parent is not None and _tree_id(objects, parent) == tree_id:
            return parent.decode()
        commit = _new_commit(tree_id, parent, author, message)
        repository.object_store.add_object(commit)
        if _move(repository, parent, commit.id):
            return commit.id.decode()
    raise Unavailable("the repository is being written by others; try again")


def _head(repository: Repo) -> ObjectID | None:
    return repository.refs.as_dict().get(_BRANCH_REF)


def _move(repository: Repo, parent: ObjectID | None, commit_id: ObjectID) -> bool:
    """Point the branch at a new commit, unless somebody's push came first."""
    if parent is None:
        return repository.refs.add_if_new(_BRANCH_REF, commit_id)
    return repository.refs.set_if_equals(_BRANCH_REF, parent, commit_id)


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
    commit.message = message.encode("utf-8", "replace")
    return commit


def _tree_id(objects: Objects, commit_id: ObjectID) -> ObjectID:
    return ObjectID(objects.commit(commit_id.decode()).tree)


_Placed = tuple[tuple[bytes, ...], FileChange]
"""A change, and its path from the directory at hand."""


def _edited(
    store: BaseObjectStore,
    objects: Objects,
    tree_id: ObjectID | None,
    changes: Sequence[_Placed],
) -> ObjectID | None:
    """Return a tree with changes; None if nothing is left in it."""
    tree = Tree() if tree_id is None else objects.tree(tree_id)
    below: defaultdict[bytes, list[_Placed]] = defaultdict(list)
    for (name, *rest), change in changes:
        if rest:
            below[name].append((tuple(rest), change))
        else:
            _change_entry(store, tree, name, change)
    for name, nested in below.items():
        mode, object_id = _entry(tree, name)
        if mode is not None and not stat.S_ISDIR(mode):
            raise InvalidInput(f"{nested[0][1].path!r} lies in what is a file itself")
        changed = _edited(store, objects, object_id, nested)
        if changed is not None:
            tree[name] = (_DIRECTORY_MODE, changed)
        elif mode is not None:
            del tree[name]
    if not len(tree):
        return None
    store.add_object(tree)
    return tree.id


def _change_entry(store: BaseObjectStore, tree: Tree, name: bytes, change: FileChange) -> None:
    mode, _ = _entry(tree, name)
    is_directory = mode is not None and stat.S_ISDIR(mode)
    if change.content is None:
        if mode is None or is_directory:
            raise InvalidInput(f"there is no file {change.path!r}")
        del tree[name]
        return
    if is_directory:
        raise InvalidInput(f"{change.path!r} is a directory")
    is_program = mode == PROGRAM_MODE if change.is_program is None else change.is_program
    blob = Blob.from_string(change.content)
    store.add_object(blob)
    tree[name] = (PROGRAM_MODE if is_program else _FILE_MODE, blob.id)


def _entry(tree: Tree, name: bytes) -> tuple[int | None, ObjectID | None]:
    try:
        return tree[name]
    except KeyError:
        return (None, None)


def _check_files(files: Mapping[str, bytes]) -> None:
    if not files:
        raise InvalidInput("a commit needs at least one file")
    if len(files) > SOURCE_FILES_MAX:
        raise InvalidInput(f"a commit may hold {SOURCE_FILES_MAX} files at most")
    if sum(map(len, files.values())) > SOURCE_BYTES_MAX:
        raise InvalidInput(f"a commit may hold {SOURCE_BYTES_MAX} bytes at most")
    for name in files:
        parts = _parts_of(name)
        if any("/".join(name.split("/")[:i]) in files for i in range(1, len(parts))):
            raise InvalidInput(f"{name!r} lies in what is a file itself")


def _parts_of(name: str) -> tuple[bytes, ...]:
    try:
        parts = tuple(name.encode().split(b"/"))
    except UnicodeEncodeError:
        parts = ()
    is_fine = parts and all(map(is_harmless, parts))
    if not is_fine or len(parts) > SOURCE_DIRECTORIES_DEEP_MAX:
        raise InvalidInput(f"{name!r} cannot be the path of a file in a repository")
    return parts


def _without(text: str, characters: str) -> str:
    return "".join(character for character in text if character not in characters).strip()
