"""
Quotas: how much of the installation an account may use, and what is said when that is reached.

| quota | what is bounded | beyond it |
|---|---|---|
| `concurrent_calls` | calls open at the same time | 429 |
| `calls_per_minute` | calls begun in a minute of the clock | 429 |
| `void_calls_waiting` | void calls accepted and not done | 429 |
| `builds_waiting` | builds asked for and not done | 429 |
| `storage_bytes`, `storage_files` | what is stored | 507 |
| `build_minutes_per_month` | time of builds that ended in the month | 402 |
| `compute_seconds_per_month` | time that calls of the month ran | 402 |

An account has the limits of the server, and in their place those that an administrator set for it.
A call counts for the account whose key made it, also when algorithms make further calls for it; a
build and a file for the account that owns the algorithm or the collection.

Months are those of the calendar in UTC: a budget is whole again when the next one begins.

Source: wire specification, "Roles and rights" (work limits), "Limits".
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from algorium_server.domain.errors import BudgetExceeded, InvalidInput, TooManyRequests
from algorium_server.domain.limits import (
    BUILDS_WAITING_PER_OWNER_MAX,
    CALLS_IN_FLIGHT_PER_ACCOUNT_MAX,
    QUOTA_BUILDS_WAITING_MAX,
    QUOTA_CONCURRENT_CALLS_MAX,
    QUOTA_VALUE_MAX,
    QUOTA_VOID_CALLS_WAITING_MAX,
    VOID_CALLS_WAITING_PER_ACCOUNT_MAX,
)
from algorium_server.domain.storage import Quota

UNLIMITED: Final = "unlimited"
"""How people and programs write that there is no limit."""
BUSY_RETRY_S: Final = 1
"""When to try again where calls that end make room: nobody knows, but soon."""
_MINUTE_S: Final = 60
_NEVER: Final = "The limit of this account is 0: only the operator can change that."
"""Instead of when to try again: programs that wait and retry would do it for ever."""


class QuotaName(StrEnum):
    """What is limited; the values are those of the wire."""

    CONCURRENT_CALLS = "concurrent_calls"
    CALLS_PER_MINUTE = "calls_per_minute"
    VOID_CALLS_WAITING = "void_calls_waiting"
    BUILDS_WAITING = "builds_waiting"
    STORAGE_BYTES = "storage_bytes"
    STORAGE_FILES = "storage_files"
    BUILD_MINUTES_PER_MONTH = "build_minutes_per_month"
    COMPUTE_SECONDS_PER_MONTH = "compute_seconds_per_month"


MONTHLY: Final = frozenset({QuotaName.BUILD_MINUTES_PER_MONTH, QuotaName.COMPUTE_SECONDS_PER_MONTH})
"""Those that are used up, and whole again with the next month."""
LARGEST: Final[Mapping[QuotaName, int]] = {
    QuotaName.CONCURRENT_CALLS: QUOTA_CONCURRENT_CALLS_MAX,
    QuotaName.VOID_CALLS_WAITING: QUOTA_VOID_CALLS_WAITING_MAX,
    QuotaName.BUILDS_WAITING: QUOTA_BUILDS_WAITING_MAX,
}
"""What waits or is open takes room of everybody, so these are never unlimited."""

Limits = Mapping[QuotaName, int | None]
"""Limits by name; None for no limit. A name that is missing says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """All limits of an account; None for no limit, 0 for nothing at all."""

    concurrent_calls: int = CALLS_IN_FLIGHT_PER_ACCOUNT_MAX
    calls_per_minute: int | None = None
    void_calls_waiting: int = VOID_CALLS_WAITING_PER_ACCOUNT_MAX
    builds_waiting: int = BUILDS_WAITING_PER_OWNER_MAX
    storage_bytes: int | None = None
    storage_files: int | None = None
    build_minutes_per_month: int | None = None
    compute_seconds_per_month: int | None = None

    def limit(self, name: QuotaName) -> int | None:
        """Return one of them."""
        found: int | None = getattr(self, name.value)
        return found

    def with_own(self, own: Limits) -> "Quotas":
        """Return them with an account's own limits in their place."""
        changes = {name.value: limit for name, limit in own.items()}
        return replace(self, **changes)  # type: ignore[arg-type]  # `check_limits` was asked before

    @property
    def storage(self) -> Quota:
        """Those of stored files."""
        return Quota(bytes_max=self.storage_bytes, files_max=self.storage_files)


DEFAULT_QUOTAS: Final = Quotas()
"""What a server allows whose operator says nothing."""
assert [field.name for field in fields(Quotas)] == [name.value for name in QuotaName]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaState:
    """
    One quota of an account as it is shown.

    Attributes:
        limit: None for no limit.
        used: None where nothing is counted, since there is no limit.
        renews_at: When *used* begins anew; None if it does not by itself.
        is_default: The limit is that of the server.
    """

    name: QuotaName
    limit: int | None
    used: float | None
    renews_at: datetime | None
    is_default: bool


def check_limits(wanted: Mapping[str, object]) -> dict[QuotaName, int | str | None]:
    """
    Read what somebody wants the limits of an account to be.

    Args:
        wanted: By name: a number, `unlimited`, or None for the limit of the server.

    Raises:
        InvalidInput: There is no such quota, or it cannot be that.
    """
    names = {name.value: name for name in QuotaName}
    read: dict[QuotaName, int | str | None] = {}
    for text, value in wanted.items():
        if text not in names:
            known = ", ".join(names)
            raise InvalidInput(f"there is no quota {text[:100]!r}: there are {known}")
        read[names[text]] = _checked(names[text], value)
    return read


def changed(
    own: Limits, wanted: Mapping[QuotaName, int | str | None]
) -> dict[QuotaName, int | None]:
    """Return an account's own limits after what `check_limits` read; what is not named stays."""
    made = dict(own)
    for name, value in wanted.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = None if isinstance(value, str) else value
    return made


def _checked(name: QuotaName, value: object) -> int | str | None:
    if value is None:
        return None
    most = LARGEST.get(name)
    if value == UNLIMITED:
        if most is not None:
            raise InvalidInput(f"{name} is never unlimited: say a number up to {most}")
        return UNLIMITED
    most = most or QUOTA_VALUE_MAX
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        otherwise = "" if name in LARGEST else f", {UNLIMITED!r}"
        raise InvalidInput(
            f"{name} must be a whole number from 0 to {most}{otherwise}, or null for the limit of"
            " the server"
        )
    return value


# Time


def month_of(moment: datetime) -> str:
    """Return the month of a moment, such as `2031-05`."""
    return f"{moment.astimezone(UTC):%Y-%m}"


def month_began(moment: datetime) -> datetime:
    """Return when the month of a moment began."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def month_ends(moment: datetime) -> datetime:
    """Return when the month of a moment ends, and budgets are whole again."""
    began = month_began(moment)
    if began.month == 12:
        return began.replace(year=began.year + 1, month=1)
    return began.replace(month=began.month + 1)


def minute_of(now_s: float) -> int:
    """Return the number of a minute of the clock."""
    return int(now_s) // _MINUTE_S


def seconds_left(now_s: float) -> int:
    """Return after how many whole seconds the next minute of the clock has begun."""
    return _MINUTE_S - int(now_s) % _MINUTE_S


# Refusals


def busy(message: str) -> TooManyRequests:
    """Return what is said when something is full that soon has room again."""
    return TooManyRequests(message, retry_after_s=BUSY_RETRY_S)


def too_many_open(limit: int) -> TooManyRequests:
    """Return what is said when too many calls are open."""
    return TooManyRequests(
        "Too many requests: concurrent session limit reached",
        hint=f"At most {limit} calls of one account may run." if limit else _NEVER,
        fields={"quota": QuotaName.CONCURRENT_CALLS.value, "limit": limit, "used": limit},
        retry_after_s=BUSY_RETRY_S if limit else None,
    )


def too_many_in_a_minute(limit: int, now_s: float) -> TooManyRequests:
    """Return what is said when too many calls have begun in this minute."""
    wait_s = seconds_left(now_s)
    return TooManyRequests(
        f"Too many requests: the account may make {limit} calls a minute",
        hint=f"Try again in {wait_s} s, when the next minute begins." if limit else _NEVER,
        fields={"quota": QuotaName.CALLS_PER_MINUTE.value, "limit": limit, "used": limit},
        retry_after_s=wait_s if limit else None,
    )


def too_many_waiting(name: QuotaName, limit: int, used: int) -> TooManyRequests:
    """Return what is said when too many void calls or builds wait."""
    if name is QuotaName.VOID_CALLS_WAITING:
        message = f"Too many requests: {used} void calls are waiting to run"
        hint = f"At most {limit} void calls of one account may wait."
    else:
        message = (
            f"{used} builds of this account are waiting already: ask again when some have ended,"
            " or cancel some"
        )
        hint = f"At most {limit} builds of one account may wait."
    return TooManyRequests(
        message,
        hint=hint if limit else _NEVER,
        fields={"quota": name.value, "limit": limit, "used": used},
        retry_after_s=BUSY_RETRY_S if limit else None,
    )


def budget_exceeded(
    name: QuotaName, *, limit: int, used: float, renews_at: datetime
) -> BudgetExceeded:
    """Return what is said when a month's budget is used up."""
    what = {
        QuotaName.BUILD_MINUTES_PER_MONTH: "build minutes",
        QuotaName.COMPUTE_SECONDS_PER_MONTH: "compute seconds",
    }[name]
    day = f"{renews_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    used = round(used, 1)
    return BudgetExceeded(
        f"the account has used {used:g} of its {limit} {what} of this month, which ends at {day}",
        hint="The operator may raise the budget before.",
        fields={"quota": name.value, "limit": limit, "used": used, "renews_at": day},
    )
