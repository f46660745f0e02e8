"""
How much of the machine is taken, and what still fits: the books of slots and memory.

    slots     |<--------------- slots_max ---------------->|<- nested ->|
    memory    |<------- memory_max less the share -------->|<- share -->|
                calls from outside, nested      | headroom   nested calls
                beyond their share, idle slots  |            only

Calls that algorithms make (nested) have a share of their own, which calls from outside cannot
take: parents that hold everything else never leave their children without a place to run.

The last part of the rest, the headroom, is for accounts that hold little: calls may run for an
hour, and somebody who fills the machine with such must not keep everybody else out.

A slot that is being ended takes its room until its last process is gone.

Source: runtime design, "Scheduling", "Network and the platform API".
"""

from dataclasses import dataclass
from typing import Final

from algorium_server.domain.errors import Unavailable
from algorium_server.domain.limits import (
    MIB,
    NESTED_SLOTS_MAX,
    SLOT_IDLE_S,
    SLOT_MEMORY_GUESS_BYTES,
    SLOTS_MAX,
    SLOTS_PER_POOL_MAX,
)
from algorium_server.engine.fairness import Usage
from algorium_server.engine.flights import Flight
from algorium_server.engine.pools import Party, Seat

_NESTED_SHARE: Final = 0.2
_NESTED_SHARE_MAX: Final = 0.5
"""Of the memory: a fifth for nested calls, but one slot at least, unless that were too much."""
_HEADROOM_PART: Final = 8
"""The last eighth of all slots is for accounts that hold less than an eighth."""
_UNBOUNDED: Final = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """
    How many slots may exist, and how much memory they may take.

    Attributes:
        slots_max: On this machine, all pools together; nested calls may have a few more.
        slots_per_pool_max: For one (account, version), unless the version says otherwise.
        idle_s: Seconds after which an idle slot is given up.
        slot_cpus: Processors that one slot may use; 0 for no limit.
        memory_bytes: For all slots together, None for no bound.
        is_memory_strict: Count every slot with its limit, not with what it is expected to need.
    """

    slots_max: int = SLOTS_MAX
    slots_per_pool_max: int = SLOTS_PER_POOL_MAX
    idle_s: float = SLOT_IDLE_S
    slot_cpus: float = 0.0
    memory_bytes: int | None = None
    is_memory_strict: bool = False


class Room:
    """
    The books: every change of a seat that takes or gives room goes through here.

    Attributes:
        slots_max: For calls from outside, idle slots included.
        memory_max: Bytes, for all slots together.
        slots: In every state.
        memory_bytes: Booked for them, and for what is shared among them.
        starting: How many of them are starting.
        starting_bytes: What these will need soon, and do not use yet.
        ending_slots: Those that are being ended.
        ending_bytes: What is booked for these.
        nested_slots: Those that run a nested call, or start for one.
        nested_bytes: What is booked for these.
    """

    __slots__ = (
        "_headroom_bytes",
        "_headroom_slots",
        "_nested_memory_max",
        "_overhead_bytes",
        "ending_bytes",
        "ending_slots",
        "memory_bytes",
        "memory_max",
        "nested_bytes",
        "nested_slots",
        "slots",
        "slots_max",
        "starting",
        "starting_bytes",
    )

    def __init__(self, limits: EngineLimits) -> None:
        memory_max = _UNBOUNDED if limits.memory_bytes is None else limits.memory_bytes
        self.slots_max = limits.slots_max
        self.memory_max = memory_max
        wanted = max(memory_max * _NESTED_SHARE, SLOT_MEMORY_GUESS_BYTES)
        self._nested_memory_max = int(min(wanted, memory_max * _NESTED_SHARE_MAX))
        self._headroom_slots = limits.slots_max // _HEADROOM_PART
        self._headroom_bytes = min(memory_max // _HEADROOM_PART, SLOT_MEMORY_GUESS_BYTES)
        self.slots = self.memory_bytes = 0
        self.starting = self.starting_bytes = 0
        self.ending_slots = self.ending_bytes = 0
        self.nested_slots = self.nested_bytes = 0
        self._overhead_bytes = 0

    # What fits

    @property
    def largest_bytes(self) -> int:
        """The most that is booked for one slot: whatever needs more runs alone."""
        return self.memory_max - self._nested_memory_max

    def check_fits(self, limit_bytes: int) -> None:
        """
        Refuse what could never run here, if slots are booked with their limits.

        Raises:
            Unavailable: The memory that the program may use is more than there is.
        """
        if limit_bytes > self.largest_bytes:
            raise Unavailable(
                f"This version may use {limit_bytes // MIB} MiB, and this server has "
                f"{self.largest_bytes // MIB} MiB for one slot.",
                hint="Ask the operator for a larger memory budget.",
            )

    def share(self, usage: Usage, *, more_slots: int = 0, more_bytes: int = 0) -> float:
        """Return how much of the machine somebody holds, by what it holds most of."""
        return max(
            (usage.slots + more_slots) / self.slots_max,
            (usage.memory_bytes + more_bytes) / self.memory_max,
        )

    def has_nested_share(self, need_bytes: int) -> bool:
        """Whether the share of nested calls has a place left."""
        return (
            self.nested_slots < NESTED_SLOTS_MAX
            and self.nested_bytes + need_bytes <= self._nested_memory_max
        )

    def lacks(self, need_bytes: int, usage: Usage, *, is_nested: bool) -> tuple[int, int]:
        """
        Return how many slots and bytes must go before another slot fits; 0 and less: none.

        Args:
            need_bytes: What would be booked for it.
            usage: What the account holds that wants it.
            is_nested: Whether a call of an algorithm would run in it.
        """
        slots, memory_bytes = self.slots + 1, self.memory_bytes + need_bytes
        if is_nested and self.has_nested_share(need_bytes):
            return slots - self.slots_max - NESTED_SLOTS_MAX, memory_bytes - self.memory_max
        if self._headroom_slots and usage.slots >= self._headroom_slots:
            slots += self._headroom_slots
            memory_bytes += self._headroom_bytes
        return (
            slots - self.slots_max - min(self.nested_slots, NESTED_SLOTS_MAX),
            memory_bytes - self.largest_bytes - min(self.nested_bytes, self._nested_memory_max),
        )

    def fits(self, need_bytes: int, usage: Usage, *, is_nested: bool) -> bool:
        """Whether another slot fits."""
        slots, memory_bytes = self.lacks(need_bytes, usage, is_nested=is_nested)
        return slots <= 0 and memory_bytes <= 0

    def will_fit(self, need_bytes: int, usage: Usage, *, is_nested: bool) -> bool:
        """Whether another slot fits as soon as those are gone that are being ended."""
        slots, memory_bytes = self.lacks(need_bytes, usage, is_nested=is_nested)
        return slots <= self.ending_slots and memory_bytes <= self.ending_bytes

    # Changes

    def book_overhead(self, memory_bytes: int) -> None:
        """Book memory that is used for slots, but in none of them, instead of what was before."""
        self.memory_bytes += memory_bytes - self._overhead_bytes
        self._overhead_bytes = memory_bytes

    def begin(self, seat: Seat) -> None:
        """Take room for a slot that starts."""
        self.slots += 1
        self.memory_bytes += seat.booked_bytes
        self.starting += 1
        self.starting_bytes += seat.booked_bytes
        if seat.is_nested:
            self.nested_slots += 1
            self.nested_bytes += seat.booked_bytes
        seat.pool.begin(seat)

    def end_start(self, seat: Seat, now: float) -> None:
        """Note that a slot has started, or will not."""
        self.starting -= 1
        self.starting_bytes -= seat.booked_bytes
        if seat.is_nested:
            self.nested_slots -= 1
            self.nested_bytes -= seat.booked_bytes
        seat.pool.end_start(seat, now)

    def occupy(self, seat: Seat, party: Party, flight: Flight, now: float) -> None:
        """Put a call into a slot."""
        seat.pool.occupy(seat, party, flight, now)
        if seat.is_nested:
            self.nested_slots += 1
            self.nested_bytes += seat.booked_bytes

    def vacate(self, seat: Seat, now: float) -> None:
        """Take the call out of a slot."""
        if seat.is_nested:
            self.nested_slots -= 1
            self.nested_bytes -= seat.booked_bytes
        seat.pool.vacate(seat, now)

    def end(self, seat: Seat, now: float) -> None:
        """Note that a slot is being ended."""
        self.ending_slots += 1
        self.ending_bytes += seat.booked_bytes
        seat.pool.end(seat, now)

    def forget(self, seat: Seat) -> None:
        """Take back the room of a slot that is gone."""
        self.ending_slots -= 1
        self.ending_bytes -= seat.booked_bytes
        self.slots -= 1
        self.memory_bytes -= seat.booked_bytes
        del seat.pool.seats[seat]

    def rebook(self, seat: Seat, booked_bytes: int) -> None:
        """Book another amount for a slot that is not being ended."""
        grown_bytes = booked_bytes - seat.booked_bytes
        seat.booked_bytes = booked_bytes
        self.memory_bytes += grown_bytes
        if seat.flight is not None:
            seat.party.account.memory_bytes += grown_bytes
            if seat.is_nested:
                self.nested_bytes += grown_bytes
            if seat.slot is None:
                self.starting_bytes += grown_bytes
