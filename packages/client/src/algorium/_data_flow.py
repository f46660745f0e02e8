"""
Files and directories: every operation once, as in `_flow.py`.

Source: wire specification, "Data API"; HTTP semantics, "Conditional Requests", "Range Requests".
"""

import binascii
import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal
from urllib.parse import quote

from algorium._answers import check_path, unexpected
from algorium._errors import AlreadyExists, ContentMismatch, PathNotFound, UnexpectedResponse
from algorium._messages import Body, Request, Response
from algorium._retry import Flow
from algorium._values import to_json
from algorium.wire.bodies import BodyError, DataAcl, Listing
from algorium.wire.uris import DataUri

OCTETS: Final = "application/octet-stream"

_SLOWEST_BYTES_S: Final = 1_000_000
"""A server that moves bytes between its sources is given this much time for them; a large file may
take many minutes without a word."""

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
        modified_at=_time(headers.get("last-modified", "")),
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


def moving_s(size_bytes: int | None) -> float:
    """Return how long a server may take to move so many bytes about."""
    return (size_bytes or 0) / _SLOWEST_BYTES_S


def content_md5(digest: bytes) -> dict[str, str]:
    """Return the header by which the server checks what it receives (RFC 1864)."""
    return {"Content-MD5": b64encode(digest).decode()}


def exists(uri: DataUri, kind: Literal["file", "directory"]) -> Flow[bool]:
    """Tell whether there is something of this *kind* at *uri*."""
    return (yield from kind_of(uri)) in {kind, ""}


def kind_of(uri: DataUri) -> Flow[str | None]:
    """Tell what is at *uri*: `file`, `directory`, empty if that was not told, None for nothing."""
    response = yield Request(method="HEAD", path=path_of(uri))
    if response.status == 404:
        return None
    check_path(response)
    return response.headers.get("x-data-type", "")


def stat(uri: DataUri) -> Flow[tuple[FileStat, bool]]:
    """
    Read what there is to know about a file, and whether parts of it can be had.

    Raises:
        PathNotFound: There is no such file, or it is a directory.
    """
    response = yield Request(method="HEAD", path=path_of(uri))
    check_path(response)
    _check_is_file(response, uri)
    return stat_of(response.headers), response.headers.get("accept-ranges") == "bytes"


def look(uri: DataUri) -> Flow[tuple[str, FileStat]]:
    """
    Tell what is at *uri*, `file` or `directory`, and what there is to know about it.

    Raises:
        PathNotFound: Nothing.
    """
    response = yield Request(method="HEAD", path=path_of(uri))
    check_path(response)
    return response.headers.get("x-data-type", "file"), stat_of(response.headers)


def clock() -> Flow[datetime | None]:
    """Read what time it is for the server, to the second; None if it does not tell."""
    response = yield Request(method="HEAD", path=path_of(DataUri()))
    return _time(response.headers.get("date", ""))


def create(uri: DataUri, acl: DataAcl | None, *, exist_ok: bool) -> Flow[None]:
    """
    Create a directory.

    Raises:
        AlreadyExists: It exists, and *exist_ok* is false.
        PathNotFound: Its parent does not exist.
    """
    if not uri.segments:
        raise ValueError(f"{uri} is the root, it always exists")
    body: dict[str, Any] = {"name": uri.name}
    if acl is not None:
        body["acl"] = acl.to_json()
    response = yield _json_request("POST", uri.parent, body)
    try:
        check_path(response)
    except AlreadyExists:
        if not exist_ok:
            raise


def put(
    uri: DataUri,
    body: Body,
    body_bytes: int | None,
    *,
    condition: Condition = ALWAYS,
    md5: bytes | None = None,
) -> Flow[FileStat]:
    """
    Write a file, replacing what was there; readers see the old bytes or the new ones.

    Args:
        uri: Where.
        body: The bytes.
        body_bytes: How many, where pieces hide it.
        condition: What must hold there.
        md5: Their digest; the server then refuses others.

    Raises:
        PathNotFound: Its directory does not exist.
        ConditionFailed: *condition* does not hold.
    """
    response = yield Request(
        method="PUT",
        path=path_of(uri),
        headers={
            "Content-Type": OCTETS,
            **condition.headers,
            **({} if md5 is None else content_md5(md5)),
        },
        body=body,
        body_bytes=body_bytes,
    )
    check_path(response)
    return _stored(response)


def copy(
    source: DataUri,
    target: DataUri,
    *,
    is_move: bool,
    condition: Condition = ALWAYS,
    size_bytes: int | None = None,
) -> Flow[FileStat]:
    """
    Copy or move a file within the server; nothing passes through here.

    Only for servers that tell that they can: to others this is the upload of an empty file.

    Args:
        source: The file.
        target: Its new place.
        is_move: Whether it goes from where it was.
        condition: What must hold at the new place.
        size_bytes: Its size, which tells how long to wait.

    Raises:
        PathNotFound: There is no such file, or no directory for the new one.
        ConditionFailed: *condition* does not hold at the new place.
    """
    response = yield Request(
        method="PUT",
        path=path_of(target),
        headers={
            "X-Move-From" if is_move else "X-Copy-From": _encoded(source),
            **condition.headers,
        },
        work_s=moving_s(size_bytes),
    )
    check_path(response)
    return _stored(response)


def get(
    uri: DataUri, *, is_streamed: bool, part: Part | None = None, if_match: str = ""
) -> Flow[Response]:
    """
    Read a file; its bytes are the response's body or stream.

    Args:
        uri: Which.
        is_streamed: Leave the bytes to be read from the response's stream.
        part: Which bytes; older servers send the whole file even so, see `extent_of`.
        if_match: Only this version.

    Raises:
        PathNotFound: There is no such file, or it is a directory.
        RangeNotSatisfiable: It ends before *part*.
        ConditionFailed: It is another version than *if_match*.
    """
    headers = {
        **(part.headers if part is not None else {}),
        **({"If-Match": quoted(if_match)} if if_match else {}),
    }
    response = yield Request(
        method="GET", path=path_of(uri), headers=headers, is_streamed=is_streamed
    )
    check_path(response)
    _check_is_file(response, uri)
    return response


def read(uri: DataUri, *, verify: bool, part: Part | None = None) -> Flow[bytes]:
    """
    Read a file, or a part of it, into memory.

    Raises:
        PathNotFound: There is no such file, or it is a directory.
        RangeNotSatisfiable: It ends before *part*.
        ContentMismatch: The bytes do not have the digest that the server told.
    """
    response = yield from get(uri, is_streamed=False, part=part)
    extent = extent_of(response)
    if part is not None and extent is None:
        return response.body[part.start : part.end]
    if part is not None and extent is not None and extent.start != part.start:
        raise unexpected(response, "another part than was asked for")
    told = stat_of(response.headers).md5
    if verify and told and extent is None:
        check_md5(uri, told, hashlib.md5(response.body, usedforsecurity=False).hexdigest())
    return response.body


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


def delete(uri: DataUri, *, force: bool | None = None, if_match: str = "") -> Flow[int]:
    """
    Delete a file or directory and return how many entries went, itself included.

    Args:
        uri: What to delete.
        force: Directories only: delete the files in it as well.
        if_match: Files only: delete this version only.

    Raises:
        PathNotFound: There is nothing there.
        InvalidInput, InvalidRequest: The directory is not empty, and *force* is not set.
        PartlyDeleted: Some entries could not be deleted.
        ConditionFailed: The file is another version than *if_match*.
    """
    response = yield Request(
        method="DELETE",
        path=path_of(uri),
        query=() if force is None else (("force", "true" if force else "false"),),
        headers={"If-Match": quoted(if_match)} if if_match else {},
    )
    check_path(response)
    result = response.json().get("result")
    deleted = result.get("deleted") if isinstance(result, dict) else None
    return deleted if isinstance(deleted, int) else 0


def page(uri: DataUri, marker: str) -> Flow[Listing]:
    """
    Read one page of a directory; an empty *marker* asks for the first one.

    Raises:
        PathNotFound: There is no such directory.
    """
    listing = yield from _listing(uri, (("marker", marker),) if marker else ())
    if marker and listing.marker == marker:
        raise UnexpectedResponse(f"The listing of {uri} does not advance past {marker!r}.")
    return listing


def acl(uri: DataUri) -> Flow[DataAcl | None]:
    """Read a directory's access list; None where there is none (special and foreign places)."""
    listing = yield from _listing(uri, (("acl", "true"),))
    return listing.acl


def set_acl(uri: DataUri, wanted: DataAcl) -> Flow[None]:
    """Replace a directory's access list."""
    response = yield _json_request("PATCH", uri, {"acl": wanted.to_json()})
    check_path(response)


def path_of(uri: DataUri) -> str:
    """Return where the server has this place, percent-encoded."""
    connector = quote(uri.connector, safe="+")
    return "/".join((f"/v1/connector/{connector}", *(quote(s, safe="") for s in uri.segments)))


def _encoded(uri: DataUri) -> str:
    return f"{uri.connector}://{'/'.join(quote(segment, safe='') for segment in uri.segments)}"


def _listing(uri: DataUri, query: tuple[tuple[str, str], ...]) -> Flow[Listing]:
    response = yield Request(method="GET", path=path_of(uri), query=query)
    check_path(response)
    if response.headers.get("x-data-type", "directory") != "directory":
        raise PathNotFound(f"{uri} is a file, not a directory", hint="Use client.file(...) for it.")
    try:
        return Listing.from_json(response.json())
    except BodyError as error:
        raise unexpected(response, str(error)) from error


def _json_request(method: str, uri: DataUri, body: Mapping[str, Any]) -> Request:
    return Request(
        method=method,
        path=path_of(uri),
        headers={"Content-Type": "application/json"},
        body=to_json(body).encode(),
    )


def _check_is_file(response: Response, uri: DataUri) -> None:
    if response.headers.get("x-data-type", "file") != "file":
        raise PathNotFound(f"{uri} is a directory, not a file", hint="Use client.dir(...) for it.")


def _stored(response: Response) -> FileStat:
    told = stat_of(response.headers)
    # The length is that of the answer, not of the file.
    return FileStat(modified_at=told.modified_at, etag=told.etag, md5=told.md5)


def _time(text: str) -> datetime | None:
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
