"""
Sandboxes as the gateway sees them: which level this host offers, found by trying, and `spawn`.

The work is done by the supervisor, a process of its own, which `spawner` asks.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, Self

from algorium_server.domain import limits
from algorium_server.domain.errors import Unavailable
from algorium_server.engine import nat, probe, seccomp, spawner
from algorium_server.engine.layout import find_layout
from algorium_server.engine.probe import HostReport, Missing, Wanted
from algorium_server.engine.sandbox import (
    ExitStatus,
    HostLayout,
    Level,
    Mechanism,
    SandboxLimits,
    SandboxSpec,
)
from algorium_server.engine.spawned import NotStarted, SandboxProcess
from algorium_server.engine.spawner import Spawner, ZygotesInUse
from algorium_server.engine.templates import ZygoteLimits

_TRIAL_TIMEOUT_S: Final = 15.0
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


class SandboxHost:
    """
    Starts sandboxes at one level.

    Attributes:
        level: None when this host cannot make sandboxes: then `spawn` always refuses.
        report: What is protected, what is not, what would help.
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
        self._layout: HostLayout | None = None
        self._filters: tuple[bytes, ...] = ()
        self._is_closed = False
        self._spawner = Spawner(self._supervision)

    @property
    def level(self) -> Level | None:
        """What sandboxes made here protect."""
        return self.report.level

    @property
    def zygotes(self) -> ZygotesInUse:
        """What zygotes take; part of what this host's memory is spent on."""
        return self._spawner.zygotes

    @property
    def zygote_events(self) -> Sequence[Mapping[str, Any]]:
        """What happened to zygotes lately; see `Spawner`."""
        return self._spawner.zygote_events

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
                f"the sandbox did not start within {spawner.START_TIMEOUT_S:.0f} s: this machine"
                " has too much to do",
                hint="Try again later, or let fewer slots run at a time.",
            ) from error

    def usage(self) -> dict[str, Any]:
        """Return how sandboxes were started so far and what zygotes take, for JSON."""
        paths = {path: self._spawner.starts[path] for path in ("cold", "zygote")}
        return {"starts": paths, "zygotes": asdict(self.zygotes)}

    def prepare(self, spec: SandboxSpec) -> None:
        """Get ready to start *spec* quickly, in the background and only if that is cheap."""
        if spec.zygote is not None:
            self._spawner.prepare(spec)

    def check_network(self) -> None:
        """
        Make sure that programs can be given network access.

        Raises:
            Unavailable: They cannot, and what would change that.
        """
        lacking = self.report.without_network
        if lacking is not None:
            raise Unavailable(
                f"This server can give no network access: {lacking.why}",
                hint=f"{lacking.advice} Versions whose network_access is isolated are called here.",
            )

    @property
    def cgroups(self) -> list[Any] | None:
        """Version and controllers of the control groups in use, None without any."""
        return self._spawner.cgroups

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
        await self._spawner.close()

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
            await self._spawner.close()  # the next supervisor is told of the next one
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
        await self._spawner.close()
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
            return f"a trial did not start within {spawner.START_TIMEOUT_S:.0f} s"
        except Unavailable as error:
            return error.message
        return "" if status.code == 0 else f"a trial ended with {status}"

    async def _spawn(self, spec: SandboxSpec) -> SandboxProcess:
        assert self.report.mechanism is not None
        is_private = self.report.mechanism.has_own_root and spec.has_own_network
        return await self._spawner.spawn(spec, is_private=is_private)

    def _supervision(self) -> tuple[dict[str, Any], tuple[bytes, ...]]:
        """Return what the next supervisor is told, and its filters."""
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
        return config, self._filters


async def _ended(process: SandboxProcess, timeout_s: float) -> ExitStatus:
    try:
        return await asyncio.wait_for(asyncio.shield(process.exited), timeout_s)
    except TimeoutError:
        return await process.kill(0)


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
