"""
The last step before foreign code: give everything up, then become the algorithm.

The sandbox's supervisor starts this with the server's own interpreter inside whatever walls the
host offers, with these descriptors:

    0 null   1 stdout   2 stderr   3 slot socket, if any
    4 plan (marshal)    5 seccomp program    6 channel to the server

Everything that needs a privilege or another file happens first, then the privileges go, then
the fences close, one after the other, each kept by the kernel for all descendants:

    listener -> limits -> user -> copies -> capabilities -> no new privileges
           -> Landlock -> seccomp -> execve

The channel carries the listener out (`L` and a descriptor), then `R` when only execve is left,
or an error (`E` and a text). It closes when execve succeeds. Nothing foreign has run before that
moment, so what comes out of the channel can be trusted.

Start-up is on the path of every cold call. Hence `marshal` instead of `json`, `_socket` instead
of `socket`, a copy loop of our own and no `typing` at run time: the usual modules triple the
time this program takes. Standard library only, Python 3.8+.

Source: runtime design, "Sandbox" and "Network and the platform API"; Linux, "Landlock:
unprivileged access control"; capabilities(7), prctl(2), seccomp(2).
"""

from __future__ import annotations

import _socket
import ctypes
import marshal
import os
import resource
import stat
import sys

TYPE_CHECKING = False  # what type checkers take for true, without importing typing
if TYPE_CHECKING:
    from typing import Any, Callable, NoReturn

SLOT_FD = 3
PLAN_FD = 4
FILTER_FD = 5
CHANNEL_FD = 6
GATE_FD = 8
"""Beyond the descriptor of a zygote's keeper; see `launcher.py` of the server."""
FAILED = 125
"""Exit code when confinement fails; the reason went through the channel."""

LISTENER_MESSAGE = b"L"
READY_MESSAGE = b"R"
ERROR_MESSAGE = b"E"
_ERROR_BYTES_MAX = 4000

PR_SET_PDEATHSIG = 1
_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24
_PR_SET_SECUREBITS = 28
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECCOMP_MODE_FILTER = 2
_SECUREBITS_LOCKED = 0x2F
"""NOROOT, NO_SETUID_FIXUP and their locks, KEEP_CAPS_LOCKED: uid 0 means nothing any more."""
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES = range(64)
_SIGKILL = 9
_SIGPIPE, _SIGXFSZ = 13, 25
_LISTEN_BACKLOG = 128

# The same numbers on every architecture: system calls since Linux 5.0 are numbered together.
_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446
_LANDLOCK_VERSION_FLAG = 1
_RULE_PATH_BENEATH, _RULE_NET_PORT = 1, 2

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_RIGHTS_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_RIGHTS_READ = _EXECUTE | _READ_FILE | _READ_DIR
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1 << 0, 1 << 1

_libc = ctypes.CDLL(None, use_errno=True)


class _RulesetAttr(ctypes.Structure):
    _fields_ = [
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    ]


class _PathBeneathAttr(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"  # newer interpreters want the meaning of _pack_ spelled out
    _fields_ = [("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


class _NetPortAttr(ctypes.Structure):
    _fields_ = [("allowed_access", ctypes.c_uint64), ("port", ctypes.c_uint64)]


class _FilterProgram(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def main() -> NoReturn:
    """Carry out the plan on `PLAN_FD` and become the program it names."""
    try:
        plan = marshal.loads(read_all(PLAN_FD))  # noqa: S302 - from our own supervisor
        filter_program = read_all(FILTER_FD) if plan["has_filter"] else b""
        _keep_only(plan)
        _become(plan, filter_program)
    except BaseException as error:
        fail(error)


def fail(error: BaseException) -> NoReturn:
    """Tell the server why there will be no program, and end."""
    text = f"{type(error).__name__}: {error}"
    try:
        os.write(CHANNEL_FD, ERROR_MESSAGE + text.encode("utf-8", "replace")[:_ERROR_BYTES_MAX])
    finally:
        os._exit(FAILED)


def _become(plan: dict[str, Any], filter_program: bytes) -> NoReturn:
    if plan["has_gate"]:
        os.write(GATE_FD, READY_MESSAGE)  # connected while we go on
    env = enclose(plan, filter_program, _copy_tree)
    if plan["has_gate"]:
        _await_network()
    for number in (_SIGPIPE, _SIGXFSZ):
        _libc.signal(number, None)  # ours ignores them, and what is ignored stays so
    os.write(CHANNEL_FD, READY_MESSAGE)
    os.execvpe(plan["argv"][0], plan["argv"], env)  # noqa: S606 - the reason for all of this


def enclose(
    plan: dict[str, Any], filter_program: bytes, copy: Callable[[str, str], None]
) -> dict[str, str]:
    """
    Give up everything the plan says, for this process and whatever it starts.

    Args:
        plan: See `confinement.py` of the server.
        filter_program: For seccomp; empty for none.
        copy: Makes a writable copy of a source tree: from where, to where.

    Returns:
        The environment of the program.
    """
    env = dict(plan["env"])
    if plan["listener"] is not None:
        port = _open_listener(plan["listener"]["port"])
        env["ALGORITHMIA_API"] = f"http://127.0.0.1:{port}{plan['listener']['path']}"
        if plan["landlock"] is not None and plan["landlock"]["connect_ports"] is not None:
            plan["landlock"]["connect_ports"].append(port)
    # Not before: descriptors on their way are counted for each user, and who may have few may send
    # none while another sandbox holds on to many.
    _limit(plan["rlimits"])
    if plan["is_confined"]:
        drop_bounding_set()
    _become_user(plan["uid"])
    for source, target in plan["copies"]:
        copy(source, target)
    os.chdir(plan["cwd"])
    if plan["is_confined"]:
        drop_capabilities()
    if plan["landlock"] is not None:
        _close_landlock(**plan["landlock"])
    if filter_program:
        _close_seccomp(filter_program)
    return env


def read_all(fd: int) -> bytes:
    """Read a memory file from its start, leaving its shared offset alone."""
    return os.pread(fd, os.fstat(fd).st_size, 0)


def _keep_only(plan: dict[str, Any]) -> None:
    kept = {0, 1, 2, CHANNEL_FD} | ({SLOT_FD} if plan["has_slot_socket"] else set())
    if plan["has_gate"]:
        kept.add(GATE_FD)
        os.set_inheritable(GATE_FD, False)
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            os.closerange(int(name), int(name) + 1)  # ignores the listing's own, gone by now
    os.set_inheritable(CHANNEL_FD, False)
    os.umask(0o022)


def _await_network() -> None:
    answer = os.read(GATE_FD, _ERROR_BYTES_MAX)
    if answer != READY_MESSAGE:
        reason = answer[len(ERROR_MESSAGE) :].decode("utf-8", "replace")
        raise OSError(f"no way to the network: {reason or 'the supervisor is gone'}")


def _limit(limits: dict[str, int]) -> None:
    for name, value in limits.items():
        kind = getattr(resource, "RLIMIT_" + name)
        hard = resource.getrlimit(kind)[1]
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (limit, limit))


def _open_listener(port: int) -> int:
    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(_LISTEN_BACKLOG)
    channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, CHANNEL_FD)
    rights = listener.fileno().to_bytes(4, sys.byteorder)
    channel.sendmsg([LISTENER_MESSAGE], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    channel.detach()
    bound: int = listener.getsockname()[1]
    listener.close()
    return bound


def _become_user(uid: int | None) -> None:
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    # a changed user clears it, so it is set here rather than by the parent
    prctl(PR_SET_PDEATHSIG, _SIGKILL)


def _copy_tree(source: str, target: str) -> None:
    """Copy directories, files and symbolic links; anything else has no place in a source tree."""
    with os.scandir(source) as entries:
        for entry in entries:
            path = os.path.join(target, entry.name)
            mode = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode) | stat.S_IRUSR
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), path)
            elif entry.is_dir():
                os.mkdir(path, 0o755)
                _copy_tree(entry.path, path)
            elif entry.is_file():
                _copy_file(entry.path, path, mode | stat.S_IWUSR)


def _copy_file(source: str, target: str, mode: int) -> None:
    reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        while os.sendfile(writer, reader, None, 1 << 24):
            pass
    finally:
        os.close(reader)
        os.close(writer)


def drop_bounding_set() -> None:
    """Make sure that no program started from here can regain a capability."""
    for capability in _CAPABILITIES:
        # without CAP_SETPCAP this fails, and then there is nothing to drop either
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    _libc.prctl(_PR_SET_SECUREBITS, _SECUREBITS_LOCKED, 0, 0, 0)


def drop_capabilities() -> None:
    """Give up all privileges, for this process and whatever it starts."""
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _close_landlock(
    abi: int,
    read: list[str],
    write: list[str],
    connect_ports: list[int] | None,
    has_scopes: bool,
) -> None:
    """
    Let this process and its descendants touch only the named paths and ports.

    Args:
        abi: What the kernel knows; rights it does not know are left out.
        read: Readable and executable, with everything below.
        write: Everything but devices may be done below.
        connect_ports: The only TCP ports that can be reached, and none to listen on;
            None leaves TCP alone.
        has_scopes: Whether signals and abstract sockets are kept inside.
    """
    known = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)) - 1
    attr = _RulesetAttr(
        known,
        0 if connect_ports is None else _BIND_TCP | _CONNECT_TCP,
        _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS if has_scopes else 0,
    )
    size = 24 if has_scopes else 8 if connect_ports is None else 16  # older kernels want it short
    ruleset = _syscall(_LANDLOCK_CREATE_RULESET, ctypes.byref(attr), size, 0)
    for path in read:
        _allow_path(ruleset, path, known & _RIGHTS_READ)
    for path in write:
        _allow_path(ruleset, path, known & ~(_MAKE_CHAR | _MAKE_BLOCK))
    for port in connect_ports or ():
        rule = _NetPortAttr(_CONNECT_TCP, port)
        _syscall(_LANDLOCK_ADD_RULE, ruleset, _RULE_NET_PORT, ctypes.byref(rule), 0)
    _syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _allow_path(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return  # what is not there, or not for us, needs no permission
    if not stat.S_ISDIR(os.fstat(fd).st_mode):
        rights &= _RIGHTS_OF_FILES
    rule = _PathBeneathAttr(rights, fd)
    _syscall(_LANDLOCK_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    os.close(fd)


def landlock_abi() -> int:
    """Return the version of Landlock's interface in this kernel; 0 when there is none."""
    version: int = _libc.syscall(
        ctypes.c_long(_LANDLOCK_CREATE_RULESET), None, ctypes.c_size_t(0), _LANDLOCK_VERSION_FLAG
    )
    return max(version, 0)


def _close_seccomp(program: bytes) -> None:
    buffer = ctypes.create_string_buffer(program, len(program))
    fprog = _FilterProgram(len(program) // 8, ctypes.addressof(buffer))
    prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(fprog))


def prctl(option: int, *arguments: Any) -> None:
    """Change an attribute of this process; raises OSError where the kernel refuses."""
    padded: tuple[Any, ...] = (*arguments, 0, 0, 0, 0)[:4]
    _checked(
        _libc.prctl(
            ctypes.c_int(option),
            *(ctypes.c_ulong(each) if isinstance(each, int) else each for each in padded),
        ),
        f"prctl {option}",
    )


def _syscall(number: int, *arguments: Any) -> int:
    converted = (ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)
    return _checked(_libc.syscall(ctypes.c_long(number), *converted), f"system call {number}")


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
