"""
The meter: usage records on their way from the call to the database.

Theory of operation: a record goes three ways, each slower and safer than the one before.

1. `Meter.record` appends to a list; that is all the call waits for.
2. Every `USAGE_WRITE_S` the list is written to the journal (`store/journal.py`). From then on its
   records survive the death of this process.
3. Every `USAGE_IMPORT_S` the journal is brought into the database, and forgotten there.

A start brings in what earlier processes left, in the same way. It may come twice, for a crash can
fall between commit and removal; the second time changes nothing, as start time and request id of a
call are the key of its row.

**Pressure.** Memory and disk are bounded. When the database is away, records wait in the journal;
when the disk takes no more, they go to the database directly; when neither takes them, they wait
in memory. Beyond `USAGE_JOURNAL_BYTES_MAX` or `USAGE_HELD_RECORDS_MAX` the meter `is_full`, and no
call is admitted: one that cannot be recorded must not run.

Source: design, "Hot path without I/O of its own".
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from algorium_server.domain.errors import Unavailable
from algorium_server.domain.limits import (
    USAGE_BATCH_RECORDS_MAX,
    USAGE_CLOSE_S,
    USAGE_HELD_RECORDS_MAX,
    USAGE_IMPORT_RECORDS_MAX,
    USAGE_IMPORT_S,
    USAGE_JOURNAL_BYTES_MAX,
    USAGE_PRUNE_RECORDS_MAX,
    USAGE_PRUNE_S,
    USAGE_RETRY_S_MAX,
    USAGE_SEGMENT_BYTES_MAX,
    USAGE_WRITE_S,
)
from algorium_server.domain.usage import UsageRecord
from algorium_server.services.sweeping import keep_pruning
from algorium_server.store import usage as usage_rows
from algorium_server.store.database import Database
from algorium_server.store.journal import Journal, Segment
from algorium_server.telemetry import logger

T = TypeVar("T")

_SHARE: Final = 0.25
"""Of the time that bringing in may take while nobody waits for it and the journal is short."""
_SHORT_SEGMENTS: Final = 8
_DAY_US: Final = 24 * 3600 * 1_000_000

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[UsageRecord]).decode
_log = logger(__name__)


class Meter:
    """
    Takes records and keeps them safe. Start it once, close it once, in one event loop.

    Args:
        database: Where records end up.
        directory: Of the journal; shared by the processes of one home.
        keep_days: How long records are kept; 0 for ever.
        clock_us: Returns the time in microseconds since 1970.

    Attributes:
        is_full: No more calls should be admitted: there is no room for their records.
        is_stopping: The server is being stopped; what ends from now on may end because of that.
        used_keys: Ids of the keys of calls since somebody has emptied it.
    """

    def __init__(
        self,
        database: Database,
        directory: Path,
        *,
        keep_days: int = 0,
        clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self.is_full = self.is_stopping = False
        self.used_keys: set[str] = set()
        self._listeners: list[Callable[[Sequence[UsageRecord]], None]] = []
        self._database = database
        self._journal = Journal(directory, segment_bytes_max=USAGE_SEGMENT_BYTES_MAX)
        self._keep_days = keep_days
        self._clock_us = clock_us
        self._fresh: list[UsageRecord] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="usage")
        self._has_fresh = asyncio.Event()
        self._has_journaled = asyncio.Event()
        self._is_awaited = asyncio.Event()
        self._writing = asyncio.Lock()
        self._importing = asyncio.Lock()
        self._is_closing = False
        self._is_troubled = False
        self._tasks: list[asyncio.Task[None]] = []
        self._settling: set[asyncio.Task[None]] = set()

    def record(self, record: UsageRecord) -> None:
        """Take a record. Costs an append; within `USAGE_WRITE_S` it is written."""
        fresh = self._fresh
        fresh.append(record)
        if len(fresh) == 1:
            self._has_fresh.set()

    def listen(self, listener: Callable[[Sequence[UsageRecord]], None]) -> None:
        """Show *listener* each record once, in batches, soon after it was taken."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Adopt what earlier processes left, and begin to write and to bring in."""
        try:
            adopted = await self._in_thread(self._journal.adopt)
        except OSError as error:
            adopted = 0
            _log.error("usage left by earlier processes cannot be read", error=str(error))
        if adopted:
            self._has_journaled.set()
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._keep_writing(), name="usage: write"),
            loop.create_task(self._keep_importing(), name="usage: bring in"),
        ]

    async def settle(self) -> None:
        """
        Bring everything recorded so far into the database.

        Raises:
            Unavailable: The database does not take it now.
        """
        await self._whole(self._settle())

    async def _settle(self) -> None:
        self._is_awaited.set()  # no more pauses
        try:
            await self._write()
            await self._import()
        finally:
            self._is_awaited.clear()

    async def close(self, *, patience_s: float = USAGE_CLOSE_S) -> None:
        """Write what is left; what the database does not take in time waits in the journal."""
        self._is_closing = True
        for task in self._tasks[1:]:  # the writer ends by itself, when it has written
            task.cancel()
        self._has_fresh.set()
        await asyncio.gather(*self._tasks, *self._settling, return_exceptions=True)
        await self._write()
        try:
            async with asyncio.timeout(patience_s):
                await self._import()
        except (TimeoutError, Unavailable, OSError) as error:
            _log.warning("usage waits in the journal for the next start", error=str(error))
        if self._fresh:
            _log.error("usage is lost: nobody takes it", records=len(self._fresh))
        await self._in_thread(self._journal.close)
        self._thread.shutdown()

    # To the journal

    async def _keep_writing(self) -> None:
        while not self._is_closing:
            await self._has_fresh.wait()
            await asyncio.sleep(USAGE_WRITE_S)
            try:
                await self._write()
            except Exception:  # a fault of ours must not stop what comes after
                _log.exception("usage is lost")

    async def _write(self) -> None:
        async with self._writing:
            self._has_fresh.clear()
            records, self._fresh = self._fresh, []
            self.used_keys.update(record.subject.key_id for record in records)
            written, problem = await self._in_thread(partial(self._append, records))
            self._show(records[:written])
            if written:
                self._has_journaled.set()
            if problem is not None:
                self._fresh[:0] = records[written:]
                self._has_fresh.set()
                await self._bypass(problem)
            elif self._is_troubled and written:
                self._is_troubled = False
                _log.info("usage is written to the journal again")
            await self._measure()

    def _append(self, records: Sequence[UsageRecord]) -> tuple[int, OSError | None]:
        """Write records, in the meter's thread; return how many, and what kept back the others."""
        for at in range(0, len(records), USAGE_BATCH_RECORDS_MAX):
            try:
                self._journal.append(_encode(records[at : at + USAGE_BATCH_RECORDS_MAX]))
            except OSError as error:
                return at, error
        return len(records), None

    async def _bypass(self, problem: OSError) -> None:
        """Bring records into the database without the journal."""
        if not self._is_troubled:
            self._is_troubled = True
            _log.error("usage cannot be written to the journal", error=str(problem))
        records = self._fresh[:USAGE_IMPORT_RECORDS_MAX]
        with suppress(Unavailable):  # they stay where they are
            await self._store(usage_rows.rows_of(records))
            del self._fresh[: len(records)]
            self._show(records)

    def _show(self, records: Sequence[UsageRecord]) -> None:
        for listener in self._listeners:
            listener(records)

    # To the database

    async def _keep_importing(self) -> None:
        pause_s = USAGE_IMPORT_S
        while True:
            await self._has_journaled.wait()
            await asyncio.sleep(pause_s)
            try:
                await self._import()
                pause_s = USAGE_IMPORT_S
            except Exception as error:  # the database may come back, and records must not pile up
                if pause_s == USAGE_IMPORT_S:
                    detail = error.detail if isinstance(error, Unavailable) else ""
                    _log.warning("usage waits in the journal", error=detail or str(error))
                pause_s = min(2 * pause_s, USAGE_RETRY_S_MAX)

    async def _import(self) -> None:
        async with self._importing:
            self._has_journaled.clear()
            try:
                await self._import_all()
            except BaseException:
                self._has_journaled.set()  # something is left
                raise
            finally:
                await self._measure()

    async def _import_all(self) -> None:
        segments = await self._in_thread(self._journal.sealed)
        for number, segment in enumerate(segments):
            is_gentle = len(segments) - number <= _SHORT_SEGMENTS
            try:
                await self._import_segment(segment, is_gentle=is_gentle)
            except (Unavailable, OSError):
                raise
            except Exception as error:  # one bad file must not hold up all others
                kept = await self._in_thread(partial(self._journal.reject, segment))
                _log.error("usage that nobody can read is put aside", kept=kept, exc_info=error)

    async def _import_segment(self, segment: Segment, *, is_gentle: bool) -> None:
        rows: list[usage_rows.Row] = []
        for batch in await self._in_thread(segment.read):
            rows += await self._in_thread(partial(_rows_of, batch))
            if len(rows) >= USAGE_IMPORT_RECORDS_MAX:
                began = time.monotonic()
                await self._store(rows)
                rows = []
                if is_gentle:
                    await self._pause((time.monotonic() - began) * (1 / _SHARE - 1))
        await self._store(rows)
        if segment.torn_bytes:
            _log.warning("a crash cut the journal of usage short", bytes=segment.torn_bytes)
        await self._in_thread(partial(self._journal.remove, segment))

    async def _store(self, rows: Sequence[usage_rows.Row]) -> None:
        if rows:
            await self._database.write(lambda connection: usage_rows.add(connection, rows))

    async def _measure(self) -> None:
        size_bytes = await self._in_thread(lambda: self._journal.size_bytes)
        self.is_full = (
            size_bytes > USAGE_JOURNAL_BYTES_MAX or len(self._fresh) > USAGE_HELD_RECORDS_MAX
        )

    async def _pause(self, seconds: float) -> None:
        """Leave the machine to others, unless somebody waits."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._is_awaited.wait()

    # Out of the database

    async def keep_pruned(self) -> None:
        """Delete old records now and then every so often, until cancelled; for one of several."""
        if self._keep_days:
            await keep_pruning(self.prune, what="usage", every_s=USAGE_PRUNE_S)

    async def prune(self) -> int:
        """Delete records older than they are kept, in steps; return how many."""
        before_us = self._clock_us() - self._keep_days * _DAY_US
        deleted = 0
        while True:
            async with self._database.transaction() as connection:
                step = await usage_rows.prune(
                    connection, before_us=before_us, limit=USAGE_PRUNE_RECORDS_MAX
                )
            if not step:
                return deleted
            deleted += step

    async def _whole(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something to its end, even if whoever waits for it goes away."""
        task = asyncio.get_running_loop().create_task(work)
        self._settling.add(task)
        task.add_done_callback(self._settled)
        await asyncio.shield(task)

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._settling.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has heard of it

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _rows_of(batch: bytes) -> list[usage_rows.Row]:
    return usage_rows.rows_of(_decode(batch))
