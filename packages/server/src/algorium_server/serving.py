"""The HTTP server: uvicorn on a listening socket for as long as a block lasts."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Final

import uvicorn

from algorium_server.api.direct import DirectProtocol
from algorium_server.api.forwarding import forwarding
from algorium_server.api.heads import Heads
from algorium_server.api.http import AsgiApp
from algorium_server.listening import Loads, SharedListener

_BACKLOG: Final = 2048
_KEEP_ALIVE_S: Final = 75
"""Longer than the minute of most proxies: who sends requests should be the one that closes."""


@asynccontextmanager
async def serving(
    app: AsgiApp,
    heads: Heads,
    listening: socket.socket,
    *,
    grace_s: float,
    loads: Loads | None = None,
    gateway: int = 0,
) -> AsyncIterator[None]:
    """
    Serve *app* on a socket; at the end, answers under way may take *grace_s* to finish.

    Calls that were seen before are answered without the application, through *heads*.

    The socket is closed with it. If other gateways listen on it as well, *loads* is what they all
    know of one another, and *gateway* the number of this one.
    """
    config = uvicorn.Config(
        forwarding(app, heads.proxies),
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
    server = _Server(config) if loads is None else _SharingServer(config, loads, gateway)
    task = asyncio.get_running_loop().create_task(server.serve(sockets=[listening]))
    serves = asyncio.get_running_loop().create_task(server.serves.wait())
    await asyncio.wait({serves, task}, return_when=asyncio.FIRST_COMPLETED)
    serves.cancel()
    _leave_alone()
    try:
        yield
    finally:
        server.should_exit = True
        await task


def _leave_alone() -> None:
    """
    Keep the garbage collector from what is there now.

    Modules and the directory stay for as long as the process does. To look through all of them
    takes longer than a hundred calls, and would happen every few seconds under load.
    """
    gc.collect()
    gc.freeze()
    gc.enable()


class _Server(uvicorn.Server):
    """
    uvicorn without its signal handling: `app` decides when to stop.

    Attributes:
        serves: Set once it accepts connections.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serves = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        await super().startup(sockets)
        self.serves.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _SharingServer(_Server):
    """The same on a socket that other processes listen on as well."""

    def __init__(self, config: uvicorn.Config, loads: Loads, gateway: int) -> None:
        super().__init__(config)
        self._loads = loads
        self._gateway = gateway
        self._listener: SharedListener | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        await super().startup(sockets=[])
        assert sockets, "given by `serving`"
        self._listener = SharedListener(
            sockets[0],
            self._make_protocol,
            loads=self._loads,
            gateway=self._gateway,
            count=lambda: len(self.server_state.connections),
            backlog=self.config.backlog,
        )
        self.servers = [self._listener]  # type: ignore[list-item]  # closed and awaited, no more

    async def on_tick(self, counter: int) -> bool:
        """Tell the other gateways how many connections are left: closing one tells nobody."""
        if self._listener is not None:
            self._listener.tell()
        return await super().on_tick(counter)

    def _make_protocol(self) -> asyncio.Protocol:
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]  # as uvicorn
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol
