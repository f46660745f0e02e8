"""
Keeps the slots warm that versions ask for.

Of an algorithm, the newest public version counts, or the newest private one if none is public:
what most callers get. When a newer one is published, its slots are started, and those of the
version before become slots like others.

Source: runtime design, "Scheduling"; wire specification, "Reservations and work limits".
"""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from algorium_server.domain.algorithms import Version
from algorium_server.domain.identity import AccountKind
from algorium_server.engine.claims import Reservation
from algorium_server.engine.flights import Flight
from algorium_server.services.calling.programs import Programs
from algorium_server.services.directory import Directory
from algorium_server.telemetry import logger

_LOOK_S: Final = 1.0
"""How soon a new version is noticed, whoever published it."""

_log = logger(__name__)


class Engine(Protocol):
    """What keeps slots warm: `engine.local` on this machine."""

    def reserve(self, reservations: Iterable[Reservation]) -> None:
        """Keep these slots warm, and none but these."""


class Warmth:
    """
    Tells the engine what to keep warm, whenever that changes.

    Args:
        directory: Which versions there are.
        programs: What runs for them.
        engine: Keeps them warm.
    """

    def __init__(self, directory: Directory, programs: Programs, engine: Engine) -> None:
        self._directory = directory
        self._programs = programs
        self._engine = engine
        self._wanted: list[Version] = []

    async def keep(self) -> None:
        """Look for changes, until cancelled."""
        revision = -1
        while True:
            if self._directory.revision != revision:
                revision = self._directory.revision
                try:
                    self.refresh()
                except Exception as error:  # the next change is looked at, whatever was wrong
                    _log.error("warm slots were not updated; next change follows", exc_info=error)
            await asyncio.sleep(_LOOK_S)

    def refresh(self) -> None:
        """Tell the engine what to keep warm now, if that is something else than before."""
        newest = (_newest(versions) for versions in self._directory.published())
        wanted = [version for version in newest if version.scaling.slots_min]
        if wanted != self._wanted:
            self._engine.reserve(list(self._reservations(wanted)))
            self._wanted = wanted

    def _reservations(self, versions: Iterable[Version]) -> Iterator[Reservation]:
        for version in versions:
            resolved = self._directory.resolved_build(
                version.build_id, version_id=version.version_id
            )
            if resolved is None:
                continue
            program = self._programs.of(resolved)
            assert program.as_owner is not None, "programs of versions have owners"
            if not program.is_shared and resolved.owner.kind is AccountKind.ORGANIZATION:
                continue  # its members call as themselves: nobody could use these slots
            yield Reservation(
                program=program,
                flight=Flight(
                    account_id=resolved.owner.account_id,
                    inside=program.as_owner,
                    deadline_at=float("inf"),
                ),
                slots=program.slots_min,
            )


def _newest(versions: Iterable[Version]) -> Version:
    return max(versions, key=lambda version: (version.is_public, version.semantic_version))
