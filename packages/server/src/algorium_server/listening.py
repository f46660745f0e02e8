"""
The listening socket, and how several gateways share it.

**Sharing.** Gateways that wait on one socket are woken together, and the first one takes the whole
burst of connections that woke them: one gateway could end up with all of them. So each takes one
connection at a time, and one that has more of them than another waits for a moment before it takes
the next. Nobody depends on the others: after that moment it takes what is still there, whether
the others are busy, hung or dead.

How many connections each gateway has is in a table in memory that all of them see. It may be a
little old; it decides about who waits for a millisecond, nothing else.
"""

import asyncio
import errno
import mmap
import os
import resource
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from algorium_server.domain.errors import Unavailable
from algorium_server.telemetry import logger

_DEFERENCE_S: Final = 0.001
"""Long enough for an idle gateway to wake up, too short for a caller to notice."""
_EXHAUSTED_PAUSE_S: Final = 0.5
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_WORD: Final = 4
_ABSENT: Final = (1 << 32) - 1

_log = logger(__name__)


def listen(host: str, port: int) -> socket.socket:
    """
    Return a bound socket, for a server to listen on.

    Raises:
        Unavailable: The address or the port cannot be had.
    """
    listening = socket.socket(_family(host))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise Unavailable(
            f"Cannot listen on {host}:{port}: {error.strerror}",
            hint="Give another --port; 0 picks a free one.",
        ) from error
    listening.setblocking(False)
    return listening


def allow_many_connections() -> None:
    """Let the process have as many descriptors as it may: each slot and each caller needs some."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # some systems name a limit that they do not grant
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def address_of(host: str, listening: socket.socket) -> str:
    """Return the base address of what listens on *host*."""
    shown = f"[{host}]" if _family(host) is socket.AF_INET6 else host
    return f"http://{shown}:{listening.getsockname()[1]}"


class Loads:
    """
    How many connections each gateway has, for all of them to see.

    Args:
        descriptor: Of a file in memory that they share.
        gateways: How many there are.
    """

    def __init__(self, descriptor: int, *, gateways: int) -> None:
        if os.fstat(descriptor).st_size < gateways * _WORD:
            os.ftruncate(descriptor, gateways * _WORD)
        self._connections = memoryview(mmap.mmap(descriptor, gateways * _WORD)).cast("I")

    def tell(self, gateway: int, connections: int) -> None:
        """Say how many connections a gateway has."""
        self._connections[gateway] = connections

    def leave(self, gateway: int) -> None:
        """Say that a gateway takes no connections, so that nobody waits for it."""
        self._connections[gateway] = _ABSENT

    def are_lower_elsewhere(self, connections: int) -> bool:
        """Whether some gateway has fewer than this many connections."""
        return min(self._connections) < connections


class SharedListener:
    """
    One gateway's part of the listening socket; listens from its birth until it is closed.

    Args:
        listening: The socket, which others listen on as well. It is left open.
        make_protocol: Makes what serves a connection.
        loads: What the gateways know of one another.
        gateway: Which one this is.
        count: Says how many connections it has.
        backlog: How many may wait to be accepted.
    """

    def __init__(
        self,
        listening: socket.socket,
        make_protocol: Callable[[], asyncio.Protocol],
        *,
        loads: Loads,
        gateway: int,
        count: Callable[[], int],
        backlog: int,
    ) -> None:
        self._listening = listening
        self._make_protocol = make_protocol
        self._loads = loads
        self._gateway = gateway
        self._count = count
        self._beginning: set[asyncio.Task[None]] = set()
        self._later: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._loop = asyncio.get_running_loop()
        listening.listen(backlog)
        self.tell()
        self._loop.add_reader(listening, self._on_connection)

    def tell(self) -> int:
        """Tell the others how many connections this gateway has, and return that."""
        connections = self._count() + len(self._beginning)
        if not self._is_closed:
            self._loads.tell(self._gateway, connections)
        return connections

    def close(self) -> None:
        """Accept no more."""
        if not self._is_closed:
            self._is_closed = True
            self._loads.leave(self._gateway)
            self._pause()

    async def wait_closed(self) -> None:
        """Wait for connections that have just been accepted to be served."""
        await asyncio.gather(*self._beginning)

    def _on_connection(self) -> None:
        if self._loads.are_lower_elsewhere(self.tell()):
            self._pause()
            self._later = self._loop.call_later(_DEFERENCE_S, self._resume)
        else:
            self._accept()

    def _pause(self) -> None:
        self._loop.remove_reader(self._listening)
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def _resume(self) -> None:
        self._later = None
        self._loop.add_reader(self._listening, self._on_connection)
        self._accept()

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # another gateway was quicker, or the client is gone already
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            _log.warning("connections cannot be accepted now", error=error.strerror)
            self._pause()
            self._later = self._loop.call_later(_EXHAUSTED_PAUSE_S, self._resume)
            return
        connection.setblocking(False)
        beginning = self._loop.create_task(self._begin(connection))
        self._beginning.add(beginning)
        beginning.add_done_callback(self._beginning.discard)
        self.tell()

    async def _begin(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make_protocol, connection)
        except OSError:  # it was gone before we came to it
            connection.close()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
