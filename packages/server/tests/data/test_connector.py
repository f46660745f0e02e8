"""What every connector must do; each implementation passes this suite."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import rows
from data_site import running_site

from algorium_server.data.connector import Connector, Entry
from algorium_server.data.hosted import HostedCollection
from algorium_server.domain.errors import InvalidInput, InvalidMarker, PathNotFound
from algorium_server.domain.limits import BLOB_CHUNK_BYTES, LISTING_ENTRIES_MAX
from algorium_server.store import files as file_rows


async def hosted(stack: AsyncExitStack, url: str, directory: Path) -> Connector:
    site = await stack.enter_async_context(running_site(url, directory / "blobs", serves=False))
    collection = rows.collection(site.accounts["jane"].account_id)
    async with site.database.transaction() as connection:
        await file_rows.add_collection(connection, collection)
    return HostedCollection(
        site.database,
        site.blobs,
        commits=site.commits,
        collection=collection,
        check=lambda _: None,
        clock=site.clock,
    )


@pytest.fixture(params=[hosted])
def connector(request, database_url, tmp_path, runner):
    stack = AsyncExitStack()
    yield runner.run(request.param(stack, database_url, tmp_path))
    runner.run(stack.aclose())


async def chunks_of(data):
    for start in range(0, len(data), 1000):
        yield data[start : start + 1000]


async def read(connector, *path):
    file = await connector.open(path)
    try:
        data = b"".join([chunk async for chunk in file.chunks()])
    finally:
        await file.close()
    assert len(data) == file.size_bytes
    return data


@pytest.mark.parametrize("name", ["a.txt", "Пароход.png", "a b+c%2F", "-", "...", "x" * 255])
@pytest.mark.parametrize("size_bytes", [0, 5, 2 * BLOB_CHUNK_BYTES + 1])
def test_a_written_file_is_there(connector, runner, name, size_bytes):
    data = b"y" * size_bytes
    runner.run(connector.write((name,), chunks_of(data)))
    entry = runner.run(connector.stat((name,)))
    page = runner.run(connector.page(()))

    assert runner.run(read(connector, name)) == data
    assert (entry.name, entry.is_directory, entry.size_bytes) == (name, False, size_bytes)
    assert page.files == (entry,)
    assert page.marker == ""


def test_a_file_is_replaced_as_a_whole(connector, runner):
    runner.run(connector.write(("f",), chunks_of(b"old and long")))
    runner.run(connector.write(("f",), chunks_of(b"new")))

    assert runner.run(read(connector, "f")) == b"new"
    assert len(runner.run(connector.page(())).files) == 1


def test_an_open_file_stays_the_version_it_was(connector, runner):
    async def scenario():
        old = b"old" * BLOB_CHUNK_BYTES
        await connector.write(("f",), chunks_of(old))
        file = await connector.open(("f",))
        await connector.write(("f",), chunks_of(b"new"))
        await connector.delete(("f",), is_forced=False)
        data = b"".join([chunk async for chunk in file.chunks()])
        await file.close()
        return data == old

    assert runner.run(scenario())


def test_a_failed_write_leaves_the_old_file(connector, runner):
    async def broken():
        yield b"half"
        raise ConnectionError

    runner.run(connector.write(("f",), chunks_of(b"old")))
    with pytest.raises(ConnectionError):
        runner.run(connector.write(("f",), broken()))
    with pytest.raises(ConnectionError):
        runner.run(connector.write(("g",), broken()))

    assert runner.run(read(connector, "f")) == b"old"
    assert [entry.name for entry in runner.run(connector.page(())).files] == ["f"]


def test_names_are_told_apart_by_case(connector, runner):
    runner.run(connector.write(("a",), chunks_of(b"small")))
    runner.run(connector.write(("A",), chunks_of(b"large")))

    assert runner.run(read(connector, "a")) == b"small"
    assert runner.run(read(connector, "A")) == b"large"


def test_what_is_not_there_is_not_found(connector, runner):
    for work in (
        connector.stat(("absent",)),
        connector.open(("absent",)),
        connector.page(("absent",)),
        connector.delete(("absent",), is_forced=True),
    ):
        with pytest.raises(PathNotFound):
            runner.run(work)


@pytest.mark.parametrize("name", ["..", "x" * 256, "ü" * 128, "a\0b", "\ud800"])
def test_a_file_cannot_be_called_anything(connector, runner, name):
    with pytest.raises(InvalidInput):
        runner.run(connector.write((name,), chunks_of(b"x")))


def test_the_root_is_a_directory(connector, runner):
    entry = runner.run(connector.stat(()))

    assert entry == Entry(name=entry.name, is_directory=True)
    assert runner.run(connector.page(())).files == ()


def test_a_deleted_file_is_gone(connector, runner):
    runner.run(connector.write(("f",), chunks_of(b"x")))

    assert runner.run(connector.delete(("f",), is_forced=False)) == 1
    with pytest.raises(PathNotFound):
        runner.run(connector.open(("f",)))


def test_a_directory_is_deleted_with_its_files_only_if_forced(connector, runner):
    for name in "abc":
        runner.run(connector.write((name,), chunks_of(b"x")))
    with pytest.raises(InvalidInput, match=r"^directory not empty$"):
        runner.run(connector.delete((), is_forced=False))
    assert len(runner.run(connector.page(())).files) == 3

    assert runner.run(connector.delete((), is_forced=True)) == 4
    with pytest.raises(PathNotFound):
        runner.run(connector.delete((), is_forced=True))


@pytest.mark.parametrize("is_forced", [True, False])
def test_an_empty_directory_counts_itself(connector, runner, is_forced):
    assert runner.run(connector.delete((), is_forced=is_forced)) == 1


@pytest.mark.slow
def test_pages_hold_every_file_once_in_order(connector, runner):
    names = [f"{number:04}-ü" for number in range(LISTING_ENTRIES_MAX + 100)]

    async def fill_and_list():
        for start in range(0, len(names), 50):
            await asyncio.gather(
                *(connector.write((n,), chunks_of(b"x")) for n in names[start : start + 50])
            )
        first = await connector.page(())
        second = await connector.page((), marker=first.marker)
        return first, second

    first, second = runner.run(fill_and_list())

    assert len(first.files) == LISTING_ENTRIES_MAX
    assert [entry.name for entry in (*first.files, *second.files)] == names
    assert second.marker == ""


def test_an_unknown_marker_is_refused(connector, runner):
    with pytest.raises(InvalidMarker):
        runner.run(connector.page((), marker="true"))
