"""
Databases for the server's tests, SQLite and PostgreSQL alike.

| fixture              | what                                                          |
|----------------------|---------------------------------------------------------------|
| `database_url`       | a database of its own with the newest schema, once on each    |
| `empty_database_url` | the same without any schema                                   |
| `database`           | `database_url`, opened in `runner`                            |
| `runner`             | an event loop: `runner.run(coroutine)`                        |
| `sqlite_file`        | an SQLite file with the newest schema                         |
| `postgres`           | the private server; without binaries the test is skipped      |
"""

import asyncio
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Test modules are no package: what they share is found by its plain name.
sys.path.append(str(Path(__file__).parent))

from postgres import PrivatePostgres, running_postgres

from algorium_server.store.database import Database, sqlite_url

BOTH = ("sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql))
"""For one of them only: `pytest.mark.parametrize("database_url", [...], indirect=True)`."""


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="session")
def postgres() -> Iterator[PrivatePostgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def _postgres_template(postgres: PrivatePostgres) -> str:
    postgres.execute("CREATE DATABASE algorium_template TEMPLATE template0")
    asyncio.run(_migrate(postgres.url("algorium_template")))
    return "algorium_template"


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "algorium.db"
    asyncio.run(_migrate(sqlite_url(path)))
    return path


@pytest.fixture
def sqlite_file(_sqlite_template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(_sqlite_template, tmp_path / "algorium.db"))


@pytest.fixture(params=BOTH)
def database_url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return sqlite_url(request.getfixturevalue("sqlite_file"))
    template = request.getfixturevalue("_postgres_template")
    return request.getfixturevalue("postgres").new_database(template=template)


@pytest.fixture(params=BOTH)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "empty.db")
    return request.getfixturevalue("postgres").new_database()


@pytest.fixture
def database(database_url: str, runner: asyncio.Runner) -> Iterator[Database]:
    database = runner.run(Database.open(database_url))
    yield database
    runner.run(database.close())


async def _migrate(url: str) -> None:
    async with await Database.open(url):
        pass
