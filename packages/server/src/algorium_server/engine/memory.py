"""
How much memory this machine has for slots, and how much of it a slot uses.

Source: Linux, "Control Group v2", "Memory Resource Controller", proc_meminfo(5).
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from algorium_server.domain.limits import MIB
from algorium_server.engine import processes

_BUDGET_SHARE: Final = 0.75
"""Of what is free at the start: the rest is for the server, for builds and for the page cache."""
_SPARE_SHARE: Final = 0.03
_SPARE_BYTES_MAX: Final = 512 * MIB
"""Left free by every start: without it the kernel throws out the server's own pages."""


def default_budget_bytes() -> int:
    """Return the part of the memory free at this moment that slots may take."""
    return int(available_bytes() * _BUDGET_SHARE)


def has_free(need_bytes: int) -> bool:
    """Whether the machine has *need_bytes* to give right now, and something to spare."""
    total = _total_bytes()
    return available_bytes() - need_bytes >= min(int(total * _SPARE_SHARE), _SPARE_BYTES_MAX)


def of_sandbox(root: int) -> int:
    """Return the memory below the first process of a sandbox, 0 if it cannot be seen."""
    tree = processes.descendants(root)
    return processes.memory_bytes(tree) or processes.memory_bytes_upper(tree)


def available_bytes() -> int:
    """Return what can be allocated without swapping: of the machine, or of our control groups."""
    free = meminfo_bytes(_read(Path("/proc/meminfo")), "MemAvailable")
    rooms = [group_room_bytes(group) for group in _own_groups()]
    return max(min([free, *(room for room in rooms if room is not None)]), 0)


def _total_bytes() -> int:
    return meminfo_bytes(_read(Path("/proc/meminfo")), "MemTotal")


def meminfo_bytes(text: str, name: str) -> int:
    """Read one number of `/proc/meminfo`; what is not there counts as endless."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    return 1 << 62


def group_room_bytes(group: Path) -> int | None:
    """
    Return what a control group may still take, None if it has no limit.

    File pages that nobody used lately do not count as taken: the kernel gives them up first.
    """
    for limit_file, usage_file, inactive in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit, usage = _read(group / limit_file).strip(), _read(group / usage_file).strip()
        if limit.isdigit() and usage.isdigit():
            stat = dict(line.split() for line in _read(group / "memory.stat").splitlines())
            return int(limit) - int(usage) + int(stat.get(inactive, 0))
    return None


def _own_groups() -> Iterable[Path]:
    """Yield the control groups above us, of either version, as far as they are visible."""
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = Path("/sys/fs/cgroup/memory" if controllers else "/sys/fs/cgroup")
        here = top / path.lstrip("/")
        yield from (group for group in (here, *here.parents) if group.is_relative_to(top))


def _read(path: Path) -> str:
    with suppress(OSError):
        return path.read_text()
    return ""
