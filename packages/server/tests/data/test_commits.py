"""Uploads that share transactions, also with other gateways on the same database."""

import asyncio
import random
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import pytest
import rows
from data_site import running_site

from algorium_server.data.commits import Commits
from algorium_server.data.hosted import HostedCollection
from algorium_server.domain.conditions import Condition
from algorium_server.domain.errors import ConditionFailed, NotAuthorized, PathNotFound
from algorium_server.domain.limits import COMMITTED_AT_ONCE_FILES_MAX, FILE_IN_ROW_BYTES_MAX
from algorium_server.services.files.checking import Check
from algorium_server.store import files as file_rows
from algorium_server.store.database import Database


@pytest.fixture
def stack(runner):
    stack = AsyncExitStack()
    yield stack
    runner.run(stack.aclose())


@pytest.fixture
def site(database_url, tmp_path, runner, stack):
    site = running_site(database_url, tmp_path / "blobs", serves=False)
    return runner.run(stack.enter_async_context(site))


@pytest.fixture
def gateways(database_url, site, runner, stack):
    """Two databases and two lines of commits, as two processes have them."""

    async def other():
        database = await stack.enter_async_context(
            await Database.open(database_url, is_shared=True)
        )
        return database, Commits(database, clock=site.clock)

    return [(site.database, site.commits), runner.run(other())]


async def add(site, name, owner="jane"):
    collection = rows.collection(site.accounts[owner].account_id, name)
    async with site.database.transaction() as connection:
        await file_rows.add_collection(connection, collection)
    return collection


def connector(site, collection, gateway=None, *, check=lambda _: None):
    database, commits = gateway or (site.database, site.commits)
    return HostedCollection(
        database,
        site.blobs,
        commits=commits,
        collection=collection,
        check=check,
        clock=site.clock,
    )


async def put(collection, name, data=b"x", **options):
    async def chunks():
        yield data

    return await collection.write((name,), chunks(), **options)


async def read(collection, name):
    file = await collection.open((name,))
    data = b"".join([chunk async for chunk in file.chunks()])
    await file.close()
    return data


async def check(site):
    report = await Check(site.database, site.blobs).run(datetime.now(UTC))
    assert report.is_clean, report
    return report


def test_more_than_fit_into_one_transaction_are_all_there(site, runner):
    number_of_files = 2 * COMMITTED_AT_ONCE_FILES_MAX + 3

    async def scenario():
        collection = connector(site, await add(site, "c"))
        await asyncio.gather(*(put(collection, f"f{n}", b"%d" % n) for n in range(number_of_files)))
        for number in (0, 1, COMMITTED_AT_ONCE_FILES_MAX, number_of_files - 1):
            assert await read(collection, f"f{number}") == b"%d" % number
        return (await check(site)).files

    assert runner.run(scenario()) == number_of_files


def test_each_is_judged_alone(site, runner):
    def forbid(_):
        raise NotAuthorized

    async def scenario():
        row, gone = await add(site, "c"), rows.collection(site.accounts["jane"].account_id, "gone")
        collection = connector(site, row)
        entry = await put(collection, "old")
        return await asyncio.gather(
            put(collection, "first"),
            put(connector(site, gone), "f"),
            put(connector(site, row, check=forbid), "f"),
            put(collection, "old", condition=Condition(is_new=True)),
            put(collection, "old", condition=Condition(etags=frozenset({"other"}))),
            put(collection, "old", b"new", condition=Condition(etags=frozenset({entry.etag}))),
            put(collection, "old", b"newer", condition=Condition(etags=frozenset({entry.etag}))),
            put(collection, "last"),
            return_exceptions=True,
        ), await read(collection, "old")

    answers, old = runner.run(scenario())

    assert [type(answer) for answer in answers if isinstance(answer, Exception)] == [
        PathNotFound,
        NotAuthorized,
        ConditionFailed,
        ConditionFailed,
        ConditionFailed,
    ]
    assert old == b"new"


@pytest.mark.parametrize("size_bytes", [1, FILE_IN_ROW_BYTES_MAX + 1], ids=["row", "blob"])
def test_of_several_at_one_place_the_last_stays_and_the_others_leave_nothing(
    site, runner, size_bytes
):
    async def scenario():
        collection = connector(site, await add(site, "c"))
        entries = await asyncio.gather(
            *(put(collection, "f", bytes([n]) * size_bytes) for n in range(9))
        )
        last = await collection.stat(("f",))
        assert last.etag in {entry.etag for entry in entries}
        assert len({entry.etag for entry in entries}) == 9
        await check(site)
        return len(set(await read(collection, "f")))

    assert runner.run(scenario()) == 1
    assert len(site.blob_files()) == (0 if size_bytes == 1 else 1)


def test_what_belongs_to_one_undoes_only_that_one(site, runner):
    async def scenario():
        collection = connector(site, await add(site, "c"))

        async def fail(_connection, _entry):
            raise ZeroDivisionError

        async def place(name, within=None):
            blob = await site.blobs.write(pieces())
            return await collection.place(name, blob, within=within)

        async def pieces():
            yield b"x"

        answers = await asyncio.gather(
            place("a"), place("b", fail), place("c"), return_exceptions=True
        )
        names = [entry.name for entry in (await collection.page(())).files]
        return [type(answer) for answer in answers if isinstance(answer, Exception)], names

    assert runner.run(scenario()) == ([ZeroDivisionError], ["a", "c"])


@pytest.mark.slow
def test_gateways_that_change_the_same_files_never_get_in_a_knot(site, gateways, runner):
    chance = random.Random(7)

    async def change(collections):
        source, target = chance.choice(collections), chance.choice(collections)
        one, other = (f"f{chance.randrange(4)}" for _ in range(2))
        kind = chance.choice(["put", "put", "delete", "move", "replace"])
        try:
            if kind == "put":
                await put(source, one, bytes(chance.choice([5, FILE_IN_ROW_BYTES_MAX + 1])))
            elif kind == "delete":
                await source.delete((one,), is_forced=False)
            elif kind == "move":
                await source.move_to((one,), target, other)
            else:
                entry = await source.stat((one,))
                condition = Condition(etags=frozenset({entry.etag}))
                await put(source, one, b"replaced", condition=condition)
        except (PathNotFound, ConditionFailed):
            pass

    async def work(number, rows_of):
        collections = [connector(site, row, gateways[number % 2]) for row in rows_of]
        for _ in range(20):
            await change(collections)

    async def scenario():
        rows_of = [await add(site, "a"), await add(site, "b"), await add(site, "c", "lab")]
        async with asyncio.timeout(120):
            await asyncio.gather(*(work(number, rows_of) for number in range(8)))
        return await check(site)

    runner.run(scenario())
