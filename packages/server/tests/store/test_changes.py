"""Changes are noted with what they tell of, become visible in order, and are never missed."""

import asyncio

import pytest
import rows

from algorium_server.domain.changes import ChangeKind, membership_of, membership_subject
from algorium_server.domain.errors import AlreadyExists
from algorium_server.domain.identity import Role
from algorium_server.store import accounts, algorithms, changes
from algorium_server.store.database import Database


async def seen(database: Database, number: int = 0, limit: int = 1000):
    async with database.reading() as connection:
        return await changes.after(connection, number, limit=limit)


async def noted(database: Database, *subjects: str) -> None:
    for subject in subjects:
        async with database.transaction() as connection:
            await changes.note(connection, ChangeKind.KEY, subject)


def test_whatever_is_written_is_noted(database: Database, runner: asyncio.Runner):
    jane, lab = rows.account("jane"), rows.account("lab")
    key, hello = rows.key(jane.account_id), rows.algorithm(jane.account_id)
    build = rows.build(hello.algorithm_id)
    version = rows.version(build, "1.0.0")
    member = {"organization_id": lab.account_id, "user_id": jane.account_id}
    steps = (
        (ChangeKind.ACCOUNT, jane.account_id, lambda c: accounts.add_account(c, jane)),
        (ChangeKind.ACCOUNT, lab.account_id, lambda c: accounts.add_account(c, lab)),
        (
            ChangeKind.MEMBERSHIP,
            membership_subject(**member),
            lambda c: accounts.set_membership(c, **member, role=Role.OWNER),
        ),
        (ChangeKind.KEY, key.key_id, lambda c: accounts.add_key(c, key, digest="d" * 64)),
        (ChangeKind.KEY, key.key_id, lambda c: accounts.remove_key(c, key.key_id)),
        (ChangeKind.ALGORITHM, hello.algorithm_id, lambda c: algorithms.add_algorithm(c, hello)),
        (ChangeKind.ALGORITHM, hello.algorithm_id, lambda c: algorithms.update_algorithm(c, hello)),
        (ChangeKind.BUILD, build.build_id, lambda c: algorithms.add_build(c, build)),
        (ChangeKind.BUILD, build.build_id, lambda c: algorithms.update_build(c, build)),
        (ChangeKind.VERSION, version.version_id, lambda c: algorithms.add_version(c, version)),
    )

    async def write():
        for _, _, step in steps:
            async with database.transaction() as connection:
                await step(connection)
        return await seen(database)

    found = runner.run(write())

    assert [(change.kind, change.subject) for change in found] == [
        (kind, subject) for kind, subject, _ in steps
    ]
    assert membership_of(found[2].subject) == (lab.account_id, jane.account_id)


def test_what_is_rolled_back_was_no_change(database: Database, runner: asyncio.Runner):
    jane = rows.account("jane")

    async def write():
        async with database.transaction() as connection:
            await accounts.add_account(connection, jane)
        before = await seen(database)
        with pytest.raises(AlreadyExists):
            async with database.transaction() as connection:
                await accounts.add_account(connection, rows.account("JANE"))
        await noted(database, "later")
        return before, await seen(database, before[-1].number)

    before, later = runner.run(write())

    assert [change.subject for change in before] == [jane.account_id]
    assert [change.subject for change in later] == ["later"]


def test_numbers_become_visible_in_their_order(database_url: str, runner: asyncio.Runner):
    """Two gateways write at once; whoever follows by the newest number misses nothing."""

    async def write(database: Database, name: str):
        for number in range(40):
            async with database.transaction() as connection:
                await changes.note(connection, ChangeKind.BUILD, f"{name}-{number}-a")
                if number % 3 == 0:
                    await asyncio.sleep(0.002)  # what the transaction does besides, not a wait
                await changes.note(connection, ChangeKind.BUILD, f"{name}-{number}-b")

    async def follow(database: Database, found: list[str]):
        position = 0
        while len(found) < 240:
            for change in await seen(database, position):
                assert change.number > position
                position = change.number
                found.append(change.subject)

    async def scenario():
        found: list[str] = []
        async with (
            await Database.open(database_url) as one,
            await Database.open(database_url) as other,
            await Database.open(database_url) as third,
            asyncio.timeout(60),
        ):
            await asyncio.gather(
                *(write(each, str(number)) for number, each in enumerate((one, other, third))),
                follow(third, found),
            )
        return found

    found = runner.run(scenario())

    assert len(set(found)) == len(found) == 240


def test_a_transaction_that_began_first_and_ends_last_is_not_passed_over(
    database_url: str, runner: asyncio.Runner
):
    """The order of numbers is that of commits, not that of beginnings."""

    async def scenario():
        async with (
            await Database.open(database_url) as one,
            await Database.open(database_url) as other,
        ):
            async with one.transaction() as connection:
                await changes.note(connection, ChangeKind.KEY, "slow")
                quick = asyncio.get_running_loop().create_task(noted(other, "quick"))
                await asyncio.wait({quick}, timeout=0.3)
                early = await seen(other)
            await quick
            return early, await seen(other)

    early, late = runner.run(scenario())

    assert early == []
    assert [change.subject for change in late] == ["slow", "quick"]


def test_who_came_too_late_is_told_so(database: Database, runner: asyncio.Runner):
    async def scenario():
        await noted(database, *(str(number) for number in range(10)))
        first = (await seen(database))[0].number
        async with database.transaction() as connection:
            pruned = await changes.prune(connection, keep=4)
        newest = first + 9
        return [
            pruned,
            await seen(database, first - 1),
            await seen(database, newest - 5),
            [change.subject for change in await seen(database, newest - 4)],
            await seen(database, newest),
        ]

    assert runner.run(scenario()) == [6, None, None, ["6", "7", "8", "9"], []]


def test_who_asks_for_too_much_is_told_so(database: Database, runner: asyncio.Runner):
    async def scenario():
        await noted(database, "a", "b", "c")
        return await seen(database, limit=2), len(await seen(database, limit=3))

    assert runner.run(scenario()) == (None, 3)


def test_numbers_are_never_used_again(database: Database, runner: asyncio.Runner):
    async def scenario():
        await noted(database, "a", "b", "c")
        last = (await seen(database))[-1].number
        async with database.transaction() as connection:
            await changes.prune(connection, keep=0)
        kept = await seen(database, last - 1)
        await noted(database, "d")
        return last, kept, await seen(database, last)

    last, kept, new = runner.run(scenario())

    assert [change.number for change in kept] == [last], "the newest stays, whatever is asked for"
    assert [change.subject for change in new] == ["d"]
    assert new[0].number > last
