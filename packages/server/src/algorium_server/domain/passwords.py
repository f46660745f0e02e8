"""
Passwords: what they must be like, and when guessing is stopped. Hashing is in `services/passwords`.

Passwords are for people and for git; programs use keys.
"""

from dataclasses import dataclass
from typing import Final

from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.limits import (
    ACCOUNT_TEXT_CHARS_MAX,
    PASSWORD_BYTES_MAX,
    PASSWORD_CHARS_MIN,
    PASSWORD_FAILURES_MAX,
    PASSWORD_FAILURES_PER_ACCOUNT_MAX,
    PASSWORD_FAILURES_PER_ADDRESS_MAX,
    PASSWORD_FAILURES_S,
)


def check_password(password: str) -> str:
    """
    Return *password* if it can be one.

    Raises:
        InvalidInput: It is too short, or too long. It is not repeated in the message.
    """
    if len(password) < PASSWORD_CHARS_MIN:
        raise InvalidInput(f"a password needs {PASSWORD_CHARS_MIN} characters at least")
    try:
        size_bytes = len(password.encode())
    except UnicodeEncodeError:
        raise InvalidInput("a password must be text") from None
    if size_bytes > PASSWORD_BYTES_MAX:
        raise InvalidInput(f"a password has {PASSWORD_BYTES_MAX} bytes at most")
    return password


@dataclass(frozen=True, slots=True)
class Allowance:
    """
    How many wrong passwords are taken at once, and how soon again more.

    One number says all: when everything wrong is forgotten. Each wrong password moves that further
    away, by as much as the allowance takes to grow by one.

    Attributes:
        failures_max: At once; as many again in `PASSWORD_FAILURES_S`.
    """

    failures_max: int

    @property
    def step_s(self) -> float:
        """What one wrong password costs."""
        return PASSWORD_FAILURES_S / self.failures_max

    def wait_s(self, forgotten_at: float, *, now: float) -> float:
        """Return for how long no password is looked at, 0 if one may be tried."""
        return max(forgotten_at - now - (self.failures_max - 1) * self.step_s, 0.0)

    def after_failure(self, forgotten_at: float, *, now: float) -> float:
        """Return when everything is forgotten after one more; never longer than a window away."""
        return min(max(forgotten_at, now) + self.step_s, now + PASSWORD_FAILURES_S)


PER_ACCOUNT_AND_ADDRESS: Final = Allowance(PASSWORD_FAILURES_MAX)
PER_ADDRESS: Final = Allowance(PASSWORD_FAILURES_PER_ADDRESS_MAX)
PER_ACCOUNT: Final = Allowance(PASSWORD_FAILURES_PER_ACCOUNT_MAX)


def counted_as(typed: str) -> str:
    """
    Return what a typed name, or e-mail address, counts as.

    All spellings with which the same account is found count together. What is too long for an
    address takes no more room.
    """
    return typed.strip().lower()[: ACCOUNT_TEXT_CHARS_MAX + 1]
