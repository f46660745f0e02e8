"""
What every kind of object store must be able to do beside what obstore does for all of them alike.

Object stores know keys, not directories. A *level* is what a listing with a delimiter shows below a
prefix: keys without a further slash, and the parts of longer keys up to it. A *mark* is an object
without bytes whose key ends in a slash: it makes a directory exist that is empty.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Protocol, Self
from xml.etree.ElementTree import Element

import defusedxml.ElementTree
from obstore.store import AzureStore, GCSStore, S3Store

from algorium_server.data.connector import Entry
from algorium_server.domain.errors import SourceFailed
from algorium_server.domain.limits import LISTING_ENTRIES_MAX, SOURCE_LISTING_TAGS_MAX

_SIZE_DIGITS_MAX: Final = 18
"""Of 64 bits; longer numbers are nonsense, and Python refuses to read very long ones."""

Store = S3Store | GCSStore | AzureStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """
    A part of a level, in the store's own order.

    Attributes:
        folders: Names, each once on a level.
        files: In the order of their names.
        is_marked: The directory's own mark is among the keys.
        token: Continues after this part; empty at the end.
    """

    folders: tuple[str, ...] = ()
    files: tuple[Entry, ...] = ()
    is_marked: bool = False
    token: str = ""

    @classmethod
    def below(
        cls,
        prefix: str,
        keys: Iterable[Entry],
        prefixes: Iterable[str],
        *,
        token: str = "",
    ) -> Self:
        """
        Make a level of what a store lists, leaving out what has no address as a path.

        Args:
            prefix: What was listed.
            keys: The objects, whole keys as their names.
            prefixes: The parts of longer keys, up to their slash.
            token: Continues after this part.
        """
        is_marked = False
        files = []
        for entry in keys:
            is_marked = is_marked or entry.name == prefix
            name = name_below(prefix, entry.name)
            if name is not None and not entry.name.endswith("/"):
                files.append(replace(entry, name=name))
        names = (name_below(prefix, key) for key in prefixes)
        return cls(
            folders=tuple(name for name in names if name is not None),
            files=tuple(files),
            is_marked=is_marked and bool(prefix),
            token=token,
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing here, not even a mark."""
        return not (self.folders or self.files or self.is_marked or self.token)


class ObjectService(Protocol):
    """A kind of object store, with the credentials of one connector."""

    protocol: str
    has_buckets: bool
    """Whether the first segment of a path is a bucket."""

    async def store(self, bucket: str, /) -> Store:
        """Return obstore's view of a bucket."""
        ...

    async def level(
        self, bucket: str, /, prefix: str, *, token: str = "", limit: int = LISTING_ENTRIES_MAX
    ) -> Level:
        """
        List a level.

        Args:
            bucket: Which bucket; empty where there are none.
            prefix: Empty, or ending in a slash.
            token: Of the part before; empty for the first one.
            limit: How many entries at most.
        """
        ...

    async def buckets(self) -> list[str]:
        """Return the names of all buckets."""
        ...

    async def put_mark(self, bucket: str, /, key: str) -> None:
        """Make the mark of a directory; *key* ends in a slash."""
        ...

    async def delete_mark(self, bucket: str, /, key: str) -> None:
        """Delete the mark of a directory, if there is one; *key* ends in a slash."""
        ...

    def etag_of(self, meta: Any) -> str:
        """Return what tells versions apart, of what obstore tells about an object."""
        ...

    def version_of(self, etag: str) -> dict[str, str]:
        """Return how obstore is told to replace exactly this version."""
        ...

    def reason(self, error: BaseException) -> Exception:
        """Return the error that stands for what obstore raised."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...


def name_below(prefix: str, key: str) -> str | None:
    """
    Return the name that *key* has on the level below *prefix*, None if it cannot be a name there.

    Keys with doubled slashes and the like have no address as a path; listings leave them out, and
    so they do with keys from elsewhere, whatever a service answers to a token that was made up.
    """
    if not key.startswith(prefix):
        return None
    name = key.removeprefix(prefix).removesuffix("/")
    return name if name not in {"", ".", ".."} and "/" not in name else None


def xml_of(body: bytes, protocol: str, *, kind: str) -> Element:
    """
    Read XML that somebody else wrote.

    Args:
        body: What came.
        protocol: Which kind of source, for messages.
        kind: Name of the outermost element. Errors come as a success, too, and an error that is
            read as a listing is an empty directory.

    Raises:
        SourceFailed: It is none, or does what an answer has no reason to do.
    """
    if body.count(b"<") > SOURCE_LISTING_TAGS_MAX:
        raise SourceFailed(f"{protocol}: the source's answer is too long")
    try:
        root: Element = defusedxml.ElementTree.fromstring(body)
    except Exception:
        raise SourceFailed(f"{protocol}: the source's answer cannot be understood") from None
    for element in root.iter():  # the name space says nothing, and old services leave it out
        element.tag = element.tag.rpartition("}")[2]
    if root.tag != kind:
        raise SourceFailed(f"{protocol}: the source's answer cannot be understood")
    return root


def texts(root: Element, *path: str) -> Iterator[str]:
    """Yield the text of every element at a path."""
    for element in root.iterfind("/".join(path)):
        yield element.text or ""


def moment_of(text: str) -> datetime | None:
    """Read a time as stores write it; None if it is none."""
    try:
        moment = datetime.fromisoformat(text) if text[:1].isdigit() else parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, IndexError, OverflowError):
        return None


def unquoted(etag: str | None) -> str:
    """Return an ETag without its quotes."""
    return (etag or "").removeprefix("W/").strip('"')


def size_of(text: str | None) -> int:
    """Read a size as stores write it; 0 if it is none."""
    is_size = text and len(text) <= _SIZE_DIGITS_MAX and text.isascii() and text.isdigit()
    return int(text) if text and is_size else 0


def hexadecimal(digest: str) -> str:
    """Turn a digest in Base64 into hexadecimal digits; empty if it is none."""
    try:
        return base64.b64decode(digest, validate=True).hex()
    except (binascii.Error, ValueError):
        return ""
