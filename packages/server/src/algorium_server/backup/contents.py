"""
What of a home directory goes into a backup, and in which order it is read.

Everything does, unless it is named here. So a release that keeps something new in the home
directory has it in its backups without a word in this module.

What is read here may be written at the same time; these rules make of it what a crash could leave:

- blobs, trees of builds and environments never change once they are complete, and nothing that a
  row points to is removed while a backup holds the home directory (`holding`).
- a repository is read in the order of `repositories`.
- everything else is small, or only grows: it is read at once, as long as it is at that moment.
- links are followed where only whoever runs the server makes some (`links`).

What is gone before it is read was no row's, and is left out.
"""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from algorium_server.backup.links import followed
from algorium_server.backup.repositories import repository_sources
from algorium_server.durable import is_half
from algorium_server.home import ENDPOINT_FILE, RESTORING_FILE, is_sandboxes
from algorium_server.services.audit_checkpoints import checkpoint_file
from algorium_server.services.people.accounts import CREDENTIALS_FILE

DATABASE_FILE: Final = "algorium.db"
BACKUPS_DIR: Final = "backups"
_SECRETS_DIR: Final = "secrets"
KEYS: Final = frozenset({_SECRETS_DIR, CREDENTIALS_FILE})
"""What opens the rest."""
BLOBS_DIR: Final = "blobs"
_USAGE_DIR: Final = "usage"
_REPOSITORIES_DIR: Final = "repos"
_BUILDS_DIR: Final = "builds"
_ENVIRONMENTS_DIR: Final = "envs"
_COMPLETE: Final = "complete"
_IMMUTABLE: Final = frozenset({BLOBS_DIR, _BUILDS_DIR, _ENVIRONMENTS_DIR})

_LEFT_OUT: Final = frozenset(
    {
        f"{DATABASE_FILE}-wal",
        f"{DATABASE_FILE}-shm",
        DATABASE_FILE,  # its copy is made by the database
        ENDPOINT_FILE,
        RESTORING_FILE,
        "lock",
        "hold",
        BACKUPS_DIR,
        "caches",  # packages that builds have downloaded
        "hosts",  # what is being fetched from repositories elsewhere
        "models",  # copies of files from elsewhere
        _USAGE_DIR,  # see `early_contents`
        "uploads",  # unfinished: their clients begin them again
    }
)


class Source(NamedTuple):
    """
    Something to copy.

    Attributes:
        path: Where it is in the home directory, with slashes.
        file: Where it is now.
        is_immutable: It never changes, so that a link to it is as good as a copy.
    """

    path: str
    file: Path
    is_immutable: bool = False


def early_contents(home: Path) -> Iterator[Source]:
    """
    Yield what is to be copied before the database is.

    The journal of usage: its batches come into the database and go then, and what is in both counts
    once. Checkpoints of the audit log: they vouch for what is in the database by then.
    """
    yield from _all(home / _USAGE_DIR, _USAGE_DIR)
    checkpoints = checkpoint_file(home)
    yield from _all(checkpoints, checkpoints.relative_to(home).as_posix())


def contents(home: Path, *, has_keys: bool, has_blobs: bool) -> Iterator[Source]:
    """
    Yield everything else, after the database was copied; the database itself is not in it.

    Args:
        home: The home directory.
        has_keys: With the keys that open secrets, and those of the first start.
        has_blobs: With the bytes of larger files.
    """
    checkpoints = checkpoint_file(home).relative_to(home).as_posix()
    for name in sorted(os.listdir(home)):
        if name in _LEFT_OUT or is_sandboxes(name):
            continue
        if (name in KEYS and not has_keys) or (name == BLOBS_DIR and not has_blobs):
            continue
        if name.startswith("."):  # a file that is just being written
            continue
        path, above = followed(home / name)
        for source in _part(path, name, above):
            # What a crash has left of the keys has those that were forgotten since.
            is_left = name == _SECRETS_DIR and is_half(source.path.rpartition("/")[2])
            if source.path != checkpoints and not is_left:
                yield source


def _part(path: Path, name: str, above: frozenset[Path]) -> Iterator[Source]:
    if name == BLOBS_DIR:
        yield from _some(path, name, lambda child: child.is_dir() and child.name != "incoming")
    elif name == _BUILDS_DIR:
        yield from _some(path, name, lambda child: child.suffix not in {".work", ".modules"})
    elif name == _ENVIRONMENTS_DIR:
        yield from _some(path, name, lambda child: (child / _COMPLETE).exists())
    elif name == _REPOSITORIES_DIR:
        yield Source(name, path)
        for owner in _children(path):
            place, beneath = followed(owner, above)
            yield Source(f"{name}/{owner.name}", place)
            for child in _children(place):
                if child.suffix == ".git" and not child.name.startswith("."):
                    repository, _ = followed(child, beneath)
                    below = f"{name}/{owner.name}/{child.name}"
                    yield from (Source(*each) for each in repository_sources(repository, below))
    else:
        yield from _all(path, name, above=above)


def _some(path: Path, name: str, wanted: Callable[[Path], bool]) -> Iterator[Source]:
    yield Source(name, path)
    for child in _children(path):
        if not child.name.startswith(".") and wanted(child):
            place, above = followed(child)
            yield from _all(
                place,
                f"{name}/{child.name}",
                is_immutable=name in _IMMUTABLE,
                above=above if name == BLOBS_DIR else None,
            )


def _all(
    path: Path,
    name: str,
    *,
    is_immutable: bool = False,
    above: frozenset[Path] | None = frozenset(),
) -> Iterator[Source]:
    """
    Yield something and what is below it; neither sockets nor devices.

    Args:
        path: Where it is.
        name: What to call it.
        is_immutable: It never changes.
        above: As for `followed`; None if links are content.
    """
    waiting = [(path, name, above)]  # no recursion: authors decide how deep their trees are
    while waiting:
        path, name, above = waiting.pop()
        if above is not None:
            path, above = followed(path, above)
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(mode):
            yield Source(name, path)
            waiting += [
                (child, f"{name}/{child.name}", above) for child in reversed(_children(path))
            ]
        elif stat.S_ISREG(mode) or stat.S_ISLNK(mode):
            yield Source(name, path, is_immutable)


def _children(path: Path) -> list[Path]:
    try:
        return sorted(path.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
