"""Secrets of an algorithm: `client.algorithms(ref).secrets`."""

from collections.abc import Sequence

from algorium import _secret_flow
from algorium._transport import AsyncTransport, SyncTransport
from algorium.wire.refs import AlgorithmRef
from algorium.wire.secrets import SecretInfo


class Secrets:
    """
    Environment variables that only the slots of one algorithm have. See `ManagedAlgorithm.secrets`.

    Example:
        secrets = client.algorithms("ada/Weather").secrets
        secrets.set("WEATHER_TOKEN", "...", description="Of the weather service")
    """

    __slots__ = ("_ref", "_transport")

    def __init__(self, transport: SyncTransport, ref: AlgorithmRef) -> None:
        self._transport = transport
        self._ref = ref

    def list(self) -> Sequence[SecretInfo]:
        """
        Return all of them by their variables, without their values: those never come back.

        Raises:
            AlgorithmNotFound: There is no such algorithm.
            NotAuthorized: You may not change it.
        """
        return self._transport.run(_secret_flow.secrets(self._ref))

    def set(
        self,
        variable: str,
        value: str | None = None,
        *,
        name: str | None = None,
        description: str | None = None,
        provider_id: str = "",
    ) -> SecretInfo:
        """
        Set a variable, whether it is there or not; calls that begin afterwards find the new value.

        Args:
            variable: Letters, digits and underscores.
            value: What it holds; None leaves that as it is.
            name: What people call it; the variable by default.
            description: What it is for.
            provider_id: What keeps the value, for a new one; the server's default if left out.

        Raises:
            ApiError: It cannot be; the message says why.
        """
        flow = _secret_flow.put(
            self._ref,
            variable,
            value,
            name=name,
            description=description,
            provider_id=provider_id,
        )
        return self._transport.run(flow)

    def delete(self, variable: str) -> None:
        """
        Delete a variable with its value.

        Raises:
            NotFound: There is none.
        """
        self._transport.run(_secret_flow.delete(self._ref, variable))


class AsyncSecrets:
    """Environment variables of one algorithm; see `Secrets`."""

    __slots__ = ("_ref", "_transport")

    def __init__(self, transport: AsyncTransport, ref: AlgorithmRef) -> None:
        self._transport = transport
        self._ref = ref

    async def list(self) -> Sequence[SecretInfo]:
        """Return all of them, as `Secrets.list`."""
        return await self._transport.run(_secret_flow.secrets(self._ref))

    async def set(
        self,
        variable: str,
        value: str | None = None,
        *,
        name: str | None = None,
        description: str | None = None,
        provider_id: str = "",
    ) -> SecretInfo:
        """Set a variable, as `Secrets.set`."""
        flow = _secret_flow.put(
            self._ref,
            variable,
            value,
            name=name,
            description=description,
            provider_id=provider_id,
        )
        return await self._transport.run(flow)

    async def delete(self, variable: str) -> None:
        """Delete a variable, as `Secrets.delete`."""
        await self._transport.run(_secret_flow.delete(self._ref, variable))
