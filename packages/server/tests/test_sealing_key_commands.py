"""The command `algorium sealing-key` as operators type it, and as `kill -9` ends it."""

import asyncio
import gc
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from rows import new_id

from algorium_server import cli
from algorium_server.domain.registries import Registry
from algorium_server.holding import held
from algorium_server.home import locked, open_database, using_keys
from algorium_server.sealing import Seal
from algorium_server.settings import Settings
from algorium_server.store import registries
from algorium_server.store.engines import is_postgresql

IDS = [new_id() for _ in range(3)]
ALGORIUM = Path(sys.executable).with_name("algorium")
_WAIT_S = 120.0


class Home:
    """A home with a few sealed things, and whoever types commands there."""

    def __init__(self, path, url, capsys):
        self.path = path
        self.file = path / "secrets" / "sealing.json"
        self.settings = Settings(home=path, database=url if is_postgresql(url) else "")
        self._capsys = capsys
        asyncio.run(self._fill())

    @property
    def where(self):
        given = ["--home", str(self.path)]
        return [*given, "--database", self.settings.database] if self.settings.database else given

    def types(self, *arguments, code=0):
        assert cli.main([*arguments, *self.where]) == code
        said = self._capsys.readouterr()
        return said.out if code == 0 else said.err

    def tells(self, *arguments, code):
        """Return what a command tells that ends with *code*."""
        assert cli.main([*arguments, *self.where]) == code
        return self._capsys.readouterr().out

    def rotates(self, *arguments, code=0):
        """Rotate; return the id of the new key."""
        self.types("sealing-key", "rotate", *arguments, code=code)
        return self.key_ids()[-1]

    def key_ids(self):
        return list(json.loads(self.file.read_text())["keys"])

    def opens(self):
        """Whether everything sealed opens with the keys of the home."""

        async def look():
            async with (
                await open_database(self.settings) as database,
                database.reading() as connection,
            ):
                return await registries.registries(connection)

        seal = Seal.open(self.path)
        found = asyncio.run(look())
        assert len(found) == len(IDS)
        return all(
            seal.unseal(each.sealed, owner=each.registry_id, name="registry") == b"hush"
            for each in found
        )

    async def _fill(self):
        seal = Seal.open(self.path)
        async with (
            await open_database(self.settings) as database,
            database.transaction() as connection,
        ):
            for registry_id in IDS:
                made = Registry(
                    registry_id=registry_id,
                    name="r",
                    registry_url="https://r",
                    sealed=seal.seal(b"hush", owner=registry_id, name="registry"),
                    created_at=datetime.now(UTC),
                )
                await registries.add(connection, made)


@pytest.fixture
def home(tmp_path, database_url, capsys):
    return Home(tmp_path, database_url, capsys)


@pytest.fixture
def simple_home(tmp_path, sqlite_file, capsys):
    return Home(tmp_path, "sqlite://", capsys)


def test_keys_are_rotated_listed_and_forgotten(simple_home):
    home = simple_home
    (first,) = home.key_ids()

    said = json.loads(home.types("sealing-key", "rotate", "--json"))

    assert said["resealed"] == len(IDS)
    assert home.key_ids() == [first, said["key_id"]]
    assert home.file.stat().st_mode & 0o777 == 0o600
    listed = json.loads(home.types("sealing-key", "list", "--json"))
    assert [(each["key_id"], each["seals"]) for each in listed] == [(first, 0), (said["key_id"], 3)]
    assert "--yes" in home.types("sealing-key", "forget", code=2)
    assert first in home.types("sealing-key", "forget", "--yes")
    assert home.key_ids() == [said["key_id"]]
    assert "only the current" in home.types("sealing-key", "forget", "--yes")
    assert "verifies the audit log" in home.types("sealing-key", "list")
    assert home.opens()
    assert "whole: 2 entries" in home.types("audit", "verify")


def test_nobody_else_uses_the_keys_meanwhile(simple_home):
    home = simple_home
    before = home.file.read_text()

    with locked(home.path):
        assert "Another server is running" in home.types("sealing-key", "rotate", code=1)
    with using_keys(home.path):
        assert "in use" in home.types("sealing-key", "rotate", code=1)
    with using_keys(home.path, alone=True):
        assert "in use" in home.types("password", "admin", code=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("algorium_server.holding.BACKUP_HOLD_WAIT_S", 0)
        with held(home.path):
            error = home.types("sealing-key", "forget", "--yes", code=1)
    assert "A backup of" in error
    assert home.file.read_text() == before


def test_a_wrong_home_is_refused_and_stays_as_it_is(tmp_path, capsys):
    assert cli.main(["sealing-key", "rotate", "--home", str(tmp_path / "none")]) == 1

    assert "is --home right?" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_database_that_is_not_in_the_home_must_be_named(simple_home):
    home = simple_home
    (home.path / "algorium.db").unlink()

    assert "--database" in home.types("sealing-key", "rotate", code=1)


class Beside(Home):
    """Another home on the same database, with the keys that it was given, or its own."""

    def __init__(self, home, path, keys=""):
        self.path = path
        self.file = path / "secrets" / "sealing.json"
        self.settings = replace(home.settings, home=path)
        self._capsys = home._capsys
        self.file.parent.mkdir(parents=True)
        if keys:
            self.file.write_text(keys)


def test_a_home_that_has_not_got_the_newest_keys_is_refused(tmp_path, postgres, capsys):
    home = Home(tmp_path / "one", postgres.new_database(), capsys)
    behind = Beside(home, tmp_path / "two", home.file.read_text())
    stranger = Beside(home, tmp_path / "three")
    new = home.rotates()

    for command in (
        ["serve", "--port", "0"],
        ["audit", "verify"],
        *(["sealing-key", name] for name in ("list", "rotate")),
        ["sealing-key", "forget", "--yes"],
    ):
        said = behind.types(*command, code=1)
        assert new in said
        assert "Copy secrets/sealing.json" in said
    assert new in stranger.types("user", "list", code=1)
    assert len(behind.key_ids()) == 1

    shutil.copy(home.file, behind.file)
    assert behind.opens()
    assert "is whole" in behind.types("audit", "verify")
    assert "is whole" in home.types("audit", "verify")

    # The others are gone for good, say.
    said = json.loads(stranger.tells("sealing-key", "rotate", "--lost", "--json", code=1))
    assert said["unreadable"] == len(IDS)
    stranger.types("sealing-key", "list")
    assert said["key_id"] in home.types("sealing-key", "list", code=1)


def test_keys_that_are_newer_than_the_database_will_do(simple_home, tmp_path):
    home = simple_home
    home.rotates()
    shutil.copy(home.path / "algorium.db", tmp_path / "backup")
    home.rotates()
    home.types("sealing-key", "forget", "--yes")

    shutil.copy(tmp_path / "backup", home.path / "algorium.db")

    assert "is whole" in home.types("audit", "verify")
    home.rotates(code=1)  # what nobody opens any more is told, not refused
    assert "is whole" in home.types("audit", "verify")


def test_an_old_file_of_keys_is_refused_beside_sqlite_as_well(simple_home):
    home = simple_home
    home.rotates()
    old = home.file.read_text()
    new = home.rotates()
    home.file.write_text(old)

    assert new in home.types("audit", "verify", code=1)
    assert home.types("fsck")


def test_a_database_that_is_in_the_home_is_used_without_the_keys_of_before(simple_home):
    home = simple_home
    home.rotates()
    home.file.unlink()

    home.types("password", "admin", code=1)  # there is nobody, but the database opens

    first = home.key_ids()
    home.rotates(code=1)
    home.types("audit", "list")
    assert len(home.key_ids()) == len(first) + 1


def test_nothing_is_left_of_keys_that_are_forgotten(simple_home):
    home = simple_home
    secrets = home.file.parent
    first = home.file.read_text()
    left = [f".sealing.json.{1:032x}", f"..sealing.json.{1:032x}.{2:032x}"]
    home.rotates()
    for name in left:
        (secrets / name).write_text(first)
    (secrets / ".sealing.json.mine").write_text("")

    home.types("sealing-key", "forget", "--yes")

    assert {each.name for each in secrets.iterdir()} == {"sealing.json", ".sealing.json.mine"}


def test_garbage_of_an_upgrade_is_collected(simple_home, monkeypatch):
    home = simple_home
    with sqlite3.connect(home.path / "algorium.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    collected = []
    from algorium_server import app  # noqa: PLC0415 - takes a while, and others here do not need it

    async def upgrading(settings, really=app.upgrade_if_asked):
        collected.append(gc.isenabled())
        await really(settings)

    monkeypatch.setattr(app, "upgrade_if_asked", upgrading)

    assert "newer Algorium" in home.types("serve", "--upgrade", "--port", "0", code=1)
    assert collected == [True]
    assert gc.isenabled()


def test_servers_of_other_homes_are_seen_on_postgresql(tmp_path, postgres, capsys):
    home = Home(tmp_path, postgres.new_database(), capsys)

    async def beside():
        async with await open_database(home.settings):
            return await asyncio.to_thread(home.types, "sealing-key", "rotate", code=1)

    assert "other servers" in asyncio.run(beside())
    assert len(home.key_ids()) == 1


async def until(condition):
    end = time.monotonic() + _WAIT_S
    while not await condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


@asynccontextmanager
async def blocked(home):
    """Let nobody write to the last row that is sealed; yields what tells that somebody waits."""
    url = home.settings.database
    if not url:
        connection = sqlite3.connect(home.path / "algorium.db", isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")

        async def is_waiting():
            return len(home.key_ids()) == 2

        try:
            yield is_waiting
        finally:
            connection.close()
        return
    connections = [await asyncpg.connect(url) for _ in range(2)]
    try:
        await connections[0].execute("BEGIN")
        await connections[0].execute(
            "UPDATE registries SET name = 'x' WHERE registry_id = $1", max(IDS)
        )

        async def is_waiting():
            query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            return bool(await connections[1].fetchval(query))

        async def is_left_alone():
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'algorium'"
            return not await connections[1].fetchval(query)

        yield is_waiting
        # The database finds out that the program is gone when it may go on.
        await connections[0].close()
        await until(is_left_alone)
    finally:
        for each in connections:
            await each.close()


def test_a_rotation_that_is_killed_is_done_again(home):
    command = [ALGORIUM, "sealing-key", "rotate", *home.where]

    async def kill_between():
        async with blocked(home) as is_waiting:
            with subprocess.Popen(command, stderr=subprocess.PIPE) as rotating:

                async def is_there():
                    assert rotating.poll() is None, rotating.stderr.read()
                    return await is_waiting()

                await until(is_there)
                rotating.send_signal(signal.SIGKILL)
                assert rotating.wait() == -signal.SIGKILL

    asyncio.run(kill_between())

    # The new key is there, and nothing is sealed with it yet.
    killed = home.key_ids()
    assert len(killed) == 2
    assert home.opens()
    listed = json.loads(home.types("sealing-key", "list", "--json"))
    assert [each["seals"] for each in listed] == [3, 0]
    assert "still sealed" in home.types("sealing-key", "forget", "--yes", code=1)
    said = json.loads(home.types("sealing-key", "rotate", "--json"))
    assert said["resealed"] == len(IDS)
    assert json.loads(home.types("sealing-key", "forget", "--yes", "--json")) == {
        "forgotten": killed
    }
    assert home.opens()
    assert "is whole" in home.types("audit", "verify")


def test_another_users_file_is_not_replaced(simple_home, monkeypatch):
    home = simple_home
    monkeypatch.setattr("algorium_server.sealing.os.geteuid", lambda: 12345)

    assert "another user" in home.types("sealing-key", "rotate", code=1)
    assert len(home.key_ids()) == 1
    assert not list(Path(home.file.parent).glob(".*"))
