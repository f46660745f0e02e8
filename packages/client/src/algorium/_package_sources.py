"""Where builds find packages of an account's own: `client.package_sources`."""

from algorium import _operation_flow
from algorium._transport import AsyncTransport, SyncTransport
from algorium.wire.package_sources import PackageSourcesInfo


class PackageSources:
    """
    Where builds of your algorithms find packages of your own. See `Algorium.package_sources`.

    Example:
        client.package_sources.set(PackageSourcesInfo(wheelhouse="data://.my/wheels"))
        client.package_sources.delete()
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def get(self, account: str = "") -> PackageSourcesInfo:
        """
        Return them, without passwords.

        Args:
            account: An organization that you belong to; you, if left out.

        Raises:
            AccountNotFound: There is none, or not for you.
        """
        return self._transport.run(_operation_flow.package_sources(account))

    def set(self, sources: PackageSourcesInfo, *, account: str = "") -> PackageSourcesInfo:
        """
        Replace them: what *sources* does not have is gone.

        Args:
            sources: A password that is empty stays as the server has it.
            account: An organization; you, if left out.

        Raises:
            InvalidInput: An address is none, or not one that builds may reach.
        """
        return self._transport.run(_operation_flow.set_package_sources(account, sources))

    def delete(self, account: str = "") -> None:
        """
        Forget them: builds get packages from where everybody's do.

        Args:
            account: An organization; you, if left out.
        """
        self._transport.run(_operation_flow.delete_package_sources(account))


class AsyncPackageSources:
    """Where builds of your algorithms find packages of your own; see `PackageSources`."""

    __slots__ = ("_transport",)

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def get(self, account: str = "") -> PackageSourcesInfo:
        """Return them, as `PackageSources.get`."""
        return await self._transport.run(_operation_flow.package_sources(account))

    async def set(self, sources: PackageSourcesInfo, *, account: str = "") -> PackageSourcesInfo:
        """Replace them, as `PackageSources.set`."""
        return await self._transport.run(_operation_flow.set_package_sources(account, sources))

    async def delete(self, account: str = "") -> None:
        """Forget them, as `PackageSources.delete`."""
        await self._transport.run(_operation_flow.delete_package_sources(account))
