"""
Where builds of an account find packages of its own, as values. Standard library only.

Source: runtime design, "Environments".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from algorium.wire.bodies import BodyError
from algorium.wire.reading import flag, members, needed, text


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageAddress:
    """
    A package index, or a proxy.

    Attributes:
        url: Where it is.
        username: For it, or empty.
        password: For it; only ever sent. Left out, the one that the server has for it stays.
        has_password: Whether the server has one.
    """

    url: str
    username: str = ""
    password: str = field(default="", repr=False)
    has_password: bool = False

    @classmethod
    def from_json(cls, value: object) -> "PackageAddress":
        """
        Read an address.

        Raises:
            BodyError: It has no URL.
        """
        told = members(value, "address")
        return cls(
            url=needed(told, "url", "address"),
            username=text(told, "username"),
            has_password=flag(told, "has_password"),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as it is sent."""
        return {"url": self.url, "username": self.username, "password": self.password}


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSourcesInfo:
    """
    Where builds of an account find packages of its own.

    Attributes:
        indexes: Asked beside the server's, the first one first.
        replaces_others: They are asked instead of the server's.
        wheelhouse: Data URI of a directory with wheels, or empty.
        proxy: On the way to all of them, None for none.
        ca_certificate: PEM to trust beside the usual ones, or empty.
    """

    indexes: tuple[PackageAddress, ...] = ()
    replaces_others: bool = False
    wheelhouse: str = ""
    proxy: PackageAddress | None = None
    ca_certificate: str = ""

    @classmethod
    def from_json(cls, value: object) -> "PackageSourcesInfo":
        """
        Read them.

        Raises:
            BodyError: They are none.
        """
        told = members(value, "package sources")
        indexes, proxy = told.get("indexes"), told.get("proxy")
        if not isinstance(indexes, list):
            raise BodyError("package sources: no indexes")
        return cls(
            indexes=tuple(map(PackageAddress.from_json, indexes)),
            replaces_others=flag(told, "replaces_others"),
            wheelhouse=text(told, "wheelhouse"),
            proxy=PackageAddress.from_json(proxy) if proxy is not None else None,
            ca_certificate=text(told, "ca_certificate"),
        )

    def to_json(self) -> Mapping[str, Any]:
        """Return them as they are sent."""
        return {
            "indexes": [each.to_json() for each in self.indexes],
            "replaces_others": self.replaces_others,
            "wheelhouse": self.wheelhouse,
            "proxy": self.proxy.to_json() if self.proxy is not None else None,
            "ca_certificate": self.ca_certificate,
        }
