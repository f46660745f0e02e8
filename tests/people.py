"""Accounts for tests, put into the home of a server that is not running."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from algorium_server.services.directory import Directory
from algorium_server.services.people.accounts import create_account
from algorium_server.store.database import Database, sqlite_url


def add_user(home: Path, username: str) -> str:
    """Create a user and return its default key."""

    async def add() -> str:
        async with await Database.open(sqlite_url(home / "algorium.db")) as database:
            directory = Directory(database)
            await directory.load()
            _, key = await create_account(
                database, directory, username=username, now=datetime.now(UTC)
            )
            return key.secret

    return asyncio.run(add())
