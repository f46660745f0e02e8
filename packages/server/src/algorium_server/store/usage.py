"""
Usage rows: written in bulk, read by page and in sums, deleted when old.

A record that is there already is left alone, so that writing may be repeated: the first word about
a call counts. Rows are made ahead (`rows_of`), by whoever has the time, and go to the driver as
they are: for thousands of them the detour over the columns' types would cost more than the insert.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Dialect,
    Select,
    Tuple,
    case,
    delete,
    func,
    literal,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from algorium_server.domain.usage import (
    FAILED,
    Dimension,
    UsageFilter,
    UsageOutcome,
    UsageRecord,
    UsageSubject,
    UsageTotal,
    day_of,
    key_names,
)
from algorium_server.store.tables.records import usage as table

Row: TypeAlias = tuple[Any, ...]
"""A record in the order of the table's columns."""

_ROWS_PER_STATEMENT: Final = 500
"""SQLite takes 32,766 values at a time."""

_DAY_US: Final = 24 * 3600 * 1_000_000
_DAY: Final = (table.c.started_us // _DAY_US).label("day")


def rows_of(records: Iterable[UsageRecord]) -> list[Row]:
    """Return records as `add` wants them. Touches no database: may run in any thread."""
    return [
        (
            record.request_id,
            record.tree_id,
            record.started_us,
            (subject := record.subject).account_id,
            subject.caller,
            subject.key_id,
            subject.algorithm_id,
            subject.algorithm,
            subject.version,
            subject.commit_sha,
            record.outcome.value,
            record.error_type,
            record.is_void,
            record.queue_s,
            record.load_s,
            record.run_s,
            record.cpu_s,
            record.peak_memory_bytes,
            record.input_bytes,
            record.output_bytes,
        )
        for record in records
    ]


async def add(connection: AsyncConnection, rows: Sequence[Row]) -> None:
    """Insert rows, except those that are there already."""
    if not rows:
        return
    dialect = connection.dialect
    if dialect.name != "sqlite":
        await connection.exec_driver_sql(_insertion(dialect), list(rows))
        return
    # Many rows in one statement: a row each would take and give the interpreter's lock a thousand
    # times, and whatever serves calls would wait for it as often.
    for at in range(0, len(rows), _ROWS_PER_STATEMENT):
        some = rows[at : at + _ROWS_PER_STATEMENT]
        await connection.exec_driver_sql(
            _insertion_of_many(dialect, len(some)), tuple(chain.from_iterable(some))
        )


@lru_cache(maxsize=4)
def _insertion(dialect: Dialect) -> str:
    insert = sqlite.insert if dialect.name == "sqlite" else postgresql.insert
    statement = insert(table).on_conflict_do_nothing()
    return str(statement.compile(dialect=dialect, column_keys=[column.name for column in table.c]))


@lru_cache(maxsize=8)
def _insertion_of_many(dialect: Dialect, rows: int) -> str:
    one = _insertion(dialect)
    values = one[one.index("VALUES (") + len("VALUES ") : one.rindex(")", 0, one.index(" ON ")) + 1]
    return one.replace(values, ", ".join([values] * rows), 1)


async def page(
    connection: AsyncConnection,
    wanted: UsageFilter,
    *,
    limit: int,
    before: tuple[int, str] | None = None,
) -> list[UsageRecord]:
    """
    Return records, newest first.

    Args:
        connection: To read from.
        wanted: Which ones.
        limit: How many at most.
        before: Start and request id of the last one of the page before.
    """
    key = (table.c.started_us, table.c.request_id)
    statement = _filtered(select(table), wanted)
    if before is not None:
        statement = statement.where(tuple_(*key) < _literals(key, before))
    statement = statement.order_by(*(column.desc() for column in key)).limit(limit)
    result = await connection.execute(statement)
    return [_record_of(row) for row in result.mappings()]


async def totals(
    connection: AsyncConnection,
    wanted: UsageFilter,
    *,
    by: Iterable[Dimension],
    limit: int,
    after: Sequence[str | int] | None = None,
) -> list[UsageTotal]:
    """
    Return sums, ordered by what they are told apart by.

    Args:
        connection: To read from.
        wanted: Of which records.
        by: What to tell apart; a version always with its algorithm.
        limit: How many sums at most.
        after: Key of the last one of the page before.
    """
    columns = [_DAY if name == "day" else table.c[name] for name in key_names(by)]
    statement = _filtered(select(*columns, *_SUMS), wanted).group_by(*columns)
    if not columns:
        statement = statement.having(func.count() > 0)
    elif after is not None:
        bare = [getattr(column, "element", column) for column in columns]  # without their labels
        statement = statement.where(tuple_(*bare) > _literals(bare, after))
    result = await connection.execute(statement.order_by(*columns).limit(limit))
    return [_total_of(row) for row in result.mappings()]


async def prune(connection: AsyncConnection, *, before_us: int, limit: int) -> int:
    """Delete the oldest of the records from before a moment, about *limit*; return how many."""
    old = select(table.c.started_us).where(table.c.started_us < before_us)
    old = old.order_by(table.c.started_us).limit(1)
    oldest = await connection.scalar(old)
    if oldest is None:
        return 0
    beyond = await connection.scalar(old.offset(limit))
    # At least the oldest moment goes, however many calls share it, or this would never end.
    end_us = before_us if beyond is None else max(beyond, oldest + 1)
    result = await connection.execute(delete(table).where(table.c.started_us < end_us))
    return result.rowcount


def _filtered(statement: Select[Any], wanted: UsageFilter) -> Select[Any]:
    columns = table.c
    conditions: list[ColumnElement[bool]] = []
    if wanted.since_us is not None:
        conditions.append(columns.started_us >= wanted.since_us)
    if wanted.until_us is not None:
        conditions.append(columns.started_us < wanted.until_us)
    if wanted.account_ids is not None:
        conditions.append(columns.account_id.in_(wanted.account_ids))
    if wanted.algorithm_id:
        conditions.append(columns.algorithm_id == wanted.algorithm_id)
    if wanted.algorithm:
        conditions.append(columns.algorithm == wanted.algorithm)
    if wanted.owner:
        # Names of algorithms begin with their owner's; "0" is what follows "/" in byte order.
        begins = columns.algorithm >= f"{wanted.owner}/", columns.algorithm < f"{wanted.owner}0"
        conditions.extend(begins)
    if wanted.without_refused:
        conditions.append(columns.outcome != UsageOutcome.REFUSED.value)
    return statement.where(*conditions)


def _literals(columns: Iterable[Any], values: Iterable[str | int]) -> Tuple:
    """Return values with the columns' types: PostgreSQL takes no large number for a small one."""
    pairs = zip(columns, values, strict=True)
    return tuple_(*(literal(value, column.type) for column, value in pairs))


def _count_if(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)


_HAS_FAILED: Final = table.c.outcome.in_(sorted(outcome.value for outcome in FAILED))
_BILLED_S: Final = case((table.c.run_s < 1.0, 1.0), else_=table.c.run_s)
_SUMS: Final = (
    func.count().label("calls"),
    _count_if(_HAS_FAILED).label("errors"),
    _count_if(table.c.outcome == UsageOutcome.CANCELLED.value).label("cancelled"),
    _count_if(table.c.outcome == UsageOutcome.REFUSED.value).label("refused"),
    func.sum(table.c.queue_s).label("queue_s"),
    func.sum(table.c.load_s).label("load_s"),
    func.sum(table.c.run_s).label("run_s"),
    func.sum(table.c.cpu_s).label("cpu_s"),
    func.max(table.c.peak_memory_bytes).label("peak_memory_bytes"),
    func.sum(table.c.input_bytes).label("input_bytes"),
    func.sum(table.c.output_bytes).label("output_bytes"),
    func.sum(_BILLED_S).label("billed_s"),
    func.sum(case((_HAS_FAILED, _BILLED_S), else_=0.0)).label("billed_error_s"),
)
_WHOLE: Final = frozenset(
    {"calls", "errors", "cancelled", "refused", "input_bytes", "output_bytes"}
)
"""Sums that PostgreSQL returns as decimals."""


def _record_of(row: Any) -> UsageRecord:
    fields = dict(row)
    subject = UsageSubject(**{name: fields.pop(name) for name in UsageSubject.__struct_fields__})
    outcome = UsageOutcome(fields.pop("outcome"))
    return UsageRecord(subject=subject, outcome=outcome, **fields)


def _total_of(row: Any) -> UsageTotal:
    fields: dict[str, Any] = {
        name: int(value) if name in _WHOLE else value for name, value in row.items()
    }
    if "day" in fields:
        fields["day"] = day_of(fields["day"])
    return UsageTotal(**fields)
