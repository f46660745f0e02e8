"""
What API keys may be: permissions, values, what is shown of them; and which key may make which.

Nobody makes a key that may more than the one that was shown: see `exceeds`.

Source: wire specification, "API keys".
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final

from algorium.wire.refs import is_name
from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.identity import (
    DEFAULT_KEY_PERMISSIONS,
    ApiKey,
    KeyKind,
    KeyPermissions,
)
from algorium_server.domain.limits import (
    KEY_ACL_ENTRIES_MAX,
    KEY_ACL_ENTRY_CHARS_MAX,
    KEY_GRACE_S_MAX,
    KEY_HOST_CHARS_MAX,
    KEY_LABEL_CHARS_MAX,
    KEY_SECRET_CHARS_MAX,
    KEY_SECRET_CHARS_MIN,
)
from algorium_server.domain.patterns import pattern_of
from algorium_server.domain.texts import check_text

DEFAULT_KEY_LABEL: Final = "default-key"

_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?")
_SECRET: Final = re.compile(r"[\x21-\x7e]+")
_MASK_ENDS_CHARS: Final = 4
_MASKABLE_CHARS_MIN: Final = 24
"""Of shorter values eight characters would be too much to show."""
_HIDDEN: Final = "\N{HORIZONTAL ELLIPSIS}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedKey:
    """
    A key as lists show it.

    Attributes:
        mask: Ends of its value, for people to recognize it.
        used_at: When it was used last, to the minute; None if it never was.
    """

    key: ApiKey
    mask: str = _HIDDEN
    used_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedKey:
    """What somebody says of a new key; None leaves a thing to its default."""

    kind: KeyKind = KeyKind.STANDARD
    label: str = ""
    permissions: KeyPermissions | None = None
    expires_at: datetime | None = None


def implied_permissions(label: str, kind: KeyKind) -> KeyPermissions:
    """Return what a key may do when nothing is said about that."""
    if label == DEFAULT_KEY_LABEL and kind is KeyKind.STANDARD:
        return DEFAULT_KEY_PERMISSIONS
    return KeyPermissions(allow_algo_management=kind is KeyKind.MANAGEMENT)


def check_permissions(permissions: KeyPermissions) -> KeyPermissions:
    """
    Return *permissions* if a key may have them.

    Raises:
        InvalidInput: A pattern is none, there are too many, or `referer_host` is no host.
    """
    if len(permissions.algo_acl) > KEY_ACL_ENTRIES_MAX:
        raise InvalidInput(f"algo_acl is limited to {KEY_ACL_ENTRIES_MAX} entries")
    for entry in permissions.algo_acl:
        _check_entry(entry)
    host = permissions.referer_host
    if host and (len(host) > KEY_HOST_CHARS_MAX or not _HOST.fullmatch(host)):
        raise InvalidInput(
            f"referer_host must be the host of a page, such as www.example.com, not {host[:100]!r}"
        )
    return permissions


def check_label(label: str) -> str:
    """Return *label* if a key may be called so; `InvalidInput` if it is too long or unprintable."""
    return check_text(label, "key_label", chars_max=KEY_LABEL_CHARS_MAX)


def check_secret(secret: str) -> str:
    """
    Return *secret* if it can be the value of a key.

    Raises:
        InvalidInput: Too short or too long, or it cannot stand in a header.
    """
    length = len(secret)
    if not KEY_SECRET_CHARS_MIN <= length <= KEY_SECRET_CHARS_MAX or not _SECRET.fullmatch(secret):
        raise InvalidInput(
            f"api_key must be {KEY_SECRET_CHARS_MIN} to {KEY_SECRET_CHARS_MAX} printable ASCII"
            " characters without spaces"
        )
    return secret


def check_expiry(expires_at: datetime | None, *, now: datetime) -> datetime | None:
    """
    Return when a new key expires.

    Raises:
        InvalidInput: That time is over.
    """
    if expires_at is not None and expires_at <= now:
        raise InvalidInput("expires_at must be in the future")
    return expires_at


def check_grace(grace_s: float) -> float:
    """Return how long an old value stays valid; `InvalidInput` if that is no useful time."""
    if not 0 <= grace_s <= KEY_GRACE_S_MAX:  # a NaN is refused, too
        raise InvalidInput(f"grace_seconds must be a number from 0 to {KEY_GRACE_S_MAX:.0f}")
    return grace_s


def mask_of(secret: str) -> str:
    """Return what lists show of a value."""
    shown = _MASK_ENDS_CHARS if len(secret) >= _MASKABLE_CHARS_MIN else _MASK_ENDS_CHARS // 2
    return f"{secret[:shown]}{_HIDDEN}{secret[-shown:]}"


def exceeds(wanted: ApiKey, shown: ApiKey) -> str:
    """
    Return what *wanted* could do that *shown* cannot, in words; empty if there is nothing.

    A key that is restricted in whatever way makes only keys that are restricted so as well; else
    whoever has it for a while could keep more than that for good.

    Args:
        wanted: The key that is to be made, or whose value would be told.
        shown: The key of whoever asks.
    """
    if wanted.kind is KeyKind.ADMIN:
        return "key_type PlatformAdminKey"
    for name in _FLAGS:
        if getattr(wanted.permissions, name) and not getattr(shown.permissions, name):
            return name
    if not _all_covered(wanted.permissions.algo_acl, shown.permissions.algo_acl):
        return "algo_acl"
    # Pages of any host could use it then, not only those of the one.
    host = shown.permissions.referer_host.lower()
    opens_web = wanted.permissions.allow_web_algo
    if opens_web and host and wanted.permissions.referer_host.lower() != host:
        return "referer_host"
    return "expires_at" if lives_longer(wanted, shown) else ""


def lives_longer(wanted: ApiKey, shown: ApiKey) -> bool:
    """Whether *wanted* could still be used when *shown* has ended."""
    if shown.expires_at is None:
        return False
    return wanted.expires_at is None or wanted.expires_at > shown.expires_at


_FLAGS: Final = tuple(
    field.name for field in fields(KeyPermissions) if field.name.startswith("allow_")
)


def _all_covered(wanted: Sequence[str], shown: Sequence[str]) -> bool:
    mine = [pattern for entry in shown if (pattern := pattern_of(entry)) is not None]
    patterns = (pattern_of(entry) for entry in wanted)
    return all(
        any(each.covers(pattern) for each in mine) for pattern in patterns if pattern is not None
    )


def _check_entry(entry: str) -> None:
    pattern = pattern_of(entry) if len(entry) <= KEY_ACL_ENTRY_CHARS_MAX else None
    if pattern is None or not all(is_name(part) for part in pattern if part):
        raise InvalidInput(
            f"{entry[:100]!r} is no entry of algo_acl: use algo://*, algo://owner/* or"
            " algo://owner/name"
        )
