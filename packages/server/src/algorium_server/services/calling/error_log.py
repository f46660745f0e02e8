"""
The error log: failed calls on their way from the call to the database.

A failed call is appended to a list in memory, which is all that the call waits for; twice a second
what is there goes to the database in one transaction. A crash of the server may cost that much:
the log explains failures, it counts nothing (`meter.py` does).

**Pressure.** Of each algorithm the newest are held, as many as are shown, and of all together a
fixed number: under a storm, and while the database is away, the oldest of the algorithm that fails
most are dropped, counted, and told in the server's log. In the database each algorithm has a fixed
number of them, too, so that no storm fills it.

Source: design, "Hot path without I/O of its own"; wire specification, "Error logs".
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from algorium_server.domain.call_errors import (
    CallError,
    shown_input,
    shown_message,
    shown_stacktrace,
)
from algorium_server.domain.calls import CallFailure, CallOutcome
from algorium_server.domain.errors import AlgoriumError, TooManyRequests, Unavailable
from algorium_server.domain.limits import (
    CALL_ERRORS_HELD_MAX,
    CALL_ERRORS_HELD_PER_ALGORITHM_MAX,
    CALL_ERRORS_KEEP_S,
    CALL_ERRORS_PER_ALGORITHM_MAX,
    CALL_ERRORS_PRUNE_ROWS_MAX,
    CALL_ERRORS_PRUNE_S,
    CALL_ERRORS_RETRY_S_MAX,
    CALL_ERRORS_WRITE_S,
)
from algorium_server.services.calling.admitted import OpenCall
from algorium_server.services.sweeping import keep_pruning
from algorium_server.store import call_errors as error_rows
from algorium_server.store.database import Database
from algorium_server.telemetry import logger

_log = logger(__name__)


class ErrorLog:
    """
    Takes failed calls and brings them into the database. Start it once, close it once.

    Args:
        database: Where they end up.
        worker: Names this gateway to the readers of the log.
        clock_us: Returns the time in microseconds since 1970.

    Attributes:
        dropped: How many were given up for newer ones since the start.
    """

    def __init__(
        self,
        database: Database,
        *,
        worker: str = "local",
        clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self.dropped = 0
        self._database = database
        self._worker = worker
        self._clock_us = clock_us
        self._held: dict[str, deque[CallError]] = {}
        self._count = 0
        self._has_some = asyncio.Event()
        self._writing = asyncio.Lock()
        self._told_dropped = 0
        self._task: asyncio.Task[None] | None = None

    def record(self, call: OpenCall, outcome: CallOutcome | BaseException | None) -> None:
        """Take a call that has ended, if it has failed; before what it holds is freed."""
        if isinstance(outcome, CallFailure):
            failure = outcome.error_type, outcome.message, call.stacktrace or outcome.stacktrace
        elif isinstance(outcome, Exception) and _concerns_algorithm(call, outcome):
            failure = "SystemError", _message_of(outcome), ""
        else:
            return
        self.put(_error_of(call, failure, worker=self._worker, now_us=self._clock_us()))

    def put(self, error: CallError) -> None:
        """Take a failed call; if there are too many, an older one is dropped for it."""
        mine = self._held.get(error.algorithm_id)
        if mine is None:
            mine = self._held[error.algorithm_id] = deque()
        if len(mine) >= CALL_ERRORS_HELD_PER_ALGORITHM_MAX:
            self._drop_from(mine)
        elif self._count >= CALL_ERRORS_HELD_MAX:
            self._drop_from(max(self._held.values(), key=len))
        mine.append(error)
        self._count += 1
        if self._count == 1:
            self._has_some.set()

    def _drop_from(self, errors: deque[CallError]) -> None:
        errors.popleft()
        self._count -= 1
        self.dropped += 1

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.get_running_loop().create_task(self._keep_writing(), name="errors")

    async def flush(self) -> None:
        """
        Write what was taken so far.

        Raises:
            Unavailable: The database does not take it now; it stays in memory.
        """
        async with self._writing:
            self._tell_dropped()
            held, self._held, self._count = self._held, {}, 0
            self._has_some.clear()
            if not held:
                return
            try:
                async with self._database.transaction() as connection:
                    await error_rows.add(connection, [e for mine in held.values() for e in mine])
                    await error_rows.trim(connection, held, keep=CALL_ERRORS_PER_ALGORITHM_MAX)
            except BaseException:
                self._take_back(held)
                raise

    def _take_back(self, held: dict[str, deque[CallError]]) -> None:
        newer, self._held, self._count = self._held, {}, 0
        for errors in (*held.values(), *newer.values()):
            for error in errors:
                self.put(error)

    def _tell_dropped(self) -> None:
        if self.dropped > self._told_dropped:
            _log.warning("failed calls were dropped", calls=self.dropped - self._told_dropped)
            self._told_dropped = self.dropped

    async def _keep_writing(self) -> None:
        pause_s = CALL_ERRORS_WRITE_S
        while True:
            await self._has_some.wait()
            await asyncio.sleep(pause_s)
            try:
                await self.flush()
                pause_s = CALL_ERRORS_WRITE_S
            except Exception as error:  # the database may come back; until then memory is bounded
                if pause_s == CALL_ERRORS_WRITE_S:
                    detail = error.detail if isinstance(error, Unavailable) else ""
                    _log.warning("failed calls wait in memory", error=detail or str(error))
                pause_s = min(2 * pause_s, CALL_ERRORS_RETRY_S_MAX)

    async def close(self) -> None:
        """Write what is left; what the database does not take is lost."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self.flush()
        except Unavailable as error:
            detail = error.detail or error.message
            _log.warning("failed calls are lost", calls=self._count, error=detail)

    async def keep_pruned(self) -> None:
        """Delete old ones every so often, until cancelled; for one gateway of several."""
        await keep_pruning(self.prune, what="failed calls", every_s=CALL_ERRORS_PRUNE_S)

    async def prune(self) -> int:
        """Delete failed calls older than they are kept, in steps; return how many."""
        before_us = self._clock_us() - int(CALL_ERRORS_KEEP_S * 1_000_000)
        deleted = 0
        while True:
            async with self._database.transaction() as connection:
                step = await error_rows.prune(
                    connection, before_us=before_us, limit=CALL_ERRORS_PRUNE_ROWS_MAX
                )
            deleted += step
            if step < CALL_ERRORS_PRUNE_ROWS_MAX:
                return deleted


def _concerns_algorithm(call: OpenCall, error: Exception) -> bool:
    """Whether the platform failed a call that it had begun; a refusal says nothing about it."""
    return call.running is not None and not isinstance(error, TooManyRequests)


def _message_of(error: Exception) -> str:
    # Whatever is not of our tree is our own fault, and its words are for our log only.
    return error.message if isinstance(error, AlgoriumError) else "There was an internal error."


def _error_of(
    call: OpenCall, failure: tuple[str, str, str], *, worker: str, now_us: int
) -> CallError:
    error_type, message, stacktrace = failure
    resolved, caller = call.grant.resolved, call.grant.caller
    version = resolved.version
    return CallError(
        request_id=call.request_id,
        created_us=now_us,
        algorithm_id=resolved.algorithm.algorithm_id,
        owner_id=resolved.algorithm.owner_id,
        owner=resolved.owner.username,
        name=resolved.algorithm.name,
        version=str(version.semantic_version) if version else resolved.build.commit_sha,
        account_id=caller.account.account_id,
        caller=caller.account.username,
        is_nested=call.is_nested,
        error_type=error_type,
        message=shown_message(message),
        stacktrace=shown_stacktrace(stacktrace),
        input=shown_input(call.input_type, call.input_head),
        worker=worker,
    )
