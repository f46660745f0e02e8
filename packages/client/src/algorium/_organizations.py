"""Organizations, accounts of several users: `client.organizations`."""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from typing import Unpack

from algorium import _account_flow, _governance_flow
from algorium._account_flow import OrganizationChanges, path_to
from algorium._algorithm_flow import PAGE_MAX
from algorium._governance_flow import AuditWish
from algorium._paging import listed, listed_async
from algorium._transport import AsyncTransport, SyncTransport
from algorium.wire.accounts import (
    AlgorithmName,
    MemberInfo,
    OrganizationInfo,
    OrganizationType,
)
from algorium.wire.governance import AccountQuotas, AuditEntry


class Organizations:
    """
    Organizations: accounts of several users. See `Algorium.organizations`.

    Example:
        for member in client.organizations.members("lab"):
            print(member.username, member.role)
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def list(self, *, page: int = PAGE_MAX) -> Iterator[OrganizationInfo]:
        """
        Go through all organizations by name; for administrators.

        Args:
            page: Organizations to fetch at once, at most 1000; pages are fetched as you go on.

        Raises:
            NotAuthorized: The key is no admin key.
        """
        return listed(self._transport, lambda marker: _account_flow.organizations(marker, page))

    def get(self, name: str) -> OrganizationInfo:
        """
        Return an organization that you belong to, or for administrators any.

        Args:
            name: Its name, in any case, or its id.

        Raises:
            AccountNotFound: There is none.
            NotAuthorized: You do not belong to it.
        """
        return self._transport.run(_account_flow.organization(name))

    def of_external_id(self, external_id: str) -> OrganizationInfo:
        """
        Return the organization that the company's own directory calls so; for administrators.

        Raises:
            AccountNotFound: There is none.
        """
        return self._transport.run(_account_flow.organization_of_external_id(external_id))

    def create(
        self, name: str, *, owners: Sequence[str] = (), **told: Unpack[OrganizationChanges]
    ) -> OrganizationInfo:
        """
        Create an organization; for administrators.

        Args:
            name: What to call it, for ever: letters, digits and underscores.
            owners: Ids of users who own it; you, if left out.
            **told: `label`, `contact_name` and `email` are needed; `url`, `type_id`, `external_id`,
                `external_admin_group`, `external_member_group`, `external_executor_group`.

        Raises:
            AlreadyExists: The name is taken.
            NotFound: There is no such type.
            InvalidRequest: Something that is needed is missing.
        """
        return self._transport.run(_account_flow.create_organization(name, told, tuple(owners)))

    def update(self, name: str, **told: Unpack[OrganizationChanges]) -> OrganizationInfo:
        """
        Change an organization: owners its texts, administrators all but the name.

        Args:
            name: Its name or id.
            **told: As for `create`; what is left out stays.

        Raises:
            AccountNotFound: There is none.
            NotAuthorized: You do not own it.
        """
        return self._transport.run(_account_flow.update_organization(name, told))

    def delete(self, name: str) -> None:
        """
        Delete an organization with its private algorithms and data; for administrators.

        Raises:
            InvalidRequest: It owns an algorithm that was published for all.
        """
        self._transport.run(_account_flow.delete_organization(name))

    def algorithms(self, name: str) -> Sequence[AlgorithmName]:
        """
        Return the names of an organization's algorithms that you may see.

        Raises:
            AccountNotFound: There is no such organization.
        """
        return self._transport.run(_account_flow.organization_algorithms(name))

    def members(self, name: str, *, page: int = PAGE_MAX) -> Iterator[MemberInfo]:
        """
        Go through the members of an organization by name, for its members.

        Args:
            name: Of the organization, or its id.
            page: Members to fetch at once, at most 1000; pages are fetched as you go on.

        Raises:
            AccountNotFound: There is no such organization.
            NotAuthorized: You do not belong to it.
        """
        return listed(
            self._transport,
            lambda marker: _account_flow.organization_members(name, marker, page),
        )

    def add_member(self, name: str, username: str, *, role: str | None = None) -> bool:
        """
        Make a user a member, or give a member another role; for owners.

        Args:
            name: Of the organization, or its id.
            username: Who.
            role: `owner`, `member` or `executor`, who may only call what the organization has made.
                Left out: a new member is a `member`, the role of others stays.

        Returns:
            Whether it was no member before.

        Raises:
            AccountNotFound: There is no such organization or user.
            InvalidRequest: The last owner stays one.
        """
        return self._transport.run(_account_flow.put_member(name, username, role))

    def remove_member(self, name: str, username: str) -> None:
        """
        End a membership; for owners. Who is no member stays none.

        Raises:
            AccountNotFound: There is no such organization or user.
            InvalidRequest: The last owner stays.
        """
        self._transport.run(_account_flow.remove_member(name, username))

    def types(self) -> Sequence[OrganizationType]:
        """Return the types that an organization can have."""
        return self._transport.run(_account_flow.organization_types())

    def quotas(self, name: str) -> AccountQuotas:
        """
        Return what an organization may use, and how much of it is used; for its members.

        Raises:
            AccountNotFound: There is none, or not for you.
        """
        return self._transport.run(_governance_flow.quotas_of_organization(name))

    def audit(
        self,
        name: str,
        *,
        actor: str = "",
        action: str = "",
        target: str = "",
        outcome: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        page: int = PAGE_MAX,
    ) -> Iterator[AuditEntry]:
        """
        Go through what was done in an organization, newest first; for its owners.

        Pages are fetched as you go on.

        Args:
            name: Of the organization, or its id.
            actor: By this account, by name or id.
            action: Whose name begins so: `key.`, `member.role_changed`.
            target: To this.
            outcome: `done`, `denied` or `failed`.
            since: From this time on.
            until: Before this time.
            page: Entries to fetch at once, at most 1000.

        Raises:
            NotAuthorized: The key may not see it.
        """
        wish = AuditWish(
            actor=actor, action=action, target=target, outcome=outcome, since=since, until=until
        )
        path = path_to("organizations", name, "audit")
        return listed(
            self._transport,
            lambda marker: _governance_flow.audit(path, wish, marker, page),
        )


class AsyncOrganizations:
    """Organizations: accounts of several users; see `Organizations`."""

    __slots__ = ("_transport",)

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    def list(self, *, page: int = PAGE_MAX) -> AsyncIterator[OrganizationInfo]:
        """Go through all organizations by name, as `Organizations.list`."""
        return listed_async(
            self._transport, lambda marker: _account_flow.organizations(marker, page)
        )

    async def get(self, name: str) -> OrganizationInfo:
        """Return an organization, as `Organizations.get`."""
        return await self._transport.run(_account_flow.organization(name))

    async def of_external_id(self, external_id: str) -> OrganizationInfo:
        """Return an organization, as `Organizations.of_external_id`."""
        return await self._transport.run(_account_flow.organization_of_external_id(external_id))

    async def create(
        self, name: str, *, owners: Sequence[str] = (), **told: Unpack[OrganizationChanges]
    ) -> OrganizationInfo:
        """Create an organization, as `Organizations.create`."""
        flow = _account_flow.create_organization(name, told, tuple(owners))
        return await self._transport.run(flow)

    async def update(self, name: str, **told: Unpack[OrganizationChanges]) -> OrganizationInfo:
        """Change an organization, as `Organizations.update`."""
        return await self._transport.run(_account_flow.update_organization(name, told))

    async def delete(self, name: str) -> None:
        """Delete an organization, as `Organizations.delete`."""
        await self._transport.run(_account_flow.delete_organization(name))

    async def algorithms(self, name: str) -> Sequence[AlgorithmName]:
        """Return the names of an organization's algorithms, as `Organizations.algorithms`."""
        return await self._transport.run(_account_flow.organization_algorithms(name))

    def members(self, name: str, *, page: int = PAGE_MAX) -> AsyncIterator[MemberInfo]:
        """Go through the members of an organization, as `Organizations.members`."""
        return listed_async(
            self._transport,
            lambda marker: _account_flow.organization_members(name, marker, page),
        )

    async def add_member(self, name: str, username: str, *, role: str | None = None) -> bool:
        """Make a user a member, or change its role, as `Organizations.add_member`."""
        return await self._transport.run(_account_flow.put_member(name, username, role))

    async def remove_member(self, name: str, username: str) -> None:
        """End a membership, as `Organizations.remove_member`."""
        await self._transport.run(_account_flow.remove_member(name, username))

    async def types(self) -> Sequence[OrganizationType]:
        """Return the types that an organization can have, as `Organizations.types`."""
        return await self._transport.run(_account_flow.organization_types())

    async def quotas(self, name: str) -> AccountQuotas:
        """Return what an organization may use, as `Organizations.quotas`."""
        return await self._transport.run(_governance_flow.quotas_of_organization(name))

    def audit(
        self,
        name: str,
        *,
        actor: str = "",
        action: str = "",
        target: str = "",
        outcome: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        page: int = PAGE_MAX,
    ) -> AsyncIterator[AuditEntry]:
        """Go through what was done, as `Organizations.audit`."""
        wish = AuditWish(
            actor=actor, action=action, target=target, outcome=outcome, since=since, until=until
        )
        path = path_to("organizations", name, "audit")
        return listed_async(
            self._transport,
            lambda marker: _governance_flow.audit(path, wish, marker, page),
        )
