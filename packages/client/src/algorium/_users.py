"""Users of the server: `client.users`."""

from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Unpack

from algorium import _account_flow, _governance_flow
from algorium._account_flow import UserChanges, UserTexts, path_to
from algorium._algorithm_flow import PAGE_MAX
from algorium._governance_flow import AuditWish
from algorium._paging import listed, listed_async
from algorium._transport import AsyncTransport, SyncTransport
from algorium.wire.accounts import UserInfo
from algorium.wire.governance import AccountQuotas, AuditEntry


class Users:
    """
    Users of the server: yourself, and for administrators everybody. See `Algorium.users`.

    Example:
        me = client.users.me()
        client.users.update(me.username, fullname="Ada Lovelace")
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def me(self) -> UserInfo:
        """
        Return the user to whom the key belongs.

        Raises:
            NotAuthenticated: It belongs to nobody.
        """
        return self._transport.run(_account_flow.me())

    def list(self, *, page: int = PAGE_MAX) -> Iterator[UserInfo]:
        """
        Go through all users by name; for administrators.

        Args:
            page: Users to fetch at once, at most 1000; pages are fetched as you go on.

        Raises:
            NotAuthorized: The key is no admin key.
        """
        return listed(self._transport, lambda marker: _account_flow.users(marker, page))

    def get(self, username: str) -> UserInfo:
        """
        Return a user: yourself, or for administrators any.

        Args:
            username: Its name, in any case, or its id.

        Raises:
            AccountNotFound: There is none.
            NotAuthorized: It is another one.
        """
        return self._transport.run(_account_flow.user(username))

    def create(self, username: str, email: str, **told: Unpack[UserTexts]) -> UserInfo:
        """
        Create a user with a key, `default-key`; for administrators.

        The value of the key is in `api_key` of the answer, and in no other.

        Args:
            username: What to call it, for ever: letters, digits and underscores.
            email: Its address.
            **told: `fullname`, `company_name`, `company_role`, `external_id`, `disabled`.

        Raises:
            AlreadyExists: The name or the address is taken.
            InvalidInput: Nobody can be called so.
            NotAuthorized: The key is no admin key.
        """
        return self._transport.run(_account_flow.create_user(username, email, told))

    def sign_up(
        self, code: str, username: str, email: str, password: str, *, fullname: str = ""
    ) -> UserInfo:
        """
        Become a user with an invite; takes no key.

        The value of the user's key is in `api_key` of the answer, and in no other.

        Args:
            code: Of the invite; see `Admin.invite`.
            username: What to be called, for ever: letters, digits and underscores.
            email: The user's address.
            password: Twelve characters at least.
            fullname: What people are called.

        Raises:
            AlreadyExists: The name or the address is taken.
            ApiError: There is no such invite, or something cannot be; the message says which.
        """
        return self._transport.run(_account_flow.sign_up(code, username, email, password, fullname))

    def update(self, username: str, **told: Unpack[UserChanges]) -> UserInfo:
        """
        Change a user: yourself, or for administrators any. What is left out stays.

        Args:
            username: Its name or id.
            **told: `fullname`, `company_name`, `company_role`; for administrators also `email`,
                `external_id` and `disabled`: all its keys are refused until it is enabled.

        Raises:
            AccountNotFound: There is none.
            NotAuthorized: It is another one.
        """
        return self._transport.run(_account_flow.update_user(username, told))

    def delete(self, username: str) -> None:
        """
        Delete a user with its private algorithms, data and keys; for administrators.

        Its name and address are never used again.

        Raises:
            AccountNotFound: There is none.
            InvalidRequest: An organization would be without owner, or an algorithm that was
                published for all without its own.
        """
        self._transport.run(_account_flow.delete_user(username))

    def set_password(self, username: str, password: str) -> None:
        """
        Set the password with which a user may use git; keys stay as they are.

        Args:
            username: Yourself, or for administrators any.
            password: Twelve characters at least.

        Raises:
            ApiError: It is not good enough, or not yours to set; the message says why.
        """
        self._transport.run(_account_flow.set_password(username, password))

    def quotas(self, username: str = "") -> AccountQuotas:
        """
        Return what a user may use, and how much of it is used.

        Args:
            username: For administrators any; you, if left out.

        Raises:
            AccountNotFound: There is none, or not for you.
        """
        return self._transport.run(_governance_flow.quotas_of_user(username))

    def audit(
        self,
        username: str,
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
        Go through what a user did and what was done to it, newest first.

        Pages are fetched as you go on.

        Args:
            username: Yourself, or for administrators any.
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
        path = path_to("users", username, "audit")
        return listed(
            self._transport,
            lambda marker: _governance_flow.audit(path, wish, marker, page),
        )


class AsyncUsers:
    """Users of the server; see `Users`."""

    __slots__ = ("_transport",)

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def me(self) -> UserInfo:
        """Return the user to whom the key belongs, as `Users.me`."""
        return await self._transport.run(_account_flow.me())

    def list(self, *, page: int = PAGE_MAX) -> AsyncIterator[UserInfo]:
        """Go through all users by name, as `Users.list`."""
        return listed_async(self._transport, lambda marker: _account_flow.users(marker, page))

    async def get(self, username: str) -> UserInfo:
        """Return a user, as `Users.get`."""
        return await self._transport.run(_account_flow.user(username))

    async def create(self, username: str, email: str, **told: Unpack[UserTexts]) -> UserInfo:
        """Create a user with a key, as `Users.create`."""
        return await self._transport.run(_account_flow.create_user(username, email, told))

    async def sign_up(
        self, code: str, username: str, email: str, password: str, *, fullname: str = ""
    ) -> UserInfo:
        """Become a user with an invite, as `Users.sign_up`."""
        return await self._transport.run(
            _account_flow.sign_up(code, username, email, password, fullname)
        )

    async def update(self, username: str, **told: Unpack[UserChanges]) -> UserInfo:
        """Change a user, as `Users.update`."""
        return await self._transport.run(_account_flow.update_user(username, told))

    async def delete(self, username: str) -> None:
        """Delete a user, as `Users.delete`."""
        await self._transport.run(_account_flow.delete_user(username))

    async def set_password(self, username: str, password: str) -> None:
        """Set the password with which a user may use git, as `Users.set_password`."""
        await self._transport.run(_account_flow.set_password(username, password))

    async def quotas(self, username: str = "") -> AccountQuotas:
        """Return what a user may use, as `Users.quotas`."""
        return await self._transport.run(_governance_flow.quotas_of_user(username))

    def audit(
        self,
        username: str,
        *,
        actor: str = "",
        action: str = "",
        target: str = "",
        outcome: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        page: int = PAGE_MAX,
    ) -> AsyncIterator[AuditEntry]:
        """Go through what was done, as `Users.audit`."""
        wish = AuditWish(
            actor=actor, action=action, target=target, outcome=outcome, since=since, until=until
        )
        path = path_to("users", username, "audit")
        return listed_async(
            self._transport,
            lambda marker: _governance_flow.audit(path, wish, marker, page),
        )
