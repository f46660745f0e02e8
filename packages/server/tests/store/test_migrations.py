"""Migrations make exactly the schema, once, and refuse what they do not know."""

import asyncio
import hashlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import rows
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, select, text

from algorium_server.domain.errors import AlreadyExists, Unavailable
from algorium_server.domain.storage import StorageUse
from algorium_server.store import accounts, migrations, storage, users
from algorium_server.store.database import Database, sqlite_url
from algorium_server.store.engines import postgresql_engine, sqlite_engines, sqlite_path
from algorium_server.store.schema import metadata
from algorium_server.store.tables.files import files

# Digests of what others have run; the newest joins them when it is released.
RELEASED = {
    "0001_first_schema": "b4c7117c657ed4bf",
    "0002_engine": "d58211ff88b50724",
    "0003_connectors": "be6301ef83975896",
    "0004_uploads": "64a0d534f21aaab7",
    "0005_storage": "716eadc71fed2553",
    "0006_authoring": "ebf1b373133b3b6a",
    "0007_accounts": "347ab40f7d157151",
    "0008_sessions": "6959a3d9a5c0e0fa",
    "0009_audit": "6c83aae940ddd774",
    "0010_quotas": "dde2c3becea91c7c",
    "0011_operations": "4bb7924843bd35ac",
}


async def on_writer(url: str, function):
    path = sqlite_path(url)
    engines = sqlite_engines(path) if path else (postgresql_engine(url),)
    try:
        async with engines[0].begin() as connection:
            return await connection.run_sync(function)
    finally:
        for engine in engines:
            await engine.dispose()


async def open_and_close(url: str) -> None:
    async with await Database.open(url):
        pass


def described(connection: Connection) -> dict[str, object]:
    """Everything an inspector sees; `compare_metadata` does not look at all of it."""
    inspector = inspect(connection)
    tables = sorted(set(inspector.get_table_names()) - {"alembic_version"})
    facts = {
        table: (
            [
                (column["name"], repr(column["type"]), column["nullable"], column["default"])
                for column in inspector.get_columns(table)
            ],
            inspector.get_pk_constraint(table),
            sorted(inspector.get_foreign_keys(table), key=str),
            sorted(inspector.get_unique_constraints(table), key=str),
            sorted(map(readable, inspector.get_indexes(table))),
        )
        for table in tables
    }
    return {name: repr(fact) for name, fact in facts.items()}


def readable(index: dict[str, object]) -> str:
    options = {name: str(value) for name, value in index.get("dialect_options", {}).items()}
    return repr(index | {"dialect_options": options})


def test_migrations_leave_nothing_to_migrate(empty_database_url: str):
    def differences(connection: Connection):
        options = {"compare_type": True, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    asyncio.run(open_and_close(empty_database_url))

    assert asyncio.run(on_writer(empty_database_url, differences)) == []


def test_migrations_make_what_the_metadata_make(empty_database_url: str):
    def both(connection: Connection):
        metadata.create_all(connection)
        wanted = described(connection)
        metadata.drop_all(connection)
        migrations.upgrade(connection)
        return wanted, described(connection)

    wanted, migrated = asyncio.run(on_writer(empty_database_url, both))

    assert set(wanted) == set(metadata.tables)
    assert migrated == wanted


def test_the_newest_revision_is_the_one_written_down():
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")

    assert ScriptDirectory.from_config(config).get_heads() == [migrations.HEAD]


def test_opening_again_changes_nothing(empty_database_url: str):
    async def opened_twice():
        await open_and_close(empty_database_url)
        await open_and_close(empty_database_url)
        return await on_writer(empty_database_url, migrations.stored_revision)

    assert asyncio.run(opened_twice()) == migrations.HEAD


def test_servers_that_start_together_agree(empty_database_url: str):
    async def together():
        await asyncio.gather(*(open_and_close(empty_database_url) for _ in range(4)))
        return await on_writer(empty_database_url, migrations.stored_revision)

    assert asyncio.run(together()) == migrations.HEAD


def test_files_from_before_are_counted_and_keep_their_checksums(empty_database_url: str):
    def fill(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        now = "2026-03-29 01:02:03.000000"
        connection.exec_driver_sql(
            "INSERT INTO accounts (account_id, kind, username, username_key, email, fullname,"
            " is_admin, created_at)"
            f" VALUES ('jane', 'user', 'jane', 'jane', '', '', false, '{now}')"
        )
        connection.exec_driver_sql(
            "INSERT INTO collections (collection_id, kind, owner_id, name, name_key, acl,"
            f" created_at) VALUES ('c', 'account', 'jane', 'c', 'c', 'private', '{now}')"
        )
        for number, size_bytes in enumerate((2**33, 5)):
            connection.exec_driver_sql(
                "INSERT INTO files (file_id, collection_id, name, size_bytes, blob, md5, blake2b,"
                f" modified_at) VALUES ('f{number}', 'c', 'f{number}', {size_bytes}, 'b', '',"
                f" '{number:064x}', '{now}')"
            )

    async def scenario():
        await on_writer(empty_database_url, fill)
        async with (
            await Database.open(empty_database_url) as database,
            database.reading() as connection,
        ):
            counted = await storage.counted_use(connection)
            kept = (await connection.execute(select(files.c.name, files.c.checksum))).all()
            return await storage.use_of(connection, "jane"), counted, dict(map(tuple, kept))

    use, counted, kept = asyncio.run(scenario())

    assert use == StorageUse(bytes=2**33 + 5, files=2)
    assert counted == {"jane": use}
    assert kept == {f"f{number}": f"blake2b:{number:064x}" for number in range(2)}


def test_the_very_first_schema_comes_along(empty_database_url: str):
    def fill(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        # The first servers made this one, under the same number.
        connection.exec_driver_sql("ALTER TABLE builds DROP COLUMN source_bytes")
        connection.exec_driver_sql(
            "CREATE TABLE installation (key VARCHAR(64) PRIMARY KEY, value VARCHAR(64))"
        )

    def columns(connection: Connection) -> tuple[set[str], bool]:
        seen = inspect(connection)
        names = {each["name"] for each in seen.get_columns("builds")}
        return names, seen.has_table("installation")

    async def compared() -> tuple[set[str], bool]:
        await on_writer(empty_database_url, fill)
        await open_and_close(empty_database_url)
        return await on_writer(empty_database_url, columns)

    names, has_spare_table = asyncio.run(compared())

    assert names == {column.name for column in metadata.tables["builds"].columns}
    assert not has_spare_table


def test_names_and_addresses_from_before_are_taken(empty_database_url: str):
    def fill(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, "0006")
        statement = text(
            "INSERT INTO accounts (account_id, kind, username, username_key, email, fullname,"
            " is_admin, created_at) VALUES (:account_id, :kind, :name, :key, :email, :email,"
            " false, '2026-03-29 01:02:03.000000')"
        )
        for account_id, kind, name, email in (
            ("1", "user", "Jane", b"Jane@example.com"),
            ("2", "user", "joe", b""),
            ("3", "organization", "lab", b"jane@example.com"),
        ):
            values = {"account_id": account_id, "kind": kind, "name": name, "key": name.lower()}
            connection.execute(statement, values | {"email": email})

    async def scenario():
        await on_writer(empty_database_url, fill)
        async with await Database.open(empty_database_url) as database:
            async with database.transaction() as connection:
                taken = [
                    await users.take_email(connection, "jane@EXAMPLE.com", account_id=account_id)
                    for account_id in ("1", "2")
                ]
                with pytest.raises(AlreadyExists):
                    await accounts.add_account(connection, rows.account("JANE"))
            async with database.reading() as connection:
                return taken, await accounts.accounts(connection)

    taken, found = asyncio.run(scenario())

    assert taken == [True, False]
    assert [(each.username, each.is_disabled) for each in found] == [
        ("Jane", False),
        ("joe", False),
        ("lab", False),
    ]


def test_a_newer_database_is_refused_and_left_alone(database_url: str):
    def pretend(connection: Connection) -> None:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    async def scenario():
        await on_writer(database_url, pretend)
        with pytest.raises(Unavailable, match=r"newer Algorium.*9999.*restore a backup"):
            await Database.open(database_url)
        return await on_writer(database_url, migrations.stored_revision)

    assert asyncio.run(scenario()) == "9999"


def test_a_migration_that_fails_leaves_nothing_behind(empty_database_url: str):
    def obstruct(connection: Connection) -> None:
        # The last table of the first migration cannot be made.
        connection.execute(text("CREATE TABLE versions (obstacle INTEGER)"))

    async def scenario():
        await on_writer(empty_database_url, obstruct)
        with pytest.raises(Unavailable, match="versions"):
            await Database.open(empty_database_url)
        return await on_writer(
            empty_database_url, lambda connection: inspect(connection).get_table_names()
        )

    assert asyncio.run(scenario()) == ["versions"]


@pytest.mark.slow
def test_a_database_that_is_up_to_date_opens_without_alembic(sqlite_file: Path):
    program = (
        "import asyncio, sys\n"
        "from algorium_server.store.database import Database\n"
        "async def main():\n"
        "    async with await Database.open(sys.argv[1]): pass\n"
        "asyncio.run(main())\n"
        "print('alembic' in sys.modules, 'asyncpg' in sys.modules)\n"
    )

    said = subprocess.run(
        [sys.executable, "-c", program, sqlite_url(sqlite_file)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert said == "False False\n"


def test_sqlite_keeps_names_and_settings_as_plain_text(sqlite_file: Path):
    with sqlite3.connect(sqlite_file) as connection:
        types = dict(connection.execute("SELECT name, type FROM pragma_table_info('api_keys')"))
    connection.close()

    assert types["permissions"] == "TEXT"
    assert types["key_id"] == "VARCHAR(36)"


@pytest.mark.parametrize("name", sorted(RELEASED))
def test_a_migration_that_was_released_never_changes(name):
    """A database that has gone through it would not go through it again."""
    content = (Path(migrations.__file__).parent / "versions" / f"{name}.py").read_bytes()

    assert hashlib.sha256(content).hexdigest()[:16] == RELEASED[name], (
        "whatever is to change comes in a migration of its own"
    )
