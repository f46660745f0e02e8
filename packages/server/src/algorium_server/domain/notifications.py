"""
Notifications: what happened to the algorithms of an account, told to those it concerns.

They are written with what they tell of, in the same transaction, for the owner or for everybody in
the owning organization. The newest ones of each account are kept for a while.

Source: wire specification, "Notifications, features, UI configuration".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from algorium_server.domain.errors import InvalidNotificationQuery, MissingEventTypes
from algorium_server.domain.limits import (
    NOTIFICATION_TYPES_ASKED_MAX,
    NOTIFICATIONS_PAGE_MAX,
    NOTIFICATIONS_PAGE_MAX_DEFAULT,
)


class NotificationType(StrEnum):
    """What happened; the values are the wire's."""

    CREATION = "algorithm-creation"
    RELEASE = "algorithm-release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """
    Something that an account is told.

    Attributes:
        account_id: Who is told.
        owner: Username of the algorithm's owner at that time.
        name: Of the algorithm.
        semantic_version: That was published; empty if none was.
        read_at: When it was marked as read.
    """

    notification_id: str
    account_id: str
    kind: NotificationType
    algorithm_id: str
    owner: str
    name: str
    semantic_version: str = ""
    created_at: datetime
    read_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedNotifications:
    """
    Which of an account's notifications somebody wants.

    Attributes:
        kinds: Of these types; names of others are fine, and have none.
        since: After this moment; None for all.
        limit: So many at most.
    """

    kinds: frozenset[NotificationType]
    since: datetime | None
    limit: int


def wanted_notifications(*, event_types: str, limit: str, since: str) -> WantedNotifications:
    """
    Read which notifications somebody wants.

    Args:
        event_types: Names, separated by commas.
        limit: A number in digits; empty for the default.
        since: RFC 3339; empty for all.

    Raises:
        MissingEventTypes: No type is named.
        InvalidNotificationQuery: *limit* or *since* is none, or there are too many types.
    """
    names = [name.strip() for name in event_types.split(",") if name.strip()]
    if not names:
        known = ", ".join(NotificationType)
        raise MissingEventTypes(f"event_types is missing: name one or more of {known}")
    if len(names) > NOTIFICATION_TYPES_ASKED_MAX:
        raise InvalidNotificationQuery(
            f"event_types may name {NOTIFICATION_TYPES_ASKED_MAX} types at most"
        )
    return WantedNotifications(kinds=_known(names), since=_moment(since), limit=_number(limit))


def _known(names: Iterable[str]) -> frozenset[NotificationType]:
    known = {kind.value: kind for kind in NotificationType}
    return frozenset(known[name] for name in names if name in known)


def _number(text: str) -> int:
    if not text:
        return NOTIFICATIONS_PAGE_MAX_DEFAULT
    if text.isascii() and text.isdigit() and len(text) < 5:
        number = int(text)
        if 1 <= number <= NOTIFICATIONS_PAGE_MAX:
            return number
    raise InvalidNotificationQuery(
        f"limit must be a number from 1 to {NOTIFICATIONS_PAGE_MAX}, not {text[:100]!r}"
    )


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    # A "+" in a query is a blank, and the sign of an offset is easily sent so.
    spelled = text.replace(" ", "+") if "T" in text else text
    try:
        moment = datetime.fromisoformat(spelled)
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return aware.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidNotificationQuery(
            f"since must be a time such as 2026-03-29T12:00:00Z, not {text[:100]!r}"
        ) from None
