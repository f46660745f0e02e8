"""
What an account has, as files: the folder that `algo export` writes and `algo import` reads.

    manifest.json                       what is in here: sizes and digests; whether it is complete
    algorithms/NAME/algorithm.json      details, settings, versions
    algorithms/NAME/source.bundle       the repository, for git
    data/COLLECTION/...                 the files of a collection
    begun/...                           what imports have begun to create, see `Begun`

The manifest is written first, as incomplete, and last, with all digests: a folder that was cut off
says so, and one that was changed afterwards does not fit. Nothing in it is believed: names become
paths only after they were looked at.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from algorium._cli.program import Failed, UsageError
from algorium.wire.refs import AlgorithmRef, RefSyntaxError

FORMAT: Final = "algorium-export"
FORMAT_VERSION: Final = 1
MANIFEST: Final = "manifest.json"
MANIFEST_BYTES_MAX: Final = 1 << 28
"""A hundred bytes for each file: two million files, more than a server lists in one go."""
NAME_BYTES_MAX: Final = 255
"""Of a directory: what file systems take."""

_SHOWN_MAX: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """
    What is in a folder.

    Attributes:
        server: Where it came from.
        account: Whose it was.
        is_complete: The export got to its end.
        exported_at: When it did, in ISO 8601.
        algorithms: Their names.
        collections: By name, who may read, as the wire has it.
        files: By path below the folder, size and SHA-256.
    """

    server: str
    account: str
    is_complete: bool = False
    exported_at: str = ""
    algorithms: tuple[str, ...] = ()
    collections: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: Mapping[str, tuple[int, str]] = field(default_factory=dict)


def algorithm_path(root: Path, name: str) -> Path:
    """
    Return where an algorithm is.

    Raises:
        Failed: Nothing can be called so.
    """
    try:
        AlgorithmRef(owner="a", name=name)
    except RefSyntaxError:
        raise Failed(f"{name!r} is no name of an algorithm") from None
    return root / "algorithms" / name


def collection_path(root: Path, name: str) -> Path:
    """
    Return where a collection is.

    Raises:
        Failed: A directory cannot be called so.
    """
    if name in {"", ".", ".."} or any(each in name for each in "/\\\0") or not _fits(name):
        shown = name if len(name) <= NAME_BYTES_MAX else f"{name[:_SHOWN_MAX]}..."
        raise Failed(f"{shown!r} cannot be the name of a directory on this machine")
    return root / "data" / name


def places_of(root: Path, algorithms: Iterable[str], collections: Iterable[str]) -> list[Path]:
    """Return where these are, by their names; raises as `algorithm_path` and `collection_path`."""
    return [
        *(algorithm_path(root, name) for name in algorithms),
        *(collection_path(root, name) for name in collections),
    ]


def _fits(name: str) -> bool:
    try:
        return len(name.encode()) <= NAME_BYTES_MAX
    except UnicodeEncodeError:  # half a character: JSON can spell that
        return False


class Begun:
    """
    What imports of a folder have begun to create, so that after a cut they know it as their own.

    It is noted in the folder, an empty file for each. Where nothing can be written, imports do
    without: what was begun then counts as somebody's.

    Args:
        root: The folder.
        server: Where it is brought to.
        account: Whose it is to be there.
    """

    def __init__(self, root: Path, *, server: str, account: str) -> None:
        self._place = root / "begun"
        self._owner = (server, account)

    def holds(self, what: str) -> bool:
        """Whether something was begun, and not finished."""
        return self._path(what).is_file()

    def note(self, what: str) -> None:
        """Note it, just before it is created."""
        with contextlib.suppress(OSError):
            self._place.mkdir(exist_ok=True)
            self._path(what).touch()

    def forget(self, what: str) -> None:
        """Let it be: it is finished, or it was not begun after all."""
        with contextlib.suppress(OSError):
            self._path(what).unlink(missing_ok=True)
            self._place.rmdir()  # unless there is more

    def _path(self, what: str) -> Path:
        told = json.dumps([*self._owner, what])  # also of names that are too long for a file
        return self._place / hashlib.sha256(told.encode()).hexdigest()


def begin(root: Path, *, server: str, account: str) -> Manifest:
    """
    Make a folder ready to be written: new, or one that an export of the same account has begun.

    What it had is still in its manifest then, which is incomplete from now on.

    Returns:
        The manifest.

    Raises:
        UsageError: It holds something else.
    """
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is no directory")
    begun = Manifest(server=server, account=account)
    if root.is_dir() and any(root.iterdir()):
        if not (root / MANIFEST).exists():
            raise UsageError(f"{root} holds something else: name a new directory")
        known = read(root)
        if (known.server, known.account) != (server, account):
            raise UsageError(
                f"{root} holds what {known.account} has at {known.server}: name a new directory"
            )
        begun = replace(known, is_complete=False)
    root.mkdir(parents=True, exist_ok=True)
    write(root, begun)
    return begun


def read(root: Path) -> Manifest:
    """
    Read the manifest of a folder.

    Raises:
        UsageError: There is none, or it is of something else.
    """
    path = root / MANIFEST
    if not path.is_file():
        raise UsageError(f"{root} is no export: there is no {MANIFEST} in it")
    try:
        with path.open("rb") as stream:
            raw = stream.read(MANIFEST_BYTES_MAX + 1)
        told = json.loads(raw) if len(raw) <= MANIFEST_BYTES_MAX else None
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise UsageError(f"{path} is no manifest of an export")
    if told.get("format_version") != FORMAT_VERSION:
        raise UsageError(
            f"{path} is of format {told.get('format_version')!r}, and this program reads "
            f"{FORMAT_VERSION}: take the `algo` that wrote it, or a newer one"
        )
    try:
        return _manifest(told)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UsageError(f"{path} is damaged: export once more") from None


def write(root: Path, manifest: Manifest) -> None:
    """Replace the manifest of a folder; it is there as a whole, or as it was."""
    told = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "server": manifest.server,
        "account": manifest.account,
        "is_complete": manifest.is_complete,
        "exported_at": manifest.exported_at,
        "algorithms": list(manifest.algorithms),
        "collections": {
            name: {"read": list(entries)} for name, entries in manifest.collections.items()
        },
        "files": {
            path: {"bytes": size, "sha256": digest}
            for path, (size, digest) in manifest.files.items()
        },
    }
    write_json_file(root / MANIFEST, told)


def write_json_file(path: Path, value: Any) -> None:
    """Write a JSON file that is there as a whole, or not at all, also after a power cut."""
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8") as stream:
        json.dump(value, stream, indent=2, ensure_ascii=False)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def digests(root: Path, places: list[Path]) -> dict[str, tuple[int, str]]:
    """
    Return sizes and SHA-256 of all files below some places, by their paths below *root*.

    Raises:
        Failed: There is something else than files and directories.
    """
    found = {}
    for place in places:
        if place.is_symlink() or place.parent.is_symlink():
            raise Failed(f"{place} leads somewhere else")
        for path in _files(place):
            found[path.relative_to(root).as_posix()] = _digest(path)
    return dict(sorted(found.items()))


def verify(root: Path, manifest: Manifest) -> None:
    """
    Check that a folder is what its manifest says.

    What belongs to no algorithm and no collection of it is not looked at, and not read either.

    Raises:
        Failed: A file is missing, was changed, or has come in.
    """
    places = places_of(root, manifest.algorithms, manifest.collections)
    # Links are refused also where they lead nowhere, or to a directory without this one.
    found = digests(
        root,
        [place for place in places if os.path.lexists(place) or place.parent.is_symlink()],
    )
    for path in sorted(manifest.files.keys() | found.keys()):
        if path not in found:
            _refuse(f"{path} is missing")
        if path not in manifest.files:
            _refuse(f"{path} is not part of the export")
        if found[path] != manifest.files[path]:
            _refuse(f"{path} is not what was exported")


def _refuse(what: str) -> None:
    raise Failed(f"{what}: nothing was imported", hint="Export once more, or copy it once more.")


def _manifest(told: dict[str, Any]) -> Manifest:
    files = {
        path: (_size(each["bytes"]), str(each["sha256"])) for path, each in told["files"].items()
    }
    for path in files:
        parts = PurePosixPath(path).parts
        if len(parts) < 3 or ".." in parts or parts[0] not in {"algorithms", "data"}:
            raise ValueError(path)
    return Manifest(
        server=str(told["server"]),
        account=str(told["account"]),
        is_complete=told["is_complete"] is True,
        exported_at=str(told["exported_at"]),
        algorithms=tuple(map(str, told["algorithms"])),
        collections={
            str(name): tuple(map(str, each["read"])) for name, each in told["collections"].items()
        },
        files=files,
    )


def _size(told: object) -> int:
    if not isinstance(told, int) or isinstance(told, bool) or told < 0:  # 1e400 is infinite
        raise ValueError(told)
    return told


def _files(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        raise Failed(f"{place} is no directory")
    for path in sorted(place.iterdir()):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise Failed(f"{path} is neither a file nor a directory")
        if path.is_dir():
            yield from _files(path)
        else:
            yield path


def _digest(path: Path) -> tuple[int, str]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
        return stream.tell(), digest.hexdigest()
