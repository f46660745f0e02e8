"""A real server for ASGI applications: uvicorn in a thread, on a free port."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

import httpx2
import pytest
import uvicorn
from authoring_site import Site, running_site

from algorium_server.api.http import AsgiApp, Receive, Scope, Send
from algorium_server.api.protocol import JsonProtocol
from algorium_server.store.database import sqlite_url

DEADLINE_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a served application answers."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, timeout=DEADLINE_S)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S)

    def exchange(self, request: bytes) -> bytes:
        """Send raw bytes and read until the server closes."""
        with self.connect() as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()


@contextmanager
def _running(app: AsgiApp, lifespan: Literal["on", "off"]) -> Iterator[Address]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        http=JsonProtocol,
        ws="websockets-sansio",
        lifespan=lifespan,
        log_config=None,
        access_log=False,
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert server.is_up.wait(DEADLINE_S)
        yield Address(port=listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(DEADLINE_S)
        listener.close()
    assert not thread.is_alive()


class _Stage:
    """An application whose part the tests play, one after the other."""

    app: AsgiApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


@pytest.fixture(scope="session")
def _stage() -> Iterator[tuple[_Stage, Address]]:
    # One server for all tests: starting and stopping one takes longer than most of them.
    stage = _Stage()
    with _running(stage, "off") as address:
        yield stage, address


@pytest.fixture
def serve(_stage: tuple[_Stage, Address]) -> Callable[[AsgiApp], Address]:
    """Serve an application until the end of the test."""
    stage, address = _stage

    def begin(app: AsgiApp) -> Address:
        stage.app = app
        return address

    return begin


@pytest.fixture
def serve_with_lifespan() -> Iterator[Callable[[AsgiApp], Address]]:
    """Serve an application that is told about start and end, on a server of its own."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(_running(app, "on"))


@pytest.fixture(scope="module")
def authoring_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Serve the management API for a whole module; its tests use names of their own."""
    home = tmp_path_factory.mktemp("authoring")
    stack = AsyncExitStack()
    with asyncio.Runner() as runner:
        opened = running_site(sqlite_url(home / "algorium.db"), home, runner)
        yield runner.run(stack.enter_async_context(opened))
        runner.run(stack.aclose())
