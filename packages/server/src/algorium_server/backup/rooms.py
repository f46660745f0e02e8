"""
A hidden directory beside a backup that is being made, for what is not complete yet.

Whoever makes one has it locked, and the kernel ends the lock with the process. So what a killed
backup has left is known by its name and by the lock that nobody has, and whoever makes the next
backup beside it removes it first.

Everything here blocks.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_PREFIX: Final = ".algorium-backup-"


@contextmanager
def room_beside(directory: Path) -> Iterator[Path]:
    """
    Make a directory in another one, which is removed when the block ends.

    Args:
        directory: Where; it is made if it is not there. What backups have left there is removed.

    Raises:
        OSError: It cannot be written to.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with _locked(directory, waits=True):  # or one might remove what another is just making
        _clear(directory)
        room = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=directory))
        descriptor = _lock(room, waits=False)
    try:
        yield room
    finally:
        remove_tree(room)
        if descriptor is not None:
            os.close(descriptor)


def remove_tree(path: Path) -> None:
    """Remove a directory in which directories may be read-only."""
    for folder, _, _ in os.walk(path):
        with suppress(OSError):
            os.chmod(folder, 0o700)
    shutil.rmtree(path, ignore_errors=True)


def _clear(directory: Path) -> None:
    for left in directory.glob(f"{_PREFIX}*"):
        if left.is_dir() and not left.is_symlink():
            with suppress(OSError), _locked(left, waits=False) as is_ours:
                if is_ours:
                    remove_tree(left)


@contextmanager
def _locked(directory: Path, *, waits: bool) -> Iterator[bool]:
    descriptor = _lock(directory, waits=waits)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock(directory: Path, *, waits: bool) -> int | None:
    """Lock a directory; None if somebody has it, or its file system knows no locks."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
