"""
Which addresses a sandbox on the network may reach, decided without touching the system.

Everything that is not the public Internet is refused: private networks, this machine, link-local
addresses with the metadata service of clouds, multicast, and whatever stands for one of these in
another notation. An operator may allow some of it, for services of the own company.

    1  single addresses that the operator allowed      may be reached
    2  this machine's own addresses, public or not     are refused
    3  networks that the operator allowed              may be reached
    4  what is not public                              is refused
    5  the rest                                        may be reached

So allowing `10.0.0.0/8` does not open this machine, though it has an address in it.

Source: IANA, "IPv4/IPv6 Special-Purpose Address Registry"; RFC 3056, RFC 6052, RFC 8215.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NOT_PUBLIC_4: Final = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this host, to many systems
        "10.0.0.0/8",
        "100.64.0.0/10",  # behind a provider's translation
        "127.0.0.0/8",
        "168.63.129.16/32",  # public by number, but Azure's own service to its machines
        "169.254.0.0/16",  # link-local, with the metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",  # our translation's own network is one of these
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR: Final = ipaddress.IPv6Network("2002::/16")
_NOT_PUBLIC_6: Final = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "::/96",  # unspecified, loopback, and IPv4 in its oldest notation
        "::ffff:0:0/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/32",  # Teredo: IPv4 addresses, scrambled
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)


def parse_allowed(text: str) -> tuple[Network, ...]:
    """
    Read networks or addresses, separated by commas or spaces.

    Raises:
        ValueError: One is not a network, or one that can never be reached from a sandbox.
    """
    return tuple(_allowed(each) for each in text.replace(",", " ").split())


def _allowed(text: str) -> Network:
    network = ipaddress.ip_network(text)
    reachable = not network.is_loopback and not network.is_multicast and not network.is_unspecified
    if not reachable or network.prefixlen == 0:
        raise ValueError(f"{text} cannot be allowed: it is no network that has services for others")
    return network


def decisions(own: Iterable[Address], allowed: Iterable[Network]) -> Iterator[tuple[Network, bool]]:
    """
    Yield networks and whether they may be reached; the first that fits an address decides.

    Args:
        own: The addresses of this machine.
        allowed: What the operator allows.
    """
    allowed = tuple(allowed)
    single = [network for network in allowed if network.num_addresses == 1]
    for network in single:
        yield network, True
    for address in own:
        for form in notations(ipaddress.ip_network(address)):
            yield form, False
    for network in allowed:
        if network.num_addresses > 1:
            yield network, True
    for network in _NOT_PUBLIC_4:
        for form in notations(network):
            yield form, False
    for network in _NOT_PUBLIC_6:
        yield network, False


def notations(network: Network) -> Iterator[Network]:
    """Yield *network* and, of IPv4, what gateways on the way would make it of."""
    yield network
    if isinstance(network, ipaddress.IPv4Network):
        number, length = int(network.network_address), network.prefixlen
        yield _embedded(_NAT64, number, length)
        yield _embedded(_SIX_TO_FOUR, number, length)


def _embedded(prefix: ipaddress.IPv6Network, number: int, length: int) -> ipaddress.IPv6Network:
    shift = 128 - prefix.prefixlen - 32
    return ipaddress.IPv6Network(
        (int(prefix.network_address) | number << shift, prefix.prefixlen + length)
    )
