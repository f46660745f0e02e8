"""
Migrations: the steps from any earlier schema to `store/schema.py`, packaged with the server.

Opening a database that is up to date reads one row; Alembic is imported only when there is work.
There are no steps back: an older server refuses a newer database, and a backup is the way back.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from algorium_server.domain.errors import Unavailable

HEAD: Final = "0012"
"""The newest revision in `versions/`; a test compares the two."""

_LOCK_KEY: Final = 0x616C676F
"""PostgreSQL's advisory locks are numbers; ours spells "algo"."""


def stored_revision(connection: Connection) -> str | None:
    """Return the revision the database is at, None if it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def check_known(stored: str | None, known: Collection[str] = ()) -> None:
    """
    Refuse the database of a newer release.

    Args:
        stored: The revision it is at.
        known: All revisions of this release; without them, numbers tell which one is newer.

    Raises:
        Unavailable: This release does not know the revision.
    """
    if stored is not None and (stored not in known if known else stored > HEAD):
        raise Unavailable(
            f"the database was written by a newer Algorium (schema {stored}, this release knows "
            f"{HEAD}): start that release, or restore a backup made before the upgrade"
        )


def check_current(stored: str | None) -> None:
    """
    Refuse the database of another release; an empty one is none of any.

    Raises:
        Unavailable: This release does not know the revision, or knows newer ones.
    """
    check_known(stored)
    if stored is not None and stored != HEAD:
        raise Unavailable(
            f"the database was written by an older Algorium (schema {stored}, this release needs "
            f"{HEAD})",
            hint="Stop the server and run `algorium upgrade`, which makes a backup first; or start"
            " it with --upgrade, which does the same.",
        )


def upgrade(connection: Connection) -> None:
    """
    Apply what is missing, inside the caller's transaction: all of it or nothing.

    Servers that start at the same time take turns; the later ones find nothing to do.

    Raises:
        Unavailable: The database is at a revision that this release does not know.
    """
    # Here for start-up time: needed once per release, not once per start.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
    config = Config()
    # Alembic's options pass through a ConfigParser, to which a "%" in the path is syntax.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    check_known(stored_revision(connection), known)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
