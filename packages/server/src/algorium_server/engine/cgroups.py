"""
Limits for a whole sandbox, where the host lets us make control groups.

One group per supervisor, named after its pid and start, holds one group per sandbox:

    version 2   <own group>/algorium-<pid>-<start>/<id>             all controllers together
    version 1   <memory: own group>/...   <pids: own group>/...     one tree per controller

Groups are made below the one the server runs in, so that what an operator granted to the server
as a whole still bounds its sandboxes. A missing controller is not an error: the supervisor
then watches memory and processes itself, less exactly; processor time is left to the kernel.

Each sandbox has an equal share of the processors, with one process as with a hundred; all together
weigh as much as an ordinary process on each processor, so that the server itself gets its turn.

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
_SERVER_GROUP: Final = "algorium-itself"
"""No operator names a group so: a server that is in one has made it."""
_CONTROLLERS: Final = ("memory", "pids")
_OPTIONAL: Final = ("cpu",)
_CPU_PERIOD_US: Final = 100_000
_CPU_SHARES, _CPU_WEIGHT = 1024, 100
"""Of an ordinary process, in version 1 and 2."""
_CPU_WEIGHT_MAX: Final = 10_000
_REMOVE_S: Final = 5.0
_REMOVE_POLL_S: Final = 0.005
"""The kernel tells nobody when the last killed process has left a group."""
_OVERHEAD_PROCESSES: Final = 4
"""The monitor and the init of a sandbox are ours, not the algorithm's."""

_NEEDED: Final = frozenset({"memory.max", "memory.limit_in_bytes", "pids.max"})

_Files = tuple[tuple[str, str], ...]


def _settings(version: int, controller: str, limits: SandboxLimits) -> _Files:
    """Return (file, value) pairs, in the order in which they must be written."""
    memory, pids = str(limits.memory_bytes), str(limits.processes + _OVERHEAD_PROCESSES)
    quota = int(limits.cpus * _CPU_PERIOD_US)
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
        (1, "cpu"): (
            ("cpu.shares", str(_CPU_SHARES)),
            ("cpu.cfs_period_us", str(_CPU_PERIOD_US)),
            ("cpu.cfs_quota_us", str(quota or -1)),
        ),
        (2, "cpu"): (
            ("cpu.weight", str(_CPU_WEIGHT)),
            ("cpu.max", f"{quota or 'max'} {_CPU_PERIOD_US}"),
        ),
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
        return sorted({pid for file in self.entrances for pid in _pids(file)})

    def limit(self, limits: SandboxLimits) -> None:
        """
        Set or change the limits; what is over them already is dealt with by the kernel.

        Raises:
            OSError: One that must be set cannot be.
        """
        for controller, directory in self._directories.items():
            settings = _settings(self._version, controller, limits)
            # twice: one may bound the other, and where they rise the second must go first
            if not _write_all(directory, settings) and not _write_all(directory, settings):
                raise OSError(f"cannot set the limits of {controller}")

    def admit(self, pid: int) -> None:
        """
        Let a process enter; what it starts from then on is inside, too.

        Raises:
            OSError: It is gone, or must not be moved.
        """
        for file in self.entrances:
            with open(file, "w") as entrance:
                entrance.write(str(pid))

    def kill(self) -> None:
        """Kill what is inside; new processes cannot appear meanwhile. Does not wait."""
        if self._version == 2 and _write(f"{self._unique[0]}/cgroup.kill", "1"):
            return
        if "pids" in self._directories:
            _write(f"{self._directories['pids']}/pids.max", "0")
        processes.send(self.members(), signal.SIGKILL)

    def has_lost_one(self) -> bool:
        """Whether memory ran out and one process was killed for it, but not the others."""
        return self._oom_kills() > 0  # version 2 kills them together, where it knows how to

    def _oom_kills(self) -> int:
        memory = self._directories.get("memory")
        if not memory:
            return 0
        file = "memory.events" if self._version == 2 else "memory.oom_control"
        return _counter(_read(f"{memory}/{file}"), "oom_kill")

    def usage(self) -> Usage:
        """Read the counters."""
        memory, pids = self._directories.get("memory"), self._directories.get("pids")
        file = "memory.peak" if self._version == 2 else "memory.max_usage_in_bytes"
        peak = _read(f"{memory}/{file}") if memory else ""
        return Usage(
            peak_memory_bytes=int(peak) if peak.strip() else None,
            was_oom=self._oom_kills() > 0,
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
        """Which of `memory`, `pids` and `cpu` this host lets us limit."""
        return tuple(self._directories)

    @classmethod
    def find(cls, process: str = "/proc/self") -> Self | None:
        """
        Make the group of this process, sweeping those that dead servers left; None: cannot.

        Args:
            process: Where the process's own `cgroup` and `mountinfo` are.
        """
        name = f"{_PREFIX}{os.getpid()}-{processes.started_at(os.getpid())}"
        for version, parents in ((2, _own_v2(process)), (1, _own_v1(process))):
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
                _weigh(version, made.get("cpu"))
                return cls(version, made)
        return None

    def create(self, name: str, limits: SandboxLimits) -> Group:
        """Make the group of one sandbox, with its limits."""
        directories = {key: f"{parent}/{name}" for key, parent in self._directories.items()}
        for directory in directories.values():
            os.makedirs(directory, exist_ok=True)
        group = Group(self.version, directories)
        group.limit(limits)
        return group

    def discard(self, name: str) -> None:
        """Remove the group of a sandbox that did not come to life."""
        for directory in dict.fromkeys(self._directories.values()):
            with suppress(OSError):
                os.rmdir(f"{directory}/{name}")

    def close(self) -> None:
        """Remove the group of this supervisor, with whatever is left in it."""
        for directory in dict.fromkeys(self._directories.values()):
            _remove_tree(directory)


def make_way(process: str = "/proc/self") -> None:
    """
    Make it possible that `Cgroups.find` succeeds in what this process is going to start.

    For a server of several processes: `find` can move one of them at most, see `_delegate`.
    """
    if directory := _offered_v2(process):
        _delegate(directory, ours={os.getpid()})


def _weigh(version: int, directory: str | None) -> None:
    """Give all sandboxes together the weight of one ordinary process on each processor."""
    if directory is not None:
        count = os.cpu_count() or 1
        file, weight = ("cpu.shares", _CPU_SHARES) if version == 1 else ("cpu.weight", _CPU_WEIGHT)
        _write(f"{directory}/{file}", str(min(weight * count, _CPU_WEIGHT_MAX * weight // 100)))


def _own_v1(process: str) -> dict[str, str]:
    own = {}
    known = (*_CONTROLLERS, *_OPTIONAL)
    for line in _read(f"{process}/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in set(controllers.split(",")) & set(known):
            if directory := _directory(process, "cgroup", controller, path):
                own[controller] = directory
    return {key: own[key] for key in known if key in own}


def _own_v2(process: str) -> dict[str, str]:
    directory = _offered_v2(process)
    if not directory or not _delegate(directory, ours={os.getpid(), os.getppid()}):
        return {}
    enabled = _read(f"{directory}/cgroup.subtree_control").split()
    optional = (controller for controller in _OPTIONAL if controller in enabled)
    return dict.fromkeys((*_CONTROLLERS, *optional), directory)


def _offered_v2(process: str) -> str | None:
    """Return the group that this server was started in, if it offers what we need."""
    for line in _read(f"{process}/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            directory = _directory(process, "cgroup2", "", path)
            # Where the server has moved one level down, sandboxes stay beside it.
            directory = directory and directory.removesuffix(f"/{_SERVER_GROUP}")
            if directory and _offers(directory):
                return directory
    return None


def _offers(directory: str) -> bool:
    return set(_CONTROLLERS) <= set(_read(f"{directory}/cgroup.controllers").split())


def _directory(process: str, kind: str, controller: str, path: str) -> str | None:
    """Translate a path of `/proc/self/cgroup` to where that hierarchy is mounted here."""
    for line in _read(f"{process}/mountinfo").splitlines():
        head, _, tail = line.partition(" - ")
        root, mount_point = head.split()[3:5]
        if tail.split()[0] != kind or (controller and controller not in tail.split()[2].split(",")):
            continue
        relative = path.removeprefix(root.rstrip("/"))
        if ".." not in relative and os.path.isdir(mount_point + relative):
            return (mount_point + relative).rstrip("/")
    return None


def _delegate(directory: str, *, ours: set[int]) -> bool:
    """
    Let the children of our version 2 group have controllers.

    A group with children that have controllers may hold no process itself. Where the group
    holds *ours* alone (a service with `Delegate=yes`) they move one level down.
    """
    if _enable(directory):
        return True
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
    enabled = set(_read(file).split())
    if not set(_CONTROLLERS) <= enabled and not _write(
        file, " ".join(f"+{controller}" for controller in _CONTROLLERS)
    ):
        return False
    for controller in set(_OPTIONAL) - enabled:
        _write(file, f"+{controller}")  # not granted to everybody
    return True


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
                    processes.send(_pids(f"{entry.path}/cgroup.procs"), signal.SIGKILL)
                    with suppress(OSError):
                        os.rmdir(entry.path)
            os.rmdir(directory)
        time.sleep(_REMOVE_POLL_S)


def _write_all(directory: str, settings: _Files) -> bool:
    """Write what is possible; swap accounting and OOM groups may be missing, limits may not."""
    failed = {file for file, value in settings if not _write(f"{directory}/{file}", value)}
    return not failed & _NEEDED


def _pids(file: str) -> list[int]:
    """Read processes; those of other process namespaces have no number here, but 0."""
    return [int(pid) for pid in _read(file).split() if int(pid) > 0]


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
