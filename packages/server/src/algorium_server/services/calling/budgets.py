"""
Compute budgets: how long the calls of accounts ran in this month, kept in memory.

The usage records of calls are what is added up: at the start those in the database, from then on
each batch that the meter writes, a tenth of a second after its calls have ended. Gateways tell one
another what they have added. A call that is admitted runs to its end, so an account can go beyond
its budget by the calls that were open when it was reached.

Only accounts that have a budget are counted. One that gets its budget in the course of a month is
counted from the database then. What ends while that is read may be in it or not, so it is left
out. It is found when all of it is counted again, soon afterwards and every hour; as is what other
gateways had not brought into the database by then, or could not tell because they died.

Records of an account that is deleted stay, and nobody asks for them.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from algorium_server.domain.quotas import month_began, month_ends
from algorium_server.domain.usage import UsageRecord, us_of
from algorium_server.services.allowances import Allowances
from algorium_server.services.calling.meter import Meter
from algorium_server.store import quotas as rows
from algorium_server.store.database import Database
from algorium_server.telemetry import logger

_US: Final = 1_000_000
_RECOUNT_S_FIRST: Final = 3.0
"""After the first count: other gateways bring what they know into the database every second."""
_RECOUNT_S: Final = 3600.0
"""It reads the usage of a whole month."""
_RETRY_S: Final = 1.0
"""When the database did not answer."""

_log = logger(__name__)


class Budgets:
    """
    Counts what accounts use of their compute budgets.

    Args:
        database: Has the records of this month.
        allowances: Say who has a budget; told when it is used up.
        meter: Has the newest records.
        clock: Says what time it is.

    Attributes:
        tell: Told what was added, in microseconds by account id; for the other gateways.
    """

    def __init__(
        self,
        database: Database,
        allowances: Allowances,
        meter: Meter,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.tell: Callable[[Mapping[str, int]], None] = lambda _used: None
        self._database = database
        self._allowances = allowances
        self._meter = meter
        self._clock = clock
        self._used_us: dict[str, int] = {}
        self._counts_all = False
        self._took_limits = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._begin_month()

    async def begin(self) -> None:
        """
        Count what was used before this process began, and keep counting.

        Raises:
            Unavailable: The database does not answer.
        """
        self._meter.listen(self._add)
        await self._take_up()
        self._allowances.listen(self._took_limits.set)
        self._task = asyncio.get_running_loop().create_task(self._keep_up(), name="budgets")

    async def close(self) -> None:
        """Take up no new budgets."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def used_s(self, account_id: str) -> float:
        """
        Return how long the calls of an account ran in this month.

        Raises:
            Unavailable: The database does not answer.
        """
        self._turn_page()
        if (used := self._used_us.get(account_id)) is not None:
            return used / _US
        if self._counts_all:
            return 0.0
        return (await self._read([account_id])).get(account_id, 0.0)

    def hear(self, used_us: Mapping[str, int]) -> None:
        """Take in what another gateway has added."""
        self._turn_page()
        self._count({each: us for each, us in used_us.items() if self._is_counted(each)})

    # From records

    def _add(self, records: Sequence[UsageRecord]) -> None:
        if not self._used_us and not self._counts_all:
            return
        self._turn_page()
        added: dict[str, int] = {}
        for record in records:
            account_id = record.subject.account_id
            if (
                record.run_s
                and record.started_us >= self._since_us
                and self._is_counted(account_id)
            ):
                added[account_id] = added.get(account_id, 0) + round(record.run_s * _US)
        if added:
            self._count(added)
            self.tell(added)

    def _is_counted(self, account_id: str) -> bool:
        return self._counts_all or account_id in self._used_us

    def _count(self, added: Mapping[str, int]) -> None:
        for account_id, us in added.items():
            self._used_us[account_id] = self._used_us.get(account_id, 0) + us
        self._judge(added)

    def _judge(self, account_ids: Iterable[str]) -> None:
        for account_id in account_ids:
            used_s = self._used_us.get(account_id, 0) / _US
            self._allowances.of(account_id).count_compute(used_s, renews_at=self._renews_at)

    # From the database

    async def _keep_up(self) -> None:
        pause_s = _RECOUNT_S_FIRST
        while True:
            try:
                if await self._takes_limits(within_s=pause_s):
                    pause_s = _RECOUNT_S_FIRST
                    await self._take_up()
                else:
                    pause_s = _RECOUNT_S
                    await self._recount()
            except Exception as error:  # whoever has no count has no limit: again, until it works
                _log.error("compute budgets are not counted yet; trying again", exc_info=error)
                self._took_limits.set()
                await asyncio.sleep(_RETRY_S)

    async def _takes_limits(self, *, within_s: float) -> bool:
        """Wait for limits to change; return whether they have."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._took_limits.wait()
        has_changed = self._took_limits.is_set()
        self._took_limits.clear()
        return has_changed

    async def _recount(self) -> None:
        """Look whether more was used than this gateway has heard of."""
        if self._counts_all:
            await self._count_recorded(None)
        elif self._used_us:
            await self._count_recorded(tuple(self._used_us))

    async def _take_up(self) -> None:
        """Begin to count for who has a budget now and had none before."""
        budgeted = self._allowances.budgeted()
        if budgeted is None:
            if not self._counts_all:
                await self._count_recorded(None)
                self._counts_all = True
        else:
            self._used_us = {k: us for k, us in self._used_us.items() if k in budgeted}
            if fresh := [each for each in budgeted if each not in self._used_us]:
                await self._count_recorded(fresh)
        self._judge(self._used_us)

    async def _count_recorded(self, account_ids: Sequence[str] | None) -> None:
        """Count what the database has of accounts, or of all; never less than was heard of."""
        month = self._since_us
        found = await self._read(account_ids)
        self._turn_page()
        is_of_month = month == self._since_us
        for account_id in found if account_ids is None else account_ids:
            us = round(found.get(account_id, 0.0) * _US) if is_of_month else 0
            self._used_us[account_id] = max(us, self._used_us.get(account_id, 0))
        self._judge(found)

    async def _read(self, account_ids: Sequence[str] | None) -> dict[str, float]:
        await self._meter.settle()
        async with self._database.reading() as connection:
            return await rows.compute_seconds(
                connection, since_us=self._since_us, account_ids=account_ids
            )

    # Months

    def _turn_page(self) -> None:
        """Begin anew with a new month."""
        if self._clock() >= self._renews_at:
            self._begin_month()
            self._used_us = dict.fromkeys(self._used_us, 0)
            self._judge(self._used_us)

    def _begin_month(self) -> None:
        now = self._clock()
        self._since_us = us_of(month_began(now))
        self._renews_at = month_ends(now)


class RecordedUse:
    """
    The same for who has only the database: what is in it already.

    Args:
        database: Has the records of this month.
        clock: Says what time it is.
    """

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = database
        self._clock = clock

    async def used_s(self, account_id: str) -> float:
        """
        Return how long the calls of an account ran in this month.

        Raises:
            Unavailable: The database does not answer.
        """
        since_us = us_of(month_began(self._clock()))
        async with self._database.reading() as connection:
            found = await rows.compute_seconds(
                connection, since_us=since_us, account_ids=[account_id]
            )
        return found.get(account_id, 0.0)
