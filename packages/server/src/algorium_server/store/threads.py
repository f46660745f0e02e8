"""
SQLite without detours: a whole transaction in a thread, in one go.

Through the event loop every statement takes several turns between threads, which cost more than
the statement itself. So work that asks nothing but the database is handed to a thread as a whole.
It is written as all other work on the store is, as a coroutine with a connection to await; but
here nothing that it awaits ever has to wait, so the thread runs it from its beginning to its end.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Dialect, Engine
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.limits import DATABASE_READERS_MAX
from algorium_server.store.engines import threaded_sqlite_engine

T = TypeVar("T")
Work = Callable[[AsyncConnection], Coroutine[Any, Any, T]]
"""What is done with a connection; awaits nothing else than that."""


class SqliteThreads:
    """
    Threads with connections of their own to one SQLite file.

    Args:
        path: The file; it exists and has its schema before anything is done with it.
    """

    def __init__(self, path: Path) -> None:
        self._writer = threaded_sqlite_engine(path, writes=True)
        self._reader = threaded_sqlite_engine(path, writes=False)
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        self._reading = ThreadPoolExecutor(DATABASE_READERS_MAX, thread_name_prefix="sqlite-reader")

    async def write(self, work: Work[T]) -> T:
        """Do *work* in a transaction, committed at its end, rolled back by an exception."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writing, _in_transaction, self._writer, work)

    async def read(self, work: Work[T]) -> T:
        """Do *work* on a connection that can only read and sees one moment throughout."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reading, _in_transaction, self._reader, work)

    def close(self) -> None:
        """Wait for the work under way, and close all connections."""
        self._writing.shutdown()
        self._reading.shutdown()
        self._reader.dispose()
        self._writer.dispose()


class _Direct:
    """The part of `AsyncConnection` that the store's functions use, on a plain connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def dialect(self) -> Dialect:
        return self._connection.dialect

    @property
    def sync_connection(self) -> Connection:
        return self._connection

    async def execute(self, *arguments: Any, **options: Any) -> Any:
        return self._connection.execute(*arguments, **options)

    async def exec_driver_sql(self, *arguments: Any, **options: Any) -> Any:
        return self._connection.exec_driver_sql(*arguments, **options)

    async def scalar(self, *arguments: Any, **options: Any) -> Any:
        return self._connection.scalar(*arguments, **options)

    async def scalars(self, *arguments: Any, **options: Any) -> Any:
        return self._connection.scalars(*arguments, **options)


def _in_transaction(engine: Engine, work: Work[T]) -> T:
    with engine.begin() as connection:
        return _finish(work(cast("AsyncConnection", _Direct(connection))))


def _finish(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        coroutine.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    coroutine.close()
    raise RuntimeError("work in a thread may wait for the database only")
