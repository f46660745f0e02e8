"""
Copies of the database: one moment of it, while others write.

SQLite copies itself: its online backup, in one step, reads what was committed when it began and
stops nobody. PostgreSQL has programs for that, `pg_dump` and `pg_restore`, which must be installed
here in a release that knows the server's; they get the password in their environment, which other
users cannot read.

Everything here blocks.
"""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from algorium_server.domain.collections import IN_ROW_PREFIX
from algorium_server.domain.errors import InvalidInput, Unavailable
from algorium_server.store.engines import shown_url

_UNFINISHED: Final = ("upload_parts", "uploads")
"""Their bytes are not copied: who sends them begins again."""


def copy_sqlite(source: Path, target: Path) -> str:
    """
    Copy an SQLite database to a new file, and return the revision of its schema.

    Raises:
        Unavailable: It cannot be read, or the disk is full.
    """
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(target)) as copy:
            with closing(
                sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)
            ) as whole:
                whole.backup(copy)
            # Without a log beside it: the copy is one file.
            copy.execute("PRAGMA journal_mode = DELETE")
            for table in _UNFINISHED:
                if _has_table(copy, table):
                    copy.execute(f"DELETE FROM {table}")  # noqa: S608 - one of two names
            copy.commit()
            return _revision(copy)
    except (sqlite3.Error, OSError) as error:
        raise Unavailable(f"cannot copy the database {source}: {error}") from error


def missing_blobs(database: Path, there: Collection[str]) -> list[str]:
    """Return keys of blobs that rows of an SQLite database name and that are not *there*."""
    with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as copy:
        if not _has_table(copy, "files"):
            return []
        named = copy.execute(
            "SELECT blob FROM files WHERE substr(blob, 1, ?) <> ?",
            (len(IN_ROW_PREFIX), IN_ROW_PREFIX),
        )
        return [key for (key,) in named if key not in there]


def dump_postgresql(url: str, target: Path) -> None:
    """
    Copy a PostgreSQL database to a new file.

    Raises:
        Unavailable: `pg_dump` is not there, or fails; the message has its words.
    """
    left_out = (f"--exclude-table-data={table}" for table in _UNFINISHED)
    _run("pg_dump", url, "--format=custom", "--no-owner", "--no-acl", *left_out, f"--file={target}")
    target.chmod(0o600)


def restore_postgresql(url: str, source: Path) -> None:
    """
    Fill an empty PostgreSQL database from such a copy: all of it or nothing.

    Raises:
        Unavailable: `pg_restore` is not there, or fails: for instance, there are tables already.
    """
    _run(
        "pg_restore",
        url,
        *("--no-owner", "--no-acl", "--single-transaction", "--exit-on-error"),
        str(source),
    )


def _run(program: str, url: str, *arguments: str) -> None:
    command = shutil.which(program)
    if command is None:
        raise Unavailable(
            f"the program {program} is not installed, which copies PostgreSQL databases",
            hint="Install PostgreSQL's client programs, of the server's release or a newer one.",
        )
    parts = urlsplit(url.replace("postgresql+asyncpg://", "postgresql://", 1))
    user, at, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    bare = parts._replace(netloc=f"{name}{at}{host}").geturl()
    environment = dict(os.environ)
    if password:
        environment["PGPASSWORD"] = unquote(password)
    done = subprocess.run(
        [command, f"--dbname={bare}", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        words = done.stderr.decode("utf-8", "replace").strip()[-1000:]
        raise Unavailable(f"{program} failed for {shown_url(url)}: {words}")


def check_sqlite(path: Path) -> None:
    """
    Look at every page of an SQLite database.

    Raises:
        InvalidInput: It is damaged.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as copy:
            (said,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        said = str(error)
    if said != "ok":
        raise InvalidInput(f"the database in the backup is damaged: {said}")


def _has_table(connection: sqlite3.Connection, name: str) -> bool:
    found = connection.execute(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)
    )
    return found.fetchone() is not None


def _revision(connection: sqlite3.Connection) -> str:
    if not _has_table(connection, "alembic_version"):
        return ""
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else ""
