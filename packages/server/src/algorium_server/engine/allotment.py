"""
Room for more slots: which claims get it, what ends to make it, and who inherits what becomes free.

A pool that wants a slot makes a *claim*. Where there is room, that is all. Where there is none, the
least recently used idle slot goes. Where there is no idle one either, the foremost claim becomes
the *heir*: the next slot that becomes free ends, if the heir has a better right to its room than
who is next in that slot's own line. A claim that does not fit holds up all that come behind it, so
that small ones do not starve it.

Source: runtime design, "Scheduling".
"""

import heapq
from typing import Protocol

from algorium_server.engine import claims, trees
from algorium_server.engine.claims import Claim
from algorium_server.engine.flights import Flight
from algorium_server.engine.pools import Pool, Seat, Ticket
from algorium_server.engine.queues import Queues
from algorium_server.engine.records import Records
from algorium_server.engine.room import Room


class Shell(Protocol):
    """Does what the policy decides. Nothing here calls back from inside."""

    def begin(self, seat: Seat, flight: Flight) -> None:
        """Start a slot that loads as *flight*; tell `started` or `not_started`."""

    def abandon(self, seat: Seat) -> None:
        """Give up the start of *seat*; tell `not_started`."""

    def end(self, seat: Seat) -> None:
        """End the slot of *seat*; tell `gone`."""

    def has_memory(self, need_bytes: int) -> bool:
        """Whether the machine has so much to give right now, whatever the books say."""


class Allotment:
    """
    Gives room to claims, for `scheduler`.

    Args:
        records: All pools.
        queues: All calls that wait.
        room: How much is taken.
        shell: Starts and ends slots.

    Attributes:
        heir: The foremost claim that did not fit, None if all did.
    """

    def __init__(self, records: Records, queues: Queues, room: Room, shell: Shell) -> None:
        self.heir: Claim | None = None
        self._records = records
        self._queues = queues
        self._room = room
        self._shell = shell

    def serve(self, now: float) -> None:
        """Start slots for those who want more, in the order of their rights, while they fit."""
        self.heir = None
        waited_for = set[str]()
        if self._queues.nested:  # else nobody asks
            nested = (ticket for ticket in self._queues if ticket.is_nested)
            waited_for = trees.waited_for(nested, self._records.seats())
        heap: list[tuple[tuple[float, ...], int, Claim]] = []
        for pool in self._records.pools:
            if not pool.nested.count and not pool.roots.count and not pool.floor:
                continue
            for claim in self._claims_of(pool, now, waited_for):
                heapq.heappush(heap, (claims.rank(claim, self._room, now=now), len(heap), claim))
        serial = len(heap)
        while heap:
            seen, _, claim = heapq.heappop(heap)
            serial += 1
            if seen != (fresh := claims.rank(claim, self._room, now=now)):
                heapq.heappush(heap, (fresh, serial, claim))
                continue
            if not self.serve_one(claim, now):
                return
            for again in self._claims_of(claim.pool, now, waited_for):
                if again.is_nested == claim.is_nested:
                    heapq.heappush(heap, (claims.rank(again, self._room, now=now), serial, again))

    def serve_one(self, claim: Claim, now: float) -> bool:
        """Start a slot if there is room; else the claim is the heir, unless one goes before it."""
        if self.heir is not None or not self._makes_room(claim, now):
            heirs = (claim,) if self.heir is None else (self.heir, claim)
            self.heir = min(heirs, key=lambda each: claims.rank(each, self._room, now=now))
            return False
        seat = Seat(claim.pool, claim.party, claim.flight, now)
        seat.booked_bytes = claim.need_bytes
        self._room.begin(seat)
        self._shell.begin(seat, claim.flight)
        return True

    def yields(self, seat: Seat, successor: Ticket | None) -> bool:
        """
        Whether a slot that became free ends for the heir.

        Args:
            seat: No call is in it any more.
            successor: Who would get the slot otherwise; None if nobody waits for it.
        """
        heir = self.heir
        if heir is not None and not heir.is_current:
            heir = self.heir = None
        return heir is not None and claims.takes_over(heir, seat, successor, self._room)

    def end(self, seat: Seat, now: float) -> None:
        """End a slot; its room is taken until nothing of it runs any more."""
        self._room.end(seat, now)
        self._shell.end(seat)

    def relieve(self, now: float) -> None:
        """End idle slots while more is used than there is."""
        room = self._room
        while room.memory_bytes - room.ending_bytes > room.memory_max:
            victim = claims.victim(self._records.pools, None, now=now)
            if victim is None:
                return
            self.end(victim, now)
        if not self._shell.has_memory(0) and not room.ending_slots:
            victim = claims.victim(self._records.pools, None, now=now)
            if victim is not None:
                self.end(victim, now)

    def _claims_of(self, pool: Pool, now: float, waited_for: set[str]) -> list[Claim]:
        found = list(claims.of_calls(pool, self._room, now=now, waited_for=waited_for))
        if pool.floor and not pool.roots.count and pool.may_refill(now):
            assert pool.floor_flight is not None, "reserved for somebody"
            party = self._records.party(pool, pool.floor_flight.account_id, now)
            claim = claims.of_reservation(pool, party, self._records.pools, self._room)
            found += [claim] if claim is not None else []
        return found

    def _makes_room(self, claim: Claim, now: float) -> bool:
        """Whether another slot fits; ends idle ones as long as it does not."""
        room, account = self._room, claim.party.account
        while True:
            if room.fits(claim.need_bytes, account, is_nested=claim.is_nested):
                if self._shell.has_memory(claim.need_bytes + room.starting_bytes):
                    return True
                if room.ending_slots:
                    return False
            elif room.will_fit(claim.need_bytes, account, is_nested=claim.is_nested):
                return False
            victim = claims.victim(self._records.pools, account, now=now)
            if victim is None:
                return False
            self.end(victim, now)
