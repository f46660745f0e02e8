"""Reports of what was used: `client.reports`."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Literal, TypeAlias

from algorium import _governance_flow
from algorium._transport import AsyncTransport, SyncTransport
from algorium.wire.governance import GovernanceReport, LegacyAlgorithm

Grouping: TypeAlias = Literal["organization", "account", "algorithm"]
"""What the rows of a report are told apart by, beside the day."""


class Reports:
    """
    Reports of what was used, by day. See `Algorium.reports`.

    For administrators; an organization's own also for its owners. What single calls took is in
    `Algorium.usage`.

    Example:
        for row in client.reports.governance(by="account").rows:
            print(row.day, row.subject, row.executions, row.cpu_time_s)
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: SyncTransport) -> None:
        self._transport = transport

    def governance(
        self,
        *,
        by: Grouping = "algorithm",
        first: date | None = None,
        last: date | None = None,
        organization: str = "",
    ) -> GovernanceReport:
        """
        Return what was used by day.

        Args:
            by: What rows are told apart by.
            first: The first day; thirty days up to the last one, if left out.
            last: The last one, which is part of it; today, if left out.
            organization: Of this one's algorithms only.

        Raises:
            AccountNotFound: There is no such organization, or not for you.
            InvalidInput: Too many days, or in the wrong order.
            NotAuthorized: The key may not see reports.
        """
        flow = _governance_flow.report(by=by, first=first, last=last, organization=organization)
        return self._transport.run(flow)

    def governance_csv(
        self,
        *,
        by: Grouping = "algorithm",
        first: date | None = None,
        last: date | None = None,
        organization: str = "",
    ) -> str:
        """Return what was used by day as CSV, for spreadsheets; as `governance`."""
        flow = _governance_flow.report_as_csv(
            by=by, first=first, last=last, organization=organization
        )
        return self._transport.run(flow)

    def rates(self) -> Mapping[str, float]:
        """Return what things cost in reports, such as `cpu_second`; for administrators."""
        return self._transport.run(_governance_flow.rates())

    def set_rates(self, *, cpu_second: float) -> Mapping[str, float]:
        """
        Set what things cost in reports, those of the past included; for administrators.

        Args:
            cpu_second: A second in a slot, in whatever unit you reckon in.

        Raises:
            InvalidInput: Nothing can cost that.
        """
        return self._transport.run(_governance_flow.set_rates(cpu_second))

    def legacy_algorithms(self) -> Sequence[LegacyAlgorithm]:
        """Return algorithms whose environment is not offered any more; for administrators."""
        return self._transport.run(_governance_flow.legacy_algorithms())


class AsyncReports:
    """Reports of what was used, by day; see `Reports`."""

    __slots__ = ("_transport",)

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def governance(
        self,
        *,
        by: Grouping = "algorithm",
        first: date | None = None,
        last: date | None = None,
        organization: str = "",
    ) -> GovernanceReport:
        """Return what was used by day, as `Reports.governance`."""
        flow = _governance_flow.report(by=by, first=first, last=last, organization=organization)
        return await self._transport.run(flow)

    async def governance_csv(
        self,
        *,
        by: Grouping = "algorithm",
        first: date | None = None,
        last: date | None = None,
        organization: str = "",
    ) -> str:
        """Return what was used by day as CSV, as `Reports.governance_csv`."""
        flow = _governance_flow.report_as_csv(
            by=by, first=first, last=last, organization=organization
        )
        return await self._transport.run(flow)

    async def rates(self) -> Mapping[str, float]:
        """Return what things cost in reports, as `Reports.rates`."""
        return await self._transport.run(_governance_flow.rates())

    async def set_rates(self, *, cpu_second: float) -> Mapping[str, float]:
        """Set what things cost in reports, as `Reports.set_rates`."""
        return await self._transport.run(_governance_flow.set_rates(cpu_second))

    async def legacy_algorithms(self) -> Sequence[LegacyAlgorithm]:
        """Return what needs another environment, as `Reports.legacy_algorithms`."""
        return await self._transport.run(_governance_flow.legacy_algorithms())
