"""
Files that survive a crash: written whole or not at all, and found again after a power cut.

A name reaches the disk with its directory, not with its file; so whoever creates, renames or
deletes something that others will rely on flushes the directory too.

Everything here blocks.
"""

import os
import re
import uuid
from pathlib import Path
from typing import Final

_HALF: Final = re.compile(r"\..+\.[0-9a-f]{32}")
"""What `write_file` and `write_new_file` call a file before it has its name."""


def flush_directory(path: Path) -> None:
    """Make the names in a directory reach the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, text: str) -> None:
    """
    Write a file that only its owner can read, or replace it.

    Readers see all of the old text or all of the new, also after a crash.
    """
    half = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with open(os.open(half, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        half.rename(path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise
    flush_directory(path.parent)


def write_new_file(path: Path, text: str) -> bool:
    """
    Write a file that only its owner can read, unless there is one; return whether there was none.

    Of several processes that try, exactly one writes; nobody sees half of it.
    """
    whole = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    write_file(whole, text)
    try:
        os.link(whole, path)
    except FileExistsError:
        return False
    finally:
        whole.unlink(missing_ok=True)
        flush_directory(path.parent)
    return True


def is_half(name: str) -> bool:
    """Whether a file of that name is one that is just being written, or that a crash left so."""
    return _HALF.fullmatch(name) is not None


def remove_halves(path: Path) -> None:
    """Remove what crashes have left of a file; nobody is writing it meanwhile."""
    ours = (f".{path.name}.", f"..{path.name}.")
    halves = [each for each in path.parent.iterdir() if each.name.startswith(ours)]
    halves = [each for each in halves if is_half(each.name)]
    for each in halves:
        each.unlink(missing_ok=True)
    if halves:
        flush_directory(path.parent)
