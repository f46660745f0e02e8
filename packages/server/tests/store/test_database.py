"""Opening, transactions and their failures, on both databases."""

import asyncio
import os
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from rows import NOW, algorithm
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from algorium_server.domain.errors import InvalidInput, Unavailable
from algorium_server.domain.identity import Account, AccountKind
from algorium_server.store import algorithms
from algorium_server.store.columns import row_of
from algorium_server.store.database import AsyncConnection, Database, sqlite_url
from algorium_server.store.engines import shown_url, sqlite_path
from algorium_server.store.tables.accounts import accounts as table
from algorium_server.store.upserts import upsert


async def note(connection: AsyncConnection, key: str, *, text: str = "") -> None:
    """Write a row, whichever: most tests here only want to see whether it is there."""
    account = Account(
        account_id=key, kind=AccountKind.USER, username=key, fullname=text, created_at=NOW
    )
    await upsert(connection, table, row_of(account) | {"username_key": key})


async def count(database: Database) -> int:
    async with database.reading() as connection:
        return await connection.scalar(select(func.count()).select_from(table)) or 0


def test_a_committed_row_is_read(database: Database, runner: asyncio.Runner):
    async def scenario():
        async with database.transaction() as connection:
            await note(connection, "id", text="a\0ü\ud800")
        async with database.reading() as connection:
            return await connection.scalar(select(table.c.fullname))

    assert runner.run(scenario()) == "a\0ü\ud800"


def test_an_exception_rolls_back(database: Database, runner: asyncio.Runner):
    async def scenario():
        with suppress(KeyError):
            async with database.transaction() as connection:
                await note(connection, "id")
                raise KeyError
        return await count(database)

    assert runner.run(scenario()) == 0


def test_what_belongs_to_something_just_deleted_is_to_be_tried_again(
    database: Database, runner: asyncio.Runner
):
    async def scenario():
        async with database.transaction() as connection:
            await algorithms.add_algorithm(connection, algorithm("gone"))

    with pytest.raises(Unavailable, match="try again"):
        runner.run(scenario())


def test_readers_cannot_write(database: Database, runner: asyncio.Runner):
    async def scenario():
        async with database.reading() as connection:
            await note(connection, "id")

    with pytest.raises((DBAPIError, Unavailable)):
        runner.run(scenario())


def test_writers_still_write_after_readers(database: Database, runner: asyncio.Runner):
    async def scenario():
        for number in range(30):
            await count(database)
            async with database.transaction() as connection:
                await note(connection, str(number))
        return await count(database)

    assert runner.run(scenario()) == 30


def test_fifty_writers_at_once_all_succeed(database: Database, runner: asyncio.Runner):
    async def write(number: int) -> None:
        for turn in range(4):
            async with database.transaction() as connection:
                await note(connection, f"{number}-{turn}", text="before")
                await asyncio.sleep(0)
                await note(connection, f"{number}-{turn}", text="after")

    async def scenario():
        await asyncio.gather(*(write(number) for number in range(50)), count(database))
        return await count(database)

    assert runner.run(scenario()) == 200


def test_sqlite_writers_take_turns_in_order(sqlite_file: Path):
    async def scenario():
        order = []

        async def write(number: int) -> None:
            async with database.transaction():
                order.append(number)

        async with await Database.open(sqlite_url(sqlite_file)) as database:
            await asyncio.gather(*(write(number) for number in range(50)))
        return order

    assert asyncio.run(scenario()) == list(range(50))


def test_cancelled_writers_leave_nothing_and_block_nobody(
    database: Database, runner: asyncio.Runner
):
    async def write(number: int) -> None:
        async with database.transaction() as connection:
            await note(connection, f"{number}-a")
            await note(connection, f"{number}-b")

    async def scenario():
        for turn in range(40):
            writer = asyncio.create_task(write(turn))
            for _ in range(turn):
                await asyncio.sleep(0)
            writer.cancel()
            await asyncio.wait({writer})
        await write(1000)
        async with database.reading() as connection:
            keys = await connection.scalars(select(table.c.account_id))
            return list(keys)

    keys = runner.run(scenario())
    pairs = {key.partition("-")[0] for key in keys}
    assert "1000" in pairs
    assert len(keys) == 2 * len(pairs)


def test_a_transaction_inside_a_transaction_is_refused(sqlite_file: Path):
    async def scenario():
        async with (
            await Database.open(sqlite_url(sqlite_file)) as database,
            database.transaction(),
            database.transaction(),
        ):
            pass

    with pytest.raises(RuntimeError, match="wait for itself"):
        asyncio.run(scenario())


def test_readers_see_the_last_commit_while_a_writer_works(
    database: Database, runner: asyncio.Runner
):
    async def scenario():
        async with database.transaction() as connection:
            await note(connection, "id")
            seen_during = await count(database)
        return seen_during, await count(database)

    assert runner.run(scenario()) == (0, 1)


def test_the_sqlite_file_is_private_and_durable(tmp_path: Path):
    path = tmp_path / "algorium.db"

    async def scenario():
        async with await Database.open(sqlite_url(path)) as database:
            async with database.transaction() as connection:
                await note(connection, "id")
                pragmas = [
                    await connection.scalar(text(f"PRAGMA {name}"))
                    for name in ("journal_mode", "synchronous", "foreign_keys")
                ]
            modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in tmp_path.iterdir()}
            return pragmas, modes

    os.umask(os.umask(0o022))
    pragmas, modes = asyncio.run(scenario())

    assert pragmas == ["wal", 2, 1]
    assert modes == {
        "algorium.db": 0o600,
        "algorium.db-wal": 0o600,
        "algorium.db-shm": 0o600,
    }


def test_rights_of_others_on_the_sqlite_file_are_taken_away(sqlite_file: Path):
    sqlite_file.chmod(0o664)

    async def scenario():
        async with await Database.open(sqlite_url(sqlite_file)):
            pass

    asyncio.run(scenario())

    assert stat.S_IMODE(sqlite_file.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["a b.db", "50%.db", "what?.db", "x#y.db", "ü.db", "a%20b.db"])
def test_sqlite_urls_name_any_file(tmp_path: Path, name: str):
    path = tmp_path / name

    async def scenario():
        async with await Database.open(sqlite_url(path)):
            pass

    asyncio.run(scenario())

    assert sqlite_path(sqlite_url(path)) == path
    assert path.exists()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "algorium.db",
        "mysql://host/db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///a?b=c",
        "postgresql://[h/db",
    ],
)
def test_other_urls_are_refused(url: str):
    with pytest.raises(InvalidInput):
        asyncio.run(Database.open(url))


def test_a_directory_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(Unavailable, match="missing"):
        asyncio.run(Database.open(sqlite_url(tmp_path / "missing" / "algorium.db")))


def test_a_file_that_is_no_database_is_refused(tmp_path: Path):
    path = tmp_path / "algorium.db"
    path.write_bytes(b"certainly not a database" * 100)

    with pytest.raises(Unavailable, match=r"algorium\.db"):
        asyncio.run(Database.open(sqlite_url(path)))


@pytest.mark.postgresql
def test_postgres_urls_work_in_either_spelling(postgres):
    url = postgres.new_database()

    async def scenario(url: str):
        async with await Database.open(url) as database:
            return await count(database)

    for scheme in ("postgres", "postgresql", "postgresql+asyncpg"):
        assert asyncio.run(scenario(url.replace("postgresql", scheme, 1))) == 0


def test_an_unreachable_postgres_is_named_without_its_password(tmp_path: Path):
    url = f"postgresql://me:sesame@/db?host={tmp_path}"

    with pytest.raises(Unavailable, match="check that the server runs") as caught:
        asyncio.run(Database.open(url))

    assert "postgresql://me@" in caught.value.message
    assert "sesame" not in caught.value.message


@pytest.mark.postgresql
def test_connections_that_a_restarted_postgres_dropped_are_replaced(postgres):
    url = postgres.new_database()

    async def scenario():
        async with await Database.open(url) as database:
            await count(database)
            async with database.transaction() as connection:
                await connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                )
            return await count(database)

    assert asyncio.run(scenario()) == 0


@pytest.mark.postgresql
def test_a_connection_that_breaks_in_a_transaction_is_unavailable(postgres):
    url = postgres.new_database()

    async def scenario():
        async with await Database.open(url) as database:
            with pytest.raises(Unavailable):
                async with database.transaction() as connection:
                    await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
            return await count(database)

    assert asyncio.run(scenario()) == 0


def test_work_in_one_go_is_a_transaction_like_any_other(database: Database, runner: asyncio.Runner):
    async def scenario():
        async def fail(connection: AsyncConnection) -> None:
            await note(connection, "lost")
            raise ZeroDivisionError

        async def look(connection: AsyncConnection) -> int:
            return await connection.scalar(select(func.count()).select_from(table)) or 0

        with pytest.raises(ZeroDivisionError):
            await database.write(fail)
        yield await database.read(look)
        await database.write(lambda connection: note(connection, "kept"))
        yield await database.read(look)
        yield await count(database)
        with pytest.raises((DBAPIError, Unavailable)):
            await database.read(lambda connection: note(connection, "forbidden"))
        yield await count(database)

    async def collected():
        return [found async for found in scenario()]

    assert runner.run(collected()) == [0, 1, 1, 1]


def test_both_kinds_of_writers_take_turns(database: Database, runner: asyncio.Runner):
    async def slowly(number: int) -> None:
        async with database.transaction() as connection:
            await note(connection, f"slow{number}")
            await asyncio.sleep(0)

    async def scenario():
        writers = (
            slowly(number)
            if number % 2
            else database.write(lambda connection, n=number: note(connection, f"fast{n}"))
            for number in range(40)
        )
        await asyncio.gather(*writers)
        return await count(database)

    assert runner.run(scenario()) == 40


def test_work_in_a_thread_that_waits_for_something_else_is_undone(sqlite_file: Path):
    async def scenario():
        async def wait(connection: AsyncConnection) -> None:
            await note(connection, "id")
            await asyncio.sleep(0)

        async with await Database.open(sqlite_url(sqlite_file)) as database:
            with pytest.raises(RuntimeError, match="wait for the database only"):
                await database.write(wait)
            return await count(database)

    assert asyncio.run(scenario()) == 0


def test_sqlite_waits_for_another_process_that_writes(sqlite_file: Path):
    other = sqlite3.connect(sqlite_file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")

    async def scenario():
        async with await Database.open(sqlite_url(sqlite_file)) as database:

            async def write() -> None:
                async with database.transaction() as connection:
                    await note(connection, "id")

            writer = asyncio.create_task(write())
            assert await count(database) == 0
            other.execute("COMMIT")
            await writer
            return await count(database)

    assert asyncio.run(scenario()) == 1
    other.close()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h:5/db?password=x", "postgresql://u@h:5/db"),
        ("postgresql://h/db", "postgresql://h/db"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
    ],
)
def test_urls_are_shown_without_secrets(url: str, shown: str):
    assert shown_url(url) == shown
