"""
What a URI of hosted data points at, by its form alone; nothing is looked up.

    data://                                   the root: the caller and its organizations
    data://owner            data://.my        an owner: its collections
    data://owner/name       data://.my/name   a collection
    data://.session                           the collection of the call tree
    data://.algo/owner/algorithm              an algorithm: its two collections
    data://.algo/owner/algorithm/temp|perm    the algorithm's collection for this caller
    data://.algo/temp|perm|default            the same, for the algorithm that asks
    .../file                                  a file in any of the collections

Special names count in any case, like the names of owners and collections.

Source: wire specification, "Data URI grammar", "Special names and who may do what".
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from algorium.wire.uris import DataUri

CALLER: Final = ".my"


class Level(Enum):
    """How deep a place lies."""

    ROOT = "root"
    OWNER = "owner"
    ALGORITHM = "algorithm"
    COLLECTION = "collection"
    FILE = "file"
    BELOW = "below a file"
    NOWHERE = "nowhere"


class Space(Enum):
    """What kind of collection a place belongs to."""

    ACCOUNT = "account"
    SESSION = "session"
    TEMP = "temp"
    PERM = "perm"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """
    A place in hosted data.

    Attributes:
        owner: Account name as written, `.my` for the caller; of the algorithm in `.algo`.
            Empty where the URI implies it.
        algorithm: Name as written; empty outside `.algo` and in its short forms.
        collection: Name as written; empty for special collections.
        file: Name, empty above files.
    """

    level: Level
    space: Space = Space.ACCOUNT
    owner: str = ""
    algorithm: str = ""
    collection: str = ""
    file: str = ""

    @property
    def is_directory(self) -> bool:
        """Whether the place can only be a directory."""
        return self.level in {Level.ROOT, Level.OWNER, Level.ALGORITHM, Level.COLLECTION}

    @property
    def is_mine(self) -> bool:
        """Whether the owner is written as the caller, whoever that is."""
        return self.owner.lower() == CALLER


def place_of(uri: DataUri) -> Place:
    """Return what *uri*, a URI of hosted data, points at."""
    segments = uri.segments
    if not segments:
        return Place(level=Level.ROOT)
    collection, length = _collection_of(segments)
    if collection.level is not Level.COLLECTION:
        return collection
    rest = segments[length:]
    if not rest:
        return collection
    if len(rest) > 1:
        return replace(collection, level=Level.BELOW)
    return replace(collection, level=Level.FILE, file=rest[0])


def _collection_of(segments: tuple[str, ...]) -> tuple[Place, int]:
    # Returns the collection and by how many segments it is named, or what else the URI names.
    first = segments[0].lower()
    if first == ".session":
        return Place(level=Level.COLLECTION, space=Space.SESSION), 1
    if first == ".algo":
        return _collection_of_algorithm(segments)
    if len(segments) == 1:
        return Place(level=Level.OWNER, owner=segments[0]), 1
    return Place(level=Level.COLLECTION, owner=segments[0], collection=segments[1]), 2


def _collection_of_algorithm(segments: tuple[str, ...]) -> tuple[Place, int]:
    lowered = tuple(segment.lower() for segment in segments)
    # The long form goes first where both fit: an owner may be called "temp".
    if len(segments) >= 4 and lowered[3] in {"temp", "perm"}:
        place = Place(
            level=Level.COLLECTION,
            space=Space(lowered[3]),
            owner=segments[1],
            algorithm=segments[2],
        )
        return place, 4
    if len(segments) >= 2 and lowered[1] in {"temp", "perm", "default"}:
        return Place(level=Level.COLLECTION, space=Space(lowered[1])), 2
    if len(segments) == 3:
        return Place(level=Level.ALGORITHM, owner=segments[1], algorithm=segments[2]), 3
    return Place(level=Level.NOWHERE), len(segments)
