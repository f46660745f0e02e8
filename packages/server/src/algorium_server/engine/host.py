"""
Sandboxes as the gateway sees them: start the host once, spawn programs, wait for their end.

The work is done by the supervisor, a process of its own; this side keeps what belongs to asyncio:
descriptors become sockets and pipes, ends become futures. When the supervisor dies, what it had
started dies with it and the next `spawn` starts another one.
"""

import asyncio
import itertools
import os
import secrets
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, Self

from algorium_runtime import confine
from algorium_server.domain.errors import Unavailable
from algorium_server.engine import probe, seccomp
from algorium_server.engine.layout import find_layout
from algorium_server.engine.link import SupervisorLink
from algorium_server.engine.probe import HostReport, Missing, Wanted
from algorium_server.engine.sandbox import (
    ExitStatus,
    HostLayout,
    Level,
    Mechanism,
    SandboxLimits,
    SandboxSpec,
)

START_TIMEOUT_S: Final = 15.0
"""From the request until the program runs; usually some hundredths, more while a disk is busy."""
_TRIAL_TIMEOUT_S: Final = 15.0
_STDERR_BYTES_MAX: Final = 4096
_CHANNEL_BYTES_MAX: Final = 8192
_NO_DESCRIPTORS: Final = "this server has too many files open"
_MIB: Final = 1024 * 1024
_TRIAL: Final = SandboxSpec(
    argv=("/usr/bin/true",),
    cwd="/",
    limits=SandboxLimits(memory_bytes=256 * _MIB, processes=16, open_files=64, tmp_bytes=_MIB),
    has_slot_socket=True,
    has_listener=True,
)


class SandboxProcess:
    """
    One confined program.

    Attributes:
        pid: Of its root process; for logs.
        socket: Our end of the slot protocol, non-blocking, or None. The receiver's to close.
        stdout_fd: Read end, non-blocking. The receiver's to close.
        stderr_fd: The same for standard error.
        listener: Where the program finds the platform API: a listening, non-blocking socket
            on the loopback device inside. None when not asked for, or impossible on this host.
        api_path_prefix: With which every request on `listener` must begin, and which must be
            removed; empty where nobody else can connect.
        exited: Done when nothing of the sandbox runs any more.
    """

    def __init__(
        self, pid: int, descriptors: Sequence[int], *, link: SupervisorLink, number: int
    ) -> None:
        self.pid = pid
        for fd in descriptors:
            os.set_blocking(fd, False)
        self._channel = socket.socket(fileno=descriptors[0])
        self.stdout_fd, self.stderr_fd = descriptors[1:3]
        self.socket = socket.socket(fileno=descriptors[3]) if len(descriptors) > 3 else None
        self.listener: socket.socket | None = None
        self.api_path_prefix = ""
        self.exited: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        self._link = link
        self._number = number

    async def kill(self, grace_s: float) -> ExitStatus:
        """
        End the sandbox: SIGTERM to every process in it, after *grace_s* SIGKILL to all.

        Returns when nothing of it runs. Idempotent; a second, shorter grace wins.
        """
        if not self.exited.done():
            self._link.send("kill", id=self._number, grace_s=grace_s)
        return await asyncio.shield(self.exited)

    async def started(self) -> None:
        """
        Wait until the program runs; `SandboxHost.spawn` has done that.

        Raises:
            NotStarted: It will not; the text says why.
        """
        is_ready, error = False, ""
        with self._channel:
            while True:
                await _readable(self._channel.fileno())
                try:
                    data, descriptors, _, _ = socket.recv_fds(
                        self._channel, _CHANNEL_BYTES_MAX, 1, flags=socket.MSG_CMSG_CLOEXEC
                    )
                except ConnectionError:
                    break
                if not data:
                    break
                is_ready |= data == confine.READY_MESSAGE
                if data == confine.LISTENER_MESSAGE:
                    if not descriptors:
                        raise NotStarted(_NO_DESCRIPTORS)
                    self.listener = socket.socket(fileno=descriptors[0])
                    self.listener.setblocking(False)
                elif data.startswith(confine.ERROR_MESSAGE):
                    error = data[1:].decode(errors="replace")
        if error or not is_ready:
            raise NotStarted(error or self._last_words())

    def _last_words(self) -> str:
        with suppress(BlockingIOError):
            text = os.read(self.stderr_fd, _STDERR_BYTES_MAX).decode(errors="replace").strip()
            return text or "the sandbox ended before the program started"
        return "the sandbox ended before the program started"

    def close(self) -> None:
        """Close all that is the receiver's to close; for those who keep every part of it."""
        for each in (self._channel, self.socket, self.listener):
            if each is not None:
                each.close()
        os.close(self.stdout_fd)
        os.close(self.stderr_fd)


class NotStarted(Exception):
    """A sandbox was not set up; the text says at which step."""


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    waiting: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _wake, waiting)
    try:
        await waiting
    finally:
        loop.remove_reader(fd)


def _wake(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)


class SandboxHost:
    """
    Starts sandboxes at one level.

    Attributes:
        level: None when this host cannot make sandboxes: then `spawn` always refuses.
        report: What is protected, what is not, what would help.
    """

    def __init__(self, state_dir: Path, *, uses_cgroups: bool) -> None:
        self.report = HostReport(level=None, mechanism=None)
        self._state_dir = state_dir
        self._uses_cgroups = uses_cgroups
        self._layout: HostLayout | None = None
        self._link: SupervisorLink | None = None
        self._filters: tuple[bytes, bytes] = (b"", b"")
        self._is_closed = False
        self._starting = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[SandboxProcess]] = {}
        self._running: dict[int, SandboxProcess] = {}

    @property
    def level(self) -> Level | None:
        """What sandboxes made here protect."""
        return self.report.level

    @classmethod
    async def start(
        cls,
        wanted: Wanted,
        state_dir: Path,
        *,
        mechanisms: Sequence[Mechanism] | None = None,
        uses_cgroups: bool = True,
    ) -> Self:
        """
        Find the strongest mechanism that works, by trying, and get ready to use it.

        Args:
            wanted: `auto` takes what there is, even nothing; the others insist.
            state_dir: A directory for scratch files, created if need be. Nobody else's.
            mechanisms: Try only these; for tests and diagnosis.
            uses_cgroups: Make control groups where possible; the same.

        Raises:
            Unavailable: The wanted level cannot be had; the message says what to do.
        """
        host = cls(state_dir, uses_cgroups=uses_cgroups)
        missing = await host._choose(mechanisms or probe.CANDIDATES[wanted])
        if host.level is None and wanted != "auto":
            await host.close()
            raise Unavailable(
                f"sandbox level {wanted} is not possible on this host. {host.report.remedy}",
                hint=" ".join(each.remedy for each in missing),
            )
        return host

    async def spawn(self, spec: SandboxSpec) -> SandboxProcess:
        """
        Start a program and return when it runs, past the point where starting can fail.

        Raises:
            Unavailable: No sandbox can be made here, or this one could not.
        """
        if self._is_closed:
            raise Unavailable("the server is shutting down")
        if self.level is None:
            raise Unavailable(f"no sandbox is possible on this host. {self.report.remedy}")
        try:
            return await self._spawn(spec)
        except NotStarted as error:
            raise Unavailable("the sandbox could not be started", detail=str(error)) from error
        except TimeoutError as error:
            raise Unavailable(
                f"the sandbox did not start within {START_TIMEOUT_S:.0f} s: this machine has too"
                " much to do",
                hint="Try again later, or let fewer slots run at a time.",
            ) from error

    async def close(self) -> None:
        """Kill all sandboxes and end the supervisor; returns when both are gone."""
        self._is_closed = True
        await self._close_link()

    async def _close_link(self) -> None:
        if self._link is not None:
            await self._link.close()
            self._link = None

    async def _choose(self, mechanisms: Sequence[Mechanism]) -> list[Missing]:
        """Take the first mechanism of which a trial succeeds."""
        if not probe.is_supported():
            self.report = HostReport(level=None, mechanism=None, missing=(probe.NOT_LINUX,))
            return [probe.NOT_LINUX]
        self._state_dir.mkdir(parents=True, exist_ok=True)
        layout = self._layout = await asyncio.to_thread(find_layout, self._state_dir)
        missing: list[Missing] = []
        chosen = None
        for mechanism in mechanisms:
            if reason := await self._try(mechanism, layout):
                missing += [each for each in [reason] if each not in missing]
                continue
            chosen = mechanism
            break
        cgroups = self._link.cgroups if self._link else None
        self.report = probe.report(chosen, layout, cgroups=cgroups, missing=missing)
        return missing

    async def _try(self, mechanism: Mechanism, layout: HostLayout) -> Missing | None:
        if mechanism is Mechanism.BUBBLEWRAP and not probe.find_bubblewrap():
            return probe.NO_BUBBLEWRAP
        if mechanism is Mechanism.LANDLOCK and not layout.landlock_abi:
            return probe.NO_LANDLOCK
        try:
            self._filters = _filters(mechanism, layout)
        except seccomp.FilterLibraryMissing:
            return probe.NO_FILTERS
        self.report = replace(self.report, level=mechanism.level, mechanism=mechanism)
        reason = ""
        try:
            process = await self._spawn(_TRIAL)
            status = await _ended(process, _TRIAL_TIMEOUT_S)
            process.close()
            if status.code == 0:
                return None
            reason = f"a trial ended with {status}"
        except NotStarted as error:
            reason = str(error)
        except TimeoutError:
            reason = f"a trial did not start within {START_TIMEOUT_S:.0f} s"
        except Unavailable as error:
            reason = error.message
        await self._close_link()
        self.report = replace(self.report, level=None, mechanism=None)
        return probe.explain(mechanism, reason)

    async def _spawn(self, spec: SandboxSpec) -> SandboxProcess:
        link = await self._supervisor()
        number = next(self._numbers)
        assert self.report.mechanism is not None
        is_private = self.report.mechanism.has_own_root and spec.network == "isolated"
        prefix = "" if is_private or not spec.has_listener else f"/{secrets.token_urlsafe(16)}"
        answer: asyncio.Future[SandboxProcess] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(START_TIMEOUT_S):
            link.send("start", id=number, spec=spec.as_dict(), api_path_prefix=prefix)
            self._asked[number] = answer
            try:
                process = await answer
                process.api_path_prefix = prefix
                await process.started()
            except BaseException:
                _abandon(answer, link, number)
                raise
        return process

    async def _supervisor(self) -> SupervisorLink:
        async with self._starting:
            if self._link is None or self._link.is_lost:
                assert self._layout is not None
                assert self.report.mechanism is not None
                config = {
                    "mechanism": self.report.mechanism,
                    "layout": asdict(self._layout),
                    "bwrap": probe.find_bubblewrap(),
                    "state_dir": str(self._state_dir.resolve()),
                    "uses_cgroups": self._uses_cgroups,
                }
                self._link = await SupervisorLink.start(
                    config, self._filters, on_event=self._on_event, on_lost=self._on_lost
                )
            return self._link

    def _on_event(self, message: dict[str, Any], descriptors: list[int]) -> None:
        event, number = message.pop("event"), message.pop("id")
        answer = self._asked.pop(number, None)
        match event:
            case "started":
                assert self._link is not None
                assert answer is not None
                if not descriptors:
                    self._link.send("kill", id=number, grace_s=0)
                    _refuse(answer, _NO_DESCRIPTORS)
                    return
                process = SandboxProcess(
                    message["pid"], descriptors, link=self._link, number=number
                )
                self._running[number] = process
                if answer.cancelled():  # nobody waits for it any more
                    self._link.send("kill", id=number, grace_s=0)
                    process.close()
                else:
                    answer.set_result(process)
            case "refused" if answer:
                _refuse(answer, message["message"])
            case "exited" if number in self._running:
                _resolve(self._running.pop(number), ExitStatus(**message))

    def _on_lost(self) -> None:
        """Everything the supervisor had started is killed by the kernel."""
        for answer in self._asked.values():
            _refuse(answer, "the sandbox supervisor died")
        for process in self._running.values():
            _resolve(process, ExitStatus(code=None, signal=signal.SIGKILL))
        self._asked.clear()
        self._running.clear()


async def _ended(process: SandboxProcess, timeout_s: float) -> ExitStatus:
    try:
        return await asyncio.wait_for(asyncio.shield(process.exited), timeout_s)
    except TimeoutError:
        return await process.kill(0)


def _refuse(answer: "asyncio.Future[SandboxProcess]", reason: str) -> None:
    if not answer.done():
        answer.set_exception(NotStarted(reason))


def _abandon(answer: "asyncio.Future[SandboxProcess]", link: SupervisorLink, number: int) -> None:
    """End what was started, and was not handed out."""
    if answer.done() and not answer.cancelled() and answer.exception() is None:
        link.send("kill", id=number, grace_s=0)
        answer.result().close()


def _resolve(process: SandboxProcess, status: ExitStatus) -> None:
    if not process.exited.done():
        process.exited.set_result(status)


def _filters(mechanism: Mechanism, layout: HostLayout) -> tuple[bytes, bytes]:
    """Return the filters of isolated sandboxes and of those on the host's network."""
    if mechanism is Mechanism.PLAIN:
        return b"", b""
    isolated, host = (
        seccomp.compile_filter(
            seccomp.FilterPolicy(
                level=mechanism.level, network=network, landlock_abi=layout.landlock_abi
            )
        )
        for network in ("isolated", "host")
    )
    return isolated, host
