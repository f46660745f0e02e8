"""
Upkeep of hosted data: what ends by itself, without anybody asking for it.

Session data ends with its call tree, temporary files after about a day, and blobs that no row
points to an hour after they were written. Everything here may be repeated and may run beside
uploads; what fails is tried again by the next sweep.

Source: wire specification, "Special names and who may do what".
"""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from algorium_server.data.blobs import BlobStore
from algorium_server.data.commits import Commits
from algorium_server.data.hosted import HostedCollection
from algorium_server.domain.collections import Collection, CollectionKind
from algorium_server.domain.errors import AlgoriumError, PathNotFound
from algorium_server.domain.limits import BLOB_GRACE_S, SWEEP_EVERY_S, TEMP_COLLECTION_AGE_S
from algorium_server.services.sweeping import keep_sweeping
from algorium_server.store import files
from algorium_server.store.database import Database
from algorium_server.telemetry import logger

_log = logger(__name__)

_CLOCK_SLACK_S: Final = 1.0
"""File systems keep times more coarsely than clocks tell them."""


class Upkeep:
    """Ends sessions, and sweeps."""

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        *,
        commits: Commits,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._commits = commits
        self._clock = clock
        # Owners of the call trees of this process that store files: most do not, and end for free.
        self._sessions: dict[str, str] = {}

    def begin_session(self, session: Collection) -> None:
        """Note that a call tree is about to store files."""
        self._sessions[session.name] = session.owner_id

    def is_open(self, session: Collection) -> bool:
        """Whether a call tree that stores files has not ended."""
        return session.name in self._sessions

    def end_session(self, tree_id: str) -> Coroutine[Any, Any, None] | None:
        """Return what deletes the data of a call tree and never raises; None if it has none."""
        owner_id = self._sessions.pop(tree_id, None)
        return None if owner_id is None else self._end_session(tree_id, owner_id)

    async def _end_session(self, tree_id: str, owner_id: str) -> None:
        session = Collection(
            collection_id=str(uuid4()),
            kind=CollectionKind.SESSION,
            owner_id=owner_id,
            name=tree_id,
            created_at=self._clock(),
        )
        try:
            await self._remove(session)
        except AlgoriumError as error:
            _log.warning(
                "session data stays until it is swept", tree_id=tree_id, detail=error.detail
            )

    async def keep_swept(
        self, *, since: datetime | None = None, every_s: float = SWEEP_EVERY_S
    ) -> None:
        """
        Sweep now and then every so often, until cancelled.

        Args:
            since: When the first process began that may be writing blobs now; what is older and
                has no row was left by a crash, and goes at once. By default now: only for a
                server that has its blobs to itself.
            every_s: Between two sweeps.
        """
        began_at = since or self._clock()
        is_first = True

        async def sweep() -> None:
            nonlocal is_first
            age_s = _CLOCK_SLACK_S if is_first else BLOB_GRACE_S
            before = (began_at if is_first else self._clock()) - timedelta(seconds=age_s)
            is_first = False
            await self.sweep(self._clock())
            await self.sweep_blobs(before=before)

        await keep_sweeping(sweep, what="files", every_s=every_s)

    async def sweep(self, now: datetime) -> None:
        """Delete old temporary files, and sessions of processes that crashed."""
        before = now - timedelta(seconds=TEMP_COLLECTION_AGE_S)
        async with self._database.reading() as connection:
            sessions, temporary = [
                await files.special_collections_before(connection, kind=kind, created_before=before)
                for kind in (CollectionKind.SESSION, CollectionKind.TEMP)
            ]
        for collection in sessions:
            await self._remove(collection)
        for collection in temporary:
            with suppress(PathNotFound):
                await self._connector(collection).expire(before=before)

    async def sweep_blobs(self, *, before: datetime) -> int:
        """Delete blobs and half-written files from *before* that no row points to; count them."""
        async with self._database.reading() as connection:
            live = {key async for key in files.blob_keys(connection)}
        return await self._blobs.sweep(live, before=before)

    async def _remove(self, collection: Collection) -> None:
        with suppress(PathNotFound):
            await self._connector(collection).delete((), is_forced=True)

    def _connector(self, collection: Collection) -> HostedCollection:
        return HostedCollection(
            self._database,
            self._blobs,
            commits=self._commits,
            collection=collection,
            check=_allow,
            clock=self._clock,
        )


def _allow(_: Collection) -> None:
    """Let the server itself change a collection."""
