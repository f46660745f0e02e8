"""What slots consume, measured from outside, whatever starts them."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import pytest
from sandboxes import ALL, Stage, python, read_line

from algorium_server.engine.consumption import Consumption
from algorium_server.engine.host import SandboxProcess
from algorium_server.engine.sandbox import ExitStatus, Mechanism

# Does what it is told by signals: the host's clock is to be compared with the program's own.
TOLD = """
import os, signal, subprocess, sys, threading, time

def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

def work(*_):
    burn(0.2)
    print("worked", flush=True)

def thread(*_):
    other = threading.Thread(target=lambda: [sum(range(1000)) for _ in range(10_000)])
    before = time.process_time()
    other.start()
    other.join()
    print(time.process_time() - before, flush=True)

BURN = "import time\\nwhile time.process_time() < 0.3: pass"

def child(*_):
    subprocess.run([sys.executable, "-c", BURN])
    print("waited", flush=True)

def orphan(*_):
    if os.fork() == 0:
        if os.fork():
            os._exit(0)
        os.execv(sys.executable, [sys.executable, "-c", BURN])
    os.wait()
    print("left alone", flush=True)

def hoard(*_):
    data = bytearray(64 * 1024 * 1024)
    print(len(data), flush=True)

signal.signal(signal.SIGUSR1, work)
signal.signal(signal.SIGUSR2, globals()[sys.argv[1]] if len(sys.argv) > 1 else work)
print(time.process_time(), flush=True)
while True:
    signal.pause()
"""


def told(what: str):
    spec = python(TOLD)
    return python(TOLD, argv=(*spec.argv, what))


def with_program(
    stage: Stage, what: str, scenario: Callable[[SandboxProcess, Consumption], Awaitable[None]]
) -> None:
    """Run *scenario* with a program that waits for signals, and what it has consumed so far."""

    async def run() -> None:
        process = await stage.host.spawn(told(what))
        try:
            await asyncio.wait_for(read_line(process.stdout_fd), 20)
            await scenario(process, Consumption(process.program_pid, root=process.pid))
        finally:
            await process.kill(0)
            process.close()

    stage.runner.run(run())


async def signalled(process: SandboxProcess, number: int) -> str:
    os.kill(process.program_pid, number)
    return await asyncio.wait_for(read_line(process.stdout_fd), 20)


@pytest.mark.parametrize("stage", ALL, indirect=True)
def test_the_program_is_found_behind_whatever_starts_it(stage: Stage):
    async def scenario(process: SandboxProcess, _: Consumption) -> None:
        with open(f"/proc/{process.program_pid}/cmdline", "rb") as file:
            assert b"def hoard" in file.read()

    with_program(stage, "work", scenario)


@pytest.mark.parametrize("stage", ALL, indirect=True)
def test_cpu_time_is_told_apart_call_by_call(stage: Stage):
    async def scenario(process: SandboxProcess, consumption: Consumption) -> None:
        loading_s = consumption.charge(time.monotonic())
        await signalled(process, 10)
        worked_s = consumption.charge(time.monotonic())
        idle_s = consumption.charge(time.monotonic())

        assert 0.005 < loading_s < 5
        assert 0.2 <= worked_s < 0.3
        assert idle_s < 0.05

    with_program(stage, "work", scenario)


@pytest.mark.parametrize("stage", ALL, indirect=True)
def test_threads_count_and_their_time_is_exact(stage: Stage):
    async def scenario(process: SandboxProcess, consumption: Consumption) -> None:
        consumption.charge(time.monotonic())
        said_s = float(await signalled(process, 12))
        charged_s = consumption.charge(time.monotonic())

        assert said_s <= charged_s < said_s + 0.05

    with_program(stage, "thread", scenario)


@pytest.mark.parametrize("stage", ALL, indirect=True)
def test_processes_count_once_they_were_waited_for(stage: Stage):
    async def scenario(process: SandboxProcess, consumption: Consumption) -> None:
        consumption.charge(0.0)
        await signalled(process, 12)

        assert 0.25 < consumption.charge(1.0) < 1

    with_program(stage, "child", scenario)


@pytest.mark.parametrize("stage", ALL, indirect=True)
def test_processes_that_lost_their_parents_count_too(stage: Stage):
    async def scenario(process: SandboxProcess, consumption: Consumption) -> None:
        consumption.charge(0.0)
        await signalled(process, 12)
        charged_s, now, deadline = 0.0, 1.0, time.monotonic() + 20
        while charged_s < 0.25:  # it goes on by itself; nobody tells when it ends
            assert time.monotonic() < deadline
            charged_s += consumption.charge(now)
            now += 1.0
            await asyncio.sleep(0.02)

        assert charged_s < 1

    with_program(stage, "orphan", scenario)


@pytest.mark.parametrize("stage", ALL, indirect=True)
def test_the_peak_of_memory_is_seen_after_it_was_given_back(stage: Stage):
    async def scenario(process: SandboxProcess, consumption: Consumption) -> None:
        consumption.charge(0.0)
        before = consumption.peak_memory_bytes
        await signalled(process, 12)
        consumption.charge(0.05)

        assert before > 1_000_000
        assert consumption.peak_memory_bytes == before, "looking costs, so it waits"

        consumption.charge(0.2)

        assert consumption.peak_memory_bytes > before + 60 * 1024 * 1024

    with_program(stage, "hoard", scenario)


@pytest.mark.parametrize("stage", ALL, indirect=True)
def test_a_program_that_ends_with_its_call_is_charged_to_the_end(stage: Stage):
    code = "import time\nwhile time.process_time() < 0.4: pass\nraise SystemExit(3)"

    async def run() -> tuple[float, float]:
        process = await stage.host.spawn(python(code))
        try:
            consumption = Consumption(process.program_pid, root=process.pid)
            status = await asyncio.wait_for(asyncio.shield(process.exited), 20)
            return consumption.charge_rest(status), consumption.charge_rest(status)
        finally:
            process.close()

    charged_s, again_s = stage.runner.run(run())

    assert 0.4 <= charged_s < 1
    assert again_s == 0.0


def test_a_process_that_is_gone_costs_nothing_more():
    argv = [sys.executable, "-c", "input(input())"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write(b"?\n")
        program.stdin.flush()
        assert program.stdout.read(1) == b"?"
        consumption = Consumption(program.pid, root=program.pid)
        assert consumption.charge(0.0) > 0
        peak = consumption.peak_memory_bytes
        program.communicate(b"\n")

    assert consumption.charge(1.0) == 0.0
    assert consumption.peak_memory_bytes == peak > 0


def test_an_unknown_process_costs_nothing():
    consumption = Consumption(0, root=0)

    assert consumption.charge(1.0) == 0.0
    assert consumption.peak_memory_bytes == 0


def test_the_end_of_a_slot_tells_its_peak():
    consumption = Consumption(0, root=0)
    status = ExitStatus(code=None, signal=9, was_oom=True, peak_memory_bytes=7, cpu_s=0.5)

    assert consumption.charge_rest(None) == 0.0
    assert consumption.charge_rest(status) == 0.5
    assert consumption.peak_memory_bytes == 7


def test_mechanisms_are_all_tried():
    assert {str(each.id) for each in ALL} == {mechanism.value for mechanism in Mechanism}
