"""
What becomes of a job that did not end by itself: run again, and when, or be given up.

The rule behind both functions: a job runs again only if nothing of it can have happened yet, or
its owner has declared that twice is as good as once.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from algorium_server.domain.jobs import Job, RetryLater
from algorium_server.domain.limits import JOB_ATTEMPTS_MAX, JOB_RETRY_S_FIRST, JOB_RETRY_S_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Requeue:
    """Put it back; it runs again when it is due."""

    due_at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """
    Mark it as failed.

    Attributes:
        may_have_run: Whether anything of it can have happened.
        is_reported: Its handler said so itself, and has told whom it concerns.
    """

    reason: str
    may_have_run: bool = True
    is_reported: bool = False


Decision = Requeue | GiveUp


def after_not_delivered(job: Job, refusal: RetryLater, *, now: datetime) -> Decision:
    """
    Decide about a job whose handler says that nothing ran.

    Args:
        job: As claimed; its attempts include the one that ended now.
        refusal: What the handler raised; its delay counts before ours.
        now: The time.
    """
    if job.attempts >= JOB_ATTEMPTS_MAX:
        reason = f"gave up after {job.attempts} attempts: {refusal}"
        return GiveUp(reason=reason, may_have_run=False)
    delay_s = backoff_s(job.attempts) if refusal.after_s is None else max(refusal.after_s, 0.0)
    return Requeue(due_at=now + timedelta(seconds=delay_s), reason=str(refusal))


def after_interruption(job: Job, reason: str, *, now: datetime) -> Decision:
    """Decide about a job whose runner went away in the middle, so that anything may have run."""
    if not job.is_idempotent:
        return GiveUp(reason=reason)
    if job.attempts >= JOB_ATTEMPTS_MAX:
        return GiveUp(reason=f"gave up after {job.attempts} attempts: {reason}")
    return Requeue(due_at=now + timedelta(seconds=backoff_s(job.attempts)), reason=reason)


def backoff_s(attempts: int) -> float:
    """Return how long to wait after so many attempts: twice as long each time, up to a limit."""
    doublings = min(max(attempts, 1) - 1, 62)
    return min(JOB_RETRY_S_FIRST * 2.0**doublings, JOB_RETRY_S_MAX)
