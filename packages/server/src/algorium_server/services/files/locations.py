"""
From a place to what is there for this caller: accounts, algorithms, collections.

Names become values, `.my`, `.session` and the short forms become whose they are for the caller.
Nothing here decides who may read or write; only what must look absent is left out.

Source: wire specification, "Special names and who may do what".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from algorium.wire.refs import AlgorithmRef
from algorium.wire.uris import DataUri
from algorium_server.data.groups import Group
from algorium_server.data.places import CALLER, Place, Space
from algorium_server.domain.access import may_know_of
from algorium_server.domain.algorithms import Algorithm
from algorium_server.domain.collections import Collection, CollectionKind
from algorium_server.domain.errors import InvalidInput, PathNotFound
from algorium_server.domain.identity import Account, Principal
from algorium_server.domain.limits import COMMITTED_AT_ONCE_FILES_MAX
from algorium_server.services.directory import Directory
from algorium_server.store import files, puts
from algorium_server.store.columns import is_storable, name_key
from algorium_server.store.database import Database
from algorium_server.store.defaults import default_of
from algorium_server.store.puts import Named


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """
    A collection that was found for a caller.

    Attributes:
        collection: A special collection without files has no row; it is there all the same.
        segments: How answers name it: owners as stored, the caller as `.my` if so asked.
        algorithm: The algorithm that was given the collection and calls it its default one; for
            all other ways to a collection None.
    """

    collection: Collection
    segments: tuple[str, ...]
    algorithm: Algorithm | None = None

    def uri_of(self, file: str) -> DataUri:
        """Return the URI by which answers name a file in it."""
        return DataUri(segments=(*self.segments, file))


class Locations:
    """Finds what places mean."""

    def __init__(
        self, database: Database, directory: Directory, *, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._directory = directory
        self._clock = clock
        # Most requests begin with this question; those that ask together are answered together.
        self._named: Group[Named, Collection | None] = Group(
            self._find, size_max=COMMITTED_AT_ONCE_FILES_MAX
        )

    def account(self, principal: Principal, place: Place) -> Account:
        """
        Return the owner that *place* names.

        Raises:
            PathNotFound: There is no such account.
        """
        if place.is_mine:
            return principal.account
        account = self._directory.account_named(place.owner)
        if account is None:
            raise PathNotFound
        return account

    def algorithm(self, principal: Principal, place: Place) -> Algorithm:
        """
        Return the algorithm that *place* names, or the one that asks where the name is implied.

        Raises:
            PathNotFound: There is none that the caller may know of.
            InvalidInput: The name is implied, and no algorithm asks.
        """
        if place.algorithm:
            owner = self.account(principal, place)
            ref = AlgorithmRef(owner=owner.username, name=place.algorithm)
            algorithm = self._directory.algorithm(ref)
        elif principal.acting is None:
            raise InvalidInput(
                f"data://.algo/{place.space.value} has a meaning inside algorithms only: "
                "outside name the algorithm, data://.algo/OWNER/NAME/temp"
            )
        else:
            algorithm = self._directory.algorithm_by_id(principal.acting.algorithm_id)
        if algorithm is None or not may_know_of(
            principal, algorithm, is_published=self._is_published(algorithm)
        ):
            raise PathNotFound
        return algorithm

    async def collection(self, principal: Principal, place: Place) -> Location:
        """
        Return the collection at or above *place*.

        Raises:
            PathNotFound: There is none.
            InvalidInput: The place has no meaning outside algorithms.
        """
        match place.space:
            case Space.ACCOUNT:
                return await self._of_account(principal, place)
            case Space.SESSION:
                return await self._of_session(principal)
            case Space.TEMP | Space.PERM:
                return await self._of_algorithm(principal, place)
            case Space.DEFAULT:
                return await self._default(principal, place)

    async def _find(self, names: Sequence[Named]) -> list[Collection | Exception | None]:
        storable = [name for name in names if is_storable(name[1])]
        found = await self._database.read(lambda conn: puts.collections_named(conn, storable))
        return [found.get(name) for name in names]

    async def _of_account(self, principal: Principal, place: Place) -> Location:
        owner = self.account(principal, place)
        found = await self._named.ask((owner.account_id, name_key(place.collection)))
        if found is None:
            raise PathNotFound
        shown = CALLER if place.is_mine else owner.username
        return Location(collection=found, segments=(shown, found.name))

    async def _of_session(self, principal: Principal) -> Location:
        if principal.acting is None:
            raise PathNotFound
        session = self._special(principal, CollectionKind.SESSION, name=principal.acting.tree_id)
        return Location(collection=await self._stored(session), segments=(".session",))

    async def _of_algorithm(self, principal: Principal, place: Place) -> Location:
        algorithm = self.algorithm(principal, place)
        kind = CollectionKind(place.space.value)
        wanted = self._special(
            principal, kind, name=kind.value, algorithm_id=algorithm.algorithm_id
        )
        # The long form even if the short one was used: the algorithm may hand it to its caller.
        owner = self._directory.owner_name(algorithm)
        return Location(
            collection=await self._stored(wanted),
            segments=(".algo", owner, algorithm.name, kind.value),
        )

    async def _default(self, principal: Principal, place: Place) -> Location:
        algorithm = self.algorithm(principal, place)
        async with self._database.reading() as connection:
            found = await default_of(connection, algorithm.algorithm_id)
        if found is None:
            raise PathNotFound  # no collection has been assigned to the algorithm
        return Location(collection=found, segments=(".algo", "default"), algorithm=algorithm)

    def _special(
        self, principal: Principal, kind: CollectionKind, *, name: str, algorithm_id: str = ""
    ) -> Collection:
        return Collection(
            collection_id=str(uuid4()),
            kind=kind,
            owner_id=principal.account.account_id,
            algorithm_id=algorithm_id,
            name=name,
            created_at=self._clock(),
        )

    async def _stored(self, special: Collection) -> Collection:
        async with self._database.reading() as connection:
            found = await files.special_collection(
                connection,
                kind=special.kind,
                owner_id=special.owner_id,
                algorithm_id=special.algorithm_id,
                name=special.name,
            )
        return found or special

    def _is_published(self, algorithm: Algorithm) -> bool:
        return any(v.is_public for v in self._directory.versions_of(algorithm.algorithm_id))
