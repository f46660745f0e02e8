"""Real zygotes for tests: an environment, a program that does what it is told, and slots of it."""

import asyncio
import json
import os
import signal
import venv
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sandboxes import MIB, processes_with, wait_until

from algorium_runtime import frames
from algorium_server.engine.host import ZYGOTE_LIMITS, SandboxHost
from algorium_server.engine.program import Program, slot_spec
from algorium_server.engine.sandbox import ExitStatus, Mechanism, SandboxSpec
from algorium_server.engine.spawned import SandboxProcess
from algorium_server.engine.templates import ZygoteLimits, key_of, template

PATIENCE_S = 60.0
LIMITS = replace(ZYGOTE_LIMITS, pause_s=600.0, birth_s=10.0)
"""A busy machine must not make a test start cold what it wants forked."""
OBEDIENT = """
import os, sys
LOADED = {}

def load():
    LOADED["pid"] = os.getpid()

def apply(code):
    scope = {"LOADED": LOADED, "os": os, "sys": sys}
    exec(code, scope)
    return scope.get("result")
"""


def make_environment(directory: Path, modules: Mapping[str, str]) -> Path:
    """Make a virtual environment whose only packages are *modules*, by file name and text."""
    venv.EnvBuilder(symlinks=True, with_pip=False).create(directory)
    site = next(directory.glob("lib/python*/site-packages"))
    for name, text in modules.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


class Nursery:
    """
    A host with zygotes, and a directory for environments and sources.

    All names end with numbers of their own, so that tests share neither zygotes nor sources.
    """

    def __init__(self, runner: asyncio.Runner, place: Path, host: SandboxHost) -> None:
        self.runner = runner
        self.place = place
        self.host = host
        self._made = 0

    def program(
        self,
        modules: Mapping[str, str] | None = None,
        *,
        preload: tuple[str, ...] | None = None,
        source: str = OBEDIENT,
        environment: Path | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> Program:
        """Make a program; all *modules* are imported ahead unless *preload* names some."""
        self._made += 1
        modules = modules or {}
        source_dir = self.place / f"source-{self._made}"
        (source_dir / "src").mkdir(parents=True)
        (source_dir / "src" / "Main.py").write_text(source)
        for name, data in (files or {}).items():
            (source_dir / name).write_bytes(data)
        if environment is None:
            environment = make_environment(self.place / f"environment-{self._made}", modules)
        return Program(
            key=f"program-{self._made}",
            source_dir=source_dir,
            source_bytes=len(source),
            environment_dir=environment,
            entry="src.Main",
            preload=tuple(name.removesuffix(".py") for name in modules)
            if preload is None
            else preload,
        )

    async def spawn(self, program: Program | SandboxSpec) -> "Slot":
        """Start a slot by whatever path."""
        spec = slot_spec(program) if isinstance(program, Program) else program
        return Slot(await self.host.spawn(spec))

    async def ready(self, program: Program) -> None:
        """Wait until there is a zygote for *program*."""
        if self.state(program) == "ready":
            return
        before = len(self.events(program))
        self.host.prepare(slot_spec(program))
        await self.until(lambda: len(self.events(program)) > before)
        event = self.events(program)[before]  # the next may have followed already
        if event["state"] == "refused" and "unshare" in event["reason"]:
            pytest.skip(f"no zygotes here: {event['reason']}")
        assert event["state"] == "ready", event

    async def fork(self, program: Program, **changes: Any) -> "Slot":
        """Start a slot from a zygote."""
        await self.ready(program)
        return await self.fork_again(program, **changes)

    async def fork_again(self, program: Program, **changes: Any) -> "Slot":
        """Start a slot from the zygote that is there."""
        slot = await self.spawn(replace(slot_spec(program), **changes))
        assert slot.process.start_path == "zygote", list(self.host.zygote_events)
        return slot

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the host work until *condition* holds."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                if condition():
                    return
                await asyncio.sleep(0.01)

    def last(self, program: Program) -> dict[str, Any] | None:
        """Return what happened to the zygote of *program* last."""
        return next(reversed(self.events(program)), None)

    def events(self, program: Program) -> list[dict[str, Any]]:
        """Return what happened to the zygotes of *program*, in order."""
        made = template(slot_spec(program), self.host._zygote_limits or LIMITS)
        assert made is not None
        key = key_of(made)
        return [event for event in self.host.zygote_events if event["zygote"] == key]

    def state(self, program: Program) -> str:
        """Return how that left the zygote."""
        event = self.last(program)
        return event["state"] if event else ""


class Slot:
    """The gateway's side of one slot, in the simplest form."""

    def __init__(self, process: SandboxProcess) -> None:
        self.process = process
        self._data = b""
        self._is_loaded = False

    async def frame(self) -> frames.Frame:
        """Read the next frame."""
        assert self.process.socket is not None
        loop = asyncio.get_running_loop()
        while True:
            prefix_bytes = frames.PREFIX.size
            if len(self._data) >= prefix_bytes:
                prefix = frames.decode_prefix(
                    self._data[:prefix_bytes], header_len_max=1 << 16, body_len_max=64 * MIB
                )
                body_at = prefix_bytes + prefix.header_len
                end = body_at + prefix.body_len
                if len(self._data) >= end:
                    header = frames.decode_header(self._data[prefix_bytes:body_at])
                    body = self._data[body_at:end]
                    self._data = self._data[end:]
                    return frames.Frame(prefix.type, header, body)
            async with asyncio.timeout(PATIENCE_S):
                chunk = await loop.sock_recv(self.process.socket, 1 << 16)
            assert chunk, "the slot ended"
            self._data += chunk

    async def send(self, code: str) -> None:
        """Have *code* run, which leaves its answer in `result`."""
        assert self.process.socket is not None
        if not self._is_loaded:
            frame = await self.frame()
            assert frame.type == frames.READY, frame
            self._is_loaded = True
        header = {"id": 1, "content_type": "text", "remaining_ms": 60_000}
        data = frames.encode(frames.CALL, header, code.encode())
        await asyncio.get_running_loop().sock_sendall(self.process.socket, data)

    async def run(self, code: str) -> Any:
        """Return what *code* leaves in `result`."""
        await self.send(code)
        frame = await self.frame()
        assert frame.type == frames.RESULT, frame
        return (
            json.loads(frame.body)
            if frame.header["content_type"] == "json"
            else (frame.body.decode())
        )

    async def ended(self) -> ExitStatus:
        """Wait for the end, and close everything."""
        async with asyncio.timeout(PATIENCE_S):
            status = await asyncio.shield(self.process.exited)
        self.process.close()
        return status

    async def kill(self, grace_s: float = 0.0) -> ExitStatus:
        """End it."""
        status = await self.process.kill(grace_s)
        self.process.close()
        return status


def zygotes_of(environment: Path) -> list[int]:
    """Find the zygotes of an environment; slots that they forked look the same from outside."""
    return [pid for pid in processes_with(f"{environment}/bin/python") if is_zygote(pid)]


def is_zygote(pid: int) -> bool:
    """Whether a process is a zygote, rather than something it forked or that was started cold."""
    try:
        told = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    (numbers,) = (line.split()[1:] for line in status.splitlines() if line.startswith("NSpid"))
    return b"--zygote" in told and len(numbers) == 2  # ours and the zygote's; slots have a third


def kill_and_wait(pid: int) -> None:
    """Kill a process of ours and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), timeout_s=PATIENCE_S)


async def start_host(
    place: Path,
    mechanism: Mechanism,
    *,
    limits: ZygoteLimits = LIMITS,
    uses_cgroups: bool = True,
) -> SandboxHost:
    """Start a host, or skip the test where there is none of that kind."""
    host = await SandboxHost.start(
        "auto",
        place / "state",
        mechanisms=[mechanism],
        uses_cgroups=uses_cgroups,
        zygotes=limits,
    )
    if host.level is None:
        pytest.skip(f"no sandbox by {mechanism.value} here. {host.report.remedy}")
    return host


def namespaces_in_use() -> set[str]:
    """Return the process namespaces of everything that runs on this machine."""
    found = set()
    for name in os.listdir("/proc"):
        try:
            found.add(os.readlink(f"/proc/{name}/ns/pid"))
        except OSError:
            continue
    return found
