"""
Limits for a whole sandbox, where the host lets us make control groups.

One group per supervisor, named after its pid and start, holds one group per sandbox:

    version 2   <own group>/algorium-<pid>-<start>/<id>             all controllers together
    version 1   <memory: own group>/...   <pids: own group>/...     one tree per controller

Groups are made below the one the server runs in, so that what an operator granted to the server
as a whole still bounds its sandboxes. A missing controller is not an error: the supervisor
then watches the processes itself, less exactly.

Source: runtime design, "Sandbox"; Linux, "Control Group v2" and "Memory Resource Controller".
"""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from algorium_server.engine import processes
from algorium_server.engine.sandbox import SandboxLimits

_PREFIX: Final = "algorium-"
_SERVER_GROUP: Final = "algorium-server"
_CONTROLLERS: Final = ("memory", "pids")
_REMOVE_S: Final = 5.0
_REMOVE_POLL_S: Final = 0.005
"""The kernel tells nobody when the last killed process has left a group."""
_OVERHEAD_PROCESSES: Final = 4
"""The monitor and the init of a sandbox are ours, not the algorithm's."""

_Files = tuple[tuple[str, str], ...]


def _settings(version: int, controller: str, limits: SandboxLimits) -> _Files:
    """Return (file, value) pairs, in the order in which they must be written."""
    memory, pids = str(limits.memory_bytes), str(limits.processes + _OVERHEAD_PROCESSES)
    return {
        (1, "memory"): (
            ("memory.limit_in_bytes", memory),
            ("memory.memsw.limit_in_bytes", memory),
            ("memory.swappiness", "0"),
        ),
        (2, "memory"): (
            ("memory.max", memory),
            ("memory.swap.max", "0"),
            ("memory.oom.group", "1"),
        ),
        (1, "pids"): (("pids.max", pids),),
        (2, "pids"): (("pids.max", pids),),
    }[version, controller]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a group went through so far; None where nobody counts."""

    peak_memory_bytes: int | None
    was_oom: bool
    was_process_limit: bool


class Group:
    """The control group of one sandbox: one directory per controller, or one for all."""

    def __init__(self, version: int, directories: dict[str, str]) -> None:
        self._version = version
        self._directories = directories
        self._unique = tuple(dict.fromkeys(directories.values()))

    @property
    def entrances(self) -> tuple[str, ...]:
        """The files into which a process writes "0" to enter."""
        return tuple(f"{directory}/cgroup.procs" for directory in self._unique)

    def members(self) -> list[int]:
        """Return the processes inside."""
        return sorted({int(pid) for file in self.entrances for pid in _read(file).split()})

    def kill(self) -> None:
        """Kill what is inside; new processes cannot appear meanwhile. Does not wait."""
        if self._version == 2 and _write(f"{self._unique[0]}/cgroup.kill", "1"):
            return
        if "pids" in self._directories:
            _write(f"{self._directories['pids']}/pids.max", "0")
        processes.send(self.members(), signal.SIGKILL)

    def has_lost_one(self) -> bool:
        """Whether memory ran out and one process was killed for it, but not the others."""
        memory = self._directories.get("memory")
        if self._version == 2 or not memory:
            return False  # version 2 kills them together
        return _counter(_read(f"{memory}/memory.oom_control"), "oom_kill") > 0

    def usage(self) -> Usage:
        """Read the counters."""
        memory, pids = self._directories.get("memory"), self._directories.get("pids")
        peak = events = ""
        if memory:
            peak = _read(
                f"{memory}/{'memory.peak' if self._version == 2 else 'memory.max_usage_in_bytes'}"
            )
            events = _read(
                f"{memory}/{'memory.events' if self._version == 2 else 'memory.oom_control'}"
            )
        return Usage(
            peak_memory_bytes=int(peak) if peak.strip() else None,
            was_oom=_counter(events, "oom_kill") > 0,
            was_process_limit=_counter(_read(f"{pids}/pids.events"), "max") > 0 if pids else False,
        )

    def remove(self) -> bool:
        """Remove the emptied group; False while something is still leaving it."""
        for directory in self._unique:
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                continue
            except OSError:
                return False
        return True


class Cgroups:
    """The groups of one supervisor."""

    def __init__(self, version: int, directories: dict[str, str]) -> None:
        self.version = version
        self._directories = directories

    @property
    def controllers(self) -> tuple[str, ...]:
        """Which of `memory` and `pids` this host lets us limit."""
        return tuple(self._directories)

    @classmethod
    def find(cls) -> Self | None:
        """Make the group of this process, sweeping those that dead servers left; None: cannot."""
        name = f"{_PREFIX}{os.getpid()}-{processes.started_at(os.getpid())}"
        for version, parents in ((2, _own_v2()), (1, _own_v1())):
            made = {}
            for controller, parent in parents.items():
                _sweep(parent)
                with suppress(OSError):
                    os.makedirs(f"{parent}/{name}", exist_ok=True)
                    made[controller] = f"{parent}/{name}"
            if version == 2 and made and not _enable(next(iter(made.values()))):
                os.rmdir(next(iter(made.values())))
                made = {}
            if made:
                return cls(version, made)
        return None

    def create(self, name: str, limits: SandboxLimits) -> Group:
        """Make the group of one sandbox, with its limits."""
        directories = {key: f"{parent}/{name}" for key, parent in self._directories.items()}
        for controller, directory in directories.items():
            os.makedirs(directory, exist_ok=True)
            for file, value in _settings(self.version, controller, limits):
                # swap accounting and OOM groups are missing on some kernels, limits are not
                if not _write(f"{directory}/{file}", value) and file in {
                    "memory.max",
                    "memory.limit_in_bytes",
                    "pids.max",
                }:
                    raise OSError(f"cannot set {file}")
        return Group(self.version, directories)

    def discard(self, name: str) -> None:
        """Remove the group of a sandbox that did not come to life."""
        for directory in dict.fromkeys(self._directories.values()):
            with suppress(OSError):
                os.rmdir(f"{directory}/{name}")

    def close(self) -> None:
        """Remove the group of this supervisor, with whatever is left in it."""
        for directory in dict.fromkeys(self._directories.values()):
            _remove_tree(directory)


def _own_v1() -> dict[str, str]:
    own = {}
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in set(controllers.split(",")) & set(_CONTROLLERS):
            if directory := _directory("cgroup", controller, path):
                own[controller] = directory
    return {key: own[key] for key in _CONTROLLERS if key in own}


def _own_v2() -> dict[str, str]:
    for line in _read("/proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers and (directory := _directory("cgroup2", "", path)):
            offered = _read(f"{directory}/cgroup.controllers").split()
            if set(_CONTROLLERS) <= set(offered) and _delegate(directory):
                return dict.fromkeys(_CONTROLLERS, directory)
    return {}


def _directory(kind: str, controller: str, path: str) -> str | None:
    """Translate a path of `/proc/self/cgroup` to where that hierarchy is mounted here."""
    for line in _read("/proc/self/mountinfo").splitlines():
        head, _, tail = line.partition(" - ")
        root, mount_point = head.split()[3:5]
        if tail.split()[0] != kind or (controller and controller not in tail.split()[2].split(",")):
            continue
        relative = path.removeprefix(root.rstrip("/"))
        if ".." not in relative and os.path.isdir(mount_point + relative):
            return (mount_point + relative).rstrip("/")
    return None


def _delegate(directory: str) -> bool:
    """
    Let the children of our version 2 group have controllers.

    A group with children that have controllers may hold no process itself. Where the group
    holds this server alone (a service with `Delegate=yes`) the server moves one level down.
    """
    if _enable(directory):
        return True
    ours = {os.getpid(), os.getppid()}
    if not set(map(int, _read(f"{directory}/cgroup.procs").split())) <= ours:
        return False
    with suppress(OSError):
        os.makedirs(f"{directory}/{_SERVER_GROUP}", exist_ok=True)
        for pid in ours:
            _write(f"{directory}/{_SERVER_GROUP}/cgroup.procs", str(pid))
        return _enable(directory)
    return False


def _enable(directory: str) -> bool:
    file = f"{directory}/cgroup.subtree_control"
    if set(_CONTROLLERS) <= set(_read(file).split()):
        return True
    return _write(file, " ".join(f"+{controller}" for controller in _CONTROLLERS))


def _sweep(parent: str) -> None:
    """Remove groups whose supervisor is dead, with everything that still lives in them."""
    with suppress(OSError):
        for name in os.listdir(parent):
            pid, _, start = name.removeprefix(_PREFIX).partition("-")
            is_ours = name.startswith(_PREFIX) and pid.isdigit() and start.isdigit()
            if is_ours and processes.started_at(int(pid)) != int(start):
                _remove_tree(f"{parent}/{name}")


def _remove_tree(directory: str) -> None:
    """Kill what is left in the groups below *directory* and remove them, within `_REMOVE_S`."""
    deadline = time.monotonic() + _REMOVE_S
    while os.path.isdir(directory) and time.monotonic() < deadline:
        with suppress(OSError):
            for entry in os.scandir(directory):
                if entry.is_dir(follow_symlinks=False):
                    pids = map(int, _read(f"{entry.path}/cgroup.procs").split())
                    processes.send(pids, signal.SIGKILL)
                    with suppress(OSError):
                        os.rmdir(entry.path)
            os.rmdir(directory)
        time.sleep(_REMOVE_POLL_S)


def _counter(text: str, name: str) -> int:
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return int(value)
    return 0


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, value: str) -> bool:
    try:
        with open(path, "w") as file:
            file.write(value)
    except OSError:
        return False
    return True
