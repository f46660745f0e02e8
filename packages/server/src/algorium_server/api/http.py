"""
HTTP on raw ASGI: read a bounded body, answer in one piece, understand queries.

An answer is one `http.response.start` and one `http.response.body` with nothing awaited in
between; `api/protocol.py` makes one segment of the two.

Source: wire specification, "Common request rules", "Common response rules", quirk 23.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec

from algorium_server.domain.errors import InvalidInput, MalformedJson, TooLarge

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON: Final = "application/json"

_READABLE_ANYWHERE: Final = b"x-error-message, x-request-id, retry-after, idempotency-replayed"
"""Headers that pages of other origins may read."""

_encode = msgspec.json.Encoder().encode

T = TypeVar("T")


class Disconnected(Exception):
    """The client is gone; nobody reads an answer any more."""


def announced_bytes(scope: Scope, *, bytes_max: int, too_large: str) -> int | None:
    """
    Return how long the request's body is, None if it is not said beforehand.

    A body that announces too much is refused before its first byte is read. uvicorn then drops
    what still arrives, so the connection stays usable and clients that write everything before
    they read see the refusal instead of a reset.

    Raises:
        TooLarge: It is longer than *bytes_max*; tells *too_large*.
    """
    announced = header(scope, b"content-length")
    if announced is None or not announced.isdigit():
        return None
    size_bytes = int(announced)
    if size_bytes > bytes_max:
        raise TooLarge(too_large)
    return size_bytes


async def body_chunks(receive: Receive, *, bytes_max: int, too_large: str) -> AsyncIterator[bytes]:
    """
    Yield the request body as it arrives.

    Raises:
        TooLarge: It is longer than *bytes_max*; tells *too_large*.
        Disconnected: The client went away before the end of the body.
    """
    size_bytes = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Disconnected
        chunk: bytes = message.get("body", b"")
        size_bytes += len(chunk)
        if size_bytes > bytes_max:
            raise TooLarge(too_large)
        yield chunk
        if not message.get("more_body", False):
            return


async def read_body(scope: Scope, receive: Receive, *, bytes_max: int, too_large: str) -> bytes:
    """
    Read the whole request body.

    Args:
        scope: The request.
        receive: Where its body comes from.
        bytes_max: The longest body that is accepted.
        too_large: What to tell beyond it.

    Raises:
        TooLarge: The body is longer.
        Disconnected: The client went away before the end of the body.
    """
    announced_bytes(scope, bytes_max=bytes_max, too_large=too_large)
    chunks = body_chunks(receive, bytes_max=bytes_max, too_large=too_large)
    return b"".join([chunk async for chunk in chunks])


async def respond(
    send: Send,
    status: int,
    body: bytes = b"",
    *,
    content_type: str = JSON,
    headers: Iterable[Header] = (),
    request_id: str = "",
    is_head: bool = False,
) -> None:
    """
    Answer with a complete body.

    Args:
        send: Where to.
        status: HTTP status; 204 sends neither body nor its headers.
        body: The whole body.
        content_type: Its type.
        headers: Further headers, names in lower case.
        request_id: For `X-Request-Id`, if there is one.
        is_head: Send the headers of *body* without it.
    """
    fields = [*headers]
    if status != 204:
        fields.append((b"content-type", content_type.encode("latin-1")))
        fields.append((b"content-length", b"%d" % len(body)))
    if request_id:
        fields.append((b"x-request-id", request_id.encode("latin-1", "replace")))
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send(
        {
            "type": "http.response.body",
            "body": b"" if is_head or status == 204 else body,
            "more_body": False,
        }
    )


def address_of(scope: Scope) -> str:
    """Return the address that a request comes from, empty if it comes from none."""
    client = scope.get("client")
    return client[0] if client else ""


def encode_json(value: object) -> bytes:
    """Encode *value* as compact UTF-8 JSON; clients compare some answers byte by byte."""
    return _encode(value)


def decode_json(body: bytes, shape: type[T]) -> T:
    """
    Read a body as JSON of a shape.

    Raises:
        MalformedJson: It is not JSON.
        InvalidInput: It is JSON of another shape.
    """
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        raise InvalidInput(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedJson(f"the body is not JSON: {error}") from error


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return the first header called *name* (lower case), None if there is none."""
    for candidate, value in scope["headers"]:
        if candidate == name:
            return value  # type: ignore[no-any-return]  # ASGI: always bytes
    return None


def parse_query(scope: Scope) -> dict[str, str]:
    """
    Read the query string; it never fails.

    The last of several values wins, a name without `=` has an empty value, a later `?` separates
    like `&`, and bytes that are not UTF-8 become replacement characters.
    """
    raw: bytes = scope.get("query_string", b"")
    if not raw:
        return {}
    query = {}
    for pair in raw.replace(b"?", b"&").split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            query[_decoded(name)] = _decoded(value)
    return query


def boolean(text: str) -> bool:
    """Read a flag: `true` in any case or `1`; anything else is no."""
    return text.strip().lower() in {"true", "1"}


def cors_headers(scope: Scope, *, is_preflight: bool = False) -> list[Header]:
    """
    Return the headers that let a page of any origin read the answer.

    Args:
        scope: The request; its `Origin` is echoed, since some browsers want it by name.
        is_preflight: The request is the browser's OPTIONS: say what it may send, too.

    Source: wire specification, "Browser client".
    """
    origin = header(scope, b"origin")
    is_printable = origin is not None and all(0x20 < byte < 0x7F for byte in origin)
    headers = [
        (b"access-control-allow-origin", origin if origin and is_printable else b"*"),
        (b"access-control-expose-headers", _READABLE_ANYWHERE),
        (b"vary", b"origin"),
    ]
    if is_preflight:
        headers += [
            (b"access-control-allow-methods", b"POST, OPTIONS"),
            (
                b"access-control-allow-headers",
                b"authorization, content-type, accept, idempotency-key",
            ),
            (b"access-control-max-age", b"86400"),
        ]
    return headers


def _decoded(raw: bytes) -> str:
    if b"%" in raw or b"+" in raw:
        raw = unquote_to_bytes(raw.replace(b"+", b" "))
    return raw.decode("utf-8", "replace")
