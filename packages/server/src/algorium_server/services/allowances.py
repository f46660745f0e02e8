"""
Allowances: what each account may use, in memory, for every call that is admitted.

An allowance is one object for each account, changed in place: whoever remembers it with a caller,
as `api/direct.py` does, has what is true now without looking anything up.

Limits that differ from those of the server are read once at the start. Whoever writes some puts
them here after the commit; what other gateways write is read anew when a change says so.
"""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Final

from algorium_server.domain.errors import BudgetExceeded
from algorium_server.domain.quotas import (
    DEFAULT_QUOTAS,
    Limits,
    QuotaName,
    Quotas,
    budget_exceeded,
)
from algorium_server.domain.storage import Quota
from algorium_server.store import quotas as rows
from algorium_server.store.database import Database

_READ_ATTEMPTS: Final = 3
"""If this process keeps writing while it reads, the next change puts right what came too early."""


class Allowance:
    """
    What one account may use.

    Attributes:
        quotas: All its limits.
        calls_max: How many of its calls may be open; beside *quotas* for the speed of it.
        calls_per_minute: How many may begin in a minute; None for no limit.
        is_spent: Its compute budget is used up.
        used_s: What it has used of that, once it is spent.
        renews_at: When the budget is whole again, once it is spent.
    """

    __slots__ = ("calls_max", "calls_per_minute", "is_spent", "quotas", "renews_at", "used_s")

    def __init__(self, quotas: Quotas = DEFAULT_QUOTAS) -> None:
        self.is_spent = False
        self.used_s = 0.0
        self.renews_at: datetime | None = None
        self.take(quotas)

    def take(self, quotas: Quotas) -> None:
        """Have these limits from now on."""
        self.quotas = quotas
        self.calls_max = quotas.concurrent_calls
        self.calls_per_minute = quotas.calls_per_minute

    def count_compute(self, used_s: float, *, renews_at: datetime) -> None:
        """Learn how much compute time was used of this month's."""
        limit = self.quotas.compute_seconds_per_month
        self.used_s = used_s
        self.renews_at = renews_at
        self.is_spent = limit is not None and used_s >= limit

    def refusal(self, now: datetime) -> BudgetExceeded | None:
        """Return why no more calls are taken; None if that is over."""
        limit = self.quotas.compute_seconds_per_month
        if limit is None or self.renews_at is None or now >= self.renews_at:
            self.is_spent = False
            return None
        return budget_exceeded(
            QuotaName.COMPUTE_SECONDS_PER_MONTH,
            limit=limit,
            used=self.used_s,
            renews_at=self.renews_at,
        )


class Allowances:
    """
    Those of all accounts.

    Args:
        database: Where limits of accounts are; None if there are none, for tests.
        defaults: The limits of the server.
    """

    def __init__(self, database: Database | None = None, defaults: Quotas = DEFAULT_QUOTAS) -> None:
        self._database = database
        self._own: dict[str, Limits] = {}
        self._allowances: dict[str, Allowance] = {}
        self._revision = 0
        self._listeners: list[Callable[[], None]] = []
        self.defaults = defaults

    def listen(self, listener: Callable[[], None]) -> None:
        """Tell *listener* whenever limits may have changed."""
        self._listeners.append(listener)

    async def load(self) -> None:
        """
        Read all limits anew.

        Raises:
            Unavailable: The database does not answer.
        """
        if self._database is None:
            return
        for _ in range(_READ_ATTEMPTS):
            revision = self._revision
            async with self._database.reading() as connection:
                own = await rows.all_limits(connection)
            if self._revision == revision:
                break
        if own != self._own:
            self._own = dict(own)
            self._apply(self._allowances)

    def put(self, account_id: str, own: Limits) -> None:
        """Take in an account's own limits; none, if it has those of the server."""
        self._revision += 1
        if own:
            self._own[account_id] = dict(own)
        else:
            self._own.pop(account_id, None)
        self._apply([account_id])

    def of(self, account_id: str) -> Allowance:
        """Return the allowance of an account: always the same object."""
        allowance = self._allowances.get(account_id)
        if allowance is None:
            allowance = self._allowances[account_id] = Allowance(self.quotas_of(account_id))
        return allowance

    def quotas_of(self, account_id: str) -> Quotas:
        """Return all limits of an account."""
        own = self._own.get(account_id)
        return self.defaults if own is None else self.defaults.with_own(own)

    def own_of(self, account_id: str) -> Limits:
        """Return those limits of an account that are not the server's."""
        return self._own.get(account_id, {})

    def storage_of(self, account_id: str) -> Quota:
        """Return what an account may store."""
        own = self._own.get(account_id)
        return (self.defaults if own is None else self.defaults.with_own(own)).storage

    def budgeted(self) -> Collection[str] | None:
        """Return the accounts that have a compute budget; None for all of them."""
        if self.defaults.compute_seconds_per_month is not None:
            return None
        name = QuotaName.COMPUTE_SECONDS_PER_MONTH
        return {each for each, own in self._own.items() if own.get(name) is not None}

    def _apply(self, account_ids: Collection[str]) -> None:
        for account_id in account_ids:
            if (allowance := self._allowances.get(account_id)) is not None:
                allowance.take(self.quotas_of(account_id))
        for listener in self._listeners:
            listener()
