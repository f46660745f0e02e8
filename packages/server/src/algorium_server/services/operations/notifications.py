"""
Notifications, read and marked as read; they are written with what they tell of (`notifying`).

Source: wire specification, "Notifications, features, UI configuration"; ours: marking.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from algorium_server.domain.administration import Action
from algorium_server.domain.errors import InvalidInput, NotAuthorized
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import (
    NOTIFICATIONS_KEEP_S,
    NOTIFICATIONS_PRUNE_S,
    NOTIFICATIONS_READ_AT_ONCE_MAX,
)
from algorium_server.domain.notifications import Notification, WantedNotifications
from algorium_server.services.people.administrators import Administrators
from algorium_server.services.sweeping import keep_pruning
from algorium_server.store import notifications as rows
from algorium_server.store.database import Database


class Notifications:
    """
    Use cases of notifications; they raise `NotAuthorized` and `UserNotFound`.

    Args:
        database: Where they are.
        administrators: Says who may do what.
        clock: Tells the time.
    """

    def __init__(
        self,
        database: Database,
        administrators: Administrators,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._administrators = administrators
        self._clock = clock

    async def newest(
        self, principal: Principal, username: str, wanted: WantedNotifications
    ) -> list[Notification]:
        """Return notifications of a user, newest first."""
        user = self._administrators.user(principal, username, Action.SEE_USER)
        async with self._database.reading() as connection:
            return await rows.newest(connection, user.account_id, wanted)

    async def mark_read(
        self, principal: Principal, username: str, ids: Sequence[str] | None
    ) -> None:
        """
        Mark notifications as read; only who is told can have read them.

        Args:
            principal: Who has.
            username: Of the same user.
            ids: Which ones; None for all. Those of others are none.
        """
        if ids is not None and len(ids) > NOTIFICATIONS_READ_AT_ONCE_MAX:
            raise InvalidInput(
                f"name {NOTIFICATIONS_READ_AT_ONCE_MAX} notifications at most, or none for all"
            )
        user = self._administrators.user(principal, username, Action.SEE_USER)
        if user.account_id != principal.account.account_id:
            raise NotAuthorized(detail="only who is told marks as read")
        async with self._database.transaction() as connection:
            await rows.mark_read(connection, user.account_id, ids=ids, at=self._clock())

    async def keep_pruned(self) -> None:
        """Delete old ones every so often, until cancelled; for one gateway of several."""
        await keep_pruning(self.prune, what="notifications", every_s=NOTIFICATIONS_PRUNE_S)

    async def prune(self) -> int:
        """Delete those older than they are kept; return how many."""
        before = self._clock() - timedelta(seconds=NOTIFICATIONS_KEEP_S)
        async with self._database.transaction() as connection:
            return await rows.prune(connection, before=before)
