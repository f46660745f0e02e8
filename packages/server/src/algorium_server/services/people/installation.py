"""
Invites, features, and entries for the front end.

Source: wire specification, "Invites", "Notifications, features, UI configuration".
"""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime

from algorium_server.domain.administration import Action
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.errors import ConfigEntryNotFound, InvalidInput, NotFound
from algorium_server.domain.identity import Principal
from algorium_server.domain.installation import (
    FEATURES,
    ConfigEntry,
    Invite,
    check_config_key,
    check_config_value,
    check_invite,
)
from algorium_server.domain.limits import CONFIG_ENTRIES_MAX, INVITES_MAX
from algorium_server.services.auditing import record
from algorium_server.services.people.administrators import Administrators
from algorium_server.store import installation as rows
from algorium_server.store.database import Database


class Installation:
    """
    Use cases around what is decided for all; those that write raise `NotAuthorized`.

    Args:
        database: Where it is kept.
        administrators: Says who may do what.
        clock: Says what time it is.
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

    # Invites

    async def invites(self, principal: Principal) -> list[Invite]:
        """Return all invites, oldest first."""
        self._administrators.check(principal, Action.SEE_ALL)
        async with self._database.reading() as connection:
            found = await rows.all_invites(connection)
        if self._administrators.may(principal, Action.DECIDE):
            return found
        return [invite.hidden for invite in found]

    async def invite(
        self,
        principal: Principal,
        code: str,
        *,
        signup_credits: int,
        comments: str,
        expires_at: datetime | None,
    ) -> None:
        """Create an invite; `InvalidInput` if a value is wrong or the code is taken."""
        self._administrators.check(principal, Action.DECIDE)
        invite = check_invite(
            Invite(
                code=code,
                signup_credits=signup_credits,
                comments=comments,
                expires_at=expires_at,
                created_at=self._clock(),
                created_by=principal.account.username,
            )
        )
        async with self._database.transaction() as connection:
            if await rows.count_invites(connection) >= INVITES_MAX:
                raise InvalidInput(f"there are {INVITES_MAX} invites: delete some first")
            if not await rows.add_invite(connection, invite):
                raise InvalidInput(f"there is an invite {code!r} already")
            await record(connection, principal, AuditAction.INVITE_CREATED, _invite(code))

    async def remove_invite(self, principal: Principal, code: str) -> None:
        """Delete an invite; `InvalidInput` if there is none."""
        self._administrators.check(principal, Action.DECIDE)
        async with self._database.transaction() as connection:
            if not await rows.remove_invite(connection, code):
                raise InvalidInput(f"there is no invite {code[:100]!r}")
            await record(connection, principal, AuditAction.INVITE_DELETED, _invite(code))

    # Features

    async def features(self, principal: Principal, username: str = "") -> dict[str, bool]:
        """Return which features are on, for a user or in general."""
        self._administrators.check(principal, Action.SEE_ALL)
        account_id = self._account_id(principal, username, Action.SEE_ALL)
        return await self.enabled_features(account_id)

    async def enabled_features(self, account_id: str) -> dict[str, bool]:
        """Return which features are on for an account; whoever asks."""
        async with self._database.reading() as connection:
            found = FEATURES | await rows.features_of(connection, "")
            if account_id:
                found |= await rows.features_of(connection, account_id)
        return {name: found[name] for name in FEATURES}

    async def set_feature(
        self, principal: Principal, name: str, *, is_enabled: bool, username: str = ""
    ) -> None:
        """Switch a feature on or off; `NotFound` if there is none of that name."""
        self._administrators.check(principal, Action.DECIDE)
        account_id = self._account_id(principal, username, Action.DECIDE)
        if name not in FEATURES:
            raise NotFound(f"there is no feature {name[:100]!r}: there are {', '.join(FEATURES)}")
        async with self._database.transaction() as connection:
            await rows.set_feature(connection, name, account_id=account_id, is_enabled=is_enabled)
            await record(
                connection,
                principal,
                AuditAction.FEATURE_CHANGED,
                f"feature:{name}",
                about=account_id,
                detail={"user": username or "all", "enabled": str(is_enabled).lower()},
            )

    def _account_id(self, principal: Principal, username: str, action: Action) -> str:
        if not username:
            return ""
        return self._administrators.user(principal, username, action).account_id

    # The front end

    async def entries(self, *, after: str, limit: int) -> list[ConfigEntry]:
        """Return entries for the front end behind the one called *after*, by name."""
        async with self._database.reading() as connection:
            return await rows.page_of_entries(connection, after=after, limit=limit)

    async def entry(self, keyname: str) -> ConfigEntry:
        """Return an entry for the front end; `ConfigEntryNotFound` if there is none."""
        async with self._database.reading() as connection:
            found = await rows.entry(connection, keyname)
        if found is None:
            raise ConfigEntryNotFound(f"there is no entry {keyname[:100]!r}")
        return found

    async def put_entry(self, principal: Principal, keyname: str, value: str) -> ConfigEntry:
        """Create or replace an entry; `InvalidInput` if it cannot be one."""
        self._administrators.check(principal, Action.DECIDE)
        check_config_key(keyname)
        check_config_value(value)
        now = self._clock()
        async with self._database.transaction() as connection:
            known = await rows.entry(connection, keyname)
            if known is None and await rows.count_entries(connection) >= CONFIG_ENTRIES_MAX:
                raise InvalidInput(f"there are {CONFIG_ENTRIES_MAX} entries: delete some first")
            made = ConfigEntry(
                keyname=keyname,
                value=value,
                created_at=now if known is None else known.created_at,
                updated_at=now,
            )
            await rows.put_entry(connection, made)
            await record(connection, principal, AuditAction.FRONTEND_CHANGED, f"entry:{keyname}")
        return made

    async def remove_entry(self, principal: Principal, keyname: str) -> None:
        """Remove an entry; `ConfigEntryNotFound` if there is none."""
        self._administrators.check(principal, Action.DECIDE)
        async with self._database.transaction() as connection:
            if not await rows.remove_entry(connection, keyname):
                raise ConfigEntryNotFound(f"there is no entry {keyname[:100]!r}")
            await record(
                connection,
                principal,
                AuditAction.FRONTEND_CHANGED,
                f"entry:{keyname}",
                detail={"value": "removed"},
            )


def _invite(code: str) -> str:
    # Whoever knows a code can use it, and more people may read the log than may see codes.
    return f"invite:{hashlib.sha256(code.encode('utf-8', 'replace')).hexdigest()[:16]}"
