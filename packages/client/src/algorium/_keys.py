"""API keys: `client.keys`."""

from collections.abc import Sequence
from datetime import datetime

from algorium import _key_flow
from algorium._key_flow import KeyWish, Owner
from algorium._transport import AsyncTransport, SyncTransport
from algorium.wire.keys import KeyInfo, KeyPermissions


class Keys:
    """
    API keys of yours, or of an organization that you own. See `Algorium.keys`.

    Administrators may name anybody. All of it takes a management key of the account, or an admin
    key.

    Example:
        key = client.keys.create("nightly", permissions=KeyPermissions(allow_data=True))
        print(key.value)  # the only time that it can be read
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def list(self, *, user: str = "", organization: str = "") -> Sequence[KeyInfo]:
        """
        Return the keys of an account, oldest first, without their values.

        Args:
            user: Of this user; yours, if both are left out.
            organization: Of this organization.

        Raises:
            AccountNotFound: There is no such account.
            NotAuthorized: The key at hand may not manage it.
        """
        return self._transport.run(_key_flow.keys(Owner(user=user, organization=organization)))

    def create(
        self,
        label: str = "",
        *,
        kind: str = "AlgorithmKey",
        permissions: KeyPermissions | None = None,
        expires_at: datetime | None = None,
        user: str = "",
        organization: str = "",
    ) -> KeyInfo:
        """
        Create a key. Its value is in the answer, and cannot be read again.

        Args:
            label: For people.
            kind: `AlgorithmKey`, `ManagementKey`, or for administrators `PlatformAdminKey`.
            permissions: What it may be used for; left out, it may what its kind implies. No key
                makes one that may more than itself.
            expires_at: When it ends, with a time zone; never, if left out.
            user: Of this user; yours, if both are left out.
            organization: Of this organization.

        Raises:
            AccountNotFound: There is no such account.
            NotAuthorized: The key at hand may not manage it, or may not as much.
            ValueError: *expires_at* has no time zone.
        """
        wish = KeyWish(label=label, kind=kind, permissions=permissions, expires_at=expires_at)
        owner = Owner(user=user, organization=organization)
        return self._transport.run(_key_flow.create(owner, wish))

    def rotate(
        self,
        key_id: str,
        *,
        grace_s: float | None = None,
        user: str = "",
        organization: str = "",
    ) -> KeyInfo:
        """
        Replace a key: create one that may the same, and let the old one end after a while.

        Args:
            key_id: From `list`.
            grace_s: How many seconds the old one stays valid; a day, if left out, and 0 ends it at
                once.
            user: Of this user; yours, if both are left out.
            organization: Of this organization.

        Returns:
            The new key, with its value.

        Raises:
            NotFound: There is no such key.
            NotAuthorized: The key at hand may not manage it.
        """
        owner = Owner(user=user, organization=organization)
        return self._transport.run(_key_flow.rotate(owner, key_id, grace_s))

    def delete(self, key_id: str, *, user: str = "", organization: str = "") -> None:
        """
        Delete a key: it is refused from the next request on.

        Raises:
            NotFound: There is none.
            NotAuthorized: The key at hand may not manage it.
        """
        owner = Owner(user=user, organization=organization)
        self._transport.run(_key_flow.delete(owner, key_id))

    def bring(
        self,
        user: str,
        value: str,
        *,
        label: str = "",
        kind: str = "AlgorithmKey",
        permissions: KeyPermissions | None = None,
        expires_at: datetime | None = None,
    ) -> KeyInfo:
        """
        Create a key of a user whose value comes from elsewhere; for administrators.

        So programs that have a key of another server go on with it.

        Args:
            user: Whose it becomes.
            value: 16 to 128 printable ASCII characters without spaces.
            label: As for `create`, and so the others.
            kind: What kind of key.
            permissions: What it may be used for.
            expires_at: When it ends.

        Raises:
            AlreadyExists: There is a key with this value.
            AccountNotFound: There is no such user.
        """
        wish = KeyWish(label=label, kind=kind, permissions=permissions, expires_at=expires_at)
        return self._transport.run(_key_flow.bring(user, wish, value))

    def create_for_member(
        self,
        organization: str,
        user: str,
        *,
        label: str = "",
        kind: str = "AlgorithmKey",
        permissions: KeyPermissions | None = None,
        expires_at: datetime | None = None,
    ) -> KeyInfo:
        """
        Create a key of a member of an organization; for administrators.

        Args:
            organization: To which the user belongs.
            user: Whose key it becomes.
            label: As for `create`, and so the others.
            kind: What kind of key.
            permissions: What it may be used for.
            expires_at: When it ends.

        Raises:
            AccountNotFound: There is no such organization, or it has no such member.
        """
        wish = KeyWish(label=label, kind=kind, permissions=permissions, expires_at=expires_at)
        return self._transport.run(_key_flow.create_for_member(organization, user, wish))


class AsyncKeys:
    """API keys; see `Keys`."""

    __slots__ = ("_transport",)

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def list(self, *, user: str = "", organization: str = "") -> Sequence[KeyInfo]:
        """Return the keys of an account, as `Keys.list`."""
        owner = Owner(user=user, organization=organization)
        return await self._transport.run(_key_flow.keys(owner))

    async def create(
        self,
        label: str = "",
        *,
        kind: str = "AlgorithmKey",
        permissions: KeyPermissions | None = None,
        expires_at: datetime | None = None,
        user: str = "",
        organization: str = "",
    ) -> KeyInfo:
        """Create a key, as `Keys.create`."""
        wish = KeyWish(label=label, kind=kind, permissions=permissions, expires_at=expires_at)
        owner = Owner(user=user, organization=organization)
        return await self._transport.run(_key_flow.create(owner, wish))

    async def rotate(
        self,
        key_id: str,
        *,
        grace_s: float | None = None,
        user: str = "",
        organization: str = "",
    ) -> KeyInfo:
        """Replace a key, as `Keys.rotate`."""
        owner = Owner(user=user, organization=organization)
        return await self._transport.run(_key_flow.rotate(owner, key_id, grace_s))

    async def delete(self, key_id: str, *, user: str = "", organization: str = "") -> None:
        """Delete a key, as `Keys.delete`."""
        owner = Owner(user=user, organization=organization)
        await self._transport.run(_key_flow.delete(owner, key_id))

    async def bring(
        self,
        user: str,
        value: str,
        *,
        label: str = "",
        kind: str = "AlgorithmKey",
        permissions: KeyPermissions | None = None,
        expires_at: datetime | None = None,
    ) -> KeyInfo:
        """Create a key whose value comes from elsewhere, as `Keys.bring`."""
        wish = KeyWish(label=label, kind=kind, permissions=permissions, expires_at=expires_at)
        return await self._transport.run(_key_flow.bring(user, wish, value))

    async def create_for_member(
        self,
        organization: str,
        user: str,
        *,
        label: str = "",
        kind: str = "AlgorithmKey",
        permissions: KeyPermissions | None = None,
        expires_at: datetime | None = None,
    ) -> KeyInfo:
        """Create a key of a member of an organization, as `Keys.create_for_member`."""
        wish = KeyWish(label=label, kind=kind, permissions=permissions, expires_at=expires_at)
        return await self._transport.run(_key_flow.create_for_member(organization, user, wish))
