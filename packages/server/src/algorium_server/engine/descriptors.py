"""The descriptors of one start: pipes and sockets whose one end goes inside, the other out."""

import os
import socket
from marshal import dumps
from typing import Any, Final, Self

from algorium_runtime import confine

_SOCKET_BUFFER_BYTES: Final = 2 * 1024 * 1024
"""Of both ends of a slot's socket: a megabyte passes without waiting for the other side."""


class Descriptors:
    """The descriptors of one start; all of ours are closed afterwards, whatever happened."""

    def __init__(self) -> None:
        self.theirs: list[int] = []
        self._ours: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in (*self._ours, *self.theirs):
            os.close(fd)

    def open_for(
        self, plan: dict[str, Any], filter_fd: int, *, has_slot_socket: bool
    ) -> dict[int, int]:
        """Return number inside -> descriptor; what the gateway gets is in `theirs`."""
        inside = {confine.PLAN_FD: self._keep(memory_file("plan", dumps(plan)))}
        inside[confine.FILTER_FD] = filter_fd
        inside[confine.CHANNEL_FD] = self._pair(socket.SOCK_SEQPACKET)
        for number in (1, 2):
            reader, writer = os.pipe2(os.O_CLOEXEC)
            self.theirs.append(reader)
            inside[number] = self._keep(writer)
        if has_slot_socket:
            inside[confine.SLOT_FD] = self._pair(socket.SOCK_STREAM)
        return inside

    def _keep(self, fd: int) -> int:
        self._ours.append(fd)
        return fd

    def _pair(self, kind: socket.SocketKind) -> int:
        theirs, ours = socket.socketpair(socket.AF_UNIX, kind)
        for end in (theirs, ours) if kind == socket.SOCK_STREAM else ():
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER_BYTES)
        self.theirs.append(theirs.detach())
        return self._keep(ours.detach())


def memory_file(name: str, data: bytes) -> int:
    """Return a descriptor from which *data* can be read, by whoever gets it."""
    fd = os.memfd_create(name)
    os.write(fd, data)
    return fd
