"""The scrubber and the check: both look at everything, and find what has been damaged."""

import hashlib
import os
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest
from data_site import running_site
from sqlalchemy import update

from algorium.wire.bodies import ReadAcl
from algorium.wire.uris import DataUri
from algorium_server.domain import limits
from algorium_server.domain.storage import StorageUse
from algorium_server.services.files.checking import Check
from algorium_server.services.files.scrubbing import Scrubber
from algorium_server.store import damages, storage
from algorium_server.store.tables.files import files as files_table

LONG = b"x" * (limits.FILE_IN_ROW_BYTES_MAX + 1)


@pytest.fixture
def site(database_url, tmp_path, runner):
    stack = AsyncExitStack()
    site = running_site(database_url, tmp_path / "blobs", serves=False)
    site = runner.run(stack.enter_async_context(site))
    jane, parent = site.principal("jane"), DataUri.parse("data://jane")
    runner.run(site.data.create_directory(jane, parent, name="c", acl=ReadAcl.PRIVATE))
    yield site
    runner.run(stack.aclose())


async def put(site, name, data=LONG):
    async def chunks():
        yield data

    uri = DataUri.parse(f"data://jane/c/{name}")
    await site.data.put(site.principal("jane"), uri, chunks())


async def path_of(site, name):
    entries = await site.data.get(site.principal("jane"), DataUri.parse("data://jane/c"))
    assert entries
    async with site.database.reading() as connection:
        for file, _ in await damages.files_after(connection, "", limit=100):
            if file.name == name:
                return site.blobs_dir / file.blob[:2] / file.blob
    raise AssertionError(name)


async def change_in_row(site, name, content):
    async with site.database.transaction() as connection:
        await connection.execute(
            update(files_table).where(files_table.c.name == name).values(content=content)
        )


async def change_checksum(site, name, checksum):
    async with site.database.transaction() as connection:
        await connection.execute(
            update(files_table).where(files_table.c.name == name).values(checksum=checksum)
        )


async def check(site, *, reads=True, repairs=False, now=None):
    now = now or datetime.now(UTC)
    return await Check(site.database, site.blobs, reads=reads).run(now, repairs=repairs)


async def damage(site):
    """Damage five of seven files, each in another way; return their names."""
    for name in ("cut", "gone", "flipped", "whole"):
        await put(site, name)
    for name in ("row", "rowless", "tiny"):
        await put(site, name, b"tiny")
    os.truncate(await path_of(site, "cut"), 5)
    (await path_of(site, "gone")).unlink()
    with (await path_of(site, "flipped")).open("r+b") as blob:
        blob.write(b"y")
    await change_in_row(site, "row", b"tinY")
    await change_in_row(site, "rowless", None)
    return {f"account:c/{name}" for name in ("cut", "gone", "flipped", "row", "rowless")}


def test_a_check_names_every_damaged_file(site, runner):
    damaged = runner.run(damage(site))

    report = runner.run(check(site))
    assert {found.file for found in report.shown} == damaged
    assert (report.files, report.damaged, report.is_clean) == (7, 5, False)
    fast = runner.run(check(site, reads=False))
    assert {found.file for found in fast.shown} == damaged - {"account:c/flipped"}


def test_checksums_of_another_kind_still_find_damage(site, runner):
    async def scenario():
        for name, data in (("long", LONG), ("short", b"tiny")):
            await put(site, name, data)
            old = hashlib.blake2b(data, digest_size=32).hexdigest()
            await change_checksum(site, name, f"blake2b:{old}")
        yield await check(site)
        with (await path_of(site, "long")).open("r+b") as blob:
            blob.write(b"y")
        await change_in_row(site, "short", b"tinY")
        yield await check(site)
        for name in ("long", "short"):
            await change_checksum(site, name, f"crc99:{'0' * 64}")
        yield await check(site)

    async def collected():
        return [report async for report in scenario()]

    whole, damaged, unknown = runner.run(collected())

    assert whole.is_clean
    assert [found.problem for found in damaged.shown] == [
        "its bytes have changed: the checksum is another"
    ] * 2
    assert [found.problem for found in unknown.shown] == [
        "its bytes cannot be checked: no checksum of the kind 'crc99' is known"
    ] * 2


def test_a_check_counts_garbage_and_repairs_what_it_can(site, runner):
    async def chunks():
        yield LONG

    async def scenario():
        await put(site, "a")
        await site.blobs.write(chunks())
        account_id = site.accounts["jane"].account_id
        async with site.database.transaction() as connection:
            await storage.set_use(connection, account_id, StorageUse(bytes=1, files=2))
        yield await check(site)
        later = datetime.now(UTC) + timedelta(hours=2)
        yield await check(site, now=later)
        yield await check(site, now=later, repairs=True)
        yield await check(site, now=later)

    async def collected():
        return [report async for report in scenario()]

    young, old, repaired, after = runner.run(collected())

    assert young.garbage_files == 0, "its row may be about to come"
    assert (old.garbage_files, old.garbage_bytes) == (1, len(LONG))
    (wrong,) = old.wrong_use
    assert wrong.noted == StorageUse(bytes=1, files=2)
    assert wrong.counted == StorageUse(bytes=len(LONG), files=1)
    assert not old.is_clean
    assert repaired.is_clean
    assert (after.garbage_files, after.wrong_use, after.is_clean) == (0, [], True)
    assert len(site.blob_files()) == 1


def test_a_file_replaced_meanwhile_is_not_damage(site, runner):
    class Busy(Check):
        async def _check_file(self, file, content, there):
            await put(site, file.name)  # the old blob is gone now
            await super()._check_file(file, content, there)

    runner.run(put(site, "a"))

    report = runner.run(Busy(site.database, site.blobs).run(datetime.now(UTC)))
    assert (report.files, report.damaged) == (1, 0)


async def known(site):
    async with site.database.reading() as connection:
        found = await damages.damages(connection, limit=100)
        return {await damages.shown_name(connection, each.file_id) for each in found}


async def finish_round(scrubber):
    while await scrubber.step():
        pass


def test_the_scrubber_finds_damage_remembers_it_and_forgets_what_is_gone(site, runner):
    scrubber = Scrubber(site.database, site.blobs, every=timedelta(days=1), clock=site.clock)

    async def scenario():
        damaged = await damage(site)
        await finish_round(scrubber)
        assert await known(site) == damaged
        fast = await check(site, reads=False)
        assert {found.file for found in fast.shown} == damaged, "the check tells it as well"
        await put(site, "flipped")
        assert await scrubber.step() == 0, "it is not time yet"
        site.clock.advance(days=2)
        await finish_round(scrubber)
        return damaged, await known(site)

    damaged, after = runner.run(scenario())

    assert after == damaged - {"account:c/flipped"}


def test_a_round_goes_on_where_it_was_when_the_server_stopped(site, runner, monkeypatch):
    monkeypatch.setattr("algorium_server.services.files.scrubbing._STEP_FILES_MIN", 1)
    monkeypatch.setattr("algorium_server.services.files.scrubbing.SCRUBBED_AT_ONCE_FILES_MAX", 2)

    async def scenario():
        for number in range(5):
            await put(site, f"f{number}", b"tiny")
        steps = []
        while not steps or steps[-1]:
            anew = Scrubber(site.database, site.blobs, every=timedelta(days=9), clock=site.clock)
            steps.append(await anew.step())
        return steps

    assert runner.run(scenario()) == [2, 2, 1, 0]


def test_without_an_interval_nothing_is_read(site, runner):
    runner.run(Scrubber(site.database, site.blobs, every=timedelta(0)).keep(step_s=0))
