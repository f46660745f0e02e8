"""Pushes elsewhere that no webhook told of, looked for now and then; old messages forgotten."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from algorium_server.domain.algorithms import BuildTrigger
from algorium_server.domain.errors import AlgoriumError
from algorium_server.domain.limits import (
    SCM_POLL_FIRST_S,
    SCM_POLLS_MAX,
    WEBHOOK_DELIVERY_S,
    WEBHOOK_PRUNE_S,
)
from algorium_server.services.directory import Directory
from algorium_server.services.source.mirroring import Mirroring
from algorium_server.services.source.scm_directory import ScmDirectory
from algorium_server.services.sweeping import keep_pruning
from algorium_server.store import scms as rows
from algorium_server.store.database import Database
from algorium_server.telemetry import logger

_JITTER: Final = 0.2
"""Of the time between two polls: many servers must not ask a host in step."""

_log = logger(__name__)


class SourcePolling:
    """
    Looks at all repositories elsewhere, again and again. One gateway does it for all.

    Args:
        database: Where jobs and messages are.
        directory: Which algorithms there are.
        scms: Where their repositories are.
        mirroring: Asks for newest commits, and fetches them.
        every_s: Time between two looks; 0 for none.
        clock: Says what time it is.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        scms: ScmDirectory,
        mirroring: Mirroring,
        *,
        every_s: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._scms = scms
        self._mirroring = mirroring
        self._every_s = every_s
        self._clock = clock
        self._room = asyncio.Semaphore(SCM_POLLS_MAX)

    async def keep(self) -> None:
        """Look for pushes, and forget old messages, until cancelled."""
        await asyncio.gather(
            self._keep_polled(), keep_pruning(self._prune, what="messages", every_s=WEBHOOK_PRUNE_S)
        )

    async def _keep_polled(self) -> None:
        if not self._every_s:
            return
        await asyncio.sleep(min(SCM_POLL_FIRST_S, self._every_s))
        while True:
            try:
                links = self._scms.links()
                await asyncio.gather(*(self._poll(link.algorithm_id) for link in links))
            except Exception:
                _log.exception("pushes elsewhere cannot be looked for now; trying again")
            spread = 1 + _JITTER * (2 * random.random() - 1)  # noqa: S311 - no secret
            await asyncio.sleep(self._every_s * spread)

    async def _poll(self, algorithm_id: str) -> None:
        algorithm = self._directory.algorithm_by_id(algorithm_id)
        if algorithm is None:
            return
        try:
            async with self._room:
                head = await self._mirroring.head(algorithm)
            link = self._scms.link(algorithm_id)
            if head is None or link is None or head.sha == link.head_sha:
                return
            async with self._database.transaction() as connection:
                await self._mirroring.enqueue(connection, algorithm, BuildTrigger.POLL)
        except AlgoriumError as error:
            _log.info("a repository cannot be polled", algorithm=algorithm_id, reason=error.message)
            return
        self._mirroring.wake()

    async def _prune(self) -> None:
        now = self._clock()
        async with self._database.transaction() as connection:
            await rows.prune(
                connection,
                received_before=now - timedelta(seconds=WEBHOOK_DELIVERY_S),
                expired_before=now,
            )
