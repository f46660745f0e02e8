"""What administrators set for a whole server, for `asyncio`."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from algorium import _account_flow, _admin_flow, _governance_flow, _operation_flow, _scm_flow
from algorium._admin_flow import ClusterRole, ImageName
from algorium._algorithm_flow import PAGE_MAX
from algorium._governance_flow import AuditWish
from algorium._paging import listed_async
from algorium._transport import AsyncTransport
from algorium.wire.accounts import OrganizationType
from algorium.wire.governance import AccountQuotas, AuditEntry
from algorium.wire.installation import FrontendEntry, InviteInfo
from algorium.wire.operations import InsightsConnection
from algorium.wire.scms import ScmInfo


class AsyncAdmin:
    """What administrators set for a whole server; see `Admin`."""

    __slots__ = ("_transport",)

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def invites(self) -> Sequence[InviteInfo]:
        """Return all codes with which somebody may sign up, as `Admin.invites`."""
        return await self._transport.run(_admin_flow.invites())

    async def invite(
        self,
        code: str,
        *,
        signup_credits: int = 0,
        comments: str = "",
        expires_at: datetime | None = None,
    ) -> None:
        """Create a code with which somebody may sign up, as `Admin.invite`."""
        flow = _admin_flow.invite(
            code, signup_credits=signup_credits, comments=comments, expires_at=expires_at
        )
        await self._transport.run(flow)

    async def delete_invite(self, code: str) -> None:
        """Delete a code, as `Admin.delete_invite`."""
        await self._transport.run(_admin_flow.delete_invite(code))

    async def features(self, username: str = "") -> Mapping[str, bool]:
        """Return which features are on, as `Admin.features`."""
        return await self._transport.run(_admin_flow.features(username))

    async def set_feature(self, name: str, *, enabled: bool, username: str = "") -> None:
        """Switch a feature on or off, as `Admin.set_feature`."""
        flow = _admin_flow.set_feature(name, is_enabled=enabled, username=username)
        await self._transport.run(flow)

    def frontend_entries(self, *, page: int = PAGE_MAX) -> AsyncIterator[FrontendEntry]:
        """Go through the texts for front ends, as `Admin.frontend_entries`."""
        return listed_async(
            self._transport, lambda marker: _admin_flow.frontend_entries(marker, page)
        )

    async def frontend_entry(self, name: str) -> FrontendEntry:
        """Return a text for front ends, as `Admin.frontend_entry`."""
        return await self._transport.run(_admin_flow.frontend_entry(name))

    async def set_frontend_entry(self, name: str, value: str) -> FrontendEntry:
        """Create or replace a text for front ends, as `Admin.set_frontend_entry`."""
        return await self._transport.run(_admin_flow.set_frontend_entry(name, value))

    async def delete_frontend_entry(self, name: str) -> None:
        """Delete a text for front ends, as `Admin.delete_frontend_entry`."""
        await self._transport.run(_admin_flow.delete_frontend_entry(name))

    async def image(self, name: ImageName) -> bytes:
        """Return an image of the installation, as `Admin.image`."""
        return await self._transport.run(_admin_flow.image(name))

    async def set_image(self, name: ImageName, content: bytes) -> None:
        """Replace an image of the installation, as `Admin.set_image`."""
        await self._transport.run(_admin_flow.set_image(name, content))

    async def reset_image(self, name: ImageName) -> None:
        """Go back to the default image, as `Admin.reset_image`."""
        await self._transport.run(_admin_flow.reset_image(name))

    async def create_organization_type(self, name: str) -> OrganizationType:
        """Create a type of organizations, as `Admin.create_organization_type`."""
        return await self._transport.run(_account_flow.create_organization_type(name))

    async def delete_organization_type(self, name: str) -> None:
        """Delete a type of organizations, as `Admin.delete_organization_type`."""
        await self._transport.run(_account_flow.delete_organization_type(name))

    async def grant(self, username: str, role: ClusterRole) -> None:
        """Give a user a role in the whole server, as `Admin.grant`."""
        await self._transport.run(_admin_flow.set_role(username, role, is_given=True))

    async def revoke(self, username: str, role: ClusterRole) -> None:
        """Take a role in the whole server from a user, as `Admin.revoke`."""
        await self._transport.run(_admin_flow.set_role(username, role, is_given=False))

    async def add_scm(self, scm: Mapping[str, Any]) -> ScmInfo:
        """Add a host of source, as `Admin.add_scm`."""
        return await self._transport.run(_scm_flow.create(scm))

    async def change_scm(self, scm_id: str, changes: Mapping[str, Any]) -> ScmInfo:
        """Change a host of source, as `Admin.change_scm`."""
        return await self._transport.run(_scm_flow.change(scm_id, changes))

    async def delete_scm(self, scm_id: str) -> None:
        """Remove a host of source, as `Admin.delete_scm`."""
        await self._transport.run(_scm_flow.delete(scm_id))

    async def set_default_scm(self, scm_id: str) -> None:
        """Make a host of source the default, as `Admin.set_default_scm`."""
        await self._transport.run(_scm_flow.make_default(scm_id))

    async def host(self) -> Mapping[str, Any]:
        """Return what the server's host offers to algorithms, as `Admin.host`."""
        return await self._transport.run(_admin_flow.host())

    async def insights_connection(self) -> InsightsConnection:
        """Return where insights go, as `Admin.insights_connection`."""
        return await self._transport.run(_operation_flow.insights_connection())

    async def connect_insights(
        self, connection: InsightsConnection, *, password: str = ""
    ) -> InsightsConnection:
        """Say where insights go, as `Admin.connect_insights`."""
        return await self._transport.run(_operation_flow.connect_insights(connection, password))

    async def disconnect_insights(self) -> None:
        """Have insights go nowhere, as `Admin.disconnect_insights`."""
        await self._transport.run(_operation_flow.disconnect_insights())

    async def quotas(self, account: str) -> AccountQuotas:
        """Return what an account may use, as `Admin.quotas`."""
        return await self._transport.run(_governance_flow.quotas(account))

    async def set_quotas(
        self, account: str, limits: Mapping[str, float | str | None]
    ) -> AccountQuotas:
        """Give an account limits of its own, as `Admin.set_quotas`."""
        return await self._transport.run(_governance_flow.set_quotas(account, limits))

    async def reset_quotas(self, account: str) -> AccountQuotas:
        """Give an account the limits of the server, as `Admin.reset_quotas`."""
        return await self._transport.run(_governance_flow.reset_quotas(account))

    def limited_accounts(self, *, page: int = PAGE_MAX) -> AsyncIterator[str]:
        """Go through the accounts that have limits of their own, as `Admin.limited_accounts`."""
        return listed_async(
            self._transport, lambda marker: _governance_flow.limited_accounts(marker, page)
        )

    def audit(
        self,
        *,
        actor: str = "",
        action: str = "",
        target: str = "",
        outcome: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        page: int = PAGE_MAX,
    ) -> AsyncIterator[AuditEntry]:
        """Go through what was done, as `Admin.audit`."""
        wish = AuditWish(
            actor=actor, action=action, target=target, outcome=outcome, since=since, until=until
        )
        return listed_async(
            self._transport,
            lambda marker: _governance_flow.audit("/v1/admin/audit", wish, marker, page),
        )

    async def export_audit(
        self,
        *,
        actor: str = "",
        action: str = "",
        target: str = "",
        outcome: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncIterator[bytes]:
        """Go through the whole audit log as JSON lines, as `Admin.export_audit`."""
        wish = AuditWish(
            actor=actor, action=action, target=target, outcome=outcome, since=since, until=until
        )
        opened = await self._transport.run(_governance_flow.audit_export(wish))
        try:
            async for piece in opened.stream:
                yield piece
        finally:
            await opened.stream.aclose()
