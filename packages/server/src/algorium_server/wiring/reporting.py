"""
Insights, notifications and reports, built and wired together, and their HTTP.

With them what is kept for programs that set an installation up: event listeners, registries.

Part of what `app` builds for a gateway. In two steps, since calls report insights and reports are
made of their usage: `Reporting` comes before the calls, `routes` after them.
"""

import asyncio
from collections.abc import Sequence
from typing import Self

from fastapi import APIRouter

from algorium_server.api.browser_client import browser_client_routes
from algorium_server.api.event_listeners import event_listener_routes
from algorium_server.api.governance import governance_routes
from algorium_server.api.insights import insight_routes
from algorium_server.api.notifications import notification_routes
from algorium_server.api.registries import registry_routes
from algorium_server.sealing import Seal
from algorium_server.services.authoring.environments import EnvironmentCatalog
from algorium_server.services.calling.meter import Meter
from algorium_server.services.directory import Directory
from algorium_server.services.files.reaching import Reach
from algorium_server.services.operations.event_listeners import EventListeners
from algorium_server.services.operations.governance import Governance
from algorium_server.services.operations.insight_delivery import InsightDelivery
from algorium_server.services.operations.insights import InsightReports, InsightsAdministration
from algorium_server.services.operations.legacy import LegacyAlgorithms
from algorium_server.services.operations.notifications import Notifications
from algorium_server.services.operations.registries import Registries
from algorium_server.services.people.administrators import Administrators
from algorium_server.store.database import Database


class Reporting:
    """
    What a gateway has of this; a context manager, which sends insights meanwhile.

    Args:
        database: Open until afterwards.
        directory: Who and what there is.
        meter: Has the newest usage.
        seal: Seals what opens things elsewhere.
        reach: Says where brokers may be.

    Attributes:
        insights: Takes what calls report.
    """

    def __init__(
        self, database: Database, directory: Directory, meter: Meter, seal: Seal, reach: Reach
    ) -> None:
        self._database = database
        self._directory = directory
        self._seal = seal
        self._reach = reach
        self._administrators = Administrators(directory)
        self._delivery = InsightDelivery(database, seal)
        self.insights = InsightReports(self._delivery)
        self.governance = Governance(database, directory, self._administrators, meter)
        self.notifications = Notifications(database, self._administrators)

    async def __aenter__(self) -> Self:
        """Begin to send insights."""
        self._delivery.start()
        return self

    async def keep(self) -> None:
        """Note what is stored, and delete old notifications, until cancelled; for one gateway."""
        await asyncio.gather(self.governance.keep_notes(), self.notifications.keep_pruned())

    async def __aexit__(self, *exc: object) -> None:
        """Send the insights that are left, for a moment."""
        await self._delivery.close()

    def routes(self, environments: EnvironmentCatalog, *, api: str) -> Sequence[APIRouter]:
        """
        Return the routes.

        Args:
            environments: Says what algorithms can be written in.
            api: Base address, for links.
        """
        database, directory = self._database, self._directory
        administrators, seal = self._administrators, self._seal
        return (
            registry_routes(Registries(database, directory, administrators, seal)),
            event_listener_routes(EventListeners(database, administrators, seal), api=api),
            notification_routes(self.notifications),
            insight_routes(
                self.insights,
                InsightsAdministration(database, administrators, seal, self._reach, self._delivery),
            ),
            governance_routes(
                self.governance, LegacyAlgorithms(directory, administrators, environments)
            ),
            browser_client_routes(),
        )
