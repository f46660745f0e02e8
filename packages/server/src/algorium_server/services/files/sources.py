"""
Sources: from a URI such as `s3+label://bucket/key` to what it means for this caller.

The connector is the caller's own, also when an algorithm asks: it acts for its caller. Credentials
are opened here and handed to the source; nothing above ever sees them.

Open sources are kept for a few minutes with their connections. A changed connector has another
revision, and is another source from then on.

Source: wire specification, "Connectors".
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from time import monotonic
from weakref import WeakValueDictionary

import msgspec

from algorium.wire.uris import DataUri
from algorium_server.data.azure import AzureService
from algorium_server.data.connector import Connector
from algorium_server.data.google import GoogleService
from algorium_server.data.objects import Objects
from algorium_server.data.refusals import Scrubber
from algorium_server.data.s3 import S3Service
from algorium_server.domain.access import Refused, may_use_connectors
from algorium_server.domain.connectors import (
    PLAIN_VALUES,
    ConnectorOptions,
    StorageProtocol,
    StoredConnector,
)
from algorium_server.domain.errors import InvalidInput, NotAuthorized, SourceFailed
from algorium_server.domain.identity import Principal
from algorium_server.domain.limits import (
    SOURCE_OPEN_S,
    SOURCE_UPLOADS_MAX,
    SOURCES_OPEN_MAX,
    SOURCES_UPLOADS_MAX,
)
from algorium_server.sealing import Seal
from algorium_server.services.files.guarded import Guarded, Opened, Source
from algorium_server.services.files.reaching import Reach
from algorium_server.services.files.spots import Spot
from algorium_server.store import connectors as rows
from algorium_server.store.database import Database


class Sources:
    """
    Finds and opens what connectors lead to.

    Args:
        database: Where connectors are.
        seal: Opens their credentials.
        reach: Which endpoints are allowed.
        clock_s: Monotonic seconds.
    """

    def __init__(
        self,
        database: Database,
        seal: Seal,
        reach: Reach,
        *,
        clock_s: Callable[[], float] = monotonic,
    ) -> None:
        self._database = database
        self._seal = seal
        self._reach = reach
        self._clock_s = clock_s
        self._room = asyncio.Semaphore(SOURCES_UPLOADS_MAX)
        # Of an account, not of a connector: it could have many, and take all the room there is.
        self._own_rooms: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._opened: dict[str, Opened] = {}

    async def spot(self, principal: Principal, uri: DataUri, *, for_writing: bool) -> Spot:
        """
        Find a place in a connected source; nothing is asked of the source yet.

        Args:
            principal: Who asks.
            uri: Of any protocol but `data`.
            for_writing: Whether something is to be changed there.

        Raises:
            NotFound: The caller has no such connector.
            NotAuthorized: Its key, or the connector, does not allow it.
        """
        verdict = may_use_connectors(principal, for_writing=for_writing)
        if isinstance(verdict, Refused):
            raise NotAuthorized(detail=verdict.reason)
        async with self._database.reading() as connection:
            stored = await rows.connector_named(
                connection,
                owner_id=principal.account.account_id,
                protocol=StorageProtocol(uri.protocol),
                label=uri.label,
            )
        if for_writing and not stored.is_writeable:
            raise NotAuthorized(f"the connector {uri.connector} is read-only")
        return Spot(connector=self.guarded(stored), path=uri.segments, uri=uri)

    def guarded(self, stored: StoredConnector) -> Connector:
        """Return what a connector leads to, as far as its path goes; opened when it is used."""
        return Guarded(stored, partial(self.held, stored))

    async def held(self, stored: StoredConnector) -> Opened:
        """
        Return a source that stays open until it is released.

        Raises:
            SourceFailed: It cannot be opened.
        """
        opened = await self._current(stored)
        opened.users += 1
        return opened

    async def open(self, stored: StoredConnector, credentials: Mapping[str, str]) -> Source:
        """
        Make a source of its parts; whoever gets it closes it.

        Raises:
            InvalidInput: Its endpoint may not be reached, or a part of it cannot be right.
        """
        options = stored.options
        scrub = Scrubber(value for name, value in credentials.items() if name not in PLAIN_VALUES)
        is_azure = stored.protocol is StorageProtocol.AZURE
        endpoint = credentials["storage_uri"].rstrip("/") if is_azure else options.endpoint
        if endpoint:
            endpoint = await self._reach.checked(endpoint)
        options = replace(options, endpoint=endpoint, allow_http=endpoint.startswith("http://"))
        match stored.protocol:
            case StorageProtocol.S3:
                return Objects(S3Service(credentials, options, scrub))
            case StorageProtocol.GS:
                return Objects(GoogleService(credentials, options, scrub))
            case StorageProtocol.AZURE:
                return Objects(AzureService(credentials, options, scrub))
            case StorageProtocol.DROPBOX:
                make = await asyncio.to_thread(_dropbox)
                return make(credentials, options, scrub)

    def unsealed(self, stored: StoredConnector) -> dict[str, str]:
        """
        Return the credentials of a connector.

        Raises:
            InternalError: They cannot be opened with the keys of this home.
        """
        text = self._seal.unseal(
            stored.sealed, owner=stored.owner_id, name=_sealed_as(stored.connector_id)
        )
        return msgspec.json.decode(text, type=dict[str, str])

    def sealed(self, credentials: Mapping[str, str], *, owner_id: str, connector_id: str) -> bytes:
        """Return credentials as they are kept."""
        text = msgspec.json.encode(dict(credentials))
        return self._seal.seal(text, owner=owner_id, name=_sealed_as(connector_id))

    async def close(self) -> None:
        """Close all sources."""
        while self._opened:
            _, opened = self._opened.popitem()
            await opened.retire()

    async def _current(self, stored: StoredConnector) -> Opened:
        # Nothing may be awaited between here and the count of users in `held`.
        now_s = self._clock_s()
        opened = self._opened.get(stored.revision)
        if opened is not None and now_s < opened.until_s:
            return opened
        try:
            source = await self.open(stored, self.unsealed(stored))
        except InvalidInput as error:  # nobody's input now: it was right when it was stored
            raise SourceFailed(f"{stored.protocol}: {error.message}", hint=error.hint) from None
        own_room = self._own_rooms.setdefault(
            stored.owner_id, asyncio.Semaphore(SOURCE_UPLOADS_MAX)
        )
        fresh = Opened(
            source=source, until_s=now_s + SOURCE_OPEN_S, room=self._room, own_room=own_room
        )
        old = self._opened.pop(stored.revision, None)
        if old is not None and old is not opened:  # somebody else was faster
            old, fresh = fresh, old
        replaced = [] if old is None else [old]
        while len(self._opened) >= SOURCES_OPEN_MAX:
            replaced.append(self._opened.pop(next(iter(self._opened))))
        self._opened[stored.revision] = fresh
        fresh.users += 1  # while the others are closed
        for each in replaced:
            await each.retire()
        fresh.users -= 1
        return fresh


def _sealed_as(connector_id: str) -> str:
    return f"connector/{connector_id}"


def _dropbox() -> Callable[[Mapping[str, str], ConnectorOptions, Scrubber], Source]:
    # Dropbox's library takes a second and 150 MB: only for whom it is used, and in a thread.
    from algorium_server.data.dropbox import Dropbox  # noqa: PLC0415

    return Dropbox
