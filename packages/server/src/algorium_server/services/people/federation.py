"""
Users of an identity provider: found or created, and given the rights that their groups mean.

A user is known by its external id and by nothing else: a name or an address that happens to be
the same opens nobody's account. What a token says counts until a newer one says otherwise; an older
one that is still valid changes nothing back.

Source: wire specification, "JWT, SAML, OIDC".
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from algorium_server.domain.audit import AuditAction
from algorium_server.domain.changes import ChangeKind
from algorium_server.domain.errors import AlreadyExists, NotAuthenticated, NotAuthorized
from algorium_server.domain.federation import (
    Assertion,
    ClaimRules,
    Rights,
    rights_by_groups,
    usernames_for,
)
from algorium_server.domain.identity import Account, AccountKind, Principal, Role
from algorium_server.domain.users import UserProfile
from algorium_server.services.auditing import record
from algorium_server.services.directory import Directory
from algorium_server.services.people.accounts import new_account
from algorium_server.store import accounts as account_rows
from algorium_server.store import changes as change_rows
from algorium_server.store import organizations as organization_rows
from algorium_server.store import sessions as rows
from algorium_server.store import users as user_rows
from algorium_server.store.database import AsyncConnection, Database
from algorium_server.telemetry import logger

_BY: Final = "identity provider"

_log = logger(__name__)


class Federation:
    """
    From what a provider says to an account.

    Args:
        database: Where accounts are.
        directory: Told of everything new.
        rules: Which groups mean something in the installation.
        clock: Says what time it is.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        rules: ClaimRules,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._rules = rules
        self._clock = clock
        self._turn = asyncio.Lock()

    async def account_of(self, said: Assertion) -> Account:
        """
        Return the account that is meant, created if need be, with the rights that it has now.

        Raises:
            NotAuthenticated: It is disabled.
            NotAuthorized: No account can be made of it.
        """
        async with self._turn:  # a program that starts shows its token many times at once
            account = await self._found(said) or await self._created(said)
            if self._directory.account(account.account_id) is None:
                self._directory.put_account(account)  # another gateway has just created it
            if account.is_disabled:
                raise NotAuthenticated("Your account here is disabled: ask an administrator.")
            if said.groups is not None:
                account = await self._synchronized(account, said, said.groups)
            return account

    async def _found(self, said: Assertion) -> Account | None:
        async with self._database.reading() as connection:
            return await self._account(connection, said.external_id)

    async def _account(self, connection: AsyncConnection, external_id: str) -> Account | None:
        found = await user_rows.user_of_external_id(connection, external_id)
        accounts = await account_rows.accounts(connection, ids=[found]) if found else []
        return accounts[0] if accounts else None

    async def _created(self, said: Assertion) -> Account:
        for username in usernames_for(said.external_id):
            account = new_account(
                AccountKind.USER, username, now=self._clock(), fullname=said.fullname
            )
            try:
                async with self._database.transaction() as connection:
                    # Waits for others that create the same user right now.
                    await change_rows.note(connection, ChangeKind.ACCOUNT, account.account_id)
                    known = await self._account(connection, said.external_id)
                    if known is not None:
                        return known
                    if said.email and await user_rows.take_email(
                        connection, said.email, account_id=account.account_id
                    ):
                        account = replace(account, email=said.email)
                    await account_rows.add_account(connection, account)
                    profile = UserProfile(
                        account_id=account.account_id, external_id=said.external_id
                    )
                    await user_rows.put_profile(connection, profile)
                    await record(
                        connection,
                        Principal(account=account),
                        AuditAction.USER_CREATED,
                        f"user:{username}",
                        detail={"by": _BY, "external_id": said.external_id},
                    )
            except AlreadyExists:
                continue  # the name is somebody else's, or was
            self._directory.put_account(account)
            self._directory.links.put(account.account_id, said.external_id)
            _log.info("a user of the identity provider was created", username=account.username)
            return account
        raise NotAuthorized(
            "No account could be created for you: every name like yours is taken. Ask an"
            " administrator to create one with your external_id."
        )

    async def _synchronized(
        self, account: Account, said: Assertion, groups: frozenset[str]
    ) -> Account:
        account_id = account.account_id
        async with self._database.transaction() as connection:
            held = await account_rows.hold_account(connection, account_id)
            if held is None or held.is_disabled:
                raise NotAuthenticated("Your account here was just disabled or deleted.")
            roles = await account_rows.roles_of(connection, account_id)
            changed, wanted = held, roles
            if await rows.take_groups(connection, account_id, issued_at=said.issued_at):
                rights = rights_by_groups(
                    groups,
                    rules=self._rules,
                    known=Rights(is_admin=held.is_admin, is_viewer=held.is_viewer, roles=roles),
                    organizations=await organization_rows.with_groups(connection),
                )
                wanted = dict(rights.roles)
                await _set_roles(connection, account_id, known=roles, wanted=wanted)
                is_admin = rights.is_admin
                if held.is_admin and not is_admin and await _is_last_admin(connection, held):
                    _log.warning(
                        "the last administrator with an admin key stays one, against its groups",
                        username=held.username,
                    )
                    is_admin = True
                changed = replace(held, is_admin=is_admin, is_viewer=rights.is_viewer)
                if changed != held:
                    await account_rows.update_account(connection, changed)
                if changed != held or roles != wanted:
                    await self._record(connection, held, changed, roles, wanted)
        self._directory.put_account(changed)
        for organization_id in roles.keys() | wanted.keys():
            self._directory.put_membership(
                organization_id=organization_id,
                user_id=account_id,
                role=wanted.get(organization_id),
            )
        return changed

    async def _record(
        self,
        connection: AsyncConnection,
        held: Account,
        changed: Account,
        roles: dict[str, Role],
        wanted: dict[str, Role],
    ) -> None:
        principal = Principal(account=held)
        for name, before, now in (
            ("admin", held.is_admin, changed.is_admin),
            ("viewer", held.is_viewer, changed.is_viewer),
        ):
            if before != now:
                await record(
                    connection,
                    principal,
                    AuditAction.USER_ROLES_CHANGED,
                    f"user:{held.username}",
                    detail={"by": _BY, f"is_{name}": str(now).lower()},
                )
        for organization_id in sorted(roles.keys() | wanted.keys()):
            had, has = roles.get(organization_id), wanted.get(organization_id)
            if had is has:
                continue
            action = AuditAction.MEMBER_ROLE_CHANGED
            if had is None or has is None:
                action = AuditAction.MEMBER_ADDED if had is None else AuditAction.MEMBER_REMOVED
            organization = self._directory.account(organization_id)
            name = organization.username if organization is not None else organization_id
            await record(
                connection,
                principal,
                action,
                f"member:{name}/{held.username}",
                about=organization_id,
                detail={"by": _BY, "role": has.value if has is not None else ""},
            )


async def _set_roles(
    connection: AsyncConnection, user_id: str, *, known: dict[str, Role], wanted: dict[str, Role]
) -> None:
    """
    Bring memberships to what is wanted.

    An organization may lose its last owner: who has left the company must not stay for that. Its
    groups make the next one, or an administrator does.
    """
    for organization_id in sorted(known.keys() - wanted.keys()):
        await account_rows.remove_membership(
            connection, organization_id=organization_id, user_id=user_id
        )
    for organization_id, role in sorted(wanted.items()):
        if known.get(organization_id) is not role:
            await account_rows.set_membership(
                connection, organization_id=organization_id, user_id=user_id, role=role
            )


async def _is_last_admin(connection: AsyncConnection, account: Account) -> bool:
    holders = (await account_rows.lasting_admin_keys(connection)).values()
    return set(holders) == {account.account_id}
