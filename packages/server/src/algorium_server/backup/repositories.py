"""
The order in which a git repository is read while others push to it.

References first, then objects: those of a reference are there before it is, and stay
(`gc.pruneExpire` in `build/source/git.py`). They may move, though, from loose files into packs and
from packs into larger ones, always there before they are gone here. So what they move away from is
read first, and packs are looked for again until there are none that are new. For the same reason
loose references come before packed ones.

What git can make again is left out: it would speak of packs that are not in the copy.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from algorium_server.domain.errors import Unavailable
from algorium_server.domain.limits import BACKUP_PACKS_PASSES_MAX

_OBJECTS: Final = "objects"
_PACKED: Final = "packed-refs"
_LOOSE_DIR_CHARS: Final = 2
_OBJECT_CHARS: Final = 38
_PACK_FILES: Final = (".pack", ".rev", ".idx")
"""The index last: a pack counts once it has one."""


def repository_sources(path: Path, name: str) -> Iterator[tuple[str, Path]]:
    """
    Yield names and files of a bare repository, in order; each file is to be read before the next.

    Args:
        path: Where it is.
        name: What to call it; names below it have slashes.

    Raises:
        Unavailable: Its packs are replaced faster than they are read.
    """
    yield name, path
    yield from _below(path, name, skipped={_OBJECTS, _PACKED})
    if (path / _PACKED).is_file():
        yield f"{name}/{_PACKED}", path / _PACKED
    yield from _objects(path / _OBJECTS, f"{name}/{_OBJECTS}")


def _objects(path: Path, name: str) -> Iterator[tuple[str, Path]]:
    yield name, path
    for directory in _children(path):
        if len(directory.name) == _LOOSE_DIR_CHARS:
            yield f"{name}/{directory.name}", directory
            for file in _children(directory):
                if len(file.name) >= _OBJECT_CHARS and not file.name.startswith("tmp"):
                    yield f"{name}/{directory.name}/{file.name}", file
    yield f"{name}/pack", path / "pack"
    seen: set[str] = set()
    for _ in range(BACKUP_PACKS_PASSES_MAX):
        packs = {file.stem for file in _children(path / "pack") if file.suffix == ".idx"}
        if packs <= seen:
            return
        for pack in sorted(packs - seen):
            for suffix in _PACK_FILES:
                file = path / "pack" / f"{pack}{suffix}"
                if file.is_file():
                    yield f"{name}/pack/{file.name}", file
        seen |= packs
    raise Unavailable(f"the repository {name} changes too fast to be copied; try again")


def _below(path: Path, name: str, *, skipped: set[str]) -> Iterator[tuple[str, Path]]:
    for child in _children(path):
        if child.name in skipped or child.name.endswith(".lock") or child.is_symlink():
            continue
        if child.is_dir():
            yield f"{name}/{child.name}", child
            yield from _below(child, f"{name}/{child.name}", skipped=set())
        elif child.is_file():
            yield f"{name}/{child.name}", child


def _children(path: Path) -> list[Path]:
    try:
        return sorted(path.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
