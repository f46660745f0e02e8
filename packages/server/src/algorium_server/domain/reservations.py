"""
Reservations: how many slots of which version are kept warm for which account.

Names of the kinds of versions were never published, so they are read without regard to case,
dashes, underscores and spaces, in the words of the old service's pages as well.

Source: wire specification, "Reservations and work limits"; ambiguity E5.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.limits import SLOTS_PER_VERSION_MAX
from algorium_server.domain.versions import SpecKind, VersionSpec


class VersionType(StrEnum):
    """Which version of an algorithm is meant; the first three change with what is published."""

    LATEST_PUBLIC = "latest_public"
    LATEST_PRIVATE = "latest_private"
    LATEST = "latest"
    SEMANTIC = "semantic"
    HASH = "hash"


SPECIFIC: Final = frozenset({VersionType.SEMANTIC, VersionType.HASH})
"""Those that need an identifier."""

_SPELLINGS: Final = {
    "latestpublic": VersionType.LATEST_PUBLIC,
    "latestprivate": VersionType.LATEST_PRIVATE,
    "latest": VersionType.LATEST,
    "latestcompiled": VersionType.LATEST,
    "semantic": VersionType.SEMANTIC,
    "specificsemantic": VersionType.SEMANTIC,
    "hash": VersionType.HASH,
    "specifichash": VersionType.HASH,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """
    Slots that are kept warm.

    Attributes:
        account_id: For whom; slots are never shared between accounts, unless an author says so.
        version_identifier: A semantic version or a commit, as the kind of version needs it.
        num_slots: How many, on all gateways together.
        created_by: Name of the administrator.
    """

    reservation_id: str
    algorithm_id: str
    account_id: str
    version_type: VersionType
    version_identifier: str
    num_slots: int
    created_at: datetime
    created_by: str


def parse_version_type(text: str) -> VersionType:
    """
    Read a kind of version, however it is spelled.

    Raises:
        InvalidInput: There is no such kind.
    """
    plain = "".join(c for c in text.lower() if c not in "-_ ")
    found = _SPELLINGS.get(plain) or _SPELLINGS.get(plain.replace("version", ""))
    if found is None:
        known = ", ".join(VersionType)
        raise InvalidInput(f"version_type must be one of {known}, not {text[:100]!r}")
    return found


def check_identifier(version_type: VersionType, text: str) -> str:
    """
    Return the identifier of a version as it is kept: empty for kinds that need none.

    Raises:
        InvalidInput: It is none of that kind.
    """
    if version_type not in SPECIFIC:
        return ""
    spec = VersionSpec.parse(text.strip()) if text.strip() else None
    if version_type is VersionType.SEMANTIC:
        if spec is None or spec.kind is not SpecKind.EXACT:
            raise InvalidInput(
                f"version_identifier must be a version like 1.2.3, not {text[:100]!r}"
            )
        return f"{spec.exact}"
    if spec is None or spec.kind is not SpecKind.COMMIT:
        raise InvalidInput(
            f"version_identifier must be a commit of 40 hex digits, not {text[:100]!r}"
        )
    return spec.text


def check_slots(num_slots: int) -> int:
    """
    Return how many slots are to be kept.

    Raises:
        InvalidInput: That is no number of slots.
    """
    if not 1 <= num_slots <= SLOTS_PER_VERSION_MAX:
        raise InvalidInput(f"num_slots must be from 1 to {SLOTS_PER_VERSION_MAX}, not {num_slots}")
    return num_slots
