"""What is swept now and then, for as long as the server runs."""

import asyncio
from collections.abc import Awaitable, Callable

from algorium_server.domain.errors import Unavailable
from algorium_server.telemetry import logger

_log = logger(__name__)


async def keep_sweeping(sweep: Callable[[], Awaitable[None]], *, what: str, every_s: float) -> None:
    """
    Sweep at once and then every so often, until cancelled; a sweep that fails is tried again.

    Args:
        sweep: Removes what has ended.
        what: Names that, for the log.
        every_s: Between two sweeps, seconds.
    """
    while True:
        try:
            await sweep()
        except Exception:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # what a database makes of being cancelled in the middle
            # Whatever it is: without sweeping, the disk fills up until somebody notices.
            _log.exception("sweeping failed; trying again", what=what, after_s=every_s)
        await asyncio.sleep(every_s)


async def keep_pruning(
    prune: Callable[[], Awaitable[object]], *, what: str, every_s: float
) -> None:
    """
    Delete old rows at once and then every so often, until cancelled.

    A database that does not answer is asked again later; whatever else is raised ends this.

    Args:
        prune: Deletes what is old enough.
        what: Names those rows, for the log.
        every_s: Between two looks, seconds.
    """
    while True:
        try:
            await prune()
        except Unavailable as error:
            _log.warning("old rows stay for now", what=what, error=error.detail or error.message)
        await asyncio.sleep(every_s)
