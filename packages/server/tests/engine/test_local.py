"""Calls in real slots: answers, ends and cancellation. Who gets which slot: `test_capacity.py`."""

import asyncio
import os
from pathlib import Path

from engine_site import Run, Site


def test_a_warm_slot_is_used_again(run: Run) -> None:
    async def scenario(site: Site) -> None:
        assert [await site.call('"count"') for _ in range(3)] == ["1", "2", "3"]

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
