"""The descriptors of one start: pipes and sockets whose one end goes inside, the other out."""

import fcntl
import os
import socket
import struct
from marshal import dumps
from typing import Any, Final, Self

from algorium_runtime import confine

_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_SOCKET_BUFFER_BYTES: Final = 2 * 1024 * 1024
"""Of both ends of a slot's socket: a megabyte passes without waiting for the other side."""


_CREDENTIALS: Final = struct.Struct("3i")
_DESCRIPTOR: Final = struct.Struct("i")


class Descriptors:
    """
    The descriptors of one start; all of ours are closed afterwards, whatever happened.

    Attributes:
        theirs: What the gateway gets.
    """

    def __init__(self) -> None:
        self.theirs: list[int] = []
        self._gate: socket.socket | None = None
        self._ours: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close them all; idempotent."""
        for fd in (*self._ours, *self.theirs):
            os.close(fd)
        if self._gate is not None:
            self._gate.close()
        self._ours.clear()
        self.theirs.clear()

    def open_for(
        self, plan: dict[str, Any], filter_fd: int, *, has_slot_socket: bool
    ) -> dict[int, int]:
        """Return number inside -> descriptor; what the gateway gets is in `theirs`."""
        inside = {confine.PLAN_FD: self.keep(memory_file("plan", dumps(plan)))}
        inside[confine.FILTER_FD] = filter_fd
        inside[confine.CHANNEL_FD] = self._pair(socket.SOCK_SEQPACKET)
        for number in (1, 2):
            reader, writer = os.pipe2(os.O_CLOEXEC)
            self.theirs.append(reader)
            inside[number] = self.keep(writer)
        if has_slot_socket:
            inside[confine.SLOT_FD] = self._pair(socket.SOCK_STREAM)
        if plan["has_gate"]:
            self._gate, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._gate.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            inside[confine.GATE_FD] = self.keep(theirs.detach())
        return inside

    def take_gate(self) -> socket.socket | None:
        """Return our end of the program's gate, if it waits for its network; ours no longer."""
        gate, self._gate = self._gate, None
        return gate

    def keep(self, fd: int) -> int:
        """Close *fd* with all others; returns it."""
        self._ours.append(fd)
        return fd

    def _pair(self, kind: socket.SocketKind) -> int:
        theirs, ours = socket.socketpair(socket.AF_UNIX, kind)
        if kind == socket.SOCK_STREAM:
            for end in (theirs, ours):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER_BYTES)
        else:  # the kernel then names the sender of each message, from the first one on
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.theirs.append(theirs.detach())
        return self.keep(ours.detach())


def memory_file(name: str, data: bytes) -> int:
    """
    Return a descriptor from which *data* can be read, and nothing else done, by whoever gets it.

    A filter of system calls goes to every sandbox: whoever could change it would change it for all.
    """
    fd = os.memfd_create(name, os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    os.write(fd, data)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    return fd


def receive_from(source: socket.socket, bytes_max: int) -> tuple[bytes, list[int], int]:
    """
    Receive a message from a socket that passes credentials.

    Returns:
        The message, the descriptors that came with it, and the pid of the process that sent it;
        0 if that is not told.
    """
    room = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(_DESCRIPTOR.size)
    data, ancillary, _, _ = source.recvmsg(bytes_max, room, socket.MSG_CMSG_CLOEXEC)
    descriptors: list[int] = []
    sender = 0
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors += (fd for (fd,) in _DESCRIPTOR.iter_unpack(content))
        elif level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            sender = _CREDENTIALS.unpack(content)[0]
    return data, descriptors, sender
