"""
Directories of the Data API: what is listed above the files, how collections begin, who reads them.

Above the collections nothing is stored: the root and the owners follow from who asks.

Source: wire specification, "Special names and who may do what", "Directories", "ACLs".
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from algorium.wire.bodies import ReadAcl
from algorium.wire.uris import DataUri
from algorium_server.data.connector import Page
from algorium_server.data.pages import page_of_folders
from algorium_server.data.places import Level, Place, Space
from algorium_server.domain.access import Refused, may_read, may_use_data, may_write_for
from algorium_server.domain.audit import AuditAction, Outcome
from algorium_server.domain.collections import Collection, CollectionKind
from algorium_server.domain.conditions import Condition
from algorium_server.domain.errors import AlgoriumError, InvalidInput, PathNotFound
from algorium_server.domain.identity import Account, Principal
from algorium_server.domain.names import check_collection_name, check_file_name
from algorium_server.services.auditing import record
from algorium_server.services.directory import Directory
from algorium_server.services.files.finding import Finder, is_connected, place_for, require
from algorium_server.services.files.spots import Spot
from algorium_server.store import files
from algorium_server.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedCollection:
    """A collection with the account that owns it."""

    collection: Collection
    owner: Account


class Directories:
    """
    What can be done with directories.

    Args:
        database: Where rows are.
        directory: Accounts and roles, in memory.
        finder: Finds places for callers.
        clock: Tells the time of a change.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        finder: Finder,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._directory = directory
        self._finder = finder
        self._clock = clock

    async def page(self, principal: Principal, place: Place, *, marker: str = "") -> Page:
        """
        List what is at a place above all collections.

        Raises:
            InvalidMarker: No listing gave this marker.
        """
        if place.level is Level.ROOT:
            return Page(folders=self._roots(principal))
        if place.level is Level.ALGORITHM:
            return page_of_folders(("perm", "temp"), marker=marker)
        owner = self._finder.locations.account(principal, place)
        names = [c.name for c in await self._readable_of(principal, owner)]
        return page_of_folders(names, marker=marker)

    async def create(
        self, principal: Principal, parent: DataUri, *, name: str, acl: ReadAcl
    ) -> DataUri:
        """
        Create the collection *name* below *parent* and return its URI.

        Raises:
            InvalidInput: There can be no directory below *parent*, or it cannot be called so.
            NotAuthorized: The caller may not write there.
            AlreadyExists: The name is taken.
        """
        if is_connected(parent):
            spot = await self._finder.spot(
                principal, parent.child(check_file_name(name)), for_writing=True
            )
            await spot.connector.create_directory(spot.path)
            return spot.uri
        place = place_for(principal, parent, for_writing=True)
        if place.level is Level.NOWHERE:
            raise PathNotFound
        if place.level is Level.ROOT:
            raise InvalidInput("directories have an owner: create them below data://.my")
        if place.level is not Level.OWNER:
            raise InvalidInput(f"{parent}: directories cannot be nested")
        owner = self._finder.locations.account(principal, place)
        require(may_write_for(principal, owner.account_id))
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
        require(may_use_data(principal, for_writing=True))
        if is_connected(uri):
            raise InvalidInput("ACLs are not supported for this path")
        place = place_for(principal, uri, for_writing=True)
        if place.level is not Level.COLLECTION or place.space is not Space.ACCOUNT:
            raise InvalidInput("ACLs are not supported for this path")
        location = await self._finder.writable(principal, place)
        async with self._database.transaction() as connection:
            await files.set_acl(
                connection, collection_id=location.collection.collection_id, acl=acl
            )
            await record(
                connection,
                principal,
                AuditAction.COLLECTION_ACL_CHANGED,
                str(uri),
                about=location.collection.owner_id,
                detail={"before": str(location.collection.acl), "after": str(acl)},
            )

    async def delete(
        self, principal: Principal, spot: Spot, *, is_forced: bool, condition: Condition
    ) -> int:
        """
        Delete what is at a spot; directories, and what may be one, are recorded.

        A forced deletion takes many steps: it is recorded before the first, so that nothing is
        gone without an entry, and once more if it fails.
        """

        async def note(outcome: Outcome) -> None:
            async with self._database.transaction() as connection:
                await record(
                    connection,
                    principal,
                    AuditAction.DIRECTORY_DELETED,
                    str(spot.uri),
                    outcome=outcome,
                    about=spot.owner_id,
                    detail={"forced": str(is_forced).lower()},
                )

        is_recorded = not spot.path or (is_forced and not spot.owner_id)
        if is_recorded and is_forced:
            await note(Outcome.DONE)
        try:
            count = await spot.connector.delete(spot.path, is_forced=is_forced, condition=condition)
        except AlgoriumError:
            if is_recorded and is_forced:
                await note(Outcome.FAILED)
            raise
        if is_recorded and not is_forced:
            await note(Outcome.DONE)
        return count

    async def collections(self, principal: Principal) -> list[OwnedCollection]:
        """Return the collections of the caller and of its organizations, by owner and name."""
        require(may_use_data(principal, for_writing=False))
        owners = [principal.account, *self._organizations(principal)]
        async with self._database.reading() as connection:
            return [
                OwnedCollection(collection=collection, owner=owner)
                for owner in owners
                for collection in await files.collections_of(connection, owner.account_id)
            ]

    async def _readable_of(self, principal: Principal, owner: Account) -> list[Collection]:
        async with self._database.reading() as connection:
            collections = await files.collections_of(connection, owner.account_id)
        return [c for c in collections if not isinstance(may_read(principal, c), Refused)]

    def _roots(self, principal: Principal) -> tuple[str, ...]:
        # The caller comes first: an old client takes the first entry for its own name.
        others = (account.username for account in self._organizations(principal))
        return (principal.account.username, *others)

    def _organizations(self, principal: Principal) -> list[Account]:
        found = (self._directory.account(organization_id) for organization_id in principal.roles)
        return sorted((a for a in found if a is not None), key=lambda account: account.username)
