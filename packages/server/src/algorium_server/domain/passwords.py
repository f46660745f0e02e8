"""
Passwords: what they must be like, and when guessing is stopped. Hashing is in `services/passwords`.

Passwords are for people and for git; programs use keys.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final

from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.limits import (
    ACCOUNT_NAME_CHARS_MAX,
    PASSWORD_BYTES_MAX,
    PASSWORD_CHARS_MIN,
    PASSWORD_FAILURES_KEPT_MAX,
    PASSWORD_FAILURES_MAX,
    PASSWORD_FAILURES_PER_ACCOUNT_MAX,
    PASSWORD_FAILURES_S,
)

_EVERYWHERE: Final = ""


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


@dataclass(slots=True)
class Failures:
    """
    Wrong passwords of late: of an account from one address, and of it from everywhere.

    How many accounts and addresses are remembered is bounded; the least recent are forgotten.
    """

    _times: OrderedDict[tuple[str, str], deque[float]] = field(default_factory=OrderedDict)

    def wait_s(self, username: str, address: str, *, now: float) -> float:
        """
        Return for how long no password is looked at, 0 if one may be tried.

        Args:
            username: Whose, as written.
            address: Who tries.
            now: Monotonic seconds.
        """
        name = _known_by(username)
        return max(
            self._wait_s((name, address), PASSWORD_FAILURES_MAX, now),
            self._wait_s((name, _EVERYWHERE), PASSWORD_FAILURES_PER_ACCOUNT_MAX, now),
        )

    def note(self, username: str, address: str, *, now: float) -> None:
        """Take in a wrong password."""
        name = _known_by(username)
        for key, count_max in (
            ((name, address), PASSWORD_FAILURES_MAX),
            ((name, _EVERYWHERE), PASSWORD_FAILURES_PER_ACCOUNT_MAX),
        ):
            times = self._times.setdefault(key, deque(maxlen=count_max))
            times.append(now)
            self._times.move_to_end(key)
        while len(self._times) > PASSWORD_FAILURES_KEPT_MAX:
            self._times.popitem(last=False)

    def forget(self, username: str, address: str) -> None:
        """Take in the right password: whoever knows it mistyped before."""
        self._times.pop((_known_by(username), address), None)

    def _wait_s(self, key: tuple[str, str], count_max: int, now: float) -> float:
        times = self._times.get(key)
        if times is None or len(times) < count_max:
            return 0.0
        return max(times[0] + PASSWORD_FAILURES_S - now, 0.0)


def _known_by(username: str) -> str:
    # Strangers write what they like; what is too long to be a name takes no more room than one.
    return username.lower()[: ACCOUNT_NAME_CHARS_MAX + 1]
