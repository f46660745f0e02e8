"""The client for `asyncio`, of the same shape as the blocking one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import date
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from algorium import _flow
from algorium._algorithms import AsyncAlgorithmHandle
from algorium._client import BaseClient, as_ref, as_uri
from algorium._config import Connection
from algorium._flow import USAGE_PAGE_MAX, CallOptions, UsageWish
from algorium._http import TransportOptions
from algorium._transport import AsyncTransport
from algorium.wire.refs import AlgorithmRef
from algorium.wire.uris import DataUri
from algorium.wire.usage import UsageRecord, UsageTotal

if TYPE_CHECKING:
    from algorium._admin_async import AsyncAdmin
    from algorium._authoring_async import AsyncAlgorithms
    from algorium._connector_flow import StorageUse
    from algorium._connectors import AsyncConnectors
    from algorium._data_async import AsyncDataDirectory, AsyncDataFile
    from algorium._environments import AsyncEnvironments
    from algorium._event_listeners import AsyncEventListeners
    from algorium._keys import AsyncKeys
    from algorium._notifications import AsyncNotifications
    from algorium._organizations import AsyncOrganizations
    from algorium._package_sources import AsyncPackageSources
    from algorium._registries import AsyncRegistries
    from algorium._reports import AsyncReports
    from algorium._reservations import AsyncReservations
    from algorium._scms import AsyncScms
    from algorium._secret_providers import AsyncSecretProviders
    from algorium._sessions import AsyncSessions
    from algorium._upload_flow import UnfinishedUpload
    from algorium._users import AsyncUsers


class AsyncAlgorium(BaseClient[AsyncTransport]):
    """
    A client of an Algorium server for `asyncio`, of the same shape as `Algorium`.

    Belongs to one event loop. Close it with `aclose`, or use it in an `async with` block.

    Example:
        async with AsyncAlgorium() as client:
            response = await client.algo("demo/Hello").pipe("HAL 9000")
    """

    def _open(self, connection: Connection, options: TransportOptions) -> AsyncTransport:
        return AsyncTransport(connection, options)

    def algo(self, ref: str | AlgorithmRef) -> AsyncAlgorithmHandle:
        """Return a handle of an algorithm, as `Algorium.algo`; nothing is sent yet."""
        return AsyncAlgorithmHandle(self._transport, as_ref(ref), CallOptions())

    def file(self, uri: str | DataUri) -> AsyncDataFile:
        """Return a file by its data URI, as `Algorium.file`; nothing is sent yet."""
        from algorium._data_async import AsyncDataFile  # noqa: PLC0415

        return AsyncDataFile(self._transport, as_uri(uri))

    def dir(self, uri: str | DataUri = "data://") -> AsyncDataDirectory:
        """Return a directory by its data URI, as `Algorium.dir`; nothing is sent yet."""
        from algorium._data_async import AsyncDataDirectory  # noqa: PLC0415

        return AsyncDataDirectory(self._transport, as_uri(uri))

    @property
    def connectors(self) -> AsyncConnectors:
        """Storage elsewhere that your account has connected, as `Algorium.connectors`."""
        from algorium._connectors import AsyncConnectors  # noqa: PLC0415

        return AsyncConnectors(self._transport)

    @property
    def algorithms(self) -> AsyncAlgorithms:
        """Algorithms that you make, as `Algorium.algorithms`."""
        from algorium._authoring_async import AsyncAlgorithms  # noqa: PLC0415

        return AsyncAlgorithms(self._transport)

    @property
    def environments(self) -> AsyncEnvironments:
        """Languages and environments, as `Algorium.environments`."""
        from algorium._environments import AsyncEnvironments  # noqa: PLC0415

        return AsyncEnvironments(self._transport)

    @property
    def users(self) -> AsyncUsers:
        """Users of the server, as `Algorium.users`."""
        from algorium._users import AsyncUsers  # noqa: PLC0415

        return AsyncUsers(self._transport)

    @property
    def organizations(self) -> AsyncOrganizations:
        """Organizations, as `Algorium.organizations`."""
        from algorium._organizations import AsyncOrganizations  # noqa: PLC0415

        return AsyncOrganizations(self._transport)

    @property
    def keys(self) -> AsyncKeys:
        """API keys, as `Algorium.keys`."""
        from algorium._keys import AsyncKeys  # noqa: PLC0415

        return AsyncKeys(self._transport)

    @property
    def scms(self) -> AsyncScms:
        """Hosts of source, as `Algorium.scms`."""
        from algorium._scms import AsyncScms  # noqa: PLC0415

        return AsyncScms(self._transport)

    @property
    def admin(self) -> AsyncAdmin:
        """What administrators set for a whole server, as `Algorium.admin`."""
        from algorium._admin_async import AsyncAdmin  # noqa: PLC0415

        return AsyncAdmin(self._transport)

    @property
    def sessions(self) -> AsyncSessions:
        """Browsers that you are signed in with, as `Algorium.sessions`."""
        from algorium._sessions import AsyncSessions  # noqa: PLC0415

        return AsyncSessions(self._transport)

    @property
    def notifications(self) -> AsyncNotifications:
        """What you were told, as `Algorium.notifications`."""
        from algorium._notifications import AsyncNotifications  # noqa: PLC0415

        return AsyncNotifications(self._transport)

    @property
    def event_listeners(self) -> AsyncEventListeners:
        """Queues whose messages are meant for algorithms, as `Algorium.event_listeners`."""
        from algorium._event_listeners import AsyncEventListeners  # noqa: PLC0415

        return AsyncEventListeners(self._transport)

    @property
    def package_sources(self) -> AsyncPackageSources:
        """Where builds find packages of your own, as `Algorium.package_sources`."""
        from algorium._package_sources import AsyncPackageSources  # noqa: PLC0415

        return AsyncPackageSources(self._transport)

    @property
    def secret_providers(self) -> AsyncSecretProviders:
        """What keeps the values of secrets, as `Algorium.secret_providers`."""
        from algorium._secret_providers import AsyncSecretProviders  # noqa: PLC0415

        return AsyncSecretProviders(self._transport)

    @property
    def registries(self) -> AsyncRegistries:
        """Container registries, as `Algorium.registries`."""
        from algorium._registries import AsyncRegistries  # noqa: PLC0415

        return AsyncRegistries(self._transport)

    @property
    def reservations(self) -> AsyncReservations:
        """Slots that are kept warm, as `Algorium.reservations`."""
        from algorium._reservations import AsyncReservations  # noqa: PLC0415

        return AsyncReservations(self._transport)

    @property
    def reports(self) -> AsyncReports:
        """Reports of what was used, as `Algorium.reports`."""
        from algorium._reports import AsyncReports  # noqa: PLC0415

        return AsyncReports(self._transport)

    async def openapi(self) -> dict[str, Any]:
        """Return what the server can be asked for, as `Algorium.openapi`."""
        from algorium import _algorithm_flow  # noqa: PLC0415

        return await self._transport.run(_algorithm_flow.openapi(None))

    async def unfinished_uploads(self) -> list[UnfinishedUpload]:
        """Return uploads that were cut off, as `Algorium.unfinished_uploads`."""
        from algorium import _upload_flow  # noqa: PLC0415

        return await self._transport.run(_upload_flow.begun())

    async def abandon_upload(self, upload: UnfinishedUpload) -> None:
        """Give up an upload that was cut off, as `Algorium.abandon_upload`."""
        from algorium import _upload_flow  # noqa: PLC0415

        await self._transport.run(_upload_flow.abandon(upload.upload_id))

    async def storage(self, account: str = "") -> StorageUse:
        """Return what your account stores and may store, as `Algorium.storage`."""
        from algorium import _connector_flow  # noqa: PLC0415

        return await self._transport.run(_connector_flow.storage(account))

    async def usage(
        self,
        *,
        since: date | None = None,
        until: date | None = None,
        algorithm: str | AlgorithmRef = "",
        account: str = "",
        page: int = USAGE_PAGE_MAX,
    ) -> AsyncIterator[UsageRecord]:
        """Go through what each call of your account took, as `Algorium.usage`."""
        wish = UsageWish(since=since, until=until, algorithm=str(algorithm), account=account)
        marker = ""
        while True:
            flow = _flow.usage(wish, UsageRecord, limit=page, marker=marker)
            found = await self._transport.run(flow)
            for record in found.results:
                yield record
            if not (marker := found.marker):
                return

    async def usage_totals(
        self,
        *,
        by: Sequence[str] = (),
        since: date | None = None,
        until: date | None = None,
        algorithm: str | AlgorithmRef = "",
        account: str = "",
    ) -> list[UsageTotal]:
        """Return what the calls of your account took together, as `Algorium.usage_totals`."""
        wish = UsageWish(
            since=since, until=until, algorithm=str(algorithm), account=account, by=tuple(by)
        )
        return await self._transport.run(_flow.usage_totals(wish))

    async def aclose(self) -> None:
        """Close all connections. The client and its handles cannot be used any more."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
