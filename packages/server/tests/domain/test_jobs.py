"""Jobs are valid from birth."""

from datetime import UTC, datetime

import pytest

from algorium_server.domain.jobs import Job, JobState, NotDelivered, RetryLater

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_new_job_is_queued_and_due():
    job = Job.new("req-1", "call", account_id="a", payload=b"x", now=NOW)

    assert job.state is JobState.QUEUED
    assert (job.due_at, job.created_at, job.attempts, job.fence) == (NOW, NOW, 0, 0)
    assert not job.is_idempotent


def test_a_job_refuses_times_without_a_zone():
    with pytest.raises(ValueError, match="time zone"):
        Job.new("req-1", "call", account_id="a", payload=b"x", now=NOW.replace(tzinfo=None))


def test_not_delivered_is_a_reason_to_retry():
    assert isinstance(NotDelivered("no slot"), RetryLater)
    assert str(NotDelivered()) == "not delivered"
    assert RetryLater(after_s=3).after_s == 3
