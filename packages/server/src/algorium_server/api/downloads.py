"""
Downloads: the answers to GET and HEAD on files, whole, in part or not at all, and how they stream.

Source: wire specification, "Files"; RFC 9110, sections 13 to 15.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from algorium.wire.uris import DataUri
from algorium_server.api.conditions import (
    is_same_version,
    joined,
    parse_preconditions,
    version_headers,
)
from algorium_server.api.digests import md5_headers
from algorium_server.api.http import (
    JSON,
    Header,
    Message,
    Receive,
    Scope,
    Send,
    encode_json,
    header,
)
from algorium_server.api.ranges import content_range, parse_range
from algorium_server.data.connector import Entry, OpenFile, Span
from algorium_server.domain.conditions import Outcome
from algorium_server.domain.errors import ConditionFailed
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import BLOB_CHUNK_BYTES
from algorium_server.services.files.data import DataService

_OCTETS: Final = "application/octet-stream"
_ECHOED: Final = frozenset({"text/plain", JSON, _OCTETS})
"""A file's type is one of these if it is exactly what is asked for; old clients parse by it."""
_CHOOSING: Final = frozenset(
    {b"range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """
    An answer that is no error.

    Attributes:
        content: The body, or the file that it streams from.
        content_type: Empty where there is nothing to be typed.
        size_bytes: Length of the body, or of what HEAD leaves out; None if it is not told.
    """

    status: int = 200
    content: bytes | OpenFile = b""
    content_type: str = JSON
    size_bytes: int | None = None
    headers: tuple[Header, ...] = ()

    @property
    def fields(self) -> list[Header]:
        """All headers."""
        fields = [*self.headers]
        if self.content_type:
            fields.append((b"content-type", self.content_type.encode("latin-1")))
        if self.size_bytes is not None:
            fields.append((b"content-length", b"%d" % self.size_bytes))
        return fields


class _NotModified(Exception):
    """The client has the file already."""

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self.entry = entry


def json_reply(value: object, *headers: Header) -> Reply:
    """Make an answer of JSON-able values."""
    body = encode_json(value)
    return Reply(content=body, size_bytes=len(body), headers=headers)


def stored_headers(entry: Entry) -> list[Header]:
    """Return what the answer to an upload says about the file that is there now."""
    etags = [header for header in version_headers(entry) if header[0] == b"etag"]
    return [*etags, *((b"x-content-md5", entry.md5.encode()) for _ in entry.md5[:1])]


def whole_reply(file: OpenFile, scope: Scope) -> Reply:
    """Answer with all of a file."""
    return Reply(
        content=file,
        content_type=_type_of_file(scope),
        size_bytes=file.size_bytes,
        headers=_file_headers(file.entry),
    )


def head_reply(entry: Entry, scope: Scope) -> Reply:
    """
    Answer HEAD.

    Raises:
        ConditionFailed: The request demands another file.
    """
    if entry.is_directory:
        return Reply(headers=((b"x-data-type", b"directory"),))
    try:
        _judge(entry, scope)
    except _NotModified:
        return _not_modified(entry)
    return Reply(
        content_type=_type_of_file(scope),
        size_bytes=entry.size_bytes,
        headers=_file_headers(entry),
    )


def is_conditional(scope: Scope) -> bool:
    """Whether a GET may have another answer than the whole file."""
    return any(name in _CHOOSING for name, _ in scope["headers"])


async def part_reply(
    data: DataService, principal: Principal, uri: DataUri, scope: Scope
) -> Reply | None:
    """
    Answer a GET that demands something of the file, or wants a part of it; None for directories.

    Raises:
        ConditionFailed: The request demands another file.
        RangeNotSatisfiable: The file has no such part.
    """
    chosen: Span | None = None

    def choose(entry: Entry) -> Span | None:
        nonlocal chosen
        _judge(entry, scope)
        chosen = _part(entry, scope)
        return chosen

    try:
        file = await data.open(principal, uri, choose=choose)
    except _NotModified as answer:
        return _not_modified(answer.entry)
    if file is None:
        return None
    reply = whole_reply(file, scope)
    if chosen is None:
        return reply
    content = (b"content-range", content_range(chosen, file.entry.size_bytes))
    return Reply(
        status=206,
        content=file,
        content_type=reply.content_type,
        size_bytes=reply.size_bytes,
        headers=(*reply.headers, content),
    )


async def stream(file: OpenFile, start: Message, receive: Receive, send: Send) -> None:
    """Send a file after *start*, a piece at a time, and close it."""
    # `send` returns when the client has taken enough. Once the client is gone it returns at once,
    # so a long file would be read to its end for nobody: something has to listen for that.
    is_long = file.size_bytes > BLOB_CHUNK_BYTES
    gone = asyncio.ensure_future(_until_gone(receive)) if is_long else None
    try:
        await send(start)
        remaining_bytes = file.size_bytes
        async for chunk in file.chunks():
            if gone is not None and gone.done():
                return
            remaining_bytes -= len(chunk)
            more_body = remaining_bytes > 0
            await send({"type": "http.response.body", "body": chunk, "more_body": more_body})
        if file.size_bytes == 0:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        if gone is not None:
            gone.cancel()
        await file.close()


def _judge(entry: Entry, scope: Scope) -> None:
    outcome = parse_preconditions(scope).outcome(
        etag=entry.etag, modified_at=entry.modified_at, exists=True, is_reading=True
    )
    if outcome is Outcome.FAILED:
        raise ConditionFailed("the file has changed")
    if outcome is Outcome.NOT_MODIFIED:
        raise _NotModified(entry)


def _part(entry: Entry, scope: Scope) -> Span | None:
    wanted = joined(scope, b"range")
    if wanted is None:
        return None
    if_range = joined(scope, b"if-range")
    if if_range is not None and not is_same_version(if_range, entry):
        return None
    return parse_range(wanted, entry.size_bytes)


def _not_modified(entry: Entry) -> Reply:
    return Reply(status=304, content_type="", headers=tuple(version_headers(entry)))


def _file_headers(entry: Entry) -> tuple[Header, ...]:
    return (
        (b"x-data-type", b"file"),
        (b"accept-ranges", b"bytes"),
        *version_headers(entry),
        *md5_headers(entry.md5),
    )


def _type_of_file(scope: Scope) -> str:
    accepted = (header(scope, b"accept") or b"").decode("latin-1").strip()
    return accepted if accepted in _ECHOED else _OCTETS


async def _until_gone(receive: Receive) -> None:
    with suppress(asyncio.CancelledError):
        while (await receive())["type"] != "http.disconnect":
            pass
