"""Real sandboxes for tests: a host per mechanism and test module, programs given as Python text."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from algorium_server.engine.host import SandboxHost
from algorium_server.engine.sandbox import ExitStatus, Mechanism, Mount, SandboxLimits, SandboxSpec

MIB = 1024 * 1024
LIMITS = SandboxLimits(memory_bytes=256 * MIB, processes=64, open_files=256, tmp_bytes=16 * MIB)
WITH_ROOT = tuple(
    pytest.param(mechanism, marks=pytest.mark.namespaces, id=mechanism.value)
    for mechanism in (Mechanism.BUBBLEWRAP, Mechanism.LAUNCHER)
)
CONFINING = (*WITH_ROOT, pytest.param(Mechanism.LANDLOCK, id=Mechanism.LANDLOCK.value))
ALL = (*CONFINING, pytest.param(Mechanism.PLAIN, id=Mechanism.PLAIN.value))
WATCHED = tuple(
    pytest.param((each.values[0], "watched"), marks=each.marks, id=f"{each.id}-watched")
    for each in ALL
)
"""The same without control groups."""
PYTHON = os.path.realpath(sys.executable)


def python(code: str, **changes: Any) -> SandboxSpec:
    """Describe a sandbox that runs Python text."""
    prefix = os.path.realpath(sys.base_prefix)
    spec = SandboxSpec(
        argv=(PYTHON, "-I", "-u", "-c", code),
        cwd="/tmp",
        mounts=(Mount(kind="ro", source=prefix, target=prefix),),
        limits=LIMITS,
    )
    return replace(spec, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    status: ExitStatus
    stdout: str
    stderr: str


class Stage:
    """A running host, driven from plain tests."""

    def __init__(self, runner: asyncio.Runner, host: SandboxHost, state_dir: Path) -> None:
        self.runner = runner
        self.host = host
        self.state_dir = state_dir

    def supervisor(self) -> int:
        """Find the supervisor's process; its sandboxes name the same directory, but came later."""
        return min(processes_with(str(self.state_dir)), key=started_at)

    def run(self, spec: SandboxSpec | str, *, timeout_s: float = 20.0) -> Outcome:
        """Run a program to its end."""
        return self.runner.run(
            self._run(python(spec) if isinstance(spec, str) else spec, timeout_s)
        )

    async def _run(self, spec: SandboxSpec, timeout_s: float) -> Outcome:
        process = await self.host.spawn(spec)
        try:
            texts = asyncio.gather(read_all(process.stdout_fd), read_all(process.stderr_fd))
            status = await asyncio.wait_for(asyncio.shield(process.exited), timeout_s)
            stdout, stderr = await texts
            return Outcome(status=status, stdout=stdout.decode(), stderr=stderr.decode())
        finally:
            await process.kill(0)
            process.close()


async def read_all(fd: int) -> bytes:
    """Read a non-blocking pipe to its end."""
    data = b""
    while True:
        await readable(fd)
        chunk = os.read(fd, 65536)
        if not chunk:
            return data
        data += chunk


async def read_line(fd: int) -> str:
    """Read a pipe up to the end of a line, no further."""
    data = b""
    while not data.endswith(b"\n"):
        await readable(fd)
        chunk = os.read(fd, 1)
        assert chunk, f"ended after {data!r}"
        data += chunk
    return data.decode().strip()


async def readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    waiting = loop.create_future()
    loop.add_reader(fd, lambda: waiting.done() or waiting.set_result(None))
    try:
        await waiting
    finally:
        loop.remove_reader(fd)


def wait_until(condition: Callable[[], bool], *, timeout_s: float) -> None:
    """Poll a condition of the outside world up to a deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


def started_at(pid: int) -> float:
    """Return when a process began, in ticks; ids wrap around and say nothing about it."""
    try:
        return float(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return float("inf")


def processes_with(marker: str) -> list[int]:
    """Find processes by a text in their command line."""
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and marker.encode() in Path("/proc", name, "cmdline").read_bytes():
                found.append(int(name))
        except OSError:
            continue
    return found
