"""
Uploads over raw ASGI: the body a piece at a time, and answers before its end.

A refusal that comes before the end of a long body meets a client that is still sending. Closing at
once would reset the connection, and many clients lose the answer with it. So the answer goes out
at once, then what arrives is thrown away for a while, and then the connection closes.

Source: wire specification, "PUT (upload)".
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Final

from algorium_server.api.errors import send_error
from algorium_server.api.http import (
    Disconnected,
    Header,
    Message,
    Receive,
    Scope,
    Send,
    header,
    read_body,
)
from algorium_server.domain.errors import InvalidRequest
from algorium_server.domain.limits import (
    DATA_JSON_BYTES_MAX,
    REFUSED_UPLOAD_BYTES_MAX,
    REFUSED_UPLOAD_S_MAX,
)

_SHORT_BYTES_MAX: Final = 256 * 1024
"""A body up to this length is read to its end before the answer, so that the connection lives."""


class Upload:
    """
    The body of a request.

    Attributes:
        size_bytes: As announced; None if the client does not tell (chunked).
        is_pending: There may be more to read.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        announced = header(scope, b"content-length")
        self.size_bytes = int(announced) if announced is not None and announced.isdigit() else None
        self.is_pending = bool(self.size_bytes) or header(scope, b"transfer-encoding") is not None
        # Until something is received, a client that asked waits for the word to go on.
        self.is_held_back = header(scope, b"expect") is not None
        self._scope = scope
        self._receive = receive

    async def receive(self) -> Message:
        """Receive the next ASGI message, and take note of where the body is."""
        self.is_held_back = False
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.is_pending = False
        return message

    async def chunks(self) -> AsyncIterator[bytes]:
        """
        Yield the body's bytes as they arrive.

        Raises:
            Disconnected: The client went away before the end.
            InvalidRequest: The end came before the announced length.
        """
        received_bytes = 0
        while self.is_pending:
            message = await self.receive()
            if message["type"] != "http.request":
                raise Disconnected
            chunk: bytes = message.get("body", b"")
            received_bytes += len(chunk)
            if chunk:
                yield chunk
        if self.size_bytes is not None and received_bytes != self.size_bytes:
            raise InvalidRequest(
                f"the body has {received_bytes} bytes, Content-Length says {self.size_bytes}"
            )

    async def small(self) -> bytes:
        """
        Read the whole body, where it is a description and no file.

        Raises:
            TooLarge: It is longer than descriptions are.
        """
        return await read_body(
            self._scope,
            self.receive,
            bytes_max=DATA_JSON_BYTES_MAX,
            too_large=f"the body is limited to {DATA_JSON_BYTES_MAX} bytes here",
        )

    async def discard(self, *, bytes_max: int) -> None:
        """Throw away the rest of the body: at most so many bytes, and for a limited time."""
        discarded_bytes = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(REFUSED_UPLOAD_S_MAX):
                while self.is_pending and discarded_bytes < bytes_max:
                    message = await self.receive()
                    discarded_bytes += len(message.get("body", b""))


async def refuse(
    scope: Scope,
    send: Send,
    upload: Upload,
    error: Exception,
    *,
    headers: Sequence[Header] = (),
) -> None:
    """
    Answer a request with *error*, whether or not its body has been read.

    Args:
        scope: The request.
        send: Where to answer; nothing may have been sent.
        upload: The request's body.
        error: What was raised.
        headers: Further headers of the answer.
    """
    if upload.is_pending and upload.is_held_back:
        # The client sends nothing unless it is told to, so there is nothing to wait for.
        await send_error(scope, send, error, headers=headers, closes=True)
        return
    if upload.is_pending and (upload.size_bytes or _SHORT_BYTES_MAX + 1) <= _SHORT_BYTES_MAX:
        await upload.discard(bytes_max=_SHORT_BYTES_MAX)
    if not upload.is_pending:
        await send_error(scope, send, error, headers=headers)
        return

    async def send_without_ending(message: Message) -> None:
        is_body = message["type"] == "http.response.body"
        await send({**message, "more_body": True} if is_body else message)

    await send_error(scope, send_without_ending, error, headers=headers, closes=True)
    await upload.discard(bytes_max=REFUSED_UPLOAD_BYTES_MAX)
    await send({"type": "http.response.body", "body": b"", "more_body": False})
