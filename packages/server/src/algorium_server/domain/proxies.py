"""
Where a request comes from that came through proxies.

A proxy opens connections of its own and says in a header for whom. Everybody can send that header,
so it counts only where a proxy that the operator named has opened the connection, and only as far
as it was written by such proxies: each one appends what it sees, so the list is read from its end.

    X-Forwarded-For: 6.6.6.6, 203.0.113.7, 10.0.0.2          connection from 10.0.0.3
                     |        |            |                 |
                     claimed  the caller   a named proxy     a named proxy

What is left of the caller anybody can have claimed. An entry that is no address ends the reading as
well: the caller is then the proxy that has written it, never what somebody made up.

A proxy passes on the headers that it does not know. So only one kind of header is read, the one
that the operator says the proxies write; a caller's own header of the other kind means nothing.

Source: RFC 7239; the headers `X-Forwarded-For` and `X-Forwarded-Proto` have no standard.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from algorium_server.domain.limits import PROXY_HOPS_MAX

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_SCHEMES: Final = frozenset({"http", "https"})
_FOR: Final = b"x-forwarded-for"
_PROTO: Final = b"x-forwarded-proto"
_FORWARDED: Final = b"forwarded"
_WORD: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PAIR: Final = re.compile(
    rf'[ \t]*({_WORD})=(?:({_WORD})|"((?:[^"\\\x00-\x1f\x7f]|\\[\t\x20-\x7e])*)")[ \t]*'
)
"""A parameter of `Forwarded`; between two there is nothing but what separates them."""
_PORT: Final = re.compile(r":(?:[0-9]{1,5}|_[0-9A-Za-z._-]+)")


class ProxyHeaders(StrEnum):
    """The kind of headers that proxies write."""

    X_FORWARDED = "x-forwarded"
    FORWARDED = "forwarded"


class Caller(NamedTuple):
    """
    What trusted proxies say of who sent a request.

    Attributes:
        address: In its usual notation; empty if they say nothing.
        scheme: `http` or `https`; empty if they say nothing.
    """

    address: str = ""
    scheme: str = ""


class _Hop(NamedTuple):
    """What one proxy has written: for whom, None if that is no address, and over which scheme."""

    address: Address | None
    scheme: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxies:
    """
    The proxies in front of the server; without networks there are none, and no header counts.

    Attributes:
        networks: Where they are.
        headers: What they write.
    """

    networks: tuple[Network, ...] = ()
    headers: ProxyHeaders = ProxyHeaders.X_FORWARDED

    def trusts(self, peer: str) -> bool:
        """Whether a connection from *peer*, an address, is that of a proxy."""
        if not self.networks:
            return False
        address = _address(peer)
        return address is not None and self._holds(address)

    def caller(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """
        Return what the headers of a request say that has come from one of the proxies.

        Args:
            headers: All of them, in their order, names in lower case.
        """
        if self.headers is ProxyHeaders.FORWARDED:
            return self._of_hops(_forwarded(_values(headers, _FORWARDED)))
        headers = tuple(headers)
        listed = _entries(_values(headers, _FOR))[-PROXY_HOPS_MAX:]
        caller = self._of_hops([_Hop(_node(each)) for each in listed])
        # Of several the nearest proxy's is the last; no caller writes behind it.
        schemes = _entries(_values(headers, _PROTO))
        scheme = schemes[-1].lower() if schemes else ""
        return Caller(caller.address, scheme if scheme in _SCHEMES else "")

    def _of_hops(self, hops: Sequence[_Hop]) -> Caller:
        found = Caller()
        for hop in reversed(hops[-PROXY_HOPS_MAX:]):
            if hop.address is None:
                break
            found = Caller(str(hop.address), hop.scheme)
            if not self._holds(hop.address):
                break
        return found

    def _holds(self, address: Address) -> bool:
        return any(
            address.version == network.version and address in network for network in self.networks
        )


NO_PROXIES: Final = Proxies()
"""Callers connect themselves."""


def parse_proxies(text: str) -> tuple[Network, ...]:
    """
    Read networks or addresses, separated by commas or spaces.

    Raises:
        ValueError: One is none, or is everybody.
    """
    return tuple(_network(each) for each in text.replace(",", " ").split())


def _network(text: str) -> Network:
    network = ipaddress.ip_network(text)
    if network.prefixlen == 0:
        raise ValueError(
            f"{text} is everybody, so everybody could claim any address; name the networks of your"
            " proxies"
        )
    return network


def _values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key == name]


def _entries(values: Iterable[str]) -> list[str]:
    """Return what several headers list, as if they were one: that is what they mean."""
    return [entry.strip(" \t") for value in values for entry in value.split(",")]


def _address(text: str) -> Address | None:
    """Read an address; one of IPv4 in the notation of IPv6 is one of IPv4."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        if found.scope_id is not None:
            return None  # of somebody's own link: it says nothing here
        return found.ipv4_mapped or found
    return found


def _node(text: str) -> Address | None:
    """Read an address with or without a port: `192.0.2.1:80`, `[2001:db8::1]:80`, `2001:db8::1`."""
    if text.startswith("["):
        inside, bracket, port = text[1:].partition("]")
        found = _address(inside) if bracket and (not port or _PORT.fullmatch(port)) else None
        return found if ":" in inside else None
    if text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _PORT.fullmatch(f":{port}"):
            return None
    return _address(text)


def _forwarded(values: Iterable[str]) -> list[_Hop]:
    """
    Return what `Forwarded` lists. What is not written as the standard says is no address.

    A quote that is never closed would swallow what the proxies behind have appended. So a value
    that cannot be read whole ends the reading, as an entry that is no address does.
    """
    hops: list[_Hop] = []
    for value in values:
        hops += _elements(value)
    return hops


def _elements(value: str) -> list[_Hop]:
    hops: list[_Hop] = []
    pairs: dict[str, str] = {}
    at = 0
    while True:
        match = _PAIR.match(value, at)
        if match is None:
            return [_Hop(None)]
        name = match[1].lower()
        if name in pairs:
            return [_Hop(None)]
        pairs[name] = match[2] if match[2] is not None else re.sub(r"\\(.)", r"\1", match[3])
        at = match.end()
        if at == len(value) or value[at] == ",":
            scheme = pairs.get("proto", "").lower()
            address = _node(pairs.get("for", ""))
            hops.append(_Hop(address, scheme if scheme in _SCHEMES else ""))
            pairs = {}
        elif value[at] != ";":
            return [_Hop(None)]
        if at == len(value):
            return hops
        at += 1
