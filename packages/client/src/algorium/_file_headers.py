"""
What headers say about files, written and read: versions, conditions, parts, digests.

Source: HTTP semantics, "Conditional Requests", "Range Requests"; RFC 9530, "Digest Fields".
"""

import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

from algorium._answers import unexpected
from algorium._errors import ContentMismatch
from algorium._messages import Response

_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")
_ETAG: Final = re.compile(r'(W/"[!#-~]*"|[!#-~]+)')
_MD5: Final = re.compile(r"[0-9a-f]{32}")
_DIGEST: Final = re.compile(r"(?:^|[ ,])md5=:?([A-Za-z0-9+/]{22}==)")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStat:
    """
    What the server knows about a file; older servers and some sources know less.

    Attributes:
        size_bytes: Its size, None if it was not told.
        modified_at: When it was last written, to the second; None if it was not told.
        etag: Names this version of the file, for `if_match`; empty if there is none.
        md5: Digest of its bytes, 32 hexadecimal digits; empty if it was not told.
    """

    size_bytes: int | None = None
    modified_at: datetime | None = None
    etag: str = ""
    md5: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """
    What must hold for a file to be changed; the server checks it at the moment of the change.

    Attributes:
        if_match: The version that must be there; empty if it does not matter.
        create_only: Nothing may be there.
    """

    if_match: str = ""
    create_only: bool = False

    def __post_init__(self) -> None:
        if self.if_match and self.create_only:
            raise ValueError("if_match and create_only exclude each other")

    @property
    def headers(self) -> dict[str, str]:
        """The condition as HTTP spells it."""
        if self.create_only:
            return {"If-None-Match": "*"}
        return {"If-Match": quoted(self.if_match)} if self.if_match else {}


ALWAYS: Final = Condition()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """
    Bytes of a file to be read.

    Attributes:
        start: First byte.
        end: Behind the last byte; None for the end of the file.
        etag: Only out of this version. Another one comes whole, with status 200.
    """

    start: int
    end: int | None = None
    etag: str = ""

    def __post_init__(self) -> None:
        if self.start < 0 or (self.end is not None and self.end <= self.start):
            raise ValueError(f"no part of a file goes from {self.start} to {self.end}")

    def end_within(self, extent: "Extent") -> int:
        """Return where the part ends in a file of this size."""
        return extent.total_bytes if self.end is None else min(self.end, extent.total_bytes)

    @property
    def headers(self) -> dict[str, str]:
        """The part as HTTP spells it."""
        last = "" if self.end is None else self.end - 1
        version = {"If-Range": quoted(self.etag)} if self.etag else {}
        return {"Range": f"bytes={self.start}-{last}", **version}


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Which bytes an answer holds, out of how many."""

    start: int
    end: int
    total_bytes: int


def quoted(etag: str) -> str:
    """
    Return an entity tag as HTTP spells it; weak ones are kept as they came.

    Raises:
        ValueError: It is none.
    """
    if not _ETAG.fullmatch(etag):
        raise ValueError(f"{etag!r} is no entity tag; file.stat().etag has the right one")
    return etag if etag.startswith('W/"') else f'"{etag}"'


def stat_of(headers: Mapping[str, str]) -> FileStat:
    """Read what an answer about a file says of it; what makes no sense counts as not told."""
    etag = headers.get("etag", "")
    length = headers.get("content-length", "")
    return FileStat(
        size_bytes=int(length) if length.isascii() and length.isdigit() else None,
        modified_at=moment(headers.get("last-modified", "")),
        etag=etag[1:-1] if len(etag) > 2 and etag[0] == etag[-1] == '"' else etag,
        md5=_md5(headers),
    )


def extent_of(response: Response) -> Extent | None:
    """
    Return which part of the file an answer holds; None if it is the whole one.

    Raises:
        UnexpectedResponse: It does not say.
    """
    if response.status != 206:
        return None
    match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if match is None:
        raise unexpected(response, "a part that does not say which")
    first, last, total = (int(number) for number in match.groups())
    if not first <= last < total:
        raise unexpected(response, "a part outside of its file")
    return Extent(start=first, end=last + 1, total_bytes=total)


def part_extent(response: Response, part: Part | None) -> Extent | None:
    """
    As `extent_of`, for a part all of which is wanted.

    Raises:
        UnexpectedResponse: It is not exactly the part that was asked for.
    """
    extent = extent_of(response)
    if extent is None:
        return None
    if part is None or extent.start != part.start or extent.end != part.end_within(extent):
        raise unexpected(response, "another part than was asked for")
    return extent


def content_md5(digest: bytes) -> dict[str, str]:
    """Return the header by which the server checks what it receives (RFC 1864)."""
    return {"Content-MD5": b64encode(digest).decode()}


def check_md5(place: object, told: str, found: str) -> None:
    """
    Compare digests.

    Raises:
        ContentMismatch: They differ.
    """
    if told != found:
        raise ContentMismatch(
            f"{place}: the MD5 of what arrived is {found}, the server's is {told}."
        )


def check_length(place: object, told: int, found: int) -> None:
    """
    Compare how many bytes were announced with how many came.

    Raises:
        ContentMismatch: They differ.
    """
    if told != found:
        raise ContentMismatch(f"{place}: {found} bytes arrived, the server announced {told}.")


def moment(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text) if text else None
    except ValueError:
        return None


def _md5(headers: Mapping[str, str]) -> str:
    told = headers.get("x-content-md5", "").lower()
    if _MD5.fullmatch(told):
        return told
    match = _DIGEST.search(headers.get("repr-digest", ""))
    try:
        return b64decode(match[1], validate=True).hex() if match else ""
    except binascii.Error:
        return ""
