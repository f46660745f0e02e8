"""Slots kept warm: `client.reservations`."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from algorium import _operation_flow
from algorium._authoring import parsed
from algorium._transport import AsyncTransport, SyncTransport
from algorium.wire.operations import ReservationInfo
from algorium.wire.refs import AlgorithmRef

VersionType: TypeAlias = Literal["latest_public", "latest_private", "latest", "semantic", "hash"]
"""Which version is meant; the first three change with what is published."""


class Reservations:
    """
    Slots that are kept warm for accounts; for administrators. See `Algorium.reservations`.

    Example:
        client.reservations.create("demo/Hello", "admin", slots=1)
        for reservation in client.reservations.list():
            client.reservations.delete(reservation.reservation_id)
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def list(self) -> Sequence[ReservationInfo]:
        """
        Return all of them, oldest first.

        Raises:
            NotAuthorized: The key is no admin key.
        """
        return self._transport.run(_operation_flow.reservations())

    def create(
        self,
        ref: str | AlgorithmRef,
        account: str,
        *,
        slots: int,
        version_type: VersionType = "latest",
        version: str = "",
    ) -> None:
        """
        Keep slots warm.

        Args:
            ref: `owner/name` of the algorithm.
            account: Whose calls they are for; each account has slots of its own.
            slots: How many.
            version_type: Of what: of the newest version, or of the one that *version* names.
            version: `1.2.3` with `semantic`, a whole commit with `hash`.

        Raises:
            InvalidInput: There is no such algorithm, version or account, or too many slots.
            NotAuthorized: The key is no admin key.
        """
        flow = _operation_flow.reserve(parsed(ref), account, slots, version_type, version)
        self._transport.run(flow)

    def delete(self, reservation_id: str) -> None:
        """
        Keep those slots warm no longer; calls under way go on.

        Raises:
            NotFound: There is no such reservation.
        """
        self._transport.run(_operation_flow.release(reservation_id))


class AsyncReservations:
    """Slots that are kept warm for accounts; see `Reservations`."""

    __slots__ = ("_transport",)

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def list(self) -> Sequence[ReservationInfo]:
        """Return all of them, as `Reservations.list`."""
        return await self._transport.run(_operation_flow.reservations())

    async def create(
        self,
        ref: str | AlgorithmRef,
        account: str,
        *,
        slots: int,
        version_type: VersionType = "latest",
        version: str = "",
    ) -> None:
        """Keep slots warm, as `Reservations.create`."""
        flow = _operation_flow.reserve(parsed(ref), account, slots, version_type, version)
        await self._transport.run(flow)

    async def delete(self, reservation_id: str) -> None:
        """Keep those slots warm no longer, as `Reservations.delete`."""
        await self._transport.run(_operation_flow.release(reservation_id))
