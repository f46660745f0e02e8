"""
API keys: every operation once, as in `_flow.py`.

Source: wire specification, "API keys"; rotating and deleting are ours.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from algorium._account_flow import me, path_to
from algorium._algorithm_flow import json_request, read, read_list
from algorium._answers import check
from algorium._errors import AccountNotFound
from algorium._messages import Request
from algorium._retry import Flow
from algorium.wire.keys import KeyInfo, KeyPermissions


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose keys are meant; with neither, those of the caller."""

    user: str = ""
    organization: str = ""

    def __post_init__(self) -> None:
        if self.user and self.organization:
            raise ValueError("keys belong to a user or to an organization, not to both")

    def path(self, *rest: str) -> Flow[str]:
        """Return the path of the keys, or of something below."""
        if self.organization:
            return path_to("organizations", self.organization, "keys", *rest)
        user = self.user or (yield from me()).username
        return path_to("users", user, "keys", *rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyWish:
    """What a new key is to be; what is None is left to the server."""

    label: str = ""
    kind: str = "AlgorithmKey"
    permissions: KeyPermissions | None = None
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.expires_at is not None and self.expires_at.tzinfo is None:
            raise ValueError("expires_at needs a time zone: datetime.now(UTC) + timedelta(days=30)")

    @property
    def body(self) -> dict[str, Any]:
        """The wish as the wire spells it."""
        wanted: dict[str, Any] = {"key_type": self.kind, "key_label": self.label}
        if self.permissions is not None:
            wanted["permissions"] = self.permissions.to_json()
        if self.expires_at is not None:
            wanted["expires_at"] = self.expires_at
        return wanted


def keys(owner: Owner) -> Flow[list[KeyInfo]]:
    """
    Read the keys of an account, oldest first, without their values.

    Raises:
        AccountNotFound: There is no such account.
        NotAuthorized: The key at hand may not manage it.
    """
    response = yield Request(method="GET", path=(yield from owner.path()))
    check(response, missing=AccountNotFound)
    return read_list(response, KeyInfo.from_json)


def create(owner: Owner, wish: KeyWish) -> Flow[KeyInfo]:
    """Create a key; its value is in this answer, and in no other. Raises as `keys`."""
    response = yield json_request("POST", (yield from owner.path()), wish.body)
    check(response, missing=AccountNotFound)
    return read(response, KeyInfo.from_json)


def rotate(owner: Owner, key_id: str, grace_s: float | None) -> Flow[KeyInfo]:
    """
    Create a key that may the same as another one, which ends after a while.

    Raises:
        NotFound: There is no such key.
    """
    body = {} if grace_s is None else {"grace_seconds": grace_s}
    path = yield from owner.path(key_id, "rotate")
    response = yield json_request("POST", path, body)
    check(response)
    return read(response, KeyInfo.from_json)


def delete(owner: Owner, key_id: str) -> Flow[None]:
    """
    Delete a key.

    Raises:
        NotFound: There is none.
    """
    path = yield from owner.path(key_id)
    check((yield Request(method="DELETE", path=path)))


def bring(username: str, wish: KeyWish, value: str) -> Flow[KeyInfo]:
    """
    Create a key of a user whose value comes from elsewhere; for administrators.

    Raises:
        AlreadyExists: There is a key with this value.
    """
    body = {**wish.body, "api_key": value}
    response = yield json_request("POST", path_to("admin", "users", username, "keys"), body)
    check(response, missing=AccountNotFound)
    return read(response, KeyInfo.from_json)


def create_for_member(organization: str, username: str, wish: KeyWish) -> Flow[KeyInfo]:
    """Create a key of a member of an organization; for administrators."""
    path = path_to("organizations", organization, "members", username, "keys")
    response = yield json_request("POST", path, wish.body)
    check(response, missing=AccountNotFound)
    return read(response, KeyInfo.from_json)
