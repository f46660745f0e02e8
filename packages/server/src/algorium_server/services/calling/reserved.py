"""
Reservations in memory, and what each of them means right now.

Whoever writes rows puts the same values here after the commit; what others write is read anew, all
of it, when a change says so: there are few of these, and they seldom change.
"""

from dataclasses import dataclass
from typing import Final

from algorium.wire.refs import AlgorithmRef
from algorium_server.domain.algorithms import Build, BuildStatus, Resolved
from algorium_server.domain.identity import Account
from algorium_server.domain.reservations import Reservation, VersionType
from algorium_server.services.directory import Directory
from algorium_server.store import reservations as rows
from algorium_server.store.database import Database

_READ_ATTEMPTS: Final = 3
"""If this process keeps writing while it reads, the next change puts right what came too early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a reservation means: what is kept warm, and for whom."""

    resolved: Resolved
    account: Account


class Reserved:
    """
    The reservations.

    Args:
        database: Where they are kept; None if there are none, for tests.
        directory: Which accounts, algorithms and versions there are.

    Attributes:
        revision: Grows with every change.
    """

    def __init__(self, database: Database | None, directory: Directory) -> None:
        self._database = database
        self._directory = directory
        self._all: dict[str, Reservation] = {}
        self._writes = 0
        self.revision = 0

    async def load(self) -> None:
        """
        Read all reservations anew.

        Raises:
            Unavailable: The database does not answer.
        """
        if self._database is None:
            return
        for _ in range(_READ_ATTEMPTS):
            writes = self._writes
            async with self._database.reading() as connection:
                found = await rows.all_reservations(connection)
            if self._writes == writes:
                break
        anew = {each.reservation_id: each for each in found}
        if anew != self._all:
            self._all = anew
            self.revision += 1

    def put(self, reservation: Reservation) -> None:
        """Take in a new reservation."""
        self._all[reservation.reservation_id] = reservation
        self._writes += 1
        self.revision += 1

    def remove(self, reservation_id: str) -> None:
        """Forget a reservation."""
        self._all.pop(reservation_id, None)
        self._writes += 1
        self.revision += 1

    def all(self) -> tuple[Reservation, ...]:
        """Return all reservations, oldest first."""
        return tuple(self._all.values())

    def kept(self, reservation: Reservation) -> Kept | None:
        """
        Return what a reservation means now.

        None if there is no such version now, or its account cannot call it: it may again later.
        """
        account = self._directory.account(reservation.account_id)
        if account is None or account.is_disabled:
            return None
        principal = self._directory.principal_of(account)
        version = self._version_text(reservation)
        if version is None:
            return None
        ref = AlgorithmRef(algorithm_id=reservation.algorithm_id, version=version)
        resolved = self._directory.resolve(ref, principal)
        return None if resolved is None else Kept(resolved=resolved, account=account)

    def _version_text(self, reservation: Reservation) -> str | None:
        """Return how callers write the version; None if there is none."""
        match reservation.version_type:
            case VersionType.LATEST_PUBLIC:
                return "latest"
            case VersionType.LATEST_PRIVATE:
                return "latestPrivate"
            case VersionType.LATEST:
                built = self._directory.builds_of(reservation.algorithm_id)
                good = [build for build in built if build.status is BuildStatus.SUCCEEDED]
                return max(good, key=_finished_at).commit_sha if good else None
        return reservation.version_identifier


def _finished_at(build: Build) -> tuple[float, str]:
    return (build.finished_at or build.started_at).timestamp(), build.build_id
