"""
API keys: listed, created, brought along, rotated, deleted.

A key that is deleted is refused from the next request on, by other gateways within a second. Its
value is told once, when it is made. Nobody makes or is told a key that may more than the own one.

Source: wire specification, "API keys"; rotating, deleting and ends are ours.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from algorium_server.domain.administration import Action
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.errors import (
    AlreadyExists,
    InvalidInput,
    NotAuthorized,
    NotFound,
    UserNotFound,
)
from algorium_server.domain.identity import Account, AccountKind, ApiKey, KeyKind, Principal
from algorium_server.domain.keys import (
    ListedKey,
    WantedKey,
    check_expiry,
    check_grace,
    check_label,
    check_permissions,
    check_secret,
    exceeds,
    implied_permissions,
    lives_longer,
)
from algorium_server.domain.limits import KEY_ENDED_KEPT_S, KEYS_PER_ACCOUNT_MAX
from algorium_server.services.auditing import record
from algorium_server.services.directory import Directory, key_digest
from algorium_server.services.people.accounts import NewKey, new_key
from algorium_server.services.people.administrators import Administrators
from algorium_server.store import accounts as account_rows
from algorium_server.store import keys as rows
from algorium_server.store.database import AsyncConnection, Database


class Keys:
    """
    Use cases around keys.

    Every method raises `NotAuthorized` if the caller may not do it, and `UserNotFound` or
    `OrganizationNotFound` if there is no such account.

    Args:
        database: Where they are.
        directory: Told of everything new.
        administrators: Says who may do what.
        clock: Says what time it is.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        administrators: Administrators,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._administrators = administrators
        self._clock = clock

    async def keys(
        self, principal: Principal, kind: AccountKind, name: str
    ) -> tuple[Account, list[ListedKey]]:
        """Return an account and its keys, oldest first, without their values."""
        account = self._account(principal, kind, name, Action.SEE_KEYS)
        async with self._database.reading() as connection:
            return account, await rows.keys_of(connection, account.account_id)

    async def create(
        self, principal: Principal, kind: AccountKind, name: str, wanted: WantedKey
    ) -> tuple[Account, NewKey]:
        """
        Create a key.

        Raises:
            InvalidInput: A value is wrong, or the account has too many keys.
        """
        account = self._account(principal, kind, name, Action.MANAGE_KEYS)
        return account, await self._add(principal, account, wanted)

    async def bring(
        self, principal: Principal, username: str, wanted: WantedKey, secret: str
    ) -> tuple[Account, NewKey]:
        """
        Create a key whose value comes from elsewhere; one is made if that is empty.

        Raises:
            InvalidInput: As `create`, or it cannot be a value.
            AlreadyExists: There is a key with this value.
        """
        account = self._administrators.user(principal, username, Action.DECIDE)
        if secret:
            check_secret(secret)
        return account, await self._add(principal, account, wanted, secret=secret)

    async def create_for_member(
        self, principal: Principal, organization: str, username: str, wanted: WantedKey
    ) -> tuple[Account, NewKey]:
        """
        Create a key of a member of an organization.

        Raises:
            UserNotFound: The organization has no such member.
            InvalidInput: As `create`.
        """
        found = self._administrators.organization(principal, organization, Action.DECIDE)
        user = self._administrators.find(username, AccountKind.USER)
        roles = self._directory.roles_of(user.account_id) if user is not None else {}
        if user is None or found.account_id not in roles:
            raise UserNotFound(f"{found.username} has no member {username[:100]!r}")
        return user, await self._add(principal, user, wanted)

    async def rotate(
        self, principal: Principal, kind: AccountKind, name: str, key_id: str, *, grace_s: float
    ) -> tuple[Account, NewKey]:
        """
        Make a key that may the same as another, which ends.

        Args:
            principal: Who asks.
            kind: Of the account.
            name: Of the account, or its id.
            key_id: Of the old key.
            grace_s: How long the old one stays valid.

        Raises:
            NotFound: The account has no such key, or it has expired.
            InvalidInput: That is no useful time.
        """
        account = self._account(principal, kind, name, Action.MANAGE_KEYS)
        check_grace(grace_s)
        now = self._clock()
        async with self._database.transaction() as connection:
            await account_rows.hold_account(connection, account.account_id)
            old = await self._key(connection, principal, account, key_id)
            if old.has_expired(now):
                raise NotFound("the key has expired: create another one")
            ends_at = now + timedelta(seconds=grace_s)
            if old.expires_at is not None:
                ends_at = min(ends_at, old.expires_at)
            await self._check_room(connection, account)
            made = new_key(
                account,
                label=old.label,
                kind=old.kind,
                permissions=old.permissions,
                now=now,
                expires_at=old.expires_at,
            )
            await made.store(connection)
            await rows.expire_key(connection, old.key_id, expires_at=ends_at)
            await _record(
                connection,
                principal,
                AuditAction.KEY_ROTATED,
                account,
                old,
                new_key=made.key.key_id,
                old_ends_at=ends_at.isoformat(timespec="seconds"),
            )
        made.put_into(self._directory)
        self._directory.change_key(replace(old, expires_at=ends_at))
        return account, made

    async def delete(self, principal: Principal, kind: AccountKind, name: str, key_id: str) -> None:
        """
        Delete a key: whoever shows it is refused from now on.

        Raises:
            NotFound: The account has no such key.
            InvalidInput: Nobody could administer any more.
        """
        account = self._account(principal, kind, name, Action.MANAGE_KEYS)
        async with self._database.transaction() as connection:
            await account_rows.hold_account(connection, account.account_id)
            found = await self._key(connection, principal, account, key_id)
            if set(await account_rows.lasting_admin_keys(connection)) == {found.key_id}:
                raise InvalidInput("this is the last admin key: rotate it, or create another one")
            await account_rows.remove_key(connection, found.key_id)
            await _record(connection, principal, AuditAction.KEY_DELETED, account, found)
        self._directory.remove_key(found.key_id)

    async def _add(
        self, principal: Principal, account: Account, wanted: WantedKey, *, secret: str = ""
    ) -> NewKey:
        now = self._clock()
        permissions = wanted.permissions
        if permissions is None:
            permissions = implied_permissions(wanted.label, wanted.kind)
        made = new_key(
            account,
            label=check_label(wanted.label),
            kind=wanted.kind,
            permissions=check_permissions(permissions),
            now=now,
            expires_at=check_expiry(wanted.expires_at, now=now),
            secret=secret,
        )
        self._check_rights(principal, made.key)
        if wanted.kind is KeyKind.ADMIN and not account.is_admin:
            raise InvalidInput(
                f"{account.username} is no administrator: its keys cannot be, either"
            )
        async with self._database.transaction() as connection:
            if await account_rows.hold_account(connection, account.account_id) is None:
                raise UserNotFound
            await self._check_room(connection, account)
            if secret and await rows.is_digest_known(connection, key_digest(secret)):
                raise AlreadyExists("there is a key with this value")
            await made.store(connection)
            action = AuditAction.KEY_IMPORTED if secret else AuditAction.KEY_CREATED
            await _record(connection, principal, action, account, made.key)
        made.put_into(self._directory)
        return made

    async def _check_room(self, connection: AsyncConnection, account: Account) -> None:
        before = self._clock() - timedelta(seconds=KEY_ENDED_KEPT_S)
        await rows.remove_ended_keys_of(connection, account.account_id, before=before)
        if await rows.count_keys(connection, account.account_id) >= KEYS_PER_ACCOUNT_MAX:
            raise InvalidInput(
                f"{account.username} has {KEYS_PER_ACCOUNT_MAX} keys: delete some first"
            )

    async def _key(
        self, connection: AsyncConnection, principal: Principal, account: Account, key_id: str
    ) -> ApiKey:
        found = await rows.keys_of(connection, account.account_id, key_id=key_id.lower())
        if not found:
            raise NotFound(f"{account.username} has no key {key_id[:100]!r}")
        self._check_rights(principal, found[0].key)
        return found[0].key

    def _check_rights(self, principal: Principal, key: ApiKey) -> None:
        """Refuse keys that may more than the one that is shown; administrators' may all."""
        shown = principal.key
        if shown is None:
            return
        if shown.kind is KeyKind.ADMIN:
            if key.kind is KeyKind.ADMIN and lives_longer(key, shown):
                raise NotAuthorized("the key that was shown ends before this one: expires_at")
            return
        excess = exceeds(key, shown)
        if excess:
            raise NotAuthorized(f"the key that was shown does not reach so far itself: {excess}")

    def _account(
        self, principal: Principal, kind: AccountKind, name: str, action: Action
    ) -> Account:
        if kind is AccountKind.USER:
            return self._administrators.user(principal, name, action)
        return self._administrators.organization(principal, name, action)


async def _record(
    connection: AsyncConnection,
    principal: Principal,
    action: AuditAction,
    account: Account,
    key: ApiKey,
    **detail: str,
) -> None:
    await record(
        connection,
        principal,
        action,
        f"key:{account.username}/{key.key_id}",
        about=account.account_id,
        detail={"label": key.label, "kind": key.kind.value, **detail},
    )
