"""
The database: opened once, then transactions.

`transaction()` may write, `reading()` may not, on both databases. Functions of the sibling modules
take the connection that these yield. Errors of the driver that mean "not now" (no connection, disk
full) leave here as `Unavailable` and `OutOfSpace`; all others are mistakes of ours and pass. So
does `Unavailable` for a row whose owner was deleted between a look and the write: whoever tries
again looks again, and hears what is gone.

Entries of the audit log that were left during a transaction are written right before its commit.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from types import TracebackType
from typing import Self, TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from algorium_server.domain.audit_chain import UNKEYED, ChainKeys
from algorium_server.domain.errors import InvalidInput, OutOfSpace, Unavailable
from algorium_server.store import audit, migrations
from algorium_server.store.engines import (
    is_contended,
    is_full,
    is_orphaned,
    is_postgresql,
    postgresql_engine,
    shown_url,
    sqlite_engines,
    sqlite_path,
    sqlite_url,
)
from algorium_server.store.threads import SqliteThreads, Work

__all__ = ["AsyncConnection", "Database", "schema_of", "sqlite_url"]
"""`AsyncConnection` is SQLAlchemy's, for the annotations of those above who know only the store."""

T = TypeVar("T")


class Database:
    """
    SQLite or PostgreSQL, with the newest schema.

    Bound to the event loop it was opened in.

    Attributes:
        is_embedded: It lies in our home (SQLite): no server with another home works on it.
        is_exclusive: No other process at all works on it.
    """

    def __init__(
        self,
        *,
        writer: AsyncEngine,
        reader: AsyncEngine,
        threads: SqliteThreads | None,
        is_exclusive: bool,
        chain_keys: ChainKeys = UNKEYED,
    ) -> None:
        is_embedded = threads is not None
        self.is_embedded = is_embedded
        self.is_exclusive = is_exclusive
        self._writer = writer
        self._reader = reader
        self._threads = threads
        self._chain_keys = chain_keys
        self._turn = _Turn() if is_embedded else None

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        is_shared: bool = False,
        chain_keys: ChainKeys = UNKEYED,
        upgrades: bool = True,
    ) -> Self:
        """
        Connect, and bring the schema up to date.

        Args:
            url: `sqlite:////path/to/file.db` (see `sqlite_url`), or `postgresql://` and
                `postgres://` as libpq knows them.
            is_shared: Several processes of one home work on it.
            chain_keys: Of the home, for its audit log; see `home.open_database`.
            upgrades: Also from that of an older release; else only an empty database gets tables.

        Raises:
            InvalidInput: The URL is neither.
            Unavailable: It cannot be reached, a newer Algorium has written it, or an older one
                has and it is not to be changed.
        """
        path = sqlite_path(url)
        if path is not None:
            writer, reader = sqlite_engines(path)
            database = cls(
                writer=writer,
                reader=reader,
                threads=SqliteThreads(path),
                is_exclusive=not is_shared,
                chain_keys=chain_keys,
            )
        elif is_postgresql(url):
            engine = postgresql_engine(url)
            read_only = engine.execution_options(postgresql_readonly=True)
            database = cls(
                writer=engine,
                reader=read_only,
                threads=None,
                is_exclusive=False,
                chain_keys=chain_keys,
            )
        else:
            raise InvalidInput(
                f"{shown_url(url)!r} is not a database URL: use sqlite:////path or postgresql://"
            )
        try:
            await database._bring_up_to_date(upgrades=upgrades)
        except DBAPIError as error:
            await database.close()
            raise Unavailable(
                f"cannot use {shown_url(url)} as the database: {error.orig}"
            ) from error
        except BaseException:
            await database.close()
            raise
        return database

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """
        Open a transaction that writes: committed at the end, rolled back by an exception.

        On SQLite writers take turns, those of one process in the order they came; keep the block
        short, and never open one inside another.

        Raises:
            Unavailable: The database does not answer or cannot write, or others have just deleted
                what a row belongs to; nothing was changed, unless the connection broke during
                the commit.
            OutOfSpace: Its disk is full; nothing was changed.
        """
        async with self._turn or nullcontext(), _translated(), self._writer.begin() as connection:
            yield connection
            await audit.settle(connection, self._chain_keys)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """
        Open a connection that can only read; on SQLite it sees one moment throughout.

        Raises:
            Unavailable: The database does not answer.
        """
        async with _translated(), self._reader.connect() as connection:
            yield connection

    async def write(self, work: Work[T]) -> T:
        """
        Do *work* in a transaction, like `transaction`, but with less effort on SQLite.

        Args:
            work: Gets the connection and awaits nothing else; it may run in a thread.

        Raises:
            Unavailable: As `transaction` does.
            OutOfSpace: As `transaction` does.
        """
        if self._threads is None:
            async with self.transaction() as connection:
                return await work(connection)
        async with self._turn or nullcontext(), _translated():
            return await self._threads.write(self._audited(work))

    async def read(self, work: Work[T]) -> T:
        """
        Do *work* on a connection that can only read, like `reading`, but with less effort.

        Args:
            work: As for `write`.

        Raises:
            Unavailable: The database does not answer.
        """
        if self._threads is None:
            async with self.reading() as connection:
                return await work(connection)
        async with _translated():
            return await self._threads.read(work)

    def _audited(self, work: Work[T]) -> Work[T]:
        async def audited(connection: AsyncConnection) -> T:
            result = await work(connection)
            await audit.settle(connection, self._chain_keys)
            return result

        return audited

    async def close(self) -> None:
        """Close all connections; open transactions must have ended."""
        if self._threads is not None:
            await asyncio.to_thread(self._threads.close)
        await self._reader.dispose()
        await self._writer.dispose()

    async def _bring_up_to_date(self, *, upgrades: bool) -> None:
        async with self._reader.connect() as connection:
            stored = await connection.run_sync(migrations.stored_revision)
        if not upgrades:
            migrations.check_current(stored)
        if stored != migrations.HEAD:
            async with self._writer.begin() as connection:
                await connection.run_sync(migrations.upgrade)


async def schema_of(url: str) -> str | None:
    """
    Return the revision that a database is at, None if it is empty; nothing is changed.

    Args:
        url: As for `Database.open`; of SQLite the file is there.

    Raises:
        Unavailable: It cannot be reached.
    """
    path = sqlite_path(url)
    engines = (postgresql_engine(url),) if path is None else sqlite_engines(path)
    try:
        async with engines[-1].connect() as connection:
            return await connection.run_sync(migrations.stored_revision)
    except DBAPIError as error:
        raise Unavailable(f"cannot use {shown_url(url)} as the database: {error.orig}") from error
    finally:
        for engine in engines:
            await engine.dispose()


class _Turn:
    """
    The right to write, granted in the order of asking.

    SQLite itself lets waiting writers poll, which starves the unlucky ones.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._holder: asyncio.Task[object] | None = None

    async def __aenter__(self) -> None:
        if self._holder is not None and self._holder is asyncio.current_task():
            raise RuntimeError("a transaction inside a transaction would wait for itself")
        await self._lock.acquire()
        self._holder = asyncio.current_task()

    async def __aexit__(self, *_: object) -> None:
        self._holder = None
        self._lock.release()


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except (InterfaceError, OperationalError, PoolTimeout) as error:
        if is_full(error):
            raise OutOfSpace(detail=str(error)) from error
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # a statement cut short, not a sick database
            raise asyncio.CancelledError from error
        raise Unavailable(
            "the database does not answer or cannot write now; try again", detail=str(error)
        ) from error
    except DBAPIError as error:
        if is_full(error):
            raise OutOfSpace(detail=str(error)) from error
        if is_contended(error) or is_orphaned(error):
            raise Unavailable(
                "others are changing the same at this moment; try again", detail=str(error)
            ) from error
        if error.connection_invalidated:
            raise Unavailable(
                "the connection to the database broke; try again", detail=str(error)
            ) from error
        raise
