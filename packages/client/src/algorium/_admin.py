"""What administrators set for a whole server: `client.admin`."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from algorium import _account_flow, _admin_flow, _governance_flow, _operation_flow, _scm_flow
from algorium._admin_flow import ClusterRole, ImageName
from algorium._algorithm_flow import PAGE_MAX
from algorium._governance_flow import AuditWish
from algorium._paging import listed
from algorium._transport import SyncTransport
from algorium.wire.accounts import OrganizationType
from algorium.wire.governance import AccountQuotas, AuditEntry
from algorium.wire.installation import FrontendEntry, InviteInfo
from algorium.wire.operations import InsightsConnection
from algorium.wire.scms import ScmInfo


class Admin:
    """
    What administrators set for a whole server; takes an admin key. See `Algorium.admin`.

    Users and organizations are in `Algorium.users` and `Algorium.organizations`.

    Example:
        client.admin.grant("jane", "cluster_viewer")
        client.admin.set_feature("algorithm-errors", enabled=False)
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def invites(self) -> Sequence[InviteInfo]:
        """Return all codes with which somebody may sign up, oldest first."""
        return self._transport.run(_admin_flow.invites())

    def invite(
        self,
        code: str,
        *,
        signup_credits: int = 0,
        comments: str = "",
        expires_at: datetime | None = None,
    ) -> None:
        """
        Create a code with which somebody may sign up.

        Args:
            code: The code.
            signup_credits: Kept for front ends that show them.
            comments: For administrators.
            expires_at: When it ends, with a time zone; never, if left out.

        Raises:
            ApiError: There is such a code, or it cannot be one; the message says which.
            ValueError: *expires_at* has no time zone.
        """
        flow = _admin_flow.invite(
            code, signup_credits=signup_credits, comments=comments, expires_at=expires_at
        )
        self._transport.run(flow)

    def delete_invite(self, code: str) -> None:
        """
        Delete a code.

        Raises:
            NotFound: There is none.
        """
        self._transport.run(_admin_flow.delete_invite(code))

    def features(self, username: str = "") -> Mapping[str, bool]:
        """
        Return which features are on.

        Args:
            username: For this user; for everybody, if left out.

        Raises:
            AccountNotFound: There is no such user.
        """
        return self._transport.run(_admin_flow.features(username))

    def set_feature(self, name: str, *, enabled: bool, username: str = "") -> None:
        """
        Switch a feature on or off.

        Args:
            name: One of `features`.
            enabled: Whether it is on from now on.
            username: For this user; for everybody, if left out.

        Raises:
            NotFound: There is no such feature or user.
        """
        flow = _admin_flow.set_feature(name, is_enabled=enabled, username=username)
        self._transport.run(flow)

    def frontend_entries(self, *, page: int = PAGE_MAX) -> Iterator[FrontendEntry]:
        """
        Go through the texts for front ends by name; takes no key.

        Args:
            page: Texts to fetch at once, at most 1000; pages are fetched as you go on.
        """
        return listed(self._transport, lambda marker: _admin_flow.frontend_entries(marker, page))

    def frontend_entry(self, name: str) -> FrontendEntry:
        """
        Return a text for front ends; takes no key.

        Raises:
            NotFound: There is none.
        """
        return self._transport.run(_admin_flow.frontend_entry(name))

    def set_frontend_entry(self, name: str, value: str) -> FrontendEntry:
        """Create or replace a text for front ends. Everybody can read it: no secrets."""
        return self._transport.run(_admin_flow.set_frontend_entry(name, value))

    def delete_frontend_entry(self, name: str) -> None:
        """
        Delete a text for front ends.

        Raises:
            NotFound: There is none.
        """
        self._transport.run(_admin_flow.delete_frontend_entry(name))

    def image(self, name: ImageName) -> bytes:
        """
        Return an image of the installation; takes no key.

        Args:
            name: `favicon` or `logo`.
        """
        return self._transport.run(_admin_flow.image(name))

    def set_image(self, name: ImageName, content: bytes) -> None:
        """
        Replace an image of the installation.

        Args:
            name: `favicon` or `logo`.
            content: A PNG, JPEG, GIF, WebP or ICO image.

        Raises:
            InvalidRequest: It is none of these, or larger than such an image may be.
            TooLarge: It is larger than any upload may be.
        """
        self._transport.run(_admin_flow.set_image(name, content))

    def reset_image(self, name: ImageName) -> None:
        """Go back to the default image: `favicon` or `logo`."""
        self._transport.run(_admin_flow.reset_image(name))

    def create_organization_type(self, name: str) -> OrganizationType:
        """
        Create a type of organizations.

        Raises:
            InvalidRequest: There is one of this name.
        """
        return self._transport.run(_account_flow.create_organization_type(name))

    def delete_organization_type(self, name: str) -> None:
        """
        Delete a type of organizations.

        Raises:
            InvalidRequest: There are organizations of it, or every server has it.
        """
        self._transport.run(_account_flow.delete_organization_type(name))

    def grant(self, username: str, role: ClusterRole) -> None:
        """
        Give a user a role in the whole server.

        Args:
            username: Who.
            role: `cluster_viewer`, who sees what administrators see, or `cluster_admin`.

        Raises:
            AccountNotFound: There is no such user.
        """
        self._transport.run(_admin_flow.set_role(username, role, is_given=True))

    def revoke(self, username: str, role: ClusterRole) -> None:
        """
        Take a role in the whole server from a user.

        Raises:
            AccountNotFound: There is no such user.
            InvalidRequest: It is the last administrator.
        """
        self._transport.run(_admin_flow.set_role(username, role, is_given=False))

    def add_scm(self, scm: Mapping[str, Any]) -> ScmInfo:
        """
        Add a host of source.

        Args:
            scm: As the reference of HTTP has it: `provider`, `urls`, `oauth` or `scm`, and if
                wanted `id`, `name`, `enabled`.

        Raises:
            ApiError: It cannot be; the message says why.
        """
        return self._transport.run(_scm_flow.create(scm))

    def change_scm(self, scm_id: str, changes: Mapping[str, Any]) -> ScmInfo:
        """
        Change a host of source; what is left out stays.

        Args:
            scm_id: Which one.
            changes: Some of `enabled`, `urls` (all three of them), `name`, `oauth`.

        Raises:
            NotFound: There is none.
        """
        return self._transport.run(_scm_flow.change(scm_id, changes))

    def delete_scm(self, scm_id: str) -> None:
        """
        Remove a host of source.

        Raises:
            NotFound: There is none.
            ApiError: It is enabled, or an algorithm uses it.
        """
        self._transport.run(_scm_flow.delete(scm_id))

    def set_default_scm(self, scm_id: str) -> None:
        """
        Make a host of source the one for new algorithms that name none.

        Raises:
            NotFound: There is none.
        """
        self._transport.run(_scm_flow.make_default(scm_id))

    def host(self) -> Mapping[str, Any]:
        """Return what the server's host offers to algorithms: what `algorium doctor` prints."""
        return self._transport.run(_admin_flow.host())

    def insights_connection(self) -> InsightsConnection:
        """
        Return where insights go that algorithms report, and how far they come.

        Raises:
            NotFound: Nowhere.
        """
        return self._transport.run(_operation_flow.insights_connection())

    def connect_insights(
        self, connection: InsightsConnection, *, password: str = ""
    ) -> InsightsConnection:
        """
        Say where insights go that algorithms report.

        Args:
            connection: Its type is `kafka_sasl_ssl` or `kafka_unauthenticated_plaintext`.
            password: For the broker; only ever sent.

        Raises:
            InvalidInput: Something is missing or cannot be.
        """
        return self._transport.run(_operation_flow.connect_insights(connection, password))

    def disconnect_insights(self) -> None:
        """Have insights go nowhere."""
        self._transport.run(_operation_flow.disconnect_insights())

    def quotas(self, account: str) -> AccountQuotas:
        """
        Return what an account may use, and how much of it is used.

        Raises:
            AccountNotFound: There is none.
        """
        return self._transport.run(_governance_flow.quotas(account))

    def set_quotas(self, account: str, limits: Mapping[str, float | str | None]) -> AccountQuotas:
        """
        Give an account limits of its own; what is not named stays.

        Args:
            account: A user or an organization.
            limits: By quota: a number, `unlimited`, or None for the limit of the server.

        Raises:
            AccountNotFound: There is none.
            InvalidInput: There is no such quota, or it cannot be that.
        """
        return self._transport.run(_governance_flow.set_quotas(account, limits))

    def reset_quotas(self, account: str) -> AccountQuotas:
        """
        Give an account the limits of the server.

        Raises:
            AccountNotFound: There is none.
        """
        return self._transport.run(_governance_flow.reset_quotas(account))

    def limited_accounts(self, *, page: int = PAGE_MAX) -> Iterator[str]:
        """
        Go through the names of accounts that have limits of their own.

        Args:
            page: Names to fetch at once, at most 1000; pages are fetched as you go on.
        """
        return listed(
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
    ) -> Iterator[AuditEntry]:
        """
        Go through what was done on the whole server, newest first.

        Pages are fetched as you go on.

        Args:
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
        return listed(
            self._transport,
            lambda marker: _governance_flow.audit("/v1/admin/audit", wish, marker, page),
        )

    def export_audit(
        self,
        *,
        actor: str = "",
        action: str = "",
        target: str = "",
        outcome: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[bytes]:
        """
        Go through the whole audit log, oldest first, as JSON lines to be written to a file.

        They come in pieces of any size and are not held in memory. The filters are those of
        `audit`. An export is recorded in the log itself.

        Raises:
            NotAuthorized: The key may not see it.
            ConnectionLost: It was cut off: what has come is not all.

        Example:
            with open("audit.jsonl", "wb") as file:
                file.writelines(client.admin.export_audit())
        """
        wish = AuditWish(
            actor=actor, action=action, target=target, outcome=outcome, since=since, until=until
        )
        opened = self._transport.run(_governance_flow.audit_export(wish))
        try:
            yield from opened.stream
        finally:
            opened.stream.close()
