import asyncio
import json
import re
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from algorium_server.domain.errors import AlreadyExists, InvalidInput
from algorium_server.domain.identity import (
    DEFAULT_KEY_PERMISSIONS,
    AccountKind,
    KeyKind,
    KeyPermissions,
    Role,
)
from algorium_server.services.directory import Directory
from algorium_server.services.people.accounts import (
    create_account,
    create_key,
    ensure_organization,
    first_start,
)
from algorium_server.store.database import Database, sqlite_url

NOW = datetime(2022, 1, 1, tzinfo=UTC)


@pytest.fixture
def run(sqlite_file):
    """Run a story on the installation in `tmp_path`, as one start of a server after the other."""

    def run(story):
        async def start():
            async with await Database.open(sqlite_url(sqlite_file)) as database:
                directory = Directory(database)
                await directory.load()
                return await story(database, directory)

        return asyncio.run(start())

    return run


@pytest.fixture
def begin(tmp_path):
    """Do what every start of a server does."""

    async def begin(database, directory):
        return await first_start(
            database, directory, home=tmp_path, admin_username="admin", now=NOW
        )

    return begin


def written(tmp_path):
    return json.loads((tmp_path / "credentials.json").read_text())


def test_the_first_start_makes_an_administrator_with_two_keys(run, begin, tmp_path):
    async def story(database, directory):
        credentials = await begin(database, directory)
        await directory.load()  # what counts is what is stored
        return (
            credentials,
            directory.principal_of_key(credentials.api_key),
            directory.principal_of_key(credentials.admin_api_key),
        )

    credentials, standard, admin = run(story)

    assert credentials.username == "admin"
    assert standard.account.is_admin
    assert standard.key.label == "default-key"
    assert standard.key.kind is KeyKind.STANDARD
    assert standard.key.permissions == DEFAULT_KEY_PERMISSIONS
    assert admin.account == standard.account
    assert admin.key.kind is KeyKind.ADMIN
    assert written(tmp_path) == {
        "username": "admin",
        "api_key": credentials.api_key,
        "admin_api_key": credentials.admin_api_key,
    }


def test_the_credentials_file_is_private_and_alone(run, begin, tmp_path):
    run(begin)

    assert stat.S_IMODE((tmp_path / "credentials.json").stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir() if "credentials" in p.name] == ["credentials.json"]


def test_keys_have_the_form_that_old_clients_accept(run, begin):
    credentials = run(begin)

    for secret in (credentials.api_key, credentials.admin_api_key):
        assert re.fullmatch("sim[0-9A-Za-z]{25}", secret)
    assert credentials.api_key != credentials.admin_api_key


def test_later_starts_change_nothing(run, begin, tmp_path):
    first = run(begin)
    before = written(tmp_path)

    assert run(begin) is None
    assert written(tmp_path) == before
    assert first.api_key == before["api_key"]


def test_the_new_keys_work_without_a_reload(run, begin):
    async def story(database, directory):
        credentials = await begin(database, directory)
        return directory.principal_of_key(credentials.api_key)

    assert run(story).account.username == "admin"


DYING_START = """
import asyncio, os, signal, sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from algorium_server.services.people.accounts import first_start
from algorium_server.services.directory import Directory
from algorium_server.store.database import Database, sqlite_url

class Dying(Database):
    @asynccontextmanager
    async def transaction(self):
        async with super().transaction() as connection:
            yield connection
            os.kill(os.getpid(), signal.SIGKILL)

async def main(home):
    database = await Dying.open(sqlite_url(home / "algorium.db"))
    now = datetime.now(UTC)
    await first_start(database, Directory(database), home=home, admin_username="admin", now=now)

asyncio.run(main(Path(sys.argv[1])))
"""


def test_a_start_killed_before_the_commit_is_made_good_by_the_next(run, begin, tmp_path):
    killed = subprocess.run([sys.executable, "-c", DYING_START, tmp_path], check=False)
    assert killed.returncode == -signal.SIGKILL
    lost = written(tmp_path)

    credentials = run(begin)

    assert written(tmp_path)["api_key"] == credentials.api_key
    assert credentials.api_key != lost["api_key"]

    async def opens(database, directory):
        return directory.principal_of_key(credentials.api_key)

    assert run(opens).account.username == "admin"


def test_no_account_is_made_when_its_credentials_cannot_be_written(run, tmp_path):
    async def story(database, directory):
        with pytest.raises(OSError, match="missing"):
            await first_start(
                database, directory, home=tmp_path / "missing", admin_username="admin", now=NOW
            )
        await directory.load()
        return directory.accounts()

    assert run(story) == ()


def test_a_new_account_gets_a_default_key(run):
    async def story(database, directory):
        account, new = await create_account(database, directory, username="Jane", now=NOW)
        await directory.load()
        return account, new, directory.principal_of_key(new.secret)

    account, new, principal = run(story)

    assert account.kind is AccountKind.USER
    assert account.fullname == "Jane"
    assert not account.is_admin
    assert principal.account == account
    assert principal.key == new.key
    assert principal.key.label == "default-key"


def test_names_are_unique_in_any_case(run):
    async def story(database, directory):
        await create_account(database, directory, username="Jane", now=NOW)
        with pytest.raises(AlreadyExists):
            await create_account(database, directory, username="JANE", now=NOW)
        return len(directory.accounts())

    assert run(story) == 1


def test_a_name_must_be_a_name(run):
    async def story(database, directory):
        with pytest.raises(InvalidInput, match="cannot be an account name"):
            await create_account(database, directory, username="no spaces", now=NOW)

    run(story)


def test_a_new_key_calls_nothing_until_it_is_allowed_to(run):
    async def story(database, directory):
        jane, _ = await create_account(database, directory, username="jane", now=NOW)
        plain = await create_key(database, directory, account=jane, label="phone", now=NOW)
        chosen = await create_key(
            database,
            directory,
            account=jane,
            label="web",
            now=NOW,
            kind=KeyKind.MANAGEMENT,
            permissions=KeyPermissions(allow_web_algo=True),
        )
        managing = await create_key(
            database, directory, account=jane, label="ci", now=NOW, kind=KeyKind.MANAGEMENT
        )
        await directory.load()
        return [
            directory.principal_of_key(new.secret).key.permissions
            for new in (plain, chosen, managing)
        ]

    assert run(story) == [
        KeyPermissions(),
        KeyPermissions(allow_web_algo=True),
        KeyPermissions(allow_algo_management=True),
    ]


def test_an_organization_is_made_once_and_owned(run, begin):
    async def story(database, directory):
        await begin(database, directory)
        admin = directory.account_named("admin")
        made = await ensure_organization(database, directory, name="demo", owner=admin, now=NOW)
        again = await ensure_organization(database, directory, name="Demo", owner=admin, now=NOW)
        roles = directory.roles_of(admin.account_id)
        await directory.load()
        return made, again, roles, directory.roles_of(admin.account_id)

    made, again, roles, stored_roles = run(story)

    assert made.kind is AccountKind.ORGANIZATION
    assert again == made
    assert roles == stored_roles == {made.account_id: Role.OWNER}


def test_a_user_is_no_organization(run, begin):
    async def story(database, directory):
        await begin(database, directory)
        admin = directory.account_named("admin")
        with pytest.raises(AlreadyExists, match="user"):
            await ensure_organization(database, directory, name="admin", owner=admin, now=NOW)

    run(story)
