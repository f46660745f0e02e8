"""
Reservations: warm slots that administrators keep for an account.

Source: wire specification, "Reservations and work limits".
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from algorium.wire.refs import AlgorithmRef, RefSyntaxError
from algorium_server.domain.access import is_owner_like
from algorium_server.domain.administration import Action
from algorium_server.domain.algorithms import Algorithm
from algorium_server.domain.audit import AuditAction
from algorium_server.domain.errors import InvalidInput
from algorium_server.domain.identity import Account, Principal
from algorium_server.domain.limits import RESERVATIONS_MAX
from algorium_server.domain.reservations import (
    SPECIFIC,
    Reservation,
    VersionType,
    check_identifier,
    check_slots,
    parse_version_type,
)
from algorium_server.services.auditing import record
from algorium_server.services.calling.reserved import Reserved
from algorium_server.services.directory import Directory
from algorium_server.services.people.administrators import Administrators
from algorium_server.store import reservations as rows
from algorium_server.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedReservation:
    """A reservation as somebody describes it: names, and words for the version."""

    username: str
    algoname: str
    calling_user: str
    version_type: str
    version_identifier: str
    num_slots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownReservation:
    """
    A reservation with what it names.

    Attributes:
        version_hash: The commit that is kept warm now, empty if there is none.
    """

    reservation: Reservation
    owner: str
    algorithm: str
    account: Account
    version_hash: str


class Reservations:
    """
    Use cases of reservations, for administrators; all raise `NotAuthorized` for others.

    Args:
        database: Where they are kept.
        directory: Which accounts, algorithms and versions there are.
        administrators: Says who may do what.
        reserved: The reservations in memory.
        clock: Says what time it is.
    """

    def __init__(
        self,
        *,
        database: Database,
        directory: Directory,
        administrators: Administrators,
        reserved: Reserved,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._administrators = administrators
        self._reserved = reserved
        self._clock = clock

    async def list(self, principal: Principal) -> list[ShownReservation]:
        """Return all reservations, oldest first."""
        self._administrators.check(principal, Action.SEE_ALL)
        shown = (self._shown(each) for each in self._reserved.all())
        return [each for each in shown if each is not None]

    async def create(self, principal: Principal, wanted: WantedReservation) -> None:
        """
        Keep slots warm from now on.

        Raises:
            InvalidInput: There is no such algorithm or account, the account can call no such
                version, or the number of slots is none.
        """
        self._administrators.check(principal, Action.DECIDE)
        algorithm = self._algorithm(wanted.username, wanted.algoname)
        account = self._directory.account_named(wanted.calling_user)
        if account is None:
            raise InvalidInput(f"calling_user: there is no account {wanted.calling_user[:100]!r}")
        version_type = parse_version_type(wanted.version_type)
        reservation = Reservation(
            reservation_id=str(uuid.uuid4()),
            algorithm_id=algorithm.algorithm_id,
            account_id=account.account_id,
            version_type=version_type,
            version_identifier=check_identifier(version_type, wanted.version_identifier),
            num_slots=check_slots(wanted.num_slots),
            created_at=self._clock(),
            created_by=principal.account.username,
        )
        self._check_use(reservation, algorithm, account)
        async with self._database.transaction() as connection:
            if await rows.count(connection) >= RESERVATIONS_MAX:
                raise InvalidInput(f"there are {RESERVATIONS_MAX} reservations: delete some first")
            if not await rows.add(connection, reservation):
                raise InvalidInput("the algorithm or the account was deleted just now")
            await record(
                connection,
                principal,
                AuditAction.RESERVATION_CREATED,
                f"reservation:{reservation.reservation_id}",
                detail={
                    "algorithm": f"{self._directory.owner_name(algorithm)}/{algorithm.name}",
                    "calling_user": account.username,
                    "version": reservation.version_identifier or version_type.value,
                    "num_slots": str(reservation.num_slots),
                },
                about=account.account_id,
            )
        self._reserved.put(reservation)

    async def delete(self, principal: Principal, reservation_id: str) -> None:
        """
        Keep those slots warm no longer.

        Raises:
            InvalidInput: There is no such reservation.
        """
        self._administrators.check(principal, Action.DECIDE)
        known = {each.reservation_id: each for each in self._reserved.all()}
        reservation = known.get(reservation_id.lower())
        if reservation is None:
            raise _no_reservation(reservation_id)
        async with self._database.transaction() as connection:
            if not await rows.remove(connection, reservation.reservation_id):
                raise _no_reservation(reservation_id)
            await record(
                connection,
                principal,
                AuditAction.RESERVATION_DELETED,
                f"reservation:{reservation.reservation_id}",
                about=reservation.account_id,
            )
        self._reserved.remove(reservation.reservation_id)

    def _algorithm(self, owner: str, name: str) -> Algorithm:
        try:
            found = self._directory.algorithm(AlgorithmRef(owner=owner, name=name))
        except RefSyntaxError:
            found = None
        if found is None:
            raise InvalidInput(f"there is no algorithm {f'{owner}/{name}'[:200]!r}")
        return found

    def _check_use(self, wanted: Reservation, algorithm: Algorithm, account: Account) -> None:
        """Refuse slots that nobody could use, now or after the next publication."""
        owner = self._directory.owner_name(algorithm)
        is_found = self._reserved.kept(wanted) is not None
        if not is_found and wanted.version_type in SPECIFIC:
            raise InvalidInput(
                f"{owner}/{algorithm.name} has no version {wanted.version_identifier!r} that"
                f" {account.username} may call"
            )
        principal = self._directory.principal_of(account)
        sees_all = is_owner_like(principal, algorithm.owner_id)
        if not is_found and not sees_all and wanted.version_type is not VersionType.LATEST_PUBLIC:
            raise InvalidInput(
                f"{account.username} sees only public versions of {owner}/{algorithm.name}"
            )

    def _shown(self, reservation: Reservation) -> ShownReservation | None:
        algorithm = self._directory.algorithm_by_id(reservation.algorithm_id)
        account = self._directory.account(reservation.account_id)
        if algorithm is None or account is None:
            return None  # deleted just now: its reservations are gone as well
        kept = self._reserved.kept(reservation)
        return ShownReservation(
            reservation=reservation,
            owner=self._directory.owner_name(algorithm),
            algorithm=algorithm.name,
            account=account,
            version_hash=kept.resolved.build.commit_sha if kept is not None else "",
        )


def _no_reservation(reservation_id: str) -> InvalidInput:
    return InvalidInput(f"there is no reservation {reservation_id[:100]!r}")
