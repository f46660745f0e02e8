"""
Quotas and reservations, built and wired together: limits in memory, what is used, their HTTP.

Part of what `app` builds for a gateway. In two steps: what is allowed comes before those who ask
for it, and the routes after those who count.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import APIRouter

from algorium_server.api.quotas import quota_routes
from algorium_server.api.reservations import reservation_routes
from algorium_server.domain.changes import ChangeKind
from algorium_server.domain.quotas import Quotas
from algorium_server.services.allowances import Allowances
from algorium_server.services.calling.admission import OwnAdmission
from algorium_server.services.calling.budgets import Budgets, RecordedUse
from algorium_server.services.calling.calls import CallService
from algorium_server.services.calling.meter import Meter
from algorium_server.services.calling.rates import OwnRates
from algorium_server.services.calling.reserved import Reserved
from algorium_server.services.directory import Directory
from algorium_server.services.following import Following
from algorium_server.services.people.administrators import Administrators
from algorium_server.services.people.quotas import QuotaService
from algorium_server.services.people.reservations import Reservations
from algorium_server.store.database import Database


class Quoting:
    """
    What a gateway has for quotas and reservations. Use `open_quoting`.

    Args:
        database: Open until afterwards.
        directory: Which accounts and algorithms there are.
        meter: Has the newest usage.
        defaults: The limits of the server.

    Attributes:
        allowances: What accounts may use.
        budgets: What they have used of their compute budgets.
        reserved: Which slots are to be kept warm.
    """

    def __init__(
        self, database: Database, directory: Directory, meter: Meter, defaults: Quotas
    ) -> None:
        self.allowances = Allowances(database, defaults)
        self.budgets = Budgets(database, self.allowances, meter)
        self.reserved = Reserved(database, directory)
        self._database = database
        self._directory = directory

    def routes(self, calls: CallService, *, api: str) -> Sequence[APIRouter]:
        """Return the routes of the management API; *api* is the base address, for links."""
        administrators = Administrators(self._directory)
        quotas = QuotaService(
            database=self._database,
            directory=self._directory,
            administrators=administrators,
            allowances=self.allowances,
            admission=calls.admission,
            rates=calls.rates,
            compute=self.budgets,
        )
        reservations = Reservations(
            database=self._database,
            directory=self._directory,
            administrators=administrators,
            reserved=self.reserved,
        )
        return quota_routes(quotas, api=api), reservation_routes(reservations)


@asynccontextmanager
async def open_quoting(
    database: Database,
    directory: Directory,
    meter: Meter,
    defaults: Quotas,
    *,
    following: Following,
) -> AsyncIterator[Quoting]:
    """
    Read what there is, and follow what other gateways write until the end.

    Raises:
        Unavailable: The database does not answer.
    """
    quoting = Quoting(database, directory, meter, defaults)
    await quoting.allowances.load()
    await quoting.reserved.load()
    await quoting.budgets.begin()
    following.listen(ChangeKind.QUOTA, quoting.allowances.load)
    following.listen(ChangeKind.RESERVATION, quoting.reserved.load)
    try:
        yield quoting
    finally:
        await quoting.budgets.close()


async def quota_routes_alone(
    database: Database, directory: Directory, defaults: Quotas, *, api: str
) -> Sequence[APIRouter]:
    """
    Return the routes for who looks after a home on which no server runs: nobody calls.

    Raises:
        Unavailable: The database does not answer.
    """
    allowances = Allowances(database, defaults)
    await allowances.load()
    reserved = Reserved(database, directory)
    await reserved.load()
    administrators = Administrators(directory)
    quotas = QuotaService(
        database=database,
        directory=directory,
        administrators=administrators,
        allowances=allowances,
        admission=OwnAdmission(),
        rates=OwnRates(),
        compute=RecordedUse(database),
    )
    reservations = Reservations(
        database=database, directory=directory, administrators=administrators, reserved=reserved
    )
    return quota_routes(quotas, api=api), reservation_routes(reservations)
