"""
Keeps the slots warm that versions ask for, and those that are reserved.

Of an algorithm, the newest public version counts, or the newest private one if none is public:
what most callers get. When a newer one is published, its slots are started, and those of the
version before become slots like others.

Reservations of one account and version add up; what the version asks for itself is a minimum
beside them. They come first, as an administrator made them: the engine keeps half of the machine
warm at most, and what comes last gets less.

Source: runtime design, "Scheduling"; wire specification, "Reservations and work limits".
"""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from algorium_server.domain.algorithms import Resolved, Version
from algorium_server.domain.identity import Account, AccountKind
from algorium_server.engine.claims import Reservation
from algorium_server.engine.flights import Flight
from algorium_server.engine.program import Program
from algorium_server.services.calling.programs import Programs
from algorium_server.services.calling.reserved import Reserved
from algorium_server.services.directory import Directory
from algorium_server.telemetry import logger

_LOOK_S: Final = 1.0
"""How soon a new version is noticed, whoever published it."""

_log = logger(__name__)


class Engine(Protocol):
    """What keeps slots warm: `engine.local` on this machine."""

    def reserve(self, reservations: Iterable[Reservation]) -> None:
        """Keep these slots warm, and none but these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """So many slots of a version for an account; of shared ones it does not matter for whom."""

    resolved: Resolved
    program: Program
    account: Account
    slots: int

    @property
    def pool(self) -> tuple[str, str]:
        return "" if self.program.is_shared else self.account.account_id, self.program.key


class Warmth:
    """
    Tells the engine what to keep warm, whenever that changes.

    Args:
        directory: Which versions there are.
        programs: What runs for them.
        engine: Keeps them warm.
        reserved: What administrators have reserved; None for nothing.
    """

    def __init__(
        self,
        directory: Directory,
        programs: Programs,
        engine: Engine,
        reserved: Reserved | None = None,
    ) -> None:
        self._directory = directory
        self._programs = programs
        self._engine = engine
        self._reserved = reserved or Reserved(None, directory)
        self._wanted: dict[tuple[str, str], int] = {}

    async def keep(self) -> None:
        """Look for changes, until cancelled."""
        seen = None
        while True:
            now = self._directory.revision, self._reserved.revision
            if now != seen:
                seen = now
                try:
                    self.refresh()
                except Exception as error:  # the next change is looked at, whatever was wrong
                    _log.error("warm slots were not updated; next change follows", exc_info=error)
            await asyncio.sleep(_LOOK_S)

    def refresh(self) -> None:
        """Tell the engine what to keep warm now, if that is something else than before."""
        wishes: dict[tuple[str, str], _Wish] = {}
        slots: dict[tuple[str, str], int] = {}
        for wish in self._of_reservations():
            wishes.setdefault(wish.pool, wish)
            slots[wish.pool] = slots.get(wish.pool, 0) + wish.slots
        for wish in self._of_versions():
            wishes.setdefault(wish.pool, wish)
            slots[wish.pool] = max(slots.get(wish.pool, 0), wish.slots)
        if slots != self._wanted:
            self._engine.reserve([self._reservation(wishes[pool], slots[pool]) for pool in wishes])
            self._wanted = slots

    def _of_reservations(self) -> Iterator[_Wish]:
        for reservation in self._reserved.all():
            kept = self._reserved.kept(reservation)
            if kept is not None:
                yield _Wish(
                    resolved=kept.resolved,
                    program=self._programs.of(kept.resolved),
                    account=kept.account,
                    slots=self._programs.share_of(reservation.num_slots),
                )

    def _of_versions(self) -> Iterator[_Wish]:
        newest = (_newest(versions) for versions in self._directory.published())
        for version in newest:
            if not version.scaling.slots_min:
                continue
            resolved = self._directory.resolved_build(
                version.build_id, version_id=version.version_id
            )
            if resolved is None:
                continue
            program = self._programs.of(resolved)
            owner = resolved.owner
            is_organization = owner.kind is AccountKind.ORGANIZATION
            if is_organization and not program.is_shared and not self._calls(owner):
                continue  # its members call as themselves: nobody could use these slots
            yield _Wish(resolved=resolved, program=program, account=owner, slots=program.slots_min)

    def _calls(self, organization: Account) -> bool:
        """Whether an organization has a key to call with, and so may use slots of its own."""
        return self._directory.has_key(organization.account_id)

    def _reservation(self, wish: _Wish, slots: int) -> Reservation:
        account = wish.resolved.owner if wish.program.is_shared else wish.account
        return Reservation(
            program=wish.program,
            flight=Flight(
                account_id=account.account_id,
                inside=self._programs.loading_as(wish.resolved, account),
                deadline_at=float("inf"),
            ),
            slots=slots,
        )


def _newest(versions: Iterable[Version]) -> Version:
    return max(versions, key=lambda version: (version.is_public, version.semantic_version))
