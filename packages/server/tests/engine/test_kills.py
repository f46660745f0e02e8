"""Sandboxes end as a whole, whoever ends them and however."""

import asyncio
import os
import signal
import time

import pytest
from sandboxes import (
    ALL,
    CONFINING,
    WITH_ROOT,
    Stage,
    processes_with,
    python,
    read_line,
    wait_until,
)

from algorium_server.domain.errors import Unavailable
from algorium_server.engine.host import SandboxHost, SandboxProcess
from algorium_server.engine.sandbox import ExitStatus

everywhere = pytest.mark.parametrize("stage", ALL, indirect=True)
confining = pytest.mark.parametrize("stage", CONFINING, indirect=True)
with_root = pytest.mark.parametrize("stage", WITH_ROOT, indirect=True)

STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    print('ready')
time.sleep(600)
"""


@everywhere
def test_kill_lets_a_program_clean_up(stage: Stage):
    code = """
import signal, sys, time
def end(*_):
    print('cleaned'); sys.exit(7)
signal.signal(signal.SIGTERM, end)
print('ready'); time.sleep(600)
"""

    async def kill():
        process = await stage.host.spawn(python(code))
        await read_line(process.stdout_fd)
        status = await process.kill(10)
        line = await read_line(process.stdout_fd)
        process.close()
        return status, line

    status, line = stage.runner.run(kill())

    assert (status.code, line) == (7, "cleaned")


@everywhere
def test_kill_ends_what_ignores_it_and_what_ran_away(stage: Stage):
    marker = f"marker-{os.urandom(8).hex()}"

    async def kill():
        process = await stage.host.spawn(python(f"'{marker}'\n{STUBBORN}"))
        await read_line(process.stdout_fd)
        assert len(processes_with(marker)) >= 2
        began = time.monotonic()
        status = await process.kill(0.2)
        took_s = time.monotonic() - began
        process.close()
        return status, took_s

    status, took_s = stage.runner.run(kill())

    assert status.signal == signal.SIGKILL
    assert took_s < 1.2
    assert processes_with(marker) == []


CROWD = """
import os, signal, sys, time

def daemonised():
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir('/')
    for fd in range(3):
        os.dup2(os.open('/dev/null', os.O_RDWR), fd)

def grandchildren():
    for _ in range(2):
        os.fork()

def ignoring():
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)

def stopped():
    os.kill(os.getpid(), signal.SIGSTOP)

def stopped_with_children():
    if os.fork():
        os.kill(os.getpid(), signal.SIGSTOP)

def of_another_group():
    os.setpgid(0, 0)
    os.fork()

ignoring()
reader, writer = os.pipe()
for kind in (daemonised, grandchildren, ignoring, stopped, stopped_with_children, of_another_group):
    if os.fork() == 0:
        os.write(writer, b'.')
        kind()
        time.sleep(600)
        os._exit(0)
for _ in range(6):
    os.read(reader, 1)
print('ready')
{ends}
"""
ENDS = {
    "sleeps": "time.sleep(600)",
    "spins": "while True: pass",
    "stops": "os.kill(os.getpid(), signal.SIGSTOP); time.sleep(600)",
}


@everywhere
@pytest.mark.parametrize("how", ENDS)
def test_nothing_of_a_crowd_outlives_its_grace(stage: Stage, how: str):
    marker = f"marker-{os.urandom(8).hex()}"
    code = CROWD.replace("{ends}", ENDS[how])

    async def kill():
        process = await stage.host.spawn(python(f"'{marker}'\n{code}"))
        await read_line(process.stdout_fd)
        assert len(processes_with(marker)) > 6
        began = time.monotonic()
        status = await process.kill(0.3)
        took_s = time.monotonic() - began
        process.close()
        return status, took_s

    status, took_s = stage.runner.run(kill())

    assert status.signal == signal.SIGKILL
    assert took_s < 0.3 + 1
    assert processes_with(marker) == []


@everywhere
def test_what_a_program_leaves_running_ends_with_it(stage: Stage):
    marker = f"marker-{os.urandom(8).hex()}"
    code = f"""
'{marker}'
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in (1, 2): os.dup2(os.open('/dev/null', os.O_RDWR), fd)
        time.sleep(600)
    os._exit(0)
os.wait()
os._exit(5)
"""
    outcome = stage.run(code)

    assert outcome.status.code == 5
    assert processes_with(marker) == []


@everywhere
def test_kill_after_the_end_is_harmless(stage: Stage):
    async def kill_twice():
        process = await stage.host.spawn(python("pass"))
        await process.exited
        first = await process.kill(0)
        second = await process.kill(1)
        process.close()
        return first, second

    first, second = stage.runner.run(kill_twice())

    assert first == second


@pytest.mark.parametrize("mechanism", ALL)
def test_the_death_of_the_supervisor_ends_its_sandboxes_and_the_next_start_works(
    stages, mechanism, tmp_path
):
    runner = stages[mechanism].runner
    marker = f"marker-{os.urandom(8).hex()}"

    async def survive():
        host = await SandboxHost.start("auto", tmp_path / "state", mechanisms=[mechanism])
        process = await host.spawn(python(f"'{marker}'\n{STUBBORN}"))
        await read_line(process.stdout_fd)
        os.kill(min(processes_with(str(tmp_path / "state"))), signal.SIGKILL)
        status = await asyncio.wait_for(process.exited, 5)
        wait_until(lambda: processes_with(marker) == [], timeout_s=30)
        process.close()
        again = await host.spawn(python("print('again')"))
        line = await read_line(again.stdout_fd)
        await again.exited
        again.close()
        await host.close()
        return status, line

    status, line = runner.run(survive())

    assert status == ExitStatus(code=None, signal=signal.SIGKILL, was_lost=True)
    assert line == "again"


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", ALL)
def test_starts_under_way_when_the_supervisor_dies_are_refused_and_leave_nothing(
    stages, mechanism, tmp_path
):
    spec = python("", has_slot_socket=True, has_listener=True)

    async def start_and_die(host, wait_s):
        starts = [asyncio.create_task(host.spawn(spec)) for _ in range(6)]
        await asyncio.sleep(wait_s)  # at another stage each time
        os.kill(min(processes_with(str(tmp_path / "state"))), signal.SIGKILL)
        for outcome in await asyncio.gather(*starts, return_exceptions=True):
            if isinstance(outcome, SandboxProcess):
                await asyncio.wait_for(outcome.exited, 5)
                outcome.close()
            else:
                assert isinstance(outcome, Unavailable)

    async def survive():
        host = await SandboxHost.start("auto", tmp_path / "state", mechanisms=[mechanism])
        held = len(os.listdir("/proc/self/fd"))
        for wait_s in (0, 0.02, 0.04, 0.08):
            await start_and_die(host, wait_s)
            again = await host.spawn(spec)
            await again.exited
            again.close()
            assert len(os.listdir("/proc/self/fd")) == held
            assert len(list((tmp_path / "state").glob("slots-*"))) == 1
        await host.close()

    assert stages[mechanism]
    stages[mechanism].runner.run(survive())


def test_closing_leaves_neither_processes_nor_directories(stages, tmp_path):
    marker = f"marker-{os.urandom(8).hex()}"

    async def open_and_close():
        host = await SandboxHost.start("none", tmp_path)
        process = await host.spawn(python(f"'{marker}'\n{STUBBORN}"))
        await read_line(process.stdout_fd)
        await host.close()
        assert process.exited.done()
        process.close()

    asyncio.run(open_and_close())

    assert processes_with(marker) == []
    assert processes_with(str(tmp_path)) == []
    assert not list(tmp_path.glob("slots-*"))
