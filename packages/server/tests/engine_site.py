"""An engine with real sandboxes, and programs given as text."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from algorium_server.domain.calls import (
    CallFailure,
    CallInput,
    CallOutcome,
    CallSuccess,
    ContentType,
)
from algorium_server.domain.identity import Account, AccountKind, ActingAlgorithm, Principal
from algorium_server.engine.flights import Flight
from algorium_server.engine.host import SandboxHost
from algorium_server.engine.local import LocalEngine
from algorium_server.engine.program import Program
from algorium_server.engine.room import EngineLimits

SOURCE = """
import os, signal, threading, time
calls = 0
def apply(input):
    global calls
    calls += 1
    if input == "count":
        return calls
    if input == "pid":
        return os.getpid()
    if isinstance(input, (int, float)):
        time.sleep(input)
        return input
    if input == "die later":
        threading.Timer(0.2, os._exit, (3,)).start()
        return "soon"
    if input == "die":
        os._exit(3)
    return input
"""


Run = Callable[[Callable[["Site"], Awaitable[None]]], None]


class Site:
    """An engine with programs to run."""

    def __init__(self, engine: LocalEngine, place: Path, environment: Path) -> None:
        self.engine = engine
        self.place = place
        self.environment = environment

    def program(self, key: str = "one", source: str = SOURCE, **settings: Any) -> Program:
        directory = self.place / key
        (directory / "src").mkdir(parents=True, exist_ok=True)
        (directory / "src" / "Main.py").write_text(source)
        return Program(
            key=key,
            source_dir=directory,
            source_bytes=len(source),
            environment_dir=self.environment,
            entry="src.Main",
            **settings,
        )

    async def call(
        self,
        value: str,
        *,
        program: Program | None = None,
        account: str = "a",
        timeout_s: float = 30,
        is_nested: bool = False,
        **ids: str,
    ) -> Any:
        outcome = await self.outcome(
            program or self.program(),
            flight(account, timeout_s=timeout_s, is_nested=is_nested, **ids),
            CallInput(content_type=ContentType.JSON, body=value.encode()),
        )
        if isinstance(outcome, CallSuccess):
            return outcome.body.decode()
        assert isinstance(outcome, CallFailure)
        return outcome.error_type

    def start(self, value: str, *, parent_id: str = "", **how: Any) -> asyncio.Task[Any]:
        """Let a call go its way; one with a parent is nested."""
        return asyncio.create_task(
            self.call(value, parent_id=parent_id, is_nested=bool(parent_id), **how)
        )

    async def outcome(self, program: Program, flight: Flight, call_input: CallInput) -> CallOutcome:
        ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def on_outcome(outcome: CallOutcome | Exception) -> None:
            if isinstance(outcome, Exception):
                ended.set_exception(outcome)
            else:
                ended.set_result(outcome)

        delivery = self.engine.submit(program, flight, call_input, on_outcome)
        try:
            return await ended
        except asyncio.CancelledError:
            delivery.cancel()
            raise

    async def settled(self, **wanted: int) -> None:
        deadline = time.monotonic() + 20
        while {n: self.engine.slots_in_use()[n] for n in wanted} != wanted:
            assert time.monotonic() < deadline, self.engine.slots_in_use()
            await asyncio.sleep(0.02)


def flight(account: str, *, timeout_s: float, is_nested: bool = False, **ids: str) -> Flight:
    owner = Account(
        account_id=account, kind=AccountKind.USER, username=account, created_at=datetime.now(UTC)
    )
    deadline_at = time.monotonic() + timeout_s
    acting = ActingAlgorithm(
        algorithm_id="x",
        owner_id=account,
        tree_id="req-1",
        deadline_at=deadline_at,
        depth=1,
        is_pipeline_enabled=True,
    )
    principal = Principal(account=owner, acting=acting)
    return Flight(
        account_id=account,
        inside=lambda: principal,
        deadline_at=deadline_at,
        is_nested=is_nested,
        **ids,
    )


class NoApi:
    """The platform's API for algorithms that do not ask it anything."""

    async def serve(self, listener: socket.socket, **_: Any) -> socket.socket:
        return listener


@asynccontextmanager
async def site(tmp_path: Path, environment: Path, limits: EngineLimits) -> AsyncIterator[Site]:
    host = await SandboxHost.start("auto", tmp_path / "sandboxes")
    if host.level is None:
        pytest.skip("this host offers no sandbox")
    engine = LocalEngine(host, NoApi(), limits=limits)
    await engine.start()
    try:
        yield Site(engine, tmp_path, environment)
    finally:
        await engine.close()
        await host.close()
