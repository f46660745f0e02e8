"""Directories with everything in them, here and on the server, and how two of them differ."""

import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from algorium import _data_flow
from algorium._errors import AlreadyExists, InvalidInput, PathNotFound, UnexpectedResponse
from algorium._steps import Local, Transfer
from algorium.wire.bodies import Listing
from algorium.wire.uris import DataUri

Names: TypeAlias = tuple[str, ...]
"""A place below the root of a tree."""

Place: TypeAlias = Path | DataUri

_OWN_FILE: Final = re.compile(r"\..*\.[0-9a-f]{12,16}\.(part|pieces)")
"""What downloads leave beside the files that they are going to be."""

_DEPTH_MAX: Final = 512
"""Directories within directories: a key in an object store has 1024 bytes, half of them slashes.
A server that always tells of one more would keep us going for ever."""

_FORBIDDEN: Final = {"/", "\0", *(() if os.sep == "/" else (os.sep, ":"))}


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeFile:
    """A file in a tree; *modified_s* are seconds since 1970, None where that is not known."""

    size_bytes: int
    modified_s: float | None


@dataclass(slots=True, kw_only=True)
class Tree:
    """
    What is below a directory.

    Attributes:
        links: Symbolic links to directories, what is behind them left out.
    """

    files: dict[Names, TreeFile] = field(default_factory=dict)
    directories: set[Names] = field(default_factory=set)
    links: set[Names] = field(default_factory=set)
    exists: bool = True

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(file.size_bytes for file in self.files.values())

    def check_against(self, other: "Tree") -> None:
        """
        See to it that what is a file here is no directory there, nor the other way round.

        Raises:
            AlreadyExists: It is.
        """
        both = (self.files.keys() & other.directories) | (self.directories & other.files.keys())
        for names in sorted(both):
            raise AlreadyExists(
                f"{'/'.join(names)} is a file in one place and a directory in the other.",
                hint="Rename or delete one of the two.",
            )
        for names in sorted(other.links & (self.files.keys() | self.directories)):
            raise AlreadyExists(
                f"{'/'.join(names)} is a symbolic link to a directory in the target.",
                hint="Nothing is written through links: bring that directory over on its own.",
            )


def scan(place: Place) -> Transfer[Tree]:
    """Look at everything below a directory, here or on the server; it need not exist."""
    if isinstance(place, Path):
        tree: Tree = yield Local(lambda: _scan_local(place))
        return tree
    return (yield from _scan_remote(place))


def inside(place: Place, names: Names) -> Place:
    """
    Return the place with these names below another.

    Raises:
        InvalidInput: It cannot be called so here.
    """
    if isinstance(place, DataUri):
        return place.at((*place.segments, *names))
    for name in names:
        # A server may tell anything: no name may lead out of the directory.
        if name in {"", ".", ".."} or _FORBIDDEN & set(name):
            raise InvalidInput(f"{name!r} cannot be the name of a file on this machine.")
    return place.joinpath(*names)


def is_surely_same(
    source: TreeFile, target: TreeFile, *, is_download: bool, ahead_s: float = 0.0
) -> bool:
    """
    Tell by size and time alone that a file need not be copied; only their bytes tell the rest.

    The server tells times to the second, and when it was written there. So a local file is the
    same as its copy on the server if it was not changed since, and a downloaded one has been given
    the server's time.

    Args:
        source: What may have to be copied.
        target: What is there.
        is_download: The target is local.
        ahead_s: By how much at most the server's clock is ahead of ours.
    """
    if source.size_bytes != target.size_bytes:
        return False
    if source.modified_s is None or target.modified_s is None:
        return False
    if is_download:
        return source.modified_s == target.modified_s
    return source.modified_s < int(target.modified_s) - ahead_s


def _scan_local(root: Path) -> Tree:
    tree = Tree(exists=root.is_dir())
    if not tree.exists:
        return tree
    for where, directories, files in os.walk(root, onerror=_raise):
        here = Path(where).relative_to(root).parts
        # Links to directories may lead anywhere, in circles too: they count as not there.
        for name in directories:
            is_link = (Path(where) / name).is_symlink()
            (tree.links if is_link else tree.directories).add((*here, name))
        for name in files:
            if not _OWN_FILE.fullmatch(name):
                _add_local(tree, Path(where) / name, (*here, name))
    return tree


def _add_local(tree: Tree, path: Path, names: Names) -> None:
    try:
        "/".join(names).encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"{str(path)!r}: the name is not UTF-8.") from None
    try:
        found = path.stat()
    except OSError as error:
        # A link to nowhere or to itself, or gone since.
        if error.errno in {errno.ENOENT, errno.ELOOP, errno.ENOTDIR}:
            return
        raise
    if stat.S_ISREG(found.st_mode):  # reading a pipe would never end
        tree.files[names] = TreeFile(size_bytes=found.st_size, modified_s=found.st_mtime)


def _raise(error: OSError) -> None:
    raise error


def _scan_remote(root: DataUri) -> Transfer[Tree]:
    tree = Tree()
    waiting: list[Names] = [()]
    while waiting:
        here = waiting.pop()
        if len(here) > _DEPTH_MAX:
            raise UnexpectedResponse(f"{root} has directories more than {_DEPTH_MAX} deep.")
        try:
            for_here = yield from _pages(root.at((*root.segments, *here)))
        except PathNotFound:
            tree.exists = tree.exists and here != ()
            continue
        for listing in for_here:
            for name in listing.folders:
                tree.directories.add((*here, name))
                waiting.append((*here, name))
            for file in listing.files:
                tree.files[*here, file.filename] = TreeFile(
                    size_bytes=file.size, modified_s=file.last_modified.timestamp()
                )
    return tree


def _pages(uri: DataUri) -> Transfer[list[Listing]]:
    pages: list[Listing] = []
    markers = _data_flow.Markers(uri)
    marker = ""
    while True:
        listing: Listing = yield _data_flow.page(uri, marker)
        pages.append(listing)
        if not (marker := markers.after(listing)):
            return pages


def deepest_first(places: set[Names]) -> Iterator[Names]:
    """Yield directories so that each comes after all that are in it."""
    yield from sorted(places, key=lambda names: (-len(names), names))
