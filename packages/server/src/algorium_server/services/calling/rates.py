"""
How many calls of an account have begun in this minute, on one gateway or on all of this machine.

Only accounts with such a limit are counted. A single gateway counts in a dictionary. Several share
a table in memory that their parent made, with a row for each account:

    row = digest of the account id (16 bytes) | minute | calls

Rows, buckets and locks are those of `services/shared_rows.py`: whoever looks at a row holds the
lock of its bucket, so the count is exact. A row of an earlier minute is free; so is one that a
process left half-written when it died, for the minute is written last. When a bucket is full of
accounts that have called in this minute, which takes many thousands of them, one more is refused.

Minutes are those of the clock. Whoever spends one at its end and the next at its beginning makes
twice as many calls in a short time; concurrency has a limit of its own.
"""

from typing import Final, Protocol

from algorium_server.services.shared_rows import SharedRows
from algorium_server.telemetry import logger

_BUCKETS: Final = 4096
"""Less than a megabyte of rows."""
_MINUTE: Final = 0
_CALLS: Final = 1

_log = logger(__name__)


class Rates(Protocol):
    """Counts the calls of accounts by minute."""

    def count(self, account_id: str, limit: int, minute: int) -> bool:
        """Count one more call; False if there were so many already, which counts nothing."""

    def counted(self, account_id: str, minute: int) -> int:
        """Return how many were counted."""


class OwnRates:
    """Counts for the only gateway."""

    def __init__(self) -> None:
        self._minute = 0
        self._calls: dict[str, int] = {}

    def count(self, account_id: str, limit: int, minute: int) -> bool:
        """Count one more call; False if there were so many already, which counts nothing."""
        if minute != self._minute:
            self._minute = minute
            self._calls = {}
        calls = self._calls.get(account_id, 0)
        if calls >= limit:
            return False
        self._calls[account_id] = calls + 1
        return True

    def counted(self, account_id: str, minute: int) -> int:
        """Return how many were counted."""
        return self._calls.get(account_id, 0) if minute == self._minute else 0


class RateTable(SharedRows):
    """
    The table that the gateways of one machine share.

    Args:
        descriptor: Of a file in memory, of which this process has no other descriptor.
        buckets: How many it has, the same for everybody.
    """

    def __init__(self, descriptor: int, *, buckets: int = _BUCKETS) -> None:
        super().__init__(descriptor, buckets=buckets, cells=2)


class SharedRates:
    """
    Counts for one of several gateways.

    Args:
        table: What they share.
    """

    def __init__(self, table: RateTable) -> None:
        self._table = table
        self._words = table.words

    def count(self, account_id: str, limit: int, minute: int) -> bool:
        """Count one more call; False if there were so many already, which counts nothing."""
        bucket, digest = self._table.place_of(account_id)
        words = self._words
        try:
            with self._table.locked(bucket):
                cells = self._row(bucket, digest, minute)
                if cells is None:
                    _log.warning("the table of calls by minute is full; a call is refused")
                    return False
                if words[cells + _CALLS] >= limit:
                    return False
                words[cells + _CALLS] += 1
                return True
        except TimeoutError:
            _log.warning("the table of calls by minute is locked; a call is refused")
            return False

    def counted(self, account_id: str, minute: int) -> int:
        """Return how many were counted."""
        bucket, digest = self._table.place_of(account_id)
        cells = self._table.find(bucket, digest)
        if cells is None or self._words[cells + _MINUTE] != minute:
            return 0
        return self._words[cells + _CALLS]

    def _row(self, bucket: int, digest: bytes, minute: int) -> int | None:
        """Return where the cells of an account are, its count being that of *minute*."""
        words = self._words
        cells = self._table.find(bucket, digest)
        if cells is None:
            free = (at for at in self._table.rows_of(bucket) if not self._counts(at, minute))
            cells = next(free, None)
            if cells is None:
                return None
            words[cells + _MINUTE] = 0
            self._table.name(cells, digest)
        if not self._counts(cells, minute):
            words[cells + _CALLS] = 0
            words[cells + _MINUTE] = minute
        return cells

    def _counts(self, cells: int, minute: int) -> bool:
        """
        Whether a row counts now.

        A gateway that read its clock just before the minute ended must not free newer rows. Those
        of a time further ahead are of a clock that was wrong, and has been set since.
        """
        return minute <= self._words[cells + _MINUTE] <= minute + 1
