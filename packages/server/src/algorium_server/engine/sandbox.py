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
the fixed places move under a directory of the slot, and every path of the spec that names one is
`translated`. The last step before the program runs is the same everywhere:
`algorium_runtime/confine.py`, steered by what `confinement.py` decides.

Source: runtime design, "Sandbox"; wire specification, "File-system and process view".
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
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
DEVICES: Final = ("full", "null", "random", "urandom", "zero")
"""All of `/dev` that a program needs."""
DEVICE_LINKS: Final = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
_SIGKILL: Final = 9
_NOTHING: Final = "/dev/null"
"""Where devices do not work, it cannot even be opened."""
_DEVICES_BYTES: Final = 65536
"""Of the file system that holds them, which is read-only afterwards."""

LANDLOCK_ABI_WITH_RENAMES: Final = 2
"""Version 1 forbids every rename between directories, which a second fence is not worth."""
LANDLOCK_ABI_WITH_TCP: Final = 4
"""Since Linux 6.7 it can rule TCP."""
LANDLOCK_ABI_WITH_SCOPES: Final = 6
"""Since Linux 6.12 it can keep signals and abstract sockets inside."""


Network = Literal["isolated", "full", "host"]
"""What a sandbox reaches; see `SandboxSpec`."""


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
    """
    What one sandbox may use.

    Attributes:
        memory_bytes: Of all its processes, its files in memory and its way to the network.
        processes: Threads, too.
        open_files: Of each process.
        tmp_bytes: In each private file system, and in each file.
        cpus: Processors' worth of time; 0 for no limit. When there is not enough for all,
            sandboxes get equal shares, whatever they run.
    """

    memory_bytes: int
    processes: int
    open_files: int
    tmp_bytes: int
    cpus: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ZygoteSpec:
    """
    What may be prepared once for all programs of an environment.

    Attributes:
        modules: Third-party modules to import ahead, in this order.
        env: The variables meanwhile: nothing of one version, author or caller.
    """

    modules: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """
    A program to run confined.

    The interpreter that confines, the runtime at `RUNTIME_DIR`, a private `/tmp` and `HOME_DIR`
    are always there and need no mount.

    Attributes:
        argv: The program and its arguments, in paths as seen inside. Visible to every
            process of the host, so never a secret.
        env: The whole environment. `HOME`, `TMPDIR` and `USER` have defaults.
        cwd: Working directory inside.
        mounts: Applied parents first, whatever their order.
        copies: (host directory, target inside): private writable copies.
        network: `isolated` has a loopback device of its own at most, `full` also a way to public
            addresses, `host` shares the host's.
        has_slot_socket: Whether descriptor 3 is the slot protocol's socket.
        has_listener: Whether a TCP listener is opened inside and handed out.
        zygote: How the program may be forked instead of started: then *argv* is the runtime with
            the entry as its last argument. None: it must be started.
        secret_env: Further variables, passed on as they are. They never reach a zygote, and no
            text that is made of this.
    """

    argv: tuple[str, ...]
    limits: SandboxLimits
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = ALGORITHM_DIR
    mounts: tuple[Mount, ...] = ()
    copies: tuple[tuple[str, str], ...] = ()
    network: Network = "isolated"
    has_slot_socket: bool = False
    has_listener: bool = False
    zygote: ZygoteSpec | None = None
    secret_env: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def has_own_network(self) -> bool:
        """Whether nobody else is on its loopback device."""
        return self.network != "host"

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form that crosses to the supervisor."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `as_dict` made."""
        zygote = data["zygote"]
        return cls(
            **{
                **data,
                "zygote": zygote and ZygoteSpec(**{**zygote, "modules": tuple(zygote["modules"])}),
                "argv": tuple(data["argv"]),
                "limits": SandboxLimits(**data["limits"]),
                "mounts": tuple(Mount(**mount) for mount in data["mounts"]),
                "copies": tuple((source, target) for source, target in data["copies"]),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLayout:
    """
    What sandboxes use of this host's files and kernel; found by `layout.py`.

    Attributes:
        system_dirs: Programs and libraries, visible to every sandbox, read-only.
        system_links: (path, destination) of symbolic links beside them, such as `/bin`.
        etc_isolated: A directory with the few files of `/etc` an algorithm may see.
        etc_host: The same for sandboxes on the host's network.
        etc_files: The same files at their places, for sandboxes without a root of their own.
        proc_covers: In `/proc`, what the host's root may write even without capabilities: its
            number may be ours.
        proc_secrets: The same of what the host's root may read there, and others may not.
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
    proc_secrets: tuple[str, ...] = ()

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
                "proc_secrets": tuple(data["proc_secrets"]),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitStatus:
    """
    How a sandbox ended. Exactly one of `code` and `signal` is set.

    Attributes:
        code: Exit code of the program; 128 and above is reported as a signal.
        signal: What killed it.
        was_oom: The memory limit was hit, and the sandbox was killed for it.
        was_process_limit: The limit of processes was hit: some could not be started.
        was_disk_limit: Killed for filling its scratch space (where the program cannot be
            told "No space left on device").
        was_lost: What ran it died, and the sandbox with it: no fault of the program.
        peak_memory_bytes: Of the whole sandbox, or None where the host cannot tell.
        cpu_s: CPU time of every process of the sandbox that was waited for, ours included.
    """

    code: int | None
    signal: int | None
    was_oom: bool = False
    was_process_limit: bool = False
    was_disk_limit: bool = False
    was_lost: bool = False
    peak_memory_bytes: int | None = None
    cpu_s: float = 0.0

    @property
    def was_killed(self) -> bool:
        """Whether it was killed for none of its limits, maybe by somebody outside."""
        return self.signal == _SIGKILL and not self.was_oom and not self.was_disk_limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """
    One thing to put into a new root; `source` of a `link` is its destination.

    Without the owner's right to write, a `proc` is mounted read-only.
    """

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
            source=layout.etc_isolated if spec.has_own_network else layout.etc_host,
        ),
        Step(kind="proc", target="/proc"),
        *(Step(kind="ro", target=path, source=path) for path in layout.proc_covers),
        *(Step(kind="ro", target=path, source=_NOTHING) for path in layout.proc_secrets),
        Step(kind="dev", target="/dev"),
        Step(kind="tmpfs", target="/dev/shm", size_bytes=size, mode=0o1777),  # noqa: S108
        Step(kind="tmpfs", target=TMP_DIR, size_bytes=size, mode=0o1777),
        Step(kind="tmpfs", target=HOME_DIR, size_bytes=size),
        Step(kind="ro", target=RUNTIME_DIR, source=layout.runtime_dir),
    ]
    if not is_below(layout.python_prefix, layout.system_dirs):
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
    if spec.has_own_network:
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
            case "proc":
                argv += ["--proc", step.target]
            case "dev":
                argv += _bwrap_devices(step.target)
    return [*argv, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/", "--", *command]


def _bwrap_devices(target: str) -> list[str]:
    """Make the same as the launcher; bubblewrap's own `--dev` has terminals as well."""
    argv = ["--perms", "0755", "--size", str(_DEVICES_BYTES), "--tmpfs", target]
    for name in DEVICES:
        argv += ["--dev-bind", f"/dev/{name}", f"{target}/{name}"]
    for name, destination in DEVICE_LINKS.items():
        argv += ["--symlink", destination, f"{target}/{name}"]
    return argv


def confine_argv(layout: HostLayout, *, has_own_root: bool) -> list[str]:
    """
    Return the command line of `confine.py` where the program will run.

    Imported rather than run as a file, so that its compiled form is used; last on the path, so
    that nothing beside it can pose as a module of the standard library.
    """
    place = RUNTIME_DIR if has_own_root else layout.runtime_dir
    code = f"import sys; sys.path.append({place!r}); import confine; confine.main()"
    return [layout.python, "-I", "-S", "-c", code]


def is_below(path: str, parents: Iterable[str]) -> bool:
    """Whether *path* is one of *parents* or lies in one; by name alone."""
    return any(path == parent or path.startswith(f"{parent.rstrip('/')}/") for parent in parents)
