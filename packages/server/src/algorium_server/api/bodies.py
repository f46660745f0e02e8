"""
Inputs of calls as they arrive: small ones in memory, large ones spooled.

Source: wire specification, "Limits".
"""

from typing import Final

from algorium_server.api.http import Receive, Scope, announced_bytes, body_chunks
from algorium_server.domain.calls import Body
from algorium_server.domain.limits import CALL_BODY_IN_MEMORY_BYTES_MAX, CALL_INPUT_BYTES_MAX
from algorium_server.spool import Spool

_TOO_LARGE: Final = "Algorithm input exceeds the 10MiB limit"


class ArrivingBody:
    """
    One body, collected from front to back.

    Args:
        size_bytes: What was announced, or the most it may become.

    Raises:
        Unavailable: It will be large, and there are too many large ones already.
    """

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = 0
        self._chunks: list[bytes] = []
        self._spool = None
        if size_bytes > CALL_BODY_IN_MEMORY_BYTES_MAX:
            self._spool = Spool.reserve(size_bytes)

    def append(self, data: bytes) -> None:
        """Take the next bytes."""
        self.size_bytes += len(data)
        if self._spool is not None:
            self._spool.append(data)
        elif data:
            self._chunks.append(data)

    def finish(self) -> Body:
        """Return the whole body."""
        if self._spool is None:
            return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        if len(self._spool) <= CALL_BODY_IN_MEMORY_BYTES_MAX:  # less than it might have become
            content = self._spool.content()
            self._spool.close()
            return content
        return self._spool

    def discard(self) -> None:
        """Free what has arrived; idempotent."""
        self._chunks.clear()
        if self._spool is not None:
            self._spool.close()


async def read_call_body(scope: Scope, receive: Receive) -> Body:
    """
    Read the body of a call.

    Raises:
        TooLarge: The body is longer than the limit of inputs.
        Unavailable: There are too many large bodies already.
        Disconnected: The client went away before the end of the body.
    """
    announced = announced_bytes(scope, bytes_max=CALL_INPUT_BYTES_MAX, too_large=_TOO_LARGE)
    body = ArrivingBody(CALL_INPUT_BYTES_MAX if announced is None else announced)
    try:
        chunks = body_chunks(receive, bytes_max=CALL_INPUT_BYTES_MAX, too_large=_TOO_LARGE)
        async for chunk in chunks:
            body.append(chunk)
        return body.finish()
    except BaseException:
        body.discard()
        raise


def kept(content: bytes) -> Body:
    """Return a body that is in memory now, spooled if it is large."""
    return content if len(content) <= CALL_BODY_IN_MEMORY_BYTES_MAX else Spool.of(content)
