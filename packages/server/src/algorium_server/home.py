"""
The home directory as one server's own.

Its lock, what is prepared in it before a gateway starts, and the file that says where the server
answers.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from algorium_server.data.blobs import BlobStore
from algorium_server.data.bucket import BucketBlobs
from algorium_server.data.local import LocalBlobs
from algorium_server.domain.errors import Unavailable
from algorium_server.durable import write_file
from algorium_server.engine import scratch
from algorium_server.services.directory import Directory
from algorium_server.services.people import accounts
from algorium_server.settings import Settings
from algorium_server.store.database import Database, sqlite_url

ENDPOINT_FILE: Final = "endpoint.json"
_SANDBOXES: Final = "sandboxes"


@contextmanager
def locked(home: Path) -> Iterator[int]:
    """
    Hold the home directory: two servers on one home would overwrite each other's work.

    Yields:
        The descriptor of the lock. It is held until the last process that has it is gone.

    Raises:
        Unavailable: It cannot be used, or another server runs on it.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"Cannot use {home}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise Unavailable(
            f"Another server is running on {home}",
            hint="Stop it, or give this one another --home.",
        ) from error
    try:
        yield descriptor
    finally:
        (home / ENDPOINT_FILE).unlink(missing_ok=True)
        os.close(descriptor)


def write_endpoint(home: Path, api: str) -> None:
    """Say where the server on this home answers, for programs on this machine."""
    write_file(home / ENDPOINT_FILE, json.dumps({"api": api, "pid": os.getpid()}) + "\n")


def sandboxes_dir(home: Path, gateway: int) -> Path:
    """Return where a gateway keeps what belongs to its sandboxes."""
    return home / (f"{_SANDBOXES}-{gateway}" if gateway else _SANDBOXES)


def clear_sandboxes(home: Path) -> None:
    """Remove what gateways left that are gone: maybe more of them than there are to be now."""
    for directory in home.glob(f"{_SANDBOXES}*"):
        scratch.clear(str(directory))


def database_url(settings: Settings) -> str:
    """Return where the database is."""
    return settings.database or sqlite_url(settings.home / "algorium.db")


async def open_blobs(settings: Settings) -> BlobStore:
    """
    Open where the bytes of files are.

    Raises:
        Unavailable: It cannot be used; the message says why.
    """
    place = settings.bucket
    if place is None:
        return LocalBlobs(settings.home / "blobs")
    blobs = BucketBlobs(place)
    await blobs.check()
    return blobs


async def first_start(
    database: Database, settings: Settings
) -> accounts.AdministratorCredentials | None:
    """Create the administrator, unless there is one; see `services.accounts.first_start`."""
    return await accounts.first_start(
        database,
        Directory(database),  # nobody has read it yet
        home=settings.home,
        admin_username=settings.admin_username,
        now=datetime.now(UTC),
    )
