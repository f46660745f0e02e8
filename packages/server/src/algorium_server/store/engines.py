"""
Engines: how SQLite and PostgreSQL are opened, set up and reached by URL.

SQLite has one writer at a time, so it gets two engines: one connection that writes, behind a lock
in `database.py`, and a few that only read. In WAL mode readers see the last commit and neither
wait for the writer nor stop it.
"""

import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, quote, unquote_to_bytes, urlsplit

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from algorium_server.domain.errors import InvalidInput, Unavailable
from algorium_server.domain.limits import (
    DATABASE_BUSY_TIMEOUT_S,
    DATABASE_CONNECT_TIMEOUT_S,
    DATABASE_CONNECTIONS_MAX,
    DATABASE_READERS_MAX,
)
from algorium_server.durable import flush_directory

_SQLITE_SCHEMES: Final = frozenset({"sqlite", "sqlite+aiosqlite"})
_SQLITE_FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
"""The second one is about the memory that processes share beside the file."""
_POSTGRESQL_FULL: Final = "53100"
_CONTENDED: Final = frozenset({"40001", "40P01"})
_POSTGRESQL_ORPHANED: Final = "23503"
"""
Source: PostgreSQL, "Error Codes": disk_full, serialization_failure, deadlock_detected,
foreign_key_violation.
"""
_POSTGRESQL_SCHEMES: Final = frozenset({"postgres", "postgresql", "postgresql+asyncpg"})


def sqlite_url(path: Path) -> str:
    """Return the URL of an SQLite file; what has a meaning in URLs is percent-encoded."""
    return f"sqlite:///{quote(os.fsencode(path.absolute()))}"


def sqlite_path(url: str) -> Path | None:
    """
    Return the file that *url* names, None if it is not an SQLite URL.

    Raises:
        InvalidInput: No file is named; a database in memory would not outlive the process.
    """
    parts = _split(url)
    if parts.scheme not in _SQLITE_SCHEMES:
        return None
    path = os.fsdecode(unquote_to_bytes(parts.path.removeprefix("/")))
    if parts.netloc or parts.query or not path or path.startswith(":memory:"):
        raise InvalidInput("an SQLite database is named by its file: sqlite:////path/to/file.db")
    return Path(path)


def is_postgresql(url: str) -> bool:
    """Whether *url* is a PostgreSQL URL."""
    return _split(url).scheme in _POSTGRESQL_SCHEMES


def shown_url(url: str) -> str:
    """Return *url* as it may be shown: without its password and its options."""
    parts = _split(url)
    user, at, host = parts.netloc.rpartition("@")
    return f"{parts.scheme}://{user.partition(':')[0]}{at}{host}{parts.path}"


def sqlite_engines(path: Path) -> tuple[AsyncEngine, AsyncEngine]:
    """
    Make the file if there is none, and return the engine that writes and the one that reads.

    Raises:
        Unavailable: The file cannot be made.
    """
    try:
        _make_private_file(path)
    except OSError as error:
        raise Unavailable(
            f"cannot use {path} as the database: {error.strerror}; "
            "check the path, its permissions and the room on the disk"
        ) from error
    return (
        _sqlite_engine(path, begin="BEGIN IMMEDIATE", pool_size=1),
        _sqlite_engine(path, begin="BEGIN", pool_size=DATABASE_READERS_MAX),
    )


def postgresql_engine(url: str) -> AsyncEngine:
    """
    Return an engine for a PostgreSQL URL, read as libpq reads it (`sslmode=`, `host=/socket`, …).

    Its connections raise `Unavailable` when the server cannot be reached or refuses.
    """
    dsn = f"postgresql://{url.partition('://')[2]}"

    async def connect(**options: Any) -> Any:
        # Here for start-up time: the embedded default never needs the driver.
        import asyncpg  # type: ignore[import-untyped]  # noqa: PLC0415 - it ships no types

        try:
            return await asyncpg.connect(
                dsn,
                timeout=DATABASE_CONNECT_TIMEOUT_S,
                server_settings={"application_name": "algorium"},
                **options,
            )
        except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise Unavailable(
                f"cannot connect to {shown_url(url)}: {error or type(error).__name__}; "
                "check that the server runs and that the URL, user and password are right"
            ) from error

    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        pool_size=DATABASE_CONNECTIONS_MAX,
        max_overflow=0,
        # A restarted server leaves dead connections behind; ask before using one.
        pool_pre_ping=True,
    )


def is_full(error: SQLAlchemyError) -> bool:
    """Whether a database failed because its disk is full."""
    return any(
        getattr(cause, "sqlite_errorcode", None) in _SQLITE_FULL
        or getattr(cause, "sqlstate", None) == _POSTGRESQL_FULL
        for cause in _causes(error)
    )


def is_contended(error: SQLAlchemyError) -> bool:
    """Whether PostgreSQL gave a transaction up that stood in the way of another one."""
    return any(getattr(cause, "sqlstate", None) in _CONTENDED for cause in _causes(error))


def is_orphaned(error: SQLAlchemyError) -> bool:
    """Whether a row would have belonged to one that is gone, or one that goes still has others."""
    return any(
        getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
        or getattr(cause, "sqlstate", None) == _POSTGRESQL_ORPHANED
        for cause in _causes(error)
    )


def _causes(error: SQLAlchemyError) -> Iterator[BaseException]:
    cause: BaseException | None = getattr(error, "orig", None)
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _sqlite_engine(path: Path, *, begin: str, pool_size: int) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        pool_size=pool_size,
        max_overflow=0,
        # Without an isolation level the driver begins no transactions behind our back. Its own
        # would start late and as readers, and fail as "locked" when they come to write.
        # Source: SQLAlchemy, "Enabling Non-Legacy SQLite Transactional Modes".
        connect_args={"isolation_level": None, "timeout": DATABASE_BUSY_TIMEOUT_S},
    )
    _set_up_sqlite(engine.sync_engine, begin=begin)
    return engine


def threaded_sqlite_engine(path: Path, *, writes: bool) -> Engine:
    """Return an engine for threads, on a file that is there; see `store/threads.py`."""
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(path)),
        pool_size=1 if writes else DATABASE_READERS_MAX,
        max_overflow=0,
        connect_args={
            "isolation_level": None,  # as in `_sqlite_engine`
            "timeout": DATABASE_BUSY_TIMEOUT_S,
            "check_same_thread": False,  # the pool gives each to one thread at a time
        },
    )
    _set_up_sqlite(engine, begin="BEGIN IMMEDIATE" if writes else "BEGIN")
    return engine


def _set_up_sqlite(engine: Engine, *, begin: str) -> None:
    writes = begin != "BEGIN"

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        if writes:
            cursor.execute("PRAGMA journal_mode = WAL")
        # FULL: in WAL mode anything less may forget acknowledged commits in a power cut.
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        if not writes:
            cursor.execute("PRAGMA query_only = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise InvalidInput(f"the database URL cannot be read: {error}") from error


def _make_private_file(path: Path) -> None:
    """
    Create *path* readable by its owner only, or take the others' rights away.

    SQLite gives its `-wal` and `-shm` files the mode of the database.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & 0o077:
            os.fchmod(descriptor, mode & 0o700)
    finally:
        os.close(descriptor)
    flush_directory(path.parent)
