"""
From a data URI to a spot: what is there for this caller, and may it go there.

A URI is read into a place, the place is found for the caller, and the caller's right is checked.
For a change it is checked again in the transaction that makes it visible. What a caller may not
know of looks like what is not there.

Source: wire specification, "Special names and who may do what", "ACLs".
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from algorium.wire.uris import DataUri
from algorium_server.data.blobs import BlobStore
from algorium_server.data.commits import Commits
from algorium_server.data.connector import Connector
from algorium_server.data.hosted import HostedCollection
from algorium_server.data.places import Level, Place, Space, place_of
from algorium_server.domain.access import (
    Refused,
    Verdict,
    may_read,
    may_use_data,
    may_write,
    may_write_default,
)
from algorium_server.domain.collections import Collection, CollectionKind
from algorium_server.domain.errors import InvalidInput, NotAuthorized, NotFound, PathNotFound
from algorium_server.domain.identity import Principal
from algorium_server.domain.names import check_file_name
from algorium_server.services.directory import Directory
from algorium_server.services.files.locations import Location, Locations
from algorium_server.services.files.sources import Sources
from algorium_server.services.files.spots import Spot
from algorium_server.services.files.upkeep import Upkeep
from algorium_server.store.database import Database


class Finder:
    """
    Finds spots.

    Args:
        database: Where rows are.
        blobs: Where bytes are.
        commits: Makes uploads visible.
        directory: Accounts, roles and algorithms, in memory.
        upkeep: Knows which sessions are open.
        sources: What accounts have connected; None for nothing.
        clock: Tells the time of a change.

    Attributes:
        locations: Finds what places mean.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        directory: Directory,
        *,
        commits: Commits,
        upkeep: Upkeep,
        sources: Sources | None,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._directory = directory
        self._commits = commits
        self._upkeep = upkeep
        self._sources = sources
        self._clock = clock
        self.locations = Locations(database, directory, clock=clock)

    async def spot(self, principal: Principal, uri: DataUri, *, for_writing: bool) -> Spot:
        """
        Find a place where the caller may read, or write.

        Args:
            principal: Who asks.
            uri: A file, or the collection itself; of other sources anything.
            for_writing: Whether something is to be changed there.

        Raises:
            NotAuthorized: The caller may not.
        """
        if is_connected(uri):
            require(may_use_data(principal, for_writing=for_writing))
            if self._sources is None:
                raise NotFound("connector not found")
            return await self._sources.spot(principal, uri, for_writing=for_writing)
        place = place_for(principal, uri, for_writing=for_writing)
        self.check_names(principal, place)
        if place.level not in {Level.COLLECTION, Level.FILE}:
            raise PathNotFound
        if for_writing:
            location = await self.writable(principal, place)
        else:
            location = await self._readable(principal, place)
        return Spot(
            connector=self._hosted(location, writer=principal if for_writing else None),
            path=(place.file,) if place.level is Level.FILE else (),
            uri=location.uri_of(place.file) if place.level is Level.FILE else uri,
            acl=location.collection.acl if place.space is Space.ACCOUNT else None,
            owner_id=location.collection.owner_id,
        )

    async def file_spot(self, principal: Principal, uri: DataUri) -> Spot:
        """
        Find a place where the caller may store a file.

        Raises:
            InvalidInput: There can be no file at this place, or a file cannot be called so.
            NotAuthorized: The caller may not write there.
        """
        if is_connected(uri):
            return await self.spot(principal, uri, for_writing=True)
        place = place_for(principal, uri, for_writing=True)
        if place.level is Level.NOWHERE:
            raise PathNotFound
        if place.level is Level.BELOW:
            raise InvalidInput(f"{uri}: a collection holds files only, no directories")
        if place.level is not Level.FILE:
            raise InvalidInput(f"{uri} is a directory: name a file in it")
        check_file_name(place.file)
        return await self.spot(principal, uri, for_writing=True)

    def check_names(self, principal: Principal, place: Place) -> None:
        """
        Look for what can be known to be absent without looking into the database.

        Raises:
            PathNotFound: It is.
        """
        match place.level:
            case Level.OWNER:
                self.locations.account(principal, place)
            case Level.ALGORITHM:
                self.locations.algorithm(principal, place)
            case Level.BELOW | Level.NOWHERE:
                raise PathNotFound

    async def _readable(self, principal: Principal, place: Place) -> Location:
        location = await self.locations.collection(principal, place)
        if location.algorithm is None:  # else it reads what it was given, whoever calls it
            require(may_read(principal, location.collection))
        return location

    async def writable(self, principal: Principal, place: Place) -> Location:
        """
        Return the collection at or above a place, for a caller who may change it.

        Raises:
            PathNotFound: There is none that the caller may know of.
            NotAuthorized: The caller may not change it.
        """
        location = await self.locations.collection(principal, place)
        collection = location.collection
        require(self._may_write(principal, location, collection))
        if collection.kind is CollectionKind.SESSION:
            self._upkeep.begin_session(collection)
        return location

    def _may_write(
        self, principal: Principal, location: Location, collection: Collection
    ) -> Verdict:
        if location.algorithm is None:
            return may_write(principal, collection)
        owner_id = location.algorithm.owner_id
        return may_write_default(
            collection, algorithm_owner_id=owner_id, roles=self._directory.roles_of(owner_id)
        )

    def _hosted(self, location: Location, *, writer: Principal | None = None) -> Connector:
        def check(collection: Collection) -> None:
            if writer is None:
                raise NotAuthorized
            # Roles may have changed, and the call may have ended, while the bytes arrived.
            roles = self._directory.roles_of(writer.account.account_id)
            require(self._may_write(replace(writer, roles=roles), location, collection))
            if collection.kind is CollectionKind.SESSION and not self._upkeep.is_open(collection):
                raise PathNotFound

        return HostedCollection(
            self._database,
            self._blobs,
            commits=self._commits,
            collection=location.collection,
            check=check,
            clock=self._clock,
        )


def place_for(principal: Principal, uri: DataUri, *, for_writing: bool) -> Place:
    """
    Return what a URI of hosted data points at.

    Raises:
        NotAuthorized: The caller's key does not open the Data API.
    """
    require(may_use_data(principal, for_writing=for_writing))
    return place_of(uri)


def is_connected(uri: DataUri) -> bool:
    """Whether a URI leads to a source that somebody has connected."""
    return uri.protocol != "data"


def require(verdict: Verdict) -> None:
    """
    Go on only if the verdict allows it.

    Raises:
        PathNotFound: It does not, and the caller may not even know what there is.
        NotAuthorized: It does not.
    """
    if not isinstance(verdict, Refused):
        return
    if verdict.is_hidden:
        raise PathNotFound(detail=verdict.reason)
    raise NotAuthorized(detail=verdict.reason)
