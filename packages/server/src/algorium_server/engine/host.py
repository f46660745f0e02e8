"""
Sandboxes as the gateway sees them: start the host once, spawn programs, wait for their end.

The work is done by the supervisor, a process of its own; this side keeps what belongs to asyncio.
When the supervisor dies, what it had started dies with it and the next `spawn` starts another one.

Whether a program is started cold or forked by a zygote is the supervisor's business; this side
learns which it was, and tells the log.
"""

import asyncio
import itertools
import secrets
import signal
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from algorium_server.domain import limits
from algorium_server.domain.errors import Unavailable
from algorium_server.engine import nat, probe, seccomp
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
from algorium_server.engine.spawned import NO_DESCRIPTORS, NotStarted, SandboxProcess
from algorium_server.engine.templates import ZygoteLimits
from algorium_server.telemetry import logger

START_TIMEOUT_S: Final = 15.0
"""From the request until the program runs; usually some hundredths, more while a disk is busy."""
_TRIAL_TIMEOUT_S: Final = 15.0
_ZYGOTE_EVENTS_KEPT: Final = 100
_TRIAL: Final = SandboxSpec(
    argv=("/usr/bin/true",),
    cwd="/",
    limits=SandboxLimits(
        memory_bytes=256 * limits.MIB, processes=16, open_files=64, tmp_bytes=limits.MIB
    ),
    has_slot_socket=True,
    has_listener=True,
)


ZYGOTE_LIMITS: Final = ZygoteLimits(
    count_max=limits.ZYGOTES_MAX,
    memory_bytes=limits.ZYGOTE_MEMORY_BYTES,
    processes=limits.ZYGOTE_PROCESSES_MAX,
    idle_s=limits.ZYGOTE_IDLE_S,
    stay_s=limits.ZYGOTE_STAY_S,
    age_s=limits.ZYGOTE_AGE_S,
    preload_s=limits.ZYGOTE_PRELOAD_S,
    fork_s=limits.ZYGOTE_FORK_S,
    birth_s=limits.ZYGOTE_BIRTH_S,
    pause_s=limits.ZYGOTE_PAUSE_S,
    source_bytes_max=limits.ZYGOTE_SOURCE_BYTES_MAX,
    source_entries_max=limits.ZYGOTE_SOURCE_ENTRIES_MAX,
)

_log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZygotesInUse:
    """
    What zygotes take at this moment.

    Attributes:
        count: How many there are.
        memory_bytes: Of all together, without the slots they forked.
    """

    count: int = 0
    memory_bytes: int = 0


class SandboxHost:
    """
    Starts sandboxes at one level.

    Attributes:
        level: None when this host cannot make sandboxes: then `spawn` always refuses.
        report: What is protected, what is not, what would help.
        zygotes: What zygotes take; part of what this host's memory is spent on.
        starts: How many programs were started so far, by their path: `cold` or `zygote`.
        zygote_events: What happened to zygotes lately, the newest last: which one, its state
            (`ready`, `passed over`, `refused`, `ended`), and the reason.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        uses_cgroups: bool,
        zygotes: ZygoteLimits | None,
        allowed: Sequence[str] | None,
    ) -> None:
        self.report = HostReport(level=None, mechanism=None)
        self._state_dir = state_dir
        self._uses_cgroups = uses_cgroups
        self._zygote_limits = zygotes
        self._translations = [] if allowed is None else list(nat.installed(allowed))
        self._connects = allowed is not None
        self.zygotes = ZygotesInUse()
        self.starts: Counter[str] = Counter()
        self.zygote_events: deque[dict[str, Any]] = deque(maxlen=_ZYGOTE_EVENTS_KEPT)
        self._layout: HostLayout | None = None
        self._link: SupervisorLink | None = None
        self._filters: tuple[bytes, ...] = ()
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
        zygotes: ZygoteLimits | None = ZYGOTE_LIMITS,
        allowed: Sequence[str] | None = None,
    ) -> Self:
        """
        Find the strongest mechanism that works, by trying, and get ready to use it.

        Args:
            wanted: `auto` takes what there is, even nothing; the others insist.
            state_dir: A directory for scratch files, created if need be. Nobody else's.
            mechanisms: Try only these; for tests and diagnosis.
            uses_cgroups: Make control groups where possible; the same.
            zygotes: Fork programs from zygotes where the level allows it; None for never.
            allowed: Networks that programs with network access may reach beside the public ones;
                None gives none of them any.

        Raises:
            Unavailable: The wanted level cannot be had; the message says what to do.
        """
        host = cls(state_dir, uses_cgroups=uses_cgroups, zygotes=zygotes, allowed=allowed)
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
        if spec.network == "full":
            self.check_network()
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

    def usage(self) -> dict[str, Any]:
        """Return how sandboxes were started so far and what zygotes take, for JSON."""
        paths = {path: self.starts[path] for path in ("cold", "zygote")}
        return {"starts": paths, "zygotes": asdict(self.zygotes)}

    def prepare(self, spec: SandboxSpec) -> None:
        """Get ready to start *spec* quickly, in the background and only if that is cheap."""
        if spec.zygote is not None and self._link is not None:
            self._link.send("prepare", spec=spec.as_dict())

    def check_network(self) -> None:
        """
        Make sure that programs can be given network access.

        Raises:
            Unavailable: They cannot, and what would change that.
        """
        lacking = self.report.without_network
        if lacking is not None:
            raise Unavailable(
                f"This server can give no network access: {lacking.why}", hint=lacking.advice
            )

    @property
    def cgroups(self) -> list[Any] | None:
        """Version and controllers of the control groups in use, None without any."""
        return self._link.cgroups if self._link else None

    @property
    def landlock_abi(self) -> int:
        """Version of this kernel's interface of Landlock, 0 without it."""
        return self._layout.landlock_abi if self._layout else 0

    @property
    def translation(self) -> str:
        """Path of what connects programs to the network; empty if nothing does."""
        return self._translations[0].path if self._translations else ""

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
        without_network = await self._connect(chosen) if self._connects else probe.NOT_CONNECTED
        self.report = probe.report(
            chosen,
            layout,
            cgroups=self.cgroups,
            missing=missing,
            translation=self._translations[0].tool if self._translations else "",
            without_network=without_network,
        )
        return missing

    async def _connect(self, mechanism: Mechanism | None) -> Missing | None:
        """Find what connects programs to the network, by trying; best first."""
        if mechanism is None or not mechanism.has_own_root:
            self._translations = []
            return probe.SHARED_NETWORK
        found, problem = self._translations, probe.NO_TRANSLATION
        while found:
            reason = await self._try_out(replace(_TRIAL, network="full"))
            if not reason:
                return None
            problem = probe.explain_network(found[0].tool, reason)
            del found[0]
            await self._close_link()  # the next supervisor is told of the next one
        return problem

    async def _try(self, mechanism: Mechanism, layout: HostLayout) -> Missing | None:
        if mechanism is Mechanism.BUBBLEWRAP and not probe.find_bubblewrap():
            return probe.NO_BUBBLEWRAP
        if mechanism is Mechanism.LANDLOCK and not layout.landlock_abi:
            return probe.NO_LANDLOCK
        try:
            with_zygotes = mechanism.has_own_root and self._zygote_limits is not None
            self._filters = _filters(mechanism, layout, with_zygotes=with_zygotes)
        except seccomp.FilterLibraryMissing:
            return probe.NO_FILTERS
        self.report = replace(self.report, level=mechanism.level, mechanism=mechanism)
        reason = await self._try_out(_TRIAL)
        if not reason:
            return None
        await self._close_link()
        self.report = replace(self.report, level=None, mechanism=None)
        return probe.explain(mechanism, reason)

    async def _try_out(self, spec: SandboxSpec) -> str:
        """Run a program; returns why that did not work, nothing if it did."""
        try:
            process = await self._spawn(spec)
            status = await _ended(process, _TRIAL_TIMEOUT_S)
            process.close()
        except NotStarted as error:
            return str(error)
        except TimeoutError:
            return f"a trial did not start within {START_TIMEOUT_S:.0f} s"
        except Unavailable as error:
            return error.message
        return "" if status.code == 0 else f"a trial ended with {status}"

    async def _spawn(self, spec: SandboxSpec) -> SandboxProcess:
        link = await self._supervisor()
        number = next(self._numbers)
        assert self.report.mechanism is not None
        is_private = self.report.mechanism.has_own_root and spec.has_own_network
        prefix = "" if is_private or not spec.has_listener else f"/{secrets.token_urlsafe(16)}"
        answer: asyncio.Future[SandboxProcess] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(START_TIMEOUT_S):
            link.send("start", id=number, spec=spec.as_dict(), api_path_prefix=prefix)
            self._asked[number] = answer
            try:
                process = await answer
                process.api_path_prefix = prefix
                process.limits = spec.limits
                await process.started()
                self.starts[process.start_path] += 1
                _log.debug("sandbox started", start_path=process.start_path, pid=process.pid)
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
                    "zygotes": self._zygote_limits and asdict(self._zygote_limits),
                    "nat": asdict(self._translations[0]) if self._translations else None,
                }
                self._link = await SupervisorLink.start(
                    config, self._filters, on_event=self._on_event, on_lost=self._on_lost
                )
            return self._link

    def _on_event(self, message: dict[str, Any], descriptors: list[int]) -> None:
        match message.pop("event"):
            case "zygotes":
                self.zygotes = ZygotesInUse(count=message["count"], memory_bytes=message["bytes"])
            case "zygote":
                self.zygote_events.append(message)
                _log.info("zygote", **message)
            case "started":
                self._on_started(message, descriptors)
            case "refused" if answer := self._asked.pop(message["id"], None):
                _refuse(answer, message["message"])
            case "exited" if process := self._running.pop(message.pop("id"), None):
                _resolve(process, ExitStatus(**message))

    def _on_started(self, message: dict[str, Any], descriptors: list[int]) -> None:
        number = message["id"]
        answer = self._asked.pop(number)
        assert self._link is not None
        if not descriptors:
            self._link.send("kill", id=number, grace_s=0)
            _refuse(answer, NO_DESCRIPTORS)
            return
        process = SandboxProcess(message, descriptors, link=self._link, number=number)
        self._running[number] = process
        if answer.cancelled():  # nobody waits for it any more
            self._link.send("kill", id=number, grace_s=0)
            process.close()
        else:
            answer.set_result(process)

    def _on_lost(self) -> None:
        """Everything the supervisor had started is killed by the kernel."""
        self.zygotes = ZygotesInUse()
        for answer in self._asked.values():
            _refuse(answer, "the sandbox supervisor died")
        for process in self._running.values():
            lost = ExitStatus(code=None, signal=signal.SIGKILL, was_lost=True)
            _resolve(process, lost)
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


def _filters(
    mechanism: Mechanism, layout: HostLayout, *, with_zygotes: bool
) -> tuple[bytes, bytes, bytes]:
    """Return the filters of isolated sandboxes, of those on the host's network, and of zygotes."""
    if mechanism is Mechanism.PLAIN:
        return b"", b"", b""
    usual = seccomp.FilterPolicy(
        level=mechanism.level, network="isolated", landlock_abi=layout.landlock_abi
    )
    forking = replace(usual, forks_slots=True)
    return (
        seccomp.compile_filter(usual),
        seccomp.compile_filter(replace(usual, network="host")),
        seccomp.compile_filter(forking) if with_zygotes else b"",
    )
