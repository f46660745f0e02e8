"""
What goes on beside the calls of callers, wired together: void calls, slots that are kept warm.

Part of what `app` builds for a gateway.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from algorium_server.engine.local import LocalEngine
from algorium_server.jobs.worker import JobWorker
from algorium_server.services.calling.calls import CallService
from algorium_server.services.calling.meter import Meter
from algorium_server.services.calling.reserved import Reserved
from algorium_server.services.calling.void_calls import JOB_KIND, VoidCalls
from algorium_server.services.calling.warmth import Warmth
from algorium_server.services.directory import Directory
from algorium_server.store.database import Database
from algorium_server.wiring.place import Place, State


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
