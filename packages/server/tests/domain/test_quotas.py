"""Limits of accounts as they are read, and the time in which budgets are counted."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.quotas import (
    DEFAULT_QUOTAS,
    LARGEST,
    QuotaName,
    budget_exceeded,
    changed,
    check_limits,
    minute_of,
    month_began,
    month_ends,
    month_of,
    seconds_left,
    too_many_in_a_minute,
    too_many_open,
    too_many_waiting,
)

moments = st.datetimes(
    min_value=datetime(1971, 1, 1), max_value=datetime(2999, 1, 1), timezones=st.just(UTC)
)


def test_what_is_not_named_stays_and_null_is_the_limit_of_the_server():
    own = changed({}, check_limits({"calls_per_minute": 5, "storage_bytes": "unlimited"}))
    assert own == {QuotaName.CALLS_PER_MINUTE: 5, QuotaName.STORAGE_BYTES: None}

    own = changed(own, check_limits({"storage_bytes": 0, "calls_per_minute": None}))
    assert own == {QuotaName.STORAGE_BYTES: 0}
    quotas = DEFAULT_QUOTAS.with_own(own)
    assert quotas.storage.bytes_max == 0
    assert quotas.concurrent_calls == DEFAULT_QUOTAS.concurrent_calls


@pytest.mark.parametrize(
    "wanted",
    [
        {"calls": 1},
        {"calls_per_minute": -1},
        {"calls_per_minute": 1.5},
        {"calls_per_minute": True},
        {"calls_per_minute": "5"},
        {"calls_per_minute": [5]},
        {"storage_bytes": 2**53},
        {"concurrent_calls": "unlimited"},
        {"concurrent_calls": LARGEST[QuotaName.CONCURRENT_CALLS] + 1},
    ],
    ids=str,
)
def test_what_cannot_be_a_limit_is_refused(wanted):
    with pytest.raises(InvalidInput) as refused:
        check_limits(wanted)

    assert next(iter(wanted)) in refused.value.message


@given(moments)
def test_a_month_ends_where_the_next_one_begins(moment):
    began, ends = month_began(moment), month_ends(moment)

    assert began <= moment < ends
    assert month_of(ends) != month_of(moment)
    assert month_of(ends - timedelta(microseconds=1)) == month_of(moment)
    assert month_began(ends) == ends


def test_months_are_those_of_utc():
    east = datetime(2031, 6, 1, 1, tzinfo=timezone(timedelta(hours=2)))

    assert month_of(east) == "2031-05"
    assert month_ends(east) == datetime(2031, 6, 1, tzinfo=UTC)
    assert month_ends(datetime(2031, 12, 31, tzinfo=UTC)) == datetime(2032, 1, 1, tzinfo=UTC)


@given(st.floats(0, 4e9))
def test_after_the_seconds_left_it_is_another_minute(now_s):
    left = seconds_left(now_s)

    assert 1 <= left <= 60
    assert minute_of(now_s + left) == minute_of(now_s) + 1
    assert too_many_in_a_minute(3, now_s).retry_after_s == left


def test_a_refusal_names_the_number_the_limit_and_the_renewal():
    error = budget_exceeded(
        QuotaName.COMPUTE_SECONDS_PER_MONTH,
        limit=10,
        used=12.345,
        renews_at=datetime(2031, 6, 1, tzinfo=UTC),
    )

    assert (error.status, error.error_type) == (402, "PaymentRequiredError")
    assert "12.3 of its 10 compute seconds" in error.message
    assert error.fields["renews_at"] == "2031-06-01T00:00:00Z"


@pytest.mark.parametrize(
    "refused",
    [
        too_many_open(0),
        too_many_in_a_minute(0, 12.0),
        too_many_waiting(QuotaName.VOID_CALLS_WAITING, 0, 0),
        too_many_waiting(QuotaName.BUILDS_WAITING, 0, 3),
    ],
    ids=["open", "minute", "void", "builds"],
)
def test_where_nothing_is_allowed_nobody_is_told_to_try_again(refused):
    assert refused.retry_after_s is None
    assert refused.hint == "The limit of this account is 0: only the operator can change that."
    assert refused.fields["limit"] == 0
