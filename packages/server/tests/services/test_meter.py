"""The meter: every record reaches the database once, whatever happens on the way."""

import asyncio
import shutil
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import rows
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from sqlalchemy import delete, select

from algorium_server.domain.errors import Unavailable
from algorium_server.domain.limits import USAGE_HELD_RECORDS_MAX, USAGE_WRITE_S
from algorium_server.domain.usage import UsageRecord
from algorium_server.services.calling.meter import Meter
from algorium_server.store.database import Database
from algorium_server.store.journal import Journal, frame
from algorium_server.store.tables import records

DAY_US = 86_400_000_000
SQLITE_ONLY = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@asynccontextmanager
async def metering(database: Database, directory: Path, **options):
    meter = Meter(database, directory, **options)
    await meter.start()
    try:
        yield meter
    finally:
        await meter.close()


async def crash(meter: Meter) -> None:
    """End a meter as `kill -9` would: nothing is written any more, the kernel drops the locks."""
    for task in meter._tasks:
        task.cancel()
    await asyncio.gather(*meter._tasks, return_exceptions=True)
    await meter._in_thread(meter._journal.close)
    meter._thread.shutdown()


async def stored(database: Database) -> list[str]:
    async with database.reading() as connection:
        found = await connection.execute(select(records.usage.c.request_id))
        return sorted(found.scalars())


async def until(condition, *, timeout_s: float = 60.0) -> None:
    """Wait until *condition*, a coroutine function, returns something true."""
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.01)


def ids(*records: UsageRecord) -> list[str]:
    return sorted(record.request_id for record in records)


def test_records_arrive_by_themselves(database: Database, runner: asyncio.Runner, tmp_path: Path):
    records = [rows.usage_record() for _ in range(1000)]

    async def scenario() -> None:
        async with metering(database, tmp_path / "usage") as meter:
            for record in records:
                meter.record(record)

            async def all_there() -> bool:
                return len(await stored(database)) == len(records)

            await until(all_there)

    runner.run(scenario())

    assert runner.run(stored(database)) == ids(*records)
    assert list(tmp_path.rglob("*.journal")) == []


def test_settling_brings_in_what_was_recorded_before(
    database: Database, runner: asyncio.Runner, tmp_path: Path
):
    async def scenario() -> None:
        async with metering(database, tmp_path / "usage") as meter:
            recorded: list[UsageRecord] = []
            for _ in range(3):
                recorded.append(rows.usage_record())
                meter.record(recorded[-1])
                await asyncio.gather(*(meter.settle() for _ in range(3)))

                assert await stored(database) == ids(*recorded)

    runner.run(scenario())


def test_a_reader_that_goes_away_stops_nothing(
    database: Database, runner: asyncio.Runner, tmp_path: Path
):
    record = rows.usage_record()

    async def scenario() -> None:
        async with metering(database, tmp_path / "usage") as meter:
            meter.record(record)
            reading = asyncio.create_task(meter.settle())
            await asyncio.sleep(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading

    runner.run(scenario())

    assert runner.run(stored(database)) == ids(record)


def test_closing_leaves_nothing_behind(database: Database, runner: asyncio.Runner, tmp_path: Path):
    records = [rows.usage_record() for _ in range(5000)]

    async def scenario() -> None:
        async with metering(database, tmp_path / "usage") as meter:
            for record in records:
                meter.record(record)

    runner.run(scenario())

    assert runner.run(stored(database)) == ids(*records)
    assert list(tmp_path.rglob("*.journal")) == []


def test_a_crash_costs_what_was_recorded_last(
    database: Database, runner: asyncio.Runner, tmp_path: Path
):
    written = [rows.usage_record() for _ in range(10)]
    directory = tmp_path / "usage"

    async def scenario() -> float:
        meter = Meter(database, directory)
        await meter.start()
        began = time.monotonic()
        for record in written:
            meter.record(record)

        async def is_written() -> bool:
            return bool(list(directory.glob("*.journal")))

        await until(is_written)
        took_s = time.monotonic() - began
        meter.record(rows.usage_record())
        await crash(meter)
        async with metering(database, directory):
            pass
        return took_s

    took_s = runner.run(scenario())

    assert runner.run(stored(database)) == ids(*written)
    assert took_s > USAGE_WRITE_S * 0.9


class Away:
    """A database that can be away; otherwise the one it stands for."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.is_away = False

    def transaction(self):
        if self.is_away:
            raise Unavailable("the database is away")
        return self.database.transaction()

    async def write(self, work):
        if self.is_away:
            raise Unavailable("the database is away")
        return await self.database.write(work)

    def reading(self):
        return self.database.reading()


class Lifecycle(RuleBasedStateMachine):
    """Any order of recording, writing, bringing in, crashes and returns."""

    def __init__(self, database: Database, runner: asyncio.Runner, directory: Path) -> None:
        super().__init__()
        self.runner = runner
        self.database = Away(database)
        self.directory = Path(tempfile.mkdtemp(dir=directory))
        self.in_memory: list[UsageRecord] = []
        self.written: list[UsageRecord] = []
        self.meter = runner.run(self.started())
        runner.run(self.cleared())

    async def cleared(self) -> None:
        async with self.database.database.transaction() as connection:
            await connection.execute(delete(records.usage))

    async def started(self) -> Meter:
        meter = Meter(self.database, self.directory)
        # the rules decide when
        meter._keep_writing = meter._keep_importing = asyncio.Event().wait  # type: ignore[method-assign]
        await meter.start()
        return meter

    @rule(count=st.sampled_from([1, 2, 300]))
    def record(self, count: int) -> None:
        records = [rows.usage_record() for _ in range(count)]
        for record in records:
            self.runner.run(self.recorded(record))
        self.in_memory += records

    async def recorded(self, record: UsageRecord) -> None:
        self.meter.record(record)

    @rule()
    def write(self) -> None:
        self.runner.run(self.meter._write())
        self.written += self.in_memory
        self.in_memory = []

    @rule()
    def bring_in(self) -> None:
        self.write()
        if self.database.is_away:
            if list(self.directory.glob("*.journal")):
                with pytest.raises(Unavailable):
                    self.runner.run(self.meter._import())
            return
        self.runner.run(self.meter.settle())
        assert self.runner.run(stored(self.database)) == ids(*self.written)
        assert list(self.directory.glob("*.journal")) == []

    @rule(is_away=st.booleans())
    def database_goes_or_returns(self, is_away: bool) -> None:
        self.database.is_away = is_away

    @rule(torn=st.binary(max_size=40))
    def crash(self, torn: bytes) -> None:
        self.runner.run(crash(self.meter))
        self.in_memory = []
        for path in self.directory.glob("*.journal"):
            with path.open("ab") as file:
                file.write(torn)
        self.meter = self.runner.run(self.started())

    @rule()
    def crash_between_commit_and_removal(self) -> None:
        self.write()
        copies = self.directory / "copies"
        copies.mkdir()
        for path in self.directory.glob("*.journal"):
            shutil.copy(path, copies)
        self.bring_in()
        self.crash(b"")
        for path in copies.iterdir():
            if not (self.directory / path.name).exists():
                path.rename(self.directory / path.name)
        shutil.rmtree(copies)
        self.runner.run(crash(self.meter))
        self.meter = self.runner.run(self.started())

    @rule()
    def stop_and_start(self) -> None:
        self.runner.run(self.closed())
        self.written += self.in_memory
        self.in_memory = []
        self.meter = self.runner.run(self.started())

    async def closed(self) -> None:
        for task in self.meter._tasks:
            task.cancel()
        await self.meter.close()

    def teardown(self) -> None:
        self.database.is_away = False
        self.runner.run(self.closed())
        self.written += self.in_memory
        assert self.runner.run(stored(self.database)) == ids(*self.written)
        assert list(self.directory.iterdir()) in ([], [self.directory / "lock"])


@pytest.mark.slow
def test_nothing_written_is_lost_and_nothing_comes_twice(
    database: Database, runner: asyncio.Runner, tmp_path: Path
):
    run_state_machine_as_test(
        lambda: Lifecycle(database, runner, tmp_path),
        settings=settings(
            max_examples=30,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


@SQLITE_ONLY
def test_calls_never_wait_for_the_database(
    database: Database, runner: asyncio.Runner, tmp_path: Path
):
    records = [rows.usage_record() for _ in range(3000)]

    async def scenario() -> float:
        async with metering(database, tmp_path / "usage") as meter:
            async with database.transaction():  # SQLite's only writer is taken
                longest_s = 0.0
                for record in records:
                    began = time.monotonic()
                    meter.record(record)
                    longest_s = max(longest_s, time.monotonic() - began)

                async def is_written() -> bool:
                    return bool(list(tmp_path.rglob("*.journal")))

                await until(is_written)
                assert await stored(database) == []
            await meter.settle()
            return longest_s

    longest_s = runner.run(scenario())

    assert runner.run(stored(database)) == ids(*records)
    assert longest_s < 0.05


@SQLITE_ONLY
def test_without_a_journal_records_go_to_the_database(
    database: Database, runner: asyncio.Runner, tmp_path: Path
):
    (tmp_path / "file").touch()
    record, later = rows.usage_record(), rows.usage_record()

    async def scenario() -> None:
        async with metering(database, tmp_path / "file" / "usage") as meter:
            meter.record(record)

            async def is_there() -> bool:
                return await stored(database) == ids(record)

            await until(is_there)
            (tmp_path / "file").unlink()
            meter.record(later)
            await meter.settle()

    runner.run(scenario())

    assert runner.run(stored(database)) == ids(record, later)


@SQLITE_ONLY
def test_when_nobody_takes_records_the_meter_is_full_until_somebody_does(
    database: Database, runner: asyncio.Runner, tmp_path: Path
):
    (tmp_path / "file").touch()
    away = Away(database)
    away.is_away = True
    record = rows.usage_record()
    records = [
        rows.changed(record, request_id=f"req-{number}")
        for number in range(USAGE_HELD_RECORDS_MAX + 1)
    ]

    async def scenario() -> None:
        async with metering(away, tmp_path / "file" / "usage") as meter:
            for each in records[:-1]:
                meter.record(each)
            await meter._write()
            assert not meter.is_full
            meter.record(records[-1])
            await meter._write()
            assert meter.is_full

            away.is_away = False

            async def has_room() -> bool:
                return not meter.is_full

            await until(has_room)
            (tmp_path / "file").unlink()
            await meter.settle()

    runner.run(scenario())

    assert len(runner.run(stored(database))) == len(records)


@SQLITE_ONLY
def test_a_long_journal_makes_the_meter_full_until_it_is_brought_in(
    database: Database, runner: asyncio.Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("algorium_server.services.calling.meter.USAGE_JOURNAL_BYTES_MAX", 10_000)
    away = Away(database)
    away.is_away = True

    async def scenario() -> None:
        async with metering(away, tmp_path / "usage") as meter:
            for _ in range(100):
                meter.record(rows.usage_record())
            await meter._write()
            assert meter.is_full
            with pytest.raises(Unavailable):
                await meter.settle()
            assert meter.is_full

            away.is_away = False
            await meter.settle()

            assert not meter.is_full

    runner.run(scenario())


@SQLITE_ONLY
def test_a_batch_that_nobody_can_read_is_put_aside_and_the_others_come(
    database: Database, runner: asyncio.Runner, tmp_path: Path
):
    journal = Journal(tmp_path, segment_bytes_max=1)
    journal.append(b"no records")
    journal.close()
    record = rows.usage_record()

    async def scenario() -> None:
        async with metering(database, tmp_path) as meter:
            meter.record(record)
            await meter.settle()

    runner.run(scenario())

    assert runner.run(stored(database)) == ids(record)
    (kept,) = tmp_path.glob("*.rejected")
    assert kept.read_bytes() == frame(b"no records")


def test_old_records_go_and_others_stay(database: Database, runner: asyncio.Runner, tmp_path: Path):
    now_us = rows.NOW_US + 400 * DAY_US
    kept = rows.usage_record(started_us=rows.NOW_US)
    old = [rows.usage_record(started_us=rows.NOW_US - 1) for _ in range(3)]

    async def scenario() -> int:
        options = {"keep_days": 400, "clock_us": lambda: now_us}
        async with metering(database, tmp_path / "usage", **options) as meter:
            for record in (kept, *old):
                meter.record(record)
            await meter.settle()
            return await meter.prune()

    assert runner.run(scenario()) == len(old)
    assert runner.run(stored(database)) == ids(kept)
