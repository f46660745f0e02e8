"""
The way of one sandbox to the network: a process that makes it, keeps it, and takes it down.

    supervisor                 this process                        the translation (`nat.py`)
    the sandbox is confined:
    fork, with its network     fork the translation                waits
                               go in: its packet filter            ...
                               "go"                                connects the sandbox
    lets the program run  <--  "ready": there is a way out
                               new addresses of this host
                               are refused, too

What runs in the sandbox holds no privilege in the user namespace that owns its network: it can
neither change the filter nor reach this process. It waits until "ready".

This process and the translation are in the sandbox's control group, so that what they use counts
as the sandbox's. They end with it: the supervisor kills both, and the kernel does if the supervisor
dies. When the translation ends by itself, this process does, and the supervisor ends the sandbox.

Source: runtime design, "Network and the platform API"; setns(2), ioctl_ns(2).
"""

import ctypes
import errno
import fcntl
import ipaddress
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NoReturn

from algorium_runtime import confine, namespaces
from algorium_server.engine import addresses, firewall, nat, processes, reach
from algorium_server.engine.nat import Nat, Target

READY: Final = b"R"
ERROR: Final = b"E"
_NS_GET_USERNS: Final = 0xB701
_CONNECT_S_MAX: Final = 10.0
"""Usually some hundredths."""
_CONNECTIONS_MAX: Final = 1024
"""Descriptors of the translation, about one for each connection: one sandbox must not take all of
this host's ports and memory."""
_WORDS_BYTES_MAX: Final = 500
_ERROR_BYTES_MAX: Final = 1000
_SPARE_FD: Final = 64
_OOM_SCORE: Final = "500"


class Uplink:
    """
    The supervisor's side of one such process.

    Attributes:
        pid: Of the process, which is the supervisor's child.
        socket: Becomes readable when there is something to `hear`.
        is_ready: Whether there was a way out.
        is_gone: Whether it was reaped.
    """

    def __init__(self, pid: int, ours: socket.socket) -> None:
        self.pid = pid
        self.socket = ours
        self.is_ready = False
        self.is_gone = False

    @classmethod
    def start(
        cls, program: int, translation: Nat, *, entrances: Sequence[str], namespace: int = 0
    ) -> "Uplink":
        """
        Begin to connect the network namespace of a process.

        Args:
            program: A process in the sandbox, after it gave up all privileges.
            translation: What to connect it with.
            entrances: Files of the control groups to enter.
            namespace: Its inode, if the process might be gone and its number another's.

        Raises:
            OSError: The process is gone, or there is no room for another.
        """
        network = os.open(f"/proc/{program}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        if namespace not in {0, os.fstat(network).st_ino}:
            os.close(network)
            raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            raise
        else:
            if not pid:
                _become_uplink(network, translation, theirs, entrances, parent)
        finally:
            os.close(network)
            theirs.close()
        return cls(pid, ours)

    def hear(self) -> str | None:
        """
        Return nothing when the way is there, a reason when there will be none.

        None when it has said nothing yet.
        """
        try:
            data = self.socket.recv(_ERROR_BYTES_MAX)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if data == READY:
            self.is_ready = True
            return ""
        return data[1:].decode(errors="replace") or "the network translation ended"

    def kill(self) -> None:
        """Kill the process and the translation; idempotent."""
        if not self.is_gone:
            processes.kill_descendants(self.pid)
            processes.send([self.pid], signal.SIGKILL)

    def reaped(self) -> None:
        """Take note that it is gone."""
        self.is_gone = True
        self.socket.close()


def _become_uplink(
    network: int, translation: Nat, status: socket.socket, entrances: Sequence[str], parent: int
) -> NoReturn:
    try:
        confine.prctl(confine.PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:
            os._exit(confine.FAILED)
        _settle(entrances)
        network, told = _keep_only(network, status.detach())
        status = socket.socket(fileno=told)
        keep(network, translation, on_ready=lambda: status.send(READY))
    except BaseException as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else f"{error}"
        with suppress(OSError):
            status.send(ERROR + reason.encode()[: _ERROR_BYTES_MAX - 1])
    finally:
        os._exit(confine.FAILED)


def _settle(entrances: Sequence[str]) -> None:
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    with suppress(OSError):
        os.setgroups([])
    for path, text in [("/proc/self/oom_score_adj", _OOM_SCORE), *((e, "0") for e in entrances)]:
        with open(path, "w") as file:
            file.write(text)


def _keep_only(*kept: int) -> list[int]:
    """Close all descriptors but these, and return what has become of them."""
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _SPARE_FD) for fd in kept]
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.closerange(3, min(moved))
    os.closerange(max(moved) + 1, os.sysconf("SC_OPEN_MAX"))
    return moved


def keep(network: int, translation: Nat, *, on_ready: Callable[[], object]) -> NoReturn:
    """
    Connect a network namespace, and keep it connected until the translation ends.

    Args:
        network: Descriptor of the namespace.
        translation: What to connect it with.
        on_ready: Called when there is a way out.

    Raises:
        OSError: It cannot be connected, or the connection was lost; the text says why.
    """
    own = addresses.Addresses()
    owner = fcntl.ioctl(network, _NS_GET_USERNS)
    going, go = os.pipe2(os.O_CLOEXEC)
    ready, told = os.pipe2(os.O_CLOEXEC)
    target = Target(
        pid=os.getpid(),
        ready_fd=told,
        is_root=os.geteuid() == 0,
        versions=_ways_out(),
    )
    tool = _Tool.fork(lambda: _translate(going, go, translation, target), keeps=(going, told))
    _enter(owner, namespaces.NEW_USER)
    _enter(network, namespaces.NEW_NET)
    allowed = [ipaddress.ip_network(text) for text in translation.allowed]
    decided = list(reach.decisions(sorted(own.all(), key=str), allowed))
    firewall.install(decided, name_server=nat.NAME_SERVER)
    os.write(go, b"1" if _has_root() else b"0")
    is_ready = tool.wait_for(ready, until=time.monotonic() + _CONNECT_S_MAX)
    if not is_ready or not os.read(ready, 1):
        raise OSError(errno.ETIMEDOUT, f"{translation.tool} does not connect: {tool.words}")
    on_ready()
    while True:
        tool.wait_for(own.fileno())
        single = {network for network, _ in decided if network.num_addresses == 1}
        new = {form for each in own.new() for form in reach.notations(ipaddress.ip_network(each))}
        if new - single:
            firewall.refuse(sorted(new - single, key=str))
            decided += [(each, False) for each in new - single]


class _Tool:
    """The process of the translation, and what it says."""

    def __init__(self, pid: int, errors: int) -> None:
        self._end = os.pidfd_open(pid)
        self._errors = [errors]
        self.words = ""

    @classmethod
    def fork(cls, run: Callable[[], None], *, keeps: Sequence[int]) -> "_Tool":
        errors, theirs = os.pipe2(os.O_CLOEXEC)
        parent = os.getpid()
        pid = os.fork()
        if pid:
            for fd in (theirs, *keeps):
                os.close(fd)
            return cls(pid, errors)
        try:
            confine.prctl(confine.PR_SET_PDEATHSIG, int(signal.SIGKILL))
            if os.getppid() == parent:
                for fd in (1, 2):
                    os.dup2(theirs, fd)
                for number in (signal.SIGPIPE, signal.SIGXFSZ):
                    signal.signal(number, signal.SIG_DFL)  # ours ignores them, pasta objects
                run()
        except BaseException as error:
            os.write(theirs, f"{error}".encode())
        finally:
            os._exit(confine.FAILED)

    def wait_for(self, source: int, *, until: float = 0) -> bool:
        """
        Return when a descriptor can be read; False if that is not *until* then.

        Raises:
            OSError: The translation ended.
        """
        poll = select.poll()
        for fd in (source, self._end, *self._errors):
            poll.register(fd, select.POLLIN)
        while True:
            left_ms = max(until - time.monotonic(), 0) * 1000 if until else None
            ready = dict(poll.poll(left_ms))
            if self._errors and self._errors[0] in ready:
                if not self._listen():
                    poll.unregister(self._errors.pop())
            elif self._end in ready:
                raise OSError(errno.ECONNABORTED, f"the network translation ended: {self.words}")
            elif source in ready:
                return True
            elif not ready:
                return False

    def _listen(self) -> bool:
        said = os.read(self._errors[0], 4096)
        self.words = (self.words + said.decode(errors="replace"))[-_WORDS_BYTES_MAX:]
        return bool(said)


def _translate(going: int, go: int, translation: Nat, target: Target) -> None:
    os.close(go)
    answer = os.read(going, 1)
    if not answer:
        return
    if translation.tells_by_output:
        os.dup2(target.ready_fd, 1)
    os.set_inheritable(target.ready_fd, True)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_CONNECTIONS_MAX, _CONNECTIONS_MAX))
    argv = nat.command(translation, target, has_root=answer == b"1")
    os.execve(argv[0], argv, {"PATH": os.defpath})  # noqa: S606


def _enter(namespace: int, kind: int) -> None:
    libc = namespaces.libc
    namespaces.checked(libc.setns(ctypes.c_int(namespace), ctypes.c_int(kind)), "setns")


def _has_root() -> bool:
    """Whether the user namespace that we entered has a user and a group 0."""
    for kind in ("uid", "gid"):
        with open(f"/proc/self/{kind}_map") as file:
            if not any(line.split()[0] == "0" for line in file):
                return False
    return True


def _ways_out() -> set[int]:
    """Return the versions of IP with a default route."""
    found = set()
    with suppress(OSError), open("/proc/self/net/route") as file:
        for _, destination, *rest in map(str.split, file):
            if (destination, rest[5]) == ("00000000", "00000000"):
                found.add(4)
    with suppress(OSError), open("/proc/self/net/ipv6_route") as file:
        for line in file:
            destination, length, *_, name = line.split()
            if not int(destination, 16) and not int(length, 16) and name != "lo":
                found.add(6)
    return found
