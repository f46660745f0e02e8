"""
Resumable uploads over HTTP: `/v1/uploads`.

    POST   /v1/uploads                       begin: {"uri", "size_bytes"?, "part_bytes"?}
    GET    /v1/uploads                       what the caller has begun
    GET    /v1/uploads/{id}                  one of them, with the parts that have arrived
    PUT    /v1/uploads/{id}/parts/{number}   a part, from 1
    POST   /v1/uploads/{id}/complete         the end: {"parts_count", "md5"?}
    DELETE /v1/uploads/{id}                  give it up

Source: ours; the old service had nothing like it.
"""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from algorium.wire.uris import DataUri, UriSyntaxError
from algorium_server.api.conditions import parse_preconditions
from algorium_server.api.credentials import Credentials
from algorium_server.api.digests import md5_headers, parse_digests, parse_md5, verified
from algorium_server.api.http import (
    Disconnected,
    Receive,
    Scope,
    Send,
    decode_json,
    encode_json,
    respond,
)
from algorium_server.api.listings import timestamp
from algorium_server.api.uploads import Upload, refuse
from algorium_server.domain.errors import InvalidInput, MethodNotAllowed, NotFound
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import UPLOAD_PARTS_MAX
from algorium_server.domain.uploads import BegunUpload, UploadPart
from algorium_server.services.files.resumable import ResumableUploads

_NUMBER_CHARS_MAX: Final = 9


class _Wanted(msgspec.Struct):
    uri: str
    size_bytes: int | None = None
    part_bytes: int | None = None


class _End(msgspec.Struct):
    parts_count: int
    md5: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    body: dict[str, Any]
    md5: str = ""


class ResumableFace:
    """
    The ASGI application of resumable uploads.

    Args:
        uploads: Does the work.
        credentials: Tells who asks.
    """

    def __init__(self, uploads: ResumableUploads, credentials: Credentials) -> None:
        self._uploads = uploads
        self._credentials = credentials

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        upload = Upload(scope, receive)
        path = [segment for segment in scope["path"].split("/") if segment][2:]
        try:
            answer = await self._answer(scope, path, upload)
        except Disconnected:
            return
        except Exception as error:
            is_verb = isinstance(error, MethodNotAllowed)
            allow = [(b"allow", ", ".join(_allowed(path)).encode())] if is_verb else []
            await refuse(scope, send, upload, error, headers=allow)
            return
        body = encode_json(answer.body) if answer.status != 204 else b""
        await respond(send, answer.status, body, headers=md5_headers(answer.md5))

    async def _answer(self, scope: Scope, path: list[str], upload: Upload) -> _Answer:
        principal = await self._credentials.asking(scope)
        allowed = _allowed(path)
        if not allowed:
            raise NotFound(f"nothing answers at {scope['path']}")
        if scope["method"] not in allowed:
            raise MethodNotAllowed(f"{scope['method']} is not possible here")
        match scope["method"], path:
            case "POST", []:
                return await self._begin(principal, scope, upload)
            case "GET", []:
                begun = await self._uploads.begun(principal)
                return _Answer(status=200, body={"results": [_shown(one) for one in begun]})
            case "GET", [upload_id]:
                found, parts = await self._uploads.look_at(principal, upload_id)
                body = _shown(found) | {"parts": [_shown_part(part) for part in parts]}
                return _Answer(status=200, body=body)
            case "PUT", [upload_id, _, number]:
                return await self._put_part(principal, upload_id, _number(number), scope, upload)
            case "POST", [upload_id, _]:
                return await self._complete(principal, upload_id, upload)
            case _, [upload_id, *_]:  # DELETE: no other is allowed
                await self._uploads.abort(principal, upload_id)
                return _Answer(status=204, body={})
        raise AssertionError("all that is allowed was answered")

    async def _begin(self, principal: Principal, scope: Scope, upload: Upload) -> _Answer:
        wanted = decode_json(await upload.small(), _Wanted)
        for name, value in (("size_bytes", wanted.size_bytes), ("part_bytes", wanted.part_bytes)):
            if value is not None and not 0 <= value < 2**63:
                raise InvalidInput(f"{name} must be a number of bytes")
        try:
            uri = DataUri.parse(wanted.uri)
        except UriSyntaxError as error:
            raise InvalidInput(f"{wanted.uri[:200]!r} is no data URI: {error.reason}") from error
        begun = await self._uploads.begin(
            principal,
            uri,
            size_bytes=wanted.size_bytes,
            part_bytes=wanted.part_bytes,
            preconditions=parse_preconditions(scope),
        )
        return _Answer(status=201, body=_shown(begun))

    async def _put_part(
        self, principal: Principal, upload_id: str, number: int, scope: Scope, upload: Upload
    ) -> _Answer:
        digests = parse_digests(scope)
        chunks = upload.chunks()
        part = await self._uploads.put_part(
            principal,
            upload_id,
            number,
            verified(chunks, digests) if digests else chunks,
            size_bytes=upload.size_bytes,
        )
        return _Answer(status=200, body=_shown_part(part))

    async def _complete(self, principal: Principal, upload_id: str, upload: Upload) -> _Answer:
        end = decode_json(await upload.small(), _End)
        result = await self._uploads.complete(
            principal,
            upload_id,
            parts_count=end.parts_count,
            md5=parse_md5(end.md5) if end.md5 else "",
        )
        body = {
            "result": result.uri,
            "etag": result.etag,
            "md5": result.md5,
            "size_bytes": result.size_bytes,
        }
        return _Answer(status=200, body=body)


def _allowed(path: list[str]) -> tuple[str, ...]:
    match path:
        case []:
            return "GET", "POST"
        case [_]:
            return "GET", "DELETE"
        case [_, "complete"]:
            return ("POST",)
        case [_, "parts", _]:
            return ("PUT",)
    return ()


def _shown(upload: BegunUpload) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "upload_id": upload.upload_id,
        "uri": upload.uri,
        "part_bytes": upload.part_bytes,
        "parts_max": UPLOAD_PARTS_MAX,
        "created_at": timestamp(upload.created_at),
        "expires_at": timestamp(upload.expires_at),
    }
    if upload.size_bytes is not None:
        shown["size_bytes"] = upload.size_bytes
    if upload.result is not None:
        shown["result"] = upload.result.uri
    return shown


def _shown_part(part: UploadPart) -> dict[str, Any]:
    return {"number": part.number, "size_bytes": part.size_bytes, "md5": part.md5}


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _NUMBER_CHARS_MAX):
        raise InvalidInput(f"{text[:100]!r} is no number of a part")
    return int(text)
