"""
Keys in the course of time: they end when they expire, and it is noted when they were used last.

Neither costs a call anything: what is known of a key is dropped from memory at its end, and uses
are gathered by those who look keys up, and written here every few seconds.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from algorium_server.domain.errors import AlgoriumError
from algorium_server.domain.limits import KEY_EXPIRY_LOOK_S, KEY_USE_FLUSH_S, KEY_USE_WRITE_S
from algorium_server.services.directory import Directory
from algorium_server.store import keys as rows
from algorium_server.store.database import Database
from algorium_server.telemetry import logger

_log = logger(__name__)


class KeyUpkeep:
    """
    Looks after keys, on every gateway.

    Args:
        database: Where uses are noted.
        directory: Where keys are known.
        used: Sets of ids of keys, added to by others and emptied here.
        clock: Says what time it is.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        *used: set[str],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._used = used
        self._clock = clock
        self._noted: dict[str, datetime] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._keep_ended(), name="keys: end"),
            loop.create_task(self._keep_noted(), name="keys: note uses"),
        ]

    async def close(self) -> None:
        """Note what was used in the end, and stop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._note_safely()

    async def note_uses(self) -> None:
        """
        Note which keys were used, each at most once in `KEY_USE_WRITE_S`.

        Raises:
            Unavailable: The database does not take it now; the next time will do.
        """
        now = self._clock()
        used = set[str]().union(*self._used)
        for each in self._used:
            each.clear()
        due = {key_id: now for key_id in used if self._is_due(key_id, now)}
        if not due:
            return
        try:
            async with self._database.transaction() as connection:
                await rows.note_uses(connection, due)
        except BaseException:
            self._used[0].update(due)
            raise
        # Others are due anyway: what is kept does not grow with keys that come and go.
        self._noted = due | {
            key_id: noted for key_id, noted in self._noted.items() if not self._is_due(key_id, now)
        }

    def _is_due(self, key_id: str, now: datetime) -> bool:
        noted = self._noted.get(key_id)
        return noted is None or (now - noted).total_seconds() >= KEY_USE_WRITE_S

    async def _keep_ended(self) -> None:
        while True:
            self._directory.end_keys()
            await asyncio.sleep(KEY_EXPIRY_LOOK_S)

    async def _keep_noted(self) -> None:
        while True:
            await asyncio.sleep(KEY_USE_FLUSH_S)
            await self._note_safely()

    async def _note_safely(self) -> None:
        try:
            await self.note_uses()
        except AlgoriumError as error:
            _log.warning("uses of keys are noted later", reason=error.message)
        except Exception:  # such as a key that was deleted at this moment; what matters goes on
            _log.exception("uses of keys are noted later")
