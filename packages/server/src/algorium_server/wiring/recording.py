"""
What a gateway writes down of what goes on, wired together: usage, failed calls, the audit log.

Part of what `app` builds for a gateway. All three gather in memory first, and have it written in
the end.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from algorium_server.api.credentials import Credentials
from algorium_server.sealing import Seal
from algorium_server.services.audit_checkpoints import Checkpoints
from algorium_server.services.audit_trail import AuditTrail
from algorium_server.services.calling.error_log import ErrorLog
from algorium_server.services.calling.meter import Meter
from algorium_server.services.directory import Directory
from algorium_server.settings import Settings
from algorium_server.store.database import Database


@asynccontextmanager
async def open_meter(database: Database, settings: Settings) -> AsyncIterator[Meter]:
    """Yield the meter, after what an earlier gateway has left of usage is on its way."""
    meter = Meter(database, settings.home / "usage", keep_days=settings.usage_keep_days)
    await meter.start()
    try:
        yield meter
    finally:
        await meter.close()


@asynccontextmanager
async def open_error_log(database: Database, *, worker: str) -> AsyncIterator[ErrorLog]:
    """Yield the error log of the gateway that is called *worker*."""
    errors = ErrorLog(database, worker=worker)
    errors.start()
    try:
        yield errors
    finally:
        await errors.close()


@asynccontextmanager
async def open_auditing(
    database: Database, directory: Directory, credentials: Credentials, seal: Seal, home: Path
) -> AsyncIterator[tuple[AuditTrail, Checkpoints]]:
    """Yield what brings refusals into the audit log, and what notes how far it went."""
    trail = AuditTrail(database, directory, credentials.sightings)
    checkpoints = Checkpoints(database, seal.chain_keys, home)
    trail.start()
    try:
        yield trail, checkpoints
    finally:
        await trail.close()
        await checkpoints.close()  # of what the trail has written in the end, too
