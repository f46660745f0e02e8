"""Zygotes and their slots end as a whole, whoever ends them, and limits hold for each alone."""

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from nursery import LIMITS, Nursery, kill_and_wait, namespaces_in_use, start_host, zygotes_of
from sandboxes import MIB, processes_with, started_at, wait_until

from algorium_server.engine.program import slot_spec
from algorium_server.engine.sandbox import ExitStatus, Mechanism

pytestmark = pytest.mark.namespaces

KILLED = ExitStatus(code=None, signal=signal.SIGKILL)


@pytest.fixture
def mechanism() -> Mechanism:
    """Of cold starts; zygotes are the same with all of them."""
    return Mechanism.LAUNCHER


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@asynccontextmanager
async def nursery_at(place: Path, mechanism: Mechanism, **options) -> AsyncIterator[Nursery]:
    host = await start_host(place, mechanism, **options)
    try:
        yield Nursery(asyncio.Runner(), place, host)
    finally:
        await host.close()
    assert left_by(place) == []


def left_by(place: Path) -> list[str]:
    """Return what a host below *place* has left: processes, control groups, directories."""
    found = [f"process {pid}" for pid in processes_with(str(place))]
    found += [str(path) for path in (place / "state").glob("slots-*")]
    return found


def groups_of(supervisor: int) -> list[Path]:
    return [*Path("/sys/fs/cgroup").rglob(f"algorium-{supervisor}-*")]


def supervisor_of(place: Path) -> int:
    return min(processes_with(str(place / "state")), key=started_at)


def root_of(zygote: int) -> int:
    """Return the process of ours that watches over a zygote's keeper."""
    return parent_of(parent_of(zygote))


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_zygote_that_is_killed_takes_no_slot_along_and_is_replaced(runner, place, mechanism):
    async def kill():
        async with nursery_at(place, mechanism) as nursery:
            program = nursery.program()
            slot = await nursery.fork(program)
            await slot.run("result = 1")
            (zygote,) = zygotes_of(program.environment_dir)
            kill_and_wait(zygote)
            await nursery.until(lambda: nursery.state(program) == "ended")
            answer = await slot.run("result = 2")
            between = await nursery.spawn(program)
            await nursery.until(lambda: nursery.state(program) == "ready")
            after = await nursery.fork_again(program)
            answers = [answer, await between.run("result = 3"), await after.run("result = 4")]
            status = await slot.kill()
            await between.kill()
            await after.kill()
            # its sandbox was kept for the slot alone
            await nursery.until(lambda: len(keepers_of(place)) == 1)
            return answers, between.process.start_path, status

    answers, path, status = runner.run(kill())

    assert answers == [2, 3, 4]
    assert path == "cold"
    assert (status.code, status.signal) == (None, signal.SIGKILL)


def keepers_of(place: Path) -> list[int]:
    """Return the inits of zygotes' sandboxes: forks of the supervisor, first in a namespace."""
    return [pid for pid in processes_with(str(place / "state")) if numbers_of(pid)[1:] == ["1"]]


def numbers_of(pid: int) -> list[str]:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return []
    (line,) = (line for line in status.splitlines() if line.startswith("NSpid"))
    return line.split()[1:]


@pytest.mark.parametrize("killed", ["keeper", "root"])
def test_when_the_sandbox_of_a_zygote_dies_its_slots_are_told_to_have_died(
    runner, place, mechanism, killed
):
    async def kill():
        async with nursery_at(place, mechanism) as nursery:
            program = nursery.program()
            slots = [await nursery.fork(program), await nursery.fork_again(program)]
            for slot in slots:
                await slot.run("import subprocess; subprocess.Popen(['sleep', '600'])")
            (zygote,) = zygotes_of(program.environment_dir)
            roots = [slot.process.pid for slot in slots]
            os.kill(parent_of(zygote) if killed == "keeper" else root_of(zygote), signal.SIGKILL)
            statuses = [await slot.ended() for slot in slots]
            alive = [pid for pid in (*roots, zygote) if Path(f"/proc/{pid}").exists()]
            again = await nursery.fork(program)
            answer = await again.run("result = 'again'")
            await again.kill()
            return statuses, alive, answer

    statuses, alive, answer = runner.run(kill())

    assert [(status.code, status.signal) for status in statuses] == [(None, signal.SIGKILL)] * 2
    assert alive == []
    assert answer == "again"


def test_when_the_supervisor_is_killed_everything_dies_and_the_next_start_works(
    runner, place, mechanism
):
    async def kill():
        async with nursery_at(place, mechanism) as nursery:
            program = nursery.program()
            slot = await nursery.fork(program)
            await slot.run("import subprocess; subprocess.Popen(['sleep', '600'])")
            supervisor = supervisor_of(place)
            inside = os.readlink(f"/proc/{slot.process.program_pid}/ns/pid")
            os.kill(supervisor, signal.SIGKILL)
            status = await slot.ended()
            wait_until(lambda: inside not in namespaces_in_use(), timeout_s=30)
            wait_until(lambda: not processes_with(str(place)), timeout_s=30)
            program = nursery.program()
            cold = await nursery.spawn(program)  # with another supervisor
            await nursery.until(lambda: nursery.state(program) == "ready")
            again = await nursery.fork_again(program)
            answer = await again.run("result = 'again'")
            await cold.kill()
            await again.kill()
            return status, answer, supervisor

    status, answer, supervisor = runner.run(kill())

    assert status == replace(KILLED, was_lost=True)
    assert answer == "again"
    assert groups_of(supervisor) == []


def test_closing_ends_zygotes_and_slots_and_leaves_nothing(runner, place, mechanism):
    async def close():
        async with nursery_at(place, mechanism) as nursery:
            programs = [nursery.program() for _ in range(2)]
            slots = [await nursery.fork(program) for program in programs]
            for slot in slots:
                await slot.run("import subprocess; subprocess.Popen(['sleep', '600'])")
            supervisor = supervisor_of(place)
            inside = {os.readlink(f"/proc/{slot.process.program_pid}/ns/pid") for slot in slots}
            await nursery.host.close()
            assert all(slot.process.exited.done() for slot in slots)
            for slot in slots:
                slot.process.close()
            return supervisor, inside

    supervisor, inside = runner.run(close())

    assert not inside & namespaces_in_use()
    assert groups_of(supervisor) == []


def test_a_zygote_ends_when_it_is_idle_and_slots_outlive_it(runner, place, mechanism):
    async def wait():
        limits = replace(LIMITS, idle_s=0.5)
        async with nursery_at(place, mechanism, limits=limits) as nursery:
            program = nursery.program()
            slot = await nursery.fork(program)
            await nursery.until(lambda: nursery.state(program) == "ended")
            reason = nursery.last(program)["reason"]
            answer = await slot.run("result = 'alive'")
            await slot.kill()
            await nursery.until(lambda: nursery.host.zygotes.count == 0)
            await nursery.until(lambda: keepers_of(place) == [])
            return reason, answer

    assert runner.run(wait()) == ("it was idle", "alive")


def test_a_zygote_is_given_up_at_a_certain_age(runner, place, mechanism):
    async def wait():
        async with nursery_at(place, mechanism, limits=replace(LIMITS, age_s=0.5)) as nursery:
            program = nursery.program()
            await nursery.ready(program)
            await nursery.until(lambda: nursery.state(program) == "ended")
            return nursery.last(program)["reason"]

    assert runner.run(wait()) == "it is old"


def test_the_least_recently_used_zygote_makes_room(runner, place, mechanism):
    async def use():
        limits = replace(LIMITS, count_max=2, stay_s=0.0)
        async with nursery_at(place, mechanism, limits=limits) as nursery:
            first, second, third = (nursery.program() for _ in range(3))
            for program in (first, second):
                await nursery.ready(program)
            await (await nursery.fork_again(first)).kill()
            cold = await nursery.spawn(third)
            await nursery.until(lambda: nursery.state(third) == "ready")
            states = [nursery.state(program) for program in (first, second, third)]
            await cold.kill()
            return states

    assert runner.run(use()) == ["ready", "ended", "ready"]


def test_a_zygote_in_use_does_not_make_room_and_none_for_a_publication(runner, place, mechanism):
    async def use():
        limits = replace(LIMITS, count_max=1, stay_s=600.0)
        async with nursery_at(place, mechanism, limits=limits) as nursery:
            first, second = nursery.program(), nursery.program()
            await nursery.ready(first)
            nursery.host.prepare(slot_spec(second))
            slot = await nursery.spawn(second)
            await slot.run("result = 1")
            states = [nursery.state(program) for program in (first, second)]
            await slot.kill()
            return states, nursery.host.zygotes.count

    assert runner.run(use()) == (["ready", ""], 1)


@pytest.mark.parametrize("uses_cgroups", [True, False], ids=["groups", "watched"])
def test_limits_hold_for_a_forked_slot_alone(runner, place, mechanism, uses_cgroups):
    eat = "x = []\nwhile True: x.append(bytearray(1 << 20))"
    multiply = """
import time
for _ in range(60):
    try:
        if os.fork() == 0:
            time.sleep(600)
    except OSError:
        pass
time.sleep(600)
"""
    fill = """
result = []
for place in ("/tmp", "/home/algo", "/dev/shm"):
    try:
        with open(place + "/x", "wb") as file:
            for _ in range(64):
                file.write(bytes(1 << 20))
    except OSError as error:
        result.append(error.strerror)
"""

    async def exceed():
        async with nursery_at(place, mechanism, uses_cgroups=uses_cgroups) as nursery:
            program = nursery.program()
            limits = replace(
                slot_spec(program).limits, memory_bytes=256 * MIB, processes=24, tmp_bytes=16 * MIB
            )
            spec = replace(slot_spec(program), limits=limits)
            cold = await nursery.spawn(spec)  # a zygote for these limits
            await nursery.until(lambda: nursery.host.zygotes.count == 1)
            await nursery.until(lambda: bool(nursery.host.zygote_events))
            await cold.kill()
            bystander = await nursery.fork_again(program, limits=limits)
            outcomes = {}
            for name, code in {"memory": eat, "processes": multiply}.items():
                slot = await nursery.fork_again(program, limits=limits)
                await slot.send(code)
                outcomes[name] = await slot.ended() if name == "memory" else None
                if name == "processes":
                    await asyncio.wait({slot.process.exited}, timeout=1)
                    outcomes[name] = await slot.kill()
            full = await bystander.run(fill)
            await bystander.kill()
            return outcomes, full

    outcomes, full = runner.run(exceed())

    assert outcomes["memory"].was_oom
    assert outcomes["processes"].was_process_limit
    assert len(full) == 3
    assert set(full) <= {"No space left on device", "File too large"}


def test_a_zygote_that_takes_too_much_memory_is_ended(runner, place, mechanism):
    limits = replace(LIMITS, memory_bytes=96 * MIB)
    greedy = "DATA = [bytearray(1 << 20) for _ in range(512)]"

    async def start(*, uses_cgroups):
        where = place / str(uses_cgroups)
        where.mkdir(mode=0o755)
        async with nursery_at(
            where, mechanism, limits=limits, uses_cgroups=uses_cgroups
        ) as nursery:
            program = nursery.program({"greedy.py": greedy})
            nursery.host.prepare(slot_spec(program))
            await nursery.until(lambda: nursery.state(program) == "ended")
            slot = await nursery.spawn(program)
            answer = await slot.run("result = 'cold'")
            await slot.kill()
            return answer, slot.process.start_path

    for uses_cgroups in (True, False):
        assert runner.run(start(uses_cgroups=uses_cgroups)) == ("cold", "cold")


def test_a_zygote_that_multiplies_is_ended_where_nobody_counts(runner, place, mechanism):
    late = """
import os, time
from algorium_runtime import zygote
usual = zygote._fork

def fork():
    pid = usual()
    if pid:
        for _ in range(40):
            if os.fork() == 0:
                os.setsid()
                time.sleep(600)
    return pid

zygote._fork = fork
"""

    async def multiply():
        limits = replace(LIMITS, processes=24)
        async with nursery_at(place, mechanism, limits=limits, uses_cgroups=False) as nursery:
            program = nursery.program({"late.py": late})
            await nursery.ready(program)
            await nursery.until(lambda: nursery.state(program) == "ended")
            await nursery.until(lambda: keepers_of(place) == [])
            slot = await nursery.spawn(program)
            answer = await slot.run("result = 'cold'")
            await slot.kill()
            return nursery.last(program)["reason"], answer, slot.process.start_path

    reason, answer, path = runner.run(multiply())

    assert reason == "it has too many processes"
    assert (answer, path) == ("cold", "cold")
