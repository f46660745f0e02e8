"""
Claims: which pool wants a slot, whose claim comes first, and what has to make room for it.

Decisions only; `scheduler` acts on them. Claims are served in this order:

1. of nested calls, as long as their share lasts: oldest first after a moment, else who holds least;
2. of who holds least of the machine, then of the pool that holds least;
3. of reserved slots.

Source: runtime design, "Scheduling".
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from algorium_server.domain.limits import STARTS_PER_ACCOUNT_MAX
from algorium_server.engine import fairness, growth
from algorium_server.engine.fairness import Usage
from algorium_server.engine.flights import Flight
from algorium_server.engine.pools import Party, Pool, Seat, Ticket
from algorium_server.engine.program import Program
from algorium_server.engine.room import Room

_AGED_S: Final = 1.0
"""Nested calls that have waited so long go by age, so that no tree waits for ever."""
RESERVED_SHARE: Final = 0.5
"""Of all slots, and of their memory: what is kept warm for some must leave room for the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """
    Slots that are kept warm.

    Attributes:
        program: What they run.
        flight: For whom: its account's slots, unless they are shared, and as whom they load.
        slots: How many, at least.
    """

    program: Program
    flight: Flight
    slots: int


class Claim:
    """
    A pool's wish for another slot.

    Attributes:
        party: For whom.
        flight: As whom the slot would load.
        since: When the call came that waits for it.
        is_reserved: Nobody waits: the slot is to be kept warm.
    """

    __slots__ = ("flight", "is_nested", "is_reserved", "need_bytes", "party", "pool", "since")

    def __init__(
        self, pool: Pool, party: Party, flight: Flight, *, need_bytes: int, since: float | None
    ) -> None:
        self.pool = pool
        self.party = party
        self.flight = flight
        self.is_nested = flight.is_nested
        self.is_reserved = since is None
        self.need_bytes = need_bytes
        self.since = since or 0.0

    @property
    def is_current(self) -> bool:
        """Whether there still is somebody who waits."""
        pool = self.pool
        if self.is_reserved:
            return pool.floor > 0
        return (pool.nested if self.is_nested else pool.roots).count > 0


def of_calls(pool: Pool, room: Room, *, now: float, waited_for: set[str]) -> Iterator[Claim]:
    """
    Yield what *pool* claims for calls that wait: at most one slot for each of its lines.

    Args:
        pool: With or without calls in line.
        room: Bounds what is booked for one slot.
        now: Monotonic seconds.
        waited_for: Ids of the calls that wait for calls of their own.
    """
    nested = pool.nested.first()
    if nested is not None and _wants_for_nested(pool, nested.since, now, waited_for):
        yield _claim(pool, nested, room)
    roots = pool.roots.first()
    if (
        roots is not None
        and _may_start(pool, roots.party.account)
        and _wants_for_roots(pool, roots.since, now)
    ):
        yield _claim(pool, roots, room)


def _wants_for_roots(pool: Pool, since: float, now: float) -> bool:
    """
    Whether calls from outside are worth another slot.

    Args:
        pool: Where they wait.
        since: When the next of them came.
        now: Monotonic seconds.
    """
    if now < pool.grows_at or growth.is_paused(pool.failed_at, now=now):
        return False
    return growth.should_grow(
        growth.PoolView(
            waiting=pool.roots.count,
            stalled_s=now - max(since, pool.moved_at),
            crowded_s=now - pool.crowded_at,
            starting=pool.starting,
            busy=pool.roots_busy,
            run_s=pool.run_s,
            start_s=pool.version.start_s,
            slots_max=pool.slots_max,
        )
    )


def _wants_for_nested(pool: Pool, since: float, now: float, waited_for: set[str]) -> bool:
    """
    Whether calls of algorithms are worth another slot.

    Args:
        pool: Where they wait.
        since: When the next of them came.
        now: Monotonic seconds.
        waited_for: Ids of the calls that wait for calls of their own.
    """
    if now < pool.grows_at or growth.is_paused(pool.failed_at, now=now):
        return False
    return growth.should_grow_for_nested(
        growth.NestedView(
            slots=pool.slots,
            waiting=pool.nested.count,
            stalled_s=now - max(since, pool.moved_at),
            starting=pool.nested_starting,
            busy=pool.nested_busy,
            slots_max=pool.slots_max,
            are_all_parents=all(
                seat.flight.call_id in waited_for
                for seat in pool.seats
                if seat.is_nested and seat.slot is not None and seat.flight is not None
            ),
        )
    )


def _may_start(pool: Pool, account: Usage) -> bool:
    """Bound an account's starts; a version that hangs must not keep its others from starting."""
    most = STARTS_PER_ACCOUNT_MAX if pool.slots else 2 * STARTS_PER_ACCOUNT_MAX
    return account.starting < most


def _claim(pool: Pool, ticket: Ticket, room: Room) -> Claim:
    need_bytes = min(pool.version.footprint.expected_bytes(), room.largest_bytes)
    flight = ticket.call.flight
    return Claim(pool, ticket.party, flight, need_bytes=need_bytes, since=ticket.since)


def of_reservation(pool: Pool, party: Party, pools: Iterable[Pool], room: Room) -> Claim | None:
    """Return what *pool* claims so that as many slots as are reserved are warm."""
    assert pool.floor_flight is not None, "reserved for somebody"
    need_bytes = min(pool.version.footprint.expected_bytes(), room.largest_bytes)
    reserved_bytes = sum(
        min(each.floor, each.kept) * each.version.footprint.expected_bytes()
        for each in pools
        if each.floor
    )
    if reserved_bytes + need_bytes > room.memory_max * RESERVED_SHARE:
        return None
    return Claim(pool, party, pool.floor_flight, need_bytes=need_bytes, since=None)


def rank(claim: Claim, room: Room, *, now: float) -> tuple[float, ...]:
    """Return a key by which the claim to be served first is the smallest."""
    usage, account = claim.party.usage, claim.party.account
    share = room.share(account, more_slots=1, more_bytes=claim.need_bytes)
    if claim.is_reserved:
        return (3, share)
    if claim.is_nested and room.has_nested_share(claim.need_bytes):
        return (1, 0.0 if now - claim.since >= _AGED_S else share, claim.since)
    # Equals go by what they used lately, as in `takes_over`: else one would get back at once what
    # it had to give up.
    within = (not claim.is_nested, usage.slots, usage.used_s, claim.since)
    return (2, share, account.used_s, *within)


def takes_over(heir: Claim, seat: Seat, successor: Ticket | None, room: Room) -> bool:
    """
    Decide whether a slot that became free ends to make room for *heir*.

    Args:
        heir: The foremost claim that did not fit.
        seat: Whose call has just ended.
        successor: Who would get the slot otherwise; None if nobody waits for it.
        room: What is taken.
    """
    pool, mine = seat.pool, heir.party
    account = mine.account
    if heir.pool is pool or not pool.has_spare:
        return False
    if room.will_fit(heir.need_bytes, account, is_nested=heir.is_nested):
        return False
    if successor is None:
        owner = seat.party.account
        return owner is account or fairness.may_evict(
            owned=account.owned, owner_owned=owner.owned, idle_s=0.0
        )
    if successor.is_nested and not heir.is_nested and room.has_nested_share(seat.booked_bytes):
        return False  # it goes on in the share that the heir cannot have
    theirs = successor.party
    if theirs.account is account:
        return fairness.may_take_over(
            share_after=mine.usage.slots + 1,
            successor=theirs.usage.slots,
            successor_after=theirs.usage.slots + 1,
            used_s=mine.usage.used_s,
            successor_used_s=theirs.usage.used_s,
        )
    return fairness.may_take_over(
        share_after=room.share(account, more_slots=1, more_bytes=heir.need_bytes),
        successor=room.share(theirs.account),
        successor_after=room.share(theirs.account, more_slots=1, more_bytes=seat.booked_bytes),
        used_s=account.used_s,
        successor_used_s=theirs.account.used_s,
    )


def victim(pools: Iterable[Pool], account: Usage | None, *, now: float) -> Seat | None:
    """
    Return the idle slot that goes first: the least recently used one that may go.

    Args:
        pools: All of them.
        account: Who wants room; None for the server itself.
        now: Monotonic seconds.
    """
    candidates = (
        seat
        for pool in pools
        if pool.idle and pool.has_spare
        for seat in pool.idle
        if account is None
        or seat.party.account is account
        or fairness.may_evict(
            owned=account.owned, owner_owned=seat.party.account.owned, idle_s=now - seat.since
        )
    )
    return min(candidates, key=_idle_since, default=None)


def _idle_since(seat: Seat) -> float:
    return seat.since
