"""
Directories and users of slots that have no root directory of their own.

Standard library only: part of the supervisor.
"""

import os
import shutil
import stat
from pathlib import PurePath
from typing import Final

from algorium_server.engine import processes
from algorium_server.engine.confinement import SlotDir
from algorium_server.engine.sandbox import HostLayout, SandboxSpec

_USERS_FROM: Final = 700_000_000
_USERS_PER_SERVER: Final = 10_000
_SERVERS: Final = 100_000
"""One user per slot, far above those that people and containers have."""


def make_scratch(state_dir: str) -> str:
    """Make the directory of this supervisor's slots, removing those that dead ones left."""
    clear(state_dir)
    path = f"{state_dir}/slots-{os.getpid()}-{processes.started_at(os.getpid())}"
    os.mkdir(path, 0o711)
    return path


def clear(state_dir: str) -> None:
    """
    Remove what dead supervisors left.

    If somebody killed a supervisor and its reapers in one stroke, programs of level reduced may
    still run. They are known by the directory of their slots in their environment.
    """
    for name in os.listdir(state_dir):
        prefix, _, rest = name.partition("-")
        pid, _, start = rest.partition("-")
        if prefix == "slots" and pid.isdigit() and str(processes.started_at(int(pid))) != start:
            processes.kill_mentioning(f"{state_dir}/{name}/")
            shutil.rmtree(f"{state_dir}/{name}", ignore_errors=True)


def make_slot(slot: SlotDir, spec: SandboxSpec, uid: int | None) -> None:
    """Make the directories that the spec's paths were translated to."""
    made = [slot.path, slot.tmp, slot.home]
    made += [target for _, target in spec.copies]
    made += [mount.target for mount in spec.mounts if mount.kind == "tmpfs"]
    for directory in made:
        os.mkdir(directory, 0o700)
        if uid is not None:
            os.chown(directory, uid, uid)


def own_user(spec: SandboxSpec, number: int, *, scratch: str, layout: HostLayout) -> int | None:
    """Return a user for one slot, if we may and it can reach what the program needs; else None."""
    if os.geteuid() != 0 or any(mount.kind == "rw" for mount in spec.mounts):
        return None  # what the program writes into a mount must belong to us
    uid = _USERS_FROM + os.getpid() % _SERVERS * _USERS_PER_SERVER + number % _USERS_PER_SERVER
    needed = [layout.runtime_dir, spec.argv[0]]
    needed += [mount.source for mount in spec.mounts if mount.kind == "ro"]
    needed += [source for source, _ in spec.copies]
    is_possible = _is_mapped(uid, "uid") and _is_mapped(uid, "gid") and _is_enterable(scratch)
    return uid if is_possible and all(map(_is_readable, needed)) else None


def _is_mapped(number: int, kind: str) -> bool:
    with open(f"/proc/self/{kind}_map") as file:
        ranges = [tuple(map(int, line.split())) for line in file]
    return any(first <= number < first + count for first, _, count in ranges)


def _is_readable(path: str) -> bool:
    """Whether a stranger may read *path*, and get there."""
    try:
        mode = os.stat(path).st_mode
        wanted = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(mode) else 0)
        return mode & wanted == wanted and _is_enterable(os.path.dirname(os.path.realpath(path)))
    except OSError:
        return False


def _is_enterable(directory: str) -> bool:
    """Whether a stranger may pass through *directory* and all above it."""
    real = os.path.realpath(directory)
    parents = [real, *map(str, PurePath(real).parents)]
    return all(os.stat(each).st_mode & stat.S_IXOTH for each in parents)
