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
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NoReturn

from algorium_runtime import confine
from algorium_server.engine import processes
from algorium_server.engine.sandbox import DEVICES, UID, Mechanism, Step

_PR_SET_DUMPABLE: Final = 4
_PR_SET_CHILD_SUBREAPER: Final = 36
_NEW_CGROUP, _NEW_UTS, _NEW_IPC, _NEW_USER = 0x02000000, 0x04000000, 0x08000000, 0x10000000
_NEW_PID, _NEW_NET, _NEW_MOUNT = 0x20000000, 0x40000000, 0x00020000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_MS_BIND, _MS_REC, _MS_SLAVE = 4096, 16384, 1 << 19
_MNT_DETACH: Final = 2
_MOUNT_SETATTR: Final = 442
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP_RUNNING: Final = 0x41
_SPARE_FD: Final = 64
"""Descriptors are moved above this before they are put in place: none overwrites another."""
_OOM_SCORE: Final = "500"
"""When the host itself runs out of memory, sandboxes go before the server does."""
_DEVICE_LINKS: Final = {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """
    All a child needs.

    Attributes:
        mechanism: How to build the walls.
        argv: bubblewrap's command line, or that of `confine.py`.
        descriptors: Number inside -> our descriptor; everything else is closed.
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
    unused = set(range(1, confine.CHANNEL_FD)) - set(moved)
    for number in unused:
        os.closerange(number, number + 1)
    os.closerange(confine.CHANNEL_FD + 1, os.sysconf("SC_OPEN_MAX"))


def _exec_confine(launch: Launch) -> NoReturn:
    os.execve(launch.argv[0], launch.argv, {})  # noqa: S606


def _close_all() -> None:
    """Leave pipes and sockets to the program, so that their end means its end."""
    os.closerange(0, confine.CHANNEL_FD + 1)


def _hide_memory() -> None:
    """Our forks hold a copy of the supervisor's memory: nobody with our number may look into it."""
    confine.prctl(_PR_SET_DUMPABLE, 0)


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
    _hide_memory()
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
    own = _NEW_USER | _NEW_MOUNT | _NEW_PID | _NEW_IPC | _NEW_UTS
    _checked(_libc.unshare(own | (_NEW_NET if launch.has_own_network else 0)), "unshare")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{UID} {uid} 1")
    _write("/proc/self/gid_map", f"{UID} {gid} 1")
    _hide_memory()
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
    _libc.unshare(_NEW_CGROUP)  # nice to have: hides the names of our groups
    if launch.has_own_network:
        _raise_loopback()
    socket.sethostname("algorithm")
    _build_root(steps)
    main = os.fork()
    if not main:
        os.setsid()
        confine.drop_bounding_set()
        _exec_confine(launch)
    confine.drop_capabilities()
    _close_all()
    os._exit(_wait(main))


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP_RUNNING))


def _build_root(steps: Sequence[tuple[Step, str]]) -> None:
    """Build the root in `/newroot` while the host is at `/oldroot`, then leave only the new one."""
    _mount("none", "/", "", _MS_REC | _MS_SLAVE)
    _mount("tmpfs", "/tmp", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755")  # noqa: S108
    os.mkdir("/tmp/oldroot")  # noqa: S108
    os.mkdir("/tmp/newroot")  # noqa: S108
    _mount("tmpfs", "/tmp/newroot", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755")  # noqa: S108
    _pivot("/tmp", "/tmp/oldroot")  # noqa: S108
    os.chdir("/")
    for step, source in steps:
        _carry_out(step, source)
    _set_attributes("/newroot/dev", _ATTR_RDONLY)
    os.chdir("/newroot")
    _pivot(".", ".")
    _checked(_libc.umount2(b".", _MNT_DETACH), "umount")
    os.chdir("/")
    _set_attributes("/", _ATTR_RDONLY)


def _carry_out(step: Step, source: str) -> None:
    target = f"/newroot{step.target}"
    match step.kind:
        case "link":
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.symlink(source, target)
        case "ro" | "rw":
            _bind(f"/oldroot{source}", target)
            fixed = _ATTR_NOSUID | _ATTR_NODEV
            _set_attributes(
                target, fixed | _ATTR_RDONLY if step.kind == "ro" else fixed, _AT_RECURSIVE
            )
        case "tmpfs":
            os.makedirs(target, exist_ok=True)
            options = f"size={step.size_bytes},mode={step.mode:o}"
            _mount("tmpfs", target, "tmpfs", _MS_NOSUID | _MS_NODEV, options)
        case "proc":
            os.makedirs(target, exist_ok=True)
            _mount("proc", target, "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
        case "dev":
            _make_devices(target)


def _make_devices(target: str) -> None:
    os.makedirs(target)
    _mount("tmpfs", target, "tmpfs", _MS_NOSUID, "mode=0755,size=65536")
    for name in DEVICES:
        _bind(f"/oldroot/dev/{name}", f"{target}/{name}")
    for name, tail in _DEVICE_LINKS.items():
        os.symlink(f"/proc/self/fd{tail}", f"{target}/{name}")


def _bind(source: str, target: str) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    _mount(source, target, "", _MS_BIND | _MS_REC)


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    arguments = (os.fsencode(text) or None for text in (source, target, kind))
    result = _libc.mount(*arguments, ctypes.c_ulong(flags), options.encode() or None)
    _checked(result, f"mount {target}")


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
    _checked(result, f"mount_setattr {path}")


def _pivot(new: str, old: str) -> None:
    _checked(_libc.pivot_root(os.fsencode(new), os.fsencode(old)), "pivot_root")


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
