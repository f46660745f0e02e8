"""Databases of older releases are brought up to date on request, after a backup."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from backup_home import NOW, made_home
from postgres import PrivatePostgres
from sqlalchemy import Connection

from algorium_server import cli
from algorium_server.backup.restoring import restore
from algorium_server.backup.taking import take
from algorium_server.backup.upgrading import upgrade, upgrade_if_asked, wanted_backup
from algorium_server.domain.errors import InvalidInput, Unavailable
from algorium_server.home import open_database
from algorium_server.settings import Settings
from algorium_server.store import accounts, migrations
from algorium_server.store.database import Database, schema_of, sqlite_url
from algorium_server.store.engines import sqlite_engines

OLD = "0007"


async def _make_old(path: Path) -> None:
    def fill(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, OLD)
        connection.exec_driver_sql(
            "INSERT INTO accounts (account_id, kind, username, username_key, email, fullname,"
            " is_admin, is_viewer, is_disabled, created_at) VALUES ('jane', 'user', 'jane', 'jane',"
            " x'', x'', true, false, false, '2026-03-29 01:02:03.000000')"
        )

    engines = sqlite_engines(path)
    async with engines[0].begin() as connection:
        await connection.run_sync(fill)
    for engine in engines:
        await engine.dispose()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Make the home of an older release."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    asyncio.run(_make_old(home / "algorium.db"))
    (home / "blobs" / "aa").mkdir(parents=True)
    (home / "blobs" / "aa" / "aa").write_bytes(b"bytes")
    return home


def schema(home: Path) -> str | None:
    return asyncio.run(schema_of(sqlite_url(home / "algorium.db")))


async def _names(settings: Settings) -> list[str]:
    async with await open_database(settings) as database, database.reading() as connection:
        return [each.username for each in await accounts.accounts(connection)]


def test_nothing_but_upgrade_changes_an_older_database(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (
        ["serve", "--port", "0"],
        ["serve", "--port", "0", "--workers", "2"],
        ["fsck"],
        ["user", "list"],
        ["password", "jane"],
    ):
        assert cli.main([*arguments, "--home", str(old)]) == 1
        assert "algorium upgrade" in capsys.readouterr().err

    assert schema(old) == OLD
    assert not (old / "backups").exists()


def test_an_upgrade_makes_a_backup_that_leads_back(
    old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["upgrade", "--home", str(old)]) == 0
    said = capsys.readouterr().out
    (backup,) = (old / "backups").iterdir()

    assert f"from {OLD} to {migrations.HEAD}" in said
    assert str(backup) in said
    assert asyncio.run(_names(Settings(home=old))) == ["jane"]
    (tmp_path / "back").mkdir()
    assert restore(backup, tmp_path / "back").header.schema == OLD
    assert schema(tmp_path / "back") == OLD
    assert (tmp_path / "back" / "blobs" / "aa" / "aa").read_bytes() == b"bytes"
    assert cli.main(["upgrade", "--home", str(old), "--json"]) == 0
    assert '"backup": null' in capsys.readouterr().out


def test_an_upgrade_without_a_backup(old: Path) -> None:
    done = asyncio.run(upgrade(Settings(home=old), has_backup=False))

    assert (done.before, done.after, done.backup) == (OLD, migrations.HEAD, None)
    assert not (old / "backups").exists()


def test_a_server_upgrades_at_its_start_if_it_is_told_to(old: Path, tmp_path: Path) -> None:
    for home in (old, tmp_path / "fresh"):
        asyncio.run(upgrade_if_asked(Settings(home=home, upgrade=True)))

    assert schema(old) == migrations.HEAD
    assert len(list((old / "backups").iterdir())) == 1
    assert not (tmp_path / "fresh").exists()


def test_an_older_backup_is_restored_into_this_release(
    old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, place = str(tmp_path / "a.tar.gz"), tmp_path / "new"

    assert cli.main(["backup", source, "--home", str(old)]) == 0
    assert cli.main(["restore", source, "--home", str(place)]) == 0
    assert f"from {OLD} to {migrations.HEAD}" in capsys.readouterr().out
    assert asyncio.run(_names(Settings(home=place))) == ["jane"]
    assert schema(old) == OLD


def test_a_newer_database_is_refused_and_stays_as_it_is(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(old / "algorium.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()

    for arguments in (["upgrade"], ["serve", "--port", "0", "--upgrade"]):
        assert cli.main([*arguments, "--home", str(old)]) == 1
        assert "newer Algorium" in capsys.readouterr().err
    assert schema(old) == "9999"
    assert not (old / "backups").exists()


def test_a_home_that_is_not_there_is_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["upgrade"], ["backup", str(tmp_path / "a.tar")], ["user", "list"]):
        assert cli.main([*arguments, "--home", str(tmp_path / "typo")]) == 1
        assert "is --home right?" in capsys.readouterr().err

    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "database_url",
    [pytest.param("postgresql", marks=pytest.mark.postgresql)],
    indirect=True,
)
def test_a_database_on_postgresql_comes_along(
    tmp_path: Path, postgres: PrivatePostgres, database_url: str
) -> None:
    home = made_home(tmp_path / "home", url=database_url)
    settings = Settings(home=home.path, database=home.url)
    (tmp_path / "new").mkdir()

    take(asyncio.run(wanted_backup(settings)), tmp_path / "a.tar.zst", now=NOW)
    with pytest.raises(InvalidInput, match="--database"):
        restore(tmp_path / "a.tar.zst", tmp_path / "new")
    with pytest.raises(Unavailable, match="pg_restore failed"):
        restore(tmp_path / "a.tar.zst", tmp_path / "new", database_url=home.url)
    url = postgres.new_database()
    restored = restore(tmp_path / "a.tar.zst", tmp_path / "new", database_url=url)

    assert restored.header.database == "postgresql"
    assert restored.header.schema == migrations.HEAD
    settings = Settings(home=tmp_path / "new", database=url)
    assert asyncio.run(_names(settings)) == ["jane"]
    assert not list((tmp_path / "new").glob("*pgdump*"))


def test_opening_an_older_database_needs_to_be_asked_for(old: Path) -> None:
    async def opened() -> None:
        async with await Database.open(sqlite_url(old / "algorium.db"), upgrades=False):
            pass

    with pytest.raises(Unavailable, match="older Algorium"):
        asyncio.run(opened())
