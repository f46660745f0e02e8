"""What the arguments of commands mean: data URIs, local paths, and patterns of either."""

import glob
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias, TypeGuard

from algorium._cli.program import UsageError
from algorium._errors import PathNotFound
from algorium.wire.uris import DataUri

if TYPE_CHECKING:
    from algorium import Algorium, DataDirectory, DataFile

_REMOTE: Final = re.compile(r"[A-Za-z0-9]+(\+[^:/]*)?:/")
_MAGIC: Final = re.compile(r"[*?[]")
_SPECIAL: Final = frozenset({"temp", "perm", "default"})

RemoteEntry: TypeAlias = "DataFile | DataDirectory"


def is_remote(text: str) -> bool:
    """Tell whether an argument is a data URI, valid or not; everything else is a local path."""
    return _REMOTE.match(text) is not None


def is_directory(entry: RemoteEntry) -> "TypeGuard[DataDirectory]":
    """Tell directories from files, without loading the client to ask it for their classes."""
    return hasattr(entry, "list")


def remote_entries(client: "Algorium", text: str) -> Iterator[RemoteEntry]:
    """
    Find what a data URI means: a file or a directory, or all that match it as a pattern.

    Patterns are `*`, `?` and `[abc]`, each within one part of the URI. What is called just so,
    stars included, comes first.

    Raises:
        PathNotFound: Nothing.
    """
    uri = DataUri.parse(text)
    if client.dir(uri).exists():
        yield client.dir(uri)
        return
    if not any(_MAGIC.search(segment) for segment in uri.segments):
        yield _file(client, uri)
        return
    if client.file(uri).exists():
        yield _file(client, uri)
        return
    found = False
    for entry in _matching(client, uri):
        found = True
        yield entry
    if not found:
        raise PathNotFound(f"nothing matches {text}")


def _file(client: "Algorium", uri: DataUri) -> "DataFile":
    return client.file(uri)


def _matching(client: "Algorium", uri: DataUri) -> Iterator[RemoteEntry]:
    first = next(n for n, segment in enumerate(uri.segments) if _MAGIC.search(segment))
    places: list[RemoteEntry] = [client.dir(uri.at(uri.segments[:first]))]
    for pattern in uri.segments[first:]:
        places = [
            entry
            for place in places
            if is_directory(place)
            for entry in place.list()
            if fnmatchcase(entry.name, pattern)
        ]
    yield from places


def local_paths(text: str) -> list[Path]:
    """
    Find what a local path means: itself if there is such a thing, or all that match it.

    Raises:
        FileNotFoundError: Nothing.
    """
    path = Path(text)
    if path.exists() or not _MAGIC.search(text):
        return [path]
    if found := sorted(glob.glob(text, recursive=True)):
        return [Path(each) for each in found]
    raise FileNotFoundError(f"nothing matches {text}")


def is_remote_directory(client: "Algorium", text: str) -> bool:
    """
    Tell whether a file with this URI as its target goes into it, under its own name.

    Hosted data tells by the form of the URI; connected sources have to be asked.
    """
    uri = DataUri.parse(text)
    if text.endswith("/") or not uri.segments:
        return True
    if uri.protocol != "data":
        return client.dir(uri).exists()
    match uri.segments:
        case (".session", *rest):
            return not rest
        case (".algo", word, *rest) if word in _SPECIAL:
            return not rest
        case (".algo", *rest):
            return len(rest) <= len(("owner", "name", "temp"))
        case _:
            return len(uri.segments) <= len(("owner", "collection"))


def remote_target(client: "Algorium", name: str, target: str) -> DataUri:
    """
    Return where a file called *name* goes.

    Raises:
        UsageError: Into a directory, and it has no name.
    """
    uri = DataUri.parse(target)
    if not is_remote_directory(client, target):
        return uri
    if not name:
        raise UsageError(f"{target} is a directory; name a file in it")
    return uri.child(name)
