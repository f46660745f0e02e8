"""What keeps the values of secrets: `client.secret_providers`."""

from collections.abc import Mapping, Sequence
from typing import Any

from algorium import _secret_flow
from algorium._transport import AsyncTransport, SyncTransport
from algorium._wishes import given
from algorium.wire.secrets import ProviderInfo

_ON_THE_WIRE = {"kind": "factoryClassName", "is_enabled": "isEnabled", "is_default": "isDefault"}


def _wish(**told: Any) -> dict[str, Any]:
    """Return what is to be, as the wire spells it; None is left out."""
    return {_ON_THE_WIRE.get(name, name): value for name, value in given(**told).items()}


class SecretProviders:
    """
    What keeps the values of secrets. See `Algorium.secret_providers`.

    All but `offered` is for administrators.

    Example:
        for provider in client.secret_providers.offered():
            print(provider.provider_id, provider.name)
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def offered(self) -> Sequence[ProviderInfo]:
        """Return what secrets can be kept by, for everybody; the default comes first."""
        return self._transport.run(_secret_flow.offered_providers())

    def list(self) -> Sequence[ProviderInfo]:
        """
        Return all providers, those included that are switched off.

        Raises:
            NotAuthorized: The key is no admin key.
        """
        return self._transport.run(_secret_flow.providers())

    def get(self, provider_id: str) -> ProviderInfo:
        """
        Return a provider.

        Raises:
            NotFound: There is none.
        """
        return self._transport.run(_secret_flow.provider(provider_id))

    def create(
        self,
        name: str,
        kind: str,
        *,
        configuration: Mapping[str, str] | None = None,
        description: str | None = None,
        is_enabled: bool | None = None,
        is_default: bool | None = None,
    ) -> ProviderInfo:
        """
        Add a provider that answers.

        Args:
            name: For people.
            kind: Which kind of provider, such as `HashiCorpVault`.
            configuration: How it is reached; only ever sent.
            description: For people.
            is_enabled: Whether secrets can be kept by it; they can, if left out.
            is_default: Whether it keeps secrets that name none.

        Raises:
            InvalidInput: There is no such kind, or it does not answer.
        """
        wish = _wish(
            name=name,
            kind=kind,
            configuration=configuration,
            description=description,
            is_enabled=is_enabled,
            is_default=is_default,
        )
        return self._transport.run(_secret_flow.create_provider(wish))

    def update(
        self,
        provider_id: str,
        *,
        name: str | None = None,
        configuration: Mapping[str, str] | None = None,
        description: str | None = None,
        is_enabled: bool | None = None,
    ) -> ProviderInfo:
        """
        Change a provider; what is left out stays as it is. Arguments as for `create`.

        Raises:
            NotFound: There is none.
            InvalidInput: It does not answer so.
        """
        wish = _wish(
            name=name,
            configuration=configuration,
            description=description,
            is_enabled=is_enabled,
        )
        return self._transport.run(_secret_flow.update_provider(provider_id, wish))

    def delete(self, provider_id: str) -> None:
        """
        Delete a provider that keeps no secrets.

        Raises:
            NotFound: There is none.
            ApiError: It keeps secrets.
        """
        self._transport.run(_secret_flow.delete_provider(provider_id))

    def make_default(self, provider_id: str) -> None:
        """
        Make a provider the one for secrets that name none.

        Raises:
            NotFound: There is none.
        """
        self._transport.run(_secret_flow.make_provider_default(provider_id))


class AsyncSecretProviders:
    """What keeps the values of secrets; see `SecretProviders`."""

    __slots__ = ("_transport",)

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def offered(self) -> Sequence[ProviderInfo]:
        """Return what secrets can be kept by, as `SecretProviders.offered`."""
        return await self._transport.run(_secret_flow.offered_providers())

    async def list(self) -> Sequence[ProviderInfo]:
        """Return all providers, as `SecretProviders.list`."""
        return await self._transport.run(_secret_flow.providers())

    async def get(self, provider_id: str) -> ProviderInfo:
        """Return a provider, as `SecretProviders.get`."""
        return await self._transport.run(_secret_flow.provider(provider_id))

    async def create(
        self,
        name: str,
        kind: str,
        *,
        configuration: Mapping[str, str] | None = None,
        description: str | None = None,
        is_enabled: bool | None = None,
        is_default: bool | None = None,
    ) -> ProviderInfo:
        """Add a provider that answers, as `SecretProviders.create`."""
        wish = _wish(
            name=name,
            kind=kind,
            configuration=configuration,
            description=description,
            is_enabled=is_enabled,
            is_default=is_default,
        )
        return await self._transport.run(_secret_flow.create_provider(wish))

    async def update(
        self,
        provider_id: str,
        *,
        name: str | None = None,
        configuration: Mapping[str, str] | None = None,
        description: str | None = None,
        is_enabled: bool | None = None,
    ) -> ProviderInfo:
        """Change a provider, as `SecretProviders.update`."""
        wish = _wish(
            name=name,
            configuration=configuration,
            description=description,
            is_enabled=is_enabled,
        )
        return await self._transport.run(_secret_flow.update_provider(provider_id, wish))

    async def delete(self, provider_id: str) -> None:
        """Delete a provider that keeps no secrets, as `SecretProviders.delete`."""
        await self._transport.run(_secret_flow.delete_provider(provider_id))

    async def make_default(self, provider_id: str) -> None:
        """Make a provider the one for secrets that name none, as `SecretProviders.make_default`."""
        await self._transport.run(_secret_flow.make_provider_default(provider_id))
