"""
Trees that builds have worked in: looked through before anything is done with them, then copied.

What ran in there may have left anything: whoever follows a link or opens a pipe blindly does what
an author wants. Only directories, files and links, which are never followed, may remain.
"""

import os
import shutil
import stat
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


def copy(tree: Path, target: Path) -> None:
    """Copy a settled tree, links as links."""
    shutil.copytree(tree, target, symlinks=True)


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
