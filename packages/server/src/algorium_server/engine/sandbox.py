"""
What a sandbox is made of, decided without touching the system.

A caller describes a program in a `SandboxSpec`, in the paths it shall see. From that, and from
what this host offers, this module derives everything the privileged side then only executes:

    level     mechanism   root directory                 fences
    full      bubblewrap  `root_steps` -> `bwrap_argv`   namespaces, Landlock, seccomp, limits
    full      launcher    `root_steps`, mounted by us    the same
    reduced   landlock    the host's, `translated`       Landlock, seccomp, limits
    none      plain       the host's, `translated`       limits

Without a mount namespace nothing can be mounted at `/opt/algorithm`, so at the lower two levels
the fixed places move under a directory of the slot, and `translated` rewrites every path of
the spec that names one. The last step before the program runs is the same everywhere:
`algorium_runtime/confine.py`, steered by the value of `confinement`.

Source: runtime design, "Sandbox"; wire specification, "File-system and process view".
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Literal, Self

ALGORITHM_DIR: Final = "/opt/algorithm"
RUNTIME_DIR: Final = "/opt/algorium/algorium_runtime"
HOME_DIR: Final = "/home/algo"
TMP_DIR: Final = "/tmp"  # noqa: S108 - the private one inside
COPY_SOURCES_DIR: Final = "/run/algorium/sources"
"""Where the originals of copied trees are seen, read-only, while they are copied."""
UID: Final = 2222
"""User and group `algo` of the old platform; some algorithms look themselves up."""
API_PORT: Final = 9000
"""Of the slot's own loopback device; nobody else can be on it."""


class Level(StrEnum):
    """How much a sandbox protects; see the table above."""

    FULL = "full"
    REDUCED = "reduced"
    NONE = "none"


class Mechanism(StrEnum):
    """How a sandbox is set up."""

    BUBBLEWRAP = "bubblewrap"
    LAUNCHER = "launcher"
    LANDLOCK = "landlock"
    PLAIN = "plain"

    @property
    def level(self) -> Level:
        """The level this mechanism reaches."""
        return _LEVELS[self]

    @property
    def has_own_root(self) -> bool:
        """Whether paths inside are those of the spec rather than the host's."""
        return self.level is Level.FULL


_LEVELS: Final = {
    Mechanism.BUBBLEWRAP: Level.FULL,
    Mechanism.LAUNCHER: Level.FULL,
    Mechanism.LANDLOCK: Level.REDUCED,
    Mechanism.PLAIN: Level.NONE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """
    One place inside that comes from outside (`ro`, `rw`) or is private scratch (`tmpfs`).

    Attributes:
        source: Absolute host path; empty for `tmpfs`.
        target: Absolute path inside.
        size_bytes: Limit of a `tmpfs`; 0 means the limit of `/tmp`.
    """

    kind: Literal["ro", "rw", "tmpfs"]
    target: str
    source: str = ""
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxLimits:
    """What one sandbox may use; `tmp_bytes` bounds each private file system and each file."""

    memory_bytes: int
    processes: int
    open_files: int
    tmp_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """
    A program to run confined. The interpreter that confines, the runtime at `RUNTIME_DIR`,
    a private `/tmp` and `HOME_DIR` are always there and need no mount.

    Attributes:
        argv: The program and its arguments, in paths as seen inside. Visible to every
            process of the host, so never a secret.
        env: The whole environment. `HOME`, `TMPDIR` and `USER` have defaults.
        cwd: Working directory inside.
        mounts: Applied parents first, whatever their order.
        copies: (host directory, target inside): private writable copies.
        network: `isolated` has a loopback device of its own at most, `host` shares the host's.
        has_slot_socket: Whether descriptor 3 is the slot protocol's socket.
        has_listener: Whether a TCP listener is opened inside and handed out.
    """

    argv: tuple[str, ...]
    limits: SandboxLimits
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = ALGORITHM_DIR
    mounts: tuple[Mount, ...] = ()
    copies: tuple[tuple[str, str], ...] = ()
    network: Literal["isolated", "host"] = "isolated"
    has_slot_socket: bool = False
    has_listener: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form that crosses to the supervisor."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `as_dict` made."""
        return cls(
            **{
                **data,
                "argv": tuple(data["argv"]),
                "limits": SandboxLimits(**data["limits"]),
                "mounts": tuple(Mount(**mount) for mount in data["mounts"]),
                "copies": tuple((source, target) for source, target in data["copies"]),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLayout:
    """
    What sandboxes use of this host's files and kernel; found by `probe.py`, sent to the supervisor.

    Attributes:
        system_dirs: Programs and libraries, visible to every sandbox, read-only.
        system_links: (path, destination) of symbolic links beside them, such as `/bin`.
        etc_isolated: A directory with the few files of `/etc` an algorithm may see.
        etc_host: The same for sandboxes on the host's network.
        etc_files: The same files at their places, for sandboxes without a root of their own.
        proc_covers: In `/proc`, what the host's root may write even without capabilities: its
            number may be ours.
        python: The server's own interpreter, which runs `confine.py`.
        python_prefix: Where that interpreter's library is.
        runtime_dir: The `algorium_runtime` package.
        landlock_abi: 0 when this kernel has no Landlock.
        is_root: Whether the server is root, by number.
    """

    system_dirs: tuple[str, ...]
    system_links: tuple[tuple[str, str], ...]
    etc_isolated: str
    etc_host: str
    etc_files: tuple[str, ...]
    proc_covers: tuple[str, ...]
    python: str
    python_prefix: str
    runtime_dir: str
    landlock_abi: int
    is_root: bool

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `dataclasses.asdict` made, after a journey through JSON."""
        return cls(
            **{
                **data,
                "system_dirs": tuple(data["system_dirs"]),
                "system_links": tuple((path, to) for path, to in data["system_links"]),
                "etc_files": tuple(data["etc_files"]),
                "proc_covers": tuple(data["proc_covers"]),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to put into a new root; `source` of a `link` is its destination."""

    kind: Literal["ro", "rw", "tmpfs", "proc", "dev", "link"]
    target: str
    source: str = ""
    size_bytes: int = 0
    mode: int = 0o755


def root_steps(spec: SandboxSpec, layout: HostLayout) -> tuple[Step, ...]:
    """Return what a root directory of its own is built from, parents before what lies in them."""
    size = spec.limits.tmp_bytes
    steps = [Step(kind="link", target=path, source=to) for path, to in layout.system_links]
    steps += [Step(kind="ro", target=path, source=path) for path in layout.system_dirs]
    steps += [
        Step(
            kind="ro",
            target="/etc",
            source=layout.etc_host if spec.network == "host" else layout.etc_isolated,
        ),
        Step(kind="proc", target="/proc"),
        *(Step(kind="ro", target=path, source=path) for path in layout.proc_covers),
        Step(kind="dev", target="/dev"),
        Step(kind="tmpfs", target="/dev/shm", size_bytes=size, mode=0o1777),  # noqa: S108
        Step(kind="tmpfs", target=TMP_DIR, size_bytes=size, mode=0o1777),
        Step(kind="tmpfs", target=HOME_DIR, size_bytes=size),
        Step(kind="ro", target=RUNTIME_DIR, source=layout.runtime_dir),
    ]
    if not _is_below(layout.python_prefix, layout.system_dirs):
        steps.append(Step(kind="ro", target=layout.python_prefix, source=layout.python_prefix))
    for number, (source, target) in enumerate(spec.copies):
        steps.append(Step(kind="ro", target=f"{COPY_SOURCES_DIR}/{number}", source=source))
        steps.append(Step(kind="tmpfs", target=target, size_bytes=size))
    steps += [
        Step(
            kind=mount.kind,
            target=mount.target,
            source=mount.source,
            size_bytes=(mount.size_bytes or size) if mount.kind == "tmpfs" else 0,
        )
        for mount in spec.mounts
    ]
    by_target = {step.target: step for step in steps}  # what the spec asks for wins
    return tuple(sorted(by_target.values(), key=lambda step: step.target.split("/")))


_BWRAP_BIND: Final = {"ro": "--ro-bind", "rw": "--bind"}


def bwrap_argv(
    bwrap: str, spec: SandboxSpec, layout: HostLayout, *, command: Iterable[str]
) -> list[str]:
    """Return the command line that runs *command* in a sandbox made by bubblewrap."""
    argv = [bwrap, "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    argv += ["--unshare-cgroup-try", "--die-with-parent", "--new-session", "--clearenv"]
    argv += ["--cap-drop", "ALL", "--uid", str(UID), "--gid", str(UID), "--hostname", "algorithm"]
    if spec.network == "isolated":
        argv += ["--unshare-net"]
    for step in root_steps(spec, layout):
        match step.kind:
            case "ro" | "rw":
                argv += [_BWRAP_BIND[step.kind], step.source, step.target]
            case "tmpfs":
                argv += ["--perms", f"{step.mode:o}", "--size", str(step.size_bytes)]
                argv += ["--tmpfs", step.target]
            case "link":
                argv += ["--symlink", step.source, step.target]
            case "proc" | "dev":
                argv += [f"--{step.kind}", step.target]
    return [*argv, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/", "--", *command]


def confine_argv(layout: HostLayout, *, has_own_root: bool) -> list[str]:
    """
    Return the command line of `confine.py` where the program will run.

    Imported rather than run as a file, so that its compiled form is used; last on the path, so
    that nothing beside it can pose as a module of the standard library.
    """
    place = RUNTIME_DIR if has_own_root else layout.runtime_dir
    code = f"import sys; sys.path.append({place!r}); import confine; confine.main()"
    return [layout.python, "-I", "-S", "-c", code]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotDir:
    """The scratch directory of one slot where it has no root of its own."""

    path: str

    @property
    def tmp(self) -> str:
        """Stands for `/tmp`."""
        return f"{self.path}/tmp"

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
    mount becomes its source.
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
            if _is_below(path, (inside,)):
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
_DEVICES: Final = tuple(f"/dev/{name}" for name in ("full", "null", "random", "urandom", "zero"))
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
    """
    return {
        "argv": list(spec.argv),
        "env": dict(spec.env),
        "cwd": spec.cwd,
        "copies": [
            (f"{COPY_SOURCES_DIR}/{number}" if mechanism.has_own_root else source, target)
            for number, (source, target) in enumerate(spec.copies)
        ],
        "rlimits": _rlimits(spec.limits, counts_processes=_counts(layout, mechanism, uid)),
        "listener": _listener(spec, layout, mechanism, api_path_prefix),
        "uid": uid,
        "landlock": _landlock(spec, layout, mechanism, slot),
        "is_confined": mechanism is not Mechanism.PLAIN,
        "has_filter": mechanism is not Mechanism.PLAIN,
        "has_slot_socket": spec.has_slot_socket,
    }


def _counts(layout: HostLayout, mechanism: Mechanism, uid: int | None) -> bool:
    """RLIMIT_NPROC counts per user and namespace: useless for root, harmful for a shared user."""
    return uid is not None or (mechanism.has_own_root and not layout.is_root)


def _rlimits(limits: SandboxLimits, *, counts_processes: bool) -> dict[str, int]:
    """Not AS: it breaks the JVM and torch."""
    rlimits = {"CORE": 0, "NOFILE": limits.open_files, "FSIZE": limits.tmp_bytes}
    return {**rlimits, "NPROC": limits.processes} if counts_processes else rlimits


def _listener(
    spec: SandboxSpec, layout: HostLayout, mechanism: Mechanism, path: str
) -> dict[str, Any] | None:
    if not spec.has_listener or not can_reach_api(layout, mechanism):
        return None
    is_private = mechanism.has_own_root and spec.network == "isolated"
    return {"port": API_PORT if is_private else 0, "path": path}


def can_reach_api(layout: HostLayout, mechanism: Mechanism) -> bool:
    """Whether TCP inside can be limited to the platform API; if not, there is no TCP at all."""
    return mechanism is not Mechanism.LANDLOCK or layout.landlock_abi >= LANDLOCK_ABI_WITH_TCP


LANDLOCK_ABI_WITH_TCP: Final = 4
LANDLOCK_ABI_WITH_SCOPES: Final = 6
LANDLOCK_ABI_WITH_RENAMES: Final = 2
"""Version 1 forbids every rename between directories, which a second fence is not worth."""


def _landlock(
    spec: SandboxSpec, layout: HostLayout, mechanism: Mechanism, slot: SlotDir | None
) -> dict[str, Any] | None:
    writable = [mount.target for mount in spec.mounts if mount.kind != "ro"]
    writable += [target for _, target in spec.copies]
    if mechanism.has_own_root:
        if layout.landlock_abi < LANDLOCK_ABI_WITH_RENAMES:
            return None
        read = ["/"]
        write = [TMP_DIR, HOME_DIR, "/dev", *writable]
        ports = None
    elif mechanism is Mechanism.LANDLOCK and slot is not None:
        read = [*layout.system_dirs, *layout.etc_files, *_PROC_FILES]
        read += [layout.python_prefix, layout.runtime_dir]
        read += [mount.target for mount in spec.mounts if mount.kind == "ro"]
        write = [slot.path, *_DEVICES, *writable]
        ports = [] if spec.network == "isolated" else None
    else:
        return None
    return {"abi": layout.landlock_abi, "read": read, "write": write, "connect_ports": ports}


def _is_below(path: str, parents: Iterable[str]) -> bool:
    return any(path == parent or path.startswith(f"{parent.rstrip('/')}/") for parent in parents)
