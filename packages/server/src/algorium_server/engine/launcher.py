"""
Starting a sandbox: from the supervisor's fork to the first instruction of `confine.py`.

    bubblewrap   fork, exec bwrap                       bwrap forks the init, the init the program
    launcher     fork, unshare, fork the init, mount    the init forks the program
    landlock,    fork the reaper                        the reaper forks the program
    plain

Whatever the mechanism, the process the supervisor forked is the *root* of the sandbox: it lives
as long as the program and ends with its exit code, or 128 and the signal. When the root dies,
so does everything below it: init processes and their namespaces at once, by the kernel; the
descendants of a reaper because it is their adoptive parent and kills them before it ends.
When the supervisor dies the kernel tells the root.

The sandbox of a zygote is always made by the launcher: its init is a keeper (`keeper.py`), and its
own process file system can be read but not written, so that slots inside may have one in turn.

Nothing here may raise into the supervisor's code: after the fork a failure is written to the
channel and the child exits.

Source: namespaces(7), user_namespaces(7), pivot_root(2), mount_setattr(2); bubblewrap,
`bubblewrap.c`, whose order of mounting this follows.
"""

import ctypes
import fcntl
import os
import signal
import socket
import stat
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NoReturn

from algorium_runtime import confine, namespaces
from algorium_runtime.namespaces import checked, mount
from algorium_server.engine import keeper, processes
from algorium_server.engine.sandbox import DEVICE_LINKS, DEVICES, UID, Mechanism, Step

KEEPER_FD: Final = confine.CHANNEL_FD + 1
"""Where the init of a zygote's sandbox has its socket to the supervisor."""
_PR_SET_CHILD_SUBREAPER: Final = 36
_MS_SLAVE: Final = 1 << 19
_MNT_DETACH: Final = 2
_MOUNT_SETATTR: Final = 442
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_SPARE_FD: Final = 64
"""Descriptors are moved above this before they are put in place: none overwrites another."""
_OOM_SCORE: Final = "500"
"""When the host itself runs out of memory, sandboxes go before the server does."""

_libc = namespaces.libc


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """
    All a child needs.

    Attributes:
        mechanism: How to build the walls.
        argv: bubblewrap's command line, or that of `confine.py`.
        descriptors: Number inside -> our descriptor; everything else is closed. With one at
            `KEEPER_FD` the init becomes a keeper; for the built-in launcher.
        entrances: Files of control groups to enter.
        steps: The root directory, for the built-in launcher.
        has_own_network: For the built-in launcher.
    """

    mechanism: Mechanism
    argv: list[str]
    descriptors: Mapping[int, int]
    entrances: Sequence[str]
    steps: Sequence[Step] = ()
    has_own_network: bool = True


def start(launch: Launch) -> int:
    """Fork the root of a sandbox and return its process id."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        _become_root_of_sandbox(launch, parent)
    except BaseException as error:
        _fail(error)


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own: none gets away unseen."""
    confine.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _fail(error: BaseException) -> NoReturn:
    try:
        text = f"{type(error).__name__}: {error}"
        os.write(confine.CHANNEL_FD, confine.ERROR_MESSAGE + text.encode()[:4000])
    finally:
        os._exit(confine.FAILED)


def _become_root_of_sandbox(launch: Launch, parent: int) -> NoReturn:
    # stopped with SIGTERM, a reaper still has its say; everything else may go at once
    is_reaper = not launch.mechanism.has_own_root
    _follow_parent(signal.SIGTERM if is_reaper else signal.SIGKILL, parent)
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    _place(launch.descriptors)
    with suppress(OSError):
        os.setgroups([])
    _write("/proc/self/oom_score_adj", _OOM_SCORE)
    for entrance in launch.entrances:
        _write(entrance, "0")
    match launch.mechanism:
        case Mechanism.BUBBLEWRAP:
            os.execve(launch.argv[0], launch.argv, {})  # noqa: S606
        case Mechanism.LAUNCHER:
            _monitor(launch)
        case _:
            _reap(launch)


def _follow_parent(number: int, parent: int) -> None:
    confine.prctl(confine.PR_SET_PDEATHSIG, int(number))
    if os.getppid() not in {parent, 0}:
        os._exit(confine.FAILED)  # it died before we asked to be told


def _place(descriptors: Mapping[int, int]) -> None:
    moved = {
        number: fcntl.fcntl(fd, fcntl.F_DUPFD, _SPARE_FD) for number, fd in descriptors.items()
    }
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    for number, fd in moved.items():
        os.dup2(fd, number)
    last = max(moved)
    for number in set(range(1, last)) - set(moved):
        os.closerange(number, number + 1)
    os.closerange(last + 1, os.sysconf("SC_OPEN_MAX"))


def _exec_confine(launch: Launch) -> NoReturn:
    os.execve(launch.argv[0], launch.argv, {})  # noqa: S606


def _close_all() -> None:
    """Leave pipes and sockets to the program, so that their end means its end."""
    os.closerange(0, confine.GATE_FD + 1)


def _exit_code(status: int) -> int:
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _wait(main: int) -> int:
    """Reap everything until *main* ends; returns its exit code."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == main:
            return _exit_code(status)


# Without namespaces: an adoptive parent


def _reap(launch: Launch) -> NoReturn:
    adopt_orphans()
    namespaces.hide_memory()  # a copy of the supervisor's, which others with our number might read
    main = os.fork()
    if not main:
        os.setsid()
        _exec_confine(launch)
    _close_all()
    signal.signal(signal.SIGTERM, lambda *_: _end_all(128 + signal.SIGTERM))
    _end_all(_wait(main))


def _end_all(code: int) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(ChildProcessError):
        while True:
            processes.kill_descendants(os.getpid())
            os.waitpid(-1, 0)
    os._exit(code)


# With namespaces, without bubblewrap


def _monitor(launch: Launch) -> NoReturn:
    uid, gid = os.geteuid(), os.getegid()
    steps = [
        (step, os.path.realpath(step.source)) if step.kind in {"ro", "rw"} else (step, step.source)
        for step in launch.steps
    ]
    without = 0 if launch.has_own_network else namespaces.NEW_NET
    namespaces.unshare(namespaces.NEW_ALL & ~without)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{UID} {uid} 1")
    _write("/proc/self/gid_map", f"{UID} {gid} 1")
    namespaces.hide_memory()
    init = os.fork()
    if not init:
        try:
            _become_init(launch, steps)
        except BaseException as error:
            _fail(error)
    confine.drop_capabilities()
    _close_all()
    os._exit(_wait(init))


def _become_init(launch: Launch, steps: Sequence[tuple[Step, str]]) -> NoReturn:
    confine.prctl(confine.PR_SET_PDEATHSIG, signal.SIGKILL)
    _libc.unshare(namespaces.NEW_CGROUP)  # nice to have: hides the names of our groups
    if launch.has_own_network:
        namespaces.raise_loopback()
    socket.sethostname("algorithm")
    proc = _hidden_proc() if KEEPER_FD in launch.descriptors else None
    _build_root(steps)
    if proc is not None:
        keeper.skip_process_ids(proc)
    main = os.fork()
    if not main:
        os.setsid()
        confine.drop_bounding_set()
        _exec_confine(launch)
    confine.drop_capabilities()
    if proc is not None:
        keeper.keep(KEEPER_FD, proc, zygote=main)
    _close_all()
    os._exit(_wait(main))


def _hidden_proc() -> int:
    """Open a writable process file system that is at no place, so that only we can reach it."""
    mount("none", "/", "", namespaces.MS_REC | _MS_SLAVE)
    mount("proc", "/tmp", "proc", namespaces.PROC_FLAGS)  # noqa: S108 - any directory will do
    opened = os.open("/tmp", os.O_RDONLY | os.O_DIRECTORY)  # noqa: S108
    checked(_libc.umount2(b"/tmp", _MNT_DETACH), "umount")
    return opened


def _build_root(steps: Sequence[tuple[Step, str]]) -> None:
    """Build the root in `/newroot` while the host is at `/oldroot`, then leave only the new one."""
    flags = namespaces.TMPFS_FLAGS
    mount("none", "/", "", namespaces.MS_REC | _MS_SLAVE)
    mount("tmpfs", "/tmp", "tmpfs", flags, "mode=0755")  # noqa: S108
    os.mkdir("/tmp/oldroot")  # noqa: S108
    os.mkdir("/tmp/newroot")  # noqa: S108
    mount("tmpfs", "/tmp/newroot", "tmpfs", flags, "mode=0755")  # noqa: S108
    _pivot("/tmp", "/tmp/oldroot")  # noqa: S108
    os.chdir("/")
    for step, source in steps:
        _carry_out(step, source)
    _set_attributes("/newroot/dev", _ATTR_RDONLY)
    os.chdir("/newroot")
    _pivot(".", ".")
    checked(_libc.umount2(b".", _MNT_DETACH), "umount")
    os.chdir("/")
    _set_attributes("/", _ATTR_RDONLY)


def _carry_out(step: Step, source: str) -> None:
    target = f"/newroot{step.target}"
    match step.kind:
        case "link":
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.symlink(source, target)
        case "ro" | "rw":
            namespaces.bind(f"/oldroot{source}", target)
            fixed = _ATTR_NOSUID | _ATTR_NODEV
            _set_attributes(
                target, fixed | _ATTR_RDONLY if step.kind == "ro" else fixed, _AT_RECURSIVE
            )
        case "tmpfs":
            os.makedirs(target, exist_ok=True)
            namespaces.mount_tmpfs(target, size_bytes=step.size_bytes, mode=step.mode)
        case "proc":
            os.makedirs(target, exist_ok=True)
            is_writable = step.mode & stat.S_IWUSR
            flags = namespaces.PROC_FLAGS | (0 if is_writable else namespaces.MS_RDONLY)
            mount("proc", target, "proc", flags)
        case "dev":
            _make_devices(target)


def _make_devices(target: str) -> None:
    os.makedirs(target)
    mount("tmpfs", target, "tmpfs", namespaces.MS_NOSUID, "mode=0755,size=65536")
    for name in DEVICES:
        namespaces.bind(f"/oldroot/dev/{name}", f"{target}/{name}")
    for name, destination in DEVICE_LINKS.items():
        os.symlink(destination, f"{target}/{name}")


def _set_attributes(path: str, attributes: int, flags: int = 0) -> None:
    attr = struct.pack("QQQQ", attributes, 0, 0, 0)
    result = _libc.syscall(
        ctypes.c_long(_MOUNT_SETATTR),
        ctypes.c_long(_AT_FDCWD),
        os.fsencode(path),
        ctypes.c_long(flags),
        attr,
        ctypes.c_size_t(len(attr)),
    )
    checked(result, f"mount_setattr {path}")


def _pivot(new: str, old: str) -> None:
    checked(_libc.pivot_root(os.fsencode(new), os.fsencode(old)), "pivot_root")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
