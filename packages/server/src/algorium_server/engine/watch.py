"""
Limits kept by looking, where control groups are not there to keep them.

Less exact: between two looks a sandbox may overshoot. Standard library only.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from algorium_server.engine import processes
from algorium_server.engine.sandbox import SandboxLimits

_ENTRIES_MAX: Final = 100_000
"""A scratch directory with more files than this counts as full: walking it must stay quick."""

Excess = Literal["memory", "processes", "disk"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """
    What to look at.

    Attributes:
        root: The sandbox's first process.
        limits: Of the sandbox.
        memory: Whether memory is ours to watch.
        processes: Whether processes are.
        private: Private file systems inside, whose pages are memory.
    """

    root: int
    limits: SandboxLimits
    memory: bool
    processes: bool
    private: tuple[str, ...] = ()


def has_too_many(watched: Watched) -> bool:
    """Whether the limit of processes is exceeded, and ours to watch."""
    limit = watched.limits.processes
    return watched.processes and len(_tree(watched)) > limit


def look(watched: Watched, beside: Iterable[int] = ()) -> tuple[int, Excess | None]:
    """
    Return the memory in use, 0 if not watched, and which limit is exceeded.

    Args:
        watched: What to look at.
        beside: Processes of ours that work for the sandbox alone: their memory counts, too.
    """
    tree = _tree(watched)
    if watched.processes and len(tree) > watched.limits.processes:
        return 0, "processes"
    if not watched.memory:
        return 0, None
    bytes_max = watched.limits.memory_bytes
    files = _private_bytes(tree, watched.private) + _memory_file_bytes(tree)
    counted = [*tree, *beside]
    used = files + processes.memory_bytes_upper(counted)
    if used > bytes_max:
        # what is in files and mapped as well, is there once
        anonymous, shared = processes.memory_bytes_apart(counted)
        used = anonymous + max(shared, files)
    return used, "memory" if used > bytes_max else None


def is_full(directory: str, limits: SandboxLimits) -> bool:
    """Whether a scratch directory holds more than the sandbox may write."""
    used = entries = 0
    pending = [directory]
    while pending:
        with suppress(OSError), os.scandir(pending.pop()) as found:
            for entry in found:
                entries += 1
                with suppress(OSError):
                    used += entry.stat(follow_symlinks=False).st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                if used > limits.tmp_bytes or entries > _ENTRIES_MAX:
                    return True
    return False


def _tree(watched: Watched) -> list[int]:
    count_max = watched.limits.processes if watched.processes else None
    return processes.descendants(watched.root, count_max=count_max)


def _private_bytes(tree: Iterable[int], private: tuple[str, ...]) -> int:
    for pid in reversed(list(tree)):  # the youngest is surely inside
        with suppress(OSError):
            return sum(_used(f"/proc/{pid}/root{path}") for path in private)
    return 0


def _memory_file_bytes(tree: Iterable[int]) -> int:
    """Return what is in files without a name (memfd_create(2)), which need not be mapped."""
    sizes: dict[int, int] = {}
    for pid in tree:
        with suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    status = os.stat(f"/proc/{pid}/fd/{name}")
                    if status.st_dev == _memory_files():
                        sizes[status.st_ino] = status.st_blocks * 512
    return sum(sizes.values())


@cache
def _memory_files() -> int:
    """Return the device of the one file system that all such files are in."""
    fd = os.memfd_create("any", os.MFD_CLOEXEC)
    try:
        return os.fstat(fd).st_dev
    finally:
        os.close(fd)


def _used(path: str) -> int:
    status = os.statvfs(path)
    return (status.f_blocks - status.f_bfree) * status.f_frsize
