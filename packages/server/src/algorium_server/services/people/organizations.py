"""
Organizations: created, changed, deleted; their members.

Changes of one organization's members follow one another: noting a change comes first, and holds
up the others, so an organization is never without an owner.

Source: wire specification, "Organizations".
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from algorium_server.domain.administration import Action
from algorium_server.domain.algorithms import Algorithm
from algorium_server.domain.audit import AuditAction, changed_names
from algorium_server.domain.authorship import Act
from algorium_server.domain.errors import (
    AlreadyExists,
    InvalidInput,
    MissingFields,
    OrganizationExists,
    OrganizationNotFound,
    UserNotFound,
)
from algorium_server.domain.identity import Account, AccountKind, Principal, Role
from algorium_server.domain.limits import OWNERS_OF_NEW_ORGANIZATION_MAX
from algorium_server.domain.organizations import (
    Member,
    Organization,
    OrganizationProfile,
    WantedOrganization,
    check_owner_stays,
    check_wanted,
)
from algorium_server.services.auditing import record
from algorium_server.services.authoring.authors import Authors
from algorium_server.services.directory import Directory
from algorium_server.services.people.account_removal import AccountRemoval
from algorium_server.services.people.accounts import new_account
from algorium_server.services.people.administrators import Administrators
from algorium_server.services.people.organization_types import type_id_of
from algorium_server.store import accounts as account_rows
from algorium_server.store import organizations as rows
from algorium_server.store.database import AsyncConnection, Database


class Organizations:
    """
    Use cases around organizations.

    Every method raises `NotAuthorized` if the caller may not do it, and those that name an
    organization raise `OrganizationNotFound` if there is none.

    Args:
        database: Where they are.
        directory: Told of everything new.
        administrators: Says who may do what.
        authors: Says which algorithms somebody may see.
        removal: Deletes accounts.
        clock: Says what time it is.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        administrators: Administrators,
        authors: Authors,
        removal: AccountRemoval,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._administrators = administrators
        self._authors = authors
        self._removal = removal
        self._clock = clock

    async def page(self, principal: Principal, *, after: str, limit: int) -> list[Organization]:
        """Return at most *limit* organizations behind the one called *after*, by name."""
        self._administrators.check(principal, Action.SEE_ALL)
        async with self._database.reading() as connection:
            accounts = await account_rows.page_of_accounts(
                connection, AccountKind.ORGANIZATION, after=after, limit=limit
            )
            return await rows.with_profiles(connection, accounts)

    async def organization(self, principal: Principal, name: str) -> Organization:
        """Return an organization by name or id."""
        account = self._administrators.organization(principal, name, Action.SEE_ORGANIZATION)
        return await self._whole(account)

    async def of_external_id(self, principal: Principal, external_id: str) -> Organization:
        """Return the organization that the company's own directory calls so."""
        self._administrators.check(principal, Action.SEE_ALL)
        async with self._database.reading() as connection:
            found = await rows.organization_of_external_id(connection, external_id)
        account = self._directory.account(found) if found is not None else None
        if account is None:
            raise OrganizationNotFound(f"there is no organization {external_id[:100]!r}")
        return await self._whole(account)

    async def create(self, principal: Principal, wanted: WantedOrganization) -> Organization:
        """
        Create an organization, whose owner is the caller unless others are named.

        Raises:
            MissingFields: Something that is needed is not said.
            MalformedOrganization: A text is too long.
            InvalidInput: None can be called so.
            OrganizationExists: A user or organization has that name, or had it.
            OrganizationTypeNotFound: There is no such type.
            UserNotFound: Somebody who is to be an owner does not exist.
        """
        self._administrators.check(principal, Action.DECIDE)
        for value, field in (
            (wanted.name, "org_name"),
            (wanted.label, "org_label"),
            (wanted.contact_name, "org_contact_name"),
            (wanted.email, "org_email"),
        ):
            if not value:
                raise MissingFields(f"{field} is missing")
        check_wanted(wanted)
        account = new_account(
            AccountKind.ORGANIZATION,
            wanted.name or "",
            now=self._clock(),
            email=wanted.email or "",
            fullname=wanted.label or "",
        )
        owners = self._owners_of_new(principal, wanted)
        async with self._database.transaction() as connection:
            type_id = await type_id_of(connection, wanted.type_id)
            profile = _changed(
                OrganizationProfile(organization_id=account.account_id), wanted, type_id
            )
            try:
                await account_rows.add_account(connection, account)
            except AlreadyExists as error:
                raise OrganizationExists(error.message) from error
            await rows.put_profile(connection, profile)
            for owner in owners:
                await account_rows.set_membership(
                    connection,
                    organization_id=account.account_id,
                    user_id=owner.account_id,
                    role=Role.OWNER,
                )
            await record(
                connection,
                principal,
                AuditAction.ORGANIZATION_CREATED,
                f"organization:{account.username}",
                about=account.account_id,
                detail={"owners": ", ".join(owner.username for owner in owners)},
            )
        self._directory.put_account(account)
        for owner in owners:
            self._put_member(account, owner, Role.OWNER)
        return Organization(account=account, profile=profile)

    async def update(self, principal: Principal, name: str, wanted: WantedOrganization) -> None:
        """
        Change what is said of an organization; its name and the rest stay.

        Raises:
            MalformedOrganization: A text is too long.
            OrganizationTypeNotFound: There is no such type.
        """
        account = self._administrators.organization(principal, name, Action.CHANGE_ORGANIZATION)
        check_wanted(wanted)
        async with self._database.transaction() as connection:
            held = await account_rows.hold_account(connection, account.account_id)
            if held is None:
                raise OrganizationNotFound
            (known,) = await rows.with_profiles(connection, [held])
            type_id = known.profile.type_id
            if wanted.type_id is not None:
                type_id = await type_id_of(connection, wanted.type_id)
            profile = _changed(known.profile, wanted, type_id)
            self._check_decided(principal, known.profile, profile)
            changed = replace(
                held,
                email=held.email if wanted.email is None else wanted.email,
                fullname=held.fullname if wanted.label is None else wanted.label,
            )
            await account_rows.update_account(connection, changed)
            await rows.put_profile(connection, profile)
            names = changed_names(held, changed), changed_names(known.profile, profile)
            await record(
                connection,
                principal,
                AuditAction.ORGANIZATION_CHANGED,
                f"organization:{held.username}",
                about=held.account_id,
                detail={"changed": ", ".join(filter(None, names))},
            )
        self._directory.put_account(changed)

    async def delete(self, principal: Principal, name: str) -> None:
        """
        Delete an organization with its algorithms and data; one that does not exist is fine.

        Raises:
            StillInUse: It owns an algorithm that was published for all.
        """
        self._administrators.check(principal, Action.DECIDE)
        account = self._administrators.find(name, AccountKind.ORGANIZATION)
        if account is not None:
            await self._removal.remove(account, principal)

    def utility_algorithms(
        self, principal: Principal, name: str
    ) -> tuple[Account, list[Algorithm]]:
        """Return the algorithms of an organization that the caller may see, by name."""
        account = self._administrators.find(name, AccountKind.ORGANIZATION)
        if account is None:
            raise OrganizationNotFound(f"there is no organization {name[:100]!r}")
        found = (
            each
            for each in self._directory.algorithms_of(account.account_id)
            if self._authors.may(principal, Act.SEE, each)
        )
        return account, sorted(found, key=lambda each: each.name.lower())

    # Members

    async def members(
        self, principal: Principal, name: str, *, after: str, limit: int
    ) -> list[Member]:
        """Return at most *limit* members behind the user called *after*, by name."""
        account = self._administrators.organization(principal, name, Action.SEE_ORGANIZATION)
        async with self._database.reading() as connection:
            return await rows.page_of_members(
                connection, account.account_id, after=after, limit=limit
            )

    async def put_member(
        self, principal: Principal, name: str, username: str, role: Role | None
    ) -> bool:
        """
        Make a user a member, or change the role.

        Args:
            principal: Who asks.
            name: Of the organization.
            username: Of the user, or its id.
            role: None for what a member has already, or an ordinary member.

        Returns:
            Whether the user was none before.

        Raises:
            UserNotFound: There is no such user.
            LastOwner: The last owner would be none any more.
        """
        account = self._administrators.organization(principal, name, Action.CHANGE_ORGANIZATION)
        user = self._administrators.find(username, AccountKind.USER)
        if user is None:
            raise UserNotFound(f"there is no user {username[:100]!r}")
        async with self._database.transaction() as connection:
            for held_id, missing in (
                (account.account_id, OrganizationNotFound),
                (user.account_id, UserNotFound),
            ):
                if await account_rows.hold_account(connection, held_id) is None:
                    raise missing
            ids = [(account.account_id, user.account_id)]
            known = await account_rows.memberships(connection, ids=ids)
            had = known[0][2] if known else None
            role = role or had or Role.MEMBER
            if had is Role.OWNER:
                owners = await rows.owners_of(connection, account.account_id)
                check_owner_stays(owners, user.account_id, role)
            await account_rows.set_membership(
                connection,
                organization_id=account.account_id,
                user_id=user.account_id,
                role=role,
            )
            if role is not had:
                await _record_member(connection, principal, account, user, before=had, after=role)
        self._put_member(account, user, role)
        return had is None

    async def remove_member(self, principal: Principal, name: str, username: str) -> None:
        """
        End a membership; whoever is no member is fine.

        Raises:
            LastOwner: It is the last owner.
        """
        account = self._administrators.organization(principal, name, Action.CHANGE_ORGANIZATION)
        user = self._administrators.find(username, AccountKind.USER)
        if user is None:
            return
        async with self._database.transaction() as connection:
            await account_rows.hold_account(connection, account.account_id)
            owners = await rows.owners_of(connection, account.account_id)
            check_owner_stays(owners, user.account_id, None)
            ids = [(account.account_id, user.account_id)]
            known = await account_rows.memberships(connection, ids=ids)
            await account_rows.remove_membership(
                connection, organization_id=account.account_id, user_id=user.account_id
            )
            if known:
                had = known[0][2]
                await _record_member(connection, principal, account, user, before=had, after=None)
        self._put_member(account, user, None)

    def _owners_of_new(self, principal: Principal, wanted: WantedOrganization) -> list[Account]:
        if not wanted.owner_ids:
            return [principal.account]
        if len(wanted.owner_ids) > OWNERS_OF_NEW_ORGANIZATION_MAX:
            raise InvalidInput(f"owner_ids is limited to {OWNERS_OF_NEW_ORGANIZATION_MAX} users")
        owners = {}
        for owner_id in wanted.owner_ids:
            found = self._administrators.find(owner_id, AccountKind.USER)
            if found is None:
                raise UserNotFound(f"there is no user {owner_id[:100]!r}")
            owners[found.account_id] = found
        return list(owners.values())

    def _check_decided(
        self, principal: Principal, known: OrganizationProfile, profile: OrganizationProfile
    ) -> None:
        """Refuse what owners do not decide: who belongs to it by its directory, and its type."""
        theirs = replace(known, contact_name=profile.contact_name, url=profile.url)
        if profile != theirs:
            self._administrators.check(principal, Action.DECIDE)

    def _put_member(self, organization: Account, user: Account, role: Role | None) -> None:
        self._directory.put_membership(
            organization_id=organization.account_id, user_id=user.account_id, role=role
        )

    async def _whole(self, account: Account) -> Organization:
        async with self._database.reading() as connection:
            (organization,) = await rows.with_profiles(connection, [account])
        return organization


async def _record_member(
    connection: AsyncConnection,
    principal: Principal,
    organization: Account,
    user: Account,
    *,
    before: Role | None,
    after: Role | None,
) -> None:
    if before is None:
        action = AuditAction.MEMBER_ADDED
    else:
        action = AuditAction.MEMBER_ROLE_CHANGED if after else AuditAction.MEMBER_REMOVED
    await record(
        connection,
        principal,
        action,
        f"member:{organization.username}/{user.username}",
        about=organization.account_id,
        detail={"before": before or "none", "after": after or "none"},
    )


def _changed(
    profile: OrganizationProfile, wanted: WantedOrganization, type_id: str
) -> OrganizationProfile:
    said = {name: value for name in _PROFILE_TEXTS if (value := getattr(wanted, name)) is not None}
    return replace(profile, type_id=type_id, **said)


_PROFILE_TEXTS = (
    "contact_name",
    "url",
    "external_id",
    "external_admin_group",
    "external_member_group",
    "external_executor_group",
)
