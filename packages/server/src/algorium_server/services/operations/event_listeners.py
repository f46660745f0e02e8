"""
Event listeners of users: kept, and not polled.

Source: wire specification, "Event listeners (SQS, Service Bus)".
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from algorium_server.domain.administration import Action
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.errors import InvalidInput, NotFound
from algorium_server.domain.event_listeners import (
    HIDDEN,
    EventListener,
    WantedListener,
    check_listener,
)
from algorium_server.domain.identity import Account, Principal
from algorium_server.domain.limits import LISTENERS_PER_ACCOUNT_MAX
from algorium_server.sealing import Seal
from algorium_server.services.auditing import record
from algorium_server.services.people.administrators import Administrators
from algorium_server.store import accounts as account_rows
from algorium_server.store import event_listeners as rows
from algorium_server.store.database import Database


class EventListeners:
    """
    Use cases of event listeners; all raise `NotAuthorized` and `UserNotFound`.

    Args:
        database: Where they are.
        administrators: Says who may do what.
        seal: Seals credentials.
        clock: Tells the time.
    """

    def __init__(
        self,
        database: Database,
        administrators: Administrators,
        seal: Seal,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._administrators = administrators
        self._seal = seal
        self._clock = clock

    async def listeners(
        self,
        principal: Principal,
        username: str,
        *,
        limit: int,
        after: tuple[datetime, str] | None = None,
    ) -> tuple[Account, list[EventListener]]:
        """Return a user and its listeners, oldest first, those behind *after*."""
        user = self._administrators.user(principal, username, Action.SEE_USER)
        async with self._database.reading() as connection:
            found = await rows.listeners_of(connection, user.account_id, limit=limit, after=after)
        return user, found

    async def listener(
        self, principal: Principal, username: str, listener_id: str
    ) -> tuple[Account, EventListener]:
        """Return a user and one of its listeners; `NotFound` if there is none."""
        user = self._administrators.user(principal, username, Action.SEE_USER)
        async with self._database.reading() as connection:
            found = await rows.listener(
                connection, account_id=user.account_id, listener_id=listener_id.lower()
            )
        if found is None:
            raise _missing(listener_id)
        return user, found

    async def create(
        self, principal: Principal, username: str, wanted: WantedListener
    ) -> tuple[Account, EventListener]:
        """Add a listener; `InvalidInput` if a value is wrong, or the user has too many."""
        user = self._administrators.user(principal, username, Action.MANAGE_LISTENERS)
        if check_listener(wanted).credentials == HIDDEN:
            raise InvalidInput("credentials are missing: these are what is shown instead of them")
        made = self._made(user, str(uuid4()), wanted, created_at=self._clock())
        async with self._database.transaction() as connection:
            # Held: of two that are added at once, both would see room for one.
            await account_rows.hold_account(connection, user.account_id)
            if await rows.count_of(connection, user.account_id) >= LISTENERS_PER_ACCOUNT_MAX:
                raise InvalidInput(
                    f"there are {LISTENERS_PER_ACCOUNT_MAX} event listeners: delete some first"
                )
            await rows.add(connection, made)
            await record(
                connection,
                principal,
                AuditAction.EVENT_LISTENER_CREATED,
                f"event_listener:{user.username}/{made.listener_id}",
                about=user.account_id,
            )
        return user, made

    async def change(
        self, principal: Principal, username: str, listener_id: str, wanted: WantedListener
    ) -> tuple[Account, EventListener]:
        """Replace what is said of a listener; `NotFound` if there is none."""
        user = self._administrators.user(principal, username, Action.MANAGE_LISTENERS)
        check_listener(wanted)
        async with self._database.transaction() as connection:
            old = await rows.listener(
                connection, account_id=user.account_id, listener_id=listener_id.lower()
            )
            if old is None:
                raise _missing(listener_id)
            new = self._made(user, old.listener_id, wanted, created_at=old.created_at)
            if wanted.credentials == HIDDEN:
                new = replace(new, sealed=old.sealed)
            await rows.change(connection, new)
            await record(
                connection,
                principal,
                AuditAction.EVENT_LISTENER_CHANGED,
                f"event_listener:{user.username}/{new.listener_id}",
                about=user.account_id,
            )
        return user, new

    async def remove(self, principal: Principal, username: str, listener_id: str) -> None:
        """Delete a listener; `NotFound` if there is none."""
        user = self._administrators.user(principal, username, Action.MANAGE_LISTENERS)
        async with self._database.transaction() as connection:
            if not await rows.remove(
                connection, account_id=user.account_id, listener_id=listener_id.lower()
            ):
                raise _missing(listener_id)
            await record(
                connection,
                principal,
                AuditAction.EVENT_LISTENER_DELETED,
                f"event_listener:{user.username}/{listener_id.lower()}",
                about=user.account_id,
            )

    def _made(
        self, user: Account, listener_id: str, wanted: WantedListener, *, created_at: datetime
    ) -> EventListener:
        sealed = self._seal.seal(
            wanted.credentials.encode("utf-8", "surrogatepass"),
            owner=user.account_id,
            name=f"event_listener/{listener_id}",
        )
        return EventListener(
            listener_id=listener_id,
            account_id=user.account_id,
            source_type=wanted.source_type,
            source_uri=wanted.source_uri,
            algo_owner=wanted.algo_owner,
            algo_name=wanted.algo_name,
            algo_version=wanted.algo_version,
            timeout_s=wanted.timeout_s,
            sealed=sealed,
            created_at=created_at,
        )


def _missing(listener_id: str) -> NotFound:
    return NotFound(f"there is no event listener {listener_id[:80]!r}")
