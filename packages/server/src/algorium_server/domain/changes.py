"""Changes: which of the values that every gateway keeps in memory was written anew."""

from dataclasses import dataclass
from enum import StrEnum


class ChangeKind(StrEnum):
    """What was written."""

    ACCOUNT = "account"
    MEMBERSHIP = "membership"
    KEY = "key"
    ALGORITHM = "algorithm"
    BUILD = "build"
    VERSION = "version"
    SCM = "scm"
    SLOTS = "slots"
    SESSION = "session"
    QUOTA = "quota"
    RESERVATION = "reservation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """
    One value that was added, changed or removed; what it is now, its own row says.

    Attributes:
        number: Grows in the order in which changes become visible; some numbers are missing.
        subject: Id of the value; of a membership, see `membership_subject`.
    """

    number: int
    kind: ChangeKind
    subject: str


def membership_subject(*, organization_id: str, user_id: str) -> str:
    """Return what a change of a user's role in an organization names."""
    return f"{organization_id}:{user_id}"


def membership_of(subject: str) -> tuple[str, str]:
    """Return organization id and user id that `membership_subject` put together."""
    organization_id, _, user_id = subject.partition(":")
    return organization_id, user_id
