"""
The home directory as one server's own.

Its lock, what is prepared in it before a gateway starts, and the file that says where the server
answers.
"""

import asyncio
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
from algorium_server.sealing import Seal, remove_leftovers
from algorium_server.services.directory import Directory
from algorium_server.services.people import accounts
from algorium_server.services.resealing import check_newest
from algorium_server.settings import Settings
from algorium_server.store.database import Database, sqlite_url

ENDPOINT_FILE: Final = "endpoint.json"
RESTORING_FILE: Final = "restoring"
"""There while a backup is being restored into the home; see `backup/restoring.py`."""
_SANDBOXES: Final = "sandboxes"


@contextmanager
def locked(home: Path) -> Iterator[int]:
    """
    Hold the home directory: two servers on one home would overwrite each other's work.

    Yields:
        The descriptor of the lock. It is held until the last process that has it is gone.

    Raises:
        Unavailable: It cannot be used, another server runs on it, or a restore has not finished.
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
        # Of a server that was killed: by now anybody may listen there, and wait for a key.
        (home / ENDPOINT_FILE).unlink(missing_ok=True)
        check_whole(home)
        yield descriptor
    finally:
        (home / ENDPOINT_FILE).unlink(missing_ok=True)
        os.close(descriptor)


def check_whole(home: Path) -> None:
    """
    Refuse a home directory into which a backup was restored in part.

    Raises:
        Unavailable: It is one.
    """
    if (home / RESTORING_FILE).exists():
        raise Unavailable(
            f"A restore into {home} has not finished: what is there is only a part of the backup",
            hint="Remove the directory, and restore again.",
        )


@contextmanager
def using_keys(home: Path, *, alone: bool = False) -> Iterator[None]:
    """
    Use the keys of a home beside a server or without one; while they are in use none is replaced.

    Whoever has read them and then writes to the audit log with them does so in here. Servers need
    not: they hold the home itself.

    Args:
        home: The home directory.
        alone: They are to be replaced, so that nobody else may use them meanwhile. What others
            that did so have left when they were killed is removed.

    Raises:
        Unavailable: Somebody replaces them, or uses them and they are to be replaced.
    """
    directory = home / "secrets"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable(f"Cannot use {directory}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            who = "another command of `algorium`" if alone else "`algorium sealing-key`"
            raise Unavailable(
                f"The keys of {home} are in use by {who}", hint="Wait for its end, then try again."
            ) from error
        if alone:
            remove_leftovers(home)
        yield
        if alone:
            remove_leftovers(home)
    finally:
        os.close(descriptor)


def write_endpoint(home: Path, api: str) -> None:
    """Say where the server on this home answers, for programs on this machine."""
    write_file(home / ENDPOINT_FILE, json.dumps({"api": api, "pid": os.getpid()}) + "\n")


def sandboxes_dir(home: Path, gateway: int) -> Path:
    """Return where a gateway keeps what belongs to its sandboxes."""
    return home / (f"{_SANDBOXES}-{gateway}" if gateway else _SANDBOXES)


def is_sandboxes(name: str) -> bool:
    """Whether a directory of that name in a home is one of those."""
    return name.startswith(_SANDBOXES)


def clear_sandboxes(home: Path) -> None:
    """Remove what gateways left that are gone: maybe more of them than there are to be now."""
    for directory in home.glob(f"{_SANDBOXES}*"):
        scratch.clear(str(directory))


def database_url(settings: Settings) -> str:
    """Return where the database is."""
    return settings.database or sqlite_url(settings.home / "algorium.db")


async def open_database(
    settings: Settings, *, is_shared: bool = False, checks_keys: bool = True
) -> Database:
    """
    Open the database, with the keys of the home for its audit log.

    Args:
        settings: Where it is, and the home.
        is_shared: Several processes of the home work on it.
        checks_keys: Refuse keys that do not belong to it; see `services/resealing.py`.

    Raises:
        Unavailable: It cannot be used, an older or newer release has written it, or the keys
            cannot be read or are not the newest; the message says why.
    """
    check_whole(settings.home)
    seal = await asyncio.to_thread(Seal.open, settings.home)
    database = await Database.open(
        database_url(settings),
        is_shared=is_shared,
        chain_keys=seal.chain_keys,
        upgrades=False,
    )
    if checks_keys:
        try:
            await check_newest(database, seal, home=settings.home)
        except BaseException:
            await database.close()
            raise
    return database


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
