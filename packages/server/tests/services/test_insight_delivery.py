"""Insights on their way: nobody waits for them, brokers may be away, what is lost is counted."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from algorium_server.domain.errors import SourceFailed
from algorium_server.domain.insights import ConnectionType, InsightsConnection, InsightsSettings
from algorium_server.domain.limits import INSIGHTS_LIFE_S, INSIGHTS_WAITING_MAX
from algorium_server.sealing import Seal
from algorium_server.services.operations.insight_delivery import InsightDelivery
from algorium_server.store import insights as rows
from algorium_server.store.database import Database


class Brokers:
    """Brokers that may be away; every connection to them is one of `opened`."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, str]] = []
        self.closed = 0
        self.tries = 0
        self.received: list[bytes] = []
        self.are_away = False

    async def open(self, connection: InsightsConnection, password: str) -> "Brokers":
        self.opened.append((connection.settings.topic, password))
        return self

    async def send(self, records: Sequence[bytes]) -> None:
        self.tries += 1
        if self.are_away:
            raise SourceFailed("nobody answers")
        self.received += records

    async def close(self) -> None:
        self.closed += 1


class Clock:
    """Monotonic seconds that tests advance."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Site:
    """A delivery with brokers and a connection to them."""

    def __init__(self, database: Database, home: Path) -> None:
        self.database = database
        self.seal = Seal.open(home)
        self.brokers = Brokers()
        self.clock = Clock()
        self.delivery = InsightDelivery(
            database, self.seal, open_sender=self.brokers.open, clock=self.clock
        )

    async def connect(self, topic: str, password: str = "") -> None:
        settings = InsightsSettings(
            connection_type=ConnectionType.PLAINTEXT, broker_url="a:1", topic=topic
        )
        sealed = b""
        if password:
            sealed = self.seal.seal(password.encode(), owner=topic, name="insights")
        made = InsightsConnection(connection_id=topic, settings=settings, sealed=sealed)
        async with self.database.transaction() as connection:
            await rows.put(connection, made)
        self.delivery.connection_changed()

    async def disconnect(self) -> None:
        async with self.database.transaction() as connection:
            await rows.remove(connection)
        self.delivery.connection_changed()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Site:
    return Site(database, tmp_path)


pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""What is in the database is one row; the delivery does not care where."""


def test_records_go_to_the_topic_in_their_order(runner: asyncio.Runner, site: Site):
    async def scenario() -> None:
        await site.connect("metrics", "s3cret")
        for number in range(1200):
            site.delivery.put(b"%d" % number)
        site.delivery.start()
        await until(lambda: site.delivery.sent == 1200)
        await site.delivery.close()

    runner.run(scenario())

    assert site.brokers.received == [b"%d" % number for number in range(1200)]
    assert site.brokers.opened == [("metrics", "s3cret")]
    assert site.brokers.closed == 1
    assert (site.delivery.lost, site.delivery.waiting) == (0, 0)


def test_brokers_that_are_away_get_the_records_when_they_are_back(
    runner: asyncio.Runner, site: Site
):
    async def scenario() -> None:
        site.brokers.are_away = True
        await site.connect("metrics")
        site.delivery.start()
        site.delivery.put(b"1")
        await until(lambda: site.brokers.tries >= 2)
        site.delivery.put(b"2")
        site.brokers.are_away = False
        await until(lambda: site.delivery.sent == 2)
        await site.delivery.close()

    runner.run(scenario())

    assert site.brokers.received == [b"1", b"2"]
    assert site.delivery.lost == 0


def test_after_four_minutes_a_record_is_lost_and_counted(runner: asyncio.Runner, site: Site):
    async def scenario() -> None:
        site.brokers.are_away = True
        await site.connect("metrics")
        site.delivery.start()
        site.delivery.put(b"old")
        await until(lambda: site.brokers.tries >= 1)
        site.clock.now_s += INSIGHTS_LIFE_S - 1
        site.delivery.put(b"young")
        site.clock.now_s += 1
        site.delivery.connection_changed()
        await until(lambda: site.delivery.lost == 1)
        site.brokers.are_away = False
        site.delivery.connection_changed()
        await until(lambda: site.delivery.sent == 1)
        await site.delivery.close()

    runner.run(scenario())

    assert site.brokers.received == [b"young"]


def test_without_a_connection_records_are_lost(runner: asyncio.Runner, site: Site):
    async def scenario() -> None:
        site.delivery.start()
        site.delivery.put(b"1")
        await until(lambda: site.delivery.lost == 1)
        await site.connect("metrics")
        site.delivery.put(b"2")
        await until(lambda: site.delivery.sent == 1)
        await site.disconnect()
        site.delivery.put(b"3")
        await until(lambda: site.delivery.lost == 2)
        await site.delivery.close()

    runner.run(scenario())

    assert site.brokers.received == [b"2"]


def test_a_new_connection_is_used_at_once(runner: asyncio.Runner, site: Site):
    async def scenario() -> None:
        await site.connect("first")
        site.delivery.start()
        site.delivery.put(b"1")
        await until(lambda: site.delivery.sent == 1)
        await site.connect("second")
        site.delivery.put(b"2")
        await until(lambda: site.delivery.sent == 2)
        await site.delivery.close()

    runner.run(scenario())

    assert [topic for topic, _ in site.brokers.opened] == ["first", "second"]
    assert site.brokers.closed == 2


def test_what_is_too_much_is_lost_and_nobody_waits(runner: asyncio.Runner, site: Site):
    async def scenario() -> None:
        for _ in range(INSIGHTS_WAITING_MAX + 3):
            site.delivery.put(b"x")
        assert (site.delivery.waiting, site.delivery.lost) == (INSIGHTS_WAITING_MAX, 3)
        await site.connect("metrics")
        site.delivery.start()
        await site.delivery.close()

    runner.run(scenario())

    assert site.delivery.sent == INSIGHTS_WAITING_MAX
