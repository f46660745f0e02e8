"""
The Data API: raw ASGI for `/v1/data`, `/v1/connector` and `/v1/hostedData`.

Bytes stream both ways, a piece at a time: an upload is read as fast as the disk takes it, a
download is read from the disk as fast as the client takes it. What to answer is settled first, as
a value; only then anything is sent. So every error before that becomes a proper answer, and one
after it cuts the connection: a wrong file is never completed.

Source: wire specification, "Data API, URIs, connectors", quirks A.
"""

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from algorium.wire.uris import DataUri
from algorium_server.api.credentials import Credentials
from algorium_server.api.http import (
    JSON,
    Disconnected,
    Header,
    Message,
    Receive,
    Scope,
    Send,
    boolean,
    encode_json,
    header,
    parse_query,
    read_body,
)
from algorium_server.api.listings import hosted_of, listing_of, parse_acl, parse_new_directory
from algorium_server.api.paths import parse_data_path
from algorium_server.api.uploads import Upload, refuse
from algorium_server.data.connector import Entry, OpenFile
from algorium_server.domain.errors import MethodNotAllowed, NotFound
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import BLOB_CHUNK_BYTES, DATA_JSON_BYTES_MAX
from algorium_server.services.data import DataService, Listing

_HOSTED_DATA: Final = re.compile(rb"/*v1/+hostedData/*")
_OCTETS: Final = "application/octet-stream"
_ECHOED: Final = frozenset({"text/plain", JSON, _OCTETS})
"""A file's type is one of these if it is exactly what is asked for; old clients parse by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reply:
    """
    A successful answer.

    Attributes:
        content: The body, or the file that it streams from.
        content_type: Empty where there is nothing to be typed.
        size_bytes: Length of the body, or of what HEAD leaves out; None if it is not told.
    """

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


class BytesFace:
    """
    The ASGI application of the Data API.

    Args:
        data: Does the work.
        credentials: Tells who asks.
    """

    def __init__(self, data: DataService, credentials: Credentials) -> None:
        self._data = data
        self._credentials = credentials

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        upload = Upload(scope, receive)
        try:
            reply = await self._reply(scope, upload)
        except Disconnected:
            return
        except MethodNotAllowed as error:
            await refuse(scope, send, upload, error, headers=[(b"allow", _allowed(scope))])
            return
        except Exception as error:
            await refuse(scope, send, upload, error)
            return
        start = {"type": "http.response.start", "status": 200, "headers": reply.fields}
        if isinstance(reply.content, bytes):
            await send(start)
            await send({"type": "http.response.body", "body": reply.content, "more_body": False})
        else:
            await _stream(reply.content, start, receive, send)

    async def _reply(self, scope: Scope, upload: Upload) -> _Reply:
        principal = self._credentials.principal(scope)
        if scope["method"].encode() not in _allowed(scope).split(b", "):
            raise MethodNotAllowed(f"{scope['method']} is not possible here")
        if _HOSTED_DATA.fullmatch(scope["raw_path"]):
            collections = await self._data.collections(principal)
            return _json({"result": [hosted_of(collection) for collection in collections]})
        user_agent = header(scope, b"user-agent") or b""
        uri = parse_data_path(scope["raw_path"], user_agent=user_agent)
        if uri is None:
            raise NotFound(f"nothing answers at {scope['path']}")
        match scope["method"]:
            case "GET":
                return await self._get(principal, uri, scope)
            case "HEAD":
                return _head(await self._data.stat(principal, uri), scope)
            case "PUT":
                stored = await self._data.put(
                    principal, uri, upload.chunks(), size_bytes=upload.size_bytes
                )
                return _json({"result": str(stored)})
            case "POST":
                return await self._post(principal, uri, scope, upload)
            case "PATCH":
                acl = parse_acl(await _read_json(scope, upload))
                await self._data.set_acl(principal, uri, acl)
                return _Reply(content_type="", size_bytes=0)
            case _:  # DELETE: no other is allowed
                is_forced = boolean(parse_query(scope).get("force", ""))
                deleted = await self._data.delete(principal, uri, is_forced=is_forced)
                return _json({"result": {"deleted": deleted}})

    async def _get(self, principal: Principal, uri: DataUri, scope: Scope) -> _Reply:
        query = parse_query(scope)
        marker, wants_acl = query.get("marker", ""), boolean(query.get("acl", ""))
        if marker.lower() in {"true", "false"}:  # Scala's client asks for the ACL by this name
            marker, wants_acl = "", wants_acl or boolean(marker)
        found = await self._data.get(principal, uri, marker=marker, wants_acl=wants_acl)
        if isinstance(found, Listing):
            return _json(listing_of(found), (b"x-data-type", b"directory"))
        return _Reply(
            content=found,
            content_type=_type_of_file(scope),
            size_bytes=found.size_bytes,
            headers=_file_headers(found.modified_at),
        )

    async def _post(
        self, principal: Principal, uri: DataUri, scope: Scope, upload: Upload
    ) -> _Reply:
        body = await _read_json(scope, upload)
        media_type = (header(scope, b"content-type") or b"").partition(b";")[0].strip().lower()
        name, acl = parse_new_directory(body, is_text=media_type == b"text/plain")
        created = await self._data.create_directory(principal, uri, name=name, acl=acl)
        return _json({"result": str(created)})


def _allowed(scope: Scope) -> bytes:
    is_hosted_data = _HOSTED_DATA.fullmatch(scope["raw_path"]) is not None
    return b"GET" if is_hosted_data else b"GET, HEAD, PUT, POST, PATCH, DELETE"


def _json(value: object, *headers: Header) -> _Reply:
    body = encode_json(value)
    return _Reply(content=body, size_bytes=len(body), headers=headers)


def _head(entry: Entry, scope: Scope) -> _Reply:
    if entry.is_directory:
        return _Reply(headers=((b"x-data-type", b"directory"),))
    return _Reply(
        content_type=_type_of_file(scope),
        size_bytes=entry.size_bytes,
        headers=_file_headers(entry.modified_at),
    )


def _file_headers(modified_at: datetime | None) -> tuple[Header, ...]:
    kind = (b"x-data-type", b"file")
    if modified_at is None:
        return (kind,)
    shown = format_datetime(modified_at.astimezone(UTC), usegmt=True)
    return (kind, (b"last-modified", shown.encode("ascii")))


def _type_of_file(scope: Scope) -> str:
    accepted = (header(scope, b"accept") or b"").decode("latin-1").strip()
    return accepted if accepted in _ECHOED else _OCTETS


async def _read_json(scope: Scope, upload: Upload) -> bytes:
    return await read_body(
        scope,
        upload.receive,
        bytes_max=DATA_JSON_BYTES_MAX,
        too_large=f"the body is limited to {DATA_JSON_BYTES_MAX} bytes here",
    )


async def _stream(file: OpenFile, start: Message, receive: Receive, send: Send) -> None:
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


async def _until_gone(receive: Receive) -> None:
    with suppress(asyncio.CancelledError):
        while (await receive())["type"] != "http.disconnect":
            pass
