"""The store of a running server, changed by another process: by this one."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from algorium_server.services.directory import Directory
from algorium_server.store.database import Database, sqlite_url

T = TypeVar("T")


class Store:
    """
    An open store, for tests that are not asynchronous.

    Attributes:
        directory: What was in it when it was opened, and what was put there since.
    """

    def __init__(self, runner: asyncio.Runner, database: Database, directory: Directory) -> None:
        self.database = database
        self.directory = directory
        self._runner = runner

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something to its end."""
        return self._runner.run(work)

    def write(self, writing: Callable[..., Awaitable[Any]], *values: Any) -> None:
        """Call a function of the store in a transaction of its own."""

        async def write() -> None:
            async with self.database.transaction() as connection:
                await writing(connection, *values)

        self.run(write())


@contextmanager
def changing(home: Path, url: str = "") -> Iterator[Store]:
    """Open the store of the server on *home*, or the one at *url*."""
    with asyncio.Runner() as runner:
        url = url or sqlite_url(home / "algorium.db")
        database = runner.run(Database.open(url, is_shared=True))
        directory = Directory(database)
        runner.run(directory.load())
        yield Store(runner, database, directory)
        runner.run(database.close())
