"""What becomes of jobs that did not end by themselves."""

from datetime import timedelta

import rows
from hypothesis import given
from hypothesis import strategies as st

from algorium_server.domain.jobs import NotDelivered, RetryLater
from algorium_server.domain.limits import JOB_ATTEMPTS_MAX, JOB_RETRY_S_FIRST, JOB_RETRY_S_MAX
from algorium_server.jobs.retry import (
    GiveUp,
    Requeue,
    after_interruption,
    after_not_delivered,
    backoff_s,
)

NOW = rows.NOW


def job(**fields):
    return rows.job("account", **({"attempts": 1} | fields))


def test_what_was_not_delivered_waits_a_little_and_runs_again():
    decision = after_not_delivered(job(), NotDelivered("no slot"), now=NOW)

    assert decision == Requeue(due_at=NOW + timedelta(seconds=JOB_RETRY_S_FIRST), reason="no slot")


def test_a_handler_may_choose_the_delay():
    decision = after_not_delivered(job(), RetryLater("busy", after_s=7), now=NOW)

    assert decision == Requeue(due_at=NOW + timedelta(seconds=7), reason="busy")


def test_a_delay_never_lies_in_the_past():
    decision = after_not_delivered(job(), RetryLater(after_s=-7), now=NOW)

    assert decision == Requeue(due_at=NOW, reason="not delivered")


def test_attempts_end():
    decision = after_not_delivered(job(attempts=JOB_ATTEMPTS_MAX), NotDelivered("full"), now=NOW)

    reason = f"gave up after {JOB_ATTEMPTS_MAX} attempts: full"
    assert decision == GiveUp(reason=reason, may_have_run=False)


def test_what_may_have_run_is_never_run_twice():
    expected = GiveUp(reason="restart", may_have_run=True)
    assert after_interruption(job(), "restart", now=NOW) == expected


def test_an_idempotent_job_is_run_again_until_attempts_end():
    again = after_interruption(job(is_idempotent=True), "restart", now=NOW)
    last = job(is_idempotent=True, attempts=JOB_ATTEMPTS_MAX)

    assert isinstance(again, Requeue)
    assert isinstance(after_interruption(last, "restart", now=NOW), GiveUp)


@given(attempts=st.integers(0, 10_000))
def test_delays_grow_up_to_a_limit(attempts: int):
    assert JOB_RETRY_S_FIRST <= backoff_s(attempts) <= backoff_s(attempts + 1) <= JOB_RETRY_S_MAX


def test_all_attempts_together_take_about_an_hour():
    total_s = sum(backoff_s(attempt) for attempt in range(1, JOB_ATTEMPTS_MAX))

    assert 0.8 * 3600 < total_s < 1.2 * 3600
