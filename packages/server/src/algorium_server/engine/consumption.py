"""
What a slot consumes, call by call, measured from outside: nothing of it is the slot's own word.

CPU time is that of the interpreter with all its threads, read from its CPU clock: one system call
for a call. The time between two calls belongs to the later one and loading to the first, so over
the life of a slot every nanosecond is charged once.

What costs more is looked up at most every `_LOOK_S`, so for longer calls at each end:

- the CPU time of processes that the algorithm has started, once they have ended and either the
  interpreter or the sandbox's init has waited for them, in ticks of the kernel (10 ms);
- the highest memory that was resident in the interpreter since it started.

When a call ends with its slot, the whole sandbox's CPU time comes with the exit status.

Source: clock_getcpuclockid(3), proc_pid_stat(5), proc_pid_status(5), getrusage(2).
"""

import os
import time
from typing import Final

from algorium_server.engine.sandbox import ExitStatus

_LOOK_S: Final = 0.1
"""Between two looks into `/proc`, some thirty microseconds each."""
_PROC_BYTES_MAX: Final = 16_384
"""Of one of its files; they have some thousand bytes."""
_PARENT, _CHILDREN_USER, _CHILDREN_SYSTEM, _STARTED = 1, 13, 14, 19
"""Fields of `/proc/PID/stat` behind the name."""


class Consumption:
    """
    The meter of one slot.

    Args:
        pid: Of the interpreter, 0 if it is not known: then everything is 0.
        root: First process of its sandbox.

    Attributes:
        peak_memory_bytes: The most that was resident, as far as it was seen; 0 before that.
    """

    __slots__ = (
        "_charged_s",
        "_clock",
        "_init",
        "_look_at",
        "_others_s",
        "_pid",
        "_started",
        "peak_memory_bytes",
    )

    def __init__(self, pid: int, *, root: int) -> None:
        self.peak_memory_bytes = 0
        self._pid = pid
        # The kernel's way to name the CPU clock of a process; of pid 0 it would be our own.
        self._clock = (~pid << 3) | 2 if pid else None
        self._charged_s = self._others_s = self._look_at = 0.0
        self._started = _started(_stat(pid))
        self._init = _init_of(pid, root)

    def charge(self, now: float) -> float:
        """
        Return the CPU seconds since the last charge; 0 once the process is gone.

        Args:
            now: Monotonic seconds.
        """
        if self._clock is None:
            return 0.0
        try:
            used_s = time.clock_gettime(self._clock)
        except OSError:
            return 0.0
        if now >= self._look_at:
            self._look_at = now + _LOOK_S
            self._look()
        return self._charge(used_s + self._others_s)

    def charge_rest(self, status: ExitStatus | None) -> float:
        """Return what is left to charge when the slot has ended; notes its peak of memory, too."""
        if status is None:
            return 0.0
        self.peak_memory_bytes = max(self.peak_memory_bytes, status.peak_memory_bytes or 0)
        return self._charge(status.cpu_s)

    def _charge(self, used_s: float) -> float:
        fresh_s = used_s - self._charged_s
        if fresh_s <= 0:
            return 0.0
        self._charged_s = used_s
        return fresh_s

    def _look(self) -> None:
        stat = _stat(self._pid)
        if _started(stat) != self._started:  # it has ended, and its number is another's
            return
        others = _stat(self._init) if self._init else []
        self._others_s = max(self._others_s, _children_s(stat) + _children_s(others))
        self.peak_memory_bytes = max(self.peak_memory_bytes, _peak_bytes(self._pid))


def _init_of(pid: int, root: int) -> int:
    """
    Return the process that adopts orphans inside the sandbox of *pid*, 0 if there is none.

    Only one that belongs to this sandbox alone: the root itself, or its child.
    """
    parent = _parent(pid)
    return parent if parent and pid != root and root in {parent, _parent(parent)} else 0


def _parent(pid: int) -> int:
    stat = _stat(pid)
    return int(stat[_PARENT]) if stat else 0


def _started(stat: list[bytes]) -> int | None:
    return int(stat[_STARTED]) if stat else None


def _children_s(stat: list[bytes]) -> float:
    ticks = sum(int(stat[field]) for field in (_CHILDREN_USER, _CHILDREN_SYSTEM)) if stat else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[bytes]:
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def _peak_bytes(pid: int) -> int:
    found = _read(f"/proc/{pid}/status").partition(b"\nVmHWM:")[2]
    return int(found.split(maxsplit=1)[0]) * 1024 if found else 0


def _read(path: str) -> bytes:
    """Return a short file of `/proc`; empty once the process is gone. A file object costs twice."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, _PROC_BYTES_MAX)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
