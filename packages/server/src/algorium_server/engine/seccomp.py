"""
Which system calls foreign code may make: a list of the allowed, everything else is refused.

The list is the usual one of container engines, minus what only administrators and debuggers
need. What is not on it fails with EPERM; system calls younger than the list fail with ENOSYS,
because programs try new ones first and fall back only on that answer.

Without a mount and a network namespace (level reduced) the file system, the users and the
sockets are the host's, and Landlock does not cover all one can do to them. There this filter
closes the gaps, row by row of `_reduced`.

A zygote may make namespaces for its slots, in exactly the combinations they need, and mount what
every slot has of its own. It may not change how something is mounted.

Compiled once per server by libseccomp, for this machine's architecture.

Source: Docker and containerd, default seccomp profiles; Linux, "Landlock", "Current limitations".
"""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

from algorium_runtime import namespaces
from algorium_server.engine.sandbox import (
    LANDLOCK_ABI_WITH_SCOPES,
    LANDLOCK_ABI_WITH_TCP,
    Level,
)

# ruff: noqa: SIM905 - names read best as words in a text
_ALLOWED: Final = """
    accept accept4 access adjtimex alarm arch_prctl bind brk cacheflush cachestat capget capset
    chdir chmod chown clock_getres clock_gettime clock_nanosleep close close_range connect
    copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait
    epoll_pwait2 epoll_wait eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2
    fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl
    fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstatfs fsync ftruncate
    futex futex_requeue futex_wait futex_waitv futex_wake futimesat get_robust_list
    get_thread_area getcpu getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer
    getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit
    getrusage getsid getsockname getsockopt gettid gettimeofday getuid getxattr inotify_add_watch
    inotify_init inotify_init1 inotify_rm_watch ioctl ioprio_get ioprio_set kill
    landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lgetxattr link linkat
    listen listxattr llistxattr lremovexattr lseek lsetxattr lstat madvise membarrier
    memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap
    mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink mremap mseal
    msgctl msgget msgrcv msgsnd msync munlock munlockall munmap nanosleep newfstatat open openat
    openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll
    ppoll prctl pread64 preadv preadv2 prlimit64 pselect6 pwrite64 pwritev pwritev2 read
    readahead readlink readlinkat readv recvfrom recvmmsg recvmsg remap_file_pages removexattr
    rename renameat renameat2 restart_syscall riscv_flush_icache riscv_hwprobe rmdir rseq
    rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min
    sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
    sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select
    semctl semget semop semtimedop sendfile sendmmsg sendmsg sendto set_robust_list
    set_thread_area set_tid_address setfsgid setfsuid setgid setgroups setitimer setpgid
    setpriority setregid setresgid setresuid setreuid setrlimit setsid setsockopt setuid setxattr
    shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 splice stat statfs statx
    symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create
    timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime
    timerfd_settime times tkill truncate ugetrlimit umask uname unlink unlinkat utime utimensat
    utimes vfork vmsplice wait4 waitid waitpid write writev
""".split()

_SOCKET_FAMILIES: Final = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
"""Not netlink: the C library's look-ups do without it when it is refused."""
_PERSONALITIES: Final = (0x0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)
"""Linux, with a fixed kernel version or a 3 GB address space for old programs, and "tell me"."""
_CLONE_NAMESPACES: Final = 0x7E020000
_CLONE_FLAGS: Final = 1 if os.uname().machine.startswith("s390") else 0
"""Which argument they are; one architecture has the first two the other way round."""
_TYPE_MASK: Final = 0xF
_STREAM, _DATAGRAM, _SEQPACKET = 1, 2, 5
_TCP: Final = 6
_MSG_FASTOPEN: Final = 0x20000000
_O_ACCMODE, _O_TRUNC = 0o3, 0o1000

_FIRST_SHARED_NUMBER: Final = 424
_LAST_NUMBER: Final = 600
"""Since Linux 5.1 all architectures number new system calls alike, from 424 on."""
_REFUSED_PLAINLY: Final = """
    clone3 fsconfig fsmount fsopen fspick io_uring_enter io_uring_register io_uring_setup
    mount_setattr move_mount open_tree pidfd_getfd process_madvise process_mrelease quotactl_fd
""".split()
"""Of those, what is refused for being dangerous rather than unknown; clone3 has its own rule."""

_Row = tuple[str, str, tuple[tuple[int, str, int, int], ...]]
"""Action, system call, conditions: (argument, operator, mask or value, value)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterPolicy:
    """What a filter depends on; *forks_slots* is for zygotes."""

    level: Level
    network: Literal["isolated", "host"]
    landlock_abi: int
    forks_slots: bool = False


class FilterLibraryMissing(Exception):
    """The system library that compiles filters is not installed."""


def compile_filter(policy: FilterPolicy) -> bytes:
    """
    Return the program that `confine.py` hands to the kernel.

    Raises:
        FilterLibraryMissing: Names what to install.
    """
    try:
        import pyseccomp  # noqa: PLC0415 - fails without the system library, which is optional
    except (ImportError, RuntimeError, OSError) as error:
        raise FilterLibraryMissing(str(error)) from error
    actions = {
        "allow": pyseccomp.ALLOW,
        "pretend": pyseccomp.ERRNO(0),
        "refuse": pyseccomp.ERRNO(errno.EPERM),
        "unknown": pyseccomp.ERRNO(errno.ENOSYS),
    }
    made = pyseccomp.SyscallFilter(actions["refuse"])
    made.set_attr(pyseccomp.Attr.ACT_BADARCH, actions["unknown"])
    numbers = dict(_numbers(pyseccomp))
    for action, name, conditions in rows(policy):
        if name in numbers and actions[action] != actions["refuse"]:
            compared = [
                pyseccomp.Arg(argument, getattr(pyseccomp, operator), first, second)
                for argument, operator, first, second in conditions
            ]
            made.add_rule(actions[action], numbers[name], *compared)
    named = set(numbers.values())
    for number in range(_FIRST_SHARED_NUMBER, _LAST_NUMBER):
        if number not in named:
            made.add_rule(actions["unknown"], number)
    return _exported(made)


def rows(policy: FilterPolicy) -> Iterator[_Row]:
    """Yield what is not refused: whole system calls, and those allowed for certain arguments."""
    special = dict(_full())
    if policy.level is Level.REDUCED:
        special |= _reduced(policy)
    if policy.forks_slots:
        special |= _forking()
    for name in _ALLOWED:
        if name not in special:
            yield "allow", name, ()
    for name, (action, alternatives) in special.items():
        for conditions in alternatives:
            yield action, name, conditions


_Rule = tuple[str, tuple[tuple[tuple[int, str, int, int], ...], ...]]
"""Action and alternatives, each a conjunction; no alternatives: refused."""
_ALWAYS: Final = ((),)
_REFUSED: Final[_Rule] = ("allow", ())


def _equals(argument: int, value: int) -> tuple[int, str, int, int]:
    return (argument, "EQ", value, 0)


def _masked(argument: int, mask: int, value: int) -> tuple[int, str, int, int]:
    return (argument, "MASKED_EQ", mask, value)


def _full() -> dict[str, _Rule]:
    return {
        "clone": ("allow", ((_masked(_CLONE_FLAGS, _CLONE_NAMESPACES, 0),),)),
        "clone3": ("unknown", _ALWAYS),  # its flags lie in memory, where no filter can look
        "personality": ("allow", tuple((_equals(0, value),) for value in _PERSONALITIES)),
        "socket": ("allow", tuple((_equals(0, family),) for family in _SOCKET_FAMILIES.values())),
        "socketpair": ("allow", ((_equals(0, _SOCKET_FAMILIES["AF_UNIX"]),),)),
    }


def _forking() -> dict[str, _Rule]:
    read_only_proc = namespaces.PROC_FLAGS | namespaces.MS_RDONLY
    return {
        "unshare": (
            "allow",
            ((_equals(0, namespaces.NEW_ALL),), (_equals(0, namespaces.NEW_CGROUP),)),
        ),
        "mount": (
            "allow",
            tuple(
                (_equals(3, flags),)
                for flags in (namespaces.TMPFS_FLAGS, namespaces.BIND_FLAGS, read_only_proc)
            ),
        ),
    }


def _reduced(policy: FilterPolicy) -> dict[str, _Rule]:
    """Return what changes where the sandbox shares the host's file system, users and sockets."""
    rules: dict[str, _Rule] = {
        # Landlock does not rule these, and the server's own files belong to the same user.
        # Ordinary programs set modes and times in passing and break when that fails, so in
        # their private scratch directory it succeeds without an effect.
        **dict.fromkeys(
            "chmod chown fchmod fchmodat fchmodat2 fchown fchownat futimesat lchown utime "
            "utimensat utimes".split(),
            ("pretend", _ALWAYS),
        ),
        **dict.fromkeys(
            "fremovexattr fsetxattr lremovexattr lsetxattr removexattr setxattr".split(), _REFUSED
        ),
        # Landlock before version 3 does not rule truncation without an open for writing.
        "truncate": _REFUSED,
        "open": ("allow", tuple(_opens(1))),
        "openat": ("allow", tuple(_opens(2))),
        "openat2": ("unknown", _ALWAYS),  # flags in memory
        # What names another process of the same user. Own ones are named by 0.
        **dict.fromkeys(
            "prlimit64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler".split(),
            ("allow", ((_equals(0, 0),),)),
        ),
        "setpriority": ("allow", ((_equals(1, 0),),)),
        "ioprio_set": _REFUSED,
        # Names shared by the whole host.
        **dict.fromkeys(
            "inotify_add_watch mq_open mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop "
            "semtimedop shmat shmctl shmget".split(),
            _REFUSED,
        ),
        # A socket with a path reaches any service of the host; a connected pair reaches nothing.
        "socketpair": (
            "allow",
            tuple(
                (_equals(0, _SOCKET_FAMILIES["AF_UNIX"]), _masked(1, _TYPE_MASK, kind))
                for kind in (_STREAM, _SEQPACKET)
            ),
        ),
        "socket": ("allow", tuple(_sockets(policy))),
    }
    if policy.network == "isolated":
        # Landlock rules connect(2), and this flag connects without it.
        for name, flags in {"sendto": 3, "sendmsg": 2, "sendmmsg": 3}.items():
            rules[name] = ("allow", ((_masked(flags, _MSG_FASTOPEN, 0),),))
    if policy.landlock_abi < LANDLOCK_ABI_WITH_SCOPES:
        for name in "kill pidfd_send_signal rt_sigqueueinfo rt_tgsigqueueinfo tgkill tkill".split():
            rules[name] = _REFUSED
    return rules


def _opens(flags: int) -> Iterator[tuple[tuple[int, str, int, int], ...]]:
    yield (_masked(flags, _O_TRUNC, 0),)
    yield (_masked(flags, _O_ACCMODE, os.O_WRONLY),)
    yield (_masked(flags, _O_ACCMODE, os.O_RDWR),)


def _sockets(policy: FilterPolicy) -> Iterator[tuple[tuple[int, str, int, int], ...]]:
    """Isolated: TCP alone, because Landlock rules nothing else; and only if it rules that."""
    for family in (_SOCKET_FAMILIES["AF_INET"], _SOCKET_FAMILIES["AF_INET6"]):
        if policy.network == "host":
            for kind in (_STREAM, _DATAGRAM):
                yield (_equals(0, family), _masked(1, _TYPE_MASK, kind))
        elif policy.landlock_abi >= LANDLOCK_ABI_WITH_TCP:
            for protocol in (0, _TCP):
                yield (
                    _equals(0, family),
                    _masked(1, _TYPE_MASK, _STREAM),
                    _equals(2, protocol),
                )


def _numbers(pyseccomp: Any) -> Iterator[tuple[str, int]]:
    """Yield the numbers of the system calls that this machine and its library know."""
    for name in {*_ALLOWED, *_full(), *_forking(), *_REFUSED_PLAINLY, "openat2"}:
        with suppress(ValueError, OSError):
            number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
            if number >= 0:  # negative ones stand for calls of other architectures
                yield name, number


def _exported(made: Any) -> bytes:
    fd = os.memfd_create("seccomp")
    with open(fd, "rb") as file:
        made.export_bpf(file)
        file.seek(0)
        return file.read()
