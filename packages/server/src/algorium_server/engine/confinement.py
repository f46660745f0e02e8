"""
What `confine.py` has to do for one sandbox, decided without touching the system.

`confinement` is the plan that goes to it. Where the sandbox has no root directory of its own, the
spec is first `translated` from the fixed places to a scratch directory of the slot.

Source: runtime design, "Sandbox" and "Network and the platform API".
"""

from dataclasses import dataclass, replace
from typing import Any, Final

from algorium_server.engine.sandbox import (
    API_PORT,
    COPY_SOURCES_DIR,
    DEVICES,
    HOME_DIR,
    LANDLOCK_ABI_WITH_RENAMES,
    LANDLOCK_ABI_WITH_SCOPES,
    LANDLOCK_ABI_WITH_TCP,
    RUNTIME_DIR,
    TMP_DIR,
    HostLayout,
    Mechanism,
    SandboxLimits,
    SandboxSpec,
    is_below,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotDir:
    """The scratch directory of one slot where it has no root of its own."""

    path: str

    @property
    def tmp(self) -> str:
        """Stands for `/tmp`."""
        return f"{self.path}/tmp"  # noqa: S108 - not the one everybody shares

    @property
    def home(self) -> str:
        """Stands for the home directory."""
        return f"{self.path}/home"

    def place(self, number: int) -> str:
        """Stands for the target of the copy or private file system of that number."""
        return f"{self.path}/{number}"


def translated(spec: SandboxSpec, slot: SlotDir, layout: HostLayout) -> SandboxSpec:
    """
    Rewrite the paths of *spec* to where they are when nothing can be mounted.

    Whole arguments and whole entries of `:`-separated variables are understood, paths inside
    of other text are not. A copy or private file system becomes a directory of the slot, a
    mount becomes its source. Secrets stay as they are, whatever they look like.
    """
    places = {TMP_DIR: slot.tmp, HOME_DIR: slot.home, RUNTIME_DIR: layout.runtime_dir}
    mounts, copies = [], []
    for number, (source, target) in enumerate(spec.copies):
        places[target] = slot.place(number)
        copies.append((source, places[target]))
    for number, mount in enumerate(spec.mounts, start=len(copies)):
        host = mount.source or slot.place(number)
        places[mount.target] = host
        mounts.append(replace(mount, target=host))
    longest_first = sorted(places.items(), key=lambda item: -len(item[0]))

    def there(path: str) -> str:
        for inside, host in longest_first:
            if is_below(path, (inside,)):
                return host + path[len(inside) :]
        return path

    return replace(
        spec,
        argv=tuple(there(argument) for argument in spec.argv),
        env={
            key: ":".join(there(part) for part in value.split(":"))
            for key, value in spec.env.items()
        },
        cwd=there(spec.cwd),
        mounts=tuple(mounts),
        copies=tuple(copies),
    )


_ENV_DEFAULTS: Final = {
    "HOME": HOME_DIR,
    "LANG": "C.UTF-8",
    "LOGNAME": "algo",
    "PATH": f"{HOME_DIR}/.local/bin:/usr/local/bin:/usr/bin:/bin",
    "TMPDIR": TMP_DIR,
    "USER": "algo",
}
_PROC_FILES: Final = (
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/kernel/cap_last_cap",
    "/proc/sys/kernel/ngroups_max",
    "/proc/sys/vm/overcommit_memory",
    "/proc/version",
    "/sys/devices/system/cpu",
    "/sys/devices/system/node",
    "/sys/kernel/mm/transparent_hugepage",
)
"""What language runtimes and numeric libraries look up to size their pools."""


def with_defaults(spec: SandboxSpec) -> SandboxSpec:
    """Fill up the environment with what every program expects."""
    return replace(spec, env={**_ENV_DEFAULTS, **spec.env})


def confinement(
    spec: SandboxSpec,
    layout: HostLayout,
    *,
    mechanism: Mechanism,
    slot: SlotDir | None,
    uid: int | None,
    api_path_prefix: str,
    tasks_of_host: int,
) -> dict[str, Any]:
    """
    Return the plan for `confine.py`.

    Args:
        spec: As the program sees it: already `translated` where it has no root of its own.
        layout: Of this host.
        mechanism: Decides which fences `confine.py` closes.
        slot: Its scratch directory, where it has no root of its own.
        uid: The user to become; None stays.
        api_path_prefix: What the platform API's address ends with, so that it cannot be guessed.
        tasks_of_host: Processes and threads at this moment, of all users.
    """
    return {
        "argv": list(spec.argv),
        "env": {**spec.env, **spec.secret_env},
        "cwd": spec.cwd,
        "copies": [
            (f"{COPY_SOURCES_DIR}/{number}" if mechanism.has_own_root else source, target)
            for number, (source, target) in enumerate(spec.copies)
        ],
        "rlimits": _rlimits(
            spec.limits,
            spare_processes=_SPARE_PROCESSES
            if _has_own_count(layout, mechanism, uid)
            else tasks_of_host + _SPARE_TASKS_OF_OTHERS,
        ),
        "listener": _listener(spec, layout, mechanism, api_path_prefix),
        "uid": uid,
        "landlock": _landlock(spec, layout, mechanism, slot),
        "is_confined": mechanism is not Mechanism.PLAIN,
        "has_filter": mechanism is not Mechanism.PLAIN,
        "has_slot_socket": spec.has_slot_socket,
        "has_gate": spec.network == "full",
    }


def _has_own_count(layout: HostLayout, mechanism: Mechanism, uid: int | None) -> bool:
    """Whether RLIMIT_NPROC, which counts per user and namespace, counts this sandbox alone."""
    return uid is not None or (mechanism.has_own_root and not layout.is_root)


def _rlimits(limits: SandboxLimits, *, spare_processes: int) -> dict[str, int]:
    """Not AS: it breaks the JVM and torch."""
    return {
        "CORE": 0,
        "NOFILE": limits.open_files,
        "FSIZE": limits.tmp_bytes,
        "NPROC": limits.processes + spare_processes,
        "RTPRIO": 0,  # some hosts let their users run before everybody else
        "NICE": 0,
    }


_SPARE_PROCESSES: Final = 16
"""So that whoever counts exactly notices first and can say what happened."""
_SPARE_TASKS_OF_OTHERS: Final = 4096
"""Where a user is shared, whatever else it runs counts as well, and may become this much more: no
limit for this sandbox, but the end of a bomb that outruns whoever looks. Root has none."""


def _listener(
    spec: SandboxSpec, layout: HostLayout, mechanism: Mechanism, path: str
) -> dict[str, Any] | None:
    if not spec.has_listener or not can_reach_api(layout, mechanism):
        return None
    is_private = mechanism.has_own_root and spec.has_own_network
    return {"port": API_PORT if is_private else 0, "path": path}


def can_reach_api(layout: HostLayout, mechanism: Mechanism) -> bool:
    """Whether TCP inside can be limited to the platform API; if not, there is no TCP at all."""
    return mechanism is not Mechanism.LANDLOCK or layout.landlock_abi >= LANDLOCK_ABI_WITH_TCP


def _landlock(
    spec: SandboxSpec, layout: HostLayout, mechanism: Mechanism, slot: SlotDir | None
) -> dict[str, Any] | None:
    abi = layout.landlock_abi
    ports: list[int] | None = None
    writable = [mount.target for mount in spec.mounts if mount.kind != "ro"]
    writable += [target for _, target in spec.copies]
    if mechanism.has_own_root:
        if abi < LANDLOCK_ABI_WITH_RENAMES:
            return None
        read = ["/"]
        write = [TMP_DIR, HOME_DIR, "/dev", *writable]
    elif mechanism is Mechanism.LANDLOCK and slot is not None:
        read = [*layout.system_dirs, *layout.etc_files, *_PROC_FILES]
        read += [layout.python_prefix, layout.runtime_dir]
        read += [mount.target for mount in spec.mounts if mount.kind == "ro"]
        write = [slot.path, *(f"/dev/{name}" for name in DEVICES), *writable]
        ports = [] if spec.network == "isolated" and abi >= LANDLOCK_ABI_WITH_TCP else None
    else:
        return None
    return {
        "abi": abi,
        "read": read,
        "write": write,
        "connect_ports": ports,
        "has_scopes": abi >= LANDLOCK_ABI_WITH_SCOPES,
    }
