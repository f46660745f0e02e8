"""
The collection that a change is about, looked up again within the transaction that makes it.

Source: wire specification, "Special names and who may do what".
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from algorium_server.domain.collections import Collection, CollectionKind
from algorium_server.domain.errors import PathNotFound
from algorium_server.store import files
from algorium_server.store.database import AsyncConnection


class Owned:
    """
    A collection as it was found, whose state and whose caller's right may have changed since.

    Args:
        collection: As it was found; a special collection may not have a row yet.
        check: Raises unless the caller may change the collection it is given.
        clock: Tells the time of a change.
    """

    def __init__(
        self,
        collection: Collection,
        *,
        check: Callable[[Collection], None],
        clock: Callable[[], datetime],
    ) -> None:
        self.check = check
        self._collection = collection
        self._clock = clock

    async def current(self, connection: AsyncConnection, *, is_created: bool = False) -> Collection:
        """
        Return the collection as it is now, for a caller who may change it.

        Args:
            connection: In the transaction of the change.
            is_created: A special collection gets its row if it has none.

        Raises:
            PathNotFound: It is gone.
            NotAuthorized: The caller may not change it any more.
        """
        found = await self._found(connection)
        if found is None and is_created and self._collection.kind is not CollectionKind.ACCOUNT:
            self.check(self._collection)
            found = await files.ensure_special_collection(
                connection, replace(self._collection, created_at=self._clock())
            )
        if found is None:
            raise PathNotFound
        self.check(found)
        return found

    async def _found(self, connection: AsyncConnection) -> Collection | None:
        known = self._collection
        found = await files.special_collection(
            connection,
            kind=known.kind,
            owner_id=known.owner_id,
            algorithm_id=known.algorithm_id,
            name=known.name,
        )
        is_other = found is not None and found.collection_id != known.collection_id
        # Deleted and created anew, an account's collection may belong to new intentions. A special
        # one is the same for ever, whatever row it has.
        return None if is_other and known.kind is CollectionKind.ACCOUNT else found
