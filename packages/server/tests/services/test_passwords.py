"""Passwords of accounts, on both databases."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from argon2 import PasswordHasher

from algorium_server.domain.errors import InvalidInput, NotFound, TooManyRequests
from algorium_server.domain.limits import PASSWORD_FAILURES_MAX, PASSWORD_FAILURES_S
from algorium_server.services.directory import Directory
from algorium_server.services.people.accounts import create_account, ensure_organization
from algorium_server.services.people.passwords import Passwords
from algorium_server.store.database import Database, sqlite_url

NOW = datetime(2026, 1, 2, tzinfo=UTC)
QUICK = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
SECRET = "correct horse battery"


@pytest.fixture
def directory(database, runner):
    directory = Directory(database)
    account, _ = runner.run(create_account(database, directory, username="jane", now=NOW))
    runner.run(create_account(database, directory, username="john", now=NOW))
    runner.run(ensure_organization(database, directory, name="team", owner=account, now=NOW))
    return directory


def test_a_password_opens_its_account_until_it_is_changed(database, directory, runner):
    passwords = Passwords(database, directory, hasher=QUICK)

    async def story():
        await passwords.set("Jane", SECRET)
        first = await passwords.account("JANE", SECRET, address="here")
        again = await passwords.account("jane", SECRET, address="here")
        others = [
            await passwords.account(name, secret, address="here")
            for name, secret in (("jane", SECRET.upper()), ("john", SECRET), ("nobody", SECRET))
        ]
        await passwords.set("jane", "another password")
        old = await passwords.account("jane", SECRET, address="here")
        new = await passwords.account("jane", "another password", address="here")
        return first, again, others, old, new

    first, again, others, old, new = runner.run(story())

    assert first == again == new == directory.account_named("jane")
    assert others == [None, None, None]
    assert old is None


def test_nobody_acts_as_a_disabled_account(database, directory, runner):
    passwords = Passwords(database, directory, hasher=QUICK)

    async def story():
        await passwords.set("jane", SECRET)
        jane = await passwords.account("jane", SECRET, address="here")
        directory.put_account(replace(jane, is_disabled=True))
        disabled = await passwords.account("jane", SECRET, address="here")
        directory.put_account(jane)
        return disabled, await passwords.account("jane", SECRET, address="here")

    disabled, enabled = runner.run(story())

    assert disabled is None
    assert enabled is not None


def test_only_users_have_passwords_and_long_ones(database, directory, runner):
    passwords = Passwords(database, directory, hasher=QUICK)

    for name in ("team", "nobody"):
        with pytest.raises(NotFound):
            runner.run(passwords.set(name, SECRET))
    with pytest.raises(InvalidInput):
        runner.run(passwords.set("jane", "short"))


def test_guessing_is_stopped_for_a_while(sqlite_file, runner):
    now = 0.0

    async def story():
        nonlocal now
        async with await Database.open(sqlite_url(sqlite_file)) as database:
            directory = Directory(database)
            await create_account(database, directory, username="jane", now=NOW)
            passwords = Passwords(database, directory, hasher=QUICK, now=lambda: now)
            await passwords.set("jane", SECRET)
            for _ in range(PASSWORD_FAILURES_MAX):
                assert await passwords.account("jane", "wrong", address="here") is None
            with pytest.raises(TooManyRequests, match="try again in 300 seconds"):
                await passwords.account("jane", SECRET, address="here")
            elsewhere = await passwords.account("jane", SECRET, address="there")
            now = PASSWORD_FAILURES_S
            return elsewhere, await passwords.account("jane", SECRET, address="here")

    elsewhere, later = runner.run(story())

    assert elsewhere
    assert later
