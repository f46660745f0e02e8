"""
Wrong passwords of late, counted on one gateway or on all of this machine.

    counted for                 at once   stops
    account and address         10        whoever guesses one password
    address, any account        50        whoever tries one password with every name
    account, any address        100       whoever guesses from everywhere

Every count is of a name as it was typed, so it is the same whether somebody is called like that. An
account with a username and an e-mail address has two names: it is counted twice, since one count
for both would tell strangers that they belong together. Of IPv6 the network counts as the address:
one machine has very many. Beyond an allowance the next attempt is due after seconds, not minutes.

An account is *at home* in the places from which it has signed in of late. What others do elsewhere
keeps nobody out there. Elsewhere it does, as long as they go on: they take each turn that comes.

A single gateway counts in a dictionary. Several share a table in memory that their parent made,
with rows and locks as in `services/shared_rows.py`:

    guess = digest of what is counted | when all is forgotten, in milliseconds (2 words)
    home  = digest of account and place | when it was signed in from, in milliseconds (2 words)

A guess whose time has passed is free. If all eight of a bucket are taken, the one that would be
free first makes room: who has guessed most stays. Homes have buckets of their own, and all those of
an account are in one, so nobody fills the table by signing in from many places.
"""

from collections import OrderedDict
from typing import Final, Protocol

from algorium_server.domain.limits import (
    PASSWORD_FAILURES_KEPT_MAX,
    PASSWORD_PLACES_KEPT_MAX,
    PASSWORD_PLACES_PER_ACCOUNT_MAX,
)
from algorium_server.domain.passwords import (
    PER_ACCOUNT,
    PER_ACCOUNT_AND_ADDRESS,
    PER_ADDRESS,
    Allowance,
    counted_as,
)
from algorium_server.services.shared_rows import ROWS_PER_BUCKET, SharedRows
from algorium_server.telemetry import logger

_BUCKETS: Final = PASSWORD_FAILURES_KEPT_MAX // ROWS_PER_BUCKET
_HOME_BUCKETS: Final = PASSWORD_PLACES_KEPT_MAX // ROWS_PER_BUCKET
_LOCKED_S: Final = 1.0
"""To wait where the table does not answer: nobody guesses meanwhile."""

_log = logger(__name__)


class Guesses(Protocol):
    """Keeps when wrong passwords are forgotten, by what they are counted for, and homes."""

    def wait_s(self, counted: str, allowance: Allowance, *, now: float) -> float:
        """Return for how long no password is looked at."""

    def fail(self, counted: str, allowance: Allowance, *, now: float) -> None:
        """Take in a wrong password."""

    def forget(self, counted: str) -> None:
        """Forget all wrong ones."""

    def is_home(self, account_id: str, place: str) -> bool:
        """Whether an account has signed in from a place of late."""

    def note_home(self, account_id: str, place: str, *, now: float) -> None:
        """Take in that an account has signed in from a place."""


class OwnGuesses:
    """Counts for the only gateway."""

    def __init__(self) -> None:
        self._forgotten_at: OrderedDict[str, float] = OrderedDict()
        self._homes: OrderedDict[str, OrderedDict[str, float]] = OrderedDict()

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

    def is_home(self, account_id: str, place: str) -> bool:
        """Whether an account has signed in from a place of late."""
        return place in self._homes.get(account_id, ())

    def note_home(self, account_id: str, place: str, *, now: float) -> None:
        """Take in that an account has signed in from a place."""
        homes = self._homes.setdefault(account_id, OrderedDict())
        homes[place] = now
        homes.move_to_end(place)
        if len(homes) > PASSWORD_PLACES_PER_ACCOUNT_MAX:
            homes.popitem(last=False)
        self._homes.move_to_end(account_id)
        if len(self._homes) > PASSWORD_PLACES_KEPT_MAX // PASSWORD_PLACES_PER_ACCOUNT_MAX:
            self._homes.popitem(last=False)


class GuessTable(SharedRows):
    """
    The table that the gateways of one machine share.

    Args:
        descriptor: Of a file in memory, of which this process has no other descriptor.
        buckets: How many it has for guesses, the same for everybody.
        home_buckets: How many it has for homes; likewise.
    """

    def __init__(
        self, descriptor: int, *, buckets: int = _BUCKETS, home_buckets: int = _HOME_BUCKETS
    ) -> None:
        super().__init__(descriptor, buckets=buckets + home_buckets, cells=2)
        self._guesses = range(buckets)
        self._homes = range(buckets, buckets + home_buckets)

    def place_of(self, name: str) -> tuple[int, bytes]:
        """Return the bucket of what is counted, and its digest."""
        return self.bucket_of(name, self._guesses), self.digest_of(name)

    def home_of(self, account_id: str, place: str) -> tuple[int, bytes]:
        """Return the bucket of an account's homes, and the digest of one of them."""
        return self.bucket_of(account_id, self._homes), self.digest_of(f"{account_id} {place}")


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
                cells = self._row(bucket, digest)
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

    def is_home(self, account_id: str, place: str) -> bool:
        """Whether an account has signed in from a place of late."""
        bucket, digest = self._table.home_of(account_id, place)
        try:
            with self._table.locked(bucket):
                return self._table.find(bucket, digest) is not None
        except TimeoutError:
            _log.warning("the table of wrong passwords is locked; a home is taken for elsewhere")
            return False

    def note_home(self, account_id: str, place: str, *, now: float) -> None:
        """Take in that an account has signed in from a place."""
        bucket, digest = self._table.home_of(account_id, place)
        try:
            with self._table.locked(bucket):
                self._write(self._row(bucket, digest), now)
        except TimeoutError:
            _log.warning("the table of wrong passwords is locked; a home is not noted")

    def _row(self, bucket: int, digest: bytes) -> int:
        """Find or make a row; the one with the earliest time makes room."""
        cells = self._table.find(bucket, digest)
        if cells is None:
            cells = min(self._table.rows_of(bucket), key=self._read)
            self._write(cells, 0.0)
            self._table.name(cells, digest)
        return cells

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
    When a password may be tried, or the code of an invite.

    Args:
        guesses: Where wrong ones are counted.
    """

    def __init__(self, guesses: Guesses) -> None:
        self._guesses = guesses

    def wait_s(self, typed: str, place: str, *, now: float, is_at_home: bool) -> float:
        """
        Return for how long no password is looked at, 0 if one may be tried.

        Args:
            typed: Whose, as typed.
            place: From where.
            now: Monotonic seconds.
            is_at_home: The account has signed in there before.
        """
        return max(
            self._guesses.wait_s(counted, allowance, now=now)
            for counted, allowance in _counted(typed, place)
            if not (is_at_home and allowance is PER_ACCOUNT)
        )

    def fail(self, typed: str, place: str, *, now: float) -> None:
        """Take in a wrong password."""
        for counted, allowance in _counted(typed, place):
            self._guesses.fail(counted, allowance, now=now)

    def succeed(self, typed: str, place: str) -> None:
        """
        Take in the right password: whoever knows it mistyped before.

        What was tried with other names, or from elsewhere, stays counted.
        """
        (counted, _), *_ = _counted(typed, place)
        self._guesses.forget(counted)

    def is_home(self, account_id: str, place: str) -> bool:
        """Whether an account has signed in from a place of late."""
        return self._guesses.is_home(account_id, place)

    def note_home(self, account_id: str, place: str, *, now: float) -> None:
        """Take in that an account has signed in from a place."""
        self._guesses.note_home(account_id, place, now=now)

    def code_wait_s(self, place: str, *, now: float) -> float:
        """Return for how long no code of an invite is looked at, 0 if one may be tried."""
        return self._guesses.wait_s(f"code {place}", PER_ADDRESS, now=now)

    def fail_code(self, place: str, *, now: float) -> None:
        """Take in a wrong code."""
        self._guesses.fail(f"code {place}", PER_ADDRESS, now=now)


def _counted(typed: str, place: str) -> tuple[tuple[str, Allowance], ...]:
    name = counted_as(typed).encode("utf-8", "backslashreplace").decode()
    return (
        (f"both {place} {name}", PER_ACCOUNT_AND_ADDRESS),
        (f"address {place}", PER_ADDRESS),
        (f"account {name}", PER_ACCOUNT),
    )
