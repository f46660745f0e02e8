"""
Which endpoints connectors may be pointed at.

Users choose endpoints, and the server sends requests there from where it stands: inside, where its
own services and those of its neighbours trust whoever can reach them. The libraries that send these
requests trust the endpoint, too: they follow where it redirects them, and read its errors whole. So
an endpoint is one of the providers' own, or one that the operator vouches for:

    10.1.0.0/16  10.1.2.3      a network, an address
    127.0.0.1:9000  [::1]:80   a port of an address
    minio.example.com:9000     a host by its name, with or without a port
    *.example.com              all hosts below a name
    public                     whatever has public addresses only

A name can mean another address a moment later. Over TLS that gains nobody anything: a service that
was not meant has no certificate for the name. Plain HTTP goes to allowed places only, and to the
address that was looked at, whatever the name means by then.
"""

import asyncio
import ipaddress
import re
import socket
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from algorium_server.domain.connectors import host_of
from algorium_server.domain.errors import InvalidInput
from algorium_server.engine.addresses import Addresses
from algorium_server.engine.reach import Address, Network, decisions

# Only names below which nobody can put a service of their own.
_PROVIDERS: Final = re.compile(
    r"s3\.amazonaws\.com"
    r"|s3[.-](?:dualstack\.|fips\.)?[a-z]{2}(?:-[a-z]+)+-\d\.amazonaws\.com(?:\.cn)?"
    r"|storage\.googleapis\.com"
    r"|[a-z0-9]{3,24}\.blob\.core\.(?:windows\.net|chinacloudapi\.cn|usgovcloudapi\.net)"
)
_HOST: Final = re.compile(r"(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*")
_PUBLIC: Final = "public"


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedPlace:
    """
    What an operator allows.

    Attributes:
        network: Addresses; None if it is about a name.
        host: A name in lower case, maybe with `*.` in front; `public` for all public addresses.
        port: Only this one; None for all.
    """

    network: Network | None = None
    host: str = ""
    port: int | None = None

    def holds(self, address: Address, port: int) -> bool:
        """Whether an address and a port are among what is allowed."""
        network = self.network
        is_in = network is not None and address.version == network.version and address in network
        return is_in and self.port in {None, port}

    def names(self, host: str, port: int) -> bool:
        """Whether a host is allowed by its name."""
        if not self.host or self.host == _PUBLIC or self.port not in {None, port}:
            return False
        return host.endswith(self.host[1:]) if self.host.startswith("*.") else host == self.host


PUBLIC_PLACES: Final = (AllowedPlace(host=_PUBLIC),)
"""Whatever has public addresses only: what sandboxes on the network may reach as well."""


def parse_places(text: str) -> tuple[AllowedPlace, ...]:
    """
    Read what an operator allows, separated by commas or spaces; the forms are above.

    Raises:
        ValueError: One has none of them.
    """
    return tuple(_place(each) for each in text.replace(",", " ").split())


class Reach:
    """
    Decides about endpoints.

    Args:
        allowed: What the operator allows beside the providers' own.
    """

    def __init__(self, allowed: tuple[AllowedPlace, ...] = ()) -> None:
        self._allowed = allowed
        self._is_public_open = any(place.host == _PUBLIC for place in allowed)

    async def checked(self, endpoint: str) -> str:
        """
        Return the address to send requests to for an endpoint.

        Raises:
            InvalidInput: It may not be reached, or its name means nothing.
        """
        host, port = host_of(endpoint)
        host = host.lower()
        is_plain = endpoint.startswith("http://")
        if not is_plain and port == 443 and _PROVIDERS.fullmatch(host):
            return endpoint
        is_named = any(place.names(host, port) for place in self._allowed)
        if is_named and not is_plain:
            return endpoint
        try:
            found = await self._addresses(host, port)
        except InvalidInput:
            if is_named or self._is_public_open:
                raise
            # Else users could ask which names there are inside.
            raise _refused(host, is_plain=is_plain) from None
        for address in found:
            is_allowed = is_named or any(place.holds(address, port) for place in self._allowed)
            is_open = self._is_public_open and not is_plain and self._is_public(address)
            if not is_allowed and not is_open:
                raise _refused(host, is_plain=is_plain)
        if not is_plain:
            return endpoint
        literal = f"[{found[0]}]" if found[0].version == 6 else str(found[0])
        return endpoint.replace(endpoint.split("/")[2], f"{literal}:{port}", 1)

    def _is_public(self, address: Address) -> bool:
        with closing(Addresses()) as kernel:
            own = kernel.all()
        for network, is_open in decisions(own, ()):
            if address.version == network.version and address in network:
                return is_open
        return True

    async def _addresses(self, host: str, port: int) -> list[Address]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            return [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found]
        except (OSError, UnicodeError, ValueError):
            raise InvalidInput(f"the endpoint {host} has no address") from None


def _place(text: str) -> AllowedPlace:
    if text == _PUBLIC:
        return AllowedPlace(host=_PUBLIC)
    host, colon, port = text.rpartition(":")
    is_address_6 = text.count(":") > 1 and not text.startswith("[")
    if not colon or is_address_6 or text.endswith("]"):
        host, port = text, ""
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{text} has no valid port")
    number = int(port) if port else None
    # A name has a letter in its last part; all else must be an address.
    if re.search(r"[a-z][a-z0-9-]*$", host.lower()) and ":" not in host:
        if not _HOST.fullmatch(host.lower()):
            raise ValueError(f"{text} is no name of a host")
        return AllowedPlace(host=host.lower(), port=number)
    network = ipaddress.ip_network(host.strip("[]"))
    if network.is_multicast or network.prefixlen == 0:
        raise ValueError(f"{text} cannot be allowed: it is no network that has services")
    if number is not None and network.num_addresses != 1:
        raise ValueError(f"{text}: a port belongs to a single address")
    return AllowedPlace(network=network, port=number)


def _refused(host: str, *, is_plain: bool) -> InvalidInput:
    how = " over http" if is_plain else ""
    return InvalidInput(
        f"the endpoint {host} may not be reached{how}",
        hint="The operator can allow it with --connector-allow.",
    )
