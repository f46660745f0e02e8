"""
Usage: what every call took, and sums of it.

A record is a fact about the past: it names accounts, algorithms and versions as they were called,
refers to nothing that can be deleted, and holds no text that a caller or an algorithm wrote.

Source: wire specification, "Usage and governance".
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec


class UsageOutcome(StrEnum):
    """
    How a call ended. Exactly one for each admitted call.

    | outcome       | who ended it | what was it                                              |
    |---------------|--------------|----------------------------------------------------------|
    | `success`     | algorithm    | a result                                                 |
    | `error`       | algorithm    | an error of any type, loading and memory included        |
    | `timeout`     | platform     | the deadline passed, in line, while loading or running   |
    | `cancelled`   | caller       | the connection was closed before the answer              |
    | `refused`     | platform     | no slot ran it: input not accepted, line full, no room   |
    | `interrupted` | platform     | the server stopped, or died, while it ran                |
    """

    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    INTERRUPTED = "interrupted"


FAILED: Final = frozenset({UsageOutcome.ERROR, UsageOutcome.TIMEOUT, UsageOutcome.INTERRUPTED})
"""Outcomes that count as errors in reports; a caller that goes away has made none."""


class UsageSubject(
    msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False, cache_hash=True
):
    """
    Who called what: the part of a record that all calls of one kind share.

    Attributes:
        account_id: Who called, and is billed; under sudo, too, and for calls that algorithms make.
        caller: Username of that account.
        key_id: The key that was shown, empty without one.
        algorithm: `owner/name`.
        version: `1.2.3`; empty if a commit was called.
        commit_sha: What ran.
    """

    account_id: str
    caller: str
    key_id: str
    algorithm_id: str
    algorithm: str
    version: str
    commit_sha: str


class UsageRecord(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """
    One call. At rest the fields are known by their order: new ones come last, with a default.

    Attributes:
        request_id: Of the call.
        tree_id: Request id of the root of its call tree; its own, unless an algorithm called.
        started_us: When it was admitted, in microseconds since 1970 UTC.
        outcome: How it ended.
        error_type: Of an `error` or `timeout`; the kind of refusal of a `refused` one.
        is_void: Its caller did not wait.
        queue_s: In line; for void calls from when they were accepted.
        load_s: While a slot was started for it.
        run_s: In its slot.
        cpu_s: CPU time of the slot, see `engine/consumption.py`.
        peak_memory_bytes: The most that its slot ever held up to its end.
        input_bytes: Of the input as the algorithm got it.
        output_bytes: Of the result as the algorithm gave it; 0 unless it was answered.
    """

    request_id: str
    tree_id: str
    started_us: int
    subject: UsageSubject
    outcome: UsageOutcome
    error_type: str
    is_void: bool
    queue_s: float
    load_s: float
    run_s: float
    cpu_s: float
    peak_memory_bytes: int
    input_bytes: int
    output_bytes: int


class Dimension(StrEnum):
    """What sums can be told apart by."""

    ACCOUNT = "account"
    ALGORITHM = "algorithm"
    VERSION = "version"
    DAY = "day"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFilter:
    """
    Which records are asked for; None and empty do not restrict.

    Attributes:
        since_us: Admitted at or after this moment.
        until_us: Admitted before this moment.
        account_ids: Billed to one of these.
        algorithm_id: Calls of this algorithm.
        algorithm: Calls of whatever had this name.
        owner: Calls of what an account of this name owned.
        without_refused: Leave out what no slot ran.
    """

    since_us: int | None = None
    until_us: int | None = None
    account_ids: tuple[str, ...] | None = None
    algorithm_id: str = ""
    algorithm: str = ""
    owner: str = ""
    without_refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTotal:
    """
    A sum over records.

    The first five say of which; they are empty where the sum was not told apart.

    Attributes:
        day: As `2026-03-29`, UTC.
        calls: How many, all outcomes together.
        peak_memory_bytes: The largest.
        billed_s: `run_s`, but at least a second for each call.
        billed_error_s: The same, of calls that failed.
    """

    caller: str = ""
    algorithm: str = ""
    version: str = ""
    commit_sha: str = ""
    day: str = ""
    calls: int
    errors: int
    cancelled: int
    refused: int
    queue_s: float
    load_s: float
    run_s: float
    cpu_s: float
    peak_memory_bytes: int
    input_bytes: int
    output_bytes: int
    billed_s: float
    billed_error_s: float


SUMMED: Final = tuple(field.name for field in fields(UsageTotal))[5:]
"""Names of the numbers of a sum."""

_KEYS: Final = {
    Dimension.ACCOUNT: ("caller",),
    Dimension.ALGORITHM: ("algorithm",),
    Dimension.VERSION: ("algorithm", "version", "commit_sha"),
    Dimension.DAY: ("day",),
}
_EPOCH: Final = date(1970, 1, 1)


def key_names(by: Iterable[Dimension]) -> tuple[str, ...]:
    """Return which fields tell sums apart, in the order by which they are sorted."""
    wanted = frozenset(by)
    names = (name for each in Dimension if each in wanted for name in _KEYS[each])
    return tuple(dict.fromkeys(names))


def key_of(total: UsageTotal, by: Iterable[Dimension]) -> tuple[str | int, ...]:
    """Return what tells *total* apart from the other sums; a day as its number since 1970."""
    return tuple(
        (date.fromisoformat(total.day) - _EPOCH).days if name == "day" else getattr(total, name)
        for name in key_names(by)
    )


def day_of(number: int) -> str:
    """Return the day with this number as text."""
    return (_EPOCH + timedelta(days=number)).isoformat()


def us_of(moment: datetime) -> int:
    """Return a moment as microseconds since 1970 UTC."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def moment_of(us: int) -> datetime:
    """Return the moment so many microseconds after 1970 UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
