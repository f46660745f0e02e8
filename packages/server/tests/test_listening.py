"""One listening socket, several gateways: each gets its part, and none is waited for."""

import asyncio
import os
import resource
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Self

import pytest
import uvloop

from algorium_server.listening import Loads, SharedListener, address_of, listen

PATIENCE_S = 60.0
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)


class Connection(asyncio.Protocol):
    """Says which gateway it is, and stays open until the client closes it."""

    def __init__(self, gateway: "Gateway") -> None:
        self.gateway = gateway

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.gateway.connections.add(self)
        transport.write(b"%d" % self.gateway.number)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.gateway.connections.discard(self)


class Gateway:
    def __init__(self, listening: socket.socket, loads: Loads, number: int) -> None:
        self.number = number
        self.connections: set[Connection] = set()
        self.socket = listening.dup()  # a loop watches each descriptor once
        self.listener = SharedListener(
            self.socket,
            lambda: Connection(self),
            loads=loads,
            gateway=number,
            count=lambda: len(self.connections),
            backlog=100,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.listener.close()
        await self.listener.wait_closed()
        self.socket.close()


Story = Callable[[socket.socket, Loads], Awaitable[None]]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def tell(request: pytest.FixtureRequest) -> Iterator[Callable[[Story], None]]:
    """Run a story about a socket and a table of two gateways."""
    with ExitStack() as stack:
        loads_fd = os.memfd_create("loads")
        stack.callback(os.close, loads_fd)
        listening = stack.enter_context(closing(listen("127.0.0.1", 0)))
        runner = stack.enter_context(asyncio.Runner(loop_factory=request.param))
        loads = Loads(loads_fd, gateways=2)
        for number in range(2):
            loads.leave(number)

        async def in_time(story: Story) -> None:
            async with asyncio.timeout(PATIENCE_S):
                await story(listening, loads)

        yield lambda story: runner.run(in_time(story))


async def connect(listening: socket.socket) -> tuple[int, asyncio.StreamWriter]:
    """Connect, and learn which gateway answered."""
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    return int(await reader.readexactly(1)), writer


async def answered_by(listening: socket.socket, count: int, *, at_once: bool) -> list[int]:
    if at_once:
        found = await asyncio.gather(*(connect(listening) for _ in range(count)))
    else:
        found = [await connect(listening) for _ in range(count)]
    for _, writer in found:
        writer.close()
    return [number for number, _ in found]


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Let this process open no more files."""
    free = os.open("/dev/null", os.O_RDONLY)  # the lowest number that is free
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, FILES[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, FILES)


@pytest.mark.parametrize("at_once", [True, False])
def test_connections_go_to_who_has_fewest(tell, at_once: bool) -> None:
    async def story(listening: socket.socket, loads: Loads) -> None:
        async with Gateway(listening, loads, 0), Gateway(listening, loads, 1):
            numbers = await answered_by(listening, 40, at_once=at_once)
        assert abs(numbers.count(0) - 20) <= 4, numbers

    tell(story)


def test_nobody_waits_for_a_gateway_that_hangs(tell) -> None:
    async def story(listening: socket.socket, loads: Loads) -> None:
        loads.tell(1, 0)  # it has no connection, and will take none
        async with Gateway(listening, loads, 0):
            assert await answered_by(listening, 20, at_once=True) == [0] * 20

    tell(story)


def test_a_gateway_that_is_gone_is_not_compared_with(tell) -> None:
    async def story(listening: socket.socket, loads: Loads) -> None:
        async with Gateway(listening, loads, 0) as gone:
            assert loads.are_lower_elsewhere(1)
        assert not loads.are_lower_elsewhere(1)
        gone.listener.tell()
        assert not loads.are_lower_elsewhere(1), "not even if it says something late"
        async with Gateway(listening, loads, 1):
            assert await answered_by(listening, 5, at_once=True) == [1] * 5

    tell(story)


def test_connections_wait_while_there_are_no_descriptors_left(tell) -> None:
    async def story(listening: socket.socket, loads: Loads) -> None:
        async with Gateway(listening, loads, 0) as gateway:
            with socket.create_connection(listening.getsockname()) as client, no_descriptors():
                while gateway.listener._later is None:
                    await asyncio.sleep(0)
                resource.setrlimit(resource.RLIMIT_NOFILE, FILES)
                client.setblocking(False)
                assert await asyncio.get_running_loop().sock_recv(client, 1) == b"0"

    tell(story)


def test_a_client_that_is_gone_already_hurts_nobody(tell) -> None:
    async def story(listening: socket.socket, loads: Loads) -> None:
        listening.listen()
        for _ in range(5):
            client = socket.create_connection(listening.getsockname())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
        async with Gateway(listening, loads, 0):
            assert await answered_by(listening, 3, at_once=True) == [0] * 3

    tell(story)


def test_an_address_is_shown_as_clients_write_it() -> None:
    with closing(listen("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert address_of("127.0.0.1", listening) == f"http://127.0.0.1:{port}"
        assert address_of("::1", listening) == f"http://[::1]:{port}"
