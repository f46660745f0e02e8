"""Pools of real slots: dispatch, growth, eviction, deadlines and ends."""

import asyncio
import os
import socket
import time
import venv
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
from algorium_server.engine.capacity import EngineLimits
from algorium_server.engine.host import SandboxHost
from algorium_server.engine.local import LocalEngine
from algorium_server.engine.program import Program
from algorium_server.engine.slots import Flight

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


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(place, with_pip=False, symlinks=True)
    return place


Run = Callable[[Callable[["Site"], Awaitable[None]]], None]


class Site:
    """An engine with programs to run."""

    def __init__(self, engine: LocalEngine, place: Path, environment: Path) -> None:
        self.engine = engine
        self.place = place
        self.environment = environment

    def program(self, key: str = "one", source: str = SOURCE) -> Program:
        directory = self.place / key
        (directory / "src").mkdir(parents=True, exist_ok=True)
        (directory / "src" / "Main.py").write_text(source)
        return Program(
            key=key,
            source_dir=directory,
            source_bytes=len(source),
            environment_dir=self.environment,
            entry="src.Main",
        )

    async def call(
        self,
        value: str,
        *,
        program: Program | None = None,
        account: str = "a",
        timeout_s: float = 30,
        is_nested: bool = False,
    ) -> Any:
        outcome = await self.outcome(
            program or self.program(),
            flight(account, timeout_s=timeout_s, is_nested=is_nested),
            CallInput(content_type=ContentType.JSON, body=value.encode()),
        )
        if isinstance(outcome, CallSuccess):
            return outcome.body.decode()
        assert isinstance(outcome, CallFailure)
        return outcome.error_type

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


def flight(account: str, *, timeout_s: float, is_nested: bool = False) -> Flight:
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


@pytest.fixture
def run(tmp_path: Path, environment: Path) -> Callable[..., None]:
    def go(scenario: Callable[[Site], Awaitable[None]], **limits: Any) -> None:
        async def all_of_it() -> None:
            async with site(tmp_path, environment, EngineLimits(**limits)) as found:
                await scenario(found)

        asyncio.run(all_of_it())

    return go


def test_a_warm_slot_is_used_again(run: Run) -> None:
    async def scenario(site: Site) -> None:
        assert [await site.call('"count"') for _ in range(3)] == ["1", "2", "3"]

    run(scenario)


def test_accounts_have_slots_of_their_own(run: Run) -> None:
    async def scenario(site: Site) -> None:
        assert await site.call('"count"', account="a") == "1"
        assert await site.call('"count"', account="b") == "1"

    run(scenario)


def test_long_calls_get_more_slots_and_short_ones_do_not(run: Run) -> None:
    async def scenario(site: Site) -> None:
        await site.call('"count"')
        await asyncio.gather(*(site.call("0") for _ in range(50)))
        assert site.engine.slots_in_use()["idle"] == 1
        assert await asyncio.gather(*(site.call("1.5") for _ in range(3))) == ["1.5"] * 3
        assert site.engine.slots_in_use()["idle"] >= 2

    run(scenario)


def test_a_slot_that_dies_between_calls_is_replaced(run: Run) -> None:
    async def scenario(site: Site) -> None:
        assert await site.call('"die later"') == "soon"
        await site.settled(idle=0)
        assert await site.call('"count"') == "1"

    run(scenario)


def test_a_slot_that_dies_in_a_call_costs_only_that_call(run: Run) -> None:
    async def scenario(site: Site) -> None:
        assert await site.call('"die"') == "SystemExit"
        assert await site.call('"count"') == "1"

    run(scenario)


def test_a_cancelled_call_gives_its_slot_up(run: Run) -> None:
    async def scenario(site: Site) -> None:
        calling = asyncio.create_task(site.call("60"))
        await site.settled(busy=1)
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        await site.settled(idle=0, busy=0, starting=0)
        assert await site.call('"count"') == "1"

    run(scenario)


def test_a_cancelled_wait_loses_no_slot(run: Run) -> None:
    async def scenario(site: Site) -> None:
        first = asyncio.create_task(site.call("0.5"))
        await site.settled(busy=1)
        waiting = [asyncio.create_task(site.call('"count"')) for _ in range(5)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert await first == "0.5"
        await site.settled(busy=0, starting=0)
        assert site.engine.slots_in_use()["idle"] >= 1

    run(scenario, slots_per_pool_max=1)


def test_a_deadline_may_pass_in_the_queue(run: Run) -> None:
    async def scenario(site: Site) -> None:
        first = asyncio.create_task(site.call("1.5"))
        await site.settled(busy=1)
        assert await site.call('"count"', timeout_s=0.2) == "TimeoutError"
        assert await first == "1.5"
        assert await site.call('"count"') == "2"

    run(scenario, slots_per_pool_max=1)


def test_the_least_recently_used_slot_makes_room(run: Run) -> None:
    async def scenario(site: Site) -> None:
        programs = [site.program(key) for key in ("one", "two", "three")]
        for program in programs[:2]:
            assert await site.call('"count"', program=program) == "1"
        assert await site.call('"count"', program=programs[0]) == "2"
        assert await site.call('"count"', program=programs[2]) == "1"
        assert await site.call('"count"', program=programs[0]) == "3"
        assert await site.call('"count"', program=programs[1]) == "1"

    run(scenario, slots_max=2)


def test_nested_calls_run_although_parents_hold_every_slot(run: Run) -> None:
    async def scenario(site: Site) -> None:
        parent = asyncio.create_task(site.call("5", program=site.program("parent")))
        await site.settled(busy=1)
        child = site.program("child")
        assert await site.call('"count"', program=child, is_nested=True, timeout_s=4) == "1"
        parent.cancel()
        await asyncio.gather(parent, return_exceptions=True)

    run(scenario, slots_max=1, slots_per_pool_max=1)


def test_failed_loads_are_answered_from_memory_after_a_few(run: Run) -> None:
    async def scenario(site: Site) -> None:
        broken = site.program("broken", "raise ValueError('broken')\n")
        for _ in range(3):
            assert await site.call("1", program=broken) == "LoadingError"
        began = time.monotonic()
        for _ in range(100):
            assert await site.call("1", program=broken) == "LoadingError"
        assert site.engine.slots_in_use()["starting"] == 0
        assert time.monotonic() - began < 3

    run(scenario)


def test_closing_ends_every_slot(run: Run) -> None:
    others = children()
    ours: set[int] = set()

    async def scenario(site: Site) -> None:
        await site.call('"count"')
        await site.call('"count"', account="b")
        ours.update(children() - others)
        assert ours

    run(scenario)

    assert not {pid for pid in ours if is_alive(pid)}


def children() -> set[int]:
    """Return the processes that this one has started."""
    lists = (path.read_text() for path in Path("/proc/self/task").glob("*/children"))
    return {int(pid) for pids in lists for pid in pids.split()}


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


NONSENSE = """
import os, struct
header = b"{}"
os.write(3, struct.pack("<BBHIQ", 1, 2, 0, len(header), 4) + header + b"junk")
def apply(input):
    return "never"
"""


def test_nonsense_while_loading_costs_the_pool_no_place(run: Run) -> None:
    async def scenario(site: Site) -> None:
        nonsense = site.program("nonsense", NONSENSE)
        for _ in range(2):
            assert await site.call("1", program=nonsense) == "SystemError"
        await site.settled(starting=0)
        assert await site.call('"count"') == "1"

    run(scenario, slots_max=1)


def test_calls_that_time_out_in_line_leave_it(run: Run) -> None:
    async def scenario(site: Site) -> None:
        hanging = site.program("hanging", "import time\ntime.sleep(60)\ndef apply(i): ...\n")
        answers = await asyncio.gather(
            *(site.call("1", program=hanging, timeout_s=0.3) for _ in range(10))
        )
        assert answers == ["TimeoutError"] * 10
        await asyncio.sleep(0.5)  # time in which slots would be started for nobody
        assert site.engine.slots_in_use()["starting"] == 1

    run(scenario)


def test_parents_of_one_algorithm_do_not_wait_for_their_children_for_ever(run: Run) -> None:
    async def scenario(site: Site) -> None:
        parents = [asyncio.create_task(site.call("3")) for _ in range(12)]
        await site.settled(busy=2)
        children = [site.call('"count"', is_nested=True, timeout_s=2.5) for _ in range(6)]
        assert "TimeoutError" not in await asyncio.gather(*children)
        for parent in parents:
            parent.cancel()
        await asyncio.gather(*parents, return_exceptions=True)

    run(scenario, slots_max=4, slots_per_pool_max=2)
