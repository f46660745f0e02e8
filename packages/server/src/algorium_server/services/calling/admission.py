"""
How many calls of an account are open, on one gateway or on all gateways of this machine.

A single gateway counts in a dictionary. Several share a table in memory that their parent made.
The table has a row for each account with open calls, found by a hash of its id, and in each row a
cell for every gateway:

    row = digest of the account id (16 bytes) | cell of gateway 0 | cell of gateway 1 | ...

Only its gateway writes a cell, so leaving is one store. Entering adds one to the own cell *first*,
and then looks at the sum of the row:

- With room to spare, that is all. Should several gateways enter in the same instant, each before
  it sees the others, all of them together still fit.
- Near the limit, a lock decides. Of those who have added one, the last to hold the lock sees all
  others, so the limit is never exceeded, and no place stays empty while everybody is refused.

Rows, buckets and locks are those of `services/shared_rows.py`: finding or making a row takes the
lock of its bucket. A row is free when all its cells are zero. A gateway keeps a mark in its cells
of the accounts that called last, so that their rows stay theirs, and the next call finds them
without a lock. When a bucket is full of accounts with open calls, which takes many thousands of
them, one more account is refused. When a gateway dies, its parent clears its cells.

Source: wire specification, "Limits".
"""

from typing import Final, Protocol

from algorium_server.domain.limits import CALLS_IN_FLIGHT_PER_ACCOUNT_MAX
from algorium_server.services.shared_rows import FIRST_CELL, SharedRows
from algorium_server.telemetry import logger

_BUCKETS_PER_GATEWAY: Final = 1024
_MARK: Final = 1 << 16
_COUNT: Final = _MARK - 1
_MARKED_IDLE_MAX: Final = 256
"""Accounts without open calls whose rows a gateway keeps: a quarter of one for each bucket."""

_log = logger(__name__)


class Admission(Protocol):
    """Counts the open calls of accounts."""

    def enter(self, account_id: str, limit: int | None = None) -> bool:
        """
        Count one more open call; False if the account has too many, which counts nothing.

        Args:
            account_id: Whose.
            limit: How many it may have; None for as many as others.
        """

    def leave(self, account_id: str) -> None:
        """Count one less, after `enter` said True."""

    def open_calls(self, account_id: str) -> int:
        """Return how many are open now."""


class OwnAdmission:
    """
    Counts for the only gateway.

    Args:
        limit: How many calls of one account may be open.
    """

    def __init__(self, *, limit: int = CALLS_IN_FLIGHT_PER_ACCOUNT_MAX) -> None:
        self._limit = limit
        self._open: dict[str, int] = {}

    def enter(self, account_id: str, limit: int | None = None) -> bool:
        """Count one more open call; False if the account has too many, which counts nothing."""
        count = self._open.get(account_id, 0)
        if count >= (self._limit if limit is None else limit):
            return False
        self._open[account_id] = count + 1
        return True

    def leave(self, account_id: str) -> None:
        """Count one less, after `enter` said True."""
        count = self._open[account_id] - 1
        if count:
            self._open[account_id] = count
        else:
            del self._open[account_id]

    def open_calls(self, account_id: str) -> int:
        """Return how many are open now."""
        return self._open.get(account_id, 0)


class AdmissionTable(SharedRows):
    """
    The table that the gateways of one machine share.

    Args:
        descriptor: Of a file in memory, of which this process has no other descriptor.
        gateways: How many share it.
        buckets: How many it has, the same for everybody; by default enough.
    """

    def __init__(self, descriptor: int, *, gateways: int, buckets: int | None = None) -> None:
        self.gateways = gateways
        super().__init__(
            descriptor, buckets=buckets or _BUCKETS_PER_GATEWAY * gateways, cells=gateways
        )

    def clear(self, gateway: int) -> None:
        """Forget what a gateway has counted; it must be dead."""
        first = FIRST_CELL + gateway
        for at, cell in enumerate(self.words[first :: self.row_words].tolist()):
            if cell:
                self.words[first + at * self.row_words] = 0

    def cells_of(self, bucket: int, digest: bytes) -> int | None:
        """
        Find or make the row of an account; the bucket must be locked.

        Returns:
            Where its cells begin, None if the bucket has no room.
        """
        found = self.find(bucket, digest)
        if found is not None:
            return found
        for cells in self.rows_of(bucket):
            if not any(self.words[cells : cells + self.gateways]):
                self.name(cells, digest)
                return cells
        return None


class SharedAdmission:
    """
    Counts for one of several gateways.

    Args:
        table: What they share.
        gateway: Which one this is, from 0.
        limit: How many calls of one account may be open, on all gateways together.
    """

    def __init__(
        self,
        table: AdmissionTable,
        *,
        gateway: int,
        limit: int = CALLS_IN_FLIGHT_PER_ACCOUNT_MAX,
    ) -> None:
        self._table = table
        self._words = table.words
        self._gateway = gateway
        self._gateways = table.gateways
        self._limit = limit
        # One less for each other gateway, that may be adding one at this instant.
        self._unseen_max = table.gateways - 1
        self._marked: dict[str, int] = {}
        self._unmark_at = _MARKED_IDLE_MAX

    def enter(self, account_id: str, limit: int | None = None) -> bool:
        """Count one more open call; False if the account has too many, which counts nothing."""
        if limit is None:
            limit = self._limit
        cells = self._marked.get(account_id)
        if cells is None:
            cells = self._mark(account_id)
            if cells is None:
                return False
        words = self._words
        own = cells + self._gateway
        words[own] += 1
        count = sum(words[cells : cells + self._gateways]) & _COUNT
        if count + self._unseen_max <= limit:
            return True
        return self._decide(account_id, cells, limit)

    def leave(self, account_id: str) -> None:
        """Count one less, after `enter` said True."""
        self._words[self._marked[account_id] + self._gateway] -= 1

    def open_calls(self, account_id: str) -> int:
        """Return how many are open now, on all gateways."""
        cells = self._marked.get(account_id) or self._table.find(*self._table.place_of(account_id))
        if cells is None:
            return 0
        return sum(self._words[cells : cells + self._gateways]) & _COUNT

    def _decide(self, account_id: str, cells: int, limit: int) -> bool:
        """Near the limit: keep the one that was added, or take it back."""
        words = self._words
        bucket, _ = self._table.place_of(account_id)
        try:
            with self._table.locked(bucket):
                is_within = sum(words[cells : cells + self._gateways]) & _COUNT <= limit
                if not is_within:
                    words[cells + self._gateway] -= 1
                return is_within
        except TimeoutError:
            words[cells + self._gateway] -= 1
            _log.warning("the table of open calls is locked; a call is refused")
            return False

    def _mark(self, account_id: str) -> int | None:
        if len(self._marked) >= self._unmark_at:
            self._unmark_idle()
        bucket, digest = self._table.place_of(account_id)
        try:
            with self._table.locked(bucket):
                cells = self._table.cells_of(bucket, digest)
                if cells is not None:
                    self._words[cells + self._gateway] = _MARK
        except TimeoutError:
            cells = None
        if cells is None:
            _log.warning("the table of open calls is full or locked; a call is refused")
            return None
        self._marked[account_id] = cells
        return cells

    def _unmark_idle(self) -> None:
        for account_id, cells in tuple(self._marked.items()):
            if self._words[cells + self._gateway] == _MARK:
                self._words[cells + self._gateway] = 0
                del self._marked[account_id]
        self._unmark_at = 2 * len(self._marked) + _MARKED_IDLE_MAX
