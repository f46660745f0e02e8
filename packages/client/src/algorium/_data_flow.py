"""
Files and directories: every operation once, as in `_flow.py`.

Source: wire specification, "Data API".
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import quote

from algorium._answers import check_path, unexpected
from algorium._errors import AlreadyExists, PathNotFound, UnexpectedResponse
from algorium._file_headers import (
    ALWAYS,
    Condition,
    FileStat,
    Part,
    check_length,
    check_md5,
    content_md5,
    moment,
    part_extent,
    quoted,
    stat_of,
)
from algorium._messages import Body, Request, Response
from algorium._retry import Flow
from algorium._values import to_json
from algorium.wire.bodies import BodyError, DataAcl, Listing
from algorium.wire.uris import DataUri

OCTETS: Final = "application/octet-stream"

_SLOWEST_BYTES_S: Final = 1_000_000
"""A server that moves bytes between its sources is given this much time for them; a large file may
take many minutes without a word."""


def moving_s(size_bytes: int | None) -> float:
    """Return how long a server may take to move so many bytes about."""
    return (size_bytes or 0) / _SLOWEST_BYTES_S


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
    return moment(response.headers.get("date", ""))


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
    extent = part_extent(response, part)
    if extent is not None:
        check_length(uri, extent.end - extent.start, len(response.body))
        return response.body
    if part is not None:
        return response.body[part.start : part.end]
    told = stat_of(response.headers).md5
    if verify and told:
        check_md5(uri, told, hashlib.md5(response.body, usedforsecurity=False).hexdigest())
    return response.body


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
    told = response.json()
    result = told.get("result") if isinstance(told, dict) else None
    deleted = result.get("deleted") if isinstance(result, dict) else None
    return deleted if isinstance(deleted, int) else 0


def page(uri: DataUri, marker: str) -> Flow[Listing]:
    """
    Read one page of a directory; an empty *marker* asks for the first one.

    Raises:
        PathNotFound: There is no such directory.
    """
    return (yield from _listing(uri, (("marker", marker),) if marker else ()))


class Markers:
    """Sees to it that a listing ends: a server may send the same markers again and again."""

    def __init__(self, uri: DataUri) -> None:
        self._uri = uri
        self._seen: set[str] = set()

    def after(self, listing: Listing) -> str:
        """
        Return what asks for the next page, empty after the last one.

        Raises:
            UnexpectedResponse: That page has been there already.
        """
        if listing.marker in self._seen:
            raise UnexpectedResponse(
                f"The listing of {self._uri} does not advance past {listing.marker!r}."
            )
        self._seen.add(listing.marker)
        return listing.marker


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
