"""What users are told: `client.notifications`."""

from collections.abc import Sequence
from datetime import datetime

from algorium import _operation_flow
from algorium._transport import AsyncTransport, SyncTransport
from algorium.wire.operations import NotificationInfo

NEWEST_MAX = 100
"""More the server does not tell at once."""


class Notifications:
    """
    What you were told: algorithms that were made and released. See `Algorium.notifications`.

    Example:
        for notification in client.notifications.list():
            print(notification.kind, notification.algorithm, notification.version)
        client.notifications.mark_read()
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def list(
        self,
        *,
        kinds: Sequence[str] = (),
        since: datetime | None = None,
        limit: int = NEWEST_MAX,
        username: str = "",
    ) -> Sequence[NotificationInfo]:
        """
        Return the newest ones, newest first.

        Args:
            kinds: Some of `algorithm-creation`, `algorithm-release`; all, if left out.
            since: Only what came after this time, with a time zone.
            limit: So many at most, 1 to 100: older ones are not told.
            username: For administrators any; you, if left out.

        Raises:
            AccountNotFound: There is no such user, or not for you.
            InvalidInput: There is no such kind.
        """
        flow = _operation_flow.notifications(username, kinds=kinds, since=since, limit=limit)
        return self._transport.run(flow)

    def mark_read(
        self, notification_ids: Sequence[str] | None = None, *, username: str = ""
    ) -> None:
        """
        Mark notifications as read.

        Args:
            notification_ids: Which; all, if left out.
            username: You, if left out.

        Raises:
            AccountNotFound: There is no such user, or not for you.
        """
        self._transport.run(_operation_flow.mark_read(username, notification_ids))


class AsyncNotifications:
    """What you were told; see `Notifications`."""

    __slots__ = ("_transport",)

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def list(
        self,
        *,
        kinds: Sequence[str] = (),
        since: datetime | None = None,
        limit: int = NEWEST_MAX,
        username: str = "",
    ) -> Sequence[NotificationInfo]:
        """Return the newest ones, as `Notifications.list`."""
        flow = _operation_flow.notifications(username, kinds=kinds, since=since, limit=limit)
        return await self._transport.run(flow)

    async def mark_read(
        self, notification_ids: Sequence[str] | None = None, *, username: str = ""
    ) -> None:
        """Mark notifications as read, as `Notifications.mark_read`."""
        await self._transport.run(_operation_flow.mark_read(username, notification_ids))
