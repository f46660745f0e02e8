"""Files between hosted data and other sources: copied, moved, uploaded in parts."""

import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from data_site import running_site

from algorium.wire.bodies import ReadAcl
from algorium.wire.uris import DataUri
from algorium_server.domain.conditions import ALWAYS, ANY, Preconditions
from algorium_server.domain.errors import ConditionFailed, InvalidInput, PathNotFound
from algorium_server.domain.limits import UPLOAD_PART_BYTES_MIN
from algorium_server.services.files.spots import Spot
from algorium_server.store.database import sqlite_url

sys.path.append(str(Path(__file__).parents[1] / "data"))

import sources

DATA = bytes(range(256)) * 1000


class OneSource:
    """Leads all URIs of other protocols to one source, as `Sources` does with a connector each."""

    def __init__(self, place, protocol):
        self.place, self.protocol = place, protocol

    async def spot(self, _principal, uri, *, for_writing):
        del for_writing
        return Spot(connector=self.place.connector, path=self.place.at(*uri.segments), uri=uri)


@pytest.fixture(params=["s3", "dropbox"])
def protocol(request):
    return request.param


@pytest.fixture
def stack(runner):
    stack = AsyncExitStack()
    yield stack
    runner.run(stack.aclose())


@pytest.fixture
def place(protocol, stack, runner, tmp_path):
    peer = tmp_path / "peer"
    peer.mkdir()
    source = runner.run(stack.enter_async_context(sources.running(protocol, peer)))
    return runner.run(source.place())


@pytest.fixture
def site(sqlite_file, tmp_path, runner, stack, place, protocol):
    site = running_site(sqlite_url(sqlite_file), tmp_path / "blobs", serves=False)
    site = runner.run(stack.enter_async_context(site))
    site.data._finder._sources = OneSource(place, protocol)
    parent = DataUri(segments=(".my",))
    jane = site.principal("jane")
    runner.run(site.data.create_directory(jane, parent, name="c", acl=ReadAcl.PRIVATE))
    return site


async def pieces(data):
    for start in range(0, len(data), 100_000):
        yield data[start : start + 100_000]


class Jane:
    def __init__(self, site, runner):
        self.site, self.runner, self.principal = site, runner, site.principal("jane")

    def put(self, uri, data=DATA):
        work = self.site.data.put(self.principal, DataUri.parse(uri), pieces(data))
        return self.runner.run(work)

    def read(self, uri):
        async def work():
            file = await self.site.data.get(self.principal, DataUri.parse(uri))
            try:
                return b"".join([chunk async for chunk in file.chunks()])
            finally:
                await file.close()

        return self.runner.run(work())

    def is_there(self, uri):
        with suppress(PathNotFound):
            self.runner.run(self.site.data.stat(self.principal, DataUri.parse(uri)))
            return True
        return False

    def transfer(self, source, target, *, is_move, **demands):
        work = self.site.data.transfer(
            self.principal,
            DataUri.parse(source),
            DataUri.parse(target),
            is_move=is_move,
            preconditions=Preconditions(**demands),
        )
        return str(self.runner.run(work).uri)


@pytest.fixture
def jane(site, runner):
    return Jane(site, runner)


def test_there_and_back_again(jane, protocol):
    there = f"{protocol}://f"
    jane.put("data://.my/c/f")

    assert jane.transfer("data://.my/c/f", there, is_move=False) == there
    assert jane.read(there) == jane.read("data://.my/c/f") == DATA
    assert jane.transfer(there, "data://.my/c/back", is_move=True) == "data://.my/c/back"
    assert jane.read("data://.my/c/back") == DATA
    assert not jane.is_there(there)
    jane.transfer("data://.my/c/back", there, is_move=True)
    assert not jane.is_there("data://.my/c/back")
    jane.transfer(there, f"{protocol}://g", is_move=True)
    assert jane.read(f"{protocol}://g") == DATA
    assert not jane.is_there(there)
    with pytest.raises(PathNotFound):
        jane.transfer(there, "data://.my/c/g", is_move=True)


def test_a_target_that_must_be_new(jane, protocol):
    there = f"{protocol}://f"
    jane.put("data://.my/c/f")
    jane.put(there, b"old")

    with pytest.raises(ConditionFailed):
        jane.transfer("data://.my/c/f", there, is_move=True, none_match=ANY)
    assert jane.read(there) == b"old"
    assert jane.read("data://.my/c/f") == DATA


def test_what_may_be_the_same_file_is_not_moved(jane, protocol):
    jane.put(f"{protocol}://f")

    for target in (f"{protocol}+other://f", f"{protocol}+other://bucket/F", f"{protocol}://f"):
        with pytest.raises(InvalidInput):
            jane.transfer(f"{protocol}://f", target, is_move=True)
    assert jane.read(f"{protocol}://f") == DATA


def test_a_file_that_only_changes_its_case_is_not_lost(jane, protocol):
    old, new = f"{protocol}://d/file", f"{protocol}://D/File"
    jane.put(old)

    with suppress(InvalidInput):
        jane.transfer(old, new, is_move=True)
    assert DATA in [jane.read(uri) for uri in (old, new) if jane.is_there(uri)]


def test_a_source_that_changes_meanwhile_stays(jane, site, protocol, place, runner):
    there = f"{protocol}://f"
    jane.put(there)
    write = place.connector.write
    hosted = site.data._finder._hosted

    def overtaken(location, **options):
        connector = hosted(location, **options)
        store = connector.write

        async def write_late(path, chunks, **rest):
            entry = await store(path, chunks, **rest)
            await write(place.at("f"), pieces(b"newer"), condition=ALWAYS, size_bytes=5)
            return entry

        connector.write = write_late
        return connector

    site.data._finder._hosted = overtaken
    with pytest.raises(ConditionFailed, match="changed while it was copied"):
        jane.transfer(there, "data://.my/c/f", is_move=True)
    assert jane.read(there) == b"newer"
    assert jane.read("data://.my/c/f") == DATA


def test_an_upload_in_parts_into_another_source(jane, site, protocol, runner):
    uri = DataUri.parse(f"{protocol}://in parts")
    data = DATA[: 3 * UPLOAD_PART_BYTES_MIN + 17]

    async def upload():
        begun = await site.uploads.begin(jane.principal, uri, part_bytes=UPLOAD_PART_BYTES_MIN)
        for number in (3, 1, 4, 2):
            start = (number - 1) * UPLOAD_PART_BYTES_MIN
            part = pieces(data[start : start + UPLOAD_PART_BYTES_MIN])
            await site.uploads.put_part(jane.principal, begun.upload_id, number, part)
        first = await site.uploads.complete(jane.principal, begun.upload_id, parts_count=4)
        again = await site.uploads.complete(jane.principal, begun.upload_id, parts_count=4)
        return first, again

    first, again = runner.run(upload())
    assert first == again
    assert (first.uri, first.size_bytes) == (str(uri), len(data))
    assert jane.read(str(uri)) == data
