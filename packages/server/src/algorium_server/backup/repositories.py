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

from algorium_server.backup.links import followed
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
    yield from _below(path, name, frozenset(), skipped={_OBJECTS, _PACKED})
    packed, _ = followed(path / _PACKED)
    if packed.is_file():
        yield f"{name}/{_PACKED}", packed
    objects, _ = followed(path / _OBJECTS)
    yield from _objects(objects, f"{name}/{_OBJECTS}")


def _objects(path: Path, name: str) -> Iterator[tuple[str, Path]]:
    yield name, path
    for child in _children(path):
        if len(child.name) == _LOOSE_DIR_CHARS:
            directory, _ = followed(child)
            yield f"{name}/{child.name}", directory
            for file in _children(directory):
                if len(file.name) >= _OBJECT_CHARS and not file.name.startswith("tmp"):
                    yield f"{name}/{child.name}/{file.name}", followed(file)[0]
    place, _ = followed(path / "pack")
    yield f"{name}/pack", place
    seen: set[str] = set()
    for _ in range(BACKUP_PACKS_PASSES_MAX):
        packs = {file.stem for file in _children(place) if file.suffix == ".idx"}
        if packs <= seen:
            return
        for pack in sorted(packs - seen):
            for suffix in _PACK_FILES:
                file, _ = followed(place / f"{pack}{suffix}")
                if file.is_file():
                    yield f"{name}/pack/{pack}{suffix}", file
        seen |= packs
    raise Unavailable(f"the repository {name} changes too fast to be copied; try again")


def _below(
    path: Path, name: str, above: frozenset[Path], *, skipped: set[str]
) -> Iterator[tuple[str, Path]]:
    for child in _children(path):
        if child.name in skipped or child.name.endswith(".lock"):
            continue
        place, beneath = followed(child, above)
        if place.is_symlink() or place.is_file():
            yield f"{name}/{child.name}", place
        elif place.is_dir():
            yield f"{name}/{child.name}", place
            yield from _below(place, f"{name}/{child.name}", beneath, skipped=set())


def _children(path: Path) -> list[Path]:
    try:
        return sorted(path.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
