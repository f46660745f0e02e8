"""
What goes into the audit log without a transaction of its own: refusals, `sudo`, uses of keys.

Refused requests and the addresses that keys are used from are noted in memory, by those who answer
requests, and written here a moment later: nobody waits for them, a crash can lose the last second,
and nobody can fill the log with them. A call with `sudo` waits until its entry is written.

An address is that of whoever holds the connection. Of IPv6 only the network counts: programs
change the rest by themselves.
"""

import asyncio
import ipaddress
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from algorium_server.domain.algorithms import Algorithm
from algorium_server.domain.audit import AuditAction, AuditEntry, Outcome
from algorium_server.domain.errors import AlgoriumError
from algorium_server.domain.identity import Account, Principal
from algorium_server.domain.limits import (
    AUDIT_DENIED_PENDING_MAX,
    AUDIT_DENIED_PER_MINUTE_MAX,
    AUDIT_FLUSH_S,
    KEY_ADDRESS_FORGOTTEN_S,
    KEY_ADDRESSES_MAX,
    KEY_ADDRESSES_PENDING_MAX,
)
from algorium_server.origin import NOWHERE, Origin, origin
from algorium_server.services.auditing import algorithm_target, entry_of, record
from algorium_server.services.directory import Directory
from algorium_server.store import audit as rows
from algorium_server.store.database import Database
from algorium_server.telemetry import logger

_log = logger(__name__)

_MINUTE_S: Final = 60.0


class Sightings:
    """Where keys are used from, noted by whoever answers requests; costs a look into memory."""

    def __init__(self) -> None:
        self._fresh: dict[tuple[str, str], Principal] = {}

    def see(self, principal: Principal, address: str) -> None:
        """Note that somebody has shown a key."""
        key = principal.key
        if key is None or not address or principal.acting is not None:
            return
        if len(self._fresh) < KEY_ADDRESSES_PENDING_MAX:
            self._fresh[key.key_id, address] = principal

    def take(self) -> dict[tuple[str, str], Principal]:
        """Return what was noted since the last time: by key and address, whose it is."""
        taken, self._fresh = self._fresh, {}
        return taken


class AuditTrail:
    """
    Writes what others have noted.

    Args:
        database: Where the log is.
        directory: How accounts are called.
        sightings: Where keys are used from.
        now: Monotonic seconds.
        clock: Says what time it is.
    """

    def __init__(
        self,
        database: Database,
        directory: Directory,
        sightings: Sightings,
        *,
        now: Callable[[], float] = time.monotonic,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._directory = directory
        self._sightings = sightings
        self._now = now
        self._clock = clock
        self._denied: list[AuditEntry] = []
        self._lost = 0
        self._refusals: dict[str, _Refusals] = {}
        self._places: dict[tuple[str, str], float] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.get_running_loop().create_task(self._keep_written(), name="audit")

    async def close(self) -> None:
        """Write what is left, and stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._flush_safely()

    def denied(self, here: Origin, what: str, reason: str) -> None:
        """
        Note a request that was refused to somebody who is known.

        Args:
            here: Where it came from; says who.
            what: Method and path.
            reason: What the answer said.
        """
        principal = here.principal
        if here is NOWHERE or principal is None:
            return
        entry = entry_of(
            principal,
            AuditAction.REQUEST_DENIED,
            what,
            outcome=Outcome.DENIED,
            detail={"reason": reason},
            source=here,
        )
        self._note(principal.account.account_id, entry)

    def sign_in_denied(self, username: str, address: str) -> None:
        """
        Note a wrong password, or a name that nobody has.

        Args:
            username: As it was typed.
            address: From where.
        """
        account = self._directory.account_named(username)
        here = origin.get()
        entry = entry_of(
            None,
            AuditAction.SIGN_IN_DENIED,
            # What nobody is called like may be a password in the wrong field: it stays out.
            f"user:{account.username}" if account is not None else "user:unknown",
            outcome=Outcome.DENIED,
            about=account.account_id if account is not None else "",
            source=here if here is not NOWHERE else Origin(address),
        )
        # All names together, but each address for itself: nobody hides behind the noise of others.
        self._note(f"address {address}", entry)

    async def sudo_called(
        self, principal: Principal, algorithm: Algorithm, owner: Account, here: Origin
    ) -> None:
        """
        Record a call in the place of an algorithm's owner, before it runs.

        Raises:
            Unavailable: It cannot be recorded now; what cannot be recorded must not run.
        """
        entry = entry_of(
            principal,
            AuditAction.ALGORITHM_SUDO_CALLED,
            algorithm_target(algorithm, self._directory),
            about=algorithm.owner_id,
            behalf=owner,
            source=here,
        )
        async with self._database.transaction() as connection:
            rows.leave(connection, entry)

    async def flush(self) -> None:
        """
        Write what was noted.

        Raises:
            Unavailable: The database does not take it now; refusals stay for the next time.
        """
        self._end_minutes()
        denied = self._denied[:]
        if denied:
            async with self._database.transaction() as connection:
                for entry in denied:
                    rows.leave(connection, entry)
            del self._denied[: len(denied)]
        for (key_id, address), principal in self._sightings.take().items():
            await self._see(principal, key_id, place_of(address))

    async def _see(self, principal: Principal, key_id: str, place: str) -> None:
        now = self._now()
        if self._places.get((key_id, place), 0.0) > now:
            return
        if self._directory.principal_of_call(principal.account.account_id, key_id) is None:
            return  # deleted meanwhile
        async with self._database.transaction() as connection:
            known = await rows.addresses_of(connection, key_id)
            is_new = await rows.note_address(
                connection, key_id, place, now=self._clock(), keep=KEY_ADDRESSES_MAX
            )
            if is_new:
                label = principal.key.label if principal.key is not None else ""
                await record(
                    connection,
                    principal,
                    AuditAction.KEY_NEW_ADDRESS,
                    f"key:{principal.account.username}/{key_id}",
                    detail={"label": label, "address": place, "known": str(len(known))},
                )
        if len(self._places) >= KEY_ADDRESSES_PENDING_MAX:
            self._places.clear()
        self._places[key_id, place] = now + KEY_ADDRESS_FORGOTTEN_S

    def _note(self, whose: str, entry: AuditEntry) -> None:
        refusals = self._refusals.get(whose)
        if refusals is None or refusals.began_at + _MINUTE_S <= self._now():
            if refusals is not None:
                self._tell_of(refusals)
            elif len(self._refusals) >= AUDIT_DENIED_PENDING_MAX:
                self._lost += 1  # told of by none in particular: somebody has very many names
                return
            refusals = self._refusals[whose] = _Refusals(entry, began_at=self._now())
        refusals.count += 1
        is_full = len(self._denied) >= AUDIT_DENIED_PENDING_MAX
        if is_full or refusals.count > AUDIT_DENIED_PER_MINUTE_MAX:
            refusals.unrecorded += 1
            return
        self._denied.append(entry)

    def _end_minutes(self) -> None:
        now = self._now()
        for whose, refusals in list(self._refusals.items()):
            if refusals.began_at + _MINUTE_S <= now:
                del self._refusals[whose]
                self._tell_of(refusals)
        if self._lost:
            self._denied.append(
                entry_of(
                    None,
                    AuditAction.REQUEST_DENIED,
                    "more requests",
                    outcome=Outcome.DENIED,
                    detail={"unrecorded": str(self._lost)},
                )
            )
            self._lost = 0

    def _tell_of(self, refusals: "_Refusals") -> None:
        if refusals.unrecorded:
            first = refusals.first
            self._denied.append(
                replace(
                    first,
                    at=self._clock(),
                    target="more requests",
                    request_id="",
                    detail={"unrecorded": str(refusals.unrecorded)},
                )
            )

    async def _keep_written(self) -> None:
        while True:
            await asyncio.sleep(AUDIT_FLUSH_S)
            await self._flush_safely()

    async def _flush_safely(self) -> None:
        try:
            await self.flush()
        except AlgoriumError as error:
            _log.warning("refusals and uses of keys are recorded later", reason=error.message)
        except Exception:  # such as a key that was deleted at this moment; what matters goes on
            _log.exception("refusals and uses of keys are recorded later")


class _Refusals:
    """What was refused to an account or an address within a minute."""

    def __init__(self, first: AuditEntry, *, began_at: float) -> None:
        self.first = first
        self.began_at = began_at
        self.count = 0
        self.unrecorded = 0


def place_of(address: str) -> str:
    """Return what of an address says where somebody is: all of IPv4, the network of IPv6."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(known, ipaddress.IPv6Address):
        if known.ipv4_mapped is not None:
            return str(known.ipv4_mapped)
        return str(ipaddress.ip_network((known, 64), strict=False))
    return str(known)
