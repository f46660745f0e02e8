"""Container registries: `client.registries`."""

from collections.abc import Sequence

from algorium import _operation_flow
from algorium._transport import AsyncTransport, SyncTransport
from algorium.wire.operations import RegistryInfo


class Registries:
    """
    Container registries, entered by administrators. See `Algorium.registries`.

    They are kept for programs that set servers up: algorithms are no images, so none is pushed.

    Example:
        registry = client.registries.create("https://registry.example.com", name="ours")
        client.registries.delete(registry.registry_id)
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def list(self) -> Sequence[RegistryInfo]:
        """Return all of them, oldest first."""
        return self._transport.run(_operation_flow.registries())

    def create(
        self,
        url: str,
        *,
        name: str = "",
        username: str | None = None,
        password: str | None = None,
    ) -> RegistryInfo:
        """
        Enter a registry; for administrators.

        Args:
            url: Where it is.
            name: For people.
            username: For it; only ever sent.
            password: For it; only ever sent.

        Raises:
            InvalidInput: It cannot be one.
        """
        flow = _operation_flow.put_registry(
            "", url=url, name=name, username=username, password=password
        )
        return self._transport.run(flow)

    def replace(
        self,
        registry_id: str,
        url: str,
        *,
        name: str = "",
        username: str | None = None,
        password: str | None = None,
    ) -> RegistryInfo:
        """
        Replace what is said of a registry; a name or password for it that is left out stays.

        Raises:
            NotFound: There is none.
            InvalidInput: It cannot be one.
        """
        flow = _operation_flow.put_registry(
            registry_id, url=url, name=name, username=username, password=password
        )
        return self._transport.run(flow)

    def delete(self, registry_id: str) -> None:
        """
        Delete a registry.

        Raises:
            NotFound: There is none.
        """
        self._transport.run(_operation_flow.delete_registry(registry_id))


class AsyncRegistries:
    """Container registries, entered by administrators; see `Registries`."""

    __slots__ = ("_transport",)

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def list(self) -> Sequence[RegistryInfo]:
        """Return all of them, as `Registries.list`."""
        return await self._transport.run(_operation_flow.registries())

    async def create(
        self,
        url: str,
        *,
        name: str = "",
        username: str | None = None,
        password: str | None = None,
    ) -> RegistryInfo:
        """Enter a registry, as `Registries.create`."""
        flow = _operation_flow.put_registry(
            "", url=url, name=name, username=username, password=password
        )
        return await self._transport.run(flow)

    async def replace(
        self,
        registry_id: str,
        url: str,
        *,
        name: str = "",
        username: str | None = None,
        password: str | None = None,
    ) -> RegistryInfo:
        """Replace what is said of a registry, as `Registries.replace`."""
        flow = _operation_flow.put_registry(
            registry_id, url=url, name=name, username=username, password=password
        )
        return await self._transport.run(flow)

    async def delete(self, registry_id: str) -> None:
        """Delete a registry, as `Registries.delete`."""
        await self._transport.run(_operation_flow.delete_registry(registry_id))
