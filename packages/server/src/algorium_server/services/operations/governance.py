"""
Governance reports, and what they need: notes of what was stored, and prices.

Administrators and viewers see everything; owners of an organization see what calls of its
algorithms used. Of callers they see the organization itself and its members by name, and all
others together: who calls a public algorithm is nobody's business.

Source: wire specification, "Governance reports".
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, time
from typing import Final

from algorium_server.domain.administration import Action
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.errors import InvalidInput, Unavailable
from algorium_server.domain.governance import (
    Days,
    Grouping,
    Rate,
    ReportRow,
    check_rates,
    days_of,
    number_of,
    rows_of,
)
from algorium_server.domain.identity import Account, AccountKind, Principal
from algorium_server.domain.limits import (
    GOVERNANCE_DAYS_KEPT_MAX,
    GOVERNANCE_ROWS_MAX,
    GOVERNANCE_SNAPSHOT_S,
)
from algorium_server.domain.usage import Dimension, UsageFilter, UsageTotal, us_of
from algorium_server.services.auditing import record
from algorium_server.services.calling.meter import Meter
from algorium_server.services.directory import Directory
from algorium_server.services.people.administrators import Administrators
from algorium_server.services.sweeping import keep_pruning
from algorium_server.store import accounts as account_rows
from algorium_server.store import governance as rows
from algorium_server.store import usage as usage_rows
from algorium_server.store.database import AsyncConnection, Database

OTHERS: Final = "(others)"
"""Callers that an organization does not see by name; no account is called so."""
_DIMENSIONS: Final = {
    Grouping.ORGANIZATION: (Dimension.ALGORITHM, Dimension.DAY),
    Grouping.ACCOUNT: (Dimension.ACCOUNT, Dimension.DAY),
    Grouping.ALGORITHM: (Dimension.VERSION, Dimension.DAY),
}


class Governance:
    """
    Use cases of reports.

    Args:
        database: Where usage is.
        directory: Names of accounts.
        administrators: Says who may do what.
        meter: Has the newest usage.
        clock: Tells the time.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        administrators: Administrators,
        meter: Meter,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._administrators = administrators
        self._meter = meter
        self._clock = clock

    async def report(
        self,
        principal: Principal,
        *,
        by: Grouping,
        first: str,
        last: str,
        organization: str = "",
    ) -> tuple[Days, list[ReportRow]]:
        """
        Return a report, and the days that it covers.

        Args:
            principal: Who asks.
            by: What rows are told apart by, beside the day.
            first: First day; empty for thirty days.
            last: Last day; empty for today.
            organization: Of this organization only; empty for the whole installation.

        Raises:
            NotAuthorized: The caller may not see it.
            OrganizationNotFound: There is none.
            InvalidInput: The days are none, or the report would be too long.
        """
        about: Account | None = None
        if organization:
            about = self._administrators.organization(principal, organization, Action.SEE_REPORTS)
        else:
            self._administrators.check(principal, Action.SEE_ALL)
        days = days_of(first, last, today=self._clock().date())
        await self.note_storage()
        with suppress(Unavailable):
            await self._meter.settle()
        async with self._database.reading() as connection:
            found = await self._rows(connection, days, by, about)
        if len(found) > GOVERNANCE_ROWS_MAX:
            raise _too_long()
        return days, found

    async def rates(self, principal: Principal) -> dict[Rate, float]:
        """Return all prices; those that nobody has set are 0."""
        self._administrators.check(principal, Action.SEE_ALL)
        async with self._database.reading() as connection:
            return await self._rates(connection)

    async def set_rates(
        self, principal: Principal, wanted: Mapping[str, float]
    ) -> dict[Rate, float]:
        """Set prices, and return all; `InvalidInput` if one is none."""
        self._administrators.check(principal, Action.DECIDE)
        checked = check_rates(wanted)
        async with self._database.transaction() as connection:
            await rows.set_rates(connection, checked)
            await record(
                connection,
                principal,
                AuditAction.COST_RATES_CHANGED,
                "cost_rates",
                detail={rate.value: str(value) for rate, value in checked.items()},
            )
            return await self._rates(connection)

    async def keep_notes(self) -> None:
        """Note what is stored every so often, until cancelled; for one gateway of several."""
        await keep_pruning(self._note, what="days of storage", every_s=GOVERNANCE_SNAPSHOT_S)

    async def note_storage(self) -> None:
        """Note what accounts store now, as what they store today."""
        # A database that cannot be written to may still be read.
        with suppress(Unavailable):
            async with self._database.transaction() as connection:
                await rows.note_storage(connection, number_of(self._clock().date()))

    async def _note(self) -> None:
        today = number_of(self._clock().date())
        async with self._database.transaction() as connection:
            await rows.note_storage(connection, today)
            await rows.prune_storage(connection, before=today - GOVERNANCE_DAYS_KEPT_MAX)

    async def _rates(self, connection: AsyncConnection) -> dict[Rate, float]:
        return dict.fromkeys(Rate, 0.0) | await rows.rates(connection)

    async def _rows(
        self, connection: AsyncConnection, days: Days, by: Grouping, about: Account | None
    ) -> list[ReportRow]:
        first, last = days.numbers
        totals = await usage_rows.totals(
            connection,
            _filter(days, owner="" if about is None else about.username),
            by=_DIMENSIONS[by],
            limit=GOVERNANCE_ROWS_MAX + 1,
        )
        stored = await rows.stored_on(
            connection,
            first,
            last,
            account_ids=None if about is None else [about.account_id],
            limit=GOVERNANCE_ROWS_MAX + 1,
        )
        if len(totals) > GOVERNANCE_ROWS_MAX or len(stored) > GOVERNANCE_ROWS_MAX:
            raise _too_long()
        if about is not None and by is Grouping.ACCOUNT:
            totals = _hidden(totals, await self._known(connection, about))
        organizations = self._organizations() if about is None else {about.username: about}
        found = rows_of(
            totals,
            stored,
            by=by,
            organizations=frozenset(organizations),
            rates=await self._rates(connection),
        )
        if by is not Grouping.ORGANIZATION:
            return found
        members = await rows.member_counts(connection)
        algorithms = await rows.algorithm_counts(connection)
        return [
            replace(
                row,
                members=members.get(organizations[row.subject].account_id, 0),
                algorithms=algorithms.get(organizations[row.subject].account_id, 0),
            )
            for row in found
        ]

    def _organizations(self) -> dict[str, Account]:
        return {
            account.username: account
            for account in self._directory.accounts()
            if account.kind is AccountKind.ORGANIZATION
        }

    async def _known(self, connection: AsyncConnection, organization: Account) -> set[str]:
        """Return whom an organization sees by name."""
        memberships = await account_rows.memberships(connection)
        ids = {user for group, user, _ in memberships if group == organization.account_id}
        found = await account_rows.accounts(connection, ids=ids)
        return {organization.username, *(account.username for account in found)}


def _filter(days: Days, *, owner: str) -> UsageFilter:
    begin = datetime.combine(days.first, time(), UTC)
    # The last day is part of the report: what is after it begins with its last moment.
    end_us = us_of(datetime.combine(days.last, time(), UTC)) + 86_400_000_000
    return UsageFilter(since_us=us_of(begin), until_us=end_us, owner=owner, without_refused=True)


def _hidden(totals: Iterable[UsageTotal], known: set[str]) -> list[UsageTotal]:
    return [each if each.caller in known else replace(each, caller=OTHERS) for each in totals]


def _too_long() -> InvalidInput:
    return InvalidInput(
        f"the report would have more than {GOVERNANCE_ROWS_MAX} rows",
        hint="Ask for fewer days at a time.",
    )
