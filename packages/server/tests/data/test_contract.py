"""What every source must do alike, hosted data and connected ones: the contract of a connector."""

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from sources import NAMES, Place, Source, running

from algorium_server.data.connector import Span
from algorium_server.domain.conditions import Condition
from algorium_server.domain.errors import (
    AlreadyExists,
    ConditionFailed,
    InvalidInput,
    InvalidMarker,
    PathNotFound,
)
from algorium_server.domain.limits import SOURCE_WHOLE_BYTES_MAX

MIB = 1024 * 1024
ODD_NAMES = (
    "plain.txt",
    "with space and +",
    "percent%20and%",
    "Пароход.png",
    "a'b\"c;d&e=f#g?h",
    "~tilde-under_score.",
    "日本語 ☃ 🚢",
)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module", params=NAMES)
def source(
    request: pytest.FixtureRequest, loop: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Source]:
    context = running(request.param, tmp_path_factory.mktemp(request.param))
    yield loop.run(context.__aenter__())
    loop.run(context.__aexit__(None, None, None))


@pytest.fixture
def place(source: Source, loop: asyncio.Runner) -> Place:
    return loop.run(source.place())


# Hosted data has one level of directories.
of_trees = pytest.mark.parametrize("source", NAMES[1:], indirect=True)


async def of(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def zeros(mebibytes: int) -> AsyncIterator[bytes]:
    for _ in range(mebibytes):
        yield bytes(MIB)


async def read(place: Place, *names: str, span: Span | None = None) -> bytes:
    file = await place.connector.open(place.at(*names), span=span)
    try:
        content = b"".join([chunk async for chunk in file.chunks()])
        assert len(content) == file.size_bytes
        return content
    finally:
        await file.close()


async def write(place: Place, *names: str, content: bytes = b"x", **options):
    return await place.connector.write(place.at(*names), of(content), **options)


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 20], ids=["0", "1", "5120"])
def test_what_was_written_is_read(place, loop, content):
    written = loop.run(write(place, "file", content=content))
    found = loop.run(place.connector.stat(place.at("file")))

    assert loop.run(read(place, "file")) == content
    assert written.size_bytes == found.size_bytes == len(content)
    assert written.md5 == hashlib.md5(content).hexdigest()
    assert found.md5 in {"", written.md5}
    assert written.etag == found.etag != ""
    assert not found.is_directory
    assert found.modified_at is not None


def test_files_may_have_odd_names(place, loop):
    async def check():
        for name in ODD_NAMES:
            await write(place, name, content=name.encode())
        page = await place.connector.page(place.path)

        assert [entry.name for entry in page.files] == sorted(ODD_NAMES)
        for name in ODD_NAMES:
            assert await read(place, name) == name.encode()
            assert await place.connector.delete(place.at(name), is_forced=False) == 1

    loop.run(check())


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (Span(start=0), b"0123456789"),
        (Span(start=3), b"3456789"),
        (Span(start=3, end=5), b"34"),
        (Span(start=0, end=1), b"0"),
        (Span(start=8, end=100), b"89"),
        (Span(start=10), b""),
        (Span(start=99), b""),
        (Span(start=4, end=4), b""),
    ],
    ids=str,
)
def test_a_part_of_a_file_is_read(place, loop, span, expected):
    loop.run(write(place, "file", content=b"0123456789"))

    assert loop.run(read(place, "file", span=span)) == expected


def test_a_part_tells_of_the_whole(place, loop):
    async def check():
        written = await write(place, "file", content=b"0123456789")
        file = await place.connector.open(place.at("file"), span=Span(start=2, end=4))
        await file.close()
        await file.close()  # again

        assert (file.size_bytes, file.entry.size_bytes) == (2, 10)
        assert file.entry.etag == written.etag

    loop.run(check())


def test_replacing_a_file_changes_its_etag(place, loop):
    async def check():
        first = await write(place, "file", content=b"first")
        second = await write(place, "file", content=b"second")

        assert first.etag != second.etag
        assert await read(place, "file") == b"second"
        assert len((await place.connector.page(place.path)).files) == 1

    loop.run(check())


@pytest.mark.parametrize("mebibytes", [0, 10], ids=["small", "in parts"])
def test_an_upload_that_breaks_leaves_the_old_file(place, loop, mebibytes):
    async def breaking():
        async for chunk in zeros(mebibytes):
            yield chunk
        yield b"begin"
        raise InvalidInput("the line broke")

    async def check():
        await write(place, "file", content=b"old")
        with pytest.raises(InvalidInput, match="the line broke"):
            await place.connector.write(place.at("file"), breaking())
        with pytest.raises(InvalidInput, match="the line broke"):
            await place.connector.write(place.at("new"), breaking())

        assert await read(place, "file") == b"old"
        assert [entry.name for entry in (await place.connector.page(place.path)).files] == ["file"]

    loop.run(check())


def test_an_upload_that_is_given_up_leaves_the_old_file(place, loop):
    begun = asyncio.Event()

    async def stuck():
        async for chunk in zeros(10):
            yield chunk
        begun.set()
        await asyncio.Event().wait()

    async def check():
        await write(place, "file", content=b"old")
        writing = asyncio.ensure_future(place.connector.write(place.at("file"), stuck()))
        await begun.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing

        assert await read(place, "file") == b"old"

    loop.run(check())


@pytest.mark.parametrize("is_announced", [True, False])
def test_a_large_file_is_stored_whole(place, loop, is_announced):
    mebibytes = SOURCE_WHOLE_BYTES_MAX // MIB + 3
    expected = hashlib.md5(bytes(mebibytes * MIB)).hexdigest()

    async def check():
        size_bytes = mebibytes * MIB if is_announced else None
        written = await place.connector.write(
            place.at("large"), zeros(mebibytes), size_bytes=size_bytes
        )
        content = await read(place, "large")

        assert written.md5 == hashlib.md5(content).hexdigest() == expected
        assert written.size_bytes == len(content)
        assert (await place.connector.stat(place.at("large"))).etag == written.etag

    loop.run(check())


def test_a_file_that_must_be_new_is_written_once(place, loop):
    async def check():
        new = Condition(is_new=True)
        writes = [write(place, "file", content=b"%d" % n, condition=new) for n in range(6)]
        ended = await asyncio.gather(*writes, return_exceptions=True)
        stored = [n for n, each in enumerate(ended) if not isinstance(each, BaseException)]

        assert len(stored) == 1
        assert await read(place, "file") == b"%d" % stored[0]
        others = [each for each in ended if isinstance(each, BaseException)]
        assert {type(each) for each in others} == {ConditionFailed}

    loop.run(check())


def test_a_file_is_replaced_only_if_it_is_the_one_that_was_meant(place, loop):
    async def check():
        first = await write(place, "file", content=b"first")
        meant = Condition(etags=frozenset({first.etag, "another"}))
        await write(place, "file", content=b"second", condition=meant)
        with pytest.raises(ConditionFailed):
            await write(place, "file", content=b"third", condition=meant)
        with pytest.raises(ConditionFailed):
            await write(place, "absent", condition=meant)

        assert await read(place, "file") == b"second"

    loop.run(check())


def test_a_file_is_deleted_once(place, loop):
    async def check():
        stored = await write(place, "file")
        other = Condition(etags=frozenset({"another"}))
        with pytest.raises(ConditionFailed):
            await place.connector.delete(place.at("file"), is_forced=False, condition=other)
        meant = Condition(etags=frozenset({stored.etag}))

        assert await place.connector.delete(place.at("file"), is_forced=False, condition=meant) == 1
        with pytest.raises(PathNotFound):
            await place.connector.delete(place.at("file"), is_forced=False)
        with pytest.raises(PathNotFound):
            await place.connector.stat(place.at("file"))

    loop.run(check())


def test_what_is_not_there_is_not_found(place, loop):
    async def check():
        for work in (
            place.connector.stat(place.at("absent")),
            place.connector.open(place.at("absent")),
            place.connector.open(place.at("absent"), span=Span(start=3)),
            place.connector.page(place.at("absent")),
            place.connector.delete(place.at("absent"), is_forced=True),
        ):
            with pytest.raises(PathNotFound):
                await work

    loop.run(check())


@pytest.mark.parametrize("marker", ["nonsense", "e30x", "%%%"])
def test_a_marker_that_no_listing_gave_is_refused(place, loop, marker):
    with pytest.raises(InvalidMarker):
        loop.run(place.connector.page(place.path, marker=marker))


def test_an_empty_directory_is_there(place, loop):
    page = loop.run(place.connector.page(place.path))

    assert (page.folders, page.files, page.marker) == ((), (), "")
    assert loop.run(place.connector.stat(place.path)).is_directory


@of_trees
def test_listings_have_directories_first_and_each_in_order(place, loop):
    async def check():
        for name in ("b", "a-b", "a", "Z"):
            await write(place, name, "inner", "file")
        for name in ("y.txt", "x", "a.txt", "c"):
            await write(place, name, content=name.encode())
        page = await place.connector.page(place.path)

        assert page.folders == ("Z", "a", "a-b", "b")
        assert [entry.name for entry in page.files] == ["a.txt", "c", "x", "y.txt"]
        assert [entry.size_bytes for entry in page.files] == [5, 1, 1, 5]
        assert (await place.connector.page(place.at("a"))).folders == ("inner",)

    loop.run(check())


@of_trees
def test_a_directory_is_created_once(place, loop):
    async def check():
        await place.connector.create_directory(place.at("new dir é"))
        with pytest.raises(AlreadyExists):
            await place.connector.create_directory(place.at("new dir é"))
        await write(place, "file")
        with pytest.raises(AlreadyExists):
            await place.connector.create_directory(place.at("file"))

        assert (await place.connector.page(place.path)).folders == ("new dir é",)
        assert (await place.connector.stat(place.at("new dir é"))).is_directory
        assert await place.connector.delete(place.at("new dir é"), is_forced=False) == 1
        assert (await place.connector.page(place.path)).folders == ()

    loop.run(check())


@of_trees
def test_a_directory_with_something_in_it_is_deleted_by_force_only(place, loop):
    async def check():
        await place.connector.create_directory(place.at("dir"))
        await place.connector.create_directory(place.at("dir", "empty"))
        for names in (("dir", "1"), ("dir", "sub", "2"), ("dir", "sub", "deep", "3"), ("dirt",)):
            await write(place, *names)
        with pytest.raises(InvalidInput, match="not empty"):
            await place.connector.delete(place.at("dir"), is_forced=False)

        # Three files, and the directories dir, empty, sub and deep.
        assert await place.connector.delete(place.at("dir"), is_forced=True) == 7
        page = await place.connector.page(place.path)
        assert (page.folders, [entry.name for entry in page.files]) == ((), ["dirt"])

    loop.run(check())
