"""
The packet filter of one sandbox's network namespace, written to the kernel over netlink.

One table for each version of IP, with one chain that every packet passes on its way out:

    to the loopback device                     passes
    neighbour discovery (version 6)            passes
    to the name server of the translation      passes, on port 53
    to a network that was decided about        passes or is refused
    anything else                              passes

Refused means answered at once: a reset to TCP, "administratively prohibited" to the rest, so that
programs fail instead of waiting. A program that names its output device, in whichever way, skips
routes but not this filter. Nobody inside can change it: that takes `CAP_NET_ADMIN` in the user
namespace that owns the network.

Not `nft(8)`: it is not everywhere, and these few rules are fixed.

Source: Linux, `include/uapi/linux/netfilter/nf_tables.h` and `nfnetlink.h`; netlink(7).
"""

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Final

from algorium_server.engine.reach import Address, Network

Message = tuple[int, int, bytes]
"""Type, flags, content."""

_NETLINK_NETFILTER: Final = 12
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NF_TABLES: Final = 10
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE = (_NF_TABLES << 8 | number for number in (0, 3, 6))
_REQUEST, _ACK, _CREATE, _APPEND = 0x1, 0x4, 0x400, 0x800
_ERROR: Final = 2
_NESTED: Final = 0x8000
_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_ANSWER_BYTES_MAX: Final = 65_536
_ANSWER_S_MAX: Final = 5.0

_FAMILIES: Final = {4: 2, 6: 10}
_DESTINATION: Final = {4: (16, 4), 6: (24, 16)}
"""Offset and length of the address in the header of a packet."""
_TABLE, _CHAIN, _REFUSAL = b"algorium\0", b"out\0", b"refuse\0"
_LOCAL_OUT: Final = 3
_FILTER_PRIORITY: Final = 0
_LOOPBACK: Final = 1
"""Of each network namespace the first device."""
_TCP, _UDP, _ICMP_6 = 6, 17, 58
_NEIGHBOUR_DISCOVERY: Final = (133, 135, 136)
_DNS_PORT: Final = 53
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_OUTPUT_DEVICE, _PROTOCOL = 5, 16
_VERDICT, _REGISTER = 0, 1
_ACCEPT, _GOTO = 1, -4
_UNREACHABLE, _RESET = 0, 1
_PROHIBITED: Final = {4: 13, 6: 1}
"""As a code of ICMP."""


def install(decisions: Iterable[tuple[Network, bool]], *, name_server: Address) -> None:
    """
    Put the filter into the network namespace of this process, which must be able to change it.

    Raises:
        OSError: The kernel refuses, or has no such filter.
    """
    decided = tuple(decisions)
    batch: list[Message] = []
    for version in _FAMILIES:
        batch += _table(version)
        batch += _rules(version, decided, name_server)
    _send(batch)


def refuse(networks: Iterable[Network]) -> None:
    """
    Refuse some more, before anything else is looked at; for addresses this machine got since.

    Raises:
        OSError: The kernel refuses.
    """
    _send([_rule(each.version, _CHAIN, _to(each), _goto(), flags=0) for each in networks])


def _table(version: int) -> Iterator[Message]:
    yield _NEW_TABLE, _CREATE, _family(version) + _attribute(1, _TABLE)
    yield _NEW_CHAIN, _CREATE, _family(version) + _attribute(1, _TABLE) + _attribute(3, _REFUSAL)
    hook = _number(1, _LOCAL_OUT) + _number(2, _FILTER_PRIORITY)
    content = _attribute(1, _TABLE) + _attribute(3, _CHAIN) + _attribute(4 | _NESTED, hook)
    content += _number(5, _ACCEPT) + _attribute(7, b"filter\0")
    yield _NEW_CHAIN, _CREATE, _family(version) + content
    yield _rule(version, _REFUSAL, _protocol(_TCP), _reject(_RESET, 0))
    yield _rule(version, _REFUSAL, _reject(_UNREACHABLE, _PROHIBITED[version]))


def _rules(
    version: int, decided: Iterable[tuple[Network, bool]], name_server: Address
) -> Iterator[Message]:
    device = _expression(b"meta\0", _number(1, _REGISTER), _number(2, _OUTPUT_DEVICE))
    loopback = device + _equals(struct.pack("=I", _LOOPBACK))
    yield _rule(version, _CHAIN, loopback, _accept())
    if version == 6:
        for kind in _NEIGHBOUR_DISCOVERY:
            of_kind = _payload(_TRANSPORT_HEADER, 0, 1) + _equals(bytes([kind]))
            yield _rule(version, _CHAIN, _protocol(_ICMP_6), of_kind, _accept())
    if version == name_server.version:
        to_server = _payload(_NETWORK_HEADER, *_DESTINATION[version])
        to_server += _equals(name_server.packed)
        to_port = _payload(_TRANSPORT_HEADER, 2, 2) + _equals(struct.pack(">H", _DNS_PORT))
        for protocol in (_UDP, _TCP):
            yield _rule(version, _CHAIN, to_server, _protocol(protocol), to_port, _accept())
    for network, may_be_reached in decided:
        if network.version == version:
            verdict = _accept() if may_be_reached else _goto()
            yield _rule(version, _CHAIN, _to(network), verdict)


def _rule(version: int, chain: bytes, *expressions: bytes, flags: int = _APPEND) -> Message:
    """Return a message that appends a rule; without that flag it becomes the first one."""
    content = _attribute(1, _TABLE) + _attribute(2, chain)
    content += _attribute(4 | _NESTED, b"".join(expressions))
    return _NEW_RULE, _CREATE | flags, _family(version) + content


def _to(network: Network) -> bytes:
    offset, length = _DESTINATION[network.version]
    mask = _attribute(4 | _NESTED, _attribute(1, network.netmask.packed))
    nothing = _attribute(5 | _NESTED, _attribute(1, bytes(length)))
    masked = _expression(
        b"bitwise\0",
        _number(1, _REGISTER),
        _number(2, _REGISTER),
        _number(3, length),
        mask + nothing,
    )
    address = network.network_address.packed
    return _payload(_NETWORK_HEADER, offset, length) + masked + _equals(address)


def _payload(base: int, offset: int, length: int) -> bytes:
    where = _number(2, base) + _number(3, offset) + _number(4, length)
    return _expression(b"payload\0", _number(1, _REGISTER), where)


def _protocol(number: int) -> bytes:
    loaded = _expression(b"meta\0", _number(1, _REGISTER), _number(2, _PROTOCOL))
    return loaded + _equals(bytes([number]))


def _equals(value: bytes) -> bytes:
    wanted = _attribute(3 | _NESTED, _attribute(1, value))
    return _expression(b"cmp\0", _number(1, _REGISTER), _number(2, 0), wanted)


def _accept() -> bytes:
    return _verdict(_number(1, _ACCEPT))


def _goto() -> bytes:
    return _verdict(_attribute(1, struct.pack(">i", _GOTO)) + _attribute(2, _REFUSAL))


def _verdict(content: bytes) -> bytes:
    data = _attribute(2 | _NESTED, _attribute(2 | _NESTED, content))
    return _expression(b"immediate\0", _number(1, _VERDICT), data)


def _reject(kind: int, code: int) -> bytes:
    return _expression(b"reject\0", _number(1, kind), _attribute(2, bytes([code])))


def _expression(name: bytes, *content: bytes) -> bytes:
    data = _attribute(1, name) + _attribute(2 | _NESTED, b"".join(content))
    return _attribute(1 | _NESTED, data)


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack(">I", value))


def _attribute(kind: int, content: bytes) -> bytes:
    size = _ATTRIBUTE.size + len(content)
    return _ATTRIBUTE.pack(size, kind) + content + bytes(-size % 4)


def _family(version: int) -> bytes:
    return struct.pack("=BBH", _FAMILIES[version], 0, 0)


def _send(batch: list[Message]) -> None:
    """Send messages that take effect together or not at all."""
    subsystem = struct.pack("=BB", 0, 0) + struct.pack(">H", _NF_TABLES)
    *others, (kind, flags, content) = batch
    last = kind, flags | _ACK, content  # whatever goes wrong is told before it
    whole = [(_BATCH_BEGIN, 0, subsystem), *others, last, (_BATCH_END, 0, subsystem)]
    data = b"".join(
        _HEADER.pack(_HEADER.size + len(content), kind, flags | _REQUEST, number, 0) + content
        for number, (kind, flags, content) in enumerate(whole)
    )
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as kernel:
        kernel.settimeout(_ANSWER_S_MAX)
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(data))
        kernel.send(data)
        while not _is_acknowledged(kernel.recv(_ANSWER_BYTES_MAX)):
            pass


def _is_acknowledged(answer: bytes) -> bool:
    at = 0
    while at + _HEADER.size <= len(answer):
        size, kind, _, number, _ = _HEADER.unpack_from(answer, at)
        if kind == _ERROR:
            (negative,) = struct.unpack_from("=i", answer, at + _HEADER.size)
            if negative:
                reason = os.strerror(-negative)
                raise OSError(-negative, f"packet filter, message {number}: {reason}")
            return True
        at += max((size + 3) & ~3, _HEADER.size)
    return False
