"""
From the database of an older release to that of this one, with a backup first.

The backup is a directory in the home directory, `backups/`, and takes little more room than the
database: whatever never changes is linked. It is a whole one all the same; `algorium restore`
takes it, with the release that made the data.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from algorium_server.backup.contents import BACKUPS_DIR
from algorium_server.backup.taking import OnProgress, Wanted, take
from algorium_server.domain.errors import Unavailable
from algorium_server.home import database_url
from algorium_server.settings import LOCAL_STORAGE, Settings
from algorium_server.store import migrations
from algorium_server.store.database import Database, schema_of
from algorium_server.store.engines import sqlite_path
from algorium_server.telemetry import logger

_log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgraded:
    """
    What came of it.

    Attributes:
        before: Revision of the schema that was found; None of an empty database.
        after: That of this release.
        backup: Where the backup is; None if there was nothing to do, or none was wanted.
    """

    before: str | None
    after: str
    backup: Path | None = None


async def upgrade(
    settings: Settings,
    *,
    has_backup: bool = True,
    on_progress: OnProgress = lambda _files, _bytes: None,
) -> Upgraded:
    """
    Bring a database up to date; the home directory is locked by the caller.

    Args:
        settings: Where everything is.
        has_backup: Make a backup first, if there is something to do.
        on_progress: Told now and then how far that is.

    Raises:
        Unavailable: A newer release has written the database, or it cannot be used; nothing was
            changed.
        OutOfSpace: There is no room for the backup; nothing was changed.
    """
    url = database_url(settings)
    before = await schema_of(url)
    migrations.check_known(before)
    if before == migrations.HEAD:
        return Upgraded(before=before, after=before)
    backup = None
    if before is not None and has_backup:
        now = datetime.now(UTC)
        backup = settings.home / BACKUPS_DIR / f"{now:%Y%m%dT%H%M%SZ}-schema-{before}"
        (settings.home / BACKUPS_DIR).mkdir(mode=0o700, exist_ok=True)
        wanted = await wanted_backup(settings, is_linking=True)
        await asyncio.to_thread(take, wanted, backup, now=now, on_progress=on_progress)
    async with await Database.open(url):
        return Upgraded(before=before, after=migrations.HEAD, backup=backup)


async def upgrade_if_asked(settings: Settings) -> None:
    """
    Do so for a server that is about to start, if its settings say so; see `upgrade`.

    Raises:
        Unavailable: As `upgrade` does.
        OutOfSpace: As `upgrade` does.
    """
    path = sqlite_path(database_url(settings))
    if settings.upgrade and (path is None or path.is_file()):
        done = await upgrade(settings)
        if done.before != done.after:
            _log.info(
                "the database was brought up to date",
                before=done.before,
                after=done.after,
                backup=str(done.backup or ""),
            )


async def wanted_backup(
    settings: Settings, *, has_keys: bool = True, is_linking: bool = False
) -> Wanted:
    """
    Describe a backup of a home.

    Args:
        settings: Where everything is.
        has_keys: With the keys that open secrets.
        is_linking: Let files that never change be links.

    Raises:
        Unavailable: There is no home, or the database cannot be used.
    """
    url = database_url(settings)
    path = sqlite_path(url)
    if path is not None and not path.is_file():
        raise Unavailable(f"there is no database in {settings.home}: is --home right?")
    return Wanted(
        home=settings.home,
        database_url=url,
        schema=(await schema_of(url) or "") if path is None else "",
        bucket="" if settings.storage == LOCAL_STORAGE else settings.storage.partition("?")[0],
        has_keys=has_keys,
        is_linking=is_linking,
    )
