"""Accounts for tests, put into the home of a server that is not running."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from algorium_server.sealing import Seal
from algorium_server.services.directory import Directory
from algorium_server.services.people.accounts import create_account
from algorium_server.store.database import Database, sqlite_url


def add_user(home: Path, username: str) -> str:
    """Create a user and return its default key."""

    async def add() -> str:
        url, keys = sqlite_url(home / "algorium.db"), Seal.open(home).chain_keys
        async with await Database.open(url, chain_keys=keys) as database:
            directory = Directory(database)
            await directory.load()
            _, key = await create_account(
                database, directory, username=username, now=datetime.now(UTC)
            )
            return key.secret

    return asyncio.run(add())
