"""Accounts on both databases: races, names that stay taken, keys in the course of time."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import rows

from algorium_server.data.local import LocalBlobs
from algorium_server.domain.errors import AlreadyExists, EmailTaken, LastOwner, StillInUse
from algorium_server.domain.identity import AccountKind, KeyKind, KeyPermissions, Principal, Role
from algorium_server.domain.keys import WantedKey
from algorium_server.domain.limits import KEY_USE_WRITE_S
from algorium_server.services.authoring.authors import Authors
from algorium_server.services.directory import Directory
from algorium_server.services.people.account_removal import AccountRemoval
from algorium_server.services.people.accounts import create_account, create_key, ensure_organization
from algorium_server.services.people.administrators import Administrators
from algorium_server.services.people.key_upkeep import KeyUpkeep
from algorium_server.services.people.keys import Keys
from algorium_server.services.people.organizations import Organizations
from algorium_server.store import accounts, algorithms, files, users
from algorium_server.store import keys as key_rows
from algorium_server.store.database import Database


class Clock:
    """A clock that tests advance."""

    def __init__(self) -> None:
        self.now = rows.NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def directory(database: Database, runner: asyncio.Runner, clock: Clock) -> Directory:
    made = Directory(database, clock=clock)
    runner.run(made.load())
    return made


def organizations(database: Database, directory: Directory) -> Organizations:
    # Nothing is deleted here.
    return Organizations(
        database, directory, Administrators(directory), Authors(directory), removal=None
    )


def test_two_owners_who_remove_each_other_leave_one(
    database: Database, directory: Directory, runner: asyncio.Runner
):
    async def scenario():
        jane, _ = await create_account(database, directory, username="jane", now=rows.NOW)
        joe, _ = await create_account(database, directory, username="joe", now=rows.NOW)
        lab = await ensure_organization(database, directory, name="lab", owner=jane, now=rows.NOW)
        service = organizations(database, directory)
        as_jane = directory.principal_of(jane)
        await service.put_member(as_jane, "lab", "joe", Role.OWNER)
        as_jane, as_joe = directory.principal_of(jane), directory.principal_of(joe)
        ended = await asyncio.gather(
            service.remove_member(as_jane, "lab", "joe"),
            service.put_member(as_joe, "lab", "jane", Role.MEMBER),
            service.remove_member(as_joe, "lab", "jane"),
            return_exceptions=True,
        )
        async with database.reading() as connection:
            left = await accounts.memberships(connection)
        return lab, ended, left

    lab, ended, left = runner.run(scenario())

    assert [role for _, _, role in left].count(Role.OWNER) == 1
    assert any(isinstance(each, LastOwner) for each in ended)
    for organization_id, user_id, role in left:
        assert directory.roles_of(user_id) == {organization_id: role}
        assert organization_id == lab.account_id


def test_names_and_addresses_of_those_who_left_stay_taken(
    database: Database, directory: Directory, runner: asyncio.Runner
):
    async def scenario():
        jane, _ = await create_account(
            database, directory, username="jane", email="J@example.com", now=rows.NOW
        )
        async with database.transaction() as connection:
            assert await accounts.delete_account(connection, jane.account_id)
            assert not await accounts.delete_account(connection, jane.account_id)
        directory.remove_account(jane.account_id)
        assert directory.account_named("jane") is None
        with pytest.raises(AlreadyExists):
            await create_account(database, directory, username="JANE", now=rows.NOW)
        with pytest.raises(EmailTaken):
            await create_account(
                database, directory, username="joe", email="j@EXAMPLE.com", now=rows.NOW
            )
        # What was refused took nothing.
        joe, _ = await create_account(database, directory, username="joe", now=rows.NOW)
        async with database.transaction() as connection:
            first = await users.take_email(connection, "a@b.cd", account_id=joe.account_id)
            again = await users.take_email(connection, "A@b.cd", account_id=joe.account_id)
        return first, again

    assert runner.run(scenario()) == (True, True)


def test_an_account_that_owns_something_is_not_deleted(
    database: Database, directory: Directory, runner: asyncio.Runner
):
    async def scenario():
        jane, _ = await create_account(database, directory, username="jane", now=rows.NOW)
        async with database.transaction() as connection:
            await algorithms.add_algorithm(connection, rows.algorithm(jane.account_id))
        with pytest.raises(StillInUse):
            async with database.transaction() as connection:
                await accounts.delete_account(connection, jane.account_id)
        async with database.reading() as connection:
            return await accounts.accounts(connection)

    assert [account.username for account in runner.run(scenario())] == ["jane"]


def test_a_key_is_gone_from_memory_when_it_ends(
    database: Database, directory: Directory, runner: asyncio.Runner, clock: Clock
):
    async def scenario():
        jane, default = await create_account(database, directory, username="jane", now=rows.NOW)
        keys = Keys(database, directory, Administrators(directory), clock=clock)
        wanted = WantedKey(expires_at=rows.NOW + timedelta(hours=1))
        _, made = await keys.create(directory.principal_of(jane), AccountKind.USER, "jane", wanted)
        return default, made

    default, made = runner.run(scenario())

    generation, revision = directory.generation, directory.revision
    assert directory.principal_of_key(made.secret) is not None
    clock.now += timedelta(minutes=59)
    directory.end_keys()
    assert (directory.generation, directory.revision) == (generation, revision)
    clock.now += timedelta(minutes=1)
    directory.end_keys()
    assert directory.principal_of_key(made.secret) is None
    assert directory.generation > generation  # whoever keeps principals looks again
    assert directory.principal_of_key(default.secret) is not None
    runner.run(directory.load())
    assert directory.principal_of_key(made.secret) is None


def test_uses_are_noted_once_a_minute_and_deleted_keys_do_not_matter(
    database: Database, directory: Directory, runner: asyncio.Runner, clock: Clock
):
    shown, called = set(), set()
    upkeep = KeyUpkeep(database, directory, shown, called, clock=clock)

    async def used():
        async with database.reading() as connection:
            return {
                each.key.label: each.used_at
                for each in await key_rows.keys_of(connection, jane.account_id)
            }

    jane, first = runner.run(create_account(database, directory, username="jane", now=rows.NOW))
    second = runner.run(create_key(database, directory, account=jane, label="second", now=rows.NOW))
    shown.add(first.key.key_id)
    called.update({second.key.key_id, rows.new_id()})
    runner.run(upkeep.note_uses())
    assert runner.run(used()) == {"default-key": rows.NOW, "second": rows.NOW}
    assert not shown
    assert not called

    clock.now += timedelta(seconds=KEY_USE_WRITE_S - 1)
    shown.add(first.key.key_id)
    runner.run(upkeep.note_uses())
    assert runner.run(used())["default-key"] == rows.NOW
    clock.now += timedelta(seconds=1)
    shown.add(first.key.key_id)
    runner.run(upkeep.note_uses())
    assert runner.run(used()) == {"default-key": clock.now, "second": rows.NOW}


def test_gateways_that_note_the_same_uses_at_once_do_not_fail(
    database: Database, directory: Directory, runner: asyncio.Runner, clock: Clock
):
    async def scenario():
        jane, _ = await create_account(database, directory, username="jane", now=rows.NOW)
        for label in "abc":
            await create_key(database, directory, account=jane, label=label, now=rows.NOW)
        async with database.reading() as connection:
            ids = {each.key.key_id for each in await key_rows.keys_of(connection, jane.account_id)}
        gateways = [set[str]() for _ in range(4)]
        upkeeps = [KeyUpkeep(database, directory, used, clock=clock) for used in gateways]
        for _ in range(5):
            clock.now += timedelta(seconds=KEY_USE_WRITE_S)
            for used in gateways:
                used.update(ids)
            await asyncio.gather(*(upkeep.note_uses() for upkeep in upkeeps))

    runner.run(scenario())


def test_a_disabled_account_is_nobody_even_for_calls_that_wait(
    database: Database, directory: Directory, runner: asyncio.Runner
):
    jane, new = runner.run(create_account(database, directory, username="jane", now=rows.NOW))
    assert directory.principal_of_call(jane.account_id, new.key.key_id) is not None

    directory.put_account(replace(jane, is_disabled=True))

    assert directory.principal_of_key(new.secret) is None
    assert directory.principal_of_call(jane.account_id, new.key.key_id) is None
    assert directory.principal_of_call(jane.account_id, "") is None


def test_rotating_twice_at_once_ends_the_old_key_once(
    database: Database, directory: Directory, runner: asyncio.Runner, clock: Clock
):
    async def scenario():
        jane, _ = await create_account(database, directory, username="jane", now=rows.NOW)
        old = await create_key(
            database,
            directory,
            account=jane,
            label="ci",
            kind=KeyKind.MANAGEMENT,
            permissions=KeyPermissions(allow_algo_management=True),
            now=rows.NOW,
        )
        keys = Keys(database, directory, Administrators(directory), clock=clock)
        shown = directory.principal_of_key(old.secret)
        assert isinstance(shown, Principal)
        await asyncio.gather(
            *(
                keys.rotate(shown, AccountKind.USER, "jane", old.key.key_id, grace_s=60.0)
                for _ in range(2)
            )
        )
        _, listed = await keys.keys(shown, AccountKind.USER, "jane")
        return old, [each.key for each in listed if each.key.label == "ci"]

    old, found = runner.run(scenario())

    assert [key.expires_at for key in found if key.key_id == old.key.key_id] == [
        rows.NOW + timedelta(seconds=60)
    ]
    assert len(found) == 3


def test_keys_that_ended_long_ago_leave_the_list(
    database: Database, directory: Directory, runner: asyncio.Runner, clock: Clock
):
    async def scenario():
        jane, _ = await create_account(database, directory, username="jane", now=rows.NOW)
        keys = Keys(database, directory, Administrators(directory), clock=clock)
        as_jane = directory.principal_of(jane)
        found = []
        for days in (0, 1, 9):
            clock.now = rows.NOW + timedelta(days=days)
            wanted = WantedKey(label=f"{days}", expires_at=clock.now + timedelta(hours=1))
            await keys.create(as_jane, AccountKind.USER, "jane", wanted)
            _, listed = await keys.keys(as_jane, AccountKind.USER, "jane")
            found.append({each.key.label for each in listed})
        return found

    assert runner.run(scenario()) == [
        {"default-key", "0"},
        {"default-key", "0", "1"},
        {"default-key", "9"},
    ]


def test_a_deletion_that_was_cut_off_goes_on(
    database: Database, directory: Directory, runner: asyncio.Runner, tmp_path: Path
):
    async def scenario():
        jane, new = await create_account(database, directory, username="jane", now=rows.NOW)
        lab = await ensure_organization(database, directory, name="lab", owner=jane, now=rows.NOW)
        joe, _ = await create_account(database, directory, username="joe", now=rows.NOW)
        async with database.transaction() as connection:
            await files.add_collection(connection, rows.collection(jane.account_id))
        removal = AccountRemoval(database, directory, None, LocalBlobs(tmp_path))  # no algorithms
        with pytest.raises(LastOwner, match="lab"):
            await removal.remove(jane)
        assert directory.principal_of_key(new.secret) is not None
        service = organizations(database, directory)
        await service.put_member(directory.principal_of(jane), "lab", "joe", Role.OWNER)
        assert await removal._close(jane)  # and then the server dies
        assert directory.principal_of_key(new.secret) is None
        assert directory.roles_of(jane.account_id) == {}
        assert directory.roles_of(joe.account_id) == {lab.account_id: Role.OWNER}
        await removal.remove(jane)
        await removal.remove(jane)
        async with database.reading() as connection:
            return [each.username for each in await accounts.accounts(connection)]

    assert runner.run(scenario()) == ["joe", "lab"]
