"""
When a pool wants another slot, and when it stops trying: pure decisions.

Source: runtime design, "Scheduling", "Failures".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

FAILURES_BEFORE_PAUSE: Final = 3
FAILURE_WINDOW_S: Final = 60.0
FAILURE_PAUSE_S: Final = 30.0
"""Three failed loads in a minute are answered from memory for half a minute, then tried again."""

_NESTED_PATIENCE_S: Final = 0.01
"""Short calls clear the queue within it; anything slower is worth a slot."""

_BRISK_S: Final = 0.001
"""Calls shorter than that are held up by the gateway: another slot would only take its place."""

_WEIGHT: Final = 0.2
"""Of the newest measurement in a moving average: a handful of calls shift the estimate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """
    What the decision to grow for calls from outside looks at.

    Attributes:
        waiting: Calls in the queue.
        stalled_s: How long the queue has not moved; a slot that is busy for long is why.
        crowded_s: How long somebody has been waiting all the time, since the newest slot came.
        starting: Slots that are starting or loading.
        busy: Slots with a call in flight.
        run_s: Estimate of a call's run time.
        start_s: Estimate of a slot's start, load included.
        slots_max: How many slots the pool may have.
    """

    waiting: int
    stalled_s: float
    crowded_s: float
    starting: int
    busy: int
    run_s: float
    start_s: float
    slots_max: int


def should_grow(view: PoolView) -> bool:
    """
    Decide whether to start another slot now.

    The first slot starts at once. Further ones start when the queue would take longer to clear
    than a new slot takes to start, or has not moved for that long: short calls are served sooner
    by the slots that exist. A queue that moves but has not been empty for as long is one that new
    calls keep filling: every slot that is added makes all of them wait less.
    """
    slots = view.starting + view.busy
    if view.waiting <= view.starting or slots >= view.slots_max:
        return False
    if slots == 0:
        return True
    expected_s = view.run_s * (view.waiting - view.starting) / max(view.busy, 1)
    crowded_s = view.crowded_s if view.run_s > _BRISK_S else 0.0
    return max(expected_s, view.stalled_s, crowded_s) > view.start_s


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedView:
    """
    What the decision to grow for calls that algorithms make looks at.

    Attributes:
        slots: In the pool, whatever they do.
        waiting: Nested calls in the queue.
        stalled_s: How long the queue has not moved.
        starting: Slots that are starting or loading.
        busy: Slots with a nested call in flight.
        slots_max: How many slots nested calls may hold, as long as some of them will end by
            themselves.
        are_all_parents: Every one of the nested calls in flight waits for calls of its own.
    """

    slots: int
    waiting: int
    stalled_s: float
    starting: int
    busy: int
    slots_max: int
    are_all_parents: bool


def should_grow_for_nested(view: NestedView) -> bool:
    """
    Decide whether to start another slot for nested calls.

    How long the calls in flight take says nothing here: they may be waiting for these very calls.
    So a queue that does not move is enough; and the maximum holds only while one of the calls in
    flight can end without another slot.
    """
    if view.slots == 0:
        return view.waiting > 0
    if view.waiting <= view.starting or view.stalled_s < _NESTED_PATIENCE_S:
        return False
    return view.busy + view.starting < view.slots_max or view.are_all_parents


def is_paused(failed_at: Iterable[float], *, now: float) -> bool:
    """Decide whether recent load failures are answered from memory instead of trying again."""
    recent = [at for at in failed_at if now - at < FAILURE_WINDOW_S]
    return len(recent) >= FAILURES_BEFORE_PAUSE and now - max(recent) < FAILURE_PAUSE_S


def blend(estimate: float, measured: float) -> float:
    """Move an *estimate* in seconds towards a new measurement."""
    return estimate + _WEIGHT * (measured - estimate)
