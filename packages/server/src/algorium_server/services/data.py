"""
The Data API's use cases: who may do what at which place, then the work.

A URI is read into a place, a place is found for the caller, the caller's right is checked, and a
connector does the work. Uploads are checked before their first byte is read, and again in the
transaction that makes them visible. What a caller may not know of looks like what is not there.

Source: wire specification, "Data API, URIs, connectors".
"""

from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from algorium.wire.bodies import ReadAcl
from algorium.wire.uris import DataUri
from algorium_server.data.blobs import BlobStore
from algorium_server.data.connector import Connector, Entry, OpenFile, Page
from algorium_server.data.hosted import HostedCollection
from algorium_server.data.pages import page_of_folders
from algorium_server.data.places import Level, Place, Space, place_of
from algorium_server.domain.access import (
    Refused,
    Verdict,
    may_read,
    may_use_data,
    may_write,
    may_write_for,
)
from algorium_server.domain.collections import Collection, CollectionKind
from algorium_server.domain.errors import (
    InvalidInput,
    NotAuthorized,
    NotFound,
    PathNotFound,
    TooLarge,
)
from algorium_server.domain.identity import Account, Principal
from algorium_server.domain.names import check_collection_name, check_file_name
from algorium_server.services.directory import Directory
from algorium_server.services.locations import Location, Locations
from algorium_server.services.upkeep import Upkeep
from algorium_server.store import files
from algorium_server.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """
    A page of a directory.

    Attributes:
        acl: Only if it was asked for and the directory has one.
    """

    page: Page
    acl: ReadAcl | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedCollection:
    """A collection with the account that owns it."""

    collection: Collection
    owner: Account


class DataService:
    """
    What can be done with data URIs.

    Every method that takes a principal raises `NotAuthorized` if its key does not open the Data
    API, `PathNotFound` if there is nothing that the caller may know of, and `NotFound` for sources
    that are not connected.

    Args:
        database: Where rows are.
        blobs: Where bytes are.
        directory: Accounts, roles and algorithms, in memory.
        file_bytes_max: The longest file that is accepted; None for any that fits on the disk.
        clock: Tells the time of a change.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        directory: Directory,
        *,
        file_bytes_max: int | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._directory = directory
        self._file_bytes_max = file_bytes_max
        self._clock = clock
        self._locations = Locations(database, directory, clock=clock)
        self._upkeep = Upkeep(database, blobs, clock=clock)

    async def stat(self, principal: Principal, uri: DataUri) -> Entry:
        """
        Tell what is at *uri*.

        Raises:
            NotAuthorized: The caller may not read it.
        """
        place = _place(principal, uri, for_writing=False)
        self._check_names(principal, place)
        if place.level in {Level.COLLECTION, Level.FILE}:
            location = await self._readable(principal, place)
            if place.level is Level.FILE:
                return await self._hosted(location).stat((place.file,))
        return Entry(name=uri.name, is_directory=True)

    async def get(
        self, principal: Principal, uri: DataUri, *, marker: str = "", wants_acl: bool = False
    ) -> Listing | OpenFile:
        """
        List a directory, or open a file; whoever gets a file closes it.

        Args:
            principal: Who asks.
            uri: What.
            marker: Where a listing goes on.
            wants_acl: Tell a collection's ACL with its listing.

        Raises:
            NotAuthorized: The caller may not read it.
            InvalidMarker: No listing gave this marker.
        """
        place = _place(principal, uri, for_writing=False)
        self._check_names(principal, place)
        if place.level in {Level.COLLECTION, Level.FILE}:
            location = await self._readable(principal, place)
            if place.level is Level.FILE:
                return await self._hosted(location).open((place.file,))
            page = await self._hosted(location).page((), marker=marker)
            has_acl = wants_acl and place.space is Space.ACCOUNT
            return Listing(page=page, acl=location.collection.acl if has_acl else None)
        if place.level is Level.ROOT:
            return Listing(page=Page(folders=self._roots(principal)))
        if place.level is Level.ALGORITHM:
            return Listing(page=page_of_folders(("perm", "temp"), marker=marker))
        owner = self._locations.account(principal, place)
        names = [c.name for c in await self._readable_of(principal, owner)]
        return Listing(page=page_of_folders(names, marker=marker))

    async def put(
        self,
        principal: Principal,
        uri: DataUri,
        chunks: AsyncIterator[bytes],
        *,
        size_bytes: int | None = None,
    ) -> DataUri:
        """
        Store a file, or replace it, and return its URI.

        Args:
            principal: Who stores.
            uri: Where.
            chunks: The bytes; not asked for before it is clear that they may be stored. An error
                out of it leaves everything as it was.
            size_bytes: How many bytes, if that is known.

        Raises:
            InvalidInput: There can be no file at this place, or a file cannot be called so.
            NotAuthorized: The caller may not write there.
            TooLarge: The file is longer than is accepted.
        """
        place = _place(principal, uri, for_writing=True)
        if place.level is Level.NOWHERE:
            raise PathNotFound
        if place.level is Level.BELOW:
            raise InvalidInput(f"{uri}: a collection holds files only, no directories")
        if place.level is not Level.FILE:
            raise InvalidInput(f"{uri} is a directory: name a file in it")
        check_file_name(place.file)
        location = await self._writable(principal, place)
        self._check_size(size_bytes or 0)
        connector = self._hosted(location, writer=principal)
        await connector.write((place.file,), self._bounded(chunks))
        return location.uri_of(place.file)

    async def create_directory(
        self, principal: Principal, parent: DataUri, *, name: str, acl: ReadAcl
    ) -> DataUri:
        """
        Create the collection *name* below *parent* and return its URI.

        Raises:
            InvalidInput: There can be no directory below *parent*, or it cannot be called so.
            NotAuthorized: The caller may not write there.
            AlreadyExists: The name is taken.
        """
        place = _place(principal, parent, for_writing=True)
        if place.level is Level.NOWHERE:
            raise PathNotFound
        if place.level is Level.ROOT:
            raise InvalidInput("directories have an owner: create them below data://.my")
        if place.level is not Level.OWNER:
            raise InvalidInput(f"{parent}: directories cannot be nested")
        owner = self._locations.account(principal, place)
        _require(may_write_for(principal, owner.account_id))
        collection = Collection(
            collection_id=str(uuid4()),
            kind=CollectionKind.ACCOUNT,
            owner_id=owner.account_id,
            name=check_collection_name(name),
            acl=acl,
            created_at=self._clock(),
        )
        async with self._database.transaction() as connection:
            await files.add_collection(connection, collection)
        shown = place.owner.lower() if place.is_mine else owner.username
        return DataUri(segments=(shown, name))

    async def set_acl(self, principal: Principal, uri: DataUri, acl: ReadAcl) -> None:
        """
        Change who may read a collection.

        Raises:
            InvalidInput: What is at this place has no ACL.
            NotAuthorized: The caller may not write there.
        """
        place = _place(principal, uri, for_writing=True)
        if place.level is not Level.COLLECTION or place.space is not Space.ACCOUNT:
            raise InvalidInput("ACLs are not supported for this path")
        location = await self._writable(principal, place)
        async with self._database.transaction() as connection:
            await files.set_acl(
                connection, collection_id=location.collection.collection_id, acl=acl
            )

    async def delete(self, principal: Principal, uri: DataUri, *, is_forced: bool) -> int:
        """
        Delete a file or a collection; return how many files and collections are gone.

        Args:
            principal: Who deletes.
            uri: What.
            is_forced: Delete a collection with the files in it.

        Raises:
            InvalidInput: The collection is not empty, or the place cannot be deleted at all.
            NotAuthorized: The caller may not write there.
            PartlyDeleted: Some files are gone, others could not be deleted.
        """
        place = _place(principal, uri, for_writing=True)
        self._check_names(principal, place)
        is_collection = place.level is Level.COLLECTION and place.space is Space.ACCOUNT
        if place.is_directory and not is_collection:
            raise InvalidInput(f"{uri} cannot be deleted")
        connector = self._hosted(await self._writable(principal, place), writer=principal)
        path = (place.file,) if place.level is Level.FILE else ()
        return await connector.delete(path, is_forced=is_forced)

    async def collections(self, principal: Principal) -> list[OwnedCollection]:
        """Return the collections of the caller and of its organizations, by owner and name."""
        _require(may_use_data(principal, for_writing=False))
        owners = [principal.account, *self._organizations(principal)]
        async with self._database.reading() as connection:
            return [
                OwnedCollection(collection=collection, owner=owner)
                for owner in owners
                for collection in await files.collections_of(connection, owner.account_id)
            ]

    def end_session(self, tree_id: str) -> Coroutine[Any, Any, None] | None:
        """Return what deletes a call tree's `.session` and never raises; None if it has none."""
        return self._upkeep.end_session(tree_id)

    async def keep_swept(self, *, since: datetime | None = None) -> None:
        """Remove what has ended by itself, at once and then hourly; see `Upkeep.keep_swept`."""
        await self._upkeep.keep_swept(since=since)

    async def sweep(self, now: datetime) -> None:
        """Delete temporary files older than a day and sessions of crashed processes."""
        await self._upkeep.sweep(now)

    async def sweep_blobs(self, *, before: datetime) -> int:
        """
        Delete blobs that no row points to and return how many: looks at every one of them.

        Args:
            before: Only blobs last written before; the row of a younger one may still follow.
        """
        return await self._upkeep.sweep_blobs(before=before)

    def _check_names(self, principal: Principal, place: Place) -> None:
        # What can be known to be absent without looking into the database.
        match place.level:
            case Level.OWNER:
                self._locations.account(principal, place)
            case Level.ALGORITHM:
                self._locations.algorithm(principal, place)
            case Level.BELOW | Level.NOWHERE:
                raise PathNotFound

    async def _readable(self, principal: Principal, place: Place) -> Location:
        location = await self._locations.collection(principal, place)
        _require(may_read(principal, location.collection))
        return location

    async def _writable(self, principal: Principal, place: Place) -> Location:
        location = await self._locations.collection(principal, place)
        collection = location.collection
        _require(may_write(principal, collection))
        if collection.kind is CollectionKind.SESSION:
            self._upkeep.begin_session(collection)
        return location

    async def _readable_of(self, principal: Principal, owner: Account) -> list[Collection]:
        async with self._database.reading() as connection:
            collections = await files.collections_of(connection, owner.account_id)
        return [c for c in collections if not isinstance(may_read(principal, c), Refused)]

    def _hosted(self, location: Location, *, writer: Principal | None = None) -> Connector:
        def check(collection: Collection) -> None:
            if writer is None:
                raise NotAuthorized
            # Roles may have changed, and the call may have ended, while the bytes arrived.
            roles = self._directory.roles_of(writer.account.account_id)
            _require(may_write(replace(writer, roles=roles), collection))
            if collection.kind is CollectionKind.SESSION and not self._upkeep.is_open(collection):
                raise PathNotFound

        return HostedCollection(
            self._database,
            self._blobs,
            collection=location.collection,
            check=check,
            clock=self._clock,
        )

    def _roots(self, principal: Principal) -> tuple[str, ...]:
        # The caller comes first: an old client takes the first entry for its own name.
        others = (account.username for account in self._organizations(principal))
        return (principal.account.username, *others)

    def _organizations(self, principal: Principal) -> list[Account]:
        found = (self._directory.account(organization_id) for organization_id in principal.roles)
        return sorted((a for a in found if a is not None), key=lambda account: account.username)

    async def _bounded(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        size_bytes = 0
        async for chunk in chunks:
            size_bytes += len(chunk)
            self._check_size(size_bytes)
            yield chunk

    def _check_size(self, size_bytes: int) -> None:
        if self._file_bytes_max is not None and size_bytes > self._file_bytes_max:
            raise TooLarge(f"files are limited to {self._file_bytes_max} bytes")


def _place(principal: Principal, uri: DataUri, *, for_writing: bool) -> Place:
    _require(may_use_data(principal, for_writing=for_writing))
    if uri.protocol != "data":
        raise NotFound("connector not found")
    return place_of(uri)


def _require(verdict: Verdict) -> None:
    if not isinstance(verdict, Refused):
        return
    if verdict.is_hidden:
        raise PathNotFound(detail=verdict.reason)
    raise NotAuthorized(detail=verdict.reason)
