"""
Whether a slot that a zygote forked is what it should be, as the kernel says it.

What is asked cannot be taken back by the slot, and nothing of an author has run yet. The program
waits until we are done; it does so only once its ancestors have left or closed what they had.

    who       the program's parent is the init of a process namespace below the zygote's, and the
              keeper its parent; nobody else is in that namespace, and both have one thread
    rights    no capabilities in either; the program cannot gain any, and is under one filter of
              system calls more than the zygote
    places    namespaces that neither the zygote nor another slot is in; the listener is in there
    ties      the init has nothing open, the program what we gave it, neither has memory that
              another process could write to

The last is for zygotes that are hostile: whoever shares something with them could carry what one
caller says to the next one.

Source: proc_pid_status(5), namespaces(7), pidfd_open(2), netdevice(7).
"""

import fcntl
import os
import select
import signal
import socket
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from algorium_runtime import guard
from algorium_server.engine import processes
from algorium_server.engine.sandbox import API_PORT

_KINDS: Final = ("user", "mnt", "pid", "net", "ipc", "uts")
_CAPABILITIES: Final = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
_DEPTH: Final = 2
"""Process namespaces below ours: the zygote's, and in it the slot's."""
_NS_GET_PARENT: Final = 0xB702
_SIOCGSKNS: Final = 0x894C
_SECCOMP_FILTER: Final = "2"
_EXIT_MS: Final = 50
"""For a process that has closed everything to be gone; more only if it is no process of ours."""


class Nonsense(Exception):
    """A zygote or a slot that it forked did not do what it should; the text says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Born:
    """
    A slot that a zygote forked, as the kernel knows it.

    Attributes:
        root: First process of its process namespace: what dies with it, and it with that.
        handle: Descriptor of *root*, which names it even when its number is another's.
        number_inside: *root* as the keeper knows it.
        program: The process that runs the algorithm.
        namespaces: Inode of each of its namespaces.
    """

    root: int
    handle: int
    number_inside: int
    program: int
    namespaces: dict[str, int]

    def kill(self) -> None:
        """Kill it with everything in it, if it still is."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    def hide(self, number: int) -> None:
        """Tell the init by this signal that we have looked at it, and nobody else shall."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, number)

    def close(self) -> None:
        """Forget it."""
        os.close(self.handle)

    def is_alive(self) -> bool:
        """Whether nobody has collected it yet."""
        try:
            signal.pidfd_send_signal(self.handle, 0)
        except ProcessLookupError:
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """
    What is known of a zygote.

    Attributes:
        keeper: The init of its sandbox.
        namespace: Inode of its process namespace.
        namespaces: Of all that slots must not share with it.
        filters: How many filters of system calls it is under.
        number_inside: The zygote in its own process namespace.
    """

    keeper: int
    namespace: int
    namespaces: frozenset[int]
    filters: int
    number_inside: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """
    What a slot must be like.

    Attributes:
        parent: Its zygote.
        first: Descriptor of the process that made its namespaces, and must be gone.
        descriptors: Inode of what is open in the program, by number; 0 is the null device.
        has_listener: Whether it must have handed one out.
        taken: Asked for the namespaces of all others.
    """

    parent: Parent
    first: int
    descriptors: Mapping[int, int]
    has_listener: bool
    taken: Callable[[], set[int]]


def look_at_zygote(pid: int) -> Parent:
    """
    Return what slots of a zygote are compared with.

    Raises:
        OSError: It is gone.
        ValueError: The kernel does not tell enough.
    """
    status = _status(pid)
    return Parent(
        keeper=int(status["PPid"]),
        namespace=_inode(pid, "pid"),
        namespaces=frozenset(_inode(pid, kind) for kind in _KINDS),
        filters=_filters(status),
        number_inside=int(status["NSpid"].split()[-1]),
    )


def number_inside(pid: int, *, namespace: int) -> int:
    """
    Return the number of a process in the process namespace of that inode.

    Raises:
        OSError: It is gone.
        Nonsense: It is not in there.
    """
    if _inode(pid, "pid") != namespace:
        raise Nonsense("the slot is not the zygote's child")
    return int(_status(pid)["NSpid"].split()[-1])


def attest(program: int, listener: socket.socket | None, expected: Expected) -> Born:
    """
    Return the slot whose program says that it is ready, if it is.

    Raises:
        Nonsense: It is not; the text says what is wrong.
    """
    handle = None
    try:
        root = int(_status(program)["PPid"])
        handle = os.pidfd_open(root)
        born = Born(
            root=root,
            handle=handle,
            number_inside=_check_root(root, expected),
            program=program,
            namespaces={kind: _inode(program, kind) for kind in _KINDS},
        )
        _check_company(born, expected)
        _check_rights(born, expected)
        _check_places(born, expected)
        _check_ties(born, expected)
        if expected.has_listener:
            _check_listener(listener, born)
        if int(_status(program)["PPid"]) != root or not born.is_alive():
            raise Nonsense("the slot ended while it was looked at")
    except BaseException as error:
        if handle is not None:
            os.close(handle)
        if isinstance(error, OSError | ValueError | KeyError):
            raise Nonsense(f"the slot cannot be looked at: {error}") from error
        raise
    return born


def _check_root(root: int, expected: Expected) -> int:
    """Make sure that *root* is the init of a process namespace in the zygote's own."""
    leaving = select.poll()
    leaving.register(expected.first, select.POLLIN)
    if not leaving.poll(_EXIT_MS):
        raise Nonsense("the slot's first process stays")
    status = _status(root)
    numbers = [int(number) for number in status["NSpid"].split()]
    if len(numbers) != _DEPTH + 1 or numbers[-1] != 1:
        raise Nonsense("the slot's parent is not an init")
    if int(status["PPid"]) != expected.parent.keeper:
        raise Nonsense("the slot's init is not the keeper's child")
    with open(f"/proc/{root}/ns/pid") as opened:
        parent = fcntl.ioctl(opened, _NS_GET_PARENT)
        try:
            if os.fstat(parent).st_ino != expected.parent.namespace:
                raise Nonsense("the slot's processes are not in the zygote's namespace")
        finally:
            os.close(parent)
    return numbers[-2]


def _check_company(born: Born, expected: Expected) -> None:
    """
    Make sure that the init and the program are alone.

    Whoever else came into their process namespace was forked before the init or by one of the two,
    and has lost its parent to the keeper or to the init.
    """
    if processes.children(born.root) != [born.program] or processes.children(born.program):
        raise Nonsense("the slot has more processes than it should")
    for pid in processes.children(expected.parent.keeper):
        if pid != born.root:
            with suppress(OSError):  # gone meanwhile
                if _inode(pid, "pid") == born.namespaces["pid"]:
                    raise Nonsense("the slot has more processes than it should")
    for pid in (born.root, born.program):
        if len(os.listdir(f"/proc/{pid}/task")) != 1:
            raise Nonsense("the slot has threads")


def _check_rights(born: Born, expected: Expected) -> None:
    init, program = _status(born.root), _status(born.program)
    if any(int(program[name], 16) for name in _CAPABILITIES) or int(init["CapPrm"], 16):
        raise Nonsense("the slot has capabilities left")
    if program["NoNewPrivs"] != "1" or _filters(program) <= expected.parent.filters:
        raise Nonsense("the slot has no filter of system calls of its own")


def _check_places(born: Born, expected: Expected) -> None:
    own = born.namespaces
    if own["pid"] != _inode(born.root, "pid"):
        raise Nonsense("the slot's program is not in its process namespace")
    if expected.taken() & set(own.values()) or len(set(own.values())) != len(_KINDS):
        raise Nonsense("the slot shares a namespace")


def _check_ties(born: Born, expected: Expected) -> None:
    found = {int(name) for name in os.listdir(f"/proc/{born.program}/fd")}
    if found != {0, *expected.descriptors} or os.listdir(f"/proc/{born.root}/fd"):
        raise Nonsense("the slot has something open that it was not given")
    opened = {number: os.stat(f"/proc/{born.program}/fd/{number}") for number in found}
    null = os.stat(os.devnull).st_rdev
    is_null = stat.S_ISCHR(opened[0].st_mode) and opened[0].st_rdev == null
    if not is_null or any(
        opened[number].st_ino != inode for number, inode in expected.descriptors.items()
    ):
        raise Nonsense("the slot has something else open than it was given")
    if guard.shares_memory(born.root) or guard.shares_memory(born.program):
        raise Nonsense(f"the slot {guard.SHARED_MEMORY}")


def _check_listener(listener: socket.socket | None, born: Born) -> None:
    """What listens for the platform's API must be inside: to reach it is to be that slot."""
    if listener is None:
        raise Nonsense("the slot has no listener")
    kind = (listener.family, listener.type, listener.proto)
    is_tcp = kind == (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if not is_tcp or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise Nonsense("the slot's listener does not listen")
    network = fcntl.ioctl(listener, _SIOCGSKNS)
    try:
        is_inside = os.fstat(network).st_ino == born.namespaces["net"]
    finally:
        os.close(network)
    if not is_inside or listener.getsockname() != ("127.0.0.1", API_PORT):
        raise Nonsense("the slot's listener is not inside")


def _status(pid: int) -> dict[str, str]:
    with open(f"/proc/{pid}/status", errors="replace") as file:
        pairs = (line.partition(":") for line in file)
        return {name: value.strip() for name, _, value in pairs}


def _filters(status: dict[str, str]) -> int:
    """Return how many filters of system calls a process is under; older kernels tell only if."""
    return int(status.get("Seccomp_filters", status["Seccomp"] == _SECCOMP_FILTER))


def _inode(pid: int, kind: str) -> int:
    return os.stat(f"/proc/{pid}/ns/{kind}").st_ino
