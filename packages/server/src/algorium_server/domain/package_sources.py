"""
Package sources: where builds of one account find packages that others do not get.

Passwords are no part of these values: they are sealed beside them, by the address they belong to.

Source: runtime design, "Environments"; wire specification of the runtime, "Builds".
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from algorium.wire.uris import DataUri, UriSyntaxError
from algorium_server.domain.connectors import check_address
from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.limits import (
    PACKAGE_CERTIFICATE_CHARS_MAX,
    PACKAGE_INDEXES_MAX,
    PACKAGE_SECRET_CHARS_MAX,
)

_PEM: Final = "-----BEGIN CERTIFICATE-----"
_PRINTABLE: Final = re.compile(r"[\x21-\x7e]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """
    An index or a proxy.

    Attributes:
        url: Without credentials, and without a slash at the end.
        username: Empty for none.
    """

    url: str
    username: str = ""

    @property
    def place(self) -> str:
        """Under what its password is kept."""
        return f"{self.username}@{self.url}"

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def path(self) -> str:
        """What follows them, without a slash at the end."""
        return urlsplit(self.url).path.rstrip("/")

    @property
    def key(self) -> str:
        """A short name for it, the same at all times."""
        return hashlib.sha256(self.place.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSources:
    """
    Where an account has packages.

    Attributes:
        indexes: The most important first: what the first one has is not looked for in others.
        replaces_others: Nothing comes from the server's indexes, or the public one.
        wheelhouse: A directory of the Data API with files of packages; empty for none.
        proxy: Through which the indexes are reached; None for directly.
        ca_certificate: Of whoever vouches for them, in PEM; empty for those that everybody trusts.
    """

    indexes: tuple[Address, ...] = ()
    replaces_others: bool = False
    wheelhouse: str = ""
    proxy: Address | None = None
    ca_certificate: str = ""

    def __bool__(self) -> bool:
        """Whether anything differs from what everybody has."""
        return bool(self.indexes or self.wheelhouse or self.replaces_others)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """All that a password can belong to."""
        return (*self.indexes, *([self.proxy] if self.proxy is not None else []))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSources:
    """
    The package sources of an account, as they are kept.

    Attributes:
        sealed: Passwords by place, as JSON, sealed.
    """

    owner_id: str
    sources: PackageSources
    sealed: bytes
    changed_at: datetime


def parse_address(
    url: str, *, username: str = "", password: str = "", what: str
) -> tuple[Address, str]:
    """
    Return an address without credentials, and its password.

    Args:
        url: May hold both; what is given beside it counts more.
        username: See `Address`.
        password: Empty for none.
        what: Names it in errors.

    Raises:
        InvalidInput: It is none.
    """
    parts = _parts(url.strip())
    if parts is None or parts.query or parts.fragment:
        raise InvalidInput(f"{what} must be an address such as https://packages.example.com/simple")
    user_info, _, host = parts.netloc.rpartition("@")
    name, _, secret = user_info.partition(":")
    bare = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
    check_address(bare, what, allow_http=True)
    username, password = username or unquote(name), password or unquote(secret)
    for text in (username, password):
        if len(text) > PACKAGE_SECRET_CHARS_MAX or not text.isprintable():
            raise InvalidInput(f"the credentials of {what} are not acceptable")
    return Address(url=bare, username=username), password


def _parts(url: str) -> SplitResult | None:
    if not _PRINTABLE.fullmatch(url):
        return None
    try:
        return urlsplit(url)
    except ValueError:  # half an address of IPv6
        return None


def check_sources(sources: PackageSources) -> None:
    """
    Do nothing if package sources can be kept.

    Raises:
        InvalidInput: Something about them is wrong.
    """
    if len(sources.indexes) > PACKAGE_INDEXES_MAX:
        raise InvalidInput(f"an account may have {PACKAGE_INDEXES_MAX} indexes")
    if len({index.key for index in sources.indexes}) < len(sources.indexes):
        raise InvalidInput("two indexes have the same address")
    if sources.wheelhouse:
        try:
            uri = DataUri.parse(sources.wheelhouse)
        except UriSyntaxError as error:
            raise InvalidInput(f"wheelhouse: {error}") from None
        if uri.protocol != "data" or not uri.segments:
            raise InvalidInput("wheelhouse must be a directory such as data://OWNER/wheels")
    certificate = sources.ca_certificate
    if certificate and (
        _PEM not in certificate or len(certificate) > PACKAGE_CERTIFICATE_CHARS_MAX
    ):
        raise InvalidInput(f"ca_certificate must be in PEM, beginning with {_PEM}")


def kept_secrets(
    new: PackageSources,
    old: PackageSources,
    *,
    given: Mapping[str, str],
    known: Mapping[str, str],
) -> dict[str, str]:
    """
    Return the passwords to keep, by place.

    Who reads package sources and writes them back has no passwords to give: those that are known
    for the very same place stay. But whoever may change where they go, or who vouches for that
    place, must not learn them so.

    Args:
        new: The sources that will be.
        old: Those that were.
        given: With the new ones.
        known: With the old ones.
    """
    if (new.proxy, new.ca_certificate) != (old.proxy, old.ca_certificate):
        known = {}
    places = [address.place for address in new.addresses]
    return {
        place: secret for place in places if (secret := given.get(place) or known.get(place, ""))
    }
