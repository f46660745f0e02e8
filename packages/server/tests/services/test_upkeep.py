import asyncio
import os
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
from data_site import running_site

from algorium.wire.uris import DataUri
from algorium_server.domain.collections import CollectionKind
from algorium_server.domain.errors import Unavailable
from algorium_server.domain.limits import FILE_IN_ROW_BYTES_MAX
from algorium_server.services.files.data import DataService, Listing
from algorium_server.services.files.upkeep import Upkeep
from algorium_server.store import files as file_rows

LONG = b"x" * (FILE_IN_ROW_BYTES_MAX + 1)
"""Too long for a row, so that there is a blob."""


@pytest.fixture
def site(database_url, tmp_path, runner):
    stack = AsyncExitStack()
    site = running_site(database_url, tmp_path / "blobs", serves=False)
    yield runner.run(stack.enter_async_context(site))
    runner.run(stack.aclose())


def put(site, runner, principal, uri):
    async def chunks():
        yield LONG

    runner.run(site.data.put(principal, DataUri.parse(uri), chunks()))


def names(site, runner, principal, uri):
    listing = runner.run(site.data.get(principal, DataUri.parse(uri)))
    assert isinstance(listing, Listing)
    return [entry.name for entry in listing.page.files]


async def special(site, kind):
    async with site.database.reading() as connection:
        return await file_rows.special_collections_before(
            connection, kind=kind, created_before=site.clock.now + timedelta(days=999)
        )


def test_temporary_files_live_a_day_and_permanent_ones_for_ever(site, runner):
    algorithm = site.inside("jane")
    put(site, runner, algorithm, "data://.algo/temp/old")
    put(site, runner, algorithm, "data://.algo/perm/old")
    site.clock.advance(hours=23)
    put(site, runner, algorithm, "data://.algo/temp/new")

    runner.run(site.data.sweep(site.clock.now))
    assert names(site, runner, algorithm, "data://.algo/temp") == ["new", "old"]
    site.clock.advance(hours=2)
    runner.run(site.data.sweep(site.clock.now))
    assert names(site, runner, algorithm, "data://.algo/temp") == ["new"]
    site.clock.advance(hours=24)
    runner.run(site.data.sweep(site.clock.now))
    assert names(site, runner, algorithm, "data://.algo/temp") == []
    assert names(site, runner, algorithm, "data://.algo/perm") == ["old"]
    assert runner.run(special(site, CollectionKind.TEMP)) == []
    assert len(site.blob_files()) == 1

    put(site, runner, algorithm, "data://.algo/temp/again")
    assert names(site, runner, algorithm, "data://.algo/temp") == ["again"]


def test_sessions_of_a_crashed_process_are_swept(site, runner):
    put(site, runner, site.inside("jane"), "data://.session/f")
    # The next process knows nothing of the session.
    site.data = DataService(site.database, site.blobs, site.directory, clock=site.clock)
    assert site.data.end_session("req-1") is None
    assert len(runner.run(special(site, CollectionKind.SESSION))) == 1

    runner.run(site.data.sweep(site.clock.now))
    assert len(runner.run(special(site, CollectionKind.SESSION))) == 1
    runner.run(site.data.sweep(site.clock.now + timedelta(hours=25)))
    assert runner.run(special(site, CollectionKind.SESSION)) == []
    assert site.blob_files() == []


def test_sweeping_goes_on_whatever_failed(site, runner):
    class Clumsy(Upkeep):
        tries = 0

        async def sweep(self, now):
            self.tries += 1
            if self.tries == 1:
                raise ZeroDivisionError
            swept.set()

    swept = asyncio.Event()

    async def scenario():
        upkeep = Clumsy(site.database, site.blobs, commits=site.commits, clock=site.clock)
        async with asyncio.timeout(20):
            sweeping = asyncio.create_task(upkeep.keep_swept(every_s=0.01))
            await swept.wait()
        assert not sweeping.done()
        sweeping.cancel()
        await asyncio.wait({sweeping})

    runner.run(scenario())


def test_blobs_without_a_row_are_swept(site, runner):
    async def chunks():
        yield b"garbage"

    put(site, runner, site.inside("jane"), "data://.algo/perm/f")
    runner.run(site.blobs.write(chunks()))
    assert runner.run(site.data.sweep_blobs(before=datetime.now(UTC) - timedelta(hours=1))) == 0
    for path in site.blob_files():
        os.utime(path, (0, 0))

    assert runner.run(site.data.sweep_blobs(before=datetime.now(UTC) - timedelta(hours=1))) == 1
    assert len(site.blob_files()) == 1
    assert names(site, runner, site.inside("jane"), "data://.algo/perm") == ["f"]


def test_sweeping_ends_when_it_is_cancelled_whatever_comes_of_it(site, runner):
    class Interrupted(Upkeep):
        async def sweep(self, now):
            begun.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise Unavailable("the database does not answer") from None

    begun = asyncio.Event()

    async def scenario():
        upkeep = Interrupted(site.database, site.blobs, commits=site.commits, clock=site.clock)
        sweeping = asyncio.create_task(upkeep.keep_swept(every_s=0.01))
        await begun.wait()
        sweeping.cancel()
        done, _ = await asyncio.wait({sweeping}, timeout=10)
        assert done
        assert isinstance(sweeping.exception(), Unavailable)

    runner.run(scenario())
