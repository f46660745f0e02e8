"""
API keys as values. Standard library only.

Source: wire specification, "API keys".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from algorium.wire.reading import flag, inner, members, moment, needed, text, texts


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPermissions:
    """
    What a key may be used for.

    Attributes:
        allow_algo: Call algorithms.
        algo_acl: Which ones: `algo://*`, `algo://owner/*`, `algo://owner/name`; empty for all.
        allow_web_algo: Call them from web pages.
        referer_host: From pages of this host only; empty for any.
        allow_data: Read data.
        allow_data_write: Write data.
        allow_algo_management: Create, change and publish algorithms; manage the account.
    """

    allow_algo: bool = True
    algo_acl: tuple[str, ...] = ()
    allow_web_algo: bool = False
    referer_host: str = ""
    allow_data: bool = False
    allow_data_write: bool = False
    allow_algo_management: bool = False

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "KeyPermissions":
        """Read the object under `permissions`."""
        return cls(
            allow_algo=flag(told, "allow_algo"),
            algo_acl=texts(told, "algo_acl"),
            allow_web_algo=flag(told, "allow_web_algo"),
            referer_host=text(told, "referer_host"),
            allow_data=flag(told, "allow_data"),
            allow_data_write=flag(told, "allow_data_write"),
            allow_algo_management=flag(told, "allow_algo_management"),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the object as the wire has it."""
        return {
            "allow_algo": self.allow_algo,
            "algo_acl": list(self.algo_acl),
            "allow_web_algo": self.allow_web_algo,
            "referer_host": self.referer_host or None,
            "allow_data": self.allow_data,
            "allow_data_write": self.allow_data_write,
            "allow_algo_management": self.allow_algo_management,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyInfo:
    """
    An API key of a user or an organization.

    Attributes:
        key_id: Names it to the server.
        owner: Whose it is.
        label: What people call it.
        kind: `AlgorithmKey`, `ManagementKey` or `PlatformAdminKey`.
        mask: Its ends, to recognize it by.
        value: The key itself, in the answer that creates it; else empty. Never shown by `repr`.
        permissions: What it may be used for.
        created_at: When it was made, None if the server does not tell.
        expires_at: When it ends, None for never.
        last_used_at: To the minute, None for never.
    """

    key_id: str
    owner: str = ""
    label: str = ""
    kind: str = ""
    mask: str = ""
    value: str = field(default="", repr=False)
    permissions: KeyPermissions = KeyPermissions()
    created_at: datetime | None = None
    expires_at: datetime | None = None
    last_used_at: datetime | None = None

    @classmethod
    def from_json(cls, value: object) -> "KeyInfo":
        """
        Read a key.

        Raises:
            BodyError: It has no id.
        """
        told = members(value, "key")
        shown, mask = text(told, "api_key"), text(told, "api_key_mask")
        return cls(
            key_id=needed(told, "key_id", "key"),
            owner=text(told, "username"),
            label=text(told, "key_label"),
            kind=text(told, "key_type"),
            mask=mask,
            value=shown if shown != mask else "",
            permissions=KeyPermissions.from_json(inner(told, "permissions")),
            created_at=moment(told, "created_at"),
            expires_at=moment(told, "expires_at"),
            last_used_at=moment(told, "last_used_at"),
        )
