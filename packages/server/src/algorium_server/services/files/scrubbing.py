"""
The scrubber: reads every file now and then, slowly, to find damage while there are still backups.

It spreads one look at all files over the time it is given and remembers how far it has come, so
that restarts cost nothing. What it finds is logged once and kept in the database until the file is
replaced or deleted; `algorium fsck` shows it. It repairs nothing: it has nothing to repair from.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from algorium_server.data.blobs import BlobStore
from algorium_server.domain.collections import File
from algorium_server.domain.errors import AlgoriumError
from algorium_server.domain.limits import (
    MIB,
    SCRUB_STEP_S,
    SCRUBBED_AT_ONCE_FILES_MAX,
)
from algorium_server.services.files.examining import is_current, problem_of
from algorium_server.store import damages
from algorium_server.store.damages import Damage, Round
from algorium_server.store.database import Database
from algorium_server.telemetry import logger

_log = logger(__name__)

_HASTE: Final = 1.25
"""How much faster than necessary, so that a round ends in time although servers also stop."""
_STEP_FILES_MIN: Final = 16
"""Files in a step, however few there are: a small installation is through within hours."""
_STEP_BYTES_MIN: Final = 16 * MIB
"""The same in bytes: a tenth of a second of a disk's time each minute."""


class Scrubber:
    """
    Reads all files within *every*, again and again.

    Args:
        database: Where the rows are.
        blobs: Where the bytes are.
        every: From the beginning of one round to that of the next; nothing for never.
        clock: Tells the time.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        *,
        every: timedelta,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._every = every
        self._clock = clock

    async def keep(self, *, step_s: float = SCRUB_STEP_S) -> None:
        """Take a step every so often, until cancelled."""
        while self._every:
            await asyncio.sleep(step_s)
            try:
                await self.step()
            except AlgoriumError as error:
                _log.warning("looking for damaged files goes on later", detail=error.detail)

    async def step(self) -> int:
        """
        Look at the next files, as many as it takes to be through in time.

        Returns:
            How many.

        Raises:
            Unavailable: Database or storage does not answer.
        """
        now = self._clock()
        async with self._database.reading() as connection:
            state = await damages.last_round(connection)
            files_total, bytes_total = await damages.total(connection)
        if state is None or (state.finished_at and now >= state.began_at + self._every):
            state = Round(after="", began_at=now)
        elif state.finished_at:
            return 0
        share = SCRUB_STEP_S * _HASTE / self._every.total_seconds()
        files_left = max(files_total * share, _STEP_FILES_MIN)
        bytes_left = max(bytes_total * share, _STEP_BYTES_MIN)
        looked_at = 0
        while files_left > 0 and bytes_left > 0 and not state.finished_at:
            page, state = await self._page(state, bytes_max=bytes_left)
            looked_at += len(page)
            files_left -= len(page)
            bytes_left -= sum(file.size_bytes for file in page)
        return looked_at

    async def _page(self, state: Round, *, bytes_max: float) -> tuple[list[File], Round]:
        # Ends early when what it has read is enough for now.
        async with self._database.reading() as connection:
            rows = await damages.files_after(
                connection, state.after, limit=SCRUBBED_AT_ONCE_FILES_MAX
            )
        read: list[File] = []
        for file, content in rows:
            if sum(each.size_bytes for each in read) >= bytes_max:
                break
            problem = await problem_of(self._blobs, file, content)
            if problem and await is_current(self._database, file):
                await self._note(file, problem)
            read.append(file)
        if len(read) < len(rows) or len(rows) == SCRUBBED_AT_ONCE_FILES_MAX:
            state = replace(state, after=read[-1].file_id)
        else:
            state = replace(state, after="", finished_at=self._clock())
        async with self._database.transaction() as connection:
            await damages.set_round(connection, state)
            if state.finished_at:
                await damages.forget_damage(connection)
        return read, state

    async def _note(self, file: File, problem: str) -> None:
        damage = Damage(
            blob=file.blob, file_id=file.file_id, problem=problem, found_at=self._clock()
        )
        async with self._database.transaction() as connection:
            is_new = await damages.add_damage(connection, damage)
            name = await damages.shown_name(connection, file.file_id)
        if is_new:
            _log.error("a file is damaged: restore it", file=name, blob=file.blob, problem=problem)
