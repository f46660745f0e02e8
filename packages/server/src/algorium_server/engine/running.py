"""
A sandbox that was started, until its end has been told. For the supervisor.

Standard library only, like the rest of it.
"""

import os
import shutil
import signal
import socket
import time
from dataclasses import dataclass, field
from typing import Any, Final

from algorium_server.engine import cgroups, launcher, processes, sandbox, scratch, watch
from algorium_server.engine.attestation import Born
from algorium_server.engine.births import Birth
from algorium_server.engine.confinement import SlotDir, confinement, translated, with_defaults
from algorium_server.engine.descriptors import Descriptors
from algorium_server.engine.sandbox import HostLayout, Mechanism, SandboxSpec
from algorium_server.engine.templates import private_places
from algorium_server.engine.uplink import Uplink

_DISK_LOOKS: Final = 10
"""Walking a scratch directory costs much more than the other looks: one in so many does it."""


@dataclass(slots=True, kw_only=True)
class Running:
    """
    One sandbox.

    Attributes:
        id: The gateway's name for it.
        root: Its first process: ours to reap, unless a zygote forked it.
        born: What a zygote forked, None if it was started cold.
        gate: Where it waits for its network, if it does.
        uplink: Its way to the network.
        strays: Processes that lost their parent to its end.
        status: How the root ended, as wait(2) says it; None while it lives.
        kill_at: When its grace is over, monotonic seconds.
        is_ending: Everything of it was killed, and some of it may still be there.
    """

    id: int
    root: int
    group: cgroups.Group | None
    slot: SlotDir | None
    watched: watch.Watched
    is_reaper: bool = False
    born: Born | None = None
    gate: socket.socket | None = None
    uplink: Uplink | None = None
    strays: set[int] = field(default_factory=set)
    status: int | None = None
    cpu_s: float = 0.0
    kill_at: float | None = None
    is_ending: bool = False
    excess: watch.Excess | None = None
    peak_bytes: int = 0
    looks: int = 0

    def end(self, grace_s: float) -> None:
        """End it: SIGTERM to every process of it, after *grace_s* SIGKILL."""
        if self.is_ending:
            return
        if grace_s <= 0:
            self.destroy()
            return
        # not to the root: our own processes have no reason to leave early
        if self.born is None or self.born.is_alive():
            processes.send(processes.descendants(self.root), signal.SIGTERM)
        kill_at = time.monotonic() + grace_s
        self.kill_at = kill_at if self.kill_at is None else min(kill_at, self.kill_at)

    def destroy(self) -> None:
        """Kill everything of it; idempotent."""
        self.is_ending = True
        if self.uplink:
            self.uplink.kill()
        if self.group:
            self.group.kill()
        if self.status is not None:
            return
        if self.born:
            self.born.kill()
            return
        if self.is_reaper:
            processes.kill_descendants(self.root)
        processes.send([self.root], signal.SIGKILL)

    def lost(self, pid: int) -> None:
        """Take note that a child of the supervisor is gone."""
        self.strays.discard(pid)
        if self.uplink is not None and self.uplink.pid == pid and self.uplink.is_ready:
            self.destroy()  # what never was ready is told so, and ends by itself

    def look(self) -> None:
        """Destroy it if a limit is exceeded that is ours to watch."""
        if self.is_ending:
            return
        self.looks += 1
        if self.watched.memory or self.watched.processes:
            pid = self.uplink.pid if self.uplink else 0
            beside = [pid, *processes.descendants(pid)] if pid and self.watched.memory else []
            used, self.excess = watch.look(self.watched, beside)
            self.peak_bytes = max(self.peak_bytes, used)
        if self.slot and self.looks % _DISK_LOOKS == 0 and not self.excess:
            is_full = watch.is_full(self.slot.path, self.watched.limits)
            self.excess = "disk" if is_full else None
        if self.excess or (self.group and self.group.has_lost_one()):
            self.destroy()  # half a tree is of no use to anybody

    def glance(self) -> None:
        """Destroy it if it has too many processes."""
        if not self.is_ending and watch.has_too_many(self.watched):
            self.excess = "processes"
            self.destroy()

    def finished(self) -> dict[str, Any] | None:
        """Return how it ended, for the gateway; None while anything of it may be there."""
        if self.status is None:
            return None
        has_uplink = self.uplink is not None and not self.uplink.is_gone
        if self.strays or has_uplink or (self.group and self.group.members()):
            if self.group:
                self.group.kill()
            return None
        code, number = _decoded(self.status)
        usage = self.group.usage() if self.group else None
        if self.group and not self.group.remove():
            return None
        return {
            "id": self.id,
            "code": code,
            "signal": number,
            "was_oom": self.excess == "memory" or bool(usage and usage.was_oom),
            "was_process_limit": self.excess == "processes"
            or bool(usage and usage.was_process_limit),
            "was_disk_limit": self.excess == "disk",
            "peak_memory_bytes": (usage and usage.peak_memory_bytes) or self.peak_bytes or None,
            "cpu_s": self.cpu_s,
        }


class Starts:
    """
    Makes sandboxes of one mechanism.

    Args:
        mechanism: How.
        layout: Of this host.
        bwrap: Where bubblewrap is, if that is the mechanism.
        filters: Filters of system calls, by network.
        groups: Makes control groups, where the host lets us.
        directory: For what has no root directory of its own.
    """

    def __init__(
        self,
        mechanism: Mechanism,
        layout: HostLayout,
        *,
        bwrap: str,
        filters: dict[str, int],
        groups: cgroups.Cgroups | None,
        directory: str,
    ) -> None:
        self._mechanism = mechanism
        self._layout = layout
        self._bwrap = bwrap
        self._filters = filters
        self._cgroups = groups
        self._scratch = directory

    def start(self, message: dict[str, Any], descriptors: Descriptors) -> Running:
        """
        Start a program cold.

        Raises:
            OSError: The host refuses something.
            ValueError: Something wanted makes no sense.
        """
        number: int = message["id"]
        spec = with_defaults(SandboxSpec.from_dict(message["spec"]))
        steps = sandbox.root_steps(spec, self._layout)
        slot = uid = None
        if not self._mechanism.has_own_root:
            slot = SlotDir(path=f"{self._scratch}/{number}")
            if self._mechanism is Mechanism.LANDLOCK:
                uid = scratch.own_user(spec, number, scratch=self._scratch, layout=self._layout)
            spec = translated(spec, slot, self._layout)
            scratch.make_slot(slot, spec, uid)
        plan = confinement(
            spec,
            self._layout,
            mechanism=self._mechanism,
            slot=slot,
            uid=uid,
            api_path_prefix=message["api_path_prefix"],
            tasks_of_host=processes.tasks_of_host(),
        )
        argv = sandbox.confine_argv(self._layout, has_own_root=self._mechanism.has_own_root)
        if self._mechanism is Mechanism.BUBBLEWRAP:
            argv = sandbox.bwrap_argv(self._bwrap, spec, self._layout, command=argv)
        group = self._cgroups.create(str(number), spec.limits) if self._cgroups else None
        root = launcher.start(
            launcher.Launch(
                mechanism=self._mechanism,
                argv=argv,
                descriptors=descriptors.open_for(
                    plan,
                    self._filters["isolated" if spec.has_own_network else "host"],
                    has_slot_socket=spec.has_slot_socket,
                ),
                entrances=group.entrances if group else (),
                steps=steps,
                has_own_network=spec.has_own_network,
            )
        )
        return Running(
            id=number,
            root=root,
            group=group,
            slot=slot,
            gate=descriptors.take_gate(),
            is_reaper=not self._mechanism.has_own_root,
            watched=self._watched(root, spec, private=() if slot else private_places(steps)),
        )

    def discard(self, number: int) -> None:
        """Remove what is left of a start that failed."""
        shutil.rmtree(f"{self._scratch}/{number}", ignore_errors=True)
        if self._cgroups:
            self._cgroups.discard(str(number))

    def taken_over(self, birth: Birth, born: Born) -> Running:
        """Return what a zygote forked, as if it had been started here."""
        assert birth.spec is not None
        assert birth.message is not None
        places = private_places(sandbox.root_steps(birth.spec, self._layout))
        return Running(
            id=birth.message["id"],
            root=born.root,
            group=birth.group,
            slot=None,
            watched=self._watched(born.root, birth.spec, private=places),
            born=born,
            uplink=birth.uplink,
        )

    def _watched(self, root: int, spec: SandboxSpec, *, private: tuple[str, ...]) -> watch.Watched:
        controllers = self._cgroups.controllers if self._cgroups else ()
        return watch.Watched(
            root=root,
            limits=spec.limits,
            memory="memory" not in controllers,
            processes="pids" not in controllers,
            private=private,
        )


def _decoded(status: int) -> tuple[int | None, int | None]:
    """Return exit code and signal; roots report a signal as 128 and its number."""
    if os.WIFSIGNALED(status):
        return None, os.WTERMSIG(status)
    code = os.WEXITSTATUS(status)
    return (None, code - 128) if 128 < code < 128 + signal.NSIG else (code, None)
