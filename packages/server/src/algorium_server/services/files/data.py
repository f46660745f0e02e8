"""
The Data API's use cases: who may do what at which place, then the work.

A spot is found for the caller, whose right is checked with it, and a connector does the work.
Uploads are checked before their first byte is read, and again in the transaction that makes them
visible.

Source: wire specification, "Data API, URIs, connectors".
"""

from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from algorium.wire.bodies import ReadAcl
from algorium.wire.uris import DataUri
from algorium_server.data.blobs import BlobStore
from algorium_server.data.commits import Commits
from algorium_server.data.connector import Entry, OpenFile, Page, Span
from algorium_server.data.places import Level, Space
from algorium_server.domain.conditions import UNCONDITIONAL, Preconditions
from algorium_server.domain.errors import (
    InvalidInput,
    TooLarge,
    Unavailable,
)
from algorium_server.domain.identity import Principal
from algorium_server.domain.storage import QuotaOf, no_quota
from algorium_server.services.directory import Directory
from algorium_server.services.files.directories import Directories, OwnedCollection
from algorium_server.services.files.finding import Finder, is_connected, place_for
from algorium_server.services.files.sources import Sources
from algorium_server.services.files.spots import Spot, condition_at
from algorium_server.services.files.transfers import copy, move
from algorium_server.services.files.upkeep import Upkeep
from algorium_server.store.database import Database

_OPEN_ATTEMPTS_MAX: Final = 10
"""A file replaced this often between looking at it and opening it is not being read today."""


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
class StoredFile:
    """
    A file that was stored just now.

    Attributes:
        uri: How answers name it.
    """

    uri: DataUri
    entry: Entry


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
        quota_of: Says what an account may store.
        sources: What accounts have connected; None for nothing.
        clock: Tells the time of a change.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        directory: Directory,
        *,
        file_bytes_max: int | None = None,
        quota_of: QuotaOf = no_quota,
        sources: Sources | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._file_bytes_max = file_bytes_max
        self._commits = Commits(database, quota_of=quota_of, clock=clock)
        self._upkeep = Upkeep(database, blobs, commits=self._commits, clock=clock)
        self._finder = Finder(
            database,
            blobs,
            directory,
            commits=self._commits,
            upkeep=self._upkeep,
            sources=sources,
            clock=clock,
        )
        self._directories = Directories(database, directory, self._finder, clock=clock)

    async def stat(self, principal: Principal, uri: DataUri) -> Entry:
        """
        Tell what is at *uri*.

        Raises:
            NotAuthorized: The caller may not read it.
        """
        if is_connected(uri):
            spot = await self._finder.spot(principal, uri, for_writing=False)
            return replace(await spot.connector.stat(spot.path), name=uri.name)
        place = place_for(principal, uri, for_writing=False)
        self._finder.check_names(principal, place)
        if place.level in {Level.COLLECTION, Level.FILE}:
            spot = await self._finder.spot(principal, uri, for_writing=False)
            entry = await spot.connector.stat(spot.path)
            return entry if spot.path else replace(entry, name=uri.name)
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
        if is_connected(uri):
            spot = await self._finder.spot(principal, uri, for_writing=False)
            if marker or (await spot.connector.stat(spot.path)).is_directory:
                return Listing(page=await spot.connector.page(spot.path, marker=marker))
            return await spot.connector.open(spot.path)
        place = place_for(principal, uri, for_writing=False)
        self._finder.check_names(principal, place)
        if place.level in {Level.COLLECTION, Level.FILE}:
            spot = await self._finder.spot(principal, uri, for_writing=False)
            if spot.path:
                return await spot.connector.open(spot.path)
            page = await spot.connector.page((), marker=marker)
            return Listing(page=page, acl=spot.acl if wants_acl else None)
        return Listing(page=await self._directories.page(principal, place, marker=marker))

    async def open(
        self, principal: Principal, uri: DataUri, *, choose: Callable[[Entry], Span | None]
    ) -> OpenFile | None:
        """
        Open a part of a file, None if it is a directory; whoever gets a file closes it.

        Args:
            principal: Who asks.
            uri: Which file.
            choose: Looks at the file and says which part of it is wanted, None for all of it. What
                it raises is raised. Called again if the file is replaced just then: what it has
                seen last is what is opened.

        Raises:
            NotAuthorized: The caller may not read it.
        """
        if not is_connected(uri) and place_for(principal, uri, for_writing=False).is_directory:
            return None
        spot = await self._finder.spot(principal, uri, for_writing=False)
        for _ in range(_OPEN_ATTEMPTS_MAX):
            entry = await spot.connector.stat(spot.path)
            if entry.is_directory:
                return None
            file = await spot.connector.open(spot.path, span=choose(entry))
            if _are_same(file.entry, entry):
                return file
            await file.close()
        raise Unavailable(f"{uri} is replaced faster than it can be read; try again")

    async def spot(self, principal: Principal, uri: DataUri, *, for_writing: bool) -> Spot:
        """Find a place where the caller may read, or write; see `Finder.spot`."""
        return await self._finder.spot(principal, uri, for_writing=for_writing)

    async def file_spot(self, principal: Principal, uri: DataUri) -> Spot:
        """Find a place where the caller may store a file; see `Finder.file_spot`."""
        return await self._finder.file_spot(principal, uri)

    async def put(
        self,
        principal: Principal,
        uri: DataUri,
        chunks: AsyncIterator[bytes],
        *,
        size_bytes: int | None = None,
        preconditions: Preconditions = UNCONDITIONAL,
    ) -> StoredFile:
        """
        Store a file, or replace it.

        Args:
            principal: Who stores.
            uri: Where.
            chunks: The bytes; not asked for before it is clear that they may be stored. An error
                out of it leaves everything as it was.
            size_bytes: How many bytes, if that is known.
            preconditions: What the caller demands of the file that is there now; judged before the
                bytes are asked for, and again when they become visible.

        Raises:
            InvalidInput: There can be no file at this place, or a file cannot be called so.
            NotAuthorized: The caller may not write there.
            TooLarge: The file is longer than is accepted.
            ConditionFailed: *preconditions* do not hold.
        """
        spot = await self._finder.file_spot(principal, uri)
        self.check_size(size_bytes or 0)
        condition = await condition_at(spot, preconditions)
        entry = await spot.connector.write(
            spot.path, self._bounded(chunks), condition=condition, size_bytes=size_bytes
        )
        return StoredFile(uri=spot.uri, entry=entry)

    async def transfer(
        self,
        principal: Principal,
        source: DataUri,
        target: DataUri,
        *,
        is_move: bool,
        preconditions: Preconditions = UNCONDITIONAL,
    ) -> StoredFile:
        """
        Copy or move a file on the server; within hosted data no bytes are moved.

        Args:
            principal: Who asks: may read the source, change it for a move, and write the target.
            source: The file.
            target: Its new place; what is there is replaced.
            is_move: The source goes. Within hosted data that is one transaction with the rest;
                else the source goes last, and stays if it has changed meanwhile.
            preconditions: What the caller demands of the file at the target.

        Raises:
            InvalidInput: One of the places is no file.
            NotAuthorized: The caller may not read the one or write the other.
            ConditionFailed: *preconditions* do not hold.
        """
        origin = await self._origin(principal, source, is_move=is_move)
        goal = await self._finder.file_spot(principal, target)
        condition = await condition_at(goal, preconditions)
        transfer = move if is_move else copy
        return StoredFile(uri=goal.uri, entry=await transfer(origin, goal, condition=condition))

    async def _origin(self, principal: Principal, source: DataUri, *, is_move: bool) -> Spot:
        spot = await self._finder.spot(principal, source, for_writing=False)
        if not spot.path:
            raise InvalidInput(f"{source} is a directory: name a file in it")
        return await self._finder.spot(principal, source, for_writing=True) if is_move else spot

    async def delete(
        self,
        principal: Principal,
        uri: DataUri,
        *,
        is_forced: bool,
        preconditions: Preconditions = UNCONDITIONAL,
    ) -> int:
        """
        Delete a file or a collection; return how many files and collections are gone.

        Args:
            principal: Who deletes.
            uri: What.
            is_forced: Delete a collection with the files in it.
            preconditions: What the caller demands of the file.

        Raises:
            InvalidInput: The collection is not empty, or the place cannot be deleted at all.
            NotAuthorized: The caller may not write there.
            PartlyDeleted: Some files are gone, others could not be deleted.
            ConditionFailed: *preconditions* do not hold.
        """
        if is_connected(uri):
            spot = await self._finder.spot(principal, uri, for_writing=True)
            condition = await condition_at(spot, preconditions)
            return await self._directories.delete(
                principal, spot, is_forced=is_forced, condition=condition
            )
        place = place_for(principal, uri, for_writing=True)
        self._finder.check_names(principal, place)
        is_collection = place.level is Level.COLLECTION and place.space is Space.ACCOUNT
        if place.is_directory and not is_collection:
            raise InvalidInput(f"{uri} cannot be deleted")
        spot = await self._finder.spot(principal, uri, for_writing=True)
        condition = await condition_at(spot, preconditions)
        return await self._directories.delete(
            principal, spot, is_forced=is_forced, condition=condition
        )

    async def create_directory(
        self, principal: Principal, parent: DataUri, *, name: str, acl: ReadAcl
    ) -> DataUri:
        """Create a directory and return its URI; see `Directories.create`."""
        return await self._directories.create(principal, parent, name=name, acl=acl)

    async def set_acl(self, principal: Principal, uri: DataUri, acl: ReadAcl) -> None:
        """Change who may read a collection; see `Directories.set_acl`."""
        await self._directories.set_acl(principal, uri, acl)

    async def collections(self, principal: Principal) -> list[OwnedCollection]:
        """Return the caller's collections and its organizations'; see `Directories`."""
        return await self._directories.collections(principal)

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

    async def _bounded(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        size_bytes = 0
        async for chunk in chunks:
            size_bytes += len(chunk)
            self.check_size(size_bytes)
            yield chunk

    def check_size(self, size_bytes: int) -> None:
        """
        Refuse a file that is longer than is accepted.

        Raises:
            TooLarge: It is.
        """
        if self._file_bytes_max is not None and size_bytes > self._file_bytes_max:
            raise TooLarge(f"files are limited to {self._file_bytes_max} bytes")


def _are_same(one: Entry, other: Entry) -> bool:
    if one.etag or other.etag:
        return one.etag == other.etag
    return (one.size_bytes, one.modified_at) == (other.size_bytes, other.modified_at)
