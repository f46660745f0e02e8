"""Algorithms, builds and versions on both databases."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
import rows
from sqlalchemy import delete, func, select

from algorium_server.domain.algorithms import (
    AlgorithmSettings,
    BuildStatus,
    Callability,
    FastStart,
    Isolation,
    NetworkAccess,
    Scaling,
    SourceVisibility,
)
from algorium_server.domain.collections import CollectionKind
from algorium_server.domain.errors import AlgorithmNotFound, AlreadyExists, NotFound
from algorium_server.domain.limits import MIB
from algorium_server.store import accounts, algorithms, files, storage
from algorium_server.store.database import Database
from algorium_server.store.tables.algorithms import algorithms as algorithms_table
from algorium_server.store.tables.algorithms import builds as builds_table
from algorium_server.store.tables.algorithms import versions as versions_table

JANE = rows.account("jane")
JOE = rows.account("joe")
SETTINGS = AlgorithmSettings(
    language="python3",
    source_visibility=SourceVisibility.OPEN,
    network_access=NetworkAccess.FULL,
    is_pipeline_enabled=False,
    scaling=Scaling(isolation=Isolation.SHARED, slots_min=1, slots_max=4, memory_bytes=64 * MIB),
)


@pytest.fixture
def owned(database: Database, runner: asyncio.Runner) -> Database:
    async def add_owners():
        async with database.transaction() as connection:
            await accounts.add_account(connection, JANE)
            await accounts.add_account(connection, JOE)

    runner.run(add_owners())
    return database


def test_algorithms_come_back_as_they_were(owned: Database, runner: asyncio.Runner):
    hello = rows.algorithm(JANE.account_id, "Hello", label="Hi\0", settings=SETTINGS)
    plain = rows.algorithm(JANE.account_id, "alpha")

    async def scenario():
        async with owned.transaction() as connection:
            await algorithms.add_algorithm(connection, hello)
            await algorithms.add_algorithm(connection, plain)
        async with owned.reading() as connection:
            return await algorithms.algorithms(connection)

    assert runner.run(scenario()) == [plain, hello]


def test_algorithm_names_are_unique_for_one_owner_only(owned: Database, runner: asyncio.Runner):
    async def scenario():
        async with owned.transaction() as connection:
            await algorithms.add_algorithm(connection, rows.algorithm(JANE.account_id, "Hello"))
            await algorithms.add_algorithm(connection, rows.algorithm(JOE.account_id, "hello"))
            with pytest.raises(AlreadyExists):
                await algorithms.add_algorithm(connection, rows.algorithm(JOE.account_id, "HELLO"))
        async with owned.reading() as connection:
            return len(await algorithms.algorithms(connection))

    assert runner.run(scenario()) == 2


def test_updates_change_texts_and_settings_but_not_the_name(
    owned: Database, runner: asyncio.Runner
):
    hello = rows.algorithm(JANE.account_id, "Hello")
    changed = replace(hello, label="new", tagline="t", summary="s" * 100_000, settings=SETTINGS)

    async def scenario():
        async with owned.transaction() as connection:
            await algorithms.add_algorithm(connection, hello)
            await algorithms.update_algorithm(
                connection, replace(changed, name="Other", owner_id=JOE.account_id)
            )
        async with owned.reading() as connection:
            return await algorithms.algorithms(connection)

    assert runner.run(scenario()) == [changed]


def test_what_is_not_there_cannot_be_changed(owned: Database, runner: asyncio.Runner):
    async def scenario():
        async with owned.transaction() as connection:
            with pytest.raises(AlgorithmNotFound):
                await algorithms.update_algorithm(connection, rows.algorithm(JANE.account_id))
            with pytest.raises(NotFound):
                await algorithms.update_build(connection, rows.build(rows.new_id()))
            return [
                await algorithms.build(connection, build_id)
                for build_id in (rows.new_id(), "", "a\0b", "\udfff", "x" * 100)
            ]

    assert runner.run(scenario()) == [None] * 5


def test_a_build_begins_and_ends(owned: Database, runner: asyncio.Runner):
    hello = rows.algorithm(JANE.account_id)
    begun = rows.build(hello.algorithm_id)
    ended = replace(
        begun,
        status=BuildStatus.SUCCEEDED,
        environment="e" * 32,
        lock="six==1.17.0\n",
        entry="src.Hello",
        log="compiling \0 ünïcode\n" * 1000,
        fast_start=FastStart(is_possible=True, modules=("numpy", "scipy"), reason="yes, ..."),
        finished_at=rows.NOW + timedelta(seconds=3),
    )

    async def scenario():
        async with owned.transaction() as connection:
            await algorithms.add_algorithm(connection, hello)
            await algorithms.add_build(connection, begun)
            before = await algorithms.build(connection, begun.build_id)
            await algorithms.update_build(connection, ended)
        async with owned.reading() as connection:
            return before, await algorithms.build(connection, begun.build_id)

    assert runner.run(scenario()) == (begun, ended)


def test_lists_of_builds_are_oldest_first_and_without_logs(owned: Database, runner: asyncio.Runner):
    hello, other = rows.algorithm(JANE.account_id), rows.algorithm(JOE.account_id)
    late = rows.build(hello.algorithm_id, log="long", lock="kept")
    early = rows.build(hello.algorithm_id, started_at=rows.NOW - timedelta(microseconds=1))
    of_other = rows.build(other.algorithm_id, started_at=rows.NOW + timedelta(days=1))

    async def scenario():
        async with owned.transaction() as connection:
            for algorithm in (hello, other):
                await algorithms.add_algorithm(connection, algorithm)
            for build in (late, early, of_other):
                await algorithms.add_build(connection, build)
        async with owned.reading() as connection:
            return (
                await algorithms.builds(connection),
                await algorithms.builds(connection, algorithm_id=hello.algorithm_id),
            )

    every, of_hello = runner.run(scenario())

    assert every == [early, replace(late, log=""), of_other]
    assert of_hello == [early, replace(late, log="")]


def test_versions_are_unique_and_sorted_as_numbers(owned: Database, runner: asyncio.Runner):
    hello, other = rows.algorithm(JANE.account_id, "a"), rows.algorithm(JANE.account_id, "b")
    build, of_other = rows.build(hello.algorithm_id), rows.build(other.algorithm_id)
    old = rows.version(build, "0.9.0", callability=Callability.PUBLIC, release_notes="fixes\0")
    new = rows.version(build, "0.10.0", sample_input='{"a": 1}')

    async def scenario():
        async with owned.transaction() as connection:
            for algorithm in (hello, other):
                await algorithms.add_algorithm(connection, algorithm)
            for each in (build, of_other):
                await algorithms.add_build(connection, each)
            for version in (new, old, rows.version(of_other, "0.9.0")):
                await algorithms.add_version(connection, version)
            with pytest.raises(AlreadyExists, match=r"0\.9\.0"):
                await algorithms.add_version(connection, rows.version(build, "0.9.0"))
        async with owned.reading() as connection:
            return (
                await algorithms.versions(connection, algorithm_id=hello.algorithm_id),
                len(await algorithms.versions(connection)),
            )

    assert runner.run(scenario()) == ([old, new], 3)


def test_an_algorithm_takes_its_builds_and_versions_along(owned: Database, runner: asyncio.Runner):
    hello = rows.algorithm(JANE.account_id)
    build = rows.build(hello.algorithm_id)

    async def scenario():
        async with owned.transaction() as connection:
            await algorithms.add_algorithm(connection, hello)
            await algorithms.add_build(connection, build)
            await algorithms.add_version(connection, rows.version(build, "1.0.0"))
            await connection.execute(delete(algorithms_table))
        async with owned.reading() as connection:
            return [
                await connection.scalar(select(func.count()).select_from(table))
                for table in (builds_table, versions_table)
            ]

    assert runner.run(scenario()) == [0, 0]


def test_what_others_stored_in_a_deleted_algorithm_is_counted_down(
    owned: Database, runner: asyncio.Runner
):
    hello = rows.algorithm(JANE.account_id)
    build = rows.build(hello.algorithm_id)
    temporary = rows.collection(
        JOE.account_id, kind=CollectionKind.TEMP, algorithm_id=hello.algorithm_id, name="temp"
    )
    own = rows.collection(JOE.account_id)

    async def scenario():
        async with owned.transaction() as connection:
            await algorithms.add_algorithm(connection, hello)
            await algorithms.add_build(connection, build)
            await algorithms.add_version(connection, rows.version(build, "1.0.0"))
            for collection in (temporary, own):
                await files.add_collection(connection, collection)
                await files.put_file(connection, rows.file(collection.collection_id))
            await algorithms.delete_algorithm(connection, hello.algorithm_id)
        async with owned.reading() as connection:
            assert await storage.noted_use(connection) == await storage.counted_use(connection)
            return (
                await algorithms.algorithms(connection),
                await algorithms.builds(connection),
                await algorithms.versions(connection),
                await files.all_collections_of(connection, JOE.account_id),
            )

    assert runner.run(scenario()) == ([], [], [], [own])

    async def again():
        async with owned.transaction() as connection:
            await algorithms.delete_algorithm(connection, hello.algorithm_id)

    with pytest.raises(AlgorithmNotFound):
        runner.run(again())
