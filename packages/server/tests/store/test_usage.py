"""Usage rows on both databases."""

import asyncio
from collections import Counter
from itertools import groupby

import pytest
import rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from algorium_server.domain.usage import (
    FAILED,
    Dimension,
    UsageFilter,
    UsageOutcome,
    UsageRecord,
    UsageTotal,
    key_of,
)
from algorium_server.store import usage
from algorium_server.store.database import Database
from algorium_server.store.tables.records import usage as usage_table

EVERYTHING = UsageFilter()
DAY_US = 86_400_000_000


async def added(database: Database, *records: UsageRecord) -> None:
    async with database.transaction() as connection:
        await usage.add(connection, usage.rows_of(records))


async def paged(database: Database, wanted: UsageFilter = EVERYTHING, **how) -> list[UsageRecord]:
    async with database.reading() as connection:
        return await usage.page(connection, wanted, **({"limit": 1000} | how))


async def summed(database: Database, *by: Dimension, **how) -> list[UsageTotal]:
    wanted = how.pop("wanted", EVERYTHING)
    async with database.reading() as connection:
        return await usage.totals(connection, wanted, by=by, **({"limit": 1000} | how))


def newest_first(records) -> list[UsageRecord]:
    return sorted(records, key=lambda r: (r.started_us, r.request_id), reverse=True)


def test_a_record_comes_back_as_it_went(database: Database, runner: asyncio.Runner):
    record = rows.usage_record(
        outcome=UsageOutcome.ERROR,
        error_type="AlgorithmError",
        is_void=True,
        queue_s=0.1,
        load_s=1e-7,
        run_s=2999.999999,
        cpu_s=0.123456789,
        peak_memory_bytes=2**40,
        input_bytes=10 * 2**20,
        output_bytes=15_000_000,
    )

    async def scenario():
        await added(database, record)
        return await paged(database)

    assert runner.run(scenario()) == [record]


def test_the_first_word_about_a_call_counts(database: Database, runner: asyncio.Runner):
    first = rows.usage_record(outcome=UsageOutcome.SUCCESS)
    other = rows.usage_record()
    second = rows.changed(first, outcome=UsageOutcome.INTERRUPTED)

    async def scenario():
        await added(database, first)
        await added(database, second, other, second)
        await added(database)
        return await paged(database)

    assert runner.run(scenario()) == newest_first([first, other])


def test_pages_follow_each_other_also_among_calls_of_one_moment(
    database: Database, runner: asyncio.Runner
):
    records = [rows.usage_record(started_us=rows.NOW_US + number // 7) for number in range(40)]

    async def scenario():
        await added(database, *records)
        found: list[UsageRecord] = []
        before = None
        while page := await paged(database, limit=6, before=before):
            found += page
            before = (page[-1].started_us, page[-1].request_id)
            # What comes in meanwhile is newer than the first page, and stays out of the others.
            await added(database, rows.usage_record(started_us=rows.NOW_US + DAY_US))
        return found

    assert runner.run(scenario()) == newest_first(records)


def test_filters_restrict(database: Database, runner: asyncio.Runner):
    jane = rows.usage_subject(caller="jane")
    joe = rows.usage_subject(caller="joe", algorithm="lab/Other")
    early = rows.usage_record(subject=jane, started_us=rows.NOW_US)
    late = rows.usage_record(subject=jane, started_us=rows.NOW_US + 10)
    refused = rows.usage_record(subject=joe, outcome=UsageOutcome.REFUSED)
    runner.run(added(database, early, late, refused))

    def found(**fields) -> list[UsageRecord]:
        return runner.run(paged(database, UsageFilter(**fields)))

    assert found(account_ids=(jane.account_id,)) == [late, early]
    assert found(account_ids=(joe.account_id, "nobody")) == [refused]
    assert found(account_ids=()) == []
    assert found(algorithm_id=joe.algorithm_id) == [refused]
    assert found(algorithm="lab/Other") == [refused]
    assert found(without_refused=True) == [late, early]
    assert found(since_us=late.started_us, until_us=late.started_us + 1) == [late]
    assert found(since_us=rows.NOW_US, until_us=rows.NOW_US + 10, without_refused=True) == [early]


def test_without_calls_there_are_no_sums(database: Database, runner: asyncio.Runner):
    assert runner.run(summed(database)) == []
    assert runner.run(summed(database, Dimension.DAY)) == []


SECONDS = st.sampled_from([0.0, 0.25, 1.0, 2.5])
SUBJECTS = [
    rows.usage_subject(caller=caller, algorithm=algorithm, version=version, commit_sha=sha)
    for caller in ("Zoe", "jane")
    for algorithm in ("lab/a", "lab/B")
    for version, sha in (("1.0.0", "aa"), ("", "bb"))
]
RECORDS = st.builds(
    rows.usage_record,
    subject=st.sampled_from(SUBJECTS),
    outcome=st.sampled_from(UsageOutcome),
    started_us=st.sampled_from([-1, 0, DAY_US - 1, 20_000 * DAY_US, 20_001 * DAY_US - 1]).filter(
        lambda us: us >= 0
    ),
    queue_s=SECONDS,
    load_s=SECONDS,
    run_s=SECONDS,
    cpu_s=SECONDS,
    peak_memory_bytes=st.integers(0, 2**40),
    input_bytes=st.integers(0, 2**40),
    output_bytes=st.integers(0, 2**40),
)


def day_of(record: UsageRecord) -> str:
    return {0: "1970-01-01", 20_000: "2024-10-04"}[record.started_us // DAY_US]


def expected_key(record: UsageRecord, by: set[Dimension]) -> tuple[str, ...]:
    subject = record.subject
    has_version = Dimension.VERSION in by
    return (
        subject.caller if Dimension.ACCOUNT in by else "",
        subject.algorithm if by & {Dimension.ALGORITHM, Dimension.VERSION} else "",
        subject.version if has_version else "",
        subject.commit_sha if has_version else "",
        day_of(record) if Dimension.DAY in by else "",
    )


def expected_total(key: tuple[str, ...], records: list[UsageRecord]) -> UsageTotal:
    failed = [record for record in records if record.outcome in FAILED]
    outcomes = Counter(record.outcome for record in records)
    names = ("queue_s", "load_s", "run_s", "cpu_s", "input_bytes", "output_bytes")
    caller, algorithm, version, commit_sha, day = key
    return UsageTotal(
        caller=caller,
        algorithm=algorithm,
        version=version,
        commit_sha=commit_sha,
        day=day,
        calls=len(records),
        errors=len(failed),
        cancelled=outcomes[UsageOutcome.CANCELLED],
        refused=outcomes[UsageOutcome.REFUSED],
        peak_memory_bytes=max(record.peak_memory_bytes for record in records),
        billed_s=sum(max(record.run_s, 1.0) for record in records),
        billed_error_s=sum(max(record.run_s, 1.0) for record in failed),
        **{name: sum(getattr(record, name) for record in records) for name in names},
    )


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=st.lists(RECORDS, max_size=12),
    by=st.sets(st.sampled_from(Dimension)),
    limit=st.integers(1, 5),
)
def test_sums_are_those_of_the_records_page_by_page(
    database: Database, runner: asyncio.Runner, records, by, limit
):
    async def scenario() -> list[UsageTotal]:
        async with database.transaction() as connection:
            await connection.execute(delete(usage_table))
        await added(database, *records)
        found: list[UsageTotal] = []
        after = None
        while page := await summed(database, *by, limit=limit, after=after):
            assert len(page) <= limit
            found += page
            if not by:
                break
            after = key_of(page[-1], by)
        return found

    groups = groupby(
        sorted(records, key=lambda r: expected_key(r, by)), key=lambda r: expected_key(r, by)
    )
    assert runner.run(scenario()) == [expected_total(key, list(group)) for key, group in groups]


def test_sums_are_told_apart_as_asked(database: Database, runner: asyncio.Runner):
    runner.run(added(database, rows.usage_record()))
    by = (Dimension.VERSION,)

    (total,) = runner.run(summed(database, *by))

    assert key_of(total, by) == (total.algorithm, total.version, total.commit_sha)
    assert (total.caller, total.algorithm, total.version) == ("", "demo/Hello", "1.0.0")


@pytest.mark.parametrize("limit", [1, 4, 100])
def test_old_records_go_in_steps_and_new_ones_stay(
    database: Database, runner: asyncio.Runner, limit: int
):
    old = [rows.usage_record(started_us=number // 3) for number in range(12)]
    new = [rows.usage_record(started_us=number) for number in (4, 5)]

    async def scenario():
        await added(database, *old, *new)
        deleted = []
        while True:
            async with database.transaction() as connection:
                count = await usage.prune(connection, before_us=4, limit=limit)
            if not count:
                return deleted, await paged(database)
            deleted.append(count)

    deleted, left = runner.run(scenario())

    assert left == newest_first(new)
    assert sum(deleted) == len(old)
    assert max(deleted) <= max(limit, 3)
