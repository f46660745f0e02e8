"""
The Data API: raw ASGI for `/v1/data`, `/v1/connector` and `/v1/hostedData`.

Bytes stream both ways, a piece at a time: an upload is read as fast as the disk takes it, a
download is read from the disk as fast as the client takes it. What to answer is settled first, as
a value; only then anything is sent. So every error before that becomes a proper answer, and one
after it cuts the connection: a wrong file is never completed.

Source: wire specification, "Data API, URIs, connectors", quirks A.
"""

import re
from typing import Final

from algorium.wire.uris import DataUri
from algorium_server.api.conditions import parse_preconditions
from algorium_server.api.credentials import Credentials
from algorium_server.api.digests import parse_digests, verified
from algorium_server.api.downloads import (
    Reply,
    head_reply,
    is_conditional,
    json_reply,
    part_reply,
    stored_headers,
    stream,
    whole_reply,
)
from algorium_server.api.http import (
    Disconnected,
    Header,
    Message,
    Receive,
    Scope,
    Send,
    boolean,
    header,
    parse_query,
)
from algorium_server.api.listings import hosted_of, listing_of, parse_acl, parse_new_directory
from algorium_server.api.paths import parse_data_path
from algorium_server.api.ranges import no_such_range
from algorium_server.api.sending import FileSender
from algorium_server.api.transfers import parse_transfer
from algorium_server.api.uploads import Upload, refuse
from algorium_server.data.connector import OpenFile
from algorium_server.domain.errors import (
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    RangeNotSatisfiable,
)
from algorium_server.domain.identity import Principal
from algorium_server.services.authoring.models import Models
from algorium_server.services.files.data import DataService, Listing

_HOSTED_DATA: Final = re.compile(rb"/*v1/+hostedData/*")


class BytesFace:
    """
    The ASGI application of the Data API.

    Args:
        data: Does the work.
        credentials: Tells who asks.
        sender: Sends long files past the event loop; None to send all through it.
        models: Opens model files for slots; None if they are files as any other.
    """

    def __init__(
        self,
        data: DataService,
        credentials: Credentials,
        *,
        sender: FileSender | None = None,
        models: Models | None = None,
    ) -> None:
        self._data = data
        self._models = models
        self._credentials = credentials
        self._sender = sender

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        upload = Upload(scope, receive)
        try:
            reply = await self._reply(scope, upload)
        except Disconnected:
            return
        except Exception as error:
            await refuse(scope, send, upload, error, headers=_headers_of(error, scope))
            return
        start = {"type": "http.response.start", "status": reply.status, "headers": reply.fields}
        if isinstance(reply.content, bytes):
            await send(start)
            await send({"type": "http.response.body", "body": reply.content, "more_body": False})
        else:
            await self._send_file(reply.content, start, scope, receive, send)

    async def _send_file(
        self, file: OpenFile, start: Message, scope: Scope, receive: Receive, send: Send
    ) -> None:
        try:
            is_done = self._sender is not None and await self._sender.send(file, start, scope, send)
        except BaseException:
            await file.close()
            raise
        if is_done:
            await file.close()
        else:
            await stream(file, start, receive, send)

    async def _reply(self, scope: Scope, upload: Upload) -> Reply:
        principal = await self._credentials.asking(scope)
        if scope["method"].encode() not in _allowed(scope).split(b", "):
            raise MethodNotAllowed(f"{scope['method']} is not possible here")
        if _HOSTED_DATA.fullmatch(scope["raw_path"]):
            collections = await self._data.collections(principal)
            return json_reply({"result": [hosted_of(collection) for collection in collections]})
        user_agent = header(scope, b"user-agent") or b""
        uri = parse_data_path(scope["raw_path"], user_agent=user_agent)
        if uri is None:
            raise NotFound(f"nothing answers at {scope['path']}")
        match scope["method"]:
            case "GET":
                return await self._get(principal, uri, scope)
            case "HEAD":
                return head_reply(await self._data.stat(principal, uri), scope)
            case "PUT":
                return await self._put(principal, uri, scope, upload)
            case "POST":
                return await self._post(principal, uri, scope, upload)
            case "PATCH":
                acl = parse_acl(await upload.small())
                await self._data.set_acl(principal, uri, acl)
                return Reply(content_type="", size_bytes=0)
            case _:  # DELETE: no other is allowed
                deleted = await self._data.delete(
                    principal,
                    uri,
                    is_forced=boolean(parse_query(scope).get("force", "")),
                    preconditions=parse_preconditions(scope),
                )
                return json_reply({"result": {"deleted": deleted}})

    async def _get(self, principal: Principal, uri: DataUri, scope: Scope) -> Reply:
        if is_conditional(scope):
            reply = await part_reply(self._data, principal, uri, scope)
            if reply is not None:
                return reply
        if self._models is not None and principal.acting is not None:
            model = await self._models.open(principal, uri)
            if model is not None:
                return whole_reply(model, scope)
        query = parse_query(scope)
        marker, wants_acl = query.get("marker", ""), boolean(query.get("acl", ""))
        if marker.lower() in {"true", "false"}:  # Scala's client asks for the ACL by this name
            marker, wants_acl = "", wants_acl or boolean(marker)
        found = await self._data.get(principal, uri, marker=marker, wants_acl=wants_acl)
        if isinstance(found, Listing):
            return json_reply(listing_of(found), (b"x-data-type", b"directory"))
        return whole_reply(found, scope)

    async def _put(self, principal: Principal, uri: DataUri, scope: Scope, upload: Upload) -> Reply:
        if header(scope, b"content-range") is not None:  # the file would lose what is not in it
            raise InvalidRequest(
                "a part cannot be stored alone", hint="Upload in parts with POST /v1/uploads."
            )
        preconditions, digests = parse_preconditions(scope), parse_digests(scope)
        transfer = parse_transfer(scope, has_body=upload.is_pending)
        if transfer is not None:
            stored = await self._data.transfer(
                principal,
                transfer.source,
                uri,
                is_move=transfer.is_move,
                preconditions=preconditions,
            )
        else:
            chunks = upload.chunks()
            stored = await self._data.put(
                principal,
                uri,
                verified(chunks, digests) if digests else chunks,
                size_bytes=upload.size_bytes,
                preconditions=preconditions,
            )
        return json_reply({"result": str(stored.uri)}, *stored_headers(stored.entry))

    async def _post(
        self, principal: Principal, uri: DataUri, scope: Scope, upload: Upload
    ) -> Reply:
        body = await upload.small()
        media_type = (header(scope, b"content-type") or b"").partition(b";")[0].strip().lower()
        name, acl = parse_new_directory(body, is_text=media_type == b"text/plain")
        created = await self._data.create_directory(principal, uri, name=name, acl=acl)
        return json_reply({"result": str(created)})


def _allowed(scope: Scope) -> bytes:
    is_hosted_data = _HOSTED_DATA.fullmatch(scope["raw_path"]) is not None
    return b"GET" if is_hosted_data else b"GET, HEAD, PUT, POST, PATCH, DELETE"


def _headers_of(error: Exception, scope: Scope) -> list[Header]:
    if isinstance(error, MethodNotAllowed):
        return [(b"allow", _allowed(scope))]
    if isinstance(error, RangeNotSatisfiable):
        size_bytes = error.fields.get("size_bytes", 0)
        return [(b"content-range", no_such_range(int(size_bytes)))]
    return []
