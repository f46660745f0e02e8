"""Passwords of accounts, on both databases."""

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from argon2 import PasswordHasher

from algorium_server.domain.errors import InvalidInput, NotFound, TooManyRequests
from algorium_server.domain.limits import (
    PASSWORD_FAILURES_KEPT_MAX,
    PASSWORD_FAILURES_MAX,
    PASSWORD_FAILURES_PER_ACCOUNT_MAX,
    PASSWORD_FAILURES_PER_ADDRESS_MAX,
    PASSWORD_FAILURES_S,
    PASSWORD_PLACES_PER_ACCOUNT_MAX,
)
from algorium_server.domain.passwords import PER_ACCOUNT_AND_ADDRESS, PER_ADDRESS
from algorium_server.services.audit_trail import place_of
from algorium_server.services.directory import Directory
from algorium_server.services.people.accounts import create_account, ensure_organization
from algorium_server.services.people.guessing import (
    Guesses,
    Guessing,
    GuessTable,
    OwnGuesses,
    SharedGuesses,
)
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


class Door:
    """Passwords of jane and john, with a clock that the test moves."""

    def __init__(self, passwords: Passwords, guesses: Guesses) -> None:
        self.passwords = passwords
        self.guessing = Guessing(guesses)
        self.now = 1000.0
        self.denied: list[str] = []
        passwords.on_denied = lambda username, _address: self.denied.append(username)

    async def tried(self, username: str, password: str, address: str = "203.0.113.7") -> str:
        """Return "in", "wrong", or for how many seconds nothing is looked at."""
        try:
            account = await self.passwords.account(username, password, address=address)
        except TooManyRequests as refusal:
            return str(refusal.retry_after_s)
        return "wrong" if account is None else "in"

    async def wrong(self, name: str, *, times: int = 1) -> None:
        for _ in range(times):
            assert await self.tried(name, "a wrong password") == "wrong"

    def failed(self, name: str, address: str) -> None:
        """Count a wrong password without the work of checking one."""
        place = place_of(address)
        assert not self.guessing.wait_s(name, place, now=self.now, is_at_home=False)
        self.guessing.fail(name, place, now=self.now)


@pytest.fixture
def doors(sqlite_file, runner):
    """Two gateways of one home."""

    async def opened(stack):
        database = await stack.enter_async_context(await Database.open(sqlite_url(sqlite_file)))
        directory = Directory(database)
        descriptor = os.memfd_create("guesses")
        doors: list[Door] = []
        for name in ("jane", "john"):
            await create_account(database, directory, username=name, now=NOW)
        for _ in range(2):
            guesses = SharedGuesses(GuessTable(os.dup(descriptor)))
            passwords = Passwords(
                database,
                directory,
                guessing=Guessing(guesses),
                hasher=QUICK,
                now=lambda: doors[0].now,
            )
            doors.append(Door(passwords, guesses))
        os.close(descriptor)
        await doors[0].passwords.set("jane", SECRET)
        await doors[0].passwords.set("john", SECRET)
        return doors

    stack = AsyncExitStack()
    yield runner.run(opened(stack))
    runner.run(stack.aclose())


def test_guessing_is_stopped_for_a_moment_on_every_gateway(doors, runner):
    async def story():
        here, there = doors
        for number in range(PASSWORD_FAILURES_MAX):
            await doors[number % 2].wrong("Jane")
        stopped = [await door.tried("jane", SECRET) for door in doors]
        others = (
            await there.tried("john", SECRET),
            await there.tried("jane", SECRET, "198.51.100.1"),
        )
        here.now += PASSWORD_FAILURES_S / PASSWORD_FAILURES_MAX
        await there.wrong("jane")
        again = await here.tried("jane", SECRET)
        here.now += PASSWORD_FAILURES_S / PASSWORD_FAILURES_MAX
        return stopped, others, again, await here.tried("jane", SECRET)

    stopped, others, again, later = runner.run(story())

    assert stopped == ["30", "30"]
    assert others == ("in", "in")
    assert (again, later) == ("30", "in")


def test_the_right_password_forgives_its_own_name_only(doors, runner):
    async def story():
        here, there = doors
        for _ in range(3):
            await here.wrong("jane", times=PASSWORD_FAILURES_MAX - 1)
            assert await there.tried("jane", SECRET) == "in"
        spent = 3 * (PASSWORD_FAILURES_MAX - 1)
        for number in range(PASSWORD_FAILURES_PER_ADDRESS_MAX - spent):
            here.failed(f"name{number}", "203.0.113.7")
        return await here.tried("jane", SECRET)

    assert runner.run(story()) == "6"


@pytest.mark.parametrize("network", ["203.0.113.7", "2001:db8::{}"])
def test_one_password_with_every_name_is_stopped_by_address(doors, runner, network):
    async def story():
        for number in range(PASSWORD_FAILURES_PER_ADDRESS_MAX):
            doors[number % 2].failed(f"name{number}", network.format(f"{number:x}"))
        address = network.format("ffff")
        told = {name: await doors[1].tried(name, SECRET, address) for name in ("jane", "nobody")}
        return told, await doors[0].tried("jane", SECRET, "198.51.100.1")

    told, elsewhere = runner.run(story())

    assert told == {"jane": "6", "nobody": "6"}, "who exists is not told"
    assert elsewhere == "in"


def test_guessing_from_everywhere_keeps_nobody_out_at_home(doors, runner):
    async def story():
        assert await doors[0].tried("jane", SECRET, "198.51.100.1") == "in"
        for name in ("jane", "nobody"):
            for number in range(PASSWORD_FAILURES_PER_ACCOUNT_MAX):
                doors[number % 2].failed(name, f"203.0.{number}.7")
        strangers = {name: await doors[0].tried(name, SECRET) for name in ("jane", "nobody")}
        home = [await door.tried("jane", SECRET, "198.51.100.1") for door in reversed(doors)]
        doors[0].now += PASSWORD_FAILURES_S / PASSWORD_FAILURES_PER_ACCOUNT_MAX
        return strangers, home, await doors[1].tried("jane", SECRET)

    strangers, home, later = runner.run(story())

    assert strangers == {"jane": "3", "nobody": "3"}
    assert (home, later) == (["in", "in"], "in")


@pytest.mark.parametrize("is_shared", [False, True])
def test_homes_are_bounded_and_those_of_others_stay(is_shared):
    if is_shared:
        guesses = SharedGuesses(
            GuessTable(os.memfd_create("guesses"), buckets=1, home_buckets=4096)
        )
    else:
        guesses = OwnGuesses()
    guesses.note_home("jane", "198.51.100.1", now=1.0)
    for number in range(100):
        guesses.note_home("eve", f"2001:db8:{number:x}::", now=2.0 + number)
        guesses.fail(f"name {number}", PER_ACCOUNT_AND_ADDRESS, now=1.0)

    eves = [guesses.is_home("eve", f"2001:db8:{number:x}::") for number in range(100)]
    assert (
        eves
        == [False] * (100 - PASSWORD_PLACES_PER_ACCOUNT_MAX)
        + [True] * PASSWORD_PLACES_PER_ACCOUNT_MAX
    )
    assert guesses.is_home("jane", "198.51.100.1")
    assert not guesses.is_home("jane", "198.51.100.2")


def test_many_at_once_are_not_more_than_one_after_the_other(doors, runner):
    async def story():
        wrong = [doors[0].tried("jane", f"wrong password {n}") for n in range(40)]
        told = await asyncio.gather(*wrong)
        doors[0].now += PASSWORD_FAILURES_S
        right = await asyncio.gather(*(doors[0].tried("jane", SECRET) for _ in range(16)))
        return told, right

    told, right = runner.run(story())

    assert told.count("wrong") == len(doors[0].denied) == PASSWORD_FAILURES_MAX
    assert set(told) <= {"wrong", "30", "1"}
    assert set(right) == {"in"}, "who knows it may ask as often as git does"


def test_what_is_counted_is_bounded_and_the_worst_stays(doors):
    descriptor = os.memfd_create("guesses")
    shared = SharedGuesses(GuessTable(descriptor, buckets=1))
    for _ in range(PASSWORD_FAILURES_MAX):
        shared.fail("worst", PER_ACCOUNT_AND_ADDRESS, now=1.0)
    for number in range(100):
        shared.fail(f"name {number}", PER_ACCOUNT_AND_ADDRESS, now=1.0)
    own = OwnGuesses()
    for number in range(PASSWORD_FAILURES_KEPT_MAX + 10):
        own.fail(f"name {number}", PER_ADDRESS, now=1.0)

    assert shared.wait_s("worst", PER_ACCOUNT_AND_ADDRESS, now=1.0) == 30.0
    assert len(own) == PASSWORD_FAILURES_KEPT_MAX
