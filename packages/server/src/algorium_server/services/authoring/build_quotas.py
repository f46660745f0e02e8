"""
Quotas of builds: how many may wait, and how long all of them may take in a month.

Time is counted when a build has ended, whatever became of it, for the account that owned its
algorithm: deleting that gives nothing back. A build that the server itself interrupted costs
nothing; it is done again.
"""

from collections.abc import Callable
from datetime import datetime

from algorium_server.domain.algorithms import Build
from algorium_server.domain.quotas import (
    DEFAULT_QUOTAS,
    QuotaName,
    Quotas,
    budget_exceeded,
    month_ends,
    month_of,
    too_many_waiting,
)
from algorium_server.store import jobs, quotas
from algorium_server.store.database import AsyncConnection


class BuildQuotas:
    """
    Checks and counts.

    Args:
        quotas_of: Says what an account may use; by default what a server allows whose operator
            says nothing.
        kind: Of the jobs that builds are.
        clock: Says what time it is.
    """

    def __init__(
        self,
        quotas_of: Callable[[str], Quotas] = lambda _account_id: DEFAULT_QUOTAS,
        *,
        kind: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._quotas_of = quotas_of
        self._kind = kind
        self._clock = clock

    async def check_request(self, connection: AsyncConnection, owner_id: str) -> None:
        """
        Refuse one more build; whoever else asks for one waits until the transaction ends.

        Raises:
            TooManyRequests: Enough builds of the account are waiting.
            BudgetExceeded: It has used up its build minutes of this month.
        """
        await jobs.hold(connection, account_id=owner_id)
        waiting = await jobs.count_unfinished(connection, account_id=owner_id, kind=self._kind)
        limit = self._quotas_of(owner_id).builds_waiting
        if waiting >= limit:
            raise too_many_waiting(QuotaName.BUILDS_WAITING, limit, waiting)
        await self.check_budget(connection, owner_id)

    async def check_budget(self, connection: AsyncConnection, owner_id: str) -> None:
        """
        Refuse to begin a build.

        Raises:
            BudgetExceeded: The account has used up its build minutes of this month.
        """
        limit = self._quotas_of(owner_id).build_minutes_per_month
        if limit is None:
            return
        now = self._clock()
        used = await quotas.build_seconds(connection, owner_id, month_of(now)) / 60
        if used >= limit:
            raise budget_exceeded(
                QuotaName.BUILD_MINUTES_PER_MONTH,
                limit=limit,
                used=used,
                renews_at=month_ends(now),
            )

    async def charge(self, connection: AsyncConnection, build: Build, owner_id: str) -> None:
        """Count the time of a build that has ended; one that never began takes none."""
        if build.began_at is None or build.finished_at is None:
            return
        seconds = max((build.finished_at - build.began_at).total_seconds(), 0.0)
        month = month_of(build.finished_at)
        await quotas.add_build_seconds(connection, owner_id, month, seconds)
