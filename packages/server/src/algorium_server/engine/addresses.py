"""
The addresses of this machine, and when it gets more: asked of the kernel over netlink.

Source: rtnetlink(7), netlink(7).
"""

import ipaddress
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from algorium_server.engine.reach import Address

_NETLINK_ROUTE: Final = 0
_GROUPS: Final = 0x10 | 0x100
"""Changes of addresses, of versions 4 and 6."""
_NEW_ADDRESS, _GET_ADDRESS = 20, 22
_DONE, _ERROR = 3, 2
_REQUEST, _DUMP = 0x1, 0x300
_HEADER: Final = struct.Struct("=IHHII")
_ADDRESS_HEADER: Final = struct.Struct("=BBBBI")
_ATTRIBUTE: Final = struct.Struct("=HH")
_ADDRESS, _LOCAL = 1, 2
_MESSAGE_BYTES_MAX: Final = 65_536
_ANSWER_S_MAX: Final = 5.0


class Addresses:
    """
    A connection to the kernel that knows the addresses of one network namespace.

    That is the namespace of the process that opened it, wherever the process goes later.
    """

    def __init__(self) -> None:
        self._kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE)
        self._kernel.bind((0, _GROUPS))

    def close(self) -> None:
        """Close it; idempotent."""
        self._kernel.close()

    def fileno(self) -> int:
        """Return what becomes readable when an address is new."""
        return self._kernel.fileno()

    def all(self) -> set[Address]:
        """
        Return the addresses this machine has; those of the loopback device, too.

        Raises:
            OSError: The kernel does not tell.
        """
        request = _ADDRESS_HEADER.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        size = _HEADER.size + len(request)
        head = _HEADER.pack(size, _GET_ADDRESS, _REQUEST | _DUMP, 1, 0)
        self._kernel.settimeout(_ANSWER_S_MAX)
        self._kernel.send(head + request)
        found: set[Address] = set()
        while True:
            for kind, content in _messages(self._kernel.recv(_MESSAGE_BYTES_MAX)):
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    raise OSError("the kernel does not tell this machine's addresses")
                found |= _addresses(kind, content)

    def new(self) -> set[Address]:
        """Return what was added since the last look; all of them when changes were missed."""
        found: set[Address] = set()
        self._kernel.setblocking(False)
        try:
            with suppress(BlockingIOError):
                while True:
                    for kind, content in _messages(self._kernel.recv(_MESSAGE_BYTES_MAX)):
                        found |= _addresses(kind, content)
        except OSError:  # more than there was room for
            return self.all()
        return found


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        size, kind, *_ = _HEADER.unpack_from(data, at)
        if size < _HEADER.size:
            return
        yield kind, data[at + _HEADER.size : at + size]
        at += (size + 3) & ~3


def _addresses(kind: int, content: bytes) -> set[Address]:
    """Return the address of one message; of a device that connects two, that of our end."""
    if kind != _NEW_ADDRESS:
        return set()
    by_kind = {}
    at = _ADDRESS_HEADER.size
    while at + _ATTRIBUTE.size <= len(content):
        size, attribute = _ATTRIBUTE.unpack_from(content, at)
        if size < _ATTRIBUTE.size:
            break
        by_kind[attribute] = content[at + _ATTRIBUTE.size : at + size]
        at += (size + 3) & ~3
    packed = by_kind.get(_LOCAL) or by_kind.get(_ADDRESS)
    return {ipaddress.ip_address(packed)} if packed else set()
