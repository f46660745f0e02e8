"""
Default collections: what an algorithm calls `data://.algo/default`.

Source: wire specification, "Hosted data listing and default collection".
"""

from algorium_server.domain.access import Refused, Verdict, may_know_of, may_manage, may_write_for
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.collections import CollectionKind
from algorium_server.domain.errors import AlgorithmNotFound, NotAuthorized, PathNotFound
from algorium_server.domain.identity import Principal
from algorium_server.services.auditing import record_on
from algorium_server.services.directory import Directory
from algorium_server.store import defaults
from algorium_server.store.database import Database


class DefaultCollections:
    """
    Gives algorithms their collections.

    Args:
        database: Where rows are.
        directory: Algorithms, in memory.
    """

    def __init__(self, database: Database, directory: Directory) -> None:
        self._database = database
        self._directory = directory

    async def assign(self, principal: Principal, *, algorithm_id: str, collection_id: str) -> None:
        """
        Give an algorithm a collection, in place of the one it had.

        Args:
            principal: Who asks: may manage the one and write the other.
            algorithm_id: Which algorithm.
            collection_id: Which collection; of an account or an organization.

        Raises:
            AlgorithmNotFound: There is no such algorithm for the caller.
            PathNotFound: There is no such collection.
            NotAuthorized: The caller may not.
        """
        algorithm = self._directory.algorithm_by_id(algorithm_id)
        if algorithm is None:
            raise AlgorithmNotFound
        versions = self._directory.versions_of(algorithm.algorithm_id)
        is_published = any(version.is_public for version in versions)
        if not may_know_of(principal, algorithm, is_published=is_published):
            raise AlgorithmNotFound
        _require(may_manage(principal, algorithm.owner_id))
        async with self._database.transaction() as connection:
            found = await defaults.collection_of_id(connection, collection_id)
            if found is None or found.kind is not CollectionKind.ACCOUNT:
                raise PathNotFound
            _require(may_write_for(principal, found.owner_id))
            await defaults.set_default(
                connection, algorithm_id=algorithm.algorithm_id, collection_id=found.collection_id
            )
            await record_on(
                connection,
                principal,
                AuditAction.DEFAULTS_CHANGED,
                algorithm,
                self._directory,
                detail={"collection": found.name, "collection_id": found.collection_id},
            )


def _require(verdict: Verdict) -> None:
    if isinstance(verdict, Refused):
        raise NotAuthorized(detail=verdict.reason)
