"""Pools of real slots: growth, eviction, fairness, waiting and replacement."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

import pytest
from engine_site import Run, Site, flight

from algorium_server.domain.limits import MIB
from algorium_server.engine import room
from algorium_server.engine.claims import Reservation


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


def test_accounts_share_the_slots_of_a_version_that_says_so_and_act_each_for_itself(
    run: Run,
) -> None:
    async def scenario(site: Site) -> None:
        shared = site.program("shared", is_shared=True)
        answers = [await site.call('"count"', program=shared, account=account) for account in "abc"]
        assert answers == ["1", "2", "3"]
        assert site.engine.slots_in_use()["idle"] == 1

    run(scenario)


def test_a_flood_of_one_account_delays_another_one_by_less_than_two_slot_times(run: Run) -> None:
    nap_s = 0.05

    async def scenario(site: Site) -> None:
        assert await site.call('"count"', account="b") == "1"
        alone_s = await took(site.call(str(nap_s), account="b"))
        await site.call('"count"', account="a")
        flood = [asyncio.create_task(site.call(str(nap_s), account="a")) for _ in range(200)]
        await site.settled(busy=1)
        delays = []
        for _ in range(5):
            await asyncio.sleep(0.1)
            delays.append(await took(site.call(str(nap_s), account="b")) - alone_s)
        assert not all(call.done() for call in flood)
        for call in flood:
            call.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
        assert sorted(delays)[2] < 2 * nap_s

    run(scenario, slots_max=2)


def test_a_full_machine_makes_room_for_an_account_that_has_nothing(run: Run) -> None:
    async def scenario(site: Site) -> None:
        flood = [asyncio.create_task(site.call("0.3", account="a")) for _ in range(40)]
        await site.settled(busy=2)
        assert await site.call('"count"', account="b") == "1"
        waiting = site.engine.slots_in_use()["waiting"]
        assert waiting > 10, "the flood was not over"
        for call in flood:
            call.cancel()
        await asyncio.gather(*flood, return_exceptions=True)

    run(scenario, slots_max=2)


def test_a_deadlock_of_call_trees_ends_in_an_answer_at_once(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "NESTED_SLOTS_MAX", 1)

    async def scenario(site: Site) -> None:
        calls = [site.start("30", call_id=f"root-{n}", program=site.program(f"p{n}")) for n in "12"]
        await site.settled(busy=2)
        child = site.start("30", call_id="child", parent_id="root-1", tree_id="root-1")
        await site.settled(busy=3)
        late = [
            site.start('"count"', call_id="late", parent_id="root-2", tree_id="root-2"),
            site.start('"count"', call_id="later", parent_id="child", tree_id="root-1"),
        ]
        began = time.monotonic()
        done, _ = await asyncio.wait(late, timeout=10, return_when=asyncio.FIRST_EXCEPTION)
        assert [str(call.exception()) for call in done if call.exception()] == [
            "Too many requests: every slot waits for another call to end"
        ]
        assert time.monotonic() - began < 3
        for call in (*calls, child, *late):
            call.cancel()
        await asyncio.gather(*calls, child, *late, return_exceptions=True)

    run(scenario, slots_max=2)


def test_drained_slots_are_replaced_after_their_call(run: Run) -> None:
    async def scenario(site: Site) -> None:
        program = site.program("one", algorithm_id="x")
        other = site.program("two", algorithm_id="y")
        for each in (program, other):
            assert await site.call('"count"', program=each) == "1"
        busy = asyncio.create_task(site.call("1", program=program))
        await site.settled(busy=1)
        await site.engine.drain(algorithm_id="x")
        assert await site.call('"count"', program=program) == "1"
        assert await site.call('"count"', program=other) == "2"
        assert await busy == "1"
        await site.settled(idle=2, ending=0)
        assert await site.call('"count"', program=program) == "2"

    run(scenario)


def test_reserved_slots_are_warm_before_the_first_call_and_after_a_crash(run: Run) -> None:
    async def scenario(site: Site) -> None:
        program = site.program("one")
        keeper = flight("a", timeout_s=1e6)
        site.engine.reserve([Reservation(program=program, flight=keeper, slots=2)])
        await site.settled(idle=2)
        assert await site.call('"die"', program=program) == "SystemExit"
        await site.settled(idle=2, busy=0, ending=0)

    run(scenario)


def test_memory_is_counted_by_what_slots_were_seen_to_need(run: Run) -> None:
    async def scenario(site: Site) -> None:
        for n in range(6):
            assert await site.call('"count"', program=site.program(f"p{n}")) == "1"
        assert site.engine.slots_in_use()["idle"] >= 4

    run(scenario, memory_bytes=640 * MIB)


async def took(call: Awaitable[Any]) -> float:
    began = time.monotonic()
    await call
    return time.monotonic() - began
