"""
Whose turn it is: fairness between callers, as pure bookkeeping and decisions.

Two places need it. *Within a line* of one pool that several callers share, `FairLine` serves the
caller whose calls have taken the least slot time, and each caller first come, first served.
*Between pools*, when the machine is full, `may_take_over` decides whether a slot that becomes free
goes on with its own line, or ends to make room for somebody who has less.

| rule                                       | what it bounds                                      |
|--------------------------------------------|-----------------------------------------------------|
| least slot time first, not round robin     | ten second calls against fifty millisecond calls    |
| a newcomer starts level with who is served | nobody saves up turns by staying away               |
| debts stay, credits do not                 | nobody escapes a debt by leaving and coming back    |
| room goes to who has least                 | a flood of calls costs a stranger one freed slot    |
| equals swap after longer and longer times  | room wasted on ending and starting slots            |

Source: runtime design, "Scheduling"; start-time fair queueing; dominant resource fairness.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

_HALF_LIFE_S: Final = 30.0
"""Slot time used counts half after this long: fairness is about now, not about this morning."""
QUANTUM_S: Final = 2.0
"""Who is behind an equal by so much slot time may take a slot from it: worth several starts."""
PROTECTED_IDLE_S: Final = 30.0
"""An idle slot is safe for so long from those who have more slots than its user."""

T = TypeVar("T")


class Usage:
    """
    What somebody holds of this machine at the moment, and what it has used lately.

    Attributes:
        slots: With a call in flight, or starting.
        starting: Those of them that are starting.
        owned: `slots`, and the idle ones that were last used by it.
        memory_bytes: Booked for `slots`.
        used_s: Slot time, fading; exact after `fade`.
    """

    __slots__ = ("_faded_at", "memory_bytes", "owned", "slots", "starting", "used_s")

    def __init__(self, now: float) -> None:
        self.slots = self.starting = self.owned = 0
        self.memory_bytes = 0
        self.used_s = 0.0
        self._faded_at = now

    def fade(self, now: float) -> None:
        """Let the slot time used so far count less, as time goes by."""
        self.used_s *= 0.5 ** ((now - self._faded_at) / _HALF_LIFE_S)
        self._faded_at = now


def may_take_over(
    *,
    share_after: float,
    successor: float,
    successor_after: float,
    used_s: float,
    successor_used_s: float,
) -> bool:
    """
    Decide whether a slot that became free makes room for a claimant instead of its own line.

    Args:
        share_after: What the claimant would have of the machine then, from 0 to 1.
        successor: What the one has who would get the slot otherwise, without it.
        successor_after: The same with it.
        used_s: Slot time that the claimant used lately.
        successor_used_s: Slot time that the other one used lately.
    """
    if share_after <= successor:
        return True
    # Equals take turns: at once while there was little, for whole quanta later.
    is_behind = successor_used_s - used_s >= min(used_s, QUANTUM_S)
    return share_after <= successor_after and is_behind


def may_evict(*, owned: int, owner_owned: int, idle_s: float) -> bool:
    """
    Decide whether somebody with *owned* slots may end an idle slot of somebody else.

    Args:
        owned: By who wants room, before it gets any.
        owner_owned: By who used the idle slot last, this one included.
        idle_s: How long the slot has not been used.
    """
    return owned + 1 <= owner_owned or idle_s >= PROTECTED_IDLE_S


class Turn:
    """
    When a caller is next, in its slot seconds; smaller is sooner.

    Attributes:
        at: What its calls have taken so far, those in flight by estimate.
    """

    __slots__ = ("at",)

    def __init__(self, at: float) -> None:
        self.at = at


class Lane(Generic[T]):
    """One caller's calls in one line, in the order in which they came."""

    __slots__ = ("calls", "input_bytes", "turn")

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.calls: OrderedDict[T, int] = OrderedDict()
        self.input_bytes = 0


class FairLine(Generic[T]):
    """
    Calls that wait for the same slots.

    Attributes:
        lanes: Those with calls. One, unless several accounts share the slots.
        count: Of calls.
        input_bytes: Of all calls together.
    """

    __slots__ = ("count", "input_bytes", "lanes")

    def __init__(self) -> None:
        self.lanes: dict[Lane[T], None] = {}
        self.count = 0
        self.input_bytes = 0

    def __iter__(self) -> Iterator[T]:
        for lane in self.lanes:
            yield from lane.calls

    def add(self, lane: Lane[T], call: T, input_bytes: int) -> None:
        """Let *call* stand in line behind the others of its lane."""
        if not lane.calls:
            self.lanes[lane] = None
        lane.calls[call] = input_bytes
        lane.input_bytes += input_bytes
        self.input_bytes += input_bytes
        self.count += 1

    def remove(self, lane: Lane[T], call: T) -> None:
        """Take *call* out of the line."""
        input_bytes = lane.calls.pop(call)
        lane.input_bytes -= input_bytes
        self.input_bytes -= input_bytes
        self.count -= 1
        if not lane.calls:
            del self.lanes[lane]

    def first(self) -> T | None:
        """
        Return the oldest call of the caller whose turn it is, None if nobody waits.

        Looks at every caller: a heap would have to follow turns that move in both directions.
        """
        if not self.lanes:
            return None
        lane = min(self.lanes, key=_turn) if len(self.lanes) > 1 else next(iter(self.lanes))
        return next(iter(lane.calls))

    def longest(self, *, by_bytes: bool) -> Lane[T]:
        """Return the lane that fills the line most; there must be one."""
        return max(self.lanes, key=lambda each: each.input_bytes if by_bytes else len(each.calls))


def _turn(lane: Lane[T]) -> float:
    return lane.turn.at
