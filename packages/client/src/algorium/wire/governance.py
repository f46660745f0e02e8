"""
What accounts may use, and what was done, as values. Standard library only.

Source: ours; the old service had nothing like it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from algorium.wire.bodies import BodyError
from algorium.wire.reading import flag, inner, members, moment, needed, text


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaInfo:
    """
    How much of something an account may use, and does.

    Attributes:
        limit: How much at most, None for without a limit.
        used: How much it does, None if it is not counted.
        renews_at: When *used* begins anew, None if it does not by itself.
        is_default: Whether this is the limit of the server, not one of the account's own.
    """

    limit: float | None = None
    used: float | None = None
    renews_at: datetime | None = None
    is_default: bool = True

    @classmethod
    def from_json(cls, value: object) -> "QuotaInfo":
        """
        Read a quota.

        Raises:
            BodyError: It is not one.
        """
        told = members(value, "quota")
        return cls(
            limit=_number(told.get("limit")),
            used=_number(told.get("used")),
            renews_at=moment(told, "renews_at"),
            is_default=flag(told, "is_default"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountQuotas:
    """
    What an account may use.

    Attributes:
        account: Which one.
        account_id: Names it to the server.
        quotas: By their names, such as `calls_per_minute`.
    """

    account: str
    account_id: str = ""
    quotas: Mapping[str, QuotaInfo] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: object) -> "AccountQuotas":
        """
        Read an account's quotas.

        Raises:
            BodyError: It has no name.
        """
        told = members(value, "quotas")
        found = inner(told, "quotas").items()
        return cls(
            account=needed(told, "account", "quotas"),
            account_id=text(told, "account_id"),
            quotas={name: QuotaInfo.from_json(each) for name, each in found},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """
    Something that was done, or tried.

    Attributes:
        number: Its place in the log.
        at: When.
        actor: Who, empty for the server itself.
        behalf: For which other account, or empty.
        key_id: The key that was shown, or empty.
        action: What, such as `member.role_changed`.
        target: To what, such as `member:acme/joe`.
        outcome: `done`, `denied` or `failed`.
        request_id: Of the request, or empty.
        address: From where, if you may see it.
        detail: What else there is to know.
    """

    number: int
    at: datetime | None = None
    actor: str = ""
    behalf: str = ""
    key_id: str = ""
    action: str = ""
    target: str = ""
    outcome: str = ""
    request_id: str = ""
    address: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: object) -> "AuditEntry":
        """
        Read an entry.

        Raises:
            BodyError: It has no number or no action.
        """
        told = members(value, "entry")
        number = told.get("number")
        if not isinstance(number, int):
            raise BodyError("entry: no number")
        return cls(
            number=number,
            at=moment(told, "at"),
            actor=text(told, "actor"),
            behalf=text(told, "behalf"),
            key_id=text(told, "key_id"),
            action=needed(told, "action", "entry"),
            target=text(told, "target"),
            outcome=text(told, "outcome"),
            request_id=text(told, "request_id"),
            address=text(told, "address"),
            detail=inner(told, "detail"),
        )


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
