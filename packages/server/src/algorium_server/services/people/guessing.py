"""
Wrong passwords of late, counted on one gateway or on all of this machine.

    counted for                 at once   stops
    account and address         10        whoever guesses one password
    address, any account        50        whoever tries one password with every name
    account, any address        100       whoever guesses from everywhere

Every count is of a name as it was typed, so it is the same whether somebody is called like that. Of
IPv6 the network counts as the address: one machine has very many. Beyond an allowance the next
attempt is due after seconds, not minutes. What others do elsewhere keeps nobody out who has signed
in from the same place before.

A single gateway counts in a dictionary. Several share a table in memory that their parent made,
with the rows and locks of `calling/admission.py`:

    row = digest of what is counted (16 bytes) | when all is forgotten, in milliseconds (2 words)

A row whose time has passed is free. If all eight of a bucket are taken, the one that would be free
first makes room: who has guessed most stays.
"""

from collections import OrderedDict
from typing import Final, Protocol

from algorium_server.domain.limits import PASSWORD_FAILURES_KEPT_MAX
from algorium_server.domain.passwords import (
    PER_ACCOUNT,
    PER_ACCOUNT_AND_ADDRESS,
    PER_ADDRESS,
    Allowance,
    typed_as,
)
from algorium_server.services.calling.admission import ROWS_PER_BUCKET, SharedRows
from algorium_server.telemetry import logger

_BUCKETS: Final = PASSWORD_FAILURES_KEPT_MAX // ROWS_PER_BUCKET
_LOCKED_S: Final = 1.0
"""To wait where the table does not answer: nobody guesses meanwhile."""

_log = logger(__name__)


class Guesses(Protocol):
    """Keeps when wrong passwords are forgotten, by what they are counted for."""

    def wait_s(self, counted: str, allowance: Allowance, *, now: float) -> float:
        """Return for how long no password is looked at."""

    def fail(self, counted: str, allowance: Allowance, *, now: float) -> None:
        """Take in a wrong password."""

    def forget(self, counted: str) -> None:
        """Forget all wrong ones."""


class OwnGuesses:
    """Counts for the only gateway."""

    def __init__(self) -> None:
        self._forgotten_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._forgotten_at)

    def wait_s(self, counted: str, allowance: Allowance, *, now: float) -> float:
        """Return for how long no password is looked at."""
        return allowance.wait_s(self._forgotten_at.get(counted, 0.0), now=now)

    def fail(self, counted: str, allowance: Allowance, *, now: float) -> None:
        """Take in a wrong password."""
        before = self._forgotten_at.get(counted, 0.0)
        self._forgotten_at[counted] = allowance.after_failure(before, now=now)
        self._forgotten_at.move_to_end(counted)
        while len(self._forgotten_at) > PASSWORD_FAILURES_KEPT_MAX:
            self._forgotten_at.popitem(last=False)

    def forget(self, counted: str) -> None:
        """Forget all wrong ones."""
        self._forgotten_at.pop(counted, None)


class GuessTable(SharedRows):
    """
    The table that the gateways of one machine share.

    Args:
        descriptor: Of a file in memory, of which this process has no other descriptor.
        buckets: How many it has, the same for everybody.
    """

    def __init__(self, descriptor: int, *, buckets: int = _BUCKETS) -> None:
        super().__init__(descriptor, buckets=buckets, cells=2)


class SharedGuesses:
    """
    Counts for one of several gateways; all have the same clock, that of the machine.

    Args:
        table: What they share.
    """

    def __init__(self, table: GuessTable) -> None:
        self._table = table

    def wait_s(self, counted: str, allowance: Allowance, *, now: float) -> float:
        """Return for how long no password is looked at."""
        bucket, digest = self._table.place_of(counted)
        try:
            with self._table.locked(bucket):
                cells = self._table.find(bucket, digest)
                forgotten_at = 0.0 if cells is None else self._read(cells)
        except TimeoutError:
            _log.warning("the table of wrong passwords is locked; a sign-in is refused")
            return _LOCKED_S
        return allowance.wait_s(forgotten_at, now=now)

    def fail(self, counted: str, allowance: Allowance, *, now: float) -> None:
        """Take in a wrong password."""
        bucket, digest = self._table.place_of(counted)
        try:
            with self._table.locked(bucket):
                cells = self._table.find(bucket, digest)
                if cells is None:
                    cells = min(self._table.rows_of(bucket), key=self._read)
                    self._write(cells, 0.0)
                    self._table.name(cells, digest)
                self._write(cells, allowance.after_failure(self._read(cells), now=now))
        except TimeoutError:
            _log.warning("the table of wrong passwords is locked; one is not counted")

    def forget(self, counted: str) -> None:
        """Forget all wrong ones."""
        bucket, digest = self._table.place_of(counted)
        try:
            with self._table.locked(bucket):
                cells = self._table.find(bucket, digest)
                if cells is not None:
                    self._write(cells, 0.0)
        except TimeoutError:
            _log.warning("the table of wrong passwords is locked; some count longer than needed")

    def _read(self, cells: int) -> float:
        words = self._table.words
        return (words[cells] | words[cells + 1] << 32) / 1000

    def _write(self, cells: int, forgotten_at: float) -> None:
        words = self._table.words
        milliseconds = round(forgotten_at * 1000)
        words[cells] = milliseconds & 0xFFFF_FFFF
        words[cells + 1] = milliseconds >> 32


class Guessing:
    """
    When a password may be tried.

    Args:
        guesses: Where wrong ones are counted.
    """

    def __init__(self, guesses: Guesses) -> None:
        self._guesses = guesses

    def wait_s(self, username: str, place: str, *, now: float, is_at_home: bool) -> float:
        """
        Return for how long no password is looked at, 0 if one may be tried.

        Args:
            username: Whose, as typed.
            place: From where.
            now: Monotonic seconds.
            is_at_home: The account has signed in there before.
        """
        return max(
            self._guesses.wait_s(counted, allowance, now=now)
            for counted, allowance in _counted(username, place)
            if not (is_at_home and allowance is PER_ACCOUNT)
        )

    def fail(self, username: str, place: str, *, now: float) -> None:
        """Take in a wrong password."""
        for counted, allowance in _counted(username, place):
            self._guesses.fail(counted, allowance, now=now)

    def attempt(self, what: str, place: str, *, now: float) -> float:
        """Count something else that is tried from somewhere; return for how long it is refused."""
        counted = f"{what} {place}"
        wait_s = self._guesses.wait_s(counted, PER_ADDRESS, now=now)
        if not wait_s:
            self._guesses.fail(counted, PER_ADDRESS, now=now)
        return wait_s

    def succeed(self, username: str, place: str) -> None:
        """
        Take in the right password: whoever knows it mistyped before.

        What was tried with other names, or from elsewhere, stays counted.
        """
        (counted, _), *_ = _counted(username, place)
        self._guesses.forget(counted)


def _counted(username: str, place: str) -> tuple[tuple[str, Allowance], ...]:
    name = typed_as(username).encode("utf-8", "backslashreplace").decode()
    return (
        (f"both {place} {name}", PER_ACCOUNT_AND_ADDRESS),
        (f"address {place}", PER_ADDRESS),
        (f"account {name}", PER_ACCOUNT),
    )
