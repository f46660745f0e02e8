"""The HTTP server: a listening socket, and uvicorn on it for as long as a block lasts."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Final

import uvicorn

from algorium_server.api.direct import DirectProtocol
from algorium_server.api.heads import Heads
from algorium_server.api.http import AsgiApp
from algorium_server.domain.errors import Unavailable

_BACKLOG: Final = 2048
_KEEP_ALIVE_S: Final = 75
"""Longer than the minute of most proxies: who sends requests should be the one that closes."""


def listen(host: str, port: int) -> socket.socket:
    """
    Return a listening socket.

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


@asynccontextmanager
async def serving(
    app: AsgiApp, heads: Heads, listening: socket.socket, *, grace_s: float
) -> AsyncIterator[None]:
    """
    Serve *app* on a socket; at the end, answers under way may take *grace_s* to finish.

    Calls that were seen before are answered without the application, through *heads*.

    The socket is closed with it.
    """
    config = uvicorn.Config(
        app,
        http=partial(DirectProtocol, heads),  # type: ignore[arg-type]  # called like a class
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(grace_s)),
    )
    server = _Server(config)
    task = asyncio.get_running_loop().create_task(server.serve(sockets=[listening]))
    try:
        yield
    finally:
        server.should_exit = True
        await task


class _Server(uvicorn.Server):
    """uvicorn without its signal handling: `app` decides when to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
