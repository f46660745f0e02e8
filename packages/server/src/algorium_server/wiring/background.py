"""
What goes on beside the calls of callers, wired together.

Void calls, slots that are kept warm, what is remembered of calls with an idempotency key.

Part of what `app` builds for a gateway.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from algorium_server.engine.local import LocalEngine
from algorium_server.jobs.worker import JobWorker
from algorium_server.services.calling.calls import CallService
from algorium_server.services.calling.kept_calls import KeptCalls
from algorium_server.services.calling.meter import Meter
from algorium_server.services.calling.reserved import Reserved
from algorium_server.services.calling.void_calls import JOB_KIND, VoidCalls
from algorium_server.services.calling.warmth import Warmth
from algorium_server.services.directory import Directory
from algorium_server.store.database import Database
from algorium_server.wiring.place import Place
from algorium_server.wiring.readiness import State


@asynccontextmanager
async def keeping_warm(
    directory: Directory, calls: CallService, engine: LocalEngine, reserved: Reserved
) -> AsyncIterator[None]:
    """Keep slots warm for versions and reservations, until the end."""
    warming = asyncio.get_running_loop().create_task(
        Warmth(directory, calls.programs, engine, reserved).keep()
    )
    try:
        yield
    finally:
        warming.cancel()


@asynccontextmanager
async def open_void_calls(
    calls: CallService,
    meter: Meter,
    database: Database,
    directory: Directory,
    *,
    state: State,
    place: Place,
) -> AsyncIterator[VoidCalls]:
    """Accept void calls and run them; in the end they get what is left of the grace."""
    void_calls = VoidCalls(
        calls=calls,
        database=database,
        directory=directory,
        wake=lambda: worker.wake(),  # noqa: PLW0108 - the worker runs these calls
        record=meter.record,
    )
    is_named = database.is_embedded and not place.is_alone
    worker = JobWorker(
        database,
        {JOB_KIND: void_calls.run},
        on_given_up=void_calls.given_up,
        name=f"gateway {place.number}" if is_named else "",
    )
    await worker.start()
    try:
        yield void_calls
    finally:
        # Callers have had of the grace what they needed; these calls get the rest.
        await worker.stop(state.grace_left_s)


async def open_kept_calls(database: Database, home: Path, place: Place) -> KeptCalls:
    """
    Open what is remembered of calls with a key; what ran in our place before is given up.

    Raises:
        Unavailable: The database does not answer.
    """
    gateway = f"gateway {place.number}"
    if not database.is_embedded:  # servers with other homes may work on it
        gateway = f"{socket.gethostname()}:{home}:{place.number}"
    is_alone = database.is_embedded and place.is_alone
    kept_calls = KeptCalls(database, gateway=gateway, is_alone=is_alone)
    await kept_calls.start()
    return kept_calls
