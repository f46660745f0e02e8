"""The platform's API on the listener of a slot, over real connections."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import uvloop

from algorium_server.api import slots
from algorium_server.api.credentials import PRINCIPAL_KEY
from algorium_server.api.errors import send_error
from algorium_server.api.http import encode_json, respond
from algorium_server.api.slots import ServedListener, SlotApi
from algorium_server.domain.errors import NotAuthenticated
from algorium_server.domain.identity import Account, AccountKind, ActingAlgorithm, Principal

DEADLINE_S = 20.0
REQUEST = b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n"

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(kw_only=True)
class Slot:
    """A listener being served, and who the slot acts as."""

    port: int
    served: ServedListener
    acts_as: list[Principal]
    opened: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self) -> Connection:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.opened.append(writer)
        return reader, writer

    async def close(self) -> None:
        self.served.close()
        for writer in self.opened:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def get(self, path: str) -> "Answer":
        return await ask(await self.connect(), path)


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: dict[str, Any]


async def ask(connection: Connection, path: str = "/") -> Answer:
    reader, writer = connection
    writer.write(REQUEST % path.encode())
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:] if line)
    body = await reader.readexactly(int(headers["content-length"]))
    return Answer(status=int(lines[0].split()[1]), headers=headers, body=json.loads(body))


async def tell(scope, receive, send):
    """Answer with what the application is told."""
    try:
        while (await receive()).get("more_body", False):
            pass
    except NotAuthenticated as error:
        await send_error(scope, send, error)
        return
    principal = scope[PRINCIPAL_KEY]()
    told = {
        "path": scope["path"],
        "raw_path": scope["raw_path"].decode(),
        "principal": principal and principal.account.username,
    }
    await respond(send, 200, encode_json(told))


def principal(name: str, *, tree_id: str = "req-1") -> Principal:
    account = Account(
        account_id=name, kind=AccountKind.USER, username=name, created_at=datetime.now(UTC)
    )
    acting = ActingAlgorithm(
        algorithm_id="algorithm",
        owner_id="owner",
        tree_id=tree_id,
        deadline_at=0.0,
        depth=1,
        is_pipeline_enabled=True,
    )
    return Principal(account=account, acting=acting)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


@pytest.fixture
def in_slot(runner) -> Callable[..., None]:
    """Play a scenario against a slot whose listener is served."""

    def play(scenario: Callable[[Slot], Awaitable[None]], *, prefix: str = "") -> None:
        async def story() -> None:
            listener = socket.create_server(("127.0.0.1", 0))
            port = listener.getsockname()[1]
            acts_as = [principal("ann")]
            served = await SlotApi(tell).serve(
                listener, principal=lambda: acts_as[-1], path_prefix=prefix
            )
            slot = Slot(port=port, served=served, acts_as=acts_as)
            try:
                async with asyncio.timeout(DEADLINE_S):
                    await scenario(slot)
            finally:
                await slot.close()

        runner.run(story())

    return play


@pytest.fixture
def two_connections(monkeypatch) -> None:
    monkeypatch.setattr(slots, "SLOT_CONNECTIONS_MAX", 2)


def test_who_asks_is_looked_up_for_each_request(in_slot):
    async def scenario(slot):
        connection = await slot.connect()
        first = await ask(connection)
        slot.acts_as.append(principal("bob"))
        second = await ask(connection)

        assert [first.body["principal"], second.body["principal"]] == ["ann", "bob"]

    in_slot(scenario)


@pytest.mark.parametrize(("tree_id", "status"), [("req-1", 200), ("req-2", 401)])
def test_a_body_is_taken_up_to_the_end_of_the_call_in_which_it_began(in_slot, tree_id, status):
    async def scenario(slot):
        reader, writer = await slot.connect()
        head = b"PUT / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n"
        writer.write(head)
        assert b"100 Continue" in await reader.readuntil(b"\r\n\r\n")
        slot.acts_as.append(principal("ann", tree_id=tree_id))
        writer.write(b"body")

        assert (await reader.readuntil(b"\r\n")).split()[1] == b"%d" % status

    in_slot(scenario)


def test_the_secret_in_front_of_the_path_is_taken_off(in_slot):
    async def scenario(slot):
        answer = await slot.get("/secret/v1/data/.my/a%20b")

        assert answer.body["path"] == "/v1/data/.my/a b"
        assert answer.body["raw_path"] == "/v1/data/.my/a%20b"

    in_slot(scenario, prefix="/secret")


@pytest.mark.parametrize("path", ["/", "/v1/algo/a/b", "/secre", "/Secret/v1", "/%73ecret/v1"])
def test_without_the_secret_nobody_is_let_in(in_slot, path):
    async def scenario(slot):
        answer = await slot.get(path)

        assert answer.status == 401
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-error-message"] == "authorization required"
        assert answer.body == {"error": {"code": 2002, "message": "authorization required"}}

    in_slot(scenario, prefix="/secret")


def test_closing_drops_every_connection_and_lets_nobody_in(in_slot):
    async def scenario(slot):
        idle, used = await slot.connect(), await slot.connect()
        await ask(used)
        await ask(idle)
        slot.served.close()
        slot.served.close()

        for reader, _ in (idle, used):
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
        with pytest.raises(ConnectionError):
            await slot.connect()

    in_slot(scenario)


def test_one_connection_too_many_is_told_so_in_json(in_slot, two_connections):
    async def scenario(slot):
        held = [await slot.connect() for _ in range(2)]
        for connection in held:
            await ask(connection)
        surplus = await slot.connect()
        refusal = await ask(surplus)

        assert refusal.status == 503
        assert refusal.headers["content-type"] == "application/json"
        assert refusal.headers["connection"] == "close"
        assert "2 connections" in refusal.body["error"]["message"]
        assert await surplus[0].read() == b""
        assert [(await ask(connection)).status for connection in held] == [200, 200]

    in_slot(scenario)


def test_a_closed_connection_makes_room(in_slot, two_connections):
    async def scenario(slot):
        first, second = await slot.connect(), await slot.connect()
        await ask(first)
        await ask(second)
        first[1].close()

        while (await slot.get("/")).status == 503:  # until the server has seen the end
            pass

    in_slot(scenario)


def test_connections_that_never_ask_are_not_piled_up(in_slot, two_connections):
    async def scenario(slot):
        silent = [await slot.connect() for _ in range(5)]

        assert await silent[-1][0].read() == b""
        assert (await ask(silent[0])).status == 200

    in_slot(scenario)
