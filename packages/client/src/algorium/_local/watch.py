"""
Notices that the source of a project has changed, by looking: it works alike on every system.

Only what authors write counts. An algorithm may write data beside its source, and must not be
started again for that.
"""

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

_SUFFIXES: Final = frozenset(
    {".py", ".json", ".toml", ".txt", ".yml", ".yaml", ".cfg", ".ini", ".conf", ".lock", ".pyi"}
)
_LEFT_OUT: Final = frozenset({"__pycache__", "node_modules", "venv", "site-packages"})
_FILES_MAX: Final = 20_000
"""Looked at; a project that has more is looked at in part."""

Picture = dict[str, tuple[int, int]]


def picture_of(root: Path, more: Collection[Path] = ()) -> Picture:
    """
    Return time and size of everything that counts.

    Args:
        root: Of the project.
        more: Files elsewhere, or of other kinds.
    """
    picture: Picture = {}
    for path in _files(root):
        if len(picture) >= _FILES_MAX:
            break
        _add(picture, path)
    for each in more:
        _add(picture, str(each))
    return picture


def changed(before: Picture, after: Picture) -> list[str]:
    """Return which files differ, in order."""
    return sorted(
        path for path in before.keys() | after.keys() if before.get(path) != after.get(path)
    )


def _files(root: Path) -> Iterator[str]:
    for directory, subdirectories, names in os.walk(root):
        subdirectories[:] = [
            name for name in subdirectories if not name.startswith(".") and name not in _LEFT_OUT
        ]
        for name in names:
            if os.path.splitext(name)[1] in _SUFFIXES and not name.startswith("."):
                yield os.path.join(directory, name)


def _add(picture: Picture, path: str) -> None:
    try:
        status = os.stat(path)
    except OSError:
        return
    picture[path] = (status.st_mtime_ns, status.st_size)
