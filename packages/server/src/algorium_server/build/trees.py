"""
Trees that builds have worked in: looked through before anything is done with them, then copied.

What ran in there may have left anything: whoever follows a link or opens a pipe blindly does what
an author wants. Only directories, files and links, which are never followed, may remain.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from algorium_server.build.confined import BuildFailed
from algorium_server.domain.limits import (
    BUILT_BYTES_MAX,
    BUILT_DIRECTORIES_DEEP_MAX,
    BUILT_FILES_MAX,
)

_SPECIAL_BITS: Final = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX


def settle(tree: Path) -> int:
    """
    Make sure that a tree holds nothing but directories, files and links, for all to read.

    Returns:
        The size of all files together, in bytes.

    Raises:
        BuildFailed: It holds something else, or more than the limits allow.
    """
    size_bytes = count = 0
    pending = [(os.fspath(tree), 1)]
    while pending:
        directory, depth = pending.pop()
        if depth > BUILT_DIRECTORIES_DEEP_MAX:
            raise BuildFailed(f"the build leaves directories {depth} levels deep")
        os.chmod(directory, 0o755)  # noqa: S103 - slots of any user read it
        with os.scandir(directory) as entries:
            for entry in entries:
                count += 1
                status = entry.stat(follow_symlinks=False)
                size_bytes += status.st_size if stat.S_ISREG(status.st_mode) else 0
                if count > BUILT_FILES_MAX:
                    raise BuildFailed(f"the build leaves more than {BUILT_FILES_MAX} files")
                if size_bytes > BUILT_BYTES_MAX:
                    raise BuildFailed(f"the build leaves more than {BUILT_BYTES_MAX} bytes")
                if _settle_entry(entry, status.st_mode, tree):
                    pending.append((entry.path, depth + 1))
    os.sync()  # the database will say that this tree is complete, and must not be ahead of it
    return size_bytes


def tree_digest(tree: Path) -> str:
    """
    Return the SHA-256 of everything in a tree, hexadecimal.

    What counts is the path of every file and link, whether a file can be executed, and what it
    holds or where it leads. Directories count by what is in them; times and owners do not.
    """
    whole = hashlib.sha256()
    for path in sorted(_files(tree), key=os.fsencode):
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            kind, content = b"link", hashlib.sha256(os.fsencode(os.readlink(path))).digest()
        else:
            kind = b"program" if status.st_mode & stat.S_IXUSR else b"file"
            with open(path, "rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
        # No part can be mistaken for another: names hold no NUL, and the rest has fixed sizes.
        name = os.fsencode(os.path.relpath(path, tree))
        whole.update(kind + b"\0" + name + b"\0" + content)
    return whole.hexdigest()


def copy(tree: Path, target: Path) -> None:
    """Copy a settled tree, links as links."""
    shutil.copytree(tree, target, symlinks=True)


def _files(tree: Path) -> Iterator[str]:
    for directory, names, files in os.walk(tree):
        yield from (os.path.join(directory, name) for name in files)
        for name in names:
            path = os.path.join(directory, name)
            if os.path.islink(path):
                yield path


def _settle_entry(entry: "os.DirEntry[str]", mode: int, tree: Path) -> bool:
    """Return whether it is a directory to go into."""
    if stat.S_ISREG(mode):
        os.chmod(entry.path, (stat.S_IMODE(mode) & ~_SPECIAL_BITS) | 0o444)
    elif not stat.S_ISLNK(mode) and not stat.S_ISDIR(mode):
        raise BuildFailed(
            f"the build leaves {os.path.relpath(entry.path, tree)!r}, which is neither a file nor "
            "a directory nor a link"
        )
    return stat.S_ISDIR(mode)
