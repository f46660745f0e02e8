"""
Durable work: a job, its states, and how a handler says that nothing ran.

    queued ──claim──> running ──finish──> done
      ^                  │ └─────fail───> failed
      └─────release──────┘

Each claim raises the job's *fence*. Whoever finishes, fails, releases or prolongs a job shows the
fence of its own claim; a runner that was thought dead and comes back finds its fence outdated.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """
    One piece of durable work.

    Attributes:
        job_id: A UUID or a request id; given by whoever queues it.
        kind: Selects the handler.
        queue: Jobs of one queue run one after the other; those without one as they come.
        account_id: For whom it is done.
        payload: The handler's business; emptied when the job is done.
        is_idempotent: It may run again although an earlier run may have had effects.
        attempts: How often it was claimed.
        fence: Rises with every claim and never falls.
        worker: Who claimed it last.
        due_at: Not claimed before this time.
        lease_until: While running: when the runner counts as dead unless it prolongs.
        error: Why it failed, or why it was put back last.
    """

    job_id: str
    kind: str
    account_id: str
    payload: bytes
    queue: str = ""
    is_idempotent: bool = False
    state: JobState = JobState.QUEUED
    attempts: int = 0
    fence: int = 0
    worker: str = ""
    due_at: datetime
    lease_until: datetime | None = None
    created_at: datetime
    finished_at: datetime | None = None
    error: str = ""

    def __post_init__(self) -> None:
        for moment in (self.due_at, self.lease_until, self.created_at, self.finished_at):
            if moment is not None and moment.tzinfo is None:
                raise ValueError(f"job {self.job_id}: a time without a time zone")

    @classmethod
    def new(
        cls,
        job_id: str,
        kind: str,
        *,
        account_id: str,
        payload: bytes,
        now: datetime,
        queue: str = "",
        is_idempotent: bool = False,
    ) -> "Job":
        """Return a job that may be claimed at once."""
        return cls(
            job_id=job_id,
            kind=kind,
            account_id=account_id,
            payload=payload,
            queue=queue,
            is_idempotent=is_idempotent,
            due_at=now,
            created_at=now,
        )


class RetryLater(Exception):
    """
    A handler's word that the job has had no effect yet and should be tried again.

    Attributes:
        after_s: Wait this long; None leaves it to the retry policy.
    """

    def __init__(self, reason: str = "", *, after_s: float | None = None) -> None:
        super().__init__(reason or "not delivered")
        self.after_s = after_s


class NotDelivered(RetryLater):
    """The work never reached what should have done it: no slot, no room in the queue, no host."""


class JobFailed(Exception):
    """A handler's word that the job came to its end, and that this end is a failure to note."""
