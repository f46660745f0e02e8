"""Trees of processes, read from `/proc` and ended as a whole. Standard library only."""

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

_PASSES_MAX: Final = 50
"""What forks faster than it is stopped this often ends at its process limit well before."""


def children(pid: int) -> list[int]:
    """Return the children of all threads of *pid*; none when it is gone."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        with suppress(OSError, ValueError), open(f"/proc/{pid}/task/{thread}/children") as file:
            found += map(int, file.read().split())
    return found


def descendants(pid: int, *, count_max: int | None = None) -> list[int]:
    """Return what is below *pid*, parents before their children, without *pid* itself."""
    found = children(pid)
    for each in found:  # grows while we walk
        if count_max is not None and len(found) > count_max:
            break
        found += children(each)
    return found


def send(pids: Iterable[int], number: int) -> None:
    """Signal every one of *pids* that still exists."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def kill_descendants(root: int) -> None:
    """
    Kill everything below *root*.

    Stops the tree before it kills: what is stopped cannot fork. Process groups are stopped as a
    whole, in one system call, as soon as one member is seen: a program that only lives to
    multiply usually does so within one group, and no walk alone would ever catch up with it.
    """
    stopped: set[int] = set()
    groups: set[int] = set()
    with _precedence():
        for _ in range(_PASSES_MAX):
            if not _stop_below(root, stopped, groups):
                break
        _send_groups(groups, signal.SIGKILL)
        send(stopped, signal.SIGKILL)


@contextmanager
def _precedence() -> Iterator[None]:
    """
    Run before all ordinary processes, where the system lets us.

    Otherwise whoever is to be stopped shares the processors with us, and a thousand of them leave
    us a thousandth.
    """
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _stop_below(root: int, stopped: set[int], groups: set[int]) -> bool:
    """Stop what is not stopped yet; returns whether there was something."""
    found = children(root)
    is_new = False
    for pid in found:  # grows while we walk
        if pid not in stopped:
            is_new = True
            stopped.add(pid)
            send([pid], signal.SIGSTOP)
            _send_groups(_group(pid) - groups, signal.SIGSTOP)
            groups |= _group(pid)
        found += children(pid)
    return is_new


def _group(pid: int) -> set[int]:
    """Return the process group of *pid*, unless it is ours or gone."""
    with suppress(ProcessLookupError):
        return {os.getpgid(pid)} - {os.getpgid(0)}
    return set()


def _send_groups(groups: Iterable[int], number: int) -> None:
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)


def kill_mentioning(text: str) -> None:
    """Kill every process in whose environment *text* stands: what lost all its parents."""
    for name in os.listdir("/proc"):
        with suppress(OSError):
            if name.isdigit():
                with open(f"/proc/{name}/environ", "rb") as file:
                    if text.encode() in file.read():
                        send([int(name)], signal.SIGKILL)


def tasks_of_host() -> int:
    """Return how many processes and threads this machine has: one short read."""
    with suppress(OSError, ValueError, IndexError), open("/proc/loadavg") as file:
        return int(file.read().split()[3].partition("/")[2])
    return 0


def started_at(pid: int) -> int | None:
    """
    Return the start of *pid* in clock ticks since boot: with the pid, a name for ever.

    None when it is gone, or dead and only not yet collected by its parent.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {b"Z", b"X"} else int(fields[19])


def memory_bytes(pids: Iterable[int]) -> int:
    """Return the private and shared memory of *pids*, pages they share counted in part."""
    return sum(sum(_kib(f"/proc/{pid}/smaps_rollup", b"Pss_Anon:", b"Pss_Shmem:")) for pid in pids)


def memory_bytes_apart(pids: Iterable[int]) -> tuple[int, int]:
    """Return the same as `memory_bytes`, private and shared apart."""
    found = [tuple(_kib(f"/proc/{pid}/smaps_rollup", b"Pss_Anon:", b"Pss_Shmem:")) for pid in pids]
    pairs = [pair for pair in found if len(pair) == 2]
    return sum(private for private, _ in pairs), sum(shared for _, shared in pairs)


def memory_bytes_upper(pids: Iterable[int]) -> int:
    """Return the same as `memory_bytes`, shared pages counted in full: cheap, never too low."""
    return sum(sum(_kib(f"/proc/{pid}/status", b"RssAnon:", b"RssShmem:")) for pid in pids)


def _kib(path: str, *names: bytes) -> Iterator[int]:
    with suppress(OSError), open(path, "rb") as file:
        for line in file:
            if line.startswith(names):
                yield int(line.split()[1]) * 1024
