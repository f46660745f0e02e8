"""
A stream of bytes on its way into a library that takes it a piece at a time, in its own time.

The library may ask from a task that nobody here can cancel, and wraps in its own errors what the
stream raises. So the stream can be stopped, and what went wrong with it is kept.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Final, Protocol

_PIECE_BYTES: Final = 1024 * 1024


class Digest(Protocol):
    """What is told the bytes as they pass."""

    def update(self, data: bytes, /) -> None:
        """Take more bytes."""
        ...


class Stopped(Exception):
    """Nobody wants these bytes to arrive any more."""


class Feed:
    """
    An asynchronous iterator: bytes that were read already, then the rest of their stream.

    Args:
        begun: What was read already; the digest knows it.
        rest: What follows.
        digest: Is told what follows.

    Attributes:
        size_bytes: How much went through so far.
        failure: What the stream raised.
    """

    def __init__(self, begun: bytes, rest: AsyncIterator[bytes], digest: Digest) -> None:
        self.size_bytes = 0
        self.failure: Exception | None = None
        self._begun: Iterator[bytes] = (
            begun[start : start + _PIECE_BYTES] for start in range(0, len(begun), _PIECE_BYTES)
        )
        self._rest = rest
        self._digest = digest
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Let the library see an error next, also if it waits for bytes right now."""
        self._stopped.set()

    def __aiter__(self) -> "Feed":
        return self

    async def __anext__(self) -> bytes:
        chunk = next(self._begun, None)
        if chunk is None:
            chunk = await self._next()
            self._digest.update(chunk)
        self.size_bytes += len(chunk)
        return chunk

    async def _next(self) -> bytes:
        reading = asyncio.ensure_future(anext(self._rest, None))
        stopping = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
                raise Stopped
            chunk = reading.result()
        except StopAsyncIteration:
            raise
        except Exception as error:
            self.failure = self.failure or error
            raise
        finally:
            stopping.cancel()
        if chunk is None:
            raise StopAsyncIteration
        return chunk
