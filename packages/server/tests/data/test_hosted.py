import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import pytest
import rows
from data_site import running_site
from sqlalchemy import insert

from algorium_server.data.hosted import HostedCollection
from algorium_server.domain.collections import CollectionKind
from algorium_server.domain.errors import (
    InternalError,
    InvalidInput,
    NotAuthorized,
    PartlyDeleted,
    PathNotFound,
)
from algorium_server.domain.limits import DELETED_WHOLE_FILES_MAX, FILE_IN_ROW_BYTES_MAX
from algorium_server.store import columns
from algorium_server.store import files as file_rows
from algorium_server.store.tables.files import files as files_table

LONG = b"x" * (FILE_IN_ROW_BYTES_MAX + 1)
"""Too long for a row, so that there is a blob."""


async def pieces(*chunks):
    for chunk in chunks:
        yield chunk


@pytest.fixture
def site(database_url, tmp_path, runner):
    stack = AsyncExitStack()
    site = running_site(database_url, tmp_path / "blobs", serves=False)
    yield runner.run(stack.enter_async_context(site))
    runner.run(stack.aclose())


@pytest.fixture
def row(site, runner):
    row = rows.collection(site.accounts["jane"].account_id)
    runner.run(add_collection(site, row))
    return row


async def add_collection(site, row):
    async with site.database.transaction() as connection:
        await file_rows.add_collection(connection, row)


async def delete_collection(site, row):
    async with site.database.transaction() as connection:
        await file_rows.delete_collection(connection, row.collection_id)


def connector(site, row, *, check=lambda _: None):
    return HostedCollection(
        site.database,
        site.blobs,
        commits=site.commits,
        collection=row,
        check=check,
        clock=site.clock,
    )


async def read(collection, name):
    file = await collection.open((name,))
    data = b"".join([chunk async for chunk in file.chunks()])
    await file.close()
    return data


def test_replacing_and_deleting_leaves_no_blobs(site, row, runner):
    collection = connector(site, row)
    for _ in range(3):
        runner.run(collection.write(("f",), pieces(LONG)))
    assert len(site.blob_files()) == 1

    runner.run(collection.delete(("f",), is_forced=False))
    assert site.blob_files() == []


def test_a_collection_deleted_during_an_upload_leaves_nothing(site, row, runner):
    async def chunks():
        yield LONG
        await delete_collection(site, row)
        yield b"other half"

    with pytest.raises(PathNotFound):
        runner.run(connector(site, row).write(("f",), chunks()))
    assert site.blob_files() == []


def test_a_collection_created_anew_during_an_upload_is_another_one(site, row, runner):
    anew = replace(row, collection_id=rows.new_id())

    async def chunks():
        yield LONG
        await delete_collection(site, row)
        await add_collection(site, anew)

    with pytest.raises(PathNotFound):
        runner.run(connector(site, row).write(("f",), chunks()))
    assert site.blob_files() == []
    assert runner.run(connector(site, anew).page(())).files == ()


def test_a_right_lost_during_an_upload_counts(site, row, runner):
    is_allowed = True

    def check(_):
        if not is_allowed:
            raise NotAuthorized

    async def chunks():
        nonlocal is_allowed
        yield LONG
        is_allowed = False

    with pytest.raises(NotAuthorized):
        runner.run(connector(site, row, check=check).write(("f",), chunks()))
    assert site.blob_files() == []


def test_readers_see_the_old_bytes_or_the_new_ones(site, row, runner):
    versions = [bytes([number]) * 600_000 for number in range(8)]

    async def scenario():
        collection = connector(site, row)
        await collection.write(("f",), pieces(versions[0]))
        is_done = asyncio.Event()

        async def write():
            for version in versions * 3:
                await collection.write(("f",), pieces(version[:500_000], version[500_000:]))
            is_done.set()

        async def keep_reading():
            seen = []
            while not is_done.is_set():
                seen.append(await read(collection, "f"))
            return seen

        _, *readers = await asyncio.gather(write(), *(keep_reading() for _ in range(3)))
        return [data for seen in readers for data in seen]

    seen = runner.run(scenario())

    assert seen
    assert all(data in versions for data in seen)
    assert len(site.blob_files()) == 1


def test_a_file_without_its_bytes_is_an_error_not_an_absence(site, row, runner):
    collection = connector(site, row)
    runner.run(collection.write(("f",), pieces(LONG)))
    os.unlink(site.blob_files()[0])

    with pytest.raises(InternalError, match="damaged"):
        runner.run(collection.open(("f",)))


def test_nothing_lies_below_a_file(site, row, runner):
    collection = connector(site, row)
    runner.run(collection.write(("f",), pieces(LONG)))

    for work in (
        collection.stat(("f", "g")),
        collection.open(("f", "g")),
        collection.page(("f",)),
        collection.delete(("f", "g"), is_forced=True),
    ):
        with pytest.raises(PathNotFound):
            runner.run(work)
    with pytest.raises(InvalidInput):
        runner.run(collection.write(("f", "g"), pieces(LONG)))


async def fill(site, row, count):
    async with site.database.transaction() as connection:
        await connection.execute(
            insert(files_table),
            [columns.row_of(rows.file(row.collection_id, f"{n:06}")) for n in range(count)],
        )


@pytest.mark.slow
def test_a_huge_collection_is_deleted_in_steps(site, row, runner):
    runner.run(fill(site, row, DELETED_WHOLE_FILES_MAX + 600))

    assert runner.run(connector(site, row).delete((), is_forced=True)) == (
        DELETED_WHOLE_FILES_MAX + 601
    )
    with pytest.raises(PathNotFound):
        runner.run(connector(site, row).delete((), is_forced=True))


@pytest.mark.slow
def test_a_deletion_that_breaks_off_tells_how_far_it_came(site, row, runner):
    runner.run(fill(site, row, DELETED_WHOLE_FILES_MAX + 600))
    checks = iter([None, None])

    def check(_):
        if next(checks, "broken") == "broken":
            raise NotAuthorized

    with pytest.raises(PartlyDeleted) as caught:
        runner.run(connector(site, row, check=check).delete((), is_forced=True))
    assert caught.value.fields == {"deleted": 500}
    assert caught.value.status == 500


@pytest.fixture
def special(site):
    return rows.collection(
        site.accounts["jane"].account_id,
        "temp",
        kind=CollectionKind.TEMP,
        algorithm_id=site.hello.algorithm_id,
    )


def test_a_special_collection_gets_its_row_with_its_first_file(site, special, runner):
    collection = connector(site, special)
    assert runner.run(collection.page(())).files == ()
    runner.run(asyncio.wait_for(_write_many(site, special, ("a", "b", "c", "d")), timeout=30))

    found = runner.run(_stored(site, special))
    assert [entry.name for entry in runner.run(connector(site, found).page(())).files] == list(
        "abcd"
    )


async def _write_many(site, special, names):
    # As different requests do: each has made up a row of its own for the collection.
    await asyncio.gather(
        *(
            connector(site, replace(special, collection_id=rows.new_id())).write(
                (name,), pieces(LONG)
            )
            for name in names
        )
    )


async def _stored(site, special):
    async with site.database.reading() as connection:
        return await file_rows.special_collection(
            connection,
            kind=special.kind,
            owner_id=special.owner_id,
            algorithm_id=special.algorithm_id,
            name=special.name,
        )


def test_expired_files_go_and_the_collection_with_the_last(site, special, runner):
    runner.run(connector(site, special).write(("old",), pieces(LONG)))
    site.clock.advance(hours=30)
    runner.run(connector(site, special).write(("new",), pieces(LONG)))
    before = site.clock.now - timedelta(hours=24)

    assert runner.run(connector(site, special).expire(before=before)) == 1
    assert len(site.blob_files()) == 1
    assert runner.run(connector(site, special).expire(before=before)) == 0
    assert runner.run(_stored(site, special)) is not None

    site.clock.advance(hours=30)
    before = site.clock.now - timedelta(hours=24)
    assert runner.run(connector(site, special).expire(before=before)) == 1
    assert runner.run(_stored(site, special)) is None
    assert site.blob_files() == []
