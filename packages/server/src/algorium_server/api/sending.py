"""
Files from the disk to the socket without passing through the event loop.

The kernel copies from the one to the other (`sendfile`), a thread at a time asks it to. A thread
works for one client only as long as that client takes what it gets, and only for a moment: then
the next client has its turn. Clients that take nothing are waited for by the event loop, which
costs no thread.

The head of the answer goes the usual way, and has left the transport before the first byte of the
file follows; until the last one nothing else may be written there. uvicorn is then told that the
body is out.

Why not uvicorn's own way: it has none. Why threads: `sendfile` blocks while the disk is read.
"""

import asyncio
import os
import select
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from algorium_server.api.http import Message, Scope, Send
from algorium_server.api.protocol import CONNECTION_KEY, JsonProtocol
from algorium_server.data.connector import OnDisk, OpenFile, Region
from algorium_server.domain.errors import InternalError
from algorium_server.domain.limits import (
    DOWNLOAD_STALL_S_MAX,
    SENDING_THREADS_MAX,
    SENT_BY_THREAD_BYTES_MIN,
)

_TURN_S: Final = 0.05
"""For one client at a time; the others wait so much longer when all threads are busy."""
_PATIENCE_MS: Final = 2
"""A client this quick gets more in the same turn."""
_AT_ONCE_BYTES: Final = 4 * 1024 * 1024


class FileSender:
    """Sends files, with a few threads for all clients."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(SENDING_THREADS_MAX, thread_name_prefix="sending")

    def close(self) -> None:
        """End the threads, once the turns under way are over."""
        self._threads.shutdown()

    async def send(self, file: OpenFile, start: Message, scope: Scope, send: Send) -> bool:
        """
        Send a file after *start*, unless that cannot be done from here; return whether it was done.

        Args:
            file: Stays open until this returns.
            start: The beginning of the answer, its length included.
            scope: The request.
            send: Where the beginning goes to.

        Raises:
            InternalError: The file ends early; the connection must be broken off.
        """
        connection = scope.get(CONNECTION_KEY)
        # The answer to this very request: the connection may have begun to read the next one.
        answer = getattr(send, "__self__", None)
        is_long = file.size_bytes >= SENT_BY_THREAD_BYTES_MIN
        region = file.region if is_long and isinstance(file, OnDisk) else None
        if not isinstance(connection, JsonProtocol) or region is None:
            return False
        if not isinstance(answer, RequestResponseCycle):
            return False
        plain = connection.transport.get_extra_info("socket")
        if plain is None or connection.transport.get_extra_info("sslcontext") is not None:
            return False
        await send(start)
        if await connection.drained():
            with socket.socket(fileno=os.dup(plain.fileno())) as out:
                out.setblocking(False)
                await self._send_all(connection, out, region, file.size_bytes)
        if not connection.is_lost:
            answer.expected_content_length = 0  # it was sent past it
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        return True

    async def _send_all(
        self, connection: JsonProtocol, out: socket.socket, region: Region, size_bytes: int
    ) -> None:
        loop = asyncio.get_running_loop()
        at, end = region.start, region.start + size_bytes
        while at < end and not connection.transport.is_closing():
            turn = loop.run_in_executor(
                self._threads, _turn, out.fileno(), region.descriptor, at, end
            )
            try:
                at, is_full = await asyncio.shield(turn)
            except asyncio.CancelledError:
                await asyncio.wait({turn})  # it uses what we are about to close
                raise
            except ConnectionError:  # the transport will notice as well
                connection.transport.abort()
                return
            if is_full and not await _is_writable(connection, out):
                connection.transport.abort()
                return


def _turn(out: int, source: int, at: int, end: int) -> tuple[int, bool]:
    """Send for a moment; return how far it came, and whether the client has enough for now."""
    until = time.monotonic() + _TURN_S
    poll: select.poll | None = None
    while at < end:
        try:
            sent = os.sendfile(out, source, at, min(end - at, _AT_ONCE_BYTES))
        except BlockingIOError:
            if poll is None:
                poll = select.poll()
                poll.register(out, select.POLLOUT)
            if not poll.poll(_PATIENCE_MS):
                return at, True
            continue
        if sent == 0:
            raise InternalError("storage failure: the file is damaged", detail="ends early")
        at += sent
        if time.monotonic() > until:
            break
    return at, False


async def _is_writable(connection: JsonProtocol, out: socket.socket) -> bool:
    """Wait until the client takes more, or is gone; return whether it did either in time."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(out.fileno(), ready.set)
    connection.tell_loss(ready.set)
    try:
        async with asyncio.timeout(DOWNLOAD_STALL_S_MAX):
            await ready.wait()
    except TimeoutError:
        return False
    finally:
        connection.on_lost = None
        loop.remove_writer(out.fileno())
    return True
