"""Quotas: what accounts may store, counted exactly whatever happens at the same time."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from data_site import running_site

from algorium.wire.bodies import ReadAcl
from algorium.wire.uris import DataUri
from algorium_server.domain.errors import AlgoriumError, NotAuthorized, NotFound, QuotaExceeded
from algorium_server.domain.limits import FILE_IN_ROW_BYTES_MAX
from algorium_server.domain.storage import Quota, StorageUse
from algorium_server.services.files.storage import StorageService
from algorium_server.store import storage

QUOTA = Quota(bytes_max=100_000, files_max=5)


@pytest.fixture
def site(database_url, tmp_path, runner):
    stack = AsyncExitStack()
    site = running_site(database_url, tmp_path / "blobs", quota=QUOTA, serves=False)
    site = runner.run(stack.enter_async_context(site))
    for owner in ("jane", "lab"):
        parent = DataUri.parse(f"data://{owner}")
        runner.run(
            site.data.create_directory(
                site.principal("jane"), parent, name="c", acl=ReadAcl.PRIVATE
            )
        )
    yield site
    runner.run(stack.aclose())


async def put(site, name, size_bytes, *, owner="jane", tells=True):
    asked = []

    async def chunks():
        for start in range(0, size_bytes, 10_000):
            asked.append(start)
            yield bytes(min(10_000, size_bytes - start))

    uri = DataUri.parse(f"data://{owner}/c/{name}")
    try:
        return await site.data.put(
            site.principal("jane"), uri, chunks(), size_bytes=size_bytes if tells else None
        )
    except AlgoriumError as error:
        error.asked = len(asked)
        raise


async def use(site, owner="jane"):
    async with site.database.reading() as connection:
        noted = await storage.use_of(connection, site.accounts[owner].account_id)
        counted = (await storage.counted_use(connection)).get(site.accounts[owner].account_id)
    assert noted == (counted or StorageUse())
    return noted.bytes, noted.files


def test_use_follows_every_change(site, runner):
    async def scenario():
        jane = site.principal("jane")
        await put(site, "a", 10)
        await put(site, "b", 50_000)
        yield await use(site)
        await put(site, "a", 30_000)
        yield await use(site)
        at = {name: DataUri.parse(f"data://jane/c/{name}") for name in "abcd"}
        lab = DataUri.parse("data://lab/c/a")
        await site.data.transfer(jane, at["a"], at["c"], is_move=True)
        yield await use(site)
        await site.data.transfer(jane, at["c"], lab, is_move=True)
        yield (await use(site), await use(site, "lab"))
        await site.data.transfer(jane, lab, at["d"], is_move=False)
        yield (await use(site), await use(site, "lab"))
        await site.data.delete(jane, at["b"], is_forced=False)
        yield await use(site)
        await site.data.delete(jane, DataUri.parse("data://jane/c"), is_forced=True)
        yield await use(site)

    async def collected():
        return [answer async for answer in scenario()]

    assert runner.run(collected()) == [
        (50_010, 2),
        (80_000, 2),
        (80_000, 2),
        ((50_000, 1), (30_000, 1)),
        ((80_000, 2), (30_000, 1)),
        (30_000, 1),
        (0, 0),
    ]


def test_too_much_is_refused_before_the_first_byte_if_the_length_is_known(site, runner):
    runner.run(put(site, "a", 60_000))

    with pytest.raises(QuotaExceeded, match="may store 100000 bytes and stores 60000") as caught:
        runner.run(put(site, "b", 40_001))
    assert caught.value.asked == 0
    assert caught.value.fields == {"limit": 100_000, "used": 60_000, "unit": "bytes"}
    with pytest.raises(QuotaExceeded) as caught:
        runner.run(put(site, "b", 5_000_000, tells=False))
    assert caught.value.asked < 8, "and soon after it is too much otherwise"
    runner.run(put(site, "b", 40_000))
    runner.run(put(site, "a", 60_000)), "what is replaced counts no more"
    assert runner.run(use(site)) == (100_000, 2)
    assert len(site.blob_files()) == 2


@pytest.mark.parametrize("size_bytes", [1000, FILE_IN_ROW_BYTES_MAX + 1], ids=["row", "blob"])
def test_at_the_same_time_exactly_as_many_as_there_is_room_for(site, runner, size_bytes):
    async def scenario():
        puts = (put(site, f"f{number}", size_bytes, tells=number % 2 == 0) for number in range(20))
        answers = await asyncio.gather(*puts, return_exceptions=True)
        return [type(answer) for answer in answers if isinstance(answer, Exception)]

    refused = runner.run(scenario())

    assert refused == [QuotaExceeded] * 15
    assert runner.run(use(site)) == (5 * size_bytes, 5)
    assert len(site.blob_files()) == (0 if size_bytes == 1000 else 5)


def test_others_moves_and_copies_count_too(site, runner):
    async def scenario():
        jane = site.principal("jane")
        for number in range(5):
            await put(site, f"f{number}", 1)
            await put(site, f"f{number}", 1, owner="lab")
        own, other = (DataUri.parse(f"data://{owner}/c/f1") for owner in ("jane", "lab"))
        new = DataUri.parse("data://lab/c/new")
        for is_move in (True, False):
            with pytest.raises(QuotaExceeded):
                await site.data.transfer(jane, own, new, is_move=is_move)
        await site.data.transfer(jane, own, other, is_move=True)
        return await use(site), await use(site, "lab")

    assert runner.run(scenario()) == ((4, 4), (5, 5))


def test_who_belongs_to_an_account_sees_what_it_stores(site, runner):
    service = StorageService(site.database, site.directory, quota_of=lambda _account_id: QUOTA)
    jane, bob = site.principal("jane"), site.principal("bob")
    runner.run(put(site, "a", 7))
    runner.run(put(site, "a", 9, owner="lab"))

    report = runner.run(service.report(jane))
    assert (report.account.username, report.use, report.quota) == (
        "jane",
        StorageUse(bytes=7, files=1),
        QUOTA,
    )
    assert runner.run(service.report(bob)).use == StorageUse()
    assert runner.run(service.report(bob, account="LAB")).use.bytes == 9
    for unknown in ("jane", "nobody"):
        with pytest.raises(NotFound):
            runner.run(service.report(bob, account=unknown))
    no_data = site.directory.principal_of_key("no-data-key")
    with pytest.raises(NotAuthorized):
        runner.run(service.report(no_data))
