"""
Governance reports: what was used, by day, told apart by organization, account or algorithm.

| metric | of | is |
|---|---|---|
| `executions` | calls | calls that a slot ran |
| `errors` | calls | those that failed |
| `cpu_core_s` | calls | processor time |
| `cpu_time_s` | calls | time in slots |
| `cpu_cost` | calls | that time, at the rate that an administrator has set, otherwise 0 |
| `memory_mib` | calls | the most that one slot held |
| `hosted_storage_mib` | accounts | stored at the end of the day, or lately of the present one |
| `members` | organizations | now |
| `algorithms` | accounts | now |

Calls count for the organization that owns the algorithm, for the account that called, or for the
version that ran. Days are those of UTC. Nothing here runs on GPUs, and what connected sources store
is theirs to say, so there are no metrics of these.

Source: wire specification, "Governance reports".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import StrEnum
from typing import Final

from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.limits import GOVERNANCE_DAYS_MAX, MIB
from algorium_server.domain.usage import UsageTotal

_EPOCH: Final = date(1970, 1, 1)
_RATE_MAX: Final = 1_000_000.0
_DEFAULT_DAYS: Final = 30


class Grouping(StrEnum):
    """What rows are told apart by, beside the day."""

    ORGANIZATION = "organization"
    ACCOUNT = "account"
    ALGORITHM = "algorithm"


class Rate(StrEnum):
    """A price that an administrator may set."""

    CPU_SECOND = "cpu_second"


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """
    Days of a report.

    Attributes:
        first: The first one.
        last: The last one, which is part of it.
    """

    first: date
    last: date

    @property
    def numbers(self) -> tuple[int, int]:
        """Return both as numbers since 1970."""
        return number_of(self.first), number_of(self.last)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """
    A row of a report.

    Attributes:
        day: As `2026-03-29`.
        subject: The organization, the account or `owner/name`.
        version: Of an algorithm; a commit if that was called.
    """

    day: str
    subject: str
    version: str = ""
    executions: int = 0
    errors: int = 0
    cpu_core_s: float = 0.0
    cpu_time_s: float = 0.0
    cpu_cost: float = 0.0
    memory_mib: float = 0.0
    hosted_storage_mib: float | None = None
    members: int | None = None
    algorithms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What an account stored on a day."""

    day: int
    account: str
    bytes: int


def days_of(first: str, last: str, *, today: date) -> Days:
    """
    Read which days somebody asks for; the last thirty by default.

    Raises:
        InvalidInput: One is no date, they are in the wrong order, or there are too many.
    """
    end = _date(last, "end_date") if last else today
    begin = _date(first, "start_date") if first else end - timedelta(days=_DEFAULT_DAYS - 1)
    if begin > end:
        raise InvalidInput("start_date is after end_date")
    if (end - begin).days >= GOVERNANCE_DAYS_MAX:
        raise InvalidInput(f"a report covers {GOVERNANCE_DAYS_MAX} days at most")
    return Days(first=begin, last=end)


def _date(text: str, name: str) -> date:
    try:
        found = date.fromisoformat(text[:10])
        if not 1970 <= found.year <= 9000 or not found.isoformat() == text[:10]:
            raise ValueError
    except ValueError:
        raise InvalidInput(
            f"{name} must be a date such as 2026-03-29, not {text[:100]!r}"
        ) from None
    return found


def number_of(day: date) -> int:
    """Return a day as its number since 1970."""
    return (day - _EPOCH).days


def day_text(number: int) -> str:
    """Return the day with a number as text."""
    return (_EPOCH + timedelta(days=number)).isoformat()


def check_rates(rates: Mapping[str, float]) -> dict[Rate, float]:
    """Return prices by what they are for; `InvalidInput` if one is none, or for nothing."""
    checked = {}
    for name, value in rates.items():
        if name not in set(Rate):
            raise InvalidInput(f"there is no rate {name[:100]!r}: there are {', '.join(Rate)}")
        if not 0.0 <= value <= _RATE_MAX:
            raise InvalidInput(f"{name} must be a number from 0 to {_RATE_MAX:.0f}")
        checked[Rate(name)] = value
    return checked


def rows_of(
    totals: Iterable[UsageTotal],
    stored: Iterable[Stored],
    *,
    by: Grouping,
    organizations: frozenset[str],
    rates: Mapping[Rate, float],
) -> list[ReportRow]:
    """
    Put a report together.

    Args:
        totals: Sums of usage by day, and by account or version.
        stored: What accounts stored.
        by: What rows are told apart by.
        organizations: Their names.
        rates: What things cost.

    Returns:
        By day, then by what they are about.
    """
    rows: dict[tuple[str, str, str], ReportRow] = {}
    price = rates.get(Rate.CPU_SECOND, 0.0)
    for total in totals:
        key = _key(total, by)
        if by is Grouping.ORGANIZATION and key[1] not in organizations:
            continue
        row = rows.get(key) or ReportRow(day=key[0], subject=key[1], version=key[2])
        rows[key] = _more(row, total, price)
    if by is not Grouping.ALGORITHM:
        for each in stored:
            if by is Grouping.ORGANIZATION and each.account not in organizations:
                continue
            day = day_text(each.day)
            row = rows.get((day, each.account, "")) or ReportRow(day=day, subject=each.account)
            mib = round(each.bytes / MIB, 6)
            rows[day, each.account, ""] = replace(row, hosted_storage_mib=mib)
    return [rows[key] for key in sorted(rows)]


def _key(total: UsageTotal, by: Grouping) -> tuple[str, str, str]:
    match by:
        case Grouping.ORGANIZATION:
            return total.day, total.algorithm.partition("/")[0], ""
        case Grouping.ACCOUNT:
            return total.day, total.caller, ""
        case Grouping.ALGORITHM:
            return total.day, total.algorithm, total.version or total.commit_sha


def _more(row: ReportRow, total: UsageTotal, price: float) -> ReportRow:
    return replace(
        row,
        executions=row.executions + total.calls,
        errors=row.errors + total.errors,
        cpu_core_s=round(row.cpu_core_s + total.cpu_s, 6),
        cpu_time_s=round(row.cpu_time_s + total.run_s, 6),
        cpu_cost=round(row.cpu_cost + total.run_s * price, 4),
        memory_mib=max(row.memory_mib, round(total.peak_memory_bytes / MIB, 3)),
    )
