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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Final, NamedTuple

from algorium_server.domain.limits import PROXY_HOPS_MAX

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_SCHEMES: Final = frozenset({"http", "https"})
_FOR: Final = b"x-forwarded-for"
_PROTO: Final = b"x-forwarded-proto"
_FORWARDED: Final = b"forwarded"
_WORD: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED: Final = r'"((?:[^"\\\x00-\x1f\x7f]|\\[\t\x20-\x7e])*+)"'
_PAIR: Final = re.compile(rf"[ \t]*+({_WORD})=(?:({_WORD})|{_QUOTED})[ \t]*+")
"""A parameter of `Forwarded`. Nothing is matched in a second way, so this takes linear time."""
_ELEMENT: Final = re.compile(rf"(?:{_PAIR.pattern};)*+{_PAIR.pattern}")
_MAPPED_BITS: Final = 96
"""In front of an address of IPv4 that is written as one of IPv6."""
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
        listed = _entries(_values(headers, _FOR))
        caller = self._of_hops(_Hop(_node(each)) for each in reversed(listed))
        # Of several the nearest proxy's is the last; no caller writes behind it.
        schemes = _entries(_values(headers, _PROTO))
        scheme = schemes[-1].lower() if schemes else ""
        return Caller(caller.address, scheme if scheme in _SCHEMES else "")

    def _of_hops(self, hops: Iterable[_Hop]) -> Caller:
        """Return the caller; *hops* are the nearest first, and taken only as far as needed."""
        found = Caller()
        for hop in islice(hops, PROXY_HOPS_MAX):
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
        ValueError: One is none, or all together are everybody.
    """
    networks = tuple(_network(each) for each in text.replace(",", " ").split())
    together: tuple[Network, ...] = (
        *ipaddress.collapse_addresses(n for n in networks if isinstance(n, ipaddress.IPv4Network)),
        *ipaddress.collapse_addresses(n for n in networks if isinstance(n, ipaddress.IPv6Network)),
    )
    for whole in together:
        if whole.prefixlen == 0:
            raise ValueError(
                f"{whole} is everybody, so everybody could claim any address; name the networks of"
                " your proxies"
            )
    return networks


def _network(text: str) -> Network:
    """Read a network; one of IPv4 in the notation of IPv6 is one of IPv4, as with addresses."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        meant = ipaddress.ip_network(text, strict=False)  # fails for what is none at all
        raise ValueError(f"{text} is no network; did you mean {meant}?") from None
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= _MAPPED_BITS:
        return ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
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


def _forwarded(values: Sequence[str]) -> Iterator[_Hop]:
    """Yield what `Forwarded` lists, the last first."""
    for value in reversed(values):
        yield from _elements_from_end(value)


def _elements_from_end(value: str) -> Iterator[_Hop]:
    """
    Yield the elements of a value, the last first. One that is not as the standard has it ends them.

    An element begins at the nearest comma from which all is well formed up to its end. So a comma
    in quotes does not cut it, and what a caller has sent in front of it, such as a quote that is
    never closed, takes nothing away from what a proxy has written.
    """
    end = len(value)
    while end >= 0:
        start = end
        element = None
        while element is None:
            if start < 0:
                yield _Hop(None)
                return
            start = value.rfind(",", 0, start)
            element = _ELEMENT.fullmatch(value, start + 1, end)
        yield _hop(element[0])
        end = start


def _hop(element: str) -> _Hop:
    pairs: dict[str, str] = {}
    for pair in _PAIR.finditer(element):
        name = pair[1].lower()
        if name in pairs:
            return _Hop(None)
        pairs[name] = pair[2] if pair[2] is not None else re.sub(r"\\(.)", r"\1", pair[3])
    scheme = pairs.get("proto", "").lower()
    return _Hop(_node(pairs.get("for", "")), scheme if scheme in _SCHEMES else "")
