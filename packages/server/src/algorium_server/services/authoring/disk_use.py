"""
What a job of a build adds to the disks of the directories that it may write.

An archive of a few kilobytes can unpack to whatever a disk holds, and the tools that unpack know no
limit. Quotas need rights that a server does not have, so somebody looks: often at how much room the
file systems have left, which costs nothing, and only when that shrank at the files themselves.

What counts is every file whose status changed since the job began; nobody can forge that time.
"""

import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_CLOCK_SLACK_NS: Final = 1_000_000_000
"""File systems note times by a coarser clock."""
_HALF_MADE: Final = ".tmp"
"""Names of directories that uv is unpacking into begin so."""
_UNPACKED: Final = re.compile(r"/(archive-v\d+/[^/]+|sdists-v\d+/.+/src)$")
"""Where in its cache uv keeps what it has unpacked."""
_POINTERS: Final = re.compile(r"/wheels-v\d+/")
"""Where it notes what is unpacked. Without a note it unpacks again; with nothing else it fails."""
_LARGE: Final = 10
"""The part of the limit from which on something unpacked is what broke it."""


class DiskUse:
    """
    Watches the directories of one job. All methods block.

    Args:
        directories: Where the job may write.
        bytes_max: It may add so much.
        files_max: The same in files and directories.
    """

    def __init__(self, directories: Iterable[Path], *, bytes_max: int, files_max: int) -> None:
        self._directories = tuple(directories)
        self._bytes_max = bytes_max
        self._files_max = files_max
        self._began_ns = time.time_ns() - _CLOCK_SLACK_NS
        self._room = self._rooms()

    def may_be_over(self) -> bool:
        """Whether a file system lost so much room that a closer look is due; quick."""
        return any(
            before_bytes - now_bytes > self._bytes_max or before_files - now_files > self._files_max
            for (before_bytes, before_files), (now_bytes, now_files) in zip(
                self._room, self._rooms(), strict=True
            )
        )

    def is_over(self) -> bool:
        """Whether the job's own files are too large or too many; walks through all of them."""
        used_bytes = 0
        seen: set[tuple[int, int]] = set()
        for files, status in enumerate(self._new(), start=1):
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                used_bytes += status.st_blocks * 512
            if used_bytes > self._bytes_max or files > self._files_max:
                return True
        self._room = self._rooms()  # somebody else's: look again when as much more is gone
        return False

    def remove_excess(self) -> None:
        """Remove what tools that were stopped have unpacked, to the end or half, and is large."""
        for directory in self._directories:
            for folder, names, files in os.walk(directory):
                for name in tuple(names):
                    path = os.path.join(folder, name)
                    is_half_made = name.startswith(_HALF_MADE)
                    if is_half_made or _UNPACKED.search(path):
                        names.remove(name)
                        if self._is_new(path) and (is_half_made or self._is_large(path)):
                            shutil.rmtree(path, ignore_errors=True)
                for path in (os.path.join(folder, name) for name in files):
                    if _POINTERS.search(path) and self._is_new(path):
                        os.unlink(path)

    def _is_new(self, path: str) -> bool:
        try:
            return os.lstat(path).st_ctime_ns >= self._began_ns
        except OSError:
            return False

    def _is_large(self, path: str) -> bool:
        used_bytes = 0
        for files, status in enumerate(_everything_in([path]), start=1):
            used_bytes += status.st_blocks * 512
            if used_bytes > self._bytes_max // _LARGE or files > self._files_max // _LARGE:
                return True
        return False

    def _rooms(self) -> list[tuple[int, int]]:
        found = []
        for directory in self._directories:
            status = os.statvfs(directory)
            found.append((status.f_bfree * status.f_frsize, status.f_ffree))
        return found

    def _new(self) -> Iterator[os.stat_result]:
        return (
            status
            for status in _everything_in(map(str, self._directories))
            if status.st_ctime_ns >= self._began_ns
        )


def _everything_in(directories: Iterable[str]) -> Iterator[os.stat_result]:
    pending = list(directories)
    while pending:
        with suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    yield entry.stat(follow_symlinks=False)
